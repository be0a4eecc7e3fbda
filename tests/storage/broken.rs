//! Rows that no server ever wrote: they are passed over, and everything else goes on.

use crate::server;
use crate::session::Session;
use std::path::Path;
use testkit::kamailio::Database;
use testkit::phone::pidf;
use testkit::{Kamailio, Phone, sqlite};

/// Tables without a constraint, and rows in them in which one value is wrong.
fn spoil(file: &Path, table: &str, sound: &str) {
    let columns: Vec<(String, String)> =
        sqlite::run(file, &format!("SELECT name, type FROM pragma_table_info('{table}')"))
            .iter()
            .filter_map(|line| line.split_once('|').map(|(name, kind)| (name.to_owned(), kind.to_owned())))
            .filter(|(name, _)| name != "id")
            .collect();
    let definitions: Vec<String> = columns.iter().map(|(name, kind)| format!("{name} {kind}")).collect();
    let names: Vec<&str> = columns.iter().map(|(name, _)| name.as_str()).collect();
    let names = names.join(", ");
    let mut script = format!(
        "BEGIN; CREATE TABLE loose (id INTEGER PRIMARY KEY, {}); \
         INSERT INTO loose ({names}) SELECT {names} FROM {table} WHERE {sound}; \
         DROP TABLE {table}; ALTER TABLE loose RENAME TO {table};",
        definitions.join(", ")
    );
    for (column, kind) in &columns {
        let wrong: &[&str] = if kind == "INTEGER" {
            &["NULL", "0", "-1", "-2147483648", "2147483647", "5000000000", "'many'", "X'00FF'"]
        } else {
            &[
                "NULL",
                "''",
                "'no URI at all'",
                "'sip:'",
                "'sip:@;;>,<sip:x'",
                "X'00010203FF'",
                "char(13,10) || 'Injected: yes'",
                "42",
                "printf('%.*c', 300, 'x')",
                "printf('%.*c', 70000, 'x')",
            ]
        };
        for value in wrong {
            let values: Vec<&str> =
                columns.iter().map(|(name, _)| if name == column { *value } else { name }).collect();
            script += &format!("INSERT INTO {table} ({names}) SELECT {} FROM {table} WHERE id=1;", values.join(", "));
        }
    }
    script += "COMMIT";
    // Too long for an argument.
    Session::open(file).run(&script);
}

/// A file with a sound row and many broken ones in each table. The phones that wrote the sound ones.
fn spoiled(subs: u8) -> (Kamailio, Phone, Phone, testkit::phone::Dialog, String) {
    let mut server = server(1, subs).extra(crate::ASK_FIRST).start();
    let mut alice = Phone::new("alice", server.port);
    let mut bob = Phone::new("bob", server.port);
    let dialog = bob.subscribe("alice", "dialog", 3000);
    bob.subscribe("alice", "presence", 3000);
    (0..2).for_each(|_| drop(bob.notify()));
    let body = testkit::phone::dialog_info("alice", "d1", "early");
    let reply = alice.publish("dialog", None, Some(3000), &body);
    let etag = reply.header("SIP-ETag").expect("a tag").to_owned();
    bob.notify();
    bob.listen(std::time::Duration::from_millis(50));
    server.stop();
    let file = server.database_file();
    spoil(&file, "active_watchers", "event='dialog'");
    spoil(&file, "presentity", "event='dialog'");
    spoil(&file, "watchers", "1");
    (server, alice, bob, dialog, etag)
}

#[test]
fn broken_rows_are_passed_over_when_they_are_loaded() {
    beside_broken_rows(&[(1, 1), (1, 2)]);
}

#[test]
fn broken_rows_are_passed_over_when_they_are_met() {
    beside_broken_rows(&[(0, 3), (1, 3)]);
}

fn beside_broken_rows(modes: &[(u8, u8)]) {
    for &(publ, subs) in modes {
        let what = format!("publ_cache {publ}, subs_db_mode {subs}");
        let (first, _, mut bob, mut dialog, etag) = spoiled(subs);
        let file = first.database_file();
        let mut server = Kamailio::builder()
            .database(Database::SqliteFile(file.clone()))
            .param("publ_cache", publ)
            .param("subs_db_mode", subs)
            .param("clean_period", 1)
            .param("db_update_period", 1)
            .extra(crate::ASK_FIRST)
            .start();
        if subs != 3 {
            assert!(!server.log_lines("subscriptions left in the table").is_empty(), "{what}: no word about the rows");
        }
        // The phone goes on with the new server: it only has another port.
        let mut again = Phone::new("bob", server.port);
        again.user.clone_from(&bob.user);
        let mut alice = Phone::new("alice", server.port);
        let body = testkit::phone::dialog_info("alice", "d1", "confirmed");
        let reply = alice.publish("dialog", Some(&etag), Some(3000), &body);
        assert_eq!(reply.code(), 200, "{what}: {reply:?}");
        let told = bob.notify_within(5.0).unwrap_or_else(|| panic!("{what}: the sound subscription is not told"));
        assert!(told.body.contains("confirmed") || told.body.contains("early"), "{what}: {}", told.body);
        assert_eq!(again.resubscribe(&mut dialog, 3000).code(), 200, "{what}");
        // New ones come and go beside them.
        let mut carol = Phone::new("carol", server.port);
        let mut fresh = carol.subscribe("alice", "presence", 600);
        carol.notify();
        assert_eq!(alice.publish("presence", None, Some(600), &pidf("alice", "open", "here")).code(), 200, "{what}");
        assert_eq!(carol.resubscribe(&mut fresh, 0).code(), 200, "{what}");
        let mut dave = Phone::new("alice", server.port);
        // With such names the list of watchers is too long for a datagram.
        dave.subscribe("alice", "presence.winfo", 600);
        // The sweeps come by twice.
        std::thread::sleep(std::time::Duration::from_millis(2300));
        let _ = server.rpc(&["presence.refreshWatchers", "sip:alice@test.local", "presence", "0"]);
        let _ = server.rpc(&["presence.cleanup"]);
        assert!(server.is_running(), "{what}");
        bob.listen(std::time::Duration::from_millis(50));
        let smuggled = bob.inbox.iter().find(|notify| notify.header("Injected").is_some());
        assert_eq!(smuggled, None, "{what}: a line end in a column became a header field");
        assert_eq!(again.resubscribe(&mut dialog, 0).code(), 200, "{what}");
        assert!(server.stop().success(), "{what}");
        for sign in ["panic", "signal 6", "signal 11", "CRITICAL", "BUG:"] {
            assert_eq!(server.log_lines(sign), Vec::<String>::new(), "{what}");
        }
        let integrity = sqlite::run(&file, "PRAGMA integrity_check");
        assert_eq!(integrity, ["ok"], "{what}");
    }
}
