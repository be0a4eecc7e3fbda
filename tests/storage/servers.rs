//! Two servers on one database, with the database alone (`subs_db_mode` 3, `publ_cache` 0).

use crate::{server, server_on};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use testkit::phone::{Dialog, dialog_info, pidf};
use testkit::{Builder, Database, Kamailio, Message, Phone};

crate::on_each_database! {
    each_watcher_is_told_once_of_each_state_by_one_of_two_servers,
    of_changes_at_two_servers_at_once_the_last_one_is_told_last,
    a_dialog_goes_on_at_either_server,
    what_runs_out_is_told_by_one_of_two_servers,
    an_idle_server_leaves_the_database_alone,
    ;
    nobody_is_forgotten_who_runs_out_during_a_slow_sweep,
}

/// `notifier_processes` and `send_fast_notify`.
const SETTINGS: [(u32, u32); 6] = [(0, 0), (0, 1), (1, 0), (1, 1), (2, 0), (2, 1)];

fn two(db: &Database, with: impl Fn(Builder) -> Builder) -> [Kamailio; 2] {
    let one = with(server(db, 0, 3)).start();
    let other = with(server_on(one.tables(), 0, 3)).start();
    [one, other]
}

fn with(notifiers: u32, fast: u32) -> impl Fn(Builder) -> Builder {
    move |builder| {
        let builder = builder.param("notifier_processes", notifiers).param("send_fast_notify", fast);
        builder.param("waitn_time", 1).param("notifier_poll_rate", 20).children(2)
    }
}

/// A watcher, its dialog, and what it was told.
struct Watcher {
    phone: Phone,
    dialog: Dialog,
    told: Vec<Message>,
}

impl Watcher {
    fn new(server: &Kamailio, user: &str, event: &str) -> Self {
        let mut phone = Phone::new(user, server.port);
        let dialog = phone.subscribe("alice", event, 600);
        Self { phone, dialog, told: Vec::new() }
    }

    /// Watchers in turns at both servers, who have their first NOTIFY.
    fn several(servers: &[Kamailio; 2], count: usize, event: impl Fn(usize) -> &'static str) -> Vec<Self> {
        let new = |n: usize| Self::new(&servers[n % 2], &format!("w{n}"), event(n));
        let mut watchers: Vec<Self> = (0..count).map(new).collect();
        watchers.iter_mut().for_each(|w| w.hear(1, "after the SUBSCRIBE"));
        watchers
    }

    /// The next NOTIFY. One that was sent again, because the phone was slow to answer, is none.
    fn next(&mut self, seconds: f64) -> Option<Message> {
        loop {
            let notify = self.phone.notify_within(seconds)?;
            if self.told.iter().all(|told| told.header("Via") != notify.header("Via")) {
                return Some(notify);
            }
        }
    }

    /// Exactly so many NOTIFYs, each with a higher CSeq than the last.
    fn hear(&mut self, count: usize, what: &str) {
        for _ in 0..count {
            let notify = self.next(5.0).unwrap_or_else(|| panic!("{}: not told {what}", self.phone.user));
            let last = self.told.last().map_or(0, Message::cseq);
            assert!(notify.cseq() > last, "{} {what}: CSeq {} after {last}", self.phone.user, notify.cseq());
            assert_eq!(notify.header("Call-ID"), Some(self.dialog.call_id.as_str()));
            self.told.push(notify);
        }
    }
}

fn each_watcher_is_told_once_of_each_state_by_one_of_two_servers(db: &Database) {
    for (notifiers, fast) in SETTINGS {
        let what = format!("notifier_processes {notifiers}, send_fast_notify {fast}");
        let servers = two(db, with(notifiers, fast));
        // Packages with watcher information, which are told at once, and without, which `send_fast_notify` 0 keeps back.
        let mut watchers = Watcher::several(&servers, 8, |n| ["presence", "dialog"][n / 2 % 2]);
        let mut publishers = servers.each_ref().map(|server| Phone::new("alice", server.port));
        let mut tags = [None, None];
        for round in 0..4 {
            let publisher = &mut publishers[round % 2];
            // The publication of the one server is changed at the other.
            for (tag, event) in tags.iter_mut().zip(["presence", "dialog"]) {
                let body = match event {
                    "dialog" => dialog_info("alice", "d", ["early", "confirmed"][round % 2]),
                    _ => pidf("alice", "open", &format!("round {round}")),
                };
                let reply = publisher.publish(event, tag.as_deref(), Some(600), &body);
                assert_eq!(reply.code(), 200, "{what}, round {round}: {reply:?}");
                *tag = reply.header("SIP-ETag").map(str::to_owned);
            }
            for watcher in &mut watchers {
                watcher.hear(1, &format!("of round {round} ({what})"));
                let body = &watcher.told.last().expect("told").body;
                let wanted = match watcher.dialog.event.as_str() {
                    "dialog" => ["early", "confirmed"][round % 2].to_owned(),
                    _ => format!("<note>round {round}</note>"),
                };
                assert!(body.contains(&wanted), "{what}: {} heard {body} in round {round}", watcher.phone.user);
            }
        }
        // Nobody is told anything twice.
        std::thread::sleep(Duration::from_millis(300));
        for watcher in &mut watchers {
            assert!(watcher.next(0.01).is_none(), "{what}: {} was told twice", watcher.phone.user);
        }
    }
}

fn of_changes_at_two_servers_at_once_the_last_one_is_told_last(db: &Database) {
    const ROUNDS: usize = 40;
    for (notifiers, fast) in [(0, 1), (2, 0)] {
        let what = format!("notifier_processes {notifiers}, send_fast_notify {fast}");
        let servers = two(db, with(notifiers, fast));
        let mut phones: Vec<(Phone, Dialog)> = (0..6)
            .map(|n| {
                let mut phone = Phone::new(&format!("w{n}"), servers[n % 2].port);
                let dialog = phone.subscribe("alice", "presence", 600);
                (phone, dialog)
            })
            .collect();
        let done = std::sync::atomic::AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for (at, server) in servers.iter().enumerate() {
                let done = &done;
                scope.spawn(move || {
                    let _done = crate::Done(done);
                    let mut alice = Phone::new("alice", server.port);
                    let mut tag: Option<String> = None;
                    for round in 1..=ROUNDS {
                        // A tuple of its own for each of the two.
                        let body =
                            pidf("alice", "open", &format!("{at}-{round}")).replace("\"t1\"", &format!("\"t{at}\""));
                        let reply = alice.publish("presence", tag.as_deref(), Some(600), &body);
                        assert_eq!(reply.code(), 200, "{reply:?}");
                        tag = reply.header("SIP-ETag").map(str::to_owned);
                    }
                });
            }
            for (phone, _) in &mut phones {
                let done = &done;
                scope.spawn(move || {
                    while done.load(std::sync::atomic::Ordering::Relaxed) < 2 {
                        phone.listen(Duration::from_millis(50));
                    }
                    // What waits goes within waitn_time.
                    while phone.receive(Duration::from_millis(1500)).is_some() {}
                    phone.listen(Duration::from_millis(1500));
                });
            }
        });
        for (phone, dialog) in &phones {
            let mut by_cseq: BTreeMap<u32, BTreeSet<&str>> = BTreeMap::new();
            for notify in &phone.inbox {
                assert_eq!(notify.header("Call-ID"), Some(dialog.call_id.as_str()));
                by_cseq.entry(notify.cseq()).or_default().insert(&notify.body);
            }
            let reused: Vec<_> = by_cseq.iter().filter(|(_, bodies)| bodies.len() > 1).collect();
            assert!(reused.is_empty(), "{what}: {} was told different states with one CSeq: {reused:?}", phone.user);
            let (cseq, last) = by_cseq.last_key_value().expect("was told");
            for at in 0..2 {
                let note = format!("<note>{at}-{ROUNDS}</note>");
                assert!(
                    last.iter().all(|body| body.contains(&note)),
                    "{what}: {}, CSeq {cseq}: no {note} in {last:?}",
                    phone.user
                );
            }
        }
        for server in &servers {
            let errors: Vec<String> =
                server.log_lines("ERROR").into_iter().filter(|l| l.contains("presence")).collect();
            assert!(errors.is_empty(), "{what}: {errors:?}");
        }
    }
}

fn a_dialog_goes_on_at_either_server(db: &Database) {
    let servers = two(db, with(1, 1));
    let mut bob = Phone::new("bob", servers[0].port);
    // The same phone, as the other server sees it.
    let mut bob_there = Phone::new("bob", servers[1].port);
    let mut alice = Phone::new("alice", servers[1].port);
    let mut dialog = bob.subscribe("alice", "presence", 600);
    let first = bob.notify();
    assert_eq!(bob_there.resubscribe(&mut dialog, 900).code(), 200);
    // The refresh brings its own Contact.
    let second = bob_there.notify();
    assert!(second.cseq() > first.cseq(), "{} after {}", second.cseq(), first.cseq());
    let reply = alice.publish("presence", None, Some(600), &pidf("alice", "open", "here"));
    assert_eq!(reply.code(), 200);
    let third = bob_there.notify();
    assert!(third.cseq() > second.cseq() && third.body.contains("here"), "{third:?}");
    // A CSeq that the other server has seen is old here, too.
    dialog.cseq -= 1;
    assert_eq!(bob.resubscribe(&mut dialog, 600).code(), 400);
    assert_eq!(bob.resubscribe(&mut dialog, 0).code(), 200);
    let last = bob.notify();
    assert!(last.cseq() > third.cseq() && last.state().starts_with("terminated"), "{last:?}");
    assert_eq!(bob_there.resubscribe(&mut dialog, 600).code(), 481);
    assert_eq!(servers[0].tables().number("SELECT count(*) FROM active_watchers"), 0);
}

fn what_runs_out_is_told_by_one_of_two_servers(db: &Database) {
    let servers = two(db, |builder| with(1, 1)(builder).param("clean_period", 1).param("db_update_period", 1));
    let mut watchers = Watcher::several(&servers, 6, |_| "presence");
    let mut short = Phone::new("short", servers[0].port);
    short.subscribe("alice", "presence", 2);
    let mut heard = vec![short.notify()];
    let mut alice = Phone::new("alice", servers[1].port);
    assert_eq!(alice.publish("presence", None, Some(2), &pidf("alice", "open", "short")).code(), 200);
    heard.push(short.notify());
    assert!(heard[1].body.contains("short"));
    for watcher in &mut watchers {
        watcher.hear(1, "of the publication");
        watcher.hear(1, "of its end");
        let (first, last) = (&watcher.told[1].body, &watcher.told[2].body);
        assert!(first.contains("short") && !last.contains("short"), "{first}\n{last}");
    }
    // Both ran out; in which order it was told of them is nobody's business.
    while let Some(notify) = short.notify_within(3.0) {
        heard.push(notify);
    }
    let ends = heard.iter().filter(|n| n.state().starts_with("terminated")).map(|n| n.header("Via"));
    assert_eq!(ends.collect::<BTreeSet<_>>().len(), 1, "the end of a subscription is told once: {heard:?}");
    for watcher in &mut watchers {
        assert!(watcher.next(0.01).is_none(), "{} was told twice", watcher.phone.user);
    }
    assert_eq!(servers[0].tables().number("SELECT count(*) FROM active_watchers"), 6);
    assert_eq!(servers[0].tables().number("SELECT count(*) FROM presentity"), 0);
}

fn an_idle_server_leaves_the_database_alone(db: &Database) {
    // The driver's own lines count SQLite's statements.
    let counts_lines = matches!(db, Database::Sqlite(_));
    let busy = |builder| if counts_lines { with(4, 1)(builder).debug(3) } else { with(4, 1)(builder) };
    let servers = two(db, busy);
    let mut watchers = Watcher::several(&servers, 6, |_| "presence");
    let mut alice = Phone::new("alice", servers[0].port);
    assert_eq!(alice.publish("presence", None, Some(600), &pidf("alice", "open", "here")).code(), 200);
    watchers.iter_mut().for_each(|w| w.hear(1, "of the publication"));
    // PostgreSQL's processes report once a second what they did.
    std::thread::sleep(Duration::from_millis(1500));
    let count = || {
        if counts_lines {
            return servers.iter().map(|s| s.log_lines("db_sqlite_submit_query").len() as i64).sum();
        }
        servers[0].tables().statements()
    };
    // Counting counts, too.
    let before: i64 = count();
    let own = count() - before;
    std::thread::sleep(Duration::from_secs(4));
    let statements = count() - before - 2 * own;
    println!("{db:?}: {statements} statements of two idle servers in 4 s, {own} for counting");
    assert!(statements <= 2 * 4, "{statements} statements of two idle servers in 4 s");
    assert!(before > 20, "statements are counted at all: {before}");
}

fn nobody_is_forgotten_who_runs_out_during_a_slow_sweep(db: &Database) {
    let server = with(1, 1)(server(db, 0, 3)).param("db_update_period", 1).start();
    let mut phones: Vec<Phone> = (0..4).map(|n| Phone::new(&format!("w{n}"), server.port)).collect();
    for phone in &mut phones {
        phone.subscribe("alice", "dialog", 2);
        phone.notify();
    }
    // A sweep that began before the end looks at the table after it.
    let mut other = server.tables().session();
    other.lock_out("active_watchers");
    std::thread::sleep(Duration::from_millis(3200));
    other.unlock();
    for phone in &mut phones {
        let last = phone.notify_within(6.0).unwrap_or_else(|| panic!("{}: not told of its end", phone.user));
        assert_eq!(last.state(), "terminated;reason=timeout", "{}", phone.user);
    }
    assert_eq!(server.tables().number("SELECT count(*) FROM active_watchers"), 0);
}
