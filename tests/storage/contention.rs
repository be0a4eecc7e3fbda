//! Many workers, and other programs, on the same tables: nobody is refused because of that, and nothing is lost.

use crate::Done;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};
use testkit::kamailio::Module;
use testkit::phone::{Dialog, pidf, unique};
use testkit::{Database, Kamailio, Phone, Tables};

crate::on_each_database! {
    nobody_is_refused_with_write_through,
    nobody_is_refused_with_the_database_alone,
    a_lock_that_is_held_for_too_long_is_a_503_within_the_patience,
    two_thousand_requests_at_eight_workers_are_all_answered_and_kept,
    ;
    a_deadlock_is_nobodys_refusal,
}

/// How long the workers have the file to themselves, and how long they share it.
const ALONE: Duration = Duration::from_millis(500);
const SHARED: Duration = Duration::from_millis(1200);
/// Clients of the server under test.
const CLIENTS: usize = 8;

/// What one client was promised.
#[derive(Default)]
struct Promises {
    replies: BTreeMap<u16, u64>,
    slowest: Duration,
    /// Call-IDs.
    open: Vec<String>,
    closed: Vec<String>,
    /// The entity-tag of its publication.
    etag: Option<String>,
}

impl Promises {
    /// Asks; the reply, or none within 10 s (code 0).
    fn ask(&mut self, phone: &mut Phone, request: &str) -> Option<testkit::sip::Message> {
        let start = Instant::now();
        phone.send_raw(request.as_bytes());
        let reply = phone.receive(Duration::from_secs(10));
        phone.inbox.clear();
        *self.replies.entry(reply.as_ref().map_or(0, testkit::sip::Message::code)).or_default() += 1;
        self.slowest = self.slowest.max(start.elapsed());
        reply.filter(|r| r.code() / 100 == 2)
    }

    /// One round: a new subscription, its refresh, a change of the publication; every other subscription ends.
    fn round(&mut self, phone: &mut Phone, number: usize) {
        let mut dialog = Dialog {
            presentity: phone.user.clone(),
            event: "presence".into(),
            call_id: format!("busy-{}", unique()),
            to_tag: String::new(),
            from_tag: "f".into(),
            cseq: 1,
        };
        let request = phone.subscribe_request(&dialog, Some(3000), &[]);
        if let Some(reply) = self.ask(phone, &request) {
            dialog.to_tag = reply.to_tag().to_owned();
            self.open.push(dialog.call_id.clone());
            dialog.cseq += 1;
            let ends = number % 2 == 1;
            let request = phone.subscribe_request(&dialog, Some(if ends { 0 } else { 2000 }), &[]);
            if self.ask(phone, &request).is_some() && ends {
                self.open.pop();
                self.closed.push(dialog.call_id.clone());
            }
        }
        let body = pidf(&phone.user, "open", &number.to_string());
        let request = phone.publish_request(&phone.user, "presence", self.etag.as_deref(), Some(3000), &body, &[]);
        if let Some(reply) = self.ask(phone, &request) {
            self.etag = reply.header("SIP-ETag").map(str::to_owned);
        }
    }

    fn go_on(&mut self, phone: &mut Phone, time: Duration) {
        let end = Instant::now() + time;
        let mut number = self.open.len() + self.closed.len();
        while Instant::now() < end {
            self.round(phone, number);
            number += 1;
        }
    }
}

/// All clients at once, for some time.
fn load(clients: &mut [(Phone, Promises)], time: Duration) {
    thread::scope(|scope| {
        for (phone, promises) in clients {
            scope.spawn(move || promises.go_on(phone, time));
        }
    });
}

fn clients(server: &Kamailio, count: usize, name: &str) -> Vec<(Phone, Promises)> {
    (0..count).map(|n| (Phone::new(&format!("{name}{n}"), server.port), Promises::default())).collect()
}

/// Another program: short transactions that hold the lock for 10 ms.
fn write_too(tables: &Tables, stop: &AtomicUsize, commits: &AtomicU64) {
    let mut session = tables.session();
    while stop.load(Ordering::Relaxed) == 0 {
        session.lock(&["active_watchers"]);
        thread::sleep(Duration::from_millis(10));
        session.unlock();
        commits.fetch_add(1, Ordering::Relaxed);
        thread::sleep(Duration::from_millis(10));
    }
}

fn replies(clients: &[(Phone, Promises)]) -> BTreeMap<u16, u64> {
    let mut all = BTreeMap::new();
    for (code, count) in clients.iter().flat_map(|(_, p)| &p.replies) {
        *all.entry(*code).or_default() += count;
    }
    all
}

/// Everything that was promised is in the tables.
fn kept(server: &Kamailio, clients: &[(Phone, Promises)]) {
    subscriptions_kept(server, clients);
    publications_kept(server, clients);
}

fn column(server: &Kamailio, statement: &str) -> BTreeSet<String> {
    server.tables().run(statement).into_iter().collect()
}

fn subscriptions_kept(server: &Kamailio, clients: &[(Phone, Promises)]) {
    let rows = column(server, "SELECT callid FROM active_watchers");
    for (_, promises) in clients {
        let missing: Vec<_> = promises.open.iter().filter(|call| !rows.contains(*call)).collect();
        assert!(missing.is_empty(), "acknowledged, and not in the table: {missing:?}");
        let left: Vec<_> = promises.closed.iter().filter(|call| rows.contains(*call)).collect();
        assert!(left.is_empty(), "ended, and still in the table: {left:?}");
    }
}

fn publications_kept(server: &Kamailio, clients: &[(Phone, Promises)]) {
    let tags = column(server, "SELECT username || ' ' || etag FROM presentity");
    for (phone, promises) in clients {
        let etag = promises.etag.as_deref().unwrap_or_default();
        assert!(
            tags.contains(&format!("{} {etag}", phone.user)),
            "publication of {} with {etag} is missing",
            phone.user
        );
    }
}

/// One server with so many workers, first alone with its tables, then beside others. Gives what to print.
fn share(db: &Database, subs: u8, workers: u32) -> String {
    // tm keeps each transaction for 5 s, and there are thousands a second.
    let server = Kamailio::builder()
        .memory(1024, 8)
        .database(db.clone())
        .param("publ_cache", 1)
        .param("subs_db_mode", subs)
        .children(workers)
        .start();
    let mut ours = clients(&server, CLIENTS, "ours");
    load(&mut ours, ALONE);
    let alone: u64 = replies(&ours).values().sum();
    let neighbour = Kamailio::builder()
        .module(Module::Stock)
        .database(Database::At(server.tables().clone()))
        .param("publ_cache", 1)
        .param("subs_db_mode", subs)
        .start();
    let mut theirs = clients(&neighbour, 2, "theirs");
    let (stop, commits) = (AtomicUsize::new(0), AtomicU64::new(0));
    thread::scope(|scope| {
        scope.spawn(|| write_too(server.tables(), &stop, &commits));
        scope.spawn(|| load(&mut theirs, SHARED));
        let _stop = Done(&stop);
        load(&mut ours, SHARED);
    });
    let codes = replies(&ours);
    let slowest = ours.iter().map(|(_, p)| p.slowest).max().unwrap_or_default().as_millis();
    let line = format!(
        "subs_db_mode {subs}, {db:?}, {workers} workers: {alone} replies alone, with others beside {codes:?} in all, \
         slowest {slowest} ms; others: {} commits, stock {:?}",
        commits.load(Ordering::Relaxed),
        replies(&theirs)
    );
    assert_eq!(codes.keys().copied().collect::<Vec<_>>(), [200], "{line}");
    assert!(alone > 50 && codes[&200] > alone + 50, "too little was asked: {line}");
    assert!(commits.load(Ordering::Relaxed) >= 3, "the other program did not come to write: {line}");
    // Of the last NOTIFYs some may be under way: that changes no row's presence.
    kept(&server, &ours);
    line
}

fn all_shapes(db: &Database, subs: u8) {
    let journals = ["WAL", "DELETE"].map(Database::Sqlite);
    match db {
        Database::Sqlite(_) => journals.iter().for_each(|db| {
            [2, 4, 8].iter().for_each(|workers| println!("{}", share(db, subs, *workers)));
        }),
        _ => println!("{}", share(db, subs, 8)),
    }
}

fn nobody_is_refused_with_write_through(db: &Database) {
    all_shapes(db, 1);
}

fn nobody_is_refused_with_the_database_alone(db: &Database) {
    all_shapes(db, 3);
}

fn a_lock_that_is_held_for_too_long_is_a_503_within_the_patience(db: &Database) {
    for subs in [1, 3] {
        let server = crate::server(db, 1, subs).param("db_wait_time", 600).children(4).start();
        // With SQLite they also wait for each other.
        let count = if matches!(db, Database::Sqlite(_)) { CLIENTS } else { CLIENTS / 2 };
        let mut ours = clients(&server, count, "ours");
        let mut other = server.tables().session();
        other.lock(&["presentity", "active_watchers", "watchers"]);
        thread::scope(|scope| {
            for (phone, promises) in &mut ours {
                scope.spawn(|| promises.round(phone, 0));
            }
        });
        let (codes, slowest) = (replies(&ours), ours.iter().map(|(_, p)| p.slowest).max().unwrap_or_default());
        println!("{db:?}, subs_db_mode {subs}: {codes:?}, slowest {} ms", slowest.as_millis());
        assert_eq!(codes, BTreeMap::from([(503, 2 * count as u64)]));
        // At most eight requests at four workers: each waits for its patience and the last of the database's steps, behind
        // another one or two. Without the patience it would be for ever.
        let step = if matches!(db, Database::Sqlite(_)) { 400 } else { 1200 };
        assert!(slowest < Duration::from_millis(3 * (600 + step) + 500), "{slowest:?}");
        other.unlock();
        ours.iter_mut().for_each(|(_, promises)| *promises = Promises::default());
        load(&mut ours, Duration::from_millis(100));
        assert_eq!(replies(&ours).keys().copied().collect::<Vec<_>>(), [200], "subs_db_mode {subs}, afterwards");
        kept(&server, &ours);
    }
}

fn two_thousand_requests_at_eight_workers_are_all_answered_and_kept(db: &Database) {
    // Each with a presentity of its own, and then all with the same one, whose watchers they all are.
    const OWN: usize = 76;
    const SHARED: usize = 8;
    for subs in 0..=3 {
        let mut server = crate::server(db, subs % 2, subs).memory(512, 8).children(8).start();
        let mut own = clients(&server, CLIENTS, "own");
        let mut shared: Vec<_> =
            (0..CLIENTS).map(|_| (Phone::new("shared", server.port), Promises::default())).collect();
        let start = Instant::now();
        for (clients, rounds) in [(&mut own, OWN), (&mut shared, SHARED)] {
            thread::scope(|scope| {
                for (phone, promises) in clients {
                    scope.spawn(move || (0..rounds).for_each(|round| promises.round(phone, round)));
                }
            });
        }
        let (took, mut codes) = (start.elapsed(), replies(&own));
        replies(&shared).into_iter().for_each(|(code, count)| *codes.entry(code).or_default() += count);
        println!("{db:?}, subs_db_mode {subs}: {codes:?} in {} ms", took.as_millis());
        assert_eq!(codes, BTreeMap::from([(200, (3 * CLIENTS * (OWN + SHARED)) as u64)]), "subs_db_mode {subs}");
        publications_kept(&server, &own);
        publications_kept(&server, &shared);
        // The NOTIFYs that are under way may fail: what they fail with is no ERROR of ours.
        let errors: Vec<String> = server.log_lines("ERROR: presence").into_iter().collect();
        assert!(errors.is_empty(), "subs_db_mode {subs}: {errors:?}");
        if subs == 2 {
            server.stop();
        }
        if subs > 0 {
            subscriptions_kept(&server, &own);
            subscriptions_kept(&server, &shared);
        }
    }
}

/// Somebody else writes the rows of all watchers from the last to the first, while they are told from the first to the
/// last: again and again one of the two is ended by the database.
fn a_deadlock_is_nobodys_refusal(db: &Database) {
    const WATCHERS: usize = 12;
    const DEADLOCKS: i64 = 3;
    let server = crate::server(db, 0, 3).param("waitn_time", 1).children(4).start();
    let mut watchers: Vec<Phone> = (0..WATCHERS).map(|n| Phone::new(&format!("w{n}"), server.port)).collect();
    watchers.iter_mut().for_each(|w| drop(w.subscribe("alice", "presence", 600)));
    let ids = server.tables().run("SELECT id FROM active_watchers ORDER BY id DESC");
    let update = |id: &String| format!("UPDATE active_watchers SET flags=1-flags WHERE id={id};");
    let backwards = format!("BEGIN; {} COMMIT;", ids.iter().map(update).collect::<String>());
    let before = server.tables().deadlocks();
    let stop = AtomicUsize::new(0);
    let last = thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while stop.load(Ordering::Relaxed) == 0 {
                    // It may be the one that is ended.
                    let _ = server.tables().try_run(&backwards);
                }
            });
        }
        for watcher in &mut watchers {
            let stop = &stop;
            scope.spawn(move || {
                while stop.load(Ordering::Relaxed) == 0 {
                    watcher.listen(Duration::from_millis(20));
                }
                watcher.listen(Duration::from_millis(1500));
            });
        }
        let _stop = Done(&stop);
        let (mut alice, mut tag, mut round) = (Phone::new("alice", server.port), None, 0);
        let end = Instant::now() + Duration::from_secs(20);
        while Instant::now() < end && (round < 50 || server.tables().deadlocks() < before + DEADLOCKS) {
            round += 1;
            let body = pidf("alice", "open", &format!("round {round}"));
            let reply = alice.publish("presence", tag.as_deref(), Some(600), &body);
            assert_eq!(reply.code(), 200, "{reply:?}");
            tag = reply.header("SIP-ETag").map(str::to_owned);
        }
        round
    });
    let broken = server.tables().deadlocks() - before;
    println!("{db:?}: {last} publications, {broken} deadlocks");
    assert!(broken > 0, "no deadlock");
    let refused = server.log_lines("could not be written");
    assert!(refused.is_empty(), "{refused:?}");
    for watcher in &watchers {
        let heard = watcher.inbox.iter().max_by_key(|notify| notify.cseq()).expect("was told");
        assert!(heard.body.contains(&format!("<note>round {last}</note>")), "{}: {heard:?}", watcher.user);
    }
}
