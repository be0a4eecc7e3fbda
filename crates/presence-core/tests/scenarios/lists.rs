//! Lists and counts for an operator.

use fakehost::{DIALOG, PRESENCE, Phone, START, World, phone};
use presence_core::config::{Config, PublMode, SubsMode};
use presence_core::host::Resource;
use presence_core::status::Status;
use presence_core::store::listing::{ListedSubscription, WantedPublications, WantedSubscriptions};
use presence_core::time::Timestamp;
use std::collections::HashSet;

fn world() -> World {
    World::with(Config { subs: SubsMode::WriteBack, publ: PublMode::Memory, ..Config::default() })
}

fn watching(world: &mut World, user: &str, presentity: &str, event: &str) -> Phone {
    let mut p = phone(user, presentity, event);
    world.subscribe(&mut p, Some(600)).expect("accepted");
    world.settle();
    p
}

/// All pages of a list; `between` runs between two of them.
fn follow(
    world: &mut World,
    wanted: &WantedSubscriptions<'_>,
    mut between: impl FnMut(&mut World),
) -> Vec<ListedSubscription> {
    let (mut all, mut next) = (Vec::new(), Some(0));
    while let Some(after) = next {
        let page = world.store.list_subscriptions(after, wanted);
        assert!(page.entries.len() <= 32, "{} copies under one lock", page.entries.len());
        assert!(page.next.is_none_or(|next| next > after), "{after} is followed by {:?}", page.next);
        assert!(page.entries.iter().all(|e| e.place > after));
        all.extend(page.entries);
        next = page.next;
        between(world);
    }
    all
}

fn calls(list: &[ListedSubscription]) -> HashSet<Vec<u8>> {
    let calls: HashSet<_> = list.iter().map(|e| e.subscription.texts.dialog().call_id.to_vec()).collect();
    assert_eq!(calls.len(), list.len(), "somebody twice");
    calls
}

#[test]
fn everybody_is_listed_once() {
    let mut world = world();
    let everybody: HashSet<Vec<u8>> = (0..700)
        .map(|n| watching(&mut world, &format!("w{n}"), &format!("p{}", n % 5), "presence").call_id.into_bytes())
        .collect();
    let list = follow(&mut world, &WantedSubscriptions::default(), |_| {});
    assert_eq!(calls(&list), everybody);
    // From any place on: what is behind it.
    let places: Vec<u32> = list.iter().map(|e| e.place).collect();
    assert!(places.is_sorted());
    let rest = world.store.list_subscriptions(places[300], &WantedSubscriptions::default());
    assert_eq!(rest.entries.first().map(|e| e.place), Some(places[301]));
}

#[test]
fn who_stays_is_listed_once_while_others_come_and_go() {
    let mut world = world();
    let stay: HashSet<Vec<u8>> = (0..300)
        .map(|n| watching(&mut world, &format!("w{n}"), &format!("p{}", n % 3), "presence").call_id.into_bytes())
        .collect();
    let mut leave: Vec<Phone> = (0..300).map(|n| watching(&mut world, &format!("l{n}"), "p1", "presence")).collect();
    let mut step = 0;
    let list = follow(&mut world, &WantedSubscriptions::default(), |world| {
        for _ in 0..10 {
            let Some(mut gone) = leave.pop() else { return };
            gone.in_dialog = true;
            world.subscribe(&mut gone, Some(0)).expect("accepted");
            step += 1;
            watching(world, &format!("n{step}"), &format!("p{}", step % 3), "presence");
        }
        world.publish("p1", "presence", None, Some(600), "moves the watchers round").expect("accepted");
        world.settle();
    });
    assert!(calls(&list).is_superset(&stay));
}

#[test]
fn filters_are_met_all_together() {
    let mut world = world();
    let a = watching(&mut world, "bob", "alice", "presence");
    watching(&mut world, "bob", "dave", "presence");
    watching(&mut world, "carol", "alice", "presence");
    let lamp = watching(&mut world, "bob", "alice", "dialog");
    let uri = world.find(&a).expect("there").presentity.to_ascii_uppercase();
    let presentity = Some(uri.as_slice());
    let mut count = |wanted: WantedSubscriptions<'_>| follow(&mut world, &wanted, |_| {}).len();
    let everything = WantedSubscriptions::default();
    assert_eq!(count(everything), 4);
    assert_eq!(count(WantedSubscriptions { package: Some(PRESENCE), ..everything }), 3);
    assert_eq!(count(WantedSubscriptions { call_id: Some(lamp.call_id.as_bytes()), ..everything }), 1);
    let call_id = Some(lamp.call_id.as_bytes());
    assert_eq!(count(WantedSubscriptions { call_id, package: Some(PRESENCE), ..everything }), 0);
    assert_eq!(count(WantedSubscriptions { presentity, ..everything }), 3);
    assert_eq!(count(WantedSubscriptions { presentity, package: Some(DIALOG), ..everything }), 1);
}

#[test]
fn an_entry_knows_when_it_began_and_how_its_watcher_answered() {
    let mut world = world();
    let mut p = phone("w", "a", "presence");
    world.subscribe(&mut p, Some(600)).expect("accepted");
    let first = follow(&mut world, &WantedSubscriptions::default(), |_| {}).pop().expect("one");
    assert_eq!((first.began, first.answer), (Some(Timestamp(START)), None));
    world.wait(5);
    let notify = world.notifies().pop().expect("a NOTIFY");
    world.answer(&notify, 500);
    let answered = follow(&mut world, &WantedSubscriptions::default(), |_| {}).pop().expect("one");
    assert_eq!((answered.began, answered.answer), (Some(Timestamp(START)), Some((500, Timestamp(START + 5)))));
    // After a restart nobody knows.
    let subscription = answered.subscription;
    let mut later = self::world();
    later.load(&subscription);
    let loaded = follow(&mut later, &WantedSubscriptions::default(), |_| {}).pop().expect("one");
    assert_eq!((loaded.began, loaded.answer), (None, None));
}

#[test]
fn publications_are_listed_once_and_by_their_presentity() {
    let mut world = world();
    for n in 0..100 {
        world.publish(&format!("p{n}"), "presence", None, Some(600), &n.to_string()).expect("accepted");
    }
    let follow = |wanted: WantedPublications<'_>| {
        let (mut all, mut next) = (Vec::new(), Some(0));
        while let Some(after) = next {
            let page = world.store.list_publications(after, &wanted);
            all.extend(page.entries);
            next = page.next;
        }
        all
    };
    let tags: HashSet<_> = follow(WantedPublications::default()).into_iter().map(|p| p.publication.etag).collect();
    assert_eq!(tags.len(), 100);
    let seven = follow(WantedPublications { user: Some(b"P7"), ..WantedPublications::default() });
    assert_eq!(seven.len(), 1);
    assert_eq!(seven[0].publication.body, b"7");
    assert!(follow(WantedPublications { package: Some(DIALOG), ..WantedPublications::default() }).is_empty());
}

#[test]
fn a_tally_is_the_census() {
    let mut world = world();
    for n in 0..50 {
        watching(&mut world, &format!("w{n}"), &format!("p{}", n % 7), ["presence", "dialog"][n % 2]);
    }
    for n in 0..20 {
        world.publish(&format!("p{n}"), "presence", None, Some(600), &n.to_string()).expect("accepted");
    }
    world.publish("p0", "presence", None, Some(600), "one more").expect("accepted");
    let (mut tally, census) = (world.store.tally(), world.store.check().expect("whole"));
    let subscriptions: u64 = tally.packages.iter().flat_map(|p| p.subscriptions).sum();
    let publications: u64 = tally.packages.iter().map(|p| p.publications).sum();
    assert_eq!((subscriptions, publications), (census.subscriptions, census.publications));
    assert_eq!((tally.resources, tally.queued, tally.guests), (census.resources, census.queued, census.guests));
    assert_eq!((tally.leaving, tally.gone, tally.skipped), (census.leaving, census.gone, 0));
    assert_eq!((tally.rows_behind, tally.structures), (census.rows_behind, census.structures));
    assert_eq!(tally.of(PRESENCE).subscriptions[Status::Active as usize - 1], 25);
    assert_eq!(tally.of(DIALOG).subscriptions[Status::Active as usize - 1], 25);
}

#[test]
fn a_count_is_corrected_only_while_it_is_what_it_was() {
    let world = World::with(Config { publ: PublMode::Indexed, ..Config::default() });
    let store = &world.store;
    let resource = Resource { uri: b"sip:a@x", package: PRESENCE };
    assert_eq!(store.correct_indexed(resource, 0, 2), Ok(true));
    assert_eq!(store.indexed(resource), Ok(2));
    assert_eq!(store.correct_indexed(resource, 1, 0), Ok(false));
    assert_eq!(store.correct_indexed(resource, 0, 5), Ok(false));
    assert_eq!(store.indexed(resource), Ok(2));
    assert_eq!(counted(&world), 2);
    assert_eq!(store.correct_indexed(resource, 2, 0), Ok(true));
    assert_eq!(store.indexed(resource), Ok(0));
    assert_eq!(store.check().expect("whole").resources, 0);
    // Of somebody who is not known nothing is left behind.
    let stranger = Resource { uri: b"sip:b@x", package: PRESENCE };
    assert_eq!(store.correct_indexed(stranger, 3, 1), Ok(false));
    assert_eq!(store.correct_indexed(stranger, 0, 0), Ok(true));
    assert_eq!(store.check().expect("whole").resources, 0);
}

/// What all counts together come to.
fn counted(world: &World) -> u32 {
    let (mut count, mut next) = (0, Some(0));
    while let Some(after) = next {
        let page = world.store.list_indexed(after);
        count += page.entries.iter().map(|i| i.count).sum::<u32>();
        next = page.next;
    }
    count
}
