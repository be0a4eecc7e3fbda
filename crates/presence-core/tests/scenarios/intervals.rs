//! `notify_interval`: the first change is told at once, then at most one in each interval, and the last state at the end.

use fakehost::{Notified, Phone, World, phone};
use presence_core::body::About;
use presence_core::config::{Config, PublMode, SubsMode};
use presence_core::host::{Authorisation, Change, Decision, Expired, Publication, Publications, Resource, Shown};
use presence_core::package::PackageId;
use presence_core::refusal::{Fault, Refusal};
use presence_core::server::Server;
use presence_core::status::Status;
use presence_core::time::Seconds;

const MODES: [SubsMode; 4] = [SubsMode::Memory, SubsMode::WriteThrough, SubsMode::WriteBack, SubsMode::Database];

fn world(subs: SubsMode, interval: u32) -> World {
    World::with(Config { subs, publ: PublMode::Memory, notify_interval: interval, ..Config::default() })
}

fn watching(world: &mut World, user: &str) -> Phone {
    let mut p = phone(user, "a", "presence");
    world.subscribe(&mut p, Some(6000)).expect("accepted");
    world.settle();
    p
}

/// Ten steps of 100 ms; what left, each answered at once, and in which step.
fn second(world: &mut World, mut each: impl FnMut(&mut World, usize)) -> Vec<(usize, Notified)> {
    let mut all = Vec::new();
    for step in 0..10 {
        each(world, step);
        all.extend(world.settle().into_iter().map(|n| (step, n)));
        world.host.now.steady.0 += 100;
        world.run(|s| s.go_on_with_overdue(1000));
    }
    world.host.now.unix.0 += 1;
    all
}

#[test]
fn a_burst_is_told_at_once_then_once_in_each_interval_and_ends_with_the_last_state() {
    for subs in MODES {
        let mut world = world(subs, 1500);
        for n in 0..100 {
            watching(&mut world, &format!("w{n}"));
        }
        let mut tag = None;
        let mut burst = |world: &mut World, second: usize, step: usize| {
            for n in 0..3 {
                let body = format!("{second}.{step}.{n}");
                tag = Some(world.publish("a", "presence", tag.as_deref(), Some(6000), &body).expect("accepted"));
            }
        };
        let mut told = Vec::new();
        for at in 0..4 {
            let came = second(&mut world, |world, step| burst(world, at, step));
            told.extend(came.into_iter().map(|(step, n)| (at * 10 + step, n)));
        }
        let rest = second(&mut world, |_, _| ()).into_iter().map(|(step, n)| (40 + step, n));
        told.extend(rest);
        told.extend(second(&mut world, |_, _| ()).into_iter().map(|(step, n)| (50 + step, n)));
        let call = "w7-a-presence";
        let of_one: Vec<_> =
            told.iter().filter(|(_, n)| n.call_id == call).map(|(at, n)| (*at, n.body.as_str())).collect();
        assert_eq!(
            of_one,
            [(0, "0.0.0"), (15, "1.4.2"), (30, "2.9.2"), (45, "3.9.2")],
            "{subs:?}: the first at once, then one in 1.5 s"
        );
        assert_eq!(told.len(), 400, "{subs:?}");
        let census = world.store.check().expect("whole");
        assert_eq!((census.queued, census.guests), (0, 0), "{subs:?}");
    }
}

/// A shelf that others write to as well, so that no document is kept; counts how often it is read.
struct Counted<'a>(&'a mut dyn Publications, usize);

impl Publications for Counted<'_> {
    fn insert(
        &mut self,
        of: Resource<'_>,
        new: &Publication,
        replace: bool,
        about: Option<&About>,
    ) -> Result<(), Refusal> {
        self.0.insert(of, new, replace, about)
    }
    fn modify(&mut self, of: Resource<'_>, etag: &[u8], change: &Change<'_>) -> Result<bool, Refusal> {
        self.0.modify(of, etag, change)
    }
    fn remove(&mut self, of: Resource<'_>, etag: &[u8]) -> Result<Shown, Refusal> {
        self.0.remove(of, etag)
    }
    fn get(&mut self, of: Resource<'_>, etag: &[u8]) -> Result<Option<Shown>, Fault> {
        self.0.get(of, etag)
    }
    fn all(&mut self, of: Resource<'_>) -> Result<Vec<Shown>, Fault> {
        self.1 += 1;
        self.0.all(of)
    }
    fn expire(
        &mut self,
        budget: usize,
        wanted: &dyn Fn(PackageId) -> bool,
        ready: &mut dyn FnMut(Resource<'_>) -> bool,
    ) -> Result<Vec<Expired>, Fault> {
        self.0.expire(budget, wanted, ready)
    }
    fn is_exclusive(&self) -> bool {
        false
    }
}

#[test]
fn the_state_is_read_once_for_all_whose_interval_is_over() {
    for (subs, reads) in [(SubsMode::Memory, 1), (SubsMode::WriteBack, 1), (SubsMode::Database, 50)] {
        let mut world = world(subs, 1000);
        for n in 0..50 {
            let mut p = phone(&format!("w{n}"), "a", "message-summary");
            world.subscribe(&mut p, Some(6000)).expect("accepted");
            world.settle();
        }
        let tag = world.publish("a", "message-summary", None, Some(6000), "1").expect("accepted");
        assert_eq!(world.settle().len(), 50, "{subs:?}");
        world.publish("a", "message-summary", Some(&tag), Some(6000), "2").expect("accepted");
        world.wait(1);
        let read = world.run(|server| {
            let mut publications = Counted(&mut *server.publications, 0);
            let subscriptions = &mut *server.subscriptions;
            Server { host: &mut *server.host, subscriptions, publications: &mut publications }.go_on_with_overdue(1000);
            publications.1
        });
        let told = world.settle();
        assert_eq!(told.len(), 50, "{subs:?}");
        assert!(told.iter().all(|n| n.body == "2"), "{subs:?}: {:?}", told[0]);
        // With the table alone after each row: another server may have told it something newer.
        assert_eq!(read, reads, "{subs:?}");
    }
}

#[test]
fn what_is_not_a_burst_is_told_at_once() {
    for subs in MODES {
        let mut world = world(subs, 900);
        watching(&mut world, "w");
        for n in 0..5 {
            let body = n.to_string();
            let came = second(&mut world, |world, step| {
                if step == 0 {
                    world.publish("a", "message-summary", None, Some(6000), "other").expect("accepted");
                    let user = if n == 0 { "a" } else { "b" };
                    world.publish(user, "presence", None, Some(6000), &body).expect("accepted");
                }
            });
            assert_eq!(came.len(), usize::from(n == 0), "{subs:?}");
            let came = second(&mut world, |world, step| {
                if step == 0 {
                    world.publish("a", "presence", None, Some(1), &body).expect("accepted");
                }
            });
            assert_eq!(came.iter().map(|(step, _)| *step).collect::<Vec<_>>(), [0], "{subs:?}, change {n}");
        }
    }
}

#[test]
fn a_subscribe_and_an_end_are_told_at_once() {
    for subs in MODES {
        let mut world = world(subs, 10_000);
        let mut p = watching(&mut world, "w");
        // The NOTIFY after the SUBSCRIBE is not the first of a burst.
        world.publish("a", "presence", None, Some(6000), "1").expect("accepted");
        assert_eq!(world.settle().len(), 1, "{subs:?}");
        world.publish("a", "presence", None, Some(6000), "2").expect("accepted");
        assert_eq!(world.settle(), [], "{subs:?}");
        world.subscribe(&mut p, Some(6000)).expect("accepted");
        let told = world.settle();
        assert_eq!((told.len(), told[0].body.as_str()), (1, "1+2"), "{subs:?}");
        // The refresh does not begin another interval.
        world.publish("a", "presence", None, Some(6000), "3").expect("accepted");
        assert_eq!(world.settle(), [], "{subs:?}");
        world.wait(9);
        world.run(|s| s.go_on_with_overdue(100));
        assert_eq!(world.settle(), [], "{subs:?}");
        world.wait(1);
        world.run(|s| s.go_on_with_overdue(100));
        assert_eq!(world.settle()[0].body, "1+2+3", "{subs:?}");
        world.publish("a", "presence", None, Some(6000), "4").expect("accepted");
        assert_eq!(world.settle(), [], "{subs:?}");
        world.subscribe(&mut p, Some(0)).expect("accepted");
        let told = world.settle();
        assert_eq!((told.len(), told[0].status), (1, Status::Terminated), "{subs:?}");
        let census = world.store.check().expect("whole");
        assert_eq!((census.queued, census.guests, census.leaving), (0, 0, 0), "{subs:?}");
    }
}

#[test]
fn the_end_of_a_subscription_in_an_interval_is_told_at_once() {
    for subs in MODES {
        let mut world = world(subs, 600_000);
        let mut p = phone("w", "a", "presence");
        world.subscribe(&mut p, Some(100)).expect("accepted");
        world.settle();
        for body in ["1", "2"] {
            world.publish("a", "presence", None, Some(6000), body).expect("accepted");
        }
        assert_eq!(world.settle().len(), 1, "{subs:?}");
        world.wait(101);
        world.run(|s| s.expire_subscriptions());
        let told = world.settle();
        assert_eq!((told.len(), told[0].status), (1, Status::Terminated), "{subs:?}");
        assert_eq!(world.store.check().expect("whole").queued, 0, "{subs:?}");
    }
}

#[test]
fn a_decision_in_an_interval_is_told_at_once() {
    for subs in MODES {
        let mut world = world(subs, 600_000);
        watching(&mut world, "w");
        for body in ["1", "2"] {
            world.publish("a", "presence", None, Some(6000), body).expect("accepted");
        }
        assert_eq!(world.settle().len(), 1, "{subs:?}");
        let resource = Resource { uri: b"sip:a@h", package: fakehost::PRESENCE };
        let pending = Authorisation { status: Status::Pending, reason: b"confirm".to_vec() };
        let decision = Decision { watcher_user: b"w".to_vec(), watcher_domain: b"h".to_vec(), authorisation: pending };
        world.run(|s| s.authorisation_changed(resource, &decision));
        let told = world.settle();
        assert_eq!((told.len(), told[0].status, told[0].body.as_str()), (1, Status::Pending, ""), "{subs:?}");
    }
}

#[test]
fn a_silent_watcher_waits_for_the_interval_too() {
    for subs in MODES {
        let mut world = world(subs, 10_000);
        world.host.config.notify_hold = 1000;
        watching(&mut world, "w");
        world.publish("a", "presence", None, Some(6000), "1").expect("accepted");
        let first = world.notifies().remove(0);
        world.publish("a", "presence", None, Some(6000), "2").expect("accepted");
        for _ in 0..9 {
            world.wait(1);
            world.run(|s| s.go_on_with_overdue(100));
            assert_eq!(world.notifies(), [], "{subs:?}: overtaken, and not before the interval is over");
        }
        // An answer that comes late changes nothing.
        world.answer(&first, 200);
        world.wait(1);
        world.run(|s| s.go_on_with_overdue(100));
        let next = world.settle();
        assert_eq!((next.len(), next[0].body.as_str()), (1, "1+2"), "{subs:?}");
    }
}

#[test]
fn with_max_expires_of_years_an_interval_holds_nobody_up() {
    for subs in MODES {
        let mut world = world(subs, 5000);
        world.host.config.max_expires = Seconds(1_000_000_000);
        let mut p = phone("w", "a", "presence");
        world.subscribe(&mut p, Some(900_000_000)).expect("accepted");
        world.settle();
        for days in [1, 20, 24, 30, 40, 49] {
            world.wait(days * 86_400);
            world.publish("a", "presence", None, Some(1), &days.to_string()).expect("accepted");
            assert_eq!(world.settle().len(), 1, "{subs:?}: after {days} days");
            world.wait(5);
            world.run(|s| s.go_on_with_overdue(100));
        }
    }
}
