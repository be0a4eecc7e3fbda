//! What refuses more or less than the C module does: `rfc_strict`, answers to NOTIFYs, `notify_fail_max`.

use fakehost::{Notified, PRESENCE, Phone, Wire, World, phone};
use presence_core::config::{BelowMinimum, Config, PublMode, SubsMode};
use presence_core::dialog::DialogId;
use presence_core::host::Sent;
use presence_core::outcome::Answer;
use presence_core::refusal::Refusal;
use presence_core::server::Server;
use presence_core::subscribe::Party;
use presence_core::time::Seconds;

const MODES: [SubsMode; 4] = [SubsMode::Memory, SubsMode::WriteThrough, SubsMode::WriteBack, SubsMode::Database];

fn config(subs: SubsMode) -> Config {
    Config { subs, publ: PublMode::Memory, ..Config::default() }
}

fn strict() -> Config {
    Config { strict: true, ..config(SubsMode::Memory) }
}

fn watching(world: &mut World, user: &str) -> Phone {
    let mut p = phone(user, "a", "presence");
    world.subscribe(&mut p, Some(6000)).expect("accepted");
    world.settle();
    p
}

fn publish(world: &mut World, body: &str) {
    world.publish("a", "presence", None, Some(6000), body).expect("accepted");
}

/// What leaves while so many seconds go by.
fn within(world: &mut World, seconds: u32) -> Vec<Notified> {
    let mut all = world.notifies();
    for _ in 0..seconds {
        world.wait(1);
        world.run(|s| s.go_on_with_overdue(100));
        all.extend(world.notifies());
    }
    all
}

#[test]
fn a_watcher_who_takes_other_documents_is_refused_with_rfc_strict() {
    for (accept, strict_takes) in [
        (None, true),
        (Some("text/plain"), true),
        (Some("application/foo, */*;q=0.1"), true),
        (Some("application/foo"), false),
        (Some("text/plain;q=0"), false),
        (Some(""), false),
    ] {
        for strictly in [false, true] {
            let mut world = World::with(Config { strict: strictly, ..config(SubsMode::Memory) });
            let mut p = Phone { accept: accept.map(str::to_owned), ..phone("w", "a", "presence") };
            let outcome = world.subscribe(&mut p, Some(60)).map(drop);
            let expected = if strictly && !strict_takes { Err(Refusal::NotAcceptable(PRESENCE)) } else { Ok(()) };
            assert_eq!(outcome, expected, "{accept:?}, rfc_strict {strictly}");
            assert_eq!(world.subscriptions(), u64::from(outcome.is_ok()), "{accept:?}");
        }
    }
    let packages = World::with(strict()).host.packages;
    let headers = Refusal::NotAcceptable(PRESENCE).headers(&packages);
    assert_eq!(String::from_utf8_lossy(&headers), "Warning: 399 presence \"NOTIFYs of presence carry text/plain\"\r\n");
}

#[test]
fn who_leaves_is_let_go_whatever_it_accepts() {
    let mut world = World::with(strict());
    let mut p = watching(&mut world, "w");
    p.accept = Some("application/foo".into());
    assert_eq!(world.subscribe(&mut p, Some(600)).map(drop), Err(Refusal::NotAcceptable(PRESENCE)));
    world.subscribe(&mut p, Some(0)).expect("it may leave");
    assert_eq!(world.subscriptions(), 0);
}

#[test]
fn an_old_cseq_is_500_with_rfc_strict() {
    for (strictly, refusal, code) in [(false, Refusal::BadRequest, 400), (true, Refusal::OutOfOrder, 500)] {
        for subs in MODES {
            let mut world = World::with(Config { strict: strictly, ..config(subs) });
            let mut p = watching(&mut world, "w");
            for expires in [600, 0] {
                p.cseq = 0;
                assert_eq!(world.subscribe(&mut p, Some(expires)), Err(refusal), "{subs:?}");
            }
            assert_eq!(refusal.status().0, code);
            assert_eq!(world.subscriptions(), 1, "{subs:?}: nothing was changed");
        }
    }
}

#[test]
fn min_expires_is_for_a_publish_too_with_rfc_strict() {
    let mut world = World::with(Config { min_expires: Seconds(60), ..config(SubsMode::Memory) });
    let published = |world: &mut World, expires| {
        let outcome = world.publish("a", "presence", None, expires, "open");
        let replies = world.wire();
        outcome.map(|_| match &replies[0] {
            Wire::Reply(_, headers) => headers.lines().next().expect("a line").to_owned(),
            other => panic!("{other:?}"),
        })
    };
    let expires = |seconds: u32| Ok(format!("Expires: {seconds}"));
    assert_eq!(published(&mut world, Some(10)), expires(10), "as the C module has it");
    world.host.config.strict = true;
    assert_eq!(published(&mut world, Some(59)), Err(Refusal::IntervalTooBrief(Seconds(60))));
    assert_eq!(published(&mut world, Some(60)), expires(60));
    assert_eq!(published(&mut world, Some(0)), expires(0));
    assert_eq!(published(&mut world, None), expires(3600));
    world.host.config.below_minimum = BelowMinimum::Raise;
    assert_eq!(published(&mut world, Some(1)), expires(60));
    // What nobody asked for is not refused.
    world.host.config.below_minimum = BelowMinimum::Refuse;
    (world.host.config.min_expires, world.host.config.max_expires) = (Seconds(5000), Seconds(9000));
    assert_eq!(published(&mut world, None), expires(5000));
}

#[test]
fn a_document_of_another_type_is_415_with_rfc_strict() {
    use presence_core::publish::Publish;
    let mut world = World::with(strict());
    let mut sent = |content_type: Option<&str>, body: &str, tags: Option<&str>, conditions| {
        let request = Publish {
            event: Some(b"presence"),
            expires: Some(Seconds(60)),
            request_uri: Some(Party { user: b"a", host: b"h" }),
            if_match: tags.map(str::as_bytes),
            conditions,
            content_type: content_type.map(str::as_bytes),
            body: body.as_bytes(),
            sender: None,
        };
        world.run(|server: &mut Server<'_, _, _, _>| server.publish(&request))
    };
    let wrong = Err(Refusal::UnsupportedType(PRESENCE));
    assert_eq!(sent(Some("Text/Plain ; charset=utf-8"), "x", None, 0), Ok(()));
    assert_eq!(sent(Some("application/pidf+xml"), "x", None, 0), wrong);
    assert_eq!(sent(None, "x", None, 0), wrong);
    // Nothing to compare.
    assert_eq!(sent(None, "", Some("nosuch"), 1), Err(Refusal::ConditionFailed));
    assert_eq!(sent(Some("application/foo"), "", Some("nosuch"), 1), Err(Refusal::ConditionFailed));
    // More than one entity-tag.
    assert_eq!(sent(Some("text/plain"), "x", Some("one, two"), 1), Err(Refusal::InvalidRequest));
    assert_eq!(sent(Some("text/plain"), "x", Some("one"), 2), Err(Refusal::InvalidRequest));
    let headers = Refusal::UnsupportedType(PRESENCE).headers(&world.host.packages);
    assert_eq!(headers, b"Accept: text/plain\r\n");
}

#[test]
fn a_busy_watcher_is_told_again_when_it_says_and_the_last_state_then() {
    for subs in MODES {
        let mut world = World::with(config(subs));
        watching(&mut world, "w");
        publish(&mut world, "1");
        let first = world.notifies().remove(0);
        world.answer_with(&first, Answer { code: 503, retry_after: Some(Seconds(7)) });
        assert_eq!(world.subscriptions(), 1, "{subs:?}");
        assert_eq!(within(&mut world, 3), [], "{subs:?}");
        // A change meanwhile waits with it.
        publish(&mut world, "2");
        assert_eq!(within(&mut world, 3), [], "{subs:?}");
        let told = within(&mut world, 2);
        assert_eq!(told.len(), 1, "{subs:?}");
        assert_eq!((told[0].cseq, told[0].body.as_str()), (first.cseq + 1, "1+2"), "{subs:?}");
        world.answer(&told[0], 200);
        assert_eq!(within(&mut world, 20), [], "{subs:?}");
        assert_eq!(world.store.check().expect("whole").queued, 0, "{subs:?}");
        assert_eq!(world.store.check().expect("whole").guests, 0, "{subs:?}");
    }
}

#[test]
fn a_refresh_is_answered_at_once_although_the_watcher_was_busy() {
    for subs in MODES {
        let mut world = World::with(config(subs));
        let mut p = watching(&mut world, "w");
        publish(&mut world, "1");
        let first = world.notifies().remove(0);
        world.answer_with(&first, Answer { code: 500, retry_after: Some(Seconds(60)) });
        world.subscribe(&mut p, Some(6000)).expect("accepted");
        let told = world.settle();
        assert_eq!((told.len(), told[0].body.as_str()), (1, "1"), "{subs:?}");
        assert_eq!(within(&mut world, 70), [], "{subs:?}: not a second time");
        world.subscribe(&mut p, Some(0)).expect("accepted");
        world.settle();
        assert_eq!(world.subscriptions(), 0);
    }
}

#[test]
fn notify_fail_max_in_a_row_end_a_subscription_and_each_is_tried_again() {
    for subs in MODES {
        let mut world = World::with(Config { fail_max: 3, ..config(subs) });
        let mut winfo = phone("boss", "a", "presence.winfo");
        world.subscribe(&mut winfo, Some(6000)).expect("accepted");
        world.settle();
        let p = watching(&mut world, "w");
        publish(&mut world, "1");
        for (round, code) in [408, 500].into_iter().enumerate() {
            let n = world.notifies().pop().expect("a NOTIFY");
            world.answer(&n, code);
            assert_eq!(world.subscriptions(), 2, "{subs:?}, failure {round}");
            // Two seconds, then four.
            let pause = 2 << round;
            assert_eq!(within(&mut world, pause - 1), [], "{subs:?}, failure {round}");
            let again = within(&mut world, 1);
            assert_eq!((again.len(), again[0].body.as_str(), again[0].cseq), (1, "1", n.cseq + 1), "{subs:?}");
            world.host.wire.push(Wire::Notify(again[0].clone()));
        }
        // A success ends the row.
        let n = world.notifies().pop().expect("a NOTIFY");
        world.answer(&n, 200);
        publish(&mut world, "2");
        for failure in 0..3 {
            let n = world.notifies().into_iter().chain(within(&mut world, 10)).next().expect("a NOTIFY");
            assert_eq!(n.call_id, p.call_id, "{subs:?}");
            assert!(world.find(&p).is_some(), "{subs:?}, failure {failure}");
            world.answer(&n, 486);
        }
        assert!(world.find(&p).is_none(), "{subs:?}");
        let told = world.settle();
        assert!(told.iter().all(|n| n.call_id == winfo.call_id), "{subs:?}: {told:?}");
        assert!(!told.is_empty(), "{subs:?}: those who watch the watchers are told");
        assert_eq!(within(&mut world, 100), [], "{subs:?}");
        let census = world.store.check().expect("whole");
        assert_eq!((census.guests, census.leaving, census.queued), (0, 0, 0), "{subs:?}");
    }
}

#[test]
fn without_notify_fail_max_a_failure_is_not_counted() {
    for subs in MODES {
        let mut world = World::with(config(subs));
        watching(&mut world, "w");
        for round in 0..300 {
            publish(&mut world, "x");
            let n = world.notifies().pop().unwrap_or_else(|| panic!("{subs:?}: no NOTIFY in round {round}"));
            world.answer(&n, 500);
        }
        assert_eq!(world.subscriptions(), 1, "{subs:?}");
        assert_eq!(within(&mut world, 100), [], "{subs:?}: as the C module has it, not tried again");
    }
}

#[test]
fn timeout_rm_subs_ends_at_once_unless_failures_are_counted() {
    for (fail_max, remove_on_timeout, left) in [(0, true, 0), (0, false, 1), (2, true, 1), (2, false, 1)] {
        let mut world = World::with(Config { fail_max, remove_on_timeout, ..config(SubsMode::Memory) });
        watching(&mut world, "w");
        publish(&mut world, "1");
        let n = world.notifies().remove(0);
        world.answer(&n, 408);
        assert_eq!(world.subscriptions(), left, "notify_fail_max {fail_max}, timeout_rm_subs {remove_on_timeout}");
        if fail_max > 0 {
            let n = within(&mut world, 5).remove(0);
            world.answer(&n, 408);
            assert_eq!(world.subscriptions(), 0);
        }
    }
}

#[test]
fn silence_counts_although_later_notifies_have_taken_off() {
    // Each NOTIFY is overtaken by the next, long before the host gives it up.
    for subs in MODES {
        let mut world = World::with(Config { fail_max: 3, ..config(subs) });
        let p = watching(&mut world, "w");
        let mut flying = Vec::new();
        for _ in 0..3 {
            publish(&mut world, "x");
            flying.extend(within(&mut world, 40));
        }
        assert_eq!(flying.len(), 3, "{subs:?}");
        for n in &flying {
            assert!(world.find(&p).is_some(), "{subs:?}");
            world.answer(n, 408);
        }
        assert!(world.find(&p).is_none(), "{subs:?}");
        world.settle();
        let census = world.store.check().expect("whole");
        assert_eq!((census.guests, census.leaving, census.queued), (0, 0, 0), "{subs:?}");
    }
}

#[test]
fn a_watcher_who_cannot_be_reached_at_all_counts_as_one_who_fails() {
    for subs in MODES {
        let mut world = World::with(Config { fail_max: 4, ..config(subs) });
        let mut winfo = phone("boss", "a", "presence.winfo");
        world.subscribe(&mut winfo, Some(6000)).expect("accepted");
        world.settle();
        let p = watching(&mut world, "w");
        for n in 0..70 {
            watching(&mut world, &format!("x{n}"));
        }
        // The first of many in a fan-out over several pages: the others are told all the same.
        world.host.sends = vec![Sent::Unreachable];
        publish(&mut world, "1");
        assert_eq!(world.settle().len(), 70, "{subs:?}");
        for failure in 1..4 {
            assert!(world.find(&p).is_some(), "{subs:?}, failure {failure}");
            world.host.sends = vec![Sent::Unreachable];
            // Two seconds, then four, then eight.
            assert_eq!(within(&mut world, (1 << failure) - 1), [], "{subs:?}, failure {failure}");
            assert_eq!(world.host.sends.len(), 1, "{subs:?}, failure {failure}: too early");
            assert_eq!(within(&mut world, 1), [], "{subs:?}, failure {failure}");
            assert!(world.host.sends.is_empty(), "{subs:?}, failure {failure}: tried again");
        }
        assert!(world.find(&p).is_none(), "{subs:?}");
        world.wait(1);
        world.run(|s| s.tell_postponed(10));
        let told = world.settle();
        assert!(told.iter().all(|n| n.call_id == winfo.call_id) && !told.is_empty(), "{subs:?}: {told:?}");
        assert!(!told[0].body.contains("sip:w@h"), "{subs:?}: {}", told[0].body);
        let census = world.store.check().expect("whole");
        assert_eq!((census.guests, census.leaving, census.queued), (0, 0, 0), "{subs:?}");
    }
}

#[test]
fn a_notify_that_this_server_cannot_make_says_nothing_of_the_watcher() {
    for subs in MODES {
        let mut world = World::with(Config { fail_max: 1, ..config(subs) });
        let p = watching(&mut world, "w");
        world.host.sends = vec![Sent::Failed; 3];
        publish(&mut world, "1");
        let told = within(&mut world, 200);
        assert_eq!((told.len(), told[0].body.as_str()), (1, "1"), "{subs:?}");
        assert!(world.find(&p).is_some(), "{subs:?}");
    }
}

#[test]
fn a_last_notify_is_not_tried_again_because_of_an_answer() {
    for subs in MODES {
        let mut world = World::with(Config { fail_max: 3, ..config(subs) });
        let mut p = watching(&mut world, "w");
        world.subscribe(&mut p, Some(0)).expect("accepted");
        let last = world.notifies().remove(0);
        world.answer_with(&last, Answer { code: 503, retry_after: Some(Seconds(1)) });
        assert_eq!(within(&mut world, 100), [], "{subs:?}");
        let census = world.store.check().expect("whole");
        assert_eq!((census.leaving, census.queued, census.resources), (0, 0, 0), "{subs:?}");
    }
}

#[test]
fn an_answer_that_ends_a_subscription_does_so_with_a_pause_on() {
    for subs in MODES {
        let mut world = World::with(config(subs));
        let p = watching(&mut world, "w");
        publish(&mut world, "1");
        let n = world.notifies().remove(0);
        world.answer_with(&n, Answer { code: 503, retry_after: Some(Seconds(30)) });
        let tag = format!("t-{}", p.call_id);
        let dialog = DialogId { call_id: p.call_id.as_bytes(), to_tag: tag.as_bytes(), from_tag: b"f" };
        assert_eq!(world.run(|s| s.subscriptions.forget(dialog)), Ok(true), "{subs:?}");
        assert_eq!(within(&mut world, 100), [], "{subs:?}");
        let census = world.store.check().expect("whole");
        assert_eq!((census.guests, census.leaving, census.queued), (0, 0, 0), "{subs:?}");
    }
}
