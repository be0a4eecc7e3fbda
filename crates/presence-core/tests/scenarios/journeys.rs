//! Journeys through the server, step by step, with a clock that stands still; in the mode that the module is named for.

use fakehost::{PRESENCE, Phone, START, Wire, World, phone};
use presence_core::config::{BelowMinimum, Config, PublMode, SubsMode};
use presence_core::host::{Authorisation, Decision, Sent};
use presence_core::refusal::Refusal;
use presence_core::status::Status;
use presence_core::time::Seconds;

fn config() -> Config {
    Config { subs: fakehost::mode_of(module_path!()), publ: PublMode::Memory, ..Config::default() }
}

fn watching(world: &mut World, user: &str, presentity: &str, event: &str) -> Phone {
    let mut p = phone(user, presentity, event);
    world.subscribe(&mut p, Some(600)).expect("accepted");
    world.settle();
    p
}

#[test]
fn a_subscribe_is_accepted_then_notified() {
    let mut world = World::with(config());
    world.subscribe(&mut phone("w", "a", "presence"), Some(600)).expect("accepted");
    let wire = world.wire();
    assert_eq!(wire[0], Wire::Reply(200, "Expires: 600\r\nContact: <sip:server>\r\n".into()));
    let Wire::Notify(n) = &wire[1] else { panic!("{wire:?}") };
    assert_eq!((n.cseq, n.status, n.left, n.body.as_str()), (2, Status::Active, 600, ""));
    assert_eq!(wire.len(), 2);
}

#[test]
fn a_publish_is_answered_then_told_to_every_watcher() {
    let mut world = World::with(config());
    watching(&mut world, "w1", "a", "presence");
    watching(&mut world, "w2", "a", "presence");
    watching(&mut world, "w3", "other", "presence");
    world.publish("a", "presence", None, Some(60), "open").expect("accepted");
    let told = world.settle();
    assert_eq!(
        told.iter().map(|n| (n.call_id.as_str(), n.cseq, n.body.as_str())).collect::<Vec<_>>(),
        [("w1-a-presence", 3, "open"), ("w2-a-presence", 3, "open")]
    );
}

#[test]
fn publications_are_modified_combined_and_removed() {
    let mut world = World::with(config());
    watching(&mut world, "w", "a", "presence");
    let first = world.publish("a", "presence", None, Some(60), "one").expect("accepted");
    let second = world.publish("a", "presence", None, Some(60), "two").expect("accepted");
    let first = world.publish("a", "presence", Some(&first), Some(60), "ONE").expect("accepted");
    world.publish("a", "presence", Some(&second), Some(0), "").expect("accepted");
    world.publish("a", "presence", Some(&first), Some(0), "").expect("accepted");
    let bodies: Vec<_> = world.settle().into_iter().map(|n| n.body).collect();
    // One NOTIFY under way at a time: what came meanwhile is one NOTIFY with the last state.
    assert_eq!(bodies, ["one", "closed:ONE"]);
}

#[test]
fn each_change_is_told_when_the_phone_answers_in_time() {
    let mut world = World::with(config());
    watching(&mut world, "w", "a", "presence");
    let mut bodies = Vec::new();
    let mut step = |world: &mut World| bodies.extend(world.settle().into_iter().map(|n| n.body));
    let first = world.publish("a", "presence", None, Some(60), "one").expect("accepted");
    step(&mut world);
    let second = world.publish("a", "presence", None, Some(60), "two").expect("accepted");
    step(&mut world);
    world.publish("a", "presence", Some(&first), Some(60), "ONE").expect("accepted");
    step(&mut world);
    world.publish("a", "presence", Some(&second), Some(0), "").expect("accepted");
    step(&mut world);
    assert_eq!(bodies, ["one", "one+two", "two+ONE", "closed:two+ONE"]);
}

#[test]
fn a_bodiless_refresh_keeps_the_document_and_tells_nobody() {
    let mut world = World::with(config());
    watching(&mut world, "w", "a", "presence");
    let tag = world.publish("a", "presence", None, Some(60), "open").expect("accepted");
    world.settle();
    let tag2 = world.publish("a", "presence", Some(&tag), Some(600), "").expect("accepted");
    assert_ne!(tag, tag2);
    assert_eq!(world.settle(), []);
    world.wait(100);
    world.run(|s| s.expire_publications());
    let mut late = phone("w2", "a", "presence");
    world.subscribe(&mut late, Some(60)).expect("accepted");
    assert_eq!(world.settle()[0].body, "open");
}

#[test]
fn what_ran_out_and_is_refreshed_before_the_sweep_is_told_again() {
    for hide_expired in [true, false] {
        let mut world = World::with(Config { hide_expired, ..config() });
        watching(&mut world, "w", "a", "presence");
        let tag = world.publish("a", "presence", None, Some(60), "open").expect("accepted");
        world.settle();
        world.wait(60);
        world.run(|s| s.refresh(b"sip:a@h", PRESENCE));
        let seen = world.settle().pop().expect("a NOTIFY").body;
        assert_eq!(seen, if hide_expired { "" } else { "open" });
        world.publish("a", "presence", Some(&tag), Some(60), "").expect("accepted");
        let told: Vec<_> = world.settle().into_iter().map(|n| n.body).collect();
        assert_eq!(told, if hide_expired { vec!["open"] } else { vec![] });
    }
}

#[test]
fn unknown_etag_is_412_and_touches_nothing() {
    let mut world = World::with(config());
    let tag = world.publish("a", "presence", None, Some(60), "open").expect("accepted");
    let new = world.publish("a", "presence", Some(&tag), Some(60), "busy").expect("accepted");
    for bad in ["nosuch", "a.1.2.3", "", &tag, "\"x\"", &"9".repeat(5000)] {
        for (expires, body) in [(60, "x"), (60, ""), (0, "")] {
            let answer = world.publish("a", "presence", Some(bad), Some(expires), body);
            assert_eq!(answer, Err(Refusal::ConditionFailed), "{bad} {expires}");
            assert_eq!(world.publish("b", "presence", Some(&new), Some(expires), body), Err(Refusal::ConditionFailed));
        }
    }
    let mut w = phone("w", "a", "presence");
    world.subscribe(&mut w, Some(0)).expect("accepted");
    assert_eq!(world.settle()[0].body, "busy");
}

#[test]
fn what_is_wrong_with_a_publish_is_said() {
    let mut world = World::with(config());
    assert_eq!(world.publish("a", "nosuch", None, None, "x"), Err(Refusal::BadEvent));
    assert_eq!(world.publish("a", "presence;;", None, None, "x"), Err(Refusal::BadRequest));
    assert_eq!(world.publish("a", "presence", None, None, ""), Err(Refusal::InvalidRequest));
    world.host.refuse_check = true;
    assert_eq!(world.publish("a", "presence", None, None, "x"), Err(Refusal::ServerError));
    assert_eq!(world.wire(), []);
}

#[test]
fn expires_is_bounded() {
    let mut world = World::with(Config { max_expires: Seconds(100), min_expires: Seconds(50), ..config() });
    let reply = |world: &mut World, expires| {
        let outcome = world.subscribe(&mut phone("w", "a", "presence"), expires);
        let wire = world.wire();
        outcome.map(|_| wire[0].clone())
    };
    let accepted = |e| Ok(Wire::Reply(200, format!("Expires: {e}\r\nContact: <sip:server>\r\n")));
    assert_eq!(reply(&mut world, Some(1000)), accepted(100));
    assert_eq!(reply(&mut world, None), accepted(100));
    assert_eq!(reply(&mut world, Some(50)), accepted(50));
    assert_eq!(reply(&mut world, Some(49)), Err(Refusal::IntervalTooBrief(Seconds(50))));
    assert_eq!(reply(&mut world, Some(0)), accepted(0));
    world.host.config.below_minimum = BelowMinimum::Raise;
    assert_eq!(reply(&mut world, Some(1)), accepted(50));
}

#[test]
fn a_fetch_leaves_nothing_behind() {
    let mut world = World::with(config());
    let blocks = world.heap.blocks.get();
    world.publish("a", "presence", None, Some(60), "open").expect("accepted");
    world.wire();
    world.subscribe(&mut phone("w", "a", "presence"), Some(0)).expect("accepted");
    let told = world.settle();
    assert_eq!((told[0].cseq, told[0].status, told[0].body.as_str()), (1, Status::Terminated, "open"));
    let census = world.store.check().expect("whole");
    assert_eq!((census.subscriptions, census.leaving, census.dialogs), (0, 0, 0));
    world.wait(61);
    world.run(|s| s.expire_publications());
    let census = world.store.check().expect("whole");
    assert_eq!((census.resources, census.publications), (0, 0));
    assert!(world.heap.blocks.get() >= blocks);
}

#[test]
fn a_dialog_is_refreshed_and_ended_in_order() {
    let mut world = World::with(config());
    world.publish("a", "presence", None, Some(600), "open").expect("accepted");
    let mut w = watching(&mut world, "w", "a", "presence");
    world.wait(10);
    world.subscribe(&mut w, Some(300)).expect("accepted");
    let told = world.settle();
    assert_eq!((told[0].cseq, told[0].left, told[0].body.as_str()), (3, 300, "open"));
    w.contact = "sip:moved@5.6.7.8".into();
    world.subscribe(&mut w, Some(300)).expect("accepted");
    assert_eq!(world.settle()[0].contact, "sip:moved@5.6.7.8");
    let mut again = w.clone();
    world.subscribe(&mut w, Some(0)).expect("accepted");
    let told = world.settle();
    assert_eq!((told.len(), told[0].cseq, told[0].status, told[0].body.as_str()), (1, 5, Status::Terminated, "open"));
    again.cseq += 5;
    assert_eq!(world.subscribe(&mut again, Some(60)), Err(Refusal::NoSubscription));
}

#[test]
fn an_old_cseq_is_refused_and_changes_nothing() {
    let mut world = World::with(config());
    let mut w = watching(&mut world, "w", "a", "presence");
    w.cseq = 0;
    assert_eq!(world.subscribe(&mut w, Some(300)), Err(Refusal::BadRequest));
    w.cseq = 0;
    assert_eq!(world.subscribe(&mut w, Some(0)), Err(Refusal::BadRequest));
    world.publish("a", "presence", None, Some(60), "open").expect("accepted");
    assert_eq!(world.settle()[0].left, 600);
}

#[test]
fn another_package_or_id_in_a_known_dialog_is_481() {
    let mut world = World::with(config());
    let mut w = watching(&mut world, "w", "a", "presence;id=1");
    w.event = "message-summary".into();
    assert_eq!(world.subscribe(&mut w, Some(60)), Err(Refusal::NoSubscription));
    w.event = "presence;id=2".into();
    assert_eq!(world.subscribe(&mut w, Some(60)), Err(Refusal::NoSubscription));
    w.event = "Presence;id=1".into();
    world.subscribe(&mut w, Some(60)).expect("accepted");
}

#[test]
fn one_notify_at_a_time_and_the_last_state_always_arrives() {
    let mut world = World::with(config());
    watching(&mut world, "w", "a", "presence");
    let tag = world.publish("a", "presence", None, Some(60), "1").expect("accepted");
    let first = world.notifies();
    assert_eq!(first.len(), 1);
    let tag = world.publish("a", "presence", Some(&tag), Some(60), "2").expect("accepted");
    world.publish("a", "presence", Some(&tag), Some(60), "3").expect("accepted");
    assert_eq!(world.notifies(), [], "the first one is not answered yet");
    world.answer(&first[0], 200);
    let next = world.settle();
    assert_eq!((next.len(), next[0].cseq, next[0].body.as_str()), (1, first[0].cseq + 1, "3"));
}

#[test]
fn a_silent_phone_is_told_the_last_state_after_a_while_and_its_old_answers_do_not_matter() {
    let mut world = World::with(Config { notify_hold: 2000, ..config() });
    watching(&mut world, "w", "a", "presence");
    let tag = world.publish("a", "presence", None, Some(60), "1").expect("accepted");
    let first = world.notifies().remove(0);
    world.publish("a", "presence", Some(&tag), Some(60), "2").expect("accepted");
    world.wait(1);
    world.run(|s| s.go_on_with_overdue(100));
    assert_eq!(world.notifies(), []);
    world.wait(1);
    world.run(|s| s.go_on_with_overdue(100));
    let second = world.notifies().remove(0);
    assert_eq!((second.cseq, second.body.as_str()), (first.cseq + 1, "2"));
    // The first one is given up: the second one is still under way, so the phone is not gone.
    world.answer(&first, 200);
    world.answer(&second, 200);
    assert_eq!(world.settle(), []);
    assert_eq!(world.store.check().expect("whole").queued, 0);
}

#[test]
fn a_dropped_notify_does_not_block_the_dialog() {
    let mut world = World::with(config());
    watching(&mut world, "w", "a", "presence");
    world.host.sends = vec![Sent::Dropped];
    let tag = world.publish("a", "presence", None, Some(60), "1").expect("accepted");
    assert_eq!(world.notifies(), []);
    world.publish("a", "presence", Some(&tag), Some(60), "2").expect("accepted");
    assert_eq!(world.settle()[0].body, "2");
}

#[test]
fn a_notify_that_cannot_be_sent_is_tried_again_a_few_times() {
    let mut world = World::with(Config { notify_hold: 2000, ..config() });
    watching(&mut world, "w", "a", "presence");
    world.host.sends = vec![Sent::Failed; 3];
    world.publish("a", "presence", None, Some(600), "1").expect("accepted");
    assert_eq!(world.notifies(), []);
    let mut waited = 0;
    let told = loop {
        world.wait(1);
        waited += 1;
        world.run(|s| s.go_on_with_overdue(100));
        if let Some(n) = world.notifies().pop() {
            break n;
        }
        assert!(waited < 100);
    };
    assert_eq!(told.body, "1");
    assert!((2 + 4 + 8..60).contains(&waited), "{waited}");
    world.answer(&told, 200);
    world.host.sends = vec![Sent::Failed; 100];
    world.publish("a", "presence", None, Some(600), "2").expect("accepted");
    for _ in 0..400 {
        world.wait(1);
        world.run(|s| s.go_on_with_overdue(100));
    }
    assert_eq!(world.host.sends.len(), 100 - 6, "sent once, and tried again five times");
    assert_eq!(world.store.check().expect("whole").queued, 0);
}

#[test]
fn answers_that_end_a_subscription_end_it() {
    for (code, gone) in [(481, true), (404, true), (408, true), (489, true), (603, true), (500, false), (486, false)] {
        let mut world = World::with(config());
        watching(&mut world, "w", "a", "presence");
        world.publish("a", "presence", None, Some(60), "1").expect("accepted");
        let n = world.notifies().remove(0);
        world.answer(&n, code);
        let left = world.subscriptions();
        assert_eq!(left, u64::from(!gone), "{code}");
    }
}

#[test]
fn timeout_rm_subs_0_keeps_a_silent_phone() {
    let mut world = World::with(Config { remove_on_timeout: false, ..config() });
    watching(&mut world, "w", "a", "presence");
    world.publish("a", "presence", None, Some(60), "1").expect("accepted");
    let n = world.notifies().remove(0);
    world.answer(&n, 408);
    assert_eq!(world.subscriptions(), 1);
}

#[test]
fn subscriptions_run_out_with_one_last_notify() {
    let mut world = World::with(config());
    world.publish("a", "presence", None, Some(6000), "open").expect("accepted");
    let mut w = watching(&mut world, "w", "a", "presence");
    world.wait(600);
    world.run(|s| s.expire_subscriptions());
    assert_eq!(world.settle(), [], "not before its time");
    world.wait(1);
    world.run(|s| s.expire_subscriptions());
    let told = world.settle();
    assert_eq!((told.len(), told[0].status, told[0].body.as_str()), (1, Status::Terminated, ""));
    assert_eq!(world.subscribe(&mut w, Some(60)), Err(Refusal::NoSubscription));
    let census = world.store.check().expect("whole");
    assert_eq!((census.subscriptions, census.leaving), (0, 0));
}

#[test]
fn a_refreshed_subscription_lives_on_and_a_shortened_one_ends_early() {
    let mut world = World::with(config());
    let mut long = watching(&mut world, "long", "a", "presence");
    let mut short = watching(&mut world, "short", "a", "presence");
    world.wait(500);
    world.subscribe(&mut long, Some(3000)).expect("accepted");
    world.subscribe(&mut short, Some(10)).expect("accepted");
    world.settle();
    world.wait(11);
    world.run(|s| s.expire_subscriptions());
    assert_eq!(world.settle()[0].call_id, short.call_id);
    world.wait(600);
    world.run(|s| s.expire_subscriptions());
    assert_eq!(world.subscriptions(), 1);
    world.wait(3000);
    world.run(|s| s.expire_subscriptions());
    assert_eq!(world.subscriptions(), 0);
}

#[test]
fn publications_run_out_and_watchers_see_what_is_left() {
    let mut world = World::with(config());
    watching(&mut world, "w", "a", "presence");
    world.publish("a", "presence", None, Some(12), "short").expect("accepted");
    world.settle();
    world.publish("a", "presence", None, Some(600), "long").expect("accepted");
    assert_eq!(world.settle()[0].body, "short+long");
    world.wait(12);
    world.run(|s| s.expire_publications());
    assert_eq!(world.settle()[0].body, "long");
}

#[test]
fn watchers_are_watched() {
    let mut world = World::with(config());
    let mut boss = phone("boss", "a", "presence.winfo");
    world.subscribe(&mut boss, Some(600)).expect("accepted");
    let first = world.settle();
    assert!(first[0].body.contains("version=\"1\" state=\"full\""), "{}", first[0].body);
    let mut w = phone("w", "a", "presence");
    world.subscribe(&mut w, Some(600)).expect("accepted");
    let wire = world.wire();
    assert!(matches!(wire[0], Wire::Reply(200, _)));
    let Wire::Notify(info) = &wire[1] else { panic!("{wire:?}") };
    // A row does not say what its watcher was told last: with the database alone every list is whole.
    let extent = if config().subs == SubsMode::Database { "full" } else { "partial" };
    assert!(info.body.contains(&format!("version=\"2\" state=\"{extent}\"")), "{}", info.body);
    assert!(info.body.contains("<watcher id=\"w-a-presence\" event=\"subscribe\" status=\"active\">sip:w@h</watcher>"));
    for n in &wire[1..] {
        let Wire::Notify(n) = n else { continue };
        world.answer(n, 200);
    }
    world.subscribe(&mut w, Some(0)).expect("accepted");
    let told = world.settle();
    assert!(
        told[0].body.contains("version=\"3\" state=\"full\"") && told[0].body.contains("package=\"presence\"/>"),
        "{told:?}"
    );
    assert_eq!(told[1].status, Status::Terminated);
}

#[test]
fn a_watcher_of_watchers_who_is_behind_gets_the_whole_list() {
    let mut world = World::with(config());
    world.subscribe(&mut phone("boss", "a", "presence.winfo"), Some(600)).expect("accepted");
    let first = world.notifies().remove(0);
    for user in ["w1", "w2"] {
        world.subscribe(&mut phone(user, "a", "presence"), Some(600)).expect("accepted");
    }
    world.wire();
    world.answer(&first, 200);
    let told = world.notifies();
    assert_eq!(told.len(), 1);
    assert!(told[0].body.contains("state=\"full\"") && told[0].body.matches("<watcher ").count() == 2, "{told:?}");
}

#[test]
fn watchers_who_leave_by_themselves_are_told_of_too() {
    let mut world = World::with(config());
    watching(&mut world, "boss", "a", "presence.winfo");
    let mut w = phone("w", "a", "presence");
    world.subscribe(&mut w, Some(60)).expect("accepted");
    world.settle();
    world.wait(62);
    world.run(|s| s.expire_subscriptions());
    let told = world.settle();
    assert!(
        told.iter().any(|n| n.call_id.starts_with("boss") && n.body.contains("package=\"presence\"/>")),
        "{told:?}"
    );
}

#[test]
fn pending_and_blocked_watchers_see_nothing() {
    let mut world = World::with(config());
    let set = |world: &mut World, user: &str, status, reason: &[u8]| {
        world.host.authorisations.insert(user.into(), Authorisation { status, reason: reason.to_vec() });
    };
    set(&mut world, "pending", Status::Pending, b"");
    set(&mut world, "blocked", Status::Terminated, b"rejected");
    set(&mut world, "polite", Status::Active, b"polite-block");
    world.publish("a", "presence", None, Some(60), "secret").expect("accepted");
    world.wire();
    for (user, status, reason) in [
        ("pending", Status::Pending, ""),
        ("blocked", Status::Terminated, "rejected"),
        ("polite", Status::Active, "polite-block"),
    ] {
        world.subscribe(&mut phone(user, "a", "presence"), Some(600)).expect("accepted");
        let told = world.settle();
        assert_eq!((told.len(), told[0].status, told[0].body.as_str()), (1, status, ""), "{user}");
        assert_eq!(told[0].reason, reason);
    }
    world.publish("a", "presence", None, Some(60), "more").expect("accepted");
    assert_eq!(world.settle(), []);
    assert_eq!(world.subscriptions(), 2, "the blocked one is not kept");
}

#[test]
fn a_new_authorisation_is_told() {
    let mut world = World::with(config());
    world.host.authorisations.insert("w".into(), Authorisation { status: Status::Pending, reason: Vec::new() });
    world.publish("a", "presence", None, Some(60), "open").expect("accepted");
    watching(&mut world, "w", "a", "presence");
    let set = |world: &mut World, status, reason: &[u8]| {
        let resource = presence_core::host::Resource { uri: b"sip:a@h", package: PRESENCE };
        let decision = presence_core::host::Decision {
            watcher_user: b"w".to_vec(),
            watcher_domain: b"h".to_vec(),
            authorisation: Authorisation { status, reason: reason.to_vec() },
        };
        world.run(|s| s.authorisation_changed(resource, &decision));
        world.settle()
    };
    let told = set(&mut world, Status::Active, b"");
    assert_eq!((told[0].status, told[0].body.as_str()), (Status::Active, "open"));
    let told = set(&mut world, Status::Terminated, b"rejected");
    assert_eq!(
        (told.len(), told[0].status, told[0].reason.as_str(), told[0].body.as_str()),
        (1, Status::Terminated, "rejected", "")
    );
    assert_eq!(world.subscriptions(), 0);
}

/// A presentity at work with a watcher, whom its rules would block now; its entity-tag.
fn watched_at_work() -> (World, String) {
    let mut world = World::with(Config { spheres: true, ..config() });
    let mut packages = world.host.packages.to_vec();
    packages[0].needs_auth = true;
    world.host.packages = packages.into();
    let etag = world.publish("a", "presence", None, Some(60), &at("work")).expect("accepted");
    watching(&mut world, "w", "a", "presence");
    world.host.decisions = vec![decision(Status::Terminated, "rejected")];
    (world, etag)
}

/// What the rules say of the watcher from now on.
fn decision(status: Status, reason: &str) -> Decision {
    Decision {
        watcher_user: b"w".to_vec(),
        watcher_domain: b"h".to_vec(),
        authorisation: Authorisation { status, reason: reason.into() },
    }
}

fn at(sphere: &str) -> String {
    format!("<presence><sphere>{sphere}</sphere></presence>")
}

/// The watcher was told that it is blocked, and nothing else.
fn was_blocked(world: &mut World) {
    let told = world.settle();
    assert_eq!(
        told.iter().map(|n| (n.status, n.reason.as_str(), n.body.as_str())).collect::<Vec<_>>(),
        [(Status::Terminated, "rejected", "")]
    );
}

#[test]
fn another_sphere_asks_the_rules_again_before_anybody_is_told() {
    let (mut world, etag) = watched_at_work();
    let etag = world.publish("a", "presence", Some(&etag), Some(60), &at("work")).expect("accepted");
    assert_eq!(world.settle().len(), 1);
    assert_eq!(world.host.decisions.len(), 1, "the sphere is the same: nobody asks");
    world.publish("a", "presence", Some(&etag), Some(60), &at("home")).expect("accepted");
    was_blocked(&mut world);
}

#[test]
fn who_may_look_again_is_shown_the_new_state_and_once() {
    let (mut world, etag) = watched_at_work();
    watching(&mut world, "v", "a", "presence");
    let told = |world: &mut World| {
        let mut told: Vec<_> = world.settle().into_iter().map(|n| (n.call_id, n.body)).collect();
        told.sort_unstable();
        told
    };
    let (v, w) = ("v-a-presence".to_owned(), "w-a-presence".to_owned());
    world.host.decisions = vec![decision(Status::Active, "polite-block")];
    let etag = world.publish("a", "presence", Some(&etag), Some(60), &at("home")).expect("accepted");
    assert_eq!(told(&mut world), [(v.clone(), at("home")), (w.clone(), String::new())]);
    world.host.decisions = vec![decision(Status::Active, "")];
    world.publish("a", "presence", Some(&etag), Some(60), &at("work")).expect("accepted");
    assert_eq!(told(&mut world), [(v, at("work")), (w, at("work"))]);
}

#[test]
fn so_does_the_end_of_a_sphere() {
    let (mut world, etag) = watched_at_work();
    world.publish("a", "presence", Some(&etag), Some(0), "").expect("accepted");
    was_blocked(&mut world);
    let (mut world, _) = watched_at_work();
    world.wait(61);
    world.run(|s| s.expire_publications());
    was_blocked(&mut world);
}

#[test]
fn shared_lines_belong_to_the_contact_and_do_not_tell_the_sender() {
    let mut world = World::with(config());
    let mut one = phone("line", "x", "dialog;sla");
    one.contact = "sip:line@1.1.1.1".into();
    let mut two = one.clone();
    two.call_id = "two".into();
    two.contact = "sip:line@2.2.2.2".into();
    world.subscribe(&mut one, Some(600)).expect("accepted");
    world.subscribe(&mut two, Some(600)).expect("accepted");
    world.settle();
    let busy = "<dialog-info><dialog id=\"1\"><state>confirmed</state></dialog></dialog-info>";
    let idle = "<dialog-info/>";
    let tag =
        world.publish_from("line", "dialog;sla", None, Some(60), busy, Some("sip:line@1.1.1.1")).expect("accepted");
    let told = world.settle();
    assert_eq!(
        told.iter().map(|n| (n.contact.as_str(), n.body.as_str())).collect::<Vec<_>>(),
        [("sip:line@2.2.2.2", busy)]
    );
    // Another appearance may not erase the call, and the tag stays.
    let same = world
        .publish_from("line", "dialog;sla", Some(&tag), Some(60), idle, Some("sip:line@2.2.2.2"))
        .expect("accepted");
    assert_eq!(same, tag);
    assert_eq!(world.settle(), []);
    world.subscribe(&mut one, Some(600)).expect("accepted");
    assert!(
        world.settle()[0].body.contains("state=\"full\" entity=\"sip:line@h\"/>"),
        "its own call is not shown to it"
    );
    let same = world
        .publish_from("line", "dialog;sla", Some(&tag), Some(60), idle, Some("sip:line@1.1.1.1"))
        .expect("accepted");
    assert_eq!(same, tag);
    assert_eq!(world.settle()[0].body, idle);
}

#[test]
fn a_dialog_is_known_by_its_id_and_what_is_over_stays_over() {
    let info = |id: &str, state: &str| {
        format!("<dialog-info><dialog id=\"{id}\"><state>{state}</state></dialog></dialog-info>")
    };
    let mut world = World::with(config());
    watching(&mut world, "w", "a", "dialog");
    let bodies = |world: &mut World| world.settle().into_iter().map(|n| n.body).collect::<Vec<_>>();
    world.publish("a", "dialog", None, Some(60), &info("1", "early")).expect("accepted");
    bodies(&mut world);
    let tag = world.publish("a", "dialog", None, Some(60), &info("1", "terminated")).expect("accepted");
    assert_eq!(bodies(&mut world), [info("1", "terminated")], "the same dialog is not shown twice");
    let tag = world.publish("a", "dialog", Some(&tag), Some(60), &info("1", "early")).expect("accepted");
    assert_eq!(bodies(&mut world), [] as [String; 0], "late");
    world.publish("a", "dialog", None, Some(60), &info("2", "confirmed")).expect("accepted");
    assert_eq!(bodies(&mut world), [format!("{}+{}", info("1", "terminated"), info("2", "confirmed"))]);
    world.publish("a", "dialog", Some(&tag), Some(0), "").expect("the tag of the late one counts");
}

#[test]
fn a_new_publication_does_not_bring_back_a_dialog_that_is_over() {
    let info = |id: &str, state: &str| {
        format!("<dialog-info><dialog id=\"{id}\"><state>{state}</state></dialog></dialog-info>")
    };
    let mut world = World::with(config());
    watching(&mut world, "w", "a", "dialog");
    let shown = |world: &mut World| world.settle().pop().map(|n| n.body);
    world.publish("a", "dialog", None, Some(60), &info("1", "terminated")).expect("accepted");
    assert_eq!(shown(&mut world), Some(info("1", "terminated")));
    // Somebody else's, or one of a client that has lost its tag, too late.
    let late = world.publish("a", "dialog", None, Some(60), &info("1", "early")).expect("accepted");
    assert_eq!(shown(&mut world).unwrap_or_else(|| info("1", "terminated")), info("1", "terminated"));
    let late = world.publish("a", "dialog", Some(&late), Some(60), &info("1", "confirmed")).expect("its tag counts");
    assert_eq!(shown(&mut world), None, "later still");
    // Another dialog is another matter, and so is the same one when what was said of it has run out.
    world.publish("a", "dialog", None, Some(60), &info("2", "early")).expect("accepted");
    assert_eq!(shown(&mut world), Some(format!("{}+{}", info("1", "terminated"), info("2", "early"))));
    world.publish("a", "dialog", Some(&late), Some(0), "").expect("it goes");
    shown(&mut world);
    world.publish("a", "dialog", None, Some(60), &info("1", "early")).expect("accepted");
    assert_eq!(shown(&mut world), Some(format!("{}+{}", info("2", "early"), info("1", "early"))));
}

#[test]
fn a_package_without_aggregation_shows_the_last_document() {
    let mut world = World::with(config());
    watching(&mut world, "w", "a", "message-summary");
    world.publish("a", "message-summary", None, Some(60), "yes").expect("accepted");
    world.settle();
    let tag = world.publish("a", "message-summary", None, Some(60), "no").expect("accepted");
    assert_eq!(world.settle()[0].body, "no");
    world.publish("a", "message-summary", Some(&tag), Some(0), "").expect("accepted");
    assert_eq!(world.settle()[0].body, "yes", "the other one is left");
}

#[test]
fn a_document_is_made_once_for_all_who_ask() {
    let mut world = World::with(config());
    watching(&mut world, "w0", "a", "presence");
    world.publish("a", "presence", None, Some(60), "open").expect("accepted");
    world.settle();
    let before = world.host.aggregations;
    for n in 0..20 {
        watching(&mut world, &format!("x{n}"), "a", "presence");
    }
    assert_eq!(world.host.aggregations, before);
    world.wait(60);
    let mut late = phone("late", "a", "presence");
    world.subscribe(&mut late, Some(60)).expect("accepted");
    assert_eq!(world.settle()[0].body, "", "a kept document does not outlive its publications");
}

#[test]
fn delete_same_subs_replaces_the_older_dialog_of_a_call() {
    let mut world = World::with(Config { replace_same_call: true, ..config() });
    let w = watching(&mut world, "w", "a", "presence");
    let mut again = Phone { in_dialog: false, ..w.clone() };
    again.cseq = 10;
    world.subscribe(&mut again, Some(60)).expect("accepted");
    assert_eq!(world.subscriptions(), 1);
    let _ = START;
}
