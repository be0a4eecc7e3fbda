//! `presence.status`.

use crate::{bob_watches_alice, in_memory, lacks, with_sqlite};
use serde_json::{Value, json};
use testkit::phone::dialog_info;
use testkit::{Kamailio, Phone, sqlite};

/// The tables are looked at one part after the other: what changes meanwhile is a difference, and gone when they are
/// looked at again.
fn status(server: &Kamailio) -> Value {
    testkit::wait_for("a look at tables that fit", 5.0, || server.json("presence.status", &json!(["check"])).ok())
}

fn number(value: &Value) -> i64 {
    value.as_i64().unwrap_or_else(|| panic!("no number: {value}"))
}

#[test]
fn each_package_has_its_counts() {
    if lacks("presence.status") {
        return;
    }
    for server in [in_memory().start(), with_sqlite(2, 1).start(), with_sqlite(3, 0).start()] {
        let (_alice, mut bob, _) = bob_watches_alice(&server);
        bob.subscribe("alice", "dialog", 600);
        bob.subscribe("dave", "dialog", 600);
        bob.publish_for("dave", "dialog", None, Some(600), &dialog_info("dave", "d", "early"));
        let now = status(&server);
        let counts = |package: &str| {
            let counts = &now["packages"][package];
            (number(&counts["active"]), number(&counts["pending"]), number(&counts["publications"]))
        };
        assert_eq!((counts("presence"), counts("dialog")), ((1, 0, 1), (2, 0, 1)), "{now}");
        assert_eq!((number(&now["subscriptions"]), number(&now["publications"])), (3, 2), "{now}");
        assert!(number(&now["shm_bytes"]) >= number(&now["text_bytes"]) + number(&now["table_bytes"]), "{now}");
        assert_eq!(number(&now["parts_skipped"]), 0);
        // One screen through kamcmd.
        let screen = server.rpc(&["presence.status"]);
        assert!(screen.lines().count() <= 50, "{screen}");
        assert!(screen.contains("\tsubscriptions: 3\n"), "{screen}");
    }
}

#[test]
fn watchers_who_wait_for_a_decision_are_counted_as_pending() {
    if lacks("presence.status") {
        return;
    }
    let authorise = "modparam(\"presence_xml\", \"force_active\", 0)\n\
                     modparam(\"presence_xml\", \"integrated_xcap_server\", 1)";
    let server = with_sqlite(2, 2).extra(authorise).start();
    let mut bob = Phone::new("bob", server.port);
    bob.subscribe("alice", "presence", 600);
    let now = status(&server);
    assert_eq!(now["packages"]["presence"]["pending"], json!(1), "{now}");
    assert_eq!(now["packages"]["presence"]["active"], json!(0), "{now}");
}

#[test]
fn the_module_grows_older() {
    if lacks("presence.status") {
        return;
    }
    let server = in_memory().start();
    assert!(number(&status(&server)["uptime"]) < 5);
    testkit::wait_for("a second", 5.0, || (number(&status(&server)["uptime"]) >= 1).then_some(()));
    assert_eq!(status(&server)["database"], Value::Null, "there is none");
}

#[test]
fn a_database_that_fails_is_seen_and_so_is_its_recovery() {
    if lacks("presence.status") {
        return;
    }
    let server = with_sqlite(1, 0).start();
    let (_alice, mut bob, _) = bob_watches_alice(&server);
    let healthy = status(&server)["database"].clone();
    assert_eq!(healthy["connected"], json!("yes"), "{healthy}");
    assert_eq!((number(&healthy["statements_failed"]), &healthy["last_error"]), (0, &json!("")), "{healthy}");
    let rename = |from: &str, to: &str| {
        sqlite::run(&server.database_file(), &format!("ALTER TABLE {from} RENAME TO {to}"));
    };
    rename("active_watchers", "elsewhere");
    let mut dialog = testkit::phone::Dialog::new("dave", "presence");
    assert_eq!(bob.resubscribe(&mut dialog, 600).code(), 503);
    let ill = status(&server)["database"].clone();
    assert_eq!(ill["connected"], json!("no"), "{ill}");
    assert!(number(&ill["statements_failed"]) >= 1, "{ill}");
    assert!(ill["last_error"].as_str().is_some_and(|e| e.contains("failed")), "{ill}");
    assert!(number(&ill["last_error_time"]) > 1_500_000_000, "{ill}");
    // A list of what is in the table says that it cannot.
    rename("elsewhere", "active_watchers");
    let well = status(&server)["database"].clone();
    assert_eq!(well["connected"], json!("yes"), "{well}");
    assert!(number(&well["statements_failed"]) >= number(&ill["statements_failed"]), "{well}");
}

#[test]
fn a_list_that_cannot_be_read_is_a_fault() {
    if lacks("presence.watcher_list") {
        return;
    }
    let server = with_sqlite(3, 0).start();
    bob_watches_alice(&server);
    sqlite::run(&server.database_file(), "ALTER TABLE active_watchers RENAME TO elsewhere");
    let fault = Err((500, "The database does not answer".to_owned()));
    assert_eq!(server.json("presence.watcher_list", &json!(["basic", "*"])), fault);
    sqlite::run(&server.database_file(), "ALTER TABLE elsewhere RENAME TO active_watchers");
    assert!(server.json("presence.watcher_list", &json!(["basic", "*"])).is_ok());
}

#[test]
fn rows_that_wait_for_the_flush_are_counted() {
    if lacks("presence.status") {
        return;
    }
    let server = with_sqlite(2, 2).start();
    let (_alice, mut bob, _) = bob_watches_alice(&server);
    assert_eq!(number(&status(&server)["database"]["rows_behind"]), 1);
    let _ = server.rpc(&["presence.cleanup"]);
    assert_eq!(number(&status(&server)["database"]["rows_behind"]), 0);
    let mut dialog = bob.subscribe("dave", "presence", 600);
    bob.notify();
    assert_eq!(bob.resubscribe(&mut dialog, 600).code(), 200);
    assert_eq!(number(&status(&server)["database"]["rows_behind"]), 1);
}
