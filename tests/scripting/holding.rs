//! Parameters that say when a NOTIFY goes: `send_fast_notify`, `waitn_time`, `notify_hold_time`, the notifiers.

use crate::probe::with_tables;
use std::time::{Duration, Instant};
use testkit::phone::pidf;
use testkit::{Kamailio, Phone};

#[test]
fn send_fast_notify_says_whether_a_first_notify_goes_at_once() {
    for (value, at_once) in [(1, true), (0, false)] {
        let server = Kamailio::builder().param("send_fast_notify", value).start();
        let mut bob = Phone::new("bob", server.port);
        bob.subscribe("alice", "message-summary", 600);
        let notify = bob.notify_within(if at_once { 5.0 } else { 0.4 });
        assert_eq!(notify.is_some(), at_once, "send_fast_notify {value}");
        // A package with watcher information is not kept waiting.
        let mut carol = Phone::new("carol", server.port);
        carol.subscribe("alice", "presence", 600);
        assert!(carol.notify().state().starts_with("active"), "send_fast_notify {value}");
    }
}

#[test]
fn what_was_kept_back_goes_after_waitn_time() {
    // The stock module sends it with the next publication only.
    let server = Kamailio::builder().param("send_fast_notify", 0).param("waitn_time", 1).start();
    let mut bob = Phone::new("bob", server.port);
    let start = Instant::now();
    bob.subscribe("alice", "message-summary", 600);
    bob.notify();
    let took = start.elapsed();
    assert!((Duration::from_millis(900)..Duration::from_secs(4)).contains(&took), "after {took:?}");
}

#[test]
fn the_next_notify_goes_after_notify_hold_time_although_nobody_has_answered() {
    // Only here: the stock module does not wait for answers.
    let server = Kamailio::builder().param("notify_hold_time", 700).start();
    let (mut alice, mut bob) = (Phone::new("alice", server.port), Phone::new("bob", server.port));
    bob.answer = None;
    bob.subscribe("alice", "presence", 600);
    let first = bob.notify().cseq();
    let start = Instant::now();
    assert_eq!(alice.publish("presence", None, Some(600), &pidf("alice", "open", "here")).code(), 200);
    // The first one comes again meanwhile.
    let next = testkit::wait_for("the next NOTIFY", 5.0, || Some(bob.notify()).filter(|n| n.cseq() > first));
    let took = start.elapsed();
    assert!(next.body.contains("here"), "{next:?}");
    assert!((Duration::from_millis(400)..Duration::from_secs(3)).contains(&took), "after {took:?}");
}

/// How long after the first NOTIFY that was held a second one comes, for several watchers who never answer, in order.
fn between_two_that_were_held(server: &Kamailio) -> Vec<Duration> {
    let mut alice = Phone::new("alice", server.port);
    let mut between = || {
        let mut bob = Phone::new("bob", server.port);
        bob.answer = None;
        let user = format!("alice{}", testkit::phone::unique());
        bob.subscribe(&user, "presence", 600);
        let mut last = bob.notify().cseq();
        let came = ["one", "two"].map(|note| {
            assert_eq!(alice.publish_for(&user, "presence", None, Some(600), &pidf(&user, "open", note)).code(), 200);
            // What was not answered comes again meanwhile.
            let next = testkit::wait_for(note, 5.0, || bob.notify_within(5.0).filter(|n| n.cseq() > last));
            last = next.cseq();
            Instant::now()
        });
        came[1] - came[0]
    };
    let mut all: Vec<Duration> = (0..3).map(|_| between()).collect();
    all.sort();
    all
}

#[test]
fn notifier_poll_rate_says_how_often_a_notifier_looks() {
    // Only here: the stock module does not wait for answers. A NOTIFY is held for 50 ms, the next one for 100 ms.
    let held = Kamailio::builder().param("notify_hold_time", 50);
    let seldom = between_two_that_were_held(&held.clone().param("notifier_poll_rate", 1).start());
    let often = between_two_that_were_held(&held.param("notifier_poll_rate", 100).start());
    assert!(seldom[2] > Duration::from_millis(700), "once a second: {seldom:?}");
    assert!(often[0] < Duration::from_millis(400), "100 times a second: {often:?}");
}

#[test]
fn there_are_as_many_notifiers_as_notifier_processes_says() {
    count_notifiers(3);
}

#[test]
fn notifier_processes_counts_in_other_modes_too() {
    count_notifiers(1);
}

fn count_notifiers(mode: u8) {
    for wanted in [1, 3] {
        let server = with_tables().param("subs_db_mode", mode).param("notifier_processes", wanted).start();
        // The workers answer before the main process has forked the notifiers.
        let notifiers = testkit::wait_for("the notifiers", 10.0, || {
            let notifiers: Vec<_> =
                server.processes().into_iter().filter(|(_, what)| what.contains("notifier")).collect();
            (notifiers.len() >= wanted).then_some(notifiers)
        });
        assert_eq!(notifiers.len(), wanted, "{notifiers:?}");
    }
}
