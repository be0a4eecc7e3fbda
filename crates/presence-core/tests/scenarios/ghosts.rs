//! What keeps subscriptions and dialogs from staying that nobody is behind any more: `replace_subs`,
//! `max_subs_per_watcher`, `max_subs_per_presentity`, `expires_spread`, `dialog_max_age`.

use fakehost::{Notified, Phone, Wire, World, phone};
use presence_core::config::{Config, PublMode, SubsMode};
use presence_core::refusal::{Cap, Refusal};
use presence_core::subscription::Field;

/// A world for each `subs_db_mode`.
fn worlds(config: &Config) -> Vec<World> {
    use SubsMode::{Database, Memory, WriteBack, WriteThrough};
    let modes = [Memory, WriteThrough, WriteBack, Database];
    modes.map(|subs| World::with(Config { subs, publ: PublMode::Memory, ..config.clone() })).into()
}

fn mode(world: &World) -> SubsMode {
    world.host.config.subs
}

fn watching(world: &mut World, mut p: Phone) -> Phone {
    world.subscribe(&mut p, Some(600)).expect("accepted");
    world.settle();
    p
}

/// The same phone, started again.
fn again(p: &Phone) -> Phone {
    Phone { call_id: format!("{}-again", p.call_id), cseq: 0, in_dialog: false, ..p.clone() }
}

fn calls(notifies: &[Notified]) -> Vec<&str> {
    notifies.iter().map(|n| n.call_id.as_str()).collect()
}

fn replacing() -> Config {
    Config { replace_same_phone: true, ..Config::default() }
}

#[test]
fn a_phone_that_subscribes_anew_takes_the_place_of_its_old_dialog() {
    for mut world in worlds(&replacing()) {
        let mode = mode(&world);
        let winfo = watching(&mut world, phone("v", "a", "presence.winfo"));
        let mut old = watching(&mut world, phone("w", "a", "presence"));
        let other = watching(&mut world, phone("x", "a", "presence"));
        let mut new = again(&old);
        world.subscribe(&mut new, Some(600)).expect("accepted");
        let told = world.settle();
        let list: Vec<_> = told.iter().filter(|n| n.call_id == winfo.call_id).collect();
        assert_eq!(list.len(), 1, "{mode:?}: told once: {told:?}");
        let has = |call: &str| list[0].body.contains(&format!("id=\"{call}\""));
        assert_eq!([&new, &old, &other].map(|p| has(&p.call_id)), [true, false, true], "{mode:?}: {}", list[0].body);
        assert!(!calls(&told).contains(&old.call_id.as_str()), "{mode:?}: no word to the old dialog");
        assert_eq!(world.subscriptions(), 3, "{mode:?}");
        if mode == SubsMode::WriteThrough {
            assert!(!world.notes.rows.borrow().contains_key(&old.call_id));
        }
        world.publish("a", "presence", None, Some(60), "open").expect("accepted");
        let mut told = world.settle();
        told.sort_by(|a, b| a.call_id.cmp(&b.call_id));
        assert_eq!(calls(&told), [new.call_id.as_str(), other.call_id.as_str()], "{mode:?}");
        assert_eq!(world.subscribe(&mut old, Some(600)), Err(Refusal::NoSubscription), "{mode:?}");
        world.subscribe(&mut new, Some(0)).expect("accepted");
        assert!(calls(&world.settle()).contains(&new.call_id.as_str()), "{mode:?}");
    }
}

#[test]
fn another_watcher_presentity_package_id_or_phone_keeps_its_dialog() {
    for mut world in worlds(&replacing()) {
        let first = watching(&mut world, phone("w", "a", "presence"));
        let others = [
            Phone { user: "x".into(), ..again(&first) },
            Phone { presentity: "b".into(), ..again(&first) },
            Phone { event: "dialog".into(), ..again(&first) },
            Phone { event: "presence;id=7".into(), ..again(&first) },
            Phone { contact: "sip:w@5.6.7.8".into(), ..again(&first) },
        ];
        for (n, other) in others.into_iter().enumerate() {
            watching(&mut world, Phone { call_id: format!("other-{n}"), ..other });
        }
        assert_eq!(world.subscriptions(), 6, "{:?}", mode(&world));
        assert!(world.find(&first).is_some());
    }
    for mut world in worlds(&Config::default()) {
        let first = watching(&mut world, phone("w", "a", "presence"));
        watching(&mut world, again(&first));
        assert_eq!(world.subscriptions(), 2, "{:?}: it is off by default", mode(&world));
        assert_eq!(world.find(&first).expect("there").text(Field::Instance), b"", "nothing is kept for it");
    }
}

#[test]
fn a_phone_with_an_instance_is_known_wherever_it_is() {
    for mut world in worlds(&replacing()) {
        let of = |instance: &str| Phone { instance: instance.into(), ..phone("w", "a", "presence") };
        let old = watching(&mut world, of("<urn:uuid:1>"));
        // Another phone of the same user that says it is at the same address.
        let other = watching(&mut world, Phone { instance: "<urn:uuid:2>".into(), ..again(&old) });
        let moved = Phone { contact: "sip:w@5.6.7.8".into(), call_id: "moved".into(), ..again(&old) };
        watching(&mut world, moved);
        let mode = mode(&world);
        assert_eq!(world.subscriptions(), 2, "{mode:?}");
        assert!(world.find(&old).is_none() && world.find(&other).is_some(), "{mode:?}");
        // Where the table is all that there is, it has no column for it, and the Contact counts.
        let instance = world.find(&other).expect("there").text(Field::Instance).to_vec();
        assert_eq!(instance.is_empty(), mode == SubsMode::Database, "{mode:?}");
    }
}

#[test]
fn a_notify_that_is_under_way_in_the_old_dialog_is_its_last() {
    for mut world in worlds(&replacing()) {
        let mode = mode(&world);
        let old = watching(&mut world, phone("w", "a", "presence"));
        world.publish("a", "presence", None, Some(600), "one").expect("accepted");
        let under_way = world.notifies().pop().expect("a NOTIFY");
        world.publish("a", "presence", None, Some(600), "two").expect("accepted");
        let mut new = again(&old);
        world.subscribe(&mut new, Some(600)).expect("accepted");
        assert_eq!(calls(&world.settle()), [new.call_id.as_str()], "{mode:?}");
        world.answer(&under_way, 200);
        world.wait(10);
        world.run(|server| server.go_on_with_overdue(100));
        assert_eq!(world.notifies(), [], "{mode:?}");
        world.wait(100);
        world.run(|server| server.go_on_with_overdue(100));
        let census = world.store.check().expect("whole");
        assert_eq!((census.queued, census.leaving, census.guests), (0, 0, 0), "{mode:?}");
    }
}

#[test]
fn what_cannot_be_entered_takes_nobodys_place() {
    let mut world = World::with(Config { subs: SubsMode::WriteThrough, publ: PublMode::Memory, ..replacing() });
    let old = watching(&mut world, phone("w", "a", "presence"));
    world.notes.fails.set(true);
    assert!(matches!(world.subscribe(&mut again(&old), Some(600)), Err(Refusal::Unavailable(_))));
    world.notes.fails.set(false);
    assert!(world.find(&old).is_some());
    // Exhausted memory, at every allocation.
    for mut world in worlds(&Config { most_per_watcher: 9, ..replacing() }) {
        let old = watching(&mut world, phone("w", "a", "presence"));
        for nth in 1.. {
            world.heap.fails.set(Some(world.heap.made.get() + nth));
            let mut new = again(&old);
            let outcome = world.subscribe(&mut new, Some(600));
            world.heap.fails.set(None);
            world.store.check().expect("whole");
            if outcome.is_ok() {
                break;
            }
            assert!(world.find(&old).is_some(), "{:?}: allocation {nth}", mode(&world));
        }
        assert!(world.find(&old).is_none());
        assert_eq!(world.subscriptions(), 1);
    }
}

#[test]
fn a_watcher_has_no_more_subscriptions_than_it_may_have() {
    for mut world in worlds(&Config { most_per_watcher: 2, ..Config::default() }) {
        let mode = mode(&world);
        let mut first = watching(&mut world, phone("w", "a", "presence"));
        let mut second = watching(&mut world, phone("w", "b", "dialog"));
        let mut third = phone("w", "c", "presence");
        assert_eq!(world.subscribe(&mut third, Some(600)), Err(Refusal::TooMany(Cap::Watcher)), "{mode:?}");
        assert_eq!(world.wire(), [], "{mode:?}: nothing happened");
        assert_eq!(world.subscriptions(), 2, "{mode:?}");
        watching(&mut world, phone("x", "a", "presence"));
        world.subscribe(&mut first, Some(600)).expect("a refresh is no new one");
        world.subscribe(&mut third, Some(0)).expect("nor is a fetch");
        world.settle();
        third = phone("w", "c", "presence");
        world.subscribe(&mut second, Some(0)).expect("accepted");
        world.settle();
        world.subscribe(&mut third, Some(60)).expect("there is room again");
        world.settle();
        assert_eq!(world.subscribe(&mut again(&first), Some(60)), Err(Refusal::TooMany(Cap::Watcher)), "{mode:?}");
        world.wait(100);
        while world.run(|server| server.expire_subscriptions()) {}
        world.settle();
        world.store.check().expect("whole");
        world.subscribe(&mut phone("w", "d", "presence"), Some(60)).expect("what has run out does not count");
        let gone = world.notifies().remove(0);
        world.answer(&gone, 481);
        world.store.check().expect("whole");
        world.subscribe(&mut phone("w", "e", "presence"), Some(60)).expect("nor does who is gone");
    }
}

#[test]
fn a_presentity_has_no_more_watchers_than_it_may_have() {
    for mut world in worlds(&Config { most_per_presentity: 2, ..replacing() }) {
        let mode = mode(&world);
        let mut first = watching(&mut world, phone("w", "a", "presence"));
        let second = watching(&mut world, phone("x", "a", "presence"));
        let mut third = phone("y", "a", "presence");
        assert_eq!(world.subscribe(&mut third, Some(600)), Err(Refusal::TooMany(Cap::Presentity)), "{mode:?}");
        watching(&mut world, phone("y", "a", "dialog"));
        watching(&mut world, phone("y", "b", "presence"));
        watching(&mut world, again(&second));
        assert_eq!(world.subscriptions(), 4, "{mode:?}: whose place is taken does not count");
        world.subscribe(&mut first, Some(0)).expect("accepted");
        world.settle();
        watching(&mut world, third);
    }
}

#[test]
fn subscriptions_that_the_table_had_are_counted() {
    let config = Config { subs: SubsMode::WriteBack, publ: PublMode::Memory, most_per_watcher: 1, ..Config::default() };
    let mut before = World::with(config.clone());
    let w = watching(&mut before, phone("w", "a", "presence"));
    let known = before.find(&w).expect("there");
    let mut world = World::with(config);
    world.load(&known);
    assert_eq!(world.subscribe(&mut phone("w", "b", "presence"), Some(60)), Err(Refusal::TooMany(Cap::Watcher)));
}

/// The seconds of a header field in the next reply.
fn granted(world: &mut World) -> u32 {
    let reply = world.wire().into_iter().find_map(|w| match w {
        Wire::Reply(_, headers) => Some(headers),
        Wire::Notify(_) => None,
    });
    let headers = reply.expect("a reply");
    let value = headers.lines().find_map(|line| line.strip_prefix("Expires: ")).expect("Expires");
    value.parse().expect("a number")
}

#[test]
fn expires_is_spread_for_first_subscriptions_and_refreshes() {
    for mut world in worlds(&Config { expires_spread: 50, ..Config::default() }) {
        let mode = mode(&world);
        let mut seen = std::collections::BTreeSet::new();
        for n in 0..20 {
            let mut p = phone(&format!("w{n}"), "a", "presence");
            for _ in 0..2 {
                world.subscribe(&mut p, Some(600)).expect("accepted");
                let told = world.host.wire.iter().find_map(|w| match w {
                    Wire::Notify(n) => Some(n.clone()),
                    Wire::Reply(..) => None,
                });
                let told = told.expect("a NOTIFY");
                let granted = granted(&mut world);
                assert_eq!(told.left, granted, "{mode:?}: reply and NOTIFY say the same");
                assert!((300..=600).contains(&granted), "{mode:?}: {granted}");
                seen.insert(granted);
                world.answer(&told, 200);
            }
            world.subscribe(&mut p, Some(0)).expect("accepted");
            assert_eq!(granted(&mut world), 0);
            world.wire();
        }
        assert!(seen.len() > 20, "{mode:?}: {seen:?}");
    }
}

fn info(dialogs: &[(&str, &str)]) -> String {
    let dialog = |(id, state): &(&str, &str)| format!("<dialog id=\"{id}\"><state>{state}</state></dialog>");
    format!("<dialog-info>{}</dialog-info>", dialogs.iter().map(dialog).collect::<String>())
}

#[test]
fn a_confirmed_dialog_that_nobody_refreshes_ends_after_dialog_max_age() {
    use presence_core::time::Seconds;
    for mut world in worlds(&Config { dialog_max_age: Seconds(60), ..Config::default() }) {
        let mode = mode(&world);
        watching(&mut world, phone("w", "a", "dialog"));
        let publish = |world: &mut World, event: &str, tag: Option<&str>, body: &str| {
            world.wire();
            let tag = world.publish("a", event, tag, Some(600), body).expect("accepted");
            let reply = Wire::Reply(200, String::new());
            assert_eq!(core::mem::discriminant(&world.host.wire[0]), core::mem::discriminant(&reply));
            let notifies: Vec<_> = world.host.wire[1..].to_vec();
            let seconds = granted(world);
            for told in notifies {
                if let Wire::Notify(told) = told {
                    world.answer(&told, 200);
                }
            }
            (tag, seconds)
        };
        let (early, long) = publish(&mut world, "dialog", None, &info(&[("1", "early")]));
        assert_eq!(long, 600, "{mode:?}: it rings as long as its publisher wants");
        let both = info(&[("0", "early"), ("1", "confirmed")]);
        let (tag, short) = publish(&mut world, "dialog", Some(&early), &both);
        assert_eq!(short, 60, "{mode:?}");
        assert_eq!(publish(&mut world, "presence", None, &both).1, 600, "{mode:?}: another package");
        world.wait(50);
        let (tag, short) = publish(&mut world, "dialog", Some(&tag), "");
        assert_eq!(short, 60, "{mode:?}: a refresh without a document, too");
        world.wait(50);
        while world.run(|server| server.expire_publications()) {}
        assert_eq!(world.notifies(), [], "{mode:?}: it was refreshed");
        world.wait(11);
        while world.run(|server| server.expire_publications()) {}
        let told = world.settle();
        assert_eq!(told.len(), 1, "{mode:?}: {told:?}");
        let over = |id: &str| format!("<dialog id=\"{id}\"><state>terminated</state></dialog>");
        assert!(told[0].body.contains(&over("0")) && told[0].body.contains(&over("1")), "{mode:?}: {told:?}");
        watching(&mut world, phone("late", "a", "dialog"));
        assert_eq!(world.publish("a", "dialog", Some(&tag), Some(600), ""), Err(Refusal::ConditionFailed), "{mode:?}");
        let (tag, short) = publish(&mut world, "dialog", None, &info(&[("2", "confirmed")]));
        assert_eq!(short, 60, "{mode:?}");
        let (_, long) = publish(&mut world, "dialog", Some(&tag), &info(&[("2", "terminated")]));
        assert_eq!(long, 600, "{mode:?}: what is over needs no watch");
        let (_, short) = publish(&mut world, "dialog;sla", None, &info(&[("3", "confirmed")]));
        assert_eq!(short, 60, "{mode:?}: a shared line");
        // The line is that of the watcher's Contact.
        watching(&mut world, phone("w", "w", "dialog;sla"));
        world.publish("w", "dialog;sla", None, Some(600), &info(&[("4", "confirmed")])).expect("accepted");
        assert!(world.settle()[0].body.contains("confirmed"), "{mode:?}");
        world.wait(61);
        while world.run(|server| server.expire_publications()) {}
        let told = world.settle();
        assert_eq!(told.len(), 1, "{mode:?}: {told:?}");
        assert!(told[0].body.contains("state=\"full\" entity=\"sip:w@h\"/>"), "{mode:?}: {told:?}");
    }
}

fn closing() -> Config {
    Config { expire_on_close: true, ..Config::default() }
}

#[test]
fn what_came_by_a_connection_goes_with_it() {
    for mut world in worlds(&closing()) {
        let mode = mode(&world);
        let winfo = watching(&mut world, phone("v", "a", "presence.winfo"));
        let stays = watching(&mut world, phone("x", "a", "presence"));
        world.host.connection = Some(7);
        let goes = watching(&mut world, phone("w", "a", "presence"));
        world.publish("a", "presence", None, Some(600), "by seven").expect("accepted");
        world.host.connection = Some(8);
        let other = watching(&mut world, phone("y", "a", "presence"));
        world.publish("a", "presence", None, Some(600), "by eight").expect("accepted");
        world.settle();
        assert_eq!(world.host.ties.count(), 4, "{mode:?}");
        world.close(7);
        let told = world.settle();
        assert!(!calls(&told).contains(&goes.call_id.as_str()), "{mode:?}: {told:?}");
        for p in [&stays, &other] {
            let bodies: Vec<_> = told.iter().filter(|n| n.call_id == p.call_id).map(|n| n.body.as_str()).collect();
            assert_eq!(bodies, ["closed:by seven+by eight"], "{mode:?}");
        }
        let list: Vec<_> = told.iter().filter(|n| n.call_id == winfo.call_id).collect();
        assert!(list.len() == 1 && !list[0].body.contains(&goes.call_id), "{mode:?}: {told:?}");
        assert_eq!(world.subscriptions(), 3, "{mode:?}");
        if mode == SubsMode::WriteThrough {
            assert!(!world.notes.rows.borrow().contains_key(&goes.call_id));
        }
        world.close(7);
        assert_eq!(world.wire(), [], "{mode:?}: once");
        assert_eq!(world.host.ties.count(), 2, "{mode:?}");
    }
}

#[test]
fn who_comes_by_another_connection_stays() {
    for mut world in worlds(&closing()) {
        let mode = mode(&world);
        world.host.connection = Some(7);
        let mut w = watching(&mut world, phone("w", "a", "presence"));
        let mut x = watching(&mut world, phone("x", "a", "presence"));
        let one = world.publish("a", "presence", None, Some(600), "one").expect("accepted");
        let two = world.publish("a", "presence", None, Some(600), "two").expect("accepted");
        world.host.connection = Some(8);
        world.subscribe(&mut w, Some(600)).expect("accepted");
        world.publish("a", "presence", Some(&one), Some(600), "").expect("accepted");
        world.host.connection = None;
        world.subscribe(&mut x, Some(600)).expect("accepted");
        let two = world.publish("a", "presence", Some(&two), Some(600), "").expect("accepted");
        world.settle();
        world.close(7);
        assert_eq!(world.wire(), [], "{mode:?}");
        assert_eq!((world.subscriptions(), world.host.ties.count()), (2, 2), "{mode:?}");
        world.publish("a", "presence", Some(&two), Some(0), "").expect("it is there");
        world.settle();
        world.close(8);
        let told: Vec<_> = world.settle().into_iter().map(|n| (n.call_id, n.body)).collect();
        assert_eq!(told, [(x.call_id.clone(), "closed:one".to_owned())], "{mode:?}");
        assert_eq!((world.subscriptions(), world.host.ties.count()), (1, 0), "{mode:?}");
    }
}

#[test]
fn ties_go_with_what_they_tie_or_with_their_time() {
    for mut world in worlds(&closing()) {
        let mode = mode(&world);
        world.host.connection = Some(7);
        let mut w = watching(&mut world, phone("w", "a", "presence"));
        world.subscribe(&mut w, Some(0)).expect("accepted");
        let tag = world.publish("a", "presence", None, Some(600), "one").expect("accepted");
        world.publish("a", "presence", Some(&tag), Some(0), "").expect("accepted");
        world.settle();
        assert_eq!(world.host.ties.count(), 0, "{mode:?}: taken back");
        watching(&mut world, phone("x", "a", "presence"));
        world.publish("a", "presence", None, Some(600), "two").expect("accepted");
        world.settle();
        world.wait(601);
        world.close(8);
        assert_eq!(world.host.ties.count(), 0, "{mode:?}: over");
        let blocks = world.heap.blocks.get();
        for n in 0..1000 {
            watching(&mut world, phone(&format!("x{n}"), "b", "presence"));
        }
        assert_eq!(world.host.ties.count(), 1000, "{mode:?}");
        world.close(7);
        world.wait(1000);
        world.run(|server| server.go_on_with_overdue(2000));
        assert_eq!((world.subscriptions(), world.host.ties.count()), (1, 0), "{mode:?}: what ran out is not swept yet");
        assert!(world.heap.blocks.get() < blocks + 600, "{mode:?}: tables stay, texts go");
    }
    let mut off = World::with(Config { publ: PublMode::Memory, ..Config::default() });
    off.host.connection = Some(7);
    watching(&mut off, phone("w", "a", "presence"));
    off.publish("a", "presence", None, Some(600), "one").expect("accepted");
    assert_eq!(off.host.ties.count(), 0, "it is off by default");
}

#[test]
fn a_call_of_a_phone_whose_connection_is_gone_is_over() {
    for mut world in worlds(&closing()) {
        let mode = mode(&world);
        watching(&mut world, phone("w", "a", "dialog"));
        world.host.connection = Some(7);
        world.publish("a", "dialog", None, Some(600), &info(&[("1", "confirmed")])).expect("accepted");
        world.settle();
        world.close(7);
        let told = world.settle();
        let over = "<dialog id=\"1\"><state>terminated</state></dialog>";
        assert!(told.len() == 1 && told[0].body.contains(over), "{mode:?}: {told:?}");
    }
}
