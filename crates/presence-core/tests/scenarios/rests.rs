//! A change with very many watchers: whoever brings it tells some of them, and hands the rest over.

use fakehost::{Notified, World, phone};
use presence_core::config::{Config, PublMode, SubsMode};
use std::collections::BTreeMap;

const MANY: usize = 1500;
const MODES: [SubsMode; 3] = [SubsMode::Memory, SubsMode::WriteThrough, SubsMode::WriteBack];

fn world(subs: SubsMode, users: &[&str]) -> World {
    let mut world = World::with(Config { subs, publ: PublMode::Memory, ..Config::default() });
    for user in users {
        for n in 0..MANY {
            world.subscribe(&mut phone(&format!("{user}{n}"), user, "presence"), Some(6000)).expect("accepted");
        }
    }
    world.settle();
    world
}

/// Tells a few of those who wait; whether there may be more.
fn step(world: &mut World) -> (bool, Vec<Notified>) {
    let more = world.run(|server| server.tell_postponed(1));
    (more, world.settle())
}

#[test]
fn some_are_told_at_once_and_the_rest_by_others() {
    for subs in MODES {
        let mut world = world(subs, &["a"]);
        let tag = world.publish("a", "presence", None, Some(6000), "1").expect("accepted");
        let mut told = world.settle();
        assert!(told.len() < MANY / 4, "{subs:?}: {} are told at once", told.len());
        let mut steps = 0;
        loop {
            let (more, news) = step(&mut world);
            assert!(news.len() < MANY / 2, "{subs:?}: {} are told in a step", news.len());
            told.extend(news);
            if !more {
                break;
            }
            steps += 1;
        }
        assert!(steps > 2, "{subs:?}");
        let calls: BTreeMap<_, _> = told.iter().map(|n| (n.call_id.clone(), n.body.as_str())).collect();
        assert_eq!((told.len(), calls.len()), (MANY, MANY), "{subs:?}: each is told once");
        assert!(calls.values().all(|body| *body == "1"), "{subs:?}");
        // What is taken away is shown as gone to all of them.
        world.publish("a", "presence", Some(&tag), Some(0), "").expect("accepted");
        let mut told = world.settle();
        let gone = told[0].body.clone();
        while let (true, news) = step(&mut world) {
            told.extend(news);
        }
        told.extend(world.settle());
        assert_eq!(told.len(), MANY, "{subs:?}");
        assert!(told.iter().all(|n| n.body == gone), "{subs:?}: {gone:?}");
        let census = world.store.check().expect("whole");
        assert_eq!((census.queued, census.guests), (0, 0), "{subs:?}");
    }
}

#[test]
fn a_newer_change_takes_the_place_of_the_rest_of_an_older_one() {
    for subs in MODES {
        let mut world = world(subs, &["a", "b"]);
        let mut last = BTreeMap::new();
        let mut tags = [None, None];
        let mut hear = |told: Vec<Notified>| last.extend(told.into_iter().map(|n| (n.call_id, n.body)));
        for n in 0..12 {
            for (user, tag) in ["a", "b"].into_iter().zip(&mut tags) {
                let body = format!("{user} {n}");
                *tag = Some(world.publish(user, "presence", tag.as_deref(), Some(6000), &body).expect("accepted"));
            }
            hear(world.settle());
            hear(step(&mut world).1);
        }
        while let (true, news) = step(&mut world) {
            hear(news);
        }
        assert_eq!(last.len(), 2 * MANY, "{subs:?}");
        for (call, body) in &last {
            assert!(body == if call.starts_with('a') { "a 11" } else { "b 11" }, "{subs:?}: {call} saw {body} last");
        }
    }
}
