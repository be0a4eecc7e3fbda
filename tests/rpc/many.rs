//! Twenty thousand subscriptions are listed at 8 MB of private memory, while PUBLISHes go on being answered.

use crate::{lacks, with_sqlite};
use serde_json::json;
use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use testkit::phone::{Dialog, pidf};
use testkit::{Kamailio, Phone, listing, sqlite};

const MANY: usize = 20_000;
/// SUBSCRIBEs that are sent before their answers are waited for.
const WINDOW: usize = 25;
/// Transactions that have ended leave soon: a publisher without a pause makes many.
const QUICK: &str = "modparam(\"tm\", \"wt_timer\", 500)";
/// Entries of a part: kamcmd takes answers of up to 128 KB.
const PART: usize = 250;
/// Between two PUBLISHes.
const PAUSE: Duration = Duration::from_millis(1);
/// The longest that a PUBLISH may take, on a machine that does other things, too.
const PATIENCE: Duration = Duration::from_secs(3);

/// Subscribes so many times, a few at a time.
fn subscribe(server: &Kamailio) -> HashSet<String> {
    let mut phone = Phone::new("bob", server.port);
    let mut calls = HashSet::new();
    while calls.len() < MANY {
        let mut open = HashMap::new();
        for n in calls.len()..calls.len() + WINDOW {
            let mut dialog = Dialog::new(&format!("user{}", n / 10), "presence");
            dialog.cseq = 1;
            let request = phone.subscribe_request(&dialog, Some(3000), &[]);
            open.insert(dialog.call_id, request);
        }
        calls.extend(open.keys().cloned());
        testkit::wait_for("the answers", 20.0, || {
            // Again for those that a full socket has lost.
            open.values().for_each(|request| phone.send_raw(request.as_bytes()));
            while !open.is_empty() {
                let reply = phone.receive(Duration::from_millis(500))?;
                assert!(reply.code() < 300, "{reply:?}");
                open.remove(reply.header("Call-ID").unwrap_or_default());
            }
            Some(())
        });
        phone.inbox.clear();
    }
    calls
}

/// Puts so many subscriptions into the table.
fn fill(server: &Kamailio) -> HashSet<String> {
    sqlite::run(
        &server.database_file(),
        &format!(
            "WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i+1 FROM n WHERE i+1 < {MANY}) \
             INSERT INTO active_watchers (presentity_uri, watcher_username, watcher_domain, to_user, to_domain, event, \
             event_id, to_tag, from_tag, callid, local_cseq, remote_cseq, contact, record_route, expires, status, reason, \
             version, socket_info, local_contact, from_user, from_domain, updated, updated_winfo, flags, user_agent) \
             SELECT 'sip:user' || (i / 10) || '@test.local', 'w' || i, 'test.local', 'user' || (i / 10), 'test.local', \
             'presence', NULL, 'totag-' || i, 'fromtag-' || i, 'call-' || i, 7, 1, 'sip:w@127.0.0.1:9', NULL, \
             strftime('%s','now') + 3000, 1, NULL, 7, 'udp:127.0.0.1:{}', 'sip:127.0.0.1:{}', 'w' || i, 'test.local', \
             -1, -1, 0, 'A phone of some make/1.2.3' FROM n",
            server.port, server.port
        ),
    );
    (0..MANY).map(|n| format!("call-{n}")).collect()
}

/// Publishes until told to stop: how often, and the longest that one took.
fn publish(port: u16, stop: &AtomicBool) -> (usize, Duration) {
    let mut alice = Phone::new("alice", port);
    let (mut count, mut longest, mut etag) = (0, Duration::ZERO, None::<String>);
    while !stop.load(Ordering::Relaxed) {
        let start = Instant::now();
        let reply = alice.publish("presence", etag.as_deref(), Some(600), &pidf("alice", "open", "x"));
        assert_eq!(reply.code(), 200);
        longest = longest.max(start.elapsed());
        etag = reply.header("SIP-ETag").map(str::to_owned);
        count += 1;
        std::thread::sleep(PAUSE);
    }
    (count, longest)
}

/// The whole list in one answer over JSON-RPC.
fn list_at_once(server: &Kamailio, wanted: &HashSet<String>) {
    let start = Instant::now();
    let entries = listing::of_json(server.json("presence.watcher_list", &json!(["basic", "*"]))).expect("a list");
    let calls: HashSet<String> = entries.iter().map(|e| e.get("callid").to_owned()).collect();
    assert_eq!((entries.len(), &calls), (MANY, wanted));
    println!("{MANY} subscriptions in one answer: {:?}", start.elapsed());
    // An answer through kamcmd has room for some 16,000 entries.
    let too_much = server.list(&["presence.watcher_list", "basic", "*"]).expect_err("too many for one answer");
    assert!(too_much.starts_with("error: 500"), "{too_much}");
}

/// The list in parts, through kamcmd.
fn list_in_parts(server: &Kamailio, wanted: &HashSet<String>) {
    let start = Instant::now();
    let (mut seen, mut after) = (Vec::with_capacity(MANY), 0);
    loop {
        let (limit, from) = (format!("limit={PART}"), format!("after={after}"));
        let part = server.list(&["presence.watcher_list", "basic", "*", &limit, &from]).expect("a part");
        let Some(last) = part.last() else { break };
        after = last.number("place");
        seen.extend(part.iter().map(|e| e.get("callid").to_owned()));
        assert!(seen.len() <= MANY, "somebody twice");
    }
    assert_eq!(&seen.iter().cloned().collect::<HashSet<_>>(), wanted);
    assert_eq!(seen.len(), MANY);
    println!("{MANY} subscriptions in parts: {:?}", start.elapsed());
}

/// Lists while somebody publishes.
fn while_publishing(server: &Kamailio, list: impl FnOnce()) {
    let (stop, port) = (AtomicBool::new(false), server.port);
    std::thread::scope(|threads| {
        let publisher = threads.spawn(|| publish(port, &stop));
        let listed = std::panic::catch_unwind(std::panic::AssertUnwindSafe(list));
        stop.store(true, Ordering::Relaxed);
        listed.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        let (count, longest) = publisher.join().expect("the publisher");
        println!("{count} PUBLISHes meanwhile, the longest took {longest:?}");
        assert!(count >= 50, "only {count} PUBLISHes were answered meanwhile");
        assert!(longest < PATIENCE, "a PUBLISH took {longest:?}");
    });
    let status = server.json("presence.status", &json!([])).expect("an answer");
    assert_eq!(status["subscriptions"], json!(MANY));
    assert!(server.log_lines("CRITICAL").is_empty());
}

#[test]
fn twenty_thousand_subscriptions_are_listed_from_memory() {
    if lacks("presence.watcher_list") {
        return;
    }
    // The phone leaves most NOTIFYs unanswered.
    let server = crate::in_memory().param("timeout_rm_subs", 0).memory(256, 8).debug(-1).before(QUICK).start();
    let wanted = subscribe(&server);
    while_publishing(&server, || {
        list_at_once(&server, &wanted);
        list_in_parts(&server, &wanted);
    });
}

#[test]
fn twenty_thousand_subscriptions_are_listed_from_the_database() {
    if lacks("presence.watcher_list") {
        return;
    }
    let server = with_sqlite(3, 0).memory(256, 8).debug(-1).before(QUICK).start();
    let wanted = fill(&server);
    while_publishing(&server, || list_in_parts(&server, &wanted));
}

#[test]
fn a_list_that_is_too_large_for_an_answer_says_so() {
    if lacks("limit for lists") {
        return;
    }
    let server = with_sqlite(0, 0).start();
    // 1,200 documents of 60,000 bytes.
    sqlite::run(
        &server.database_file(),
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i < 1200) \
         INSERT INTO presentity (username, domain, event, etag, expires, received_time, body, sender, priority, ruid) \
         SELECT 'user' || i, 'test.local', 'presence', 'tag' || i, strftime('%s','now') + 600, 1, \
         replace(hex(zeroblob(30000)), '0', 'x'), '', 0, 'row' || i FROM n",
    );
    let (code, sentence) = server.json("presence.presentity_list", &json!(["full"])).expect_err("72 MB");
    assert_eq!((code, sentence.contains("limit=")), (500, true), "{sentence}");
    let part = server.json("presence.presentity_list", &json!(["full", "limit=3", "after=700"])).expect("a list");
    let places: Vec<_> = part.as_array().into_iter().flatten().map(|entry| entry["place"].as_i64()).collect();
    assert_eq!(places, [Some(701), Some(702), Some(703)]);
    let all = server.json("presence.presentity_list", &json!(["basic"])).expect("a list");
    assert_eq!(all.as_array().map(Vec::len), Some(1200));
}
