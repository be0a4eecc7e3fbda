//! What the timers do with what has run out: `force_delete`, `startup_mode`, `timer_mode`.

use crate::probe::with_tables;
use testkit::phone::pidf;
use testkit::{Builder, Kamailio, Phone, sqlite, wait_for};

fn publish(server: &Kamailio, expires: u32) {
    let mut alice = Phone::new("alice", server.port);
    let reply = alice.publish("presence", None, Some(expires), &pidf("alice", "open", "here"));
    assert_eq!(reply.code(), 200);
}

fn builder(publ: u8) -> Builder {
    with_tables().param("publ_cache", publ).param("clean_period", 1).param("db_update_period", 1)
}

#[test]
fn force_delete_says_whether_watchers_learn_that_a_publication_has_run_out() {
    for publ in [0, 1, 2] {
        for (value, told) in [(0, true), (1, false)] {
            let what = format!("publ_cache {publ}, force_delete {value}");
            let server = builder(publ).param("force_delete", value).start();
            let mut bob = Phone::new("bob", server.port);
            bob.subscribe("alice", "presence", 600);
            bob.notify();
            publish(&server, 1);
            assert!(bob.notify().body.contains("here"), "{what}");
            let notify = bob.notify_within(if told { 6.0 } else { 3.2 });
            assert_eq!(notify.is_some(), told, "{what}: {notify:?}");
            assert!(notify.is_none_or(|n| !n.body.contains("<basic>open")), "{what}");
            if publ < 2 {
                let rows = || sqlite::number(&server.database_file(), "SELECT count(*) FROM presentity");
                wait_for("the row goes", 5.0, || (rows() == 0).then_some(()));
            }
            let mut carol = Phone::new("carol", server.port);
            carol.subscribe("alice", "presence", 600);
            assert!(!carol.notify().body.contains("here"), "{what}");
        }
    }
}

#[test]
fn startup_mode_says_whether_what_has_run_out_is_shown_until_it_is_swept() {
    for publ in [0, 1] {
        for (value, shown) in [(1, false), (0, true)] {
            let what = format!("publ_cache {publ}, startup_mode {value}");
            let mut server = with_tables().param("publ_cache", publ).param("startup_mode", value).start();
            publish(&server, 600);
            server.stop();
            sqlite::run(&server.database_file(), "UPDATE presentity SET expires = strftime('%s', 'now') - 5");
            server.restart();
            let mut bob = Phone::new("bob", server.port);
            bob.subscribe("alice", "presence", 600);
            assert_eq!(bob.notify().body.contains("here"), shown, "{what}");
        }
    }
}

/// What kind of process has written a line.
fn process_of(server: &Kamailio, line: &str) -> String {
    let pid = line.split('(').nth(1).and_then(|rest| rest.split(')').next()).expect("a process");
    let all = server.processes();
    let process = all.iter().find(|process| process.0.to_string() == pid);
    process.unwrap_or_else(|| panic!("no process {pid} in {all:?}")).1.clone()
}

#[test]
fn timer_mode_says_which_process_sweeps() {
    for (value, process) in [(0, "slow timer"), (1, "secondary timer")] {
        let server = builder(2).param("timer_mode", value).param("local_log_level", 1).start();
        let mut bob = Phone::new("bob", server.port);
        bob.subscribe("alice", "presence", 600);
        bob.notify();
        publish(&server, 1);
        assert!(bob.notify().body.contains("here"));
        bob.notify_within(6.0).expect("the publication has run out");
        let line = wait_for("its line", 5.0, || server.log_lines("NOTIFY sip:bob@test.local via ").into_iter().nth(2));
        let by = process_of(&server, &line);
        assert!(by.contains(process), "timer_mode {value}: swept by {by}");
    }
}

#[test]
fn clean_period_is_for_publications_and_db_update_period_for_subscriptions() {
    for (clean, update) in [(1, 0), (0, 1)] {
        let what = format!("clean_period {clean}, db_update_period {update}");
        let server = builder(2).param("clean_period", clean).param("db_update_period", update).start();
        let (mut bob, mut carol) = (Phone::new("bob", server.port), Phone::new("carol", server.port));
        bob.subscribe("alice", "presence", 600);
        bob.notify();
        publish(&server, 1);
        assert!(bob.notify().body.contains("here"), "{what}");
        carol.subscribe("dave", "presence", 1);
        carol.notify();
        let (told, other) = if clean == 1 { (&mut bob, &mut carol) } else { (&mut carol, &mut bob) };
        let notify = told.notify_within(6.0).unwrap_or_else(|| panic!("{what}: nothing is swept"));
        assert!(!notify.body.contains("here"), "{what}: {notify:?}");
        assert_eq!(notify.state().starts_with("terminated;reason=timeout"), update == 1, "{what}: {notify:?}");
        // Both ran out at the same time.
        assert_eq!(other.notify_within(2.2), None, "{what}");
    }
}
