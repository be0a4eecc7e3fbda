//! Private memory (pkg): at the default 8 MB of a process the largest things leave nothing behind and nothing says that it
//! runs out; with as little as a server starts with, requests are answered or logged.
//!
//! What the host itself does when it runs out (5.6.3): `qm_malloc` and the one who asked log an error each, db_sqlite
//! (`db_sqlite_store_result`) gives up the query, and the server goes on.
//!
//! The stock module passes the tests of long lists and of hardly any memory; with 1 MB it takes away documents of 55 KB
//! that this module cannot read any more: presumably because of the holes that it leaves (`heap.rs`).
//!
//! Beside these: `storage::restore` (a start with 20,000 and 200,000 rows at 8 MB), `rpc::many` (lists of 20,000),
//! `hostile::large` (documents of up to 1 MB over TCP).

use crate::scarce::{fill, is_up};
use crate::{SQLITE, is_put_off, server};
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};
use testkit::phone::pidf;
use testkit::{Kamailio, Phone, Transport, Wire};

const MANY: u32 = 20_000;
/// Watchers in one document of watcher information.
const LISTED: u32 = 2000;
/// What a process may hold more than before: buffers that it makes once and keeps.
const KEPT: i64 = 16_384;

/// Private memory in use by each process, each of which says so when it next handles something.
fn private(server: &Kamailio) -> BTreeMap<String, i64> {
    for _ in 0..4 {
        let mut phone = Phone::new("anybody", server.port);
        let uri = phone.uri_of("anybody");
        let ping = phone.request("OPTIONS", &uri, &uri, &uri, ("t", ""), "ping", 1, &[], "");
        assert_eq!(phone.ask(&ping).code(), 200);
    }
    let used = server.pkg_used_by_each();
    assert!(used.len() > 3, "{used:?}");
    used
}

/// Panics where a process holds more than before, or memory ran out in between.
fn has_not_grown(server: &mut Kamailio, before: &BTreeMap<String, i64>, what: &str) {
    let after = private(server);
    let more: Vec<i64> = after.iter().map(|(entry, used)| used - before.get(entry).unwrap_or(used)).collect();
    println!("{what}: private memory of each process, more than before: {more:?}");
    assert!(more.iter().all(|more| *more <= KEPT), "{what}: {before:?}, {after:?}");
    let log = server.log();
    let short: Vec<&str> = log.lines().filter(|l| l.contains("pkg mem") || l.contains("from pkg pool")).collect();
    assert!(short.is_empty(), "{what}: {:?}", &short[..short.len().min(5)]);
    is_up(server, what);
}

/// Changes the state of `alice`, and waits until all who watch it were told: they all are `bob`.
fn tell_all(alice: &mut Phone, bob: &mut Phone, etag: Option<&str>, note: &str, count: usize) -> String {
    let body = pidf(&alice.user, "open", note);
    let reply = alice.publish("presence", etag, Some(600), &body);
    assert_eq!(reply.code(), 200, "{reply:?}");
    let mut told = BTreeSet::new();
    let end = Instant::now() + Duration::from_secs(40);
    while told.len() < count {
        assert!(Instant::now() < end, "{} of {count} were told", told.len());
        bob.listen(Duration::from_millis(20));
        let news = bob.inbox.drain(..).filter(|notify| notify.body.contains(note));
        told.extend(news.filter_map(|notify| notify.header("Call-ID").map(str::to_owned)));
    }
    reply.header("SIP-ETag").expect("a tag").to_owned()
}

#[test]
fn twenty_thousand_watchers_of_one_presentity_cost_no_private_memory() {
    let builder = server(&SQLITE, 1, 2).memory(512, 8).children(1).packages(&["presence_xml"]).debug(-1);
    // They all are one phone, whose socket takes a few hundred at a time: the others are sent again, and again.
    let again = "modparam(\"tm\", \"retr_timer1\", 100)\nmodparam(\"tm\", \"retr_timer2\", 300)";
    let mut server = builder.extra(again).start();
    let mut bob = Phone::new("bob", server.port);
    let mut alice = Phone::new("p0", server.port);
    let empty = private(&server);
    server.stop();
    fill(&server, &bob.contact(), MANY, MANY, 100);
    server.restart();
    has_not_grown(&mut server, &empty, "a start with 20,000 rows");
    let start = Instant::now();
    let etag = tell_all(&mut alice, &mut bob, None, "the first", MANY as usize);
    println!("{MANY} NOTIFYs answered in {:?}", start.elapsed());
    let before = private(&server);
    tell_all(&mut alice, &mut bob, Some(&etag), "the second", MANY as usize);
    has_not_grown(&mut server, &before, "20,000 NOTIFYs");
    let mut listed = 0;
    let mut after = "after=0".to_owned();
    while let Some(last) = {
        let part = server.list(&["presence.watcher_list", "full", "*", "limit=100", &after]).expect("a part");
        listed += part.len() as u32;
        part.last().map(|entry| entry.number("place"))
    } {
        after = format!("after={last}");
    }
    assert_eq!(listed, MANY);
    has_not_grown(&mut server, &before, "a list of them");
}

#[test]
fn long_documents_and_long_lists_of_watchers_cost_no_private_memory() {
    let builder =
        server(&SQLITE, 1, 1).memory(256, 8).children(1).packages(&["presence_xml"]).debug(-1).listen("LISTEN_TCP");
    let buffers = "tcp_children=1\ntcp_rd_buf_size=4194304\ntcp_conn_wq_max=16777216\ntcp_wq_max=67108864\n\
                   #!ifndef KAMAILIO_5\nmsg_recv_max_size=4194304\n#!endif";
    let mut server = builder.before(buffers).start();
    server.stop();
    // Nobody answers there: only the lists of them are of interest.
    fill(&server, "sip:w@127.0.0.1:9", LISTED, LISTED, 100);
    server.restart();
    let address = ([127, 0, 0, 1], server.port).into();
    let over_tcp = |user| Phone::on(user, Wire::to(address, Transport::Tcp).expect("a connection"));
    let (mut lister, mut alice, mut bob) = (over_tcp("p0"), over_tcp("alice"), over_tcp("bob"));
    bob.subscribe("alice", "presence", 600);
    let mut before = None;
    for round in 0..5 {
        let mut winfo = lister.subscribe("p0", "presence.winfo", 600);
        let notify = testkit::wait_for("the list of watchers", 10.0, || {
            lister.notify_within(1.0).filter(|n| n.body.matches("<watcher ").count() == LISTED as usize)
        });
        assert!(notify.body.len() > 100_000, "{}", notify.body.len());
        assert_eq!(lister.resubscribe(&mut winfo, 0).code(), 200);
        let mut etag = None;
        for size in [60_000, 1_000_000] {
            let body = pidf("alice", "open", &"n".repeat(size));
            let reply = alice.publish("presence", etag.as_deref(), Some(600), &body);
            assert_eq!(reply.code(), 200, "{size}");
            etag = reply.header("SIP-ETag").map(str::to_owned);
            testkit::wait_for("the document", 10.0, || bob.notify_within(1.0).filter(|n| n.body.len() > size));
        }
        assert_eq!(alice.publish("presence", etag.as_deref(), Some(0), "").code(), 200);
        match &before {
            None => before = Some(private(&server)),
            Some(before) => has_not_grown(&mut server, before, &format!("round {round}")),
        }
    }
}

/// The least private memory with which a server starts, in megabytes.
fn least(shm: u32) -> (u32, Kamailio) {
    (1..8)
        .find_map(|megabytes| {
            let builder =
                server(&SQLITE, 1, 1).memory(shm, megabytes).children(1).packages(&["presence_xml"]).debug(-1);
            Some((megabytes, builder.try_start().ok()?))
        })
        .expect("a server with the default of 8 MB")
}

#[test]
fn with_hardly_any_private_memory_requests_are_answered_or_logged() {
    let (megabytes, mut server) = least(128);
    println!("a server starts with {megabytes} MB of private memory");
    let (mut alice, mut bob) = (Phone::new("alice", server.port), Phone::new("bob", server.port));
    let mut dialog = bob.subscribe("alice", "presence", 600);
    // Documents of one presentity, which are combined in private memory, until they do not fit.
    let (mut codes, mut tags) = (BTreeMap::<u16, u32>::new(), Vec::new());
    for n in 0..60 {
        // Tuples of different names: all of them are combined.
        let body = pidf("alice", "open", &"n".repeat(55_000)).replace("id=\"t1\"", &format!("id=\"t{n}\""));
        let request = alice.publish_request("alice", "presence", None, Some(600), &body, &[]);
        let reply = alice.try_ask(&request);
        *codes.entry(reply.as_ref().map_or(0, testkit::Message::code)).or_default() += 1;
        tags.extend(reply.and_then(|r| r.header("SIP-ETag").map(str::to_owned)));
        bob.listen(Duration::from_millis(2));
        assert!(server.is_running(), "after {n} documents:\n{}", server.log());
    }
    println!("documents until nothing is left: (code: times) {codes:?}");
    let short = server.log_lines("no private memory left").len();
    println!("{short} lines about it");
    assert!(short > 0, "everything fits");
    // What is small is served: a dialog, and somebody else.
    assert_eq!(bob.resubscribe(&mut dialog, 600).code(), 200);
    let mut carol = Phone::new("carol", server.port);
    bob.subscribe("carol", "presence", 600);
    let etag = tell_all(&mut carol, &mut bob, None, "small", 1);
    // Whoever takes a document away is shown without it: that has to be read, and may have no room either.
    let mut put_off = 0;
    for tag in &tags {
        put_off += u32::from(is_put_off(&alice.publish("presence", Some(tag), Some(0), ""), "a removal"));
    }
    println!("{put_off} of {} removals were put off", tags.len());
    tell_all(&mut carol, &mut bob, Some(&etag), "still small", 1);
    is_up(&mut server, "hardly any private memory");
}
