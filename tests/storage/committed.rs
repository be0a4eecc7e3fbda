//! What a 200 says is in the table when it arrives (`subs_db_mode` 1 and 3, `publ_cache` 0 and 1).

use crate::{ASK_FIRST, server};
use std::time::Duration;
use testkit::phone::pidf;
use testkit::{Database, Kamailio, Phone};

crate::on_each_database! {
    publications_are_in_the_table_when_the_answer_comes,
    subscriptions_are_in_the_table_when_the_answer_comes,
    watchers_are_in_the_table_when_the_answer_comes,
    nothing_is_acknowledged_that_cannot_be_written_yet,
}

/// Every combination that promises it: `publ_cache`, `subs_db_mode`.
const MODES: [(u8, u8); 4] = [(0, 1), (1, 1), (0, 3), (1, 3)];

fn now() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("a clock");
    since.as_secs() as i64
}

fn publications_are_in_the_table_when_the_answer_comes(db: &Database) {
    for (publ, subs) in MODES {
        let server = server(db, publ, subs).start();
        let mut table = server.tables().session();
        let mut alice = Phone::new("alice", server.port);
        let body = server.tables().text_of("body");
        let has = |note: &str| format!("CASE WHEN {body} LIKE '%<note>{note}</note>%' THEN 1 ELSE 0 END");
        let row = format!(
            "SELECT etag, {}, {}, expires - received_time FROM presentity WHERE username='alice'",
            has("here"),
            has("there")
        );
        let row = row.as_str();
        for round in 0..10 {
            let mode = format!("publ_cache {publ}, subs_db_mode {subs}, round {round}");
            let first = alice.publish("presence", None, Some(600), &pidf("alice", "open", "here"));
            let etag = first.header("SIP-ETag").expect("a tag").to_owned();
            assert_eq!(table.row(row), format!("{etag}|1|0|600"), "initial, {mode}");
            let refreshed = alice.publish("presence", Some(&etag), Some(900), "");
            let etag = refreshed.header("SIP-ETag").expect("a tag").to_owned();
            assert_eq!(table.row(row), format!("{etag}|1|0|900"), "refresh, {mode}");
            let modified = alice.publish("presence", Some(&etag), Some(300), &pidf("alice", "open", "there"));
            let etag = modified.header("SIP-ETag").expect("a tag").to_owned();
            assert_eq!(table.row(row), format!("{etag}|0|1|300"), "modify, {mode}");
            assert_eq!(alice.publish("presence", Some(&etag), Some(0), "").code(), 200);
            assert!(table.run(row).is_empty(), "remove, {mode}");
        }
    }
}

fn subscriptions_are_in_the_table_when_the_answer_comes(db: &Database) {
    for (publ, subs) in MODES {
        let server = server(db, publ, subs).start();
        let mut table = server.tables().session();
        let mut bob = Phone::new("bob", server.port);
        for round in 0..10 {
            let mode = format!("publ_cache {publ}, subs_db_mode {subs}, round {round}");
            let mut dialog = bob.subscribe("alice", "presence", 600);
            let (call_id, to_tag, from_tag) = (&dialog.call_id, &dialog.to_tag, &dialog.from_tag);
            let row = format!(
                "SELECT remote_cseq, expires - {0} + 5 - (expires - {0} + 5) % 10 FROM active_watchers \
                 WHERE callid='{call_id}' AND to_tag='{to_tag}' AND from_tag='{from_tag}'",
                now()
            );
            assert_eq!(table.row(&row), "1|600", "initial, {mode}");
            assert_eq!(bob.resubscribe(&mut dialog, 1200).code(), 200);
            assert_eq!(table.row(&row), "2|1200", "refresh, {mode}");
            assert_eq!(bob.resubscribe(&mut dialog, 0).code(), 200);
            assert!(table.run(&row).is_empty(), "unsubscribe, {mode}");
        }
    }
}

fn watchers_are_in_the_table_when_the_answer_comes(db: &Database) {
    for (publ, subs) in MODES {
        let server = server(db, publ, subs).extra(ASK_FIRST).start();
        let mut table = server.tables().session();
        let mut bob = Phone::new("bob", server.port);
        for round in 0..10 {
            let presentity = format!("alice{round}");
            bob.subscribe(&presentity, "presence", 600);
            let row = format!(
                "SELECT watcher_username, watcher_domain, event, status FROM watchers \
                 WHERE presentity_uri='sip:{presentity}@test.local'"
            );
            assert_eq!(table.row(&row), "bob|test.local|presence|2", "publ_cache {publ}, subs_db_mode {subs}");
        }
    }
}

/// While another program holds the lock, nothing can be committed: so nothing may be acknowledged either. When it lets
/// go, within the patience of a request, the answer is a 200.
fn not_before(server: &Kamailio, phone: &mut Phone, what: &str, request: &str) -> String {
    let mut other = server.tables().session();
    other.lock(&["presentity", "active_watchers", "watchers"]);
    phone.send_raw(request.as_bytes());
    let early = phone.receive(Duration::from_millis(250));
    assert!(early.is_none(), "{what}: answered before it was written\n{early:?}");
    other.unlock();
    let reply = phone.receive(Duration::from_secs(3));
    let reply = reply.unwrap_or_else(|| panic!("{what}: no answer after the lock was released"));
    assert_eq!(reply.code(), 200, "{what}\n{reply:?}");
    phone.listen(Duration::from_millis(20));
    reply.header("SIP-ETag").unwrap_or_default().to_owned()
}

fn nothing_is_acknowledged_that_cannot_be_written_yet(db: &Database) {
    for (publ, subs) in [(0, 1), (1, 3)] {
        let server = server(db, publ, subs).start();
        let mut alice = Phone::new("alice", server.port);
        let body = pidf("alice", "open", "here");
        let mut ask = |what: &str, etag: Option<&str>, expires, body: &str| {
            let request = alice.publish_request("alice", "presence", etag, Some(expires), body, &[]);
            not_before(&server, &mut alice, what, &request)
        };
        let etag = ask("initial PUBLISH", None, 600, &body);
        let etag = ask("refresh", Some(&etag), 600, "");
        let etag = ask("modification", Some(&etag), 600, &body);
        ask("removal", Some(&etag), 0, "");
        let mut bob = Phone::new("bob", server.port);
        let mut dialog = bob.subscribe("alice", "presence", 600);
        for (what, expires) in [("refresh of a subscription", 900), ("end of a subscription", 0)] {
            dialog.cseq += 1;
            let request = bob.subscribe_request(&dialog, Some(expires), &[]);
            not_before(&server, &mut bob, what, &request);
        }
        let fresh = testkit::phone::Dialog { call_id: "fresh".into(), to_tag: String::new(), ..dialog };
        let request = bob.subscribe_request(&fresh, Some(600), &[]);
        not_before(&server, &mut bob, "initial SUBSCRIBE", &request);
    }
}
