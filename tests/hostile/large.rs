//! Large messages, and many of them.

use crate::bombs::{over_tcp, publish, roomy};
use crate::level::{Level, assert_serves};
use crate::storm::finals;
use std::time::Duration;
use testkit::phone::{Dialog, pidf};
use testkit::{Database, Phone};

/// Header fields of nearly 64 KB in all, in one field or in many.
fn heads(total: usize) -> Vec<(&'static str, Vec<String>)> {
    let x = |len: usize| "x".repeat(len);
    vec![
        ("one unknown field", vec![format!("X-Large: {}", x(total))]),
        ("many unknown fields", (0..total / 18).map(|n| format!("X-{n:06}: {}", x(5))).collect()),
        ("one Subject of commas", vec![format!("Subject: {}", ",".repeat(total))]),
        ("a route set", (0..total / 40).map(|n| format!("Record-Route: <sip:127.0.0.1:{n:05};lr>")).collect()),
        ("an Accept", vec![format!("Accept: {}", "a/b;q=\"\\\",\", ".repeat(total / 13))]),
        ("a folded field", vec![format!("Subject: {}", "a\r\n ".repeat(total / 4))]),
        ("parameters of Contact", vec![format!("Contact: <sip:a@127.0.0.1:9>{}", ";a=\"b\"".repeat(total / 6))]),
        ("User-Agent", vec![format!("User-Agent: {}", x(total))]),
        ("quotes", vec![format!("Subject: {}", "\\\"".repeat(total / 2))]),
    ]
}

fn survive(database: Database, mode: u8, cache: u8) {
    let mut server = roomy(database, mode, cache).start();
    let mut before = None;
    let mut seen = std::collections::BTreeMap::<Vec<u16>, u32>::new();
    for _ in 0..2 {
        for tcp in [false, true] {
            let mut phone = if tcp { over_tcp("bob", &server) } else { Phone::new("bob", server.port) };
            for (name, more) in heads(if tcp { 65_536 } else { 63_000 }) {
                let dialog = Dialog { cseq: 1, ..Dialog::new("alice", "presence") };
                let document = pidf("alice", "open", "here");
                for request in [
                    phone.subscribe_request(&dialog, Some(3), &more),
                    phone.publish_request("alice", "presence", None, Some(3), &document, &more),
                ] {
                    let codes = finals(&mut phone, request.as_bytes(), Duration::from_secs(2));
                    assert!(server.is_running(), "{name}: the server is down\n{}", server.log());
                    assert!(codes.len() <= 1, "{name}: {codes:?}");
                    *seen.entry(codes).or_default() += 1;
                }
            }
        }
        // Documents of a megabyte, and one that a connection ends in.
        let (mut watcher, mut publisher) = (over_tcp("bob", &server), over_tcp("alice", &server));
        watcher.subscribe("alice", "presence", 3);
        for size in [70_000, 300_000, 1_000_000] {
            let codes =
                publish(&mut publisher, "alice", "presence", pidf("alice", "open", &"n".repeat(size)).as_bytes());
            assert_eq!(codes.len(), 1, "{size} bytes: {codes:?}");
            *seen.entry(codes).or_default() += 1;
        }
        let half = publisher.publish_request("alice", "presence", None, Some(3), &"y".repeat(1_000_000), &[]);
        publisher.send_raw(&half.as_bytes()[..500_000]);
        drop(publisher);
        watcher.listen(Duration::from_millis(200));
        // Many documents at once, from one phone, none of which waits for the answer to another.
        let mut crowd = Phone::new("carol", server.port);
        for n in 0..200 {
            let document = pidf("carol", "open", &n.to_string().repeat(5000));
            let request = crowd.publish_request("carol", "presence", None, Some(3), &document, &[]);
            crowd.send_raw(request.as_bytes());
        }
        crowd.listen(Duration::from_millis(500));
        assert!(server.is_running(), "the server is down\n{}", server.log());
        match &before {
            None => before = Some(Level::settled(&server, None)),
            Some(before) => drop(Level::assert_back_at(before, 1 << 20, &server, None)),
        }
    }
    println!("final replies to large messages: {seen:?}");
    assert_serves(&mut server);
}

#[test]
fn large_messages_are_answered_once_and_leave_nothing_in_memory() {
    survive(Database::None, 0, 2);
}

#[test]
fn large_messages_are_answered_once_and_leave_nothing_with_sqlite() {
    survive(Database::Sqlite("wal"), 1, 1);
}
