//! `notify_interval`: a burst is told at once, then once in each interval, and the last state at the end.

use crate::in_sqlite;
use std::time::{Duration, Instant};
use testkit::phone::pidf;
use testkit::{Builder, Kamailio, Message, Phone, wait_for};

const INTERVAL: Duration = Duration::from_millis(1000);
/// How long before its time a NOTIFY may seem to come: the one before may have been on its way for longer.
const EARLY: Duration = Duration::from_millis(60);
/// How long after its time: a look of the notifier, and a busy machine.
const LATE: Duration = Duration::from_millis(900);
const WATCHERS: usize = 5;

/// Every place where subscriptions are kept.
fn modes() -> [(&'static str, Builder); 4] {
    [
        ("mode 0", Kamailio::builder()),
        ("mode 1", in_sqlite(1, 1)),
        ("mode 2", in_sqlite(2, 2)),
        ("mode 3", in_sqlite(3, 0).param("notifier_processes", 2)),
    ]
}

struct Scene {
    server: Kamailio,
    watchers: Vec<Phone>,
}

fn scene(builder: Builder) -> Scene {
    let server = builder.children(8).param("notify_interval", INTERVAL.as_millis()).start();
    let watchers = (0..WATCHERS).map(|n| {
        let mut bob = Phone::new(&format!("bob{n}"), server.port);
        bob.subscribe("alice", "presence", 600);
        bob.notify();
        bob
    });
    let watchers = watchers.collect();
    // Or the first change would wait for the answer to the first NOTIFY.
    wait_for("rest", 5.0, || (server.status("notifies_waiting") == 0).then_some(()));
    Scene { server, watchers }
}

impl Scene {
    /// What has come meanwhile, with the time.
    fn collect(&mut self, told: &mut [Vec<(Instant, Message)>]) {
        for (bob, told) in self.watchers.iter_mut().zip(told) {
            bob.listen(Duration::from_millis(1));
            told.extend(bob.inbox.drain(..).map(|notify| (Instant::now(), notify)));
        }
    }
}

/// One of those who publish for the same presentity, some hundred times a second and at least so long: its last note.
fn publisher(port: u16, name: &str, time: Duration) -> String {
    let (mut phone, mut etag, mut count) = (Phone::new(name, port), None, 0);
    let start = Instant::now();
    while start.elapsed() < time || count < 50 {
        count += 1;
        // A tuple of its own: of two with one id only one is shown.
        let body = pidf("alice", "open", &format!("{name} {count}.")).replace("\"t1\"", &format!("\"{name}\""));
        let reply = phone.publish_for("alice", "presence", etag.as_deref(), Some(600), &body);
        assert_eq!(reply.code(), 200, "{name} {count}");
        etag = reply.header("SIP-ETag").map(str::to_owned);
        // Faster, and the host's transactions, which it keeps for some seconds, take all its memory.
        std::thread::sleep(Duration::from_millis(5));
    }
    format!("{name} {count}.")
}

fn burst_in(name: &str, builder: Builder) {
    let mut scene = scene(builder);
    let port = scene.server.port;
    let mut told: Vec<Vec<(Instant, Message)>> = vec![Vec::new(); WATCHERS];
    // The NOTIFY after the SUBSCRIBE does not hold up the first change.
    let start = Instant::now();
    let last = std::thread::scope(|scope| {
        let two = ["one", "two"].map(|name| scope.spawn(move || publisher(port, name, INTERVAL * 2 + INTERVAL / 2)));
        while !two.iter().all(|thread| thread.is_finished()) {
            scene.collect(&mut told);
        }
        two.map(|thread| thread.join().expect("publishes"))
    });
    let is_last = |notify: &Message| last.iter().all(|note| notify.body.contains(note.as_str()));
    let end = Instant::now() + INTERVAL + LATE * 3;
    while Instant::now() < end && !told.iter().all(|t| t.last().is_some_and(|(_, n)| is_last(n))) {
        scene.collect(&mut told);
    }
    // And nothing after it.
    for bob in &mut scene.watchers {
        bob.listen(Duration::from_millis(30));
    }
    scene.collect(&mut told);
    for (n, told) in told.iter().enumerate() {
        let what = format!("{name}, watcher {n}, {last:?}");
        let (first, _) = told.first().unwrap_or_else(|| panic!("{what}: told nothing"));
        assert!(first.duration_since(start) < LATE, "{what}: the first after {:?}", first.duration_since(start));
        let (_, notify) = told.last().expect("one");
        assert!(is_last(notify), "{what}: the last state is missing: {}", notify.body);
        for pair in told.windows(2) {
            let between = pair[1].0.duration_since(pair[0].0);
            assert!(between > INTERVAL - EARLY && between < INTERVAL + LATE, "{what}: {between:?} between two");
            assert!(pair[1].1.cseq() > pair[0].1.cseq(), "{what}");
        }
        assert!((3..=5).contains(&told.len()), "{what}: {} NOTIFYs", told.len());
    }
    wait_for("rest", 5.0, || (scene.server.status("notifies_waiting") == 0).then_some(()));
}

#[test]
fn a_burst_is_told_at_once_then_once_in_each_interval_in_every_mode() {
    for (name, builder) in modes() {
        burst_in(name, builder);
    }
}

#[test]
fn a_subscribe_and_an_end_are_answered_at_once_in_an_interval() {
    for (name, builder) in modes() {
        let server = builder.param("notify_interval", 60_000).start();
        let (mut alice, mut bob) = (Phone::new("alice", server.port), Phone::new("bob", server.port));
        let mut dialog = bob.subscribe("alice", "presence", 600);
        bob.notify();
        let reply = alice.publish("presence", None, Some(600), &pidf("alice", "open", "one"));
        assert!(bob.notify().body.contains("one"), "{name}");
        let reply = alice.publish("presence", reply.header("SIP-ETag"), Some(600), &pidf("alice", "open", "two"));
        let etag = reply.header("SIP-ETag").map(str::to_owned);
        assert_eq!(bob.notify_within(0.3), None, "{name}");
        assert_eq!(bob.resubscribe(&mut dialog, 600).code(), 200, "{name}");
        assert!(bob.notify_within(1.0).expect("at once").body.contains("two"), "{name}");
        let reply = alice.publish("presence", etag.as_deref(), Some(600), &pidf("alice", "open", "three"));
        assert_eq!(reply.code(), 200, "{name}");
        assert_eq!(bob.notify_within(0.3), None, "{name}");
        assert_eq!(bob.resubscribe(&mut dialog, 0).code(), 200, "{name}");
        let last = bob.notify_within(1.0).expect("at once");
        assert!(last.state().starts_with("terminated") && last.body.contains("three"), "{name}: {last:?}");
    }
}

#[test]
fn without_notify_interval_each_change_is_told() {
    let server = Kamailio::builder().start();
    let (mut alice, mut bob) = (Phone::new("alice", server.port), Phone::new("bob", server.port));
    bob.subscribe("alice", "presence", 600);
    bob.notify();
    let mut etag = None;
    for n in 0..10 {
        let note = format!("note {n}.");
        let reply = alice.publish("presence", etag.as_deref(), Some(600), &pidf("alice", "open", &note));
        etag = reply.header("SIP-ETag").map(str::to_owned);
        assert!(bob.notify_within(0.9).expect("at once").body.contains(&note));
    }
}
