//! What the entries of a list look like.

use crate::{bob_watches_alice, in_memory, lacks};
use serde_json::json;
use std::time::{SystemTime, UNIX_EPOCH};
use testkit::listing;
use testkit::phone::pidf;

/// Members of a publication in the C module, in their order.
const PUBLICATION: [&str; 6] = ["user", "domain", "event", "etag", "sender", "expires"];
/// Those that `full` adds.
const PUBLICATION_FULL: [&str; 5] = ["received_time", "priority", "ruid", "body", "hashid"];
/// Members of a subscription in the C module from 5.8 on.
const SUBSCRIPTION: [&str; 15] = [
    "pres_uri",
    "to_user",
    "to_domain",
    "from_user",
    "from_domain",
    "watcher_user",
    "watcher_domain",
    "contact",
    "event_id",
    "callid",
    "user_agent",
    "expires",
    "status",
    "version",
    "flags",
];
/// Those that `full` adds.
const SUBSCRIPTION_FULL: [&str; 12] = [
    "reason",
    "to_tag",
    "from_tag",
    "socket",
    "local_contact",
    "record_route",
    "auth_rules",
    "remote_cseq",
    "local_cseq",
    "recv_event",
    "updated",
    "updated_winfo",
];
/// Those that only this module has.
const SUBSCRIPTION_HERE: [&str; 5] = ["event", "age", "notify_code", "notify_time", "place"];

fn now() -> i64 {
    i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs()).expect("fits")
}

fn is_about(time: i64, wanted: i64) -> bool {
    (wanted - 5..=wanted + 5).contains(&time)
}

#[test]
fn a_publication_is_listed_with_what_the_stock_module_shows() {
    let server = in_memory().start();
    let (_alice, _bob, etag) = bob_watches_alice(&server);
    let entries = server.list(&["presence.presentity_list"]).expect("a list");
    let [entry] = entries.as_slice() else { panic!("{entries:?}") };
    assert_eq!(entry.names()[..6], PUBLICATION);
    for (name, value) in [("user", "alice"), ("domain", "test.local"), ("event", "presence"), ("etag", &etag)] {
        assert_eq!(entry.get(name), value);
    }
    assert!(is_about(entry.number("expires"), now() + 600), "{entry:?}");
    let full = listing::of_json(server.json("presence.presentity_list", &json!(["full"]))).expect("a list");
    let [full] = full.as_slice() else { panic!("{full:?}") };
    for name in PUBLICATION.iter().chain(&PUBLICATION_FULL) {
        assert!(full.names().contains(name), "no {name}: {full:?}");
    }
    assert_eq!(full.get("body"), pidf("alice", "open", "here"));
    // The same number from both modules: the host's hash of user and domain.
    assert_eq!(full.number("hashid"), 332_474_875);
    assert_eq!(full.number("priority"), 0);
    assert!(is_about(full.number("received_time"), now()));
    assert!(!full.get("ruid").is_empty());
    // Any other mode counts as basic.
    let other = listing::of_json(server.json("presence.presentity_list", &json!(["fully"]))).expect("a list");
    assert!(!other[0].names().contains(&"body"), "{other:?}");
}

#[test]
fn nothing_is_an_empty_list() {
    let server = in_memory().start();
    assert_eq!(server.json("presence.presentity_list", &json!(["full"])), Ok(json!([])));
    assert_eq!(server.list(&["presence.presentity_list"]), Ok(Vec::new()));
    if lacks("presence.watcher_list and presence.presentity_show") {
        return;
    }
    assert_eq!(server.json("presence.watcher_list", &json!(["full", "*"])), Ok(json!([])));
    assert_eq!(server.json("presence.presentity_show", &json!(["full", "*", "*"])), Ok(json!([])));
    assert_eq!(server.list(&["presence.watcher_list", "basic", "sip:nobody@test.local"]), Ok(Vec::new()));
}

#[test]
fn a_publication_is_shown_to_who_names_its_user_or_domain() {
    if lacks("presence.presentity_show") {
        return;
    }
    let server = in_memory().start();
    let (_alice, mut bob, _) = bob_watches_alice(&server);
    bob.publish("presence", None, Some(600), &pidf("bob", "open", "too"));
    let users = |arguments: &[&str]| {
        let mut call = vec!["presence.presentity_show"];
        call.extend(arguments);
        let entries = server.list(&call).unwrap_or_else(|fault| panic!("{arguments:?}: {fault}"));
        let mut users: Vec<String> = entries.iter().map(|e| e.get("user").to_owned()).collect();
        users.sort();
        users
    };
    assert_eq!(users(&["basic", "alice", "test.local"]), ["alice"]);
    assert_eq!(users(&["basic", "ALICE", "Test.Local"]), ["alice"]);
    assert_eq!(users(&["basic", "bob", "*"]), ["bob"]);
    assert_eq!(users(&["basic", "*", "test.local"]), ["alice", "bob"]);
    assert_eq!(users(&["basic", "*", "*"]), ["alice", "bob"]);
    assert_eq!(users(&["basic", "s:", "s:"]), ["alice", "bob"]);
    assert!(users(&["basic", "alice", "elsewhere"]).is_empty());
    assert!(users(&["basic", "carol", "*"]).is_empty());
    assert_eq!(users(&["basic", "*", "*", "event=presence"]), ["alice", "bob"]);
    assert!(users(&["basic", "*", "*", "event=dialog"]).is_empty());
    let entries = server.list(&["presence.presentity_show", "basic", "alice", "*"]).expect("a list");
    assert_eq!(entries[0].names()[..6], PUBLICATION);
    let full = server.json("presence.presentity_show", &json!(["full", "alice", "*"]));
    assert_eq!(listing::of_json(full).expect("a list")[0].get("body"), pidf("alice", "open", "here"));
}

#[test]
fn a_subscription_is_listed_with_what_the_stock_module_shows_and_more() {
    if lacks("presence.watcher_list") {
        return;
    }
    let server = in_memory().start();
    let (_alice, bob, _) = bob_watches_alice(&server);
    testkit::wait_for("the answer to the NOTIFY", 5.0, || {
        let entries = server.list(&["presence.watcher_list", "basic", "*"]).expect("a list");
        (entries[0].get("notify_code") == "200").then_some(())
    });
    let entries = server.list(&["presence.watcher_list", "basic", "sip:alice@test.local"]).expect("a list");
    let [entry] = entries.as_slice() else { panic!("{entries:?}") };
    assert_eq!(entry.names(), [&SUBSCRIPTION[..], &SUBSCRIPTION_HERE[..]].concat());
    let contact = bob.contact();
    for (name, value) in [
        ("pres_uri", "sip:alice@test.local"),
        ("to_user", "alice"),
        ("to_domain", "test.local"),
        ("from_user", "bob"),
        ("from_domain", "test.local"),
        ("watcher_user", "bob"),
        ("watcher_domain", "test.local"),
        ("contact", contact.as_str()),
        ("event_id", ""),
        ("user_agent", ""),
        ("status", "1"),
        ("flags", "0"),
        ("event", "presence"),
        ("notify_code", "200"),
    ] {
        assert_eq!(entry.get(name), value, "{name}");
    }
    assert!(is_about(entry.number("expires"), now() + 600), "{entry:?}");
    assert!(is_about(entry.number("notify_time"), now()), "{entry:?}");
    assert!((0..5).contains(&entry.number("age")), "{entry:?}");
    let full = server.list(&["presence.watcher_list", "full", "sip:alice@test.local"]).expect("a list");
    let [full] = full.as_slice() else { panic!("{full:?}") };
    assert_eq!(full.names(), [&SUBSCRIPTION[..], &SUBSCRIPTION_FULL[..], &SUBSCRIPTION_HERE[..]].concat());
    assert_eq!((full.get("remote_cseq"), full.get("recv_event"), full.get("updated")), ("1", "1", "-1"));
    assert!(!full.get("to_tag").is_empty() && !full.get("from_tag").is_empty());
    // Both interfaces say the same.
    let json = listing::of_json(server.json("presence.watcher_list", &json!(["full", "sip:alice@test.local"])));
    let same = |entry: &listing::Entry| {
        let mut entry = entry.clone().sorted();
        entry.0.retain(|(name, _)| name != "age");
        entry
    };
    assert_eq!(json.expect("a list").iter().map(same).collect::<Vec<_>>(), [same(full)]);
}

#[test]
fn the_last_answer_to_a_notify_and_the_age_are_those_of_this_run() {
    if lacks("presence.watcher_list") {
        return;
    }
    let mut server = crate::with_sqlite(1, 2).start();
    let (mut alice, mut bob, etag) = bob_watches_alice(&server);
    bob.answer = Some(500);
    alice.publish("presence", Some(&etag), Some(600), &pidf("alice", "open", "there"));
    bob.notify();
    let entry = |server: &testkit::Kamailio| {
        server.list(&["presence.watcher_list", "basic", "*"]).expect("a list").first().cloned().expect("one")
    };
    testkit::wait_for("the answer is noted", 5.0, || (entry(&server).get("notify_code") == "500").then_some(()));
    testkit::wait_for("the dialog grows older", 5.0, || (entry(&server).number("age") >= 1).then_some(()));
    server.restart();
    let known = entry(&server);
    assert_eq!((known.get("age"), known.get("notify_code"), known.get("notify_time")), ("0", "0", "0"), "{known:?}");
}
