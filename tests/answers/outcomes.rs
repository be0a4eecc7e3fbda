//! What the answer to a NOTIFY leads to (RFC 6665 4.2.2): codes that end a subscription, Retry-After, `notify_fail_max`.

use crate::{in_sqlite, set_ups};
use std::time::{Duration, Instant};
use testkit::phone::{Dialog, pidf};
use testkit::{Builder, Kamailio, Message, Module, Phone, sqlite, wait_for};

/// How long an answer is waited for, in milliseconds, where none comes.
const SILENCE: u32 = 300;
/// The same where one does, sooner or later.
const PATIENCE: u32 = 10_000;

/// With an `event_route` that says when an answer has come.
fn telling(builder: Builder, fr_timer: u32) -> Builder {
    builder.extra(&format!("modparam(\"tm\", \"fr_timer\", {fr_timer})")).routes(&format!(
        "{}\nevent_route[presence:notify-reply] {{ xlog(\"L_NOTICE\", \"answered: $ci by $notify_reply($rs)\\n\"); }}\n",
        testkit::kamailio::ROUTES
    ))
}

/// So many answers to NOTIFYs of a dialog have been dealt with.
fn wait_for_answers(server: &Kamailio, dialog: &Dialog, count: usize) {
    let mark = format!("answered: {} ", dialog.call_id);
    wait_for(&mark, 10.0, || (server.log_lines(&mark).len() >= count).then_some(()));
}

fn publish(alice: &mut Phone, note: &str) {
    assert_eq!(alice.publish("presence", None, Some(600), &pidf("alice", "open", note)).code(), 200, "{note}");
}

/// A phone that answers nothing by itself.
fn silent(server: &Kamailio) -> Phone {
    let mut bob = Phone::new("bob", server.port);
    bob.answer = None;
    bob
}

/// The next NOTIFY with another CSeq than the last one: what was not answered comes again.
fn next(bob: &mut Phone, last: &mut u32, seconds: f64) -> Option<Message> {
    let end = Instant::now() + Duration::from_secs_f64(seconds);
    while Instant::now() < end {
        if let Some(notify) = bob.notify_within(end.saturating_duration_since(Instant::now()).as_secs_f64()) {
            if notify.cseq() > *last {
                *last = notify.cseq();
                return Some(notify);
            }
        }
    }
    None
}

#[test]
fn every_code_that_ends_a_subscription_ends_it_and_the_others_do_not() {
    // The stock module ends it at 404 and 481 only.
    let ends = [404, 405, 410, 416, 480, 481, 482, 483, 484, 485, 489, 501, 603, 604];
    let goes_on = [200, 202, 302, 400, 401, 403, 407, 486, 500, 503, 600];
    for (name, builder) in set_ups() {
        let server = telling(builder, PATIENCE).start();
        let mut phones: Vec<(u16, Phone, Dialog)> = Vec::new();
        for code in ends.into_iter().chain(goes_on) {
            let mut bob = Phone::new(&format!("bob{code}"), server.port);
            bob.answer = Some(code);
            let dialog = bob.subscribe("alice", "presence", 600);
            bob.notify();
            wait_for_answers(&server, &dialog, 1);
            phones.push((code, bob, dialog));
        }
        let mut alice = Phone::new("alice", server.port);
        publish(&mut alice, "here");
        for (code, bob, dialog) in &mut phones {
            let over = ends.contains(code);
            if !over {
                assert!(bob.notify().body.contains("here"), "{name}: {code}");
            }
            let reply = bob.resubscribe(dialog, 600).code();
            assert_eq!(reply, if over { 481 } else { 200 }, "{name}: {code}");
        }
        for (code, bob, _) in phones.iter_mut().filter(|(code, ..)| ends.contains(code)) {
            assert_eq!(bob.notify_within(0.05), None, "{name}: {code}");
        }
    }
}

#[test]
fn a_notify_is_tried_again_after_retry_after() {
    // The stock module does not look at it.
    for (name, builder) in set_ups() {
        let server = telling(builder, PATIENCE).start();
        for code in [401, 480, 500, 503, 603] {
            let mut bob = silent(&server);
            bob.user = format!("bob{code}");
            let dialog = bob.subscribe("alice", "presence", 600);
            let mut last = 0;
            let first = next(&mut bob, &mut last, 5.0).expect("a NOTIFY");
            let start = Instant::now();
            bob.reply(&first, code, "b", &["Retry-After: 1 (busy);duration=5".into()]);
            let again = next(&mut bob, &mut last, 5.0).unwrap_or_else(|| panic!("{name}: {code}: not tried again"));
            let took = start.elapsed();
            assert!((Duration::from_millis(900)..Duration::from_secs(3)).contains(&took), "{name}: {code}: {took:?}");
            assert!(again.state().starts_with("active"), "{name}: {code}");
            bob.reply(&again, 200, "b", &[]);
            wait_for_answers(&server, &dialog, 2);
            assert!(next(&mut bob, &mut last, 0.05).is_none(), "{name}: {code}");
        }
    }
}

#[test]
fn retry_after_says_nothing_of_a_dialog_that_is_not_there() {
    for (name, builder) in set_ups() {
        let server = telling(builder, PATIENCE).start();
        let mut bob = silent(&server);
        let mut dialog = bob.subscribe("alice", "presence", 600);
        let first = bob.notify();
        bob.reply(&first, 481, "b", &["Retry-After: 1".into()]);
        wait_for_answers(&server, &dialog, 1);
        wait_for("the end", 5.0, || (bob.resubscribe(&mut dialog, 600).code() == 481).then_some(()));
        let mut last = first.cseq();
        assert!(next(&mut bob, &mut last, 1.5).is_none(), "{name}");
    }
}

/// Rows of subscriptions, where there are any.
fn rows(server: &Kamailio) -> i64 {
    sqlite::number(&server.database_file(), "SELECT count(*) FROM active_watchers")
}

#[test]
fn notify_fail_max_ends_a_subscription_and_a_success_ends_the_row() {
    for (name, builder) in [("memory", Kamailio::builder()), ("mode 1", in_sqlite(1, 1)), ("mode 3", in_sqlite(3, 0))] {
        let server = telling(builder, PATIENCE).param("notify_fail_max", 3).param("notify_hold_time", 100).start();
        let mut boss = Phone::new("alice", server.port);
        boss.subscribe("alice", "presence.winfo", 600);
        boss.notify();
        let mut bob = silent(&server);
        let mut dialog = bob.subscribe("alice", "presence", 600);
        let mut last = 0;
        let answer = |bob: &mut Phone, last: &mut u32, code: u16| {
            let notify = next(bob, last, 5.0).unwrap_or_else(|| panic!("{name}: {code}: no NOTIFY"));
            bob.reply(&notify, code, "b", &[]);
        };
        // Two failures and a success, twice: the row begins anew.
        let mut alice = Phone::new("alice", server.port);
        for note in ["one", "two"] {
            for code in [500, 486, 200] {
                answer(&mut bob, &mut last, code);
            }
            publish(&mut alice, note);
        }
        for code in [500, 503, 500] {
            answer(&mut bob, &mut last, code);
        }
        wait_for_answers(&server, &dialog, 9);
        assert_eq!(bob.resubscribe(&mut dialog, 600).code(), 481, "{name}");
        assert!(next(&mut bob, &mut last, 0.5).is_none(), "{name}");
        wait_for("the watchers of watchers", 5.0, || {
            boss.notify_within(5.0).filter(|n| n.body.contains("watcher-list") && !n.body.contains("sip:bob@"))
        });
        assert_eq!(server.status("notifies_waiting"), 0, "{name}");
        if name != "memory" {
            assert_eq!(rows(&server), 1, "{name}: that of the watchers' watcher");
        }
    }
}

#[test]
fn with_notify_fail_max_silence_counts_instead_of_ending_at_once() {
    for remove in [0, 1] {
        let builder = Kamailio::builder().param("notify_fail_max", 2).param("timeout_rm_subs", remove);
        let server = telling(builder, SILENCE).param("notify_hold_time", 100).start();
        let mut bob = silent(&server);
        let mut dialog = bob.subscribe("alice", "presence", 600);
        let mut last = 0;
        next(&mut bob, &mut last, 5.0).expect("a NOTIFY");
        // It is tried again by itself, with the next CSeq.
        next(&mut bob, &mut last, 5.0).expect("the second attempt");
        wait_for_answers(&server, &dialog, 2);
        assert_eq!(bob.resubscribe(&mut dialog, 600).code(), 481, "timeout_rm_subs {remove}");
    }
}

#[test]
fn without_notify_fail_max_it_is_as_with_the_stock_module() {
    for (remove, code) in [(0, 200), (1, 481)] {
        let server = telling(Kamailio::builder(), SILENCE).param("timeout_rm_subs", remove).start();
        let mut bob = silent(&server);
        let mut dialog = bob.subscribe("alice", "presence", 600);
        bob.notify();
        wait_for_answers(&server, &dialog, 1);
        assert_eq!(bob.resubscribe(&mut dialog, 600).code(), code, "timeout_rm_subs {remove}");
    }
    let server = telling(Kamailio::builder(), SILENCE).start();
    let mut alice = Phone::new("alice", server.port);
    let mut bob = Phone::new("bob", server.port);
    bob.answer = Some(500);
    let mut dialog = bob.subscribe("alice", "presence", 600);
    bob.notify();
    for round in 2..12 {
        wait_for_answers(&server, &dialog, round - 1);
        publish(&mut alice, &round.to_string());
        bob.notify();
    }
    wait_for_answers(&server, &dialog, 11);
    assert_eq!(bob.resubscribe(&mut dialog, 600).code(), 200);
    if !Module::from_env().is_stock() {
        bob.notify();
        assert_eq!(bob.notify_within(0.3), None, "what failed is not tried again");
    }
}
