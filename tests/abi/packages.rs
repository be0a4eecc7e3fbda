//! A package with every function that there is ("trial", `tests/abi/trial.h`): when each is called, what it may do
//! wrong, and that what it makes is given back once.

use crate::{ask, builder};
use testkit::phone::Dialog;
use testkit::{Database, Kamailio, Message, Module, Phone};

/// With a database: without one everybody may watch, and the rules are not asked for.
fn start() -> Kamailio {
    start_with(2)
}

fn start_with(publ_cache: i32) -> Kamailio {
    let builder = builder().database(Database::Sqlite("WAL")).param("publ_cache", publ_cache);
    // What could not be sent is tried again soon.
    if Module::from_env().is_stock() { builder.start() } else { builder.param("notify_hold_time", 100).start() }
}

/// Whether this is both documents for bob, with the rules applied, in whatever order: the C module's memory has the
/// newest first.
fn has_both(body: &str, [one, other]: [&str; 2]) -> bool {
    [format!("[{one}+{other} for bob]"), format!("[{other}+{one} for bob]")].contains(&body.to_owned())
}

fn behave(server: &Kamailio, function: &str, manner: &str) {
    assert_eq!(ask(server, &["caller.behave", function, manner]), "", "{function} {manner}");
}

/// A counter of `caller.trial`.
fn count(server: &Kamailio, name: &str) -> i32 {
    let answer = ask(server, &["caller.trial"]);
    let word = answer.split_whitespace().find_map(|w| w.strip_prefix(name)?.strip_prefix('='));
    word.and_then(|n| n.parse().ok()).unwrap_or_else(|| panic!("no {name} in {answer}"))
}

/// Everything that was made was given back.
fn nothing_is_kept(server: &Kamailio) {
    assert_eq!(count(server, "made"), count(server, "freed"), "{}", ask(server, &["caller.trial"]));
    assert_eq!(count(server, "aux_made"), count(server, "aux_freed"), "{}", ask(server, &["caller.trial"]));
}

fn publish(phone: &mut Phone, etag: Option<&str>, body: &str) -> Message {
    phone.publish("trial", etag, Some(600), body)
}

#[test]
fn every_function_is_called_and_gets_back_what_it_made() {
    let server = start();
    let (mut alice, mut anna) = (Phone::new("alice", server.port), Phone::new("alice", server.port));
    let (mut bob, mut pete, mut tess) =
        (Phone::new("bob", server.port), Phone::new("pete", server.port), Phone::new("tess", server.port));
    bob.subscribe("alice", "trial", 600);
    bob.notify();
    pete.subscribe("alice", "trial", 600);
    assert!(pete.notify().state().starts_with("pending"));
    tess.subscribe("alice", "trial", 600);
    assert_eq!(tess.notify().state(), "terminated;reason=rejected");
    assert_eq!((count(&server, "subs"), count(&server, "status")), (3, 3));
    assert!(count(&server, "rules") >= 3);

    let first = publish(&mut alice, None, "one");
    assert_eq!((first.code(), count(&server, "publ")), (200, 1));
    assert_eq!(bob.notify().body, "[one for bob]");
    assert_eq!(publish(&mut anna, None, "two").code(), 200);
    let both = bob.notify().body;
    assert!(has_both(&both, ["one", "two"]), "{both}");
    // Who waits gets no document.
    pete.listen(std::time::Duration::from_millis(100));
    assert!(pete.inbox.iter().all(|m| m.body.is_empty()), "{:?}", pete.inbox);

    // etag_not_new: a change keeps the entity-tag.
    let etag = first.header("SIP-ETag").expect("an entity-tag").to_owned();
    let second = publish(&mut alice, Some(&etag), "three");
    assert_eq!(second.header("SIP-ETag"), Some(etag.as_str()));
    assert!(bob.notify().body.contains("three"));

    // What is removed is shown as gone: its index is named.
    assert_eq!(alice.publish("trial", Some(&etag), Some(0), "").code(), 200);
    assert!(bob.notify().body.contains("gone:three"));
    for function in ["agg", "aux", "auth"] {
        assert!(count(&server, function) >= 4, "{}", ask(&server, &["caller.trial"]));
    }
    nothing_is_kept(&server);
}

#[test]
fn the_structure_says_what_the_package_said() {
    let server = start();
    assert_eq!(
        ask(&server, &["caller.package", "trial"]),
        "expires=77 type=2 keeps=1 auth=1 agg=1 aux=1 peer=trial.winfo"
    );
    assert_eq!(
        ask(&server, &["caller.package", "trial.winfo"]),
        "expires=78 type=1 keeps=0 auth=0 agg=0 aux=0 peer=trial"
    );
    let mut bob = Phone::new("bob", server.port);
    let mut dialog = Dialog::new("alice", "trial");
    dialog.cseq = 1;
    let request = bob.subscribe_request(&dialog, None, &[]);
    assert_eq!(bob.ask(&request).header("Expires"), Some("77"));
    let reply = bob.publish("trial", None, None, "x");
    assert_eq!(reply.header("Expires"), Some("77"));
}

#[test]
fn a_package_may_refuse_a_request() {
    let server = start();
    let mut bob = Phone::new("bob", server.port);
    behave(&server, "publ", "fail");
    assert_eq!(publish(&mut bob, None, "x").code(), 500);
    behave(&server, "subs", "fail");
    let mut dialog = Dialog::new("alice", "trial");
    assert_eq!(bob.resubscribe(&mut dialog, 600).code(), 500);
    assert!(bob.notify_within(0.3).is_none());
    behave(&server, "subs", "well");
    bob.subscribe("alice", "trial", 600);
    bob.notify();
}

#[test]
fn without_an_answer_about_the_watcher_nobody_watches() {
    for (function, manners) in
        [("rules", &["fail", "minus", "huge", "null"][..]), ("status", &["fail", "minus", "huge", "null"])]
    {
        // The C module fails here: it hands on rules, and takes a reason, of any length.
        let server = start();
        for manner in manners {
            behave(&server, function, manner);
            let mut bob = Phone::new("bob", server.port);
            let mut dialog = Dialog::new("alice", "trial");
            assert_eq!(bob.resubscribe(&mut dialog, 600).code(), 500, "{function} {manner}");
            assert!(bob.notify_within(0.2).is_none());
        }
        assert!(!server.log_lines("ERROR").is_empty());
        behave(&server, function, "well");
        Phone::new("bob", server.port).subscribe("alice", "trial", 600);
    }
}

/// Publishes with a function that misbehaves: what the watcher gets (none: nothing), and that the server goes on.
fn told_with(server: &mut Kamailio, function: &str, manner: &str) -> Option<String> {
    let (mut alice, mut bob) = (Phone::new("alice", server.port), Phone::new("bob", server.port));
    let user = format!("{function}{manner}");
    bob.subscribe(&user, "trial", 600);
    bob.notify();
    behave(server, function, manner);
    assert_eq!(alice.publish_for(&user, "trial", None, Some(600), "text").code(), 200, "{function} {manner}");
    let told = bob.notify_within(0.7).map(|m| m.body);
    behave(server, function, "well");
    assert_eq!(alice.publish_for(&user, "trial", None, Some(600), "more").code(), 200, "{function} {manner}");
    let after = (0..3).filter_map(|_| bob.notify_within(2.0)).find(|m| has_both(&m.body, ["text", "more"]));
    assert!(after.is_some(), "{function} {manner}: nothing comes afterwards");
    assert!(server.is_running(), "{function} {manner}");
    told
}

#[test]
fn documents_that_are_changed_in_place_or_not_made_are_told() {
    let mut server = start();
    for (function, manner, told) in
        [("aux", "none", "[text]"), ("aux", "place", "[*ext]"), ("auth", "none", "text for bob")]
    {
        assert_eq!(told_with(&mut server, function, manner).as_deref(), Some(told), "{function} {manner}");
    }
    nothing_is_kept(&server);
}

/// Documents that cannot be, from one function: an error each, and everything is given back.
fn documents_that_cannot_be_are_errors(function: &str, name: &str) {
    // The C module fails here: it tells another document in the place of one with a length below zero, null bytes for a
    // null pointer, and frees a document that is its own.
    let mut server = start();
    for manner in ["minus", "huge", "null"] {
        let told = told_with(&mut server, function, manner);
        // A document that could not be combined is none; one that could not be adapted is not told.
        let expected = (function == "agg").then_some("");
        assert_eq!(told.as_deref(), expected, "{function} {manner}");
    }
    let lines = server.log_lines(&format!("{name} gave a text of"));
    assert!(lines.len() >= 3 && lines.iter().all(|l| l.contains("ERROR") && l.contains("\"trial\"")), "{lines:?}");
    // The document that the function was given is not freed.
    let told = told_with(&mut server, function, "same");
    assert!(told.is_some_and(|body| body.contains("text")), "{function}");
    assert!(told_with(&mut server, function, "empty").is_some_and(|body| function == "agg" || body != "text"));
    nothing_is_kept(&server);
}

#[test]
fn combined_documents_that_cannot_be_are_errors() {
    documents_that_cannot_be_are_errors("agg", "agg_nbody");
}

#[test]
fn adapted_documents_that_cannot_be_are_errors() {
    documents_that_cannot_be_are_errors("aux", "aux_body_processing");
}

#[test]
fn filtered_documents_that_cannot_be_are_errors() {
    documents_that_cannot_be_are_errors("auth", "apply_auth_nbody");
}

#[test]
fn what_a_package_fails_to_filter_is_not_told() {
    let mut server = start();
    // The C module fails here: it tells a document that is said to be longer than it is.
    assert_eq!(told_with(&mut server, "aux", "grow"), None);
    assert_eq!(told_with(&mut server, "auth", "fail"), None);
    assert_eq!(told_with(&mut server, "rules", "fail"), None);
    nothing_is_kept(&server);
}

#[test]
fn what_packages_do_wrong_leaks_no_private_memory() {
    let mut server = start();
    let stock = Module::from_env().is_stock();
    let manners: &[&str] = if stock { &["well", "none"] } else { &["well", "none", "minus", "huge", "null"] };
    let functions: &[&str] = if stock { &["auth"] } else { &["agg", "aux", "auth", "rules", "status", "hard"] };
    let mut round = |n: usize| {
        for function in functions {
            for manner in manners {
                behave(&server, function, manner);
                let mut bob = Phone::new("bob", server.port);
                // One user for all rounds: the caches of the server do not grow.
                let mut dialog = Dialog::new("alice", "trial");
                bob.resubscribe(&mut dialog, 1);
                bob.publish("trial", None, Some(1), &format!("text {n}"));
                ask(&server, &["caller.auth", "sip:bob@test.local", "sip:alice@test.local"]);
                ask(&server, &["presence.refreshWatchers", "sip:bob@test.local", "trial", "2", "s:file", "s:name"]);
                behave(&server, function, "well");
            }
        }
    };
    (0..2).for_each(&mut round);
    let before = server.pkg_used();
    (0..4).for_each(&mut round);
    let more = server.pkg_used() - before;
    assert!(more < 2048, "{more} bytes");
    assert!(server.is_running());
}

#[test]
fn hard_state_comes_from_the_package() {
    // The C module dies of hard state with publ_cache 2, and with the others it refuses it with SQLite, whose driver has
    // no REPLACE.
    let server = start_with(1);
    let mut bob = Phone::new("bob", server.port);
    bob.subscribe("alice", "trial", 600);
    bob.notify();
    let refresh =
        || ask(&server, &["presence.refreshWatchers", "sip:alice@test.local", "trial", "2", "s:file", "s:name.1"]);
    assert_eq!(refresh(), "");
    assert_eq!(bob.notify().body, "[<hard/> for bob]");
    assert_eq!(count(&server, "hard"), 1);
    let wrong: &[&str] = if Module::from_env().is_stock() { &["fail"] } else { &["fail", "minus", "huge", "null"] };
    for manner in wrong {
        behave(&server, "hard", manner);
        assert!(refresh().contains("500"), "{manner}");
    }
    behave(&server, "hard", "none");
    refresh();
    nothing_is_kept(&server);
}
