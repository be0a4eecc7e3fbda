//! `presence.cleanup`: what the timers would do, now.

use crate::with_sqlite;
use serde_json::json;
use std::time::Duration;
use testkit::phone::pidf;
use testkit::{Kamailio, Phone, sqlite};

/// A server whose timers do nothing. One worker and no notifier: the stock module loses writes when two processes meet
/// at the file.
fn start(subs: u8, publ: u8) -> Kamailio {
    let idle = with_sqlite(subs, publ).param("clean_period", 0).param("db_update_period", 0);
    idle.children(1).param("notifier_processes", 0).start()
}

/// The stock module fails here: it takes the call for the last one before the server stops, when nobody is told that a
/// subscription has run out.
#[test]
fn cleanup_sweeps_what_has_run_out_and_flushes() {
    for (subs, publ) in [(1, 0), (2, 1), (2, 2)] {
        let what = format!("subs_db_mode {subs}, publ_cache {publ}");
        let server = start(subs, publ);
        let file = server.database_file();
        let (mut alice, mut bob) = (Phone::new("alice", server.port), Phone::new("bob", server.port));
        let mut carol = Phone::new("carol", server.port);
        bob.subscribe("alice", "presence", 600);
        bob.notify();
        let mut short = carol.subscribe("dave", "presence", 1);
        carol.notify();
        assert_eq!(alice.publish("presence", None, Some(1), &pidf("alice", "open", "here")).code(), 200);
        assert!(bob.notify().body.contains("here"), "{what}");
        // Nobody sweeps by himself.
        bob.listen(Duration::from_millis(2500));
        assert_eq!((bob.inbox.len(), carol.notify_within(0.01)), (0, None), "{what}");
        let rows = |table: &str| sqlite::number(&file, &format!("SELECT count(*) FROM {table}"));
        let before = (rows("presentity"), rows("active_watchers"));
        assert_eq!(before, (i64::from(publ < 2), if subs == 1 { 2 } else { 0 }), "{what}");
        assert_eq!(server.json("presence.cleanup", &json!([])), Ok(json!("Reload OK")), "{what}");
        let told = bob.notify();
        assert!(told.state().starts_with("active") && !told.body.contains("<basic>open"), "{what}: {told:?}");
        assert_eq!(carol.notify().state(), "terminated;reason=timeout", "{what}");
        testkit::wait_for("the rows", 5.0, || ((rows("presentity"), rows("active_watchers")) == (0, 1)).then_some(()));
        assert_eq!(carol.resubscribe(&mut short, 600).code(), 481, "{what}");
    }
}
