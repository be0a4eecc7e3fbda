//! Which entries of a list are meant, and lists in parts.

use crate::{in_memory, lacks, with_sqlite};
use serde_json::json;
use std::collections::HashSet;
use testkit::phone::{Dialog, pidf};
use testkit::{Kamailio, Phone, listing};

/// Call-IDs of those who are listed.
fn calls(server: &Kamailio, arguments: &[&str]) -> HashSet<String> {
    let mut call = vec!["presence.watcher_list", "basic"];
    call.extend(arguments);
    let entries = server.list(&call).unwrap_or_else(|fault| panic!("{arguments:?}: {fault}"));
    let calls: HashSet<String> = entries.iter().map(|e| e.get("callid").to_owned()).collect();
    assert_eq!(calls.len(), entries.len(), "somebody twice: {entries:?}");
    calls
}

fn set(dialogs: &[&Dialog]) -> HashSet<String> {
    dialogs.iter().map(|d| d.call_id.clone()).collect()
}

fn tells_watchers_apart(server: &Kamailio, whatever_case: bool) {
    let (mut bob, mut carol) = (Phone::new("bob", server.port), Phone::new("carol", server.port));
    let bob_alice = bob.subscribe("alice", "presence", 600);
    let bob_dave = bob.subscribe("dave", "presence", 600);
    let carol_alice = carol.subscribe("alice", "presence", 600);
    let carol_lamp = carol.subscribe("alice", "dialog", 600);
    let all = [&bob_alice, &bob_dave, &carol_alice, &carol_lamp];
    assert_eq!(calls(server, &["*"]), set(&all));
    assert_eq!(calls(server, &["all"]), set(&all));
    assert_eq!(calls(server, &["sip:alice@test.local"]), set(&[&bob_alice, &carol_alice, &carol_lamp]));
    assert_eq!(calls(server, &["sip:alice@test.local", "event=dialog"]), set(&[&carol_lamp]));
    assert_eq!(calls(server, &["*", "event=presence"]), set(&all[..3]));
    assert_eq!(calls(server, &["*", "watcher=sip:bob@test.local"]), set(&all[..2]));
    assert_eq!(calls(server, &["*", "watcher=carol@test.local", "event=presence"]), set(&[&carol_alice]));
    assert_eq!(calls(server, &["*", &format!("callid={}", bob_dave.call_id)]), set(&[&bob_dave]));
    assert!(calls(server, &["*", "watcher=sip:erin@test.local"]).is_empty());
    assert!(calls(server, &["sip:erin@test.local"]).is_empty());
    assert!(calls(server, &["sip:alice@test.local", &format!("callid={}", bob_dave.call_id)]).is_empty());
    let other_case = calls(server, &["SIP:Alice@TEST.local", "watcher=BOB@Test.Local"]);
    assert_eq!(other_case, if whatever_case { set(&[&bob_alice]) } else { HashSet::new() });
}

#[test]
fn watchers_are_told_apart_in_memory() {
    if lacks("presence.watcher_list") {
        return;
    }
    tells_watchers_apart(&in_memory().start(), true);
}

#[test]
fn watchers_are_told_apart_in_the_database() {
    if lacks("presence.watcher_list") {
        return;
    }
    // SQLite compares letter for letter.
    tells_watchers_apart(&with_sqlite(3, 0).start(), false);
}

/// Follows a list from part to part; the places of what it had.
fn follow(server: &Kamailio, command: &str, fixed: &[&str], limit: usize, mut between: impl FnMut()) -> Vec<String> {
    let (mut seen, mut after) = (Vec::new(), "0".to_owned());
    loop {
        let mut params: Vec<String> = fixed.iter().map(|&a| a.to_owned()).collect();
        params.extend([format!("limit={limit}"), format!("after={after}")]);
        let part = listing::of_json(server.json(command, &json!(params))).expect("a list");
        assert!(part.len() <= limit, "{} entries", part.len());
        let Some(last) = part.last() else { return seen };
        last.get("place").clone_into(&mut after);
        seen.extend(part.iter().map(|e| format!("{}{}", e.get("callid"), e.get("etag"))));
        between();
    }
}

fn lists_in_parts(server: &Kamailio) {
    let mut bob = Phone::new("bob", server.port);
    let mut dialogs: Vec<Dialog> = (0..40).map(|n| bob.subscribe(&format!("user{}", n % 7), "presence", 600)).collect();
    for n in 0..20 {
        let user = format!("user{n}");
        assert_eq!(bob.publish_for(&user, "presence", None, Some(600), &pidf(&user, "open", "x")).code(), 200);
    }
    for limit in [1, 7, 39, 40, 1000] {
        let seen = follow(server, "presence.watcher_list", &["basic", "*"], limit, || {});
        assert_eq!(seen.iter().cloned().collect::<HashSet<_>>(), set(&dialogs.iter().collect::<Vec<_>>()));
        assert_eq!(seen.len(), dialogs.len(), "somebody twice with limit {limit}");
    }
    let seen = follow(server, "presence.presentity_list", &["basic"], 6, || {});
    assert_eq!((seen.len(), seen.iter().collect::<HashSet<_>>().len()), (20, 20));
    let first = listing::of_json(server.json("presence.presentity_list", &json!(["limit=3"]))).expect("a list");
    assert_eq!(first.len(), 3);
    // Beside changes: who stays is there once; who comes or goes once at most.
    let mut leaving = dialogs.split_off(20);
    let seen = follow(server, "presence.watcher_list", &["basic", "*"], 5, || {
        let Some(mut gone) = leaving.pop() else { return };
        assert_eq!(bob.resubscribe(&mut gone, 0).code(), 200);
        for dialog in dialogs.iter_mut().take(4) {
            assert_eq!(bob.resubscribe(dialog, 600).code(), 200);
        }
        bob.subscribe("user3", "presence", 600);
        bob.publish_for("user3", "presence", None, Some(600), &pidf("user3", "open", "y"));
    });
    let once: HashSet<&String> = seen.iter().collect();
    assert_eq!(once.len(), seen.len(), "somebody twice: {seen:?}");
    assert!(dialogs.iter().all(|d| once.contains(&d.call_id)), "somebody is missing");
}

#[test]
fn a_list_in_parts_has_everybody_once_in_memory() {
    if lacks("presence.watcher_list") {
        return;
    }
    lists_in_parts(&in_memory().start());
}

#[test]
fn a_list_in_parts_has_everybody_once_in_the_database() {
    if lacks("presence.watcher_list") {
        return;
    }
    lists_in_parts(&with_sqlite(3, 0).start());
}
