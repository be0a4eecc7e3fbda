//! Texts as they are: whatever is in them, whatever the case, however long.

use crate::server;
use testkit::phone::{Dialog, dialog_info, pidf};
use testkit::{Database, Message, Phone};

crate::on_each_database! {
    documents_come_back_byte_for_byte,
    tags_and_users_are_told_apart_letter_for_letter,
    quotes_and_backslashes_change_nothing,
    what_does_not_fit_into_its_column_is_refused_at_once,
    a_document_too_large_for_a_statement_is_refused_at_once,
    an_update_that_changes_nothing_is_an_update,
    users_are_the_same_whatever_the_case_where_that_is_configured,
}

fn users_are_the_same_whatever_the_case_where_that_is_configured(db: &Database) {
    for (publ, subs) in [(0, 3), (0, 1)] {
        let server = server(db, publ, subs).param("sip_uri_match", 1).start();
        let mut alice = Phone::new("alice", server.port);
        let mut bob = Phone::new("bob", server.port);
        bob.subscribe("ALICE", "presence", 600);
        bob.notify();
        etag(&alice.publish("presence", None, Some(600), &pidf("alice", "open", "here")));
        assert!(bob.notify().body.contains("here"), "publ_cache {publ}, subs_db_mode {subs}");
        assert!(fetch(server.port, "Alice", "presence").contains("here"), "publ_cache {publ}, subs_db_mode {subs}");
        for other in ["al_ce", "%25", "ali"] {
            assert!(!fetch(server.port, other, "presence").contains("here"), "{other}");
        }
    }
}

fn etag(reply: &Message) -> String {
    assert_eq!(reply.code(), 200, "{reply:?}");
    reply.header("SIP-ETag").expect("a tag").to_owned()
}

/// The body of the NOTIFY that a fetch gives.
fn fetch(port: u16, presentity: &str, event: &str) -> String {
    let mut phone = Phone::new("fetcher", port);
    let mut dialog = Dialog::new(presentity, event);
    assert_eq!(phone.resubscribe(&mut dialog, 0).code(), 200);
    phone.notify().body
}

fn documents_come_back_byte_for_byte(db: &Database) {
    for (publ, subs) in [(0, 3), (1, 1), (1, 2)] {
        let server = server(db, publ, subs).start();
        let mut alice = Phone::new("alice", server.port);
        let odd = "Grüße, ☎ 😀, 'it''s' \\0 \\\\ \\x41 %s \\n $1 ? -- /* ` ´";
        let body = pidf("alice", "open", odd);
        let first = etag(&alice.publish("presence", None, Some(600), &body));
        assert!(fetch(server.port, "alice", "presence").contains(odd), "publ_cache {publ}, subs_db_mode {subs}");
        // As large as may be with the default sql_buffer_size.
        let long = pidf("alice", "open", &"ä'\\".repeat(7_000));
        etag(&alice.publish("presence", Some(&first), Some(600), &long));
        let text = server.tables().text_of("body");
        let length = server.tables().number(&format!("SELECT length({text}) FROM presentity"));
        // MariaDB counts bytes.
        let wanted = [long.len(), long.chars().count()].map(|n| n as i64);
        assert!(wanted.contains(&length), "{length} characters, not {wanted:?}");
    }
}

fn tags_and_users_are_told_apart_letter_for_letter(db: &Database) {
    for (publ, subs) in [(0, 3), (1, 1), (0, 2)] {
        let what = format!("publ_cache {publ}, subs_db_mode {subs}");
        let server = server(db, publ, subs).extra(crate::ASK_FIRST).start();
        let mut alice = Phone::new("alice", server.port);
        let tag = etag(&alice.publish("dialog", None, Some(600), &dialog_info("alice", "d", "early")));
        let upper = tag.to_ascii_uppercase();
        assert_ne!(tag, upper);
        let other = dialog_info("alice", "d", "confirmed");
        for (expires, body) in [(600, other.as_str()), (600, ""), (0, "")] {
            let reply = alice.publish("dialog", Some(&upper), Some(expires), body);
            assert_eq!(reply.code(), 412, "{what}: tag in capitals, Expires {expires}\n{reply:?}");
        }
        // ALICE is somebody else.
        assert_eq!(alice.publish_for("ALICE", "dialog", Some(&tag), Some(600), &other).code(), 412, "{what}");
        assert!(!fetch(server.port, "ALICE", "dialog").contains("early"), "{what}: the state of another user");
        let mut bob = Phone::new("bob", server.port);
        bob.subscribe("ALICE", "dialog", 600);
        bob.notify();
        etag(&alice.publish("dialog", Some(&tag), Some(600), &other));
        assert!(bob.notify_within(0.4).is_none(), "{what}: told of another user");
        // Dialogs whose Call-IDs differ in the case only.
        let mut dialogs = ["same-name", "SAME-name"].map(|call_id| {
            let mut dialog =
                Dialog { call_id: call_id.into(), from_tag: "f".into(), ..Dialog::new("carol", "presence") };
            let reply = bob.resubscribe(&mut dialog, 600);
            assert_eq!(reply.code(), 200, "{what}: {reply:?}");
            dialog.to_tag = reply.to_tag().to_owned();
            bob.notify();
            dialog
        });
        let [lower, upper] = &mut dialogs;
        let mut swapped = Dialog { to_tag: upper.to_tag.clone(), ..lower.clone() };
        assert_eq!(bob.resubscribe(&mut swapped, 600).code(), 481, "{what}: found another dialog");
        assert_eq!(bob.resubscribe(lower, 0).code(), 200, "{what}");
        bob.notify();
        assert_eq!(bob.resubscribe(upper, 600).code(), 200, "{what}: went with another dialog");
        // A watcher's decision is not that of its namesake.
        for user in ["bob", "BOB"] {
            Phone::new(user, server.port).subscribe("dave", "presence", 600);
        }
        let watchers = server.tables().run("SELECT watcher_username FROM watchers WHERE presentity_uri LIKE '%dave%'");
        assert!(!watchers.is_empty(), "{what}");
    }
}

fn quotes_and_backslashes_change_nothing(db: &Database) {
    for subs in [1, 2, 3] {
        let mut server = server(db, 1, subs).start();
        let mut bob = Phone::new("bob", server.port);
        let mut dialog = Dialog::new("o'hara", "presence");
        dialog.call_id = r#"a'b"c\d\\e%s--;@x"#.into();
        dialog.from_tag = "t'-%0".into();
        let agent = ["User-Agent: it's \\ a \"phone\"' -- OR 1=1".to_owned()];
        dialog.cseq = 1;
        let request = bob.subscribe_request(&dialog, Some(600), &agent);
        let reply = bob.ask(&request);
        assert_eq!(reply.code(), 200, "subs_db_mode {subs}: {reply:?}");
        dialog.to_tag = reply.to_tag().to_owned();
        bob.notify();
        bob.listen(std::time::Duration::from_millis(50));
        server.restart();
        assert_eq!(bob.resubscribe(&mut dialog, 600).code(), 200, "subs_db_mode {subs}");
        bob.notify();
        let mut ohara = Phone::new("o'hara", server.port);
        let tag = etag(&ohara.publish("presence", None, Some(600), &pidf("ohara", "open", "here")));
        assert!(bob.notify().body.contains("here"), "subs_db_mode {subs}");
        assert_eq!(ohara.publish("presence", Some("' OR '1'='1"), Some(600), "").code(), 412);
        assert_eq!(ohara.publish("presence", Some(r"\"), Some(600), "").code(), 412);
        assert_eq!(ohara.publish("presence", Some(&tag), Some(0), "").code(), 200);
        bob.notify();
        assert_eq!(bob.resubscribe(&mut dialog, 0).code(), 200, "subs_db_mode {subs}");
        bob.notify();
        bob.listen(std::time::Duration::from_millis(50));
        server.stop();
        assert_eq!(server.tables().number("SELECT count(*) FROM active_watchers"), 0, "subs_db_mode {subs}");
    }
}

fn what_does_not_fit_into_its_column_is_refused_at_once(db: &Database) {
    // SQLite takes texts of any length, whatever its columns say.
    let wanted = if matches!(db, Database::Sqlite(_)) { 200 } else { 400 };
    for subs in [1, 2, 3] {
        let what = |which: &str| format!("subs_db_mode {subs}: {which}");
        let server = server(db, 1, subs).start();
        let mut bob = Phone::new("bob", server.port);
        let mut ask = |which: &str, dialog: &Dialog, wanted: u16| {
            let reply = bob.resubscribe(&mut dialog.clone(), 600);
            assert_eq!(reply.code(), wanted, "{}\n{reply:?}", what(which));
            if wanted == 200 {
                bob.notify();
            }
        };
        let usual = || Dialog::new("alice", "presence");
        ask("Call-ID", &Dialog { call_id: "c".repeat(256), ..usual() }, wanted);
        ask("Call-ID that just fits", &Dialog { call_id: "c".repeat(255), ..usual() }, 200);
        ask("From tag", &Dialog { from_tag: "f".repeat(129), ..usual() }, wanted);
        ask("From tag that just fits", &Dialog { from_tag: "f".repeat(128), ..usual() }, 200);
        ask("user", &Dialog { presentity: "u".repeat(65), ..usual() }, wanted);
        ask("user that just fits", &Dialog { presentity: "u".repeat(64), ..usual() }, 200);
        // A User-Agent is not worth refusing.
        let mut dialog = usual();
        dialog.cseq = 1;
        for agent in ["x".repeat(300), "Grüße ☎".into()] {
            dialog.call_id += "1";
            let request = bob.subscribe_request(&dialog, Some(600), &[format!("User-Agent: {agent}")]);
            assert_eq!(bob.ask(&request).code(), 200, "{}", what("User-Agent"));
            bob.notify();
        }
        // Nor is one that is no UTF-8.
        dialog.call_id += "1";
        let request = bob.subscribe_request(&dialog, Some(600), &["User-Agent: F?n".into()]);
        let bytes: Vec<u8> = request.bytes().map(|b| if b == b'?' { 0xF6 } else { b }).collect();
        bob.send_raw(&bytes);
        let reply = bob.receive(std::time::Duration::from_secs(5)).expect("an answer");
        assert_eq!(reply.code(), 200, "{}", what("User-Agent in Latin-1"));
        let mut alice = Phone::new(&"u".repeat(65), server.port);
        let reply = alice.publish("presence", None, Some(600), &pidf("u", "open", "here"));
        assert_eq!(reply.code(), wanted, "{}: {reply:?}", what("user of a PUBLISH"));
    }
}

fn a_document_too_large_for_a_statement_is_refused_at_once(db: &Database) {
    // SQLite's driver binds values; those of the others put them into a statement of sql_buffer_size (65,535) bytes.
    let wanted = if matches!(db, Database::Sqlite(_)) { 200 } else { 413 };
    let server = server(db, 1, 2).start();
    let mut alice = Phone::new("alice", server.port);
    let body = pidf("alice", "open", &"n".repeat(40_000));
    assert_eq!(alice.publish("presence", None, Some(600), &body).code(), wanted);
    let roomy = server_with_room(db);
    let mut alice = Phone::new("alice", roomy.port);
    assert_eq!(alice.publish("presence", None, Some(600), &body).code(), 200);
}

fn server_with_room(db: &Database) -> testkit::Kamailio {
    server(db, 1, 2).before("sql_buffer_size=200000").start()
}

fn an_update_that_changes_nothing_is_an_update(db: &Database) {
    // MySQL counts rows that got another value.
    for (publ, subs) in [(0, 3), (1, 1)] {
        let what = format!("publ_cache {publ}, subs_db_mode {subs}");
        let server = server(db, publ, subs).param("cseq_offset", 5).extra(crate::ASK_FIRST).start();
        let mut bob = Phone::new("bob", server.port);
        let mut dialog = bob.subscribe("alice", "dialog", 600);
        bob.notify();
        for _ in 0..5 {
            // The same CSeq, the same Contact, the same end within the second.
            dialog.cseq = 0;
            let reply = bob.resubscribe(&mut dialog, 600);
            assert_eq!(reply.code(), 200, "{what}: {reply:?}");
            bob.notify();
        }
        // A decision that is the one before.
        crate::scenarios::rules(server.tables(), "alice");
        let mut friend = Phone::new("friend", server.port);
        friend.subscribe("alice", "presence", 600);
        friend.notify();
        for _ in 0..3 {
            let answer = server.rpc(&["presence.updateWatchers", "sip:alice@test.local", "presence"]);
            assert!(!answer.contains("error"), "{what}: {answer}");
        }
        let mut alice = Phone::new("alice", server.port);
        let mut tag = etag(&alice.publish("presence", None, Some(600), &pidf("alice", "open", "here")));
        for _ in 0..5 {
            tag = etag(&alice.publish("presence", Some(&tag), Some(600), ""));
        }
        let errors: Vec<String> = server.log_lines("ERROR").into_iter().filter(|l| l.contains("presence")).collect();
        assert!(errors.is_empty(), "{what}: {errors:?}");
    }
}
