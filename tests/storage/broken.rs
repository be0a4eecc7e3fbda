//! Rows that no server ever wrote: they are passed over, and everything else goes on.

use crate::{server, server_on};
use testkit::phone::pidf;
use testkit::{Database, Kamailio, Phone, Tables};

crate::on_each_database! {
    broken_rows_are_passed_over_when_they_are_loaded,
    broken_rows_are_passed_over_when_they_are_met,
}

/// A table without constraints, wide enough for anything, and rows in it in which one value is wrong.
fn spoil(tables: &Tables, table: &str, sound: &str) {
    let columns: Vec<(String, bool)> = tables.columns(table).into_iter().filter(|(name, _)| name != "id").collect();
    let names: Vec<&str> = columns.iter().map(|(name, _)| name.as_str()).collect();
    let (all, is_sqlite) = (names.join(", "), matches!(tables, Tables::Sqlite(_)));
    let is_postgres = tables.driver() == "db_postgres";
    let (blob, text) = if is_postgres { ("BYTEA", "TEXT") } else { ("LONGBLOB", "LONGTEXT") };
    let kinds = columns.iter().map(|(name, is_text)| match (name.as_str(), is_text) {
        ("body", _) => blob,
        (_, true) => text,
        _ if is_sqlite => "INTEGER",
        _ => "BIGINT",
    });
    let definitions: Vec<String> = names.iter().zip(kinds).map(|(name, kind)| format!("{name} {kind}")).collect();
    let id = match tables.driver() {
        "db_postgres" => "SERIAL PRIMARY KEY",
        "db_mysql" => "INT AUTO_INCREMENT PRIMARY KEY",
        _ => "INTEGER PRIMARY KEY",
    };
    let mut script = format!(
        "BEGIN; CREATE TABLE loose (id {id}, {}); INSERT INTO loose ({all}) SELECT {all} FROM {table} WHERE {sound}; \
         DROP TABLE {table}; ALTER TABLE loose RENAME TO {table};\n",
        definitions.join(", ")
    );
    let mut copies = 0;
    for (column, is_text) in &columns {
        for value in wrong(tables, column, *is_text) {
            copies += 1;
            let tag = format!("'copy-{copies}'");
            let value_of = |name: &&str| match *name {
                name if name == column => value.to_owned(),
                // Which of two rows of one dialog is found is anybody's guess.
                "from_tag" => tag.clone(),
                name => name.to_owned(),
            };
            let values: Vec<String> = names.iter().map(value_of).collect();
            script += &format!("INSERT INTO {table} ({all}) SELECT {} FROM {table} WHERE id=1;\n", values.join(", "));
        }
    }
    tables.script(&(script + "COMMIT;"));
}

/// Values that a column should not have, as far as the database takes them.
fn wrong(tables: &Tables, column: &str, is_text: bool) -> Vec<&'static str> {
    let numbers = ["NULL", "0", "-1", "-2147483648", "2147483647", "5000000000"];
    let texts = ["NULL", "''", "'no URI at all'", "'sip:'", "'sip:@;;>,<sip:x'", "'42'"];
    let more: &[&str] = match (tables.driver(), is_text) {
        ("db_sqlite", false) => &["'many'", "X'00FF'"],
        ("db_sqlite", true) => &[
            "X'00010203FF'",
            "char(13,10) || 'Injected: yes'",
            "42",
            "printf('%.*c', 300, 'x')",
            "printf('%.*c', 70000, 'x')",
        ],
        (_, false) => &[],
        ("db_postgres", true) if column == "body" => &["'\\x00010203ff'", "'\\x0d0a496e6a65637465643a20796573'"],
        ("db_postgres", true) => &["chr(13) || chr(10) || 'Injected: yes'", "repeat('x', 300)", "repeat('x', 70000)"],
        (_, true) => {
            &["X'00010203FF'", "CONCAT(CHAR(13, 10), 'Injected: yes')", "REPEAT('x', 300)", "REPEAT('x', 70000)"]
        }
    };
    let usual = if is_text { &texts } else { &numbers };
    usual.iter().chain(more).copied().collect()
}

/// Tables with a sound row and many broken ones in each table. The phones that wrote the sound ones.
fn spoiled(db: &Database, subs: u8) -> (Kamailio, Phone, Phone, testkit::phone::Dialog, String) {
    let mut server = server(db, 1, subs).extra(crate::ASK_FIRST).start();
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
    spoil(server.tables(), "active_watchers", "event='dialog'");
    spoil(server.tables(), "presentity", "event='dialog'");
    spoil(server.tables(), "watchers", "1=1");
    (server, alice, bob, dialog, etag)
}

fn broken_rows_are_passed_over_when_they_are_loaded(db: &Database) {
    beside_broken_rows(db, &[(1, 1), (1, 2)]);
}

fn broken_rows_are_passed_over_when_they_are_met(db: &Database) {
    beside_broken_rows(db, &[(0, 3), (1, 3)]);
}

fn beside_broken_rows(db: &Database, modes: &[(u8, u8)]) {
    for &(publ, subs) in modes {
        let what = format!("publ_cache {publ}, subs_db_mode {subs}");
        let (first, _, mut bob, mut dialog, etag) = spoiled(db, subs);
        let mut server = server_on(first.tables(), publ, subs)
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
        let told = loop {
            let told = bob.notify_within(5.0).unwrap_or_else(|| panic!("{what}: the sound subscription is not told"));
            if told.to_tag() == dialog.from_tag {
                break told;
            }
        };
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
        if let Tables::Sqlite(_) = first.tables() {
            assert_eq!(first.tables().run("PRAGMA integrity_check"), ["ok"], "{what}");
        }
        assert!(server.stop().success(), "{what}");
        for sign in ["panic", "signal 6", "signal 11", "CRITICAL", "BUG:"] {
            assert_eq!(server.log_lines(sign), Vec::<String>::new(), "{what}");
        }
    }
}
