//! What a message costs: CPU of all processes by kind and size. Ten times the size may cost ten times as much and some;
//! a parser that looks at everything for each part of it would take a hundred times as much.

use crate::level::brief;
use std::time::Duration;
use testkit::phone::{Dialog, pidf};
use testkit::{Database, Kamailio, Phone};

/// Messages of each kind and size.
const MESSAGES: u32 = 40;
/// How many times as much a message of ten times the size may cost.
const MOST: f64 = 16.0;
/// The same for many header fields: each is a record of the host's, and the room that is kept free in its heap has only so
/// many (a message of 60 KB costs less with it than without, one of 6 KB a fraction).
const MOST_OF_FIELDS: f64 = 60.0;
/// What a message of 60 KB may cost.
const CEILING: Duration = Duration::from_millis(40);
/// Less than this tells of nothing but the server's own pace.
const PACE: Duration = Duration::from_micros(150);

/// A kind of message: its text, about as long as it is asked to be.
type Kind = (&'static str, fn(&Phone, usize) -> String);

fn dialogs(inside: &str) -> String {
    format!(
        "<?xml version=\"1.0\"?><dialog-info xmlns=\"urn:ietf:params:xml:ns:dialog-info\" version=\"0\" state=\"full\" \
         entity=\"sip:alice@test.local\">{inside}</dialog-info>"
    )
}

fn publish(phone: &Phone, event: &str, body: &str) -> String {
    // Each for somebody else: the documents of one presentity are combined.
    phone.publish_request(&testkit::phone::unique(), event, None, Some(3), body, &[])
}

/// A SUBSCRIBE that fetches, with more in it.
fn subscribe(phone: &Phone, more: &[String]) -> String {
    phone.subscribe_request(&Dialog { cseq: 1, ..Dialog::new("alice", "presence") }, Some(0), more)
}

const KINDS: [Kind; 13] = [
    ("PUBLISH, a long note", |p, n| publish(p, "presence", &pidf("alice", "open", &"n".repeat(n)))),
    ("PUBLISH, many elements", |p, n| publish(p, "presence", &pidf("alice", "open", &"<a/>".repeat(n / 4)))),
    ("PUBLISH, many dialogs", |p, n| {
        let one = |i| format!("<dialog id=\"d{i}\"><state>early</state></dialog>");
        publish(p, "dialog", &dialogs(&(0..n / 46).map(one).collect::<String>()))
    }),
    ("PUBLISH, a dialog with many elements", |p, n| {
        publish(
            p,
            "dialog",
            &dialogs(&format!("<dialog id=\"d\">{}<state>early</state></dialog>", "<a/>".repeat(n / 4))),
        )
    }),
    ("PUBLISH, text in pieces", |p, n| {
        let state = "e<!---->".repeat(n / 8);
        publish(p, "dialog", &dialogs(&format!("<dialog id=\"d\"><state>{state}</state></dialog>")))
    }),
    ("PUBLISH, messages waiting", |p, n| {
        publish(p, "message-summary", &format!("Messages-Waiting: yes\r\n{}", "Voice-Message: 2/8\r\n".repeat(n / 20)))
    }),
    ("PUBLISH, a long tag", |p, n| {
        let tag = "x".repeat(n);
        p.publish_request("alice", "presence", Some(&tag), Some(0), "", &[])
    }),
    ("PUBLISH, many fields", |p, n| {
        let more: Vec<String> = (0..n / 16).map(|i| format!("X-{i:06}: value")).collect();
        p.publish_request("alice", "presence", None, Some(0), &pidf("alice", "open", "x"), &more)
    }),
    ("SUBSCRIBE, a long field", |p, n| subscribe(p, &[format!("Subject: {}", "x".repeat(n))])),
    ("SUBSCRIBE, many fields", |p, n| {
        subscribe(p, &(0..n / 16).map(|i| format!("X-{i:06}: value")).collect::<Vec<_>>())
    }),
    ("SUBSCRIBE, a long Accept", |p, n| subscribe(p, &[format!("Accept: {}", "a/b;q=0.1, ".repeat(n / 11))])),
    ("SUBSCRIBE, many Accepts", |p, n| subscribe(p, &vec!["Accept: a/b;q=0.1".to_owned(); n / 19])),
    ("SUBSCRIBE, a long Event", |p, n| {
        subscribe(p, &[]).replacen("Event: presence", &format!("Event: presence;x=\"{}\"", "\\\"".repeat(n / 2)), 1)
    }),
];

/// What one message costs, once the server has seen some.
fn cost(server: &Kamailio, phone: &mut Phone, kind: fn(&Phone, usize) -> String, size: usize) -> Duration {
    let run = |count: u32, phone: &mut Phone| {
        let before = loadgen::cpu::used(server.pid());
        for _ in 0..count {
            let request = kind(phone, size);
            phone.try_ask(&request).unwrap_or_else(|| panic!("no answer: {}", request.lines().next().unwrap_or("")));
            phone.inbox.clear();
        }
        loadgen::cpu::used(server.pid()).saturating_sub(before) / count
    };
    run(MESSAGES / 8, phone);
    run(MESSAGES, phone)
}

fn measure(database: Database, mode: u8, cache: u8) {
    let ours = !testkit::Module::from_env().is_stock();
    let mut builder = brief().database(database).param("subs_db_mode", mode).param("publ_cache", cache);
    if ours {
        // So that Accept is looked at.
        builder = builder.param("rfc_strict", 1);
    }
    let server = builder.start();
    let mut phone = Phone::new("bob", server.port);
    let mut wrong = Vec::new();
    println!("{:<40}{:>12}{:>12}{:>8}", "CPU of a message", "6 KB", "60 KB", "ratio");
    for (name, kind) in KINDS {
        let small = cost(&server, &mut phone, kind, 6000);
        let large = cost(&server, &mut phone, kind, 60_000);
        let ratio = large.as_secs_f64() / small.max(PACE).as_secs_f64();
        println!("{name:<40}{:>9} us{:>9} us{ratio:>8.1}", small.as_micros(), large.as_micros());
        let most = if name.contains("many fields") || name.contains("many Accepts") { MOST_OF_FIELDS } else { MOST };
        if ratio > most || large > CEILING {
            wrong.push(format!("{name}: {small:?} and {large:?}"));
        }
    }
    assert!(wrong.is_empty(), "too dear:\n{}", wrong.join("\n"));
}

#[test]
fn ten_times_the_size_costs_no_more_than_sixteen_times_as_much_in_memory() {
    measure(Database::None, 0, 2);
}

#[test]
fn ten_times_the_size_costs_no_more_than_sixteen_times_as_much_with_sqlite() {
    measure(Database::Sqlite("wal"), 1, 1);
}
