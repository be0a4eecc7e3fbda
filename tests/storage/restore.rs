//! Many subscriptions in the table when the server starts, at the default 8 MB of private memory.

use crate::server;
use std::time::{Duration, Instant};
use testkit::phone::{Dialog, pidf};
use testkit::{Database, Kamailio, Phone};

crate::on_each_database! {
    twenty_thousand_subscriptions_are_there_after_a_start,
    what_was_restored_is_written_once_and_not_again,
    more_than_fits_into_memory_is_refused_with_a_sentence,
}

/// How far rows are ahead of their subscriptions with write-back.
const AHEAD: u32 = 1 << 16;
/// Watchers of each presentity.
const WATCHERS: usize = 10;

/// What a start is to be measured with.
#[derive(Clone, Copy)]
struct Case {
    rows: usize,
    allocator: &'static str,
    fetch_rows: Option<u32>,
    subs: u8,
}

/// So many subscriptions in the table, whose watchers are all reached at this phone.
fn fill(server: &Kamailio, bob: &Phone, rows: usize) {
    let contact = bob.contact();
    let port = server.port;
    let start = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("a clock").as_secs();
    let row = |i: usize| {
        let (presentity, expires) = (i / WATCHERS, start as usize + 3000 + i % 600);
        format!(
            "('sip:p{presentity}@test.local', 'w{i}', 'test.local', 'p{presentity}', 'test.local', 'presence', NULL, \
             'totag-{i}', 'fromtag-{i}', 'call-number-{i}@192.0.2.1', 7, 1, '{contact}', NULL, {expires}, 1, NULL, 7, \
             'udp:127.0.0.1:{port}', 'sip:127.0.0.1:{port}', 'w{i}', 'test.local', -1, -1, 0, 'A phone of some make/1.2.3')"
        )
    };
    let mut script = String::from("BEGIN;");
    for first in (0..rows).step_by(500) {
        let values: Vec<String> = (first..rows.min(first + 500)).map(row).collect();
        script += "INSERT INTO active_watchers (presentity_uri, watcher_username, watcher_domain, to_user, to_domain, event, \
                   event_id, to_tag, from_tag, callid, local_cseq, remote_cseq, contact, record_route, expires, status, \
                   reason, version, socket_info, local_contact, from_user, from_domain, updated, updated_winfo, flags, \
                   user_agent) VALUES ";
        script += &values.join(",");
        script += ";\n";
    }
    server.tables().script(&(script + "COMMIT;"));
}

fn restore(db: &Database, case: Case) {
    let Case { rows, allocator, fetch_rows, subs } = case;
    let shm = if rows > 50_000 { 512 } else { 128 };
    let mut builder = server(db, 1, subs).allocator(allocator).memory(shm, 8).children(1);
    if let Some(page) = fetch_rows {
        builder = builder.param("fetch_rows", page);
    }
    // At this level the driver logs its statements (and takes its time).
    let counts_pages = rows <= 5_000 && matches!(db, Database::Sqlite(_));
    if counts_pages {
        builder = builder.debug(3);
    }
    let mut server = builder.start();
    let mut bob = Phone::new("bob", server.port);
    server.stop();
    fill(&server, &bob, rows);
    let before = server.log().len();
    let start = Instant::now();
    server.restart();
    let took = start.elapsed();
    let log = server.log().split_off(before);
    assert!(log.contains(&format!(" {rows} subscriptions loaded")), "not {rows} subscriptions:\n{}", last_lines(&log));
    if counts_pages {
        let page = fetch_rows.unwrap_or(500);
        let page_of = |line: &str| line.contains("active_watchers") && line.contains(" where ");
        let limit = format!("LIMIT {page}");
        let pages = log.lines().filter(|line| page_of(line) && line.trim_end().ends_with(&limit)).count();
        let wanted = rows.div_ceil(page as usize);
        assert!((wanted..=wanted + 1).contains(&pages), "{pages} pages of {page} for {rows} rows");
    }
    println!(
        "{rows} subscriptions, -x {allocator}, fetch_rows {}: answers after {} ms, {} bytes of shm each",
        fetch_rows.unwrap_or(500),
        took.as_millis(),
        server.shm_used() / rows as i64
    );
    serves(&server, &mut bob, rows / WATCHERS - 1);
}

/// All watchers of one presentity are told, and their dialogs are known.
fn serves(server: &Kamailio, bob: &mut Phone, presentity: usize) {
    let user = format!("p{presentity}");
    let mut publisher = Phone::new(&user, server.port);
    assert_eq!(publisher.publish("presence", None, Some(600), &pidf(&user, "open", "here")).code(), 200);
    let mut told = std::collections::BTreeSet::new();
    for _ in 0..WATCHERS {
        let notify = bob.notify();
        assert_eq!(notify.cseq(), 9, "one above what the row had used");
        told.insert(notify.header("Call-ID").unwrap_or_default().to_owned());
    }
    assert_eq!(told.len(), WATCHERS);
    let number = presentity * WATCHERS;
    let mut watcher = Phone::new(&format!("w{number}"), server.port);
    let mut dialog = Dialog {
        presentity: user,
        event: "presence".into(),
        call_id: format!("call-number-{number}@192.0.2.1"),
        to_tag: format!("totag-{number}"),
        from_tag: format!("fromtag-{number}"),
        cseq: 1,
    };
    assert_eq!(watcher.resubscribe(&mut dialog, 600).code(), 200);
    assert_eq!(watcher.resubscribe(&mut dialog, 0).code(), 200);
    assert_eq!(watcher.resubscribe(&mut dialog, 600).code(), 481);
}

fn last_lines(log: &str) -> String {
    let lines: Vec<&str> = log.lines().rev().take(20).collect();
    lines.into_iter().rev().collect::<Vec<_>>().join("\n")
}

fn twenty_thousand_subscriptions_are_there_after_a_start(db: &Database) {
    for (allocator, subs) in [("qm", 2), ("tlsf", 2), ("tlsf", 1)] {
        restore(db, Case { rows: 20_000, allocator, fetch_rows: None, subs });
    }
}

#[test]
fn so_many_rows_are_read_at_a_time_as_fetch_rows_says() {
    // Counted in the log of SQLite's driver.
    let db = &Database::Sqlite("WAL");
    for fetch_rows in [Some(10), Some(499), None] {
        restore(db, Case { rows: 2_000, allocator: "qm", fetch_rows, subs: 2 });
    }
}

fn what_was_restored_is_written_once_and_not_again(db: &Database) {
    let mut server = server(db, 1, 2).memory(128, 8).start();
    let bob = Phone::new("bob", server.port);
    server.stop();
    fill(&server, &bob, 5_000);
    // A start puts them ahead: a crash may come before the first flush.
    let sum = |ahead| format!("SELECT count(*), sum(local_cseq + {ahead}), sum(expires) FROM active_watchers");
    let ahead = server.tables().run(&sum(AHEAD));
    server.restart();
    let start = Instant::now();
    server.stop();
    assert!(start.elapsed() < Duration::from_secs(5), "the last flush has nothing to write");
    assert_eq!(server.tables().run(&sum(0)), ahead, "rows that nobody touched stay as they are");
}

fn more_than_fits_into_memory_is_refused_with_a_sentence(db: &Database) {
    let builder = server(db, 1, 2).allocator("tlsf").memory(24, 8);
    let mut server = builder.clone().start();
    let bob = Phone::new("bob", server.port);
    server.stop();
    fill(&server, &bob, 60_000);
    let again = builder.database(Database::At(server.tables().clone())).try_start();
    let log = again.expect_err("60,000 subscriptions in 24 MB");
    assert!(log.contains("start the server with more (-m)"), "{}", last_lines(&log));
    assert_eq!(server.tables().number("SELECT count(*) FROM active_watchers"), 60_000);
}

#[test]
#[ignore = "takes a minute: part of `make soak`"]
fn two_hundred_thousand_subscriptions_are_there_after_a_start() {
    let db = &Database::Sqlite("WAL");
    for (allocator, fetch_rows) in [("qm", None), ("tlsf", None), ("tlsf", Some(10))] {
        restore(db, Case { rows: 200_000, allocator, fetch_rows, subs: 2 });
    }
}
