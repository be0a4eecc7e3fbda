//! A presentity that hundreds watch: a worker tells some of them and takes the next request, a notifier tells the rest. To
//! tell them apart, the notifier is stopped for a while.
//!
//! The stock module fails: its worker tells all of them.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};
use testkit::phone::pidf;
use testkit::{Database, Kamailio, Phone};

const MANY: usize = 500;
/// What a worker tells at most, and what it tells at least.
const BY_WORKER: std::ops::RangeInclusive<usize> = 100..=200;
/// NOTIFYs that found no room in a socket come again after 500 ms.
const PAUSE: Duration = Duration::from_millis(1500);

/// Who was told this state within that time, until all are.
fn told(bob: &mut Phone, state: &str, time: Duration) -> usize {
    let (mut calls, start) = (BTreeSet::new(), Instant::now());
    while calls.len() < MANY && start.elapsed() < time {
        bob.listen(Duration::from_millis(20));
        let news = bob.inbox.drain(..).filter(|n| n.body.contains(&format!("<basic>{state}</basic>")));
        calls.extend(news.filter_map(|n| n.header("Call-ID").map(str::to_owned)));
    }
    calls.len()
}

fn signal(name: &str, pid: u32) {
    testkit::kamailio::kill_all(name, &[pid.to_string()]);
}

pub fn run(mode: u8) {
    let builder = Kamailio::builder().children(1).packages(&["presence_xml"]);
    let server = match mode {
        0 => builder.start(),
        _ => builder.database(Database::Sqlite("WAL")).param("publ_cache", 1).param("subs_db_mode", mode).start(),
    };
    let (mut alice, mut bob) = (Phone::new("alice", server.port), Phone::new("bob", server.port));
    for _ in 0..MANY {
        bob.subscribe("alice", "presence", 600);
    }
    let notifier = testkit::wait_for("a notifier", 10.0, || {
        server.processes().into_iter().find(|(_, what)| what.contains("notifier")).map(|(pid, _)| pid)
    });
    signal("STOP", notifier);
    let reply = alice.publish("presence", None, Some(600), &pidf("alice", "open", "here"));
    assert_eq!(reply.code(), 200, "{reply:?}");
    let by_worker = told(&mut bob, "open", PAUSE);
    println!("subs_db_mode {mode}: {by_worker} of {MANY} were told by the worker");
    // What has changed since then is told to all.
    let tag = reply.header("SIP-ETag").map(str::to_owned);
    let reply = alice.publish("presence", tag.as_deref(), Some(600), &pidf("alice", "closed", "there"));
    assert_eq!(reply.code(), 200, "{reply:?}");
    signal("CONT", notifier);
    assert_eq!(told(&mut bob, "closed", Duration::from_secs(20)), MANY, "subs_db_mode {mode}");
    assert!(BY_WORKER.contains(&by_worker), "subs_db_mode {mode}: {by_worker} of {MANY} were told by the worker");
}
