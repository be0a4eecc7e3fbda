//! Who may watch: `pres_auth_status`, and the functions that say that rules or documents have changed.

use crate::probe::{ASK_FIRST, call, put_document, routes, set_rules, uri, with_tables};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use testkit::phone::{dialog_info, pidf};
use testkit::{Builder, Kamailio, Phone, sqlite};

const ALICE: &str = "sip:alice@test.local";

fn builder() -> Builder {
    with_tables().extra(ASK_FIRST).routes(&routes())
}

fn phone(server: &Kamailio, user: &str) -> Phone {
    Phone::new(user, server.port)
}

#[test]
fn pres_auth_status_says_what_the_rules_say() {
    let server = builder().start();
    set_rules(
        &server.database_file(),
        "alice",
        &[("friend", "allow"), ("newcomer", "confirm"), ("foe", "block"), ("bore", "polite-block"), ("odd", "sing")],
    );
    let mut anybody = phone(&server, "anybody");
    let mut status = |watcher: &str, presentity: &str| call(&mut anybody, "pres_auth_status", &[watcher, presentity]);
    assert_eq!(status(&uri("friend"), ALICE), 1, "active");
    assert_eq!(status(&uri("newcomer"), ALICE), 2, "pending");
    assert_eq!(status(&uri("foe"), ALICE), 3, "terminated");
    assert_eq!(status(&uri("bore"), ALICE), 5, "politely blocked");
    assert_eq!(status(&uri("friend"), &uri("nobody")), 2, "without rules everybody is pending");
    assert_eq!(status(&uri("odd"), ALICE), -1, "an action that does not exist");
    assert_eq!(status("nonsense", ALICE), -1);
    assert_eq!(status(&uri("friend"), "nonsense"), -1);
}

#[test]
fn a_watcher_without_a_rule_is_pending() {
    // The stock module hands the package a status that nobody has set: what comes back depends on the stack.
    let server = builder().start();
    set_rules(&server.database_file(), "alice", &[("friend", "allow")]);
    assert_eq!(call(&mut phone(&server, "anybody"), "pres_auth_status", &[&uri("stranger"), ALICE]), 2);
}

#[test]
fn with_force_active_there_are_no_rules_and_everybody_is_pending() {
    let server = with_tables().routes(&routes()).start();
    assert_eq!(call(&mut phone(&server, "anybody"), "pres_auth_status", &[&uri("bob"), ALICE]), 2);
}

/// A module in C with a package "presence" that decides by the watcher's name, built once.
fn judge() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| {
        let source = testkit::root().join("tests/scripting/judge.c");
        testkit::cmodule::build(&source, Path::new(env!("CARGO_TARGET_TMPDIR")))
    })
}

#[test]
fn pres_auth_status_gives_every_status_that_a_package_can_give() {
    let judge = format!("loadmodule \"{}\"", judge().display());
    let server = Kamailio::builder().packages(&[]).extra(&judge).routes(&routes()).start();
    let mut anybody = phone(&server, "anybody");
    for (watcher, status) in
        [("active", 1), ("pending", 2), ("terminated", 3), ("waiting", 4), ("polite", 5), ("failing", -1)]
    {
        assert_eq!(call(&mut anybody, "pres_auth_status", &[&uri(watcher), ALICE]), status, "{watcher}");
    }
    assert_eq!(call(&mut anybody, "pres_auth_status", &[&uri("active"), &uri("ruleless")]), 2);
    assert_eq!(call(&mut anybody, "pres_auth_status", &[&uri("active"), &uri("broken")]), 2);
}

#[test]
fn everybody_is_active_where_the_package_asks_nobody() {
    let judge = format!("loadmodule \"{}\"\nmodparam(\"judge\", \"open_to_all\", 1)", judge().display());
    let server = Kamailio::builder().packages(&[]).extra(&judge).routes(&routes()).start();
    assert_eq!(call(&mut phone(&server, "anybody"), "pres_auth_status", &[&uri("failing"), ALICE]), 1);
}

#[test]
fn without_the_package_nobody_has_a_status() {
    let server = Kamailio::builder().packages(&["presence_mwi"]).routes(&routes()).start();
    assert_eq!(call(&mut phone(&server, "anybody"), "pres_auth_status", &[&uri("bob"), ALICE]), -1);
}

#[test]
fn pres_has_subscribers_finds_watchers_by_presentity_and_package() {
    for subs in [0, 1, 2, 3] {
        let server = with_tables().param("subs_db_mode", subs).routes(&routes()).start();
        let mut bob = phone(&server, "bob");
        let has = |bob: &mut Phone, uri: &str, event: &str| call(bob, "pres_has_subscribers", &[uri, event]);
        assert_eq!(has(&mut bob, ALICE, "presence"), -1, "subs_db_mode {subs}");
        let mut dialog = bob.subscribe("alice", "presence", 600);
        bob.notify();
        assert_eq!(has(&mut bob, ALICE, "presence"), 1, "subs_db_mode {subs}");
        assert_eq!(has(&mut bob, ALICE, "message-summary"), -1, "subs_db_mode {subs}");
        assert_eq!(has(&mut bob, ALICE, "nothing"), -1, "subs_db_mode {subs}");
        assert_eq!(has(&mut bob, &uri("carol"), "presence"), -1, "subs_db_mode {subs}");
        bob.resubscribe(&mut dialog, 0);
        bob.notify();
        // The stock module deletes with the answer to the last NOTIFY.
        testkit::wait_for("no watcher", 5.0, || (has(&mut bob, ALICE, "presence") == -1).then_some(()));
    }
}

/// The first two functions that say that the rules have changed.
fn rules_changed(function: &str, arguments: &[&str]) {
    for subs in [1, 2, 3] {
        let what = format!("{function}, subs_db_mode {subs}");
        let server = builder().param("subs_db_mode", subs).param("send_fast_notify", 1).start();
        let file = server.database_file();
        set_rules(&file, "alice", &[("bob", "confirm"), ("carol", "allow"), ("dave", "allow")]);
        let mut alice = phone(&server, "alice");
        assert_eq!(alice.publish("presence", None, Some(600), &pidf("alice", "open", "here")).code(), 200);
        let mut watchers = ["bob", "carol", "dave"].map(|user| phone(&server, user));
        for watcher in &mut watchers {
            watcher.subscribe("alice", "presence", 600);
        }
        let [bob, carol, dave] = &mut watchers;
        let first = bob.notify();
        assert!(first.state().starts_with("pending") && !first.body.contains("here"), "{what}: {first:?}");
        assert!(carol.notify().body.contains("here") && dave.notify().body.contains("here"), "{what}");
        set_rules(&file, "alice", &[("bob", "allow"), ("carol", "block"), ("dave", "allow")]);
        assert_eq!(call(&mut alice, function, arguments), 1, "{what}");
        let told = bob.notify();
        assert!(told.state().starts_with("active") && told.body.contains("here"), "{what}: {told:?}");
        assert!(told.cseq() > first.cseq(), "{what}");
        let last = carol.notify();
        assert!(last.state().starts_with("terminated;reason=rejected"), "{what}: {last:?}");
        assert!(!last.body.contains("here"), "{what}: {last:?}");
        let rows = "SELECT watcher_username, status, reason FROM watchers WHERE presentity_uri='sip:alice@test.local' \
                    AND event='presence' ORDER BY 1";
        assert_eq!(sqlite::run(&file, rows), ["bob|1|", "carol|3|rejected", "dave|1|"], "{what}");
        // For dave nothing changed.
        assert_eq!(dave.notify_within(0.3), None, "{what}");
    }
}

#[test]
fn pres_update_watchers_tells_those_whose_state_changed() {
    rules_changed("pres_update_watchers", &[ALICE, "presence"]);
}

#[test]
fn pres_refresh_watchers_of_type_0_tells_those_whose_state_changed() {
    rules_changed("pres_refresh_watchers", &[ALICE, "presence", "0"]);
}

#[test]
fn what_cannot_be_refreshed_is_refused() {
    let server = builder().start();
    let mut alice = phone(&server, "alice");
    let mut code = |function: &str, arguments: &[&str]| call(&mut alice, function, arguments);
    for function in ["pres_update_watchers", "pres_refresh_watchers"] {
        assert_eq!(code(function, &[ALICE, "nothing", "0"]), -1, "{function}: no such package");
        assert_eq!(code(function, &[ALICE, "message-summary", "0"]), -1, "{function}: a package without rules");
        assert_eq!(code(function, &[ALICE, "presence", "0"]), -1, "{function}: nobody has made rules");
        assert_eq!(code(function, &["nonsense", "presence", "0"]), -1, "{function}: no URI");
    }
    assert_eq!(code("pres_refresh_watchers", &[ALICE, "nothing", "1"]), -1);
    assert_eq!(code("pres_refresh_watchers", &[ALICE, "presence", "1"]), 1, "nobody watches: nothing to do");
    assert_eq!(code("pres_refresh_watchers", &[ALICE, "presence", "2"]), -1, "type 2 takes a file");
    assert_eq!(code("pres_refresh_watchers_file", &[ALICE, "presence", "1", "/pidf/alice", "index"]), -1);
    assert_eq!(code("pres_refresh_watchers_file", &[ALICE, "message-summary", "2", "/pidf/alice", "index"]), -1);
    assert_eq!(code("pres_refresh_watchers_file", &["nonsense", "presence", "2", "/pidf/alice", "index"]), -1);
}

#[test]
fn pres_refresh_watchers_of_type_1_tells_the_state_in_the_table() {
    for publ in [0, 1] {
        let server = with_tables().param("publ_cache", publ).routes(&routes()).start();
        let (mut alice, mut bob) = (phone(&server, "alice"), phone(&server, "bob"));
        alice.publish("presence", None, Some(600), &pidf("alice", "open", "here"));
        bob.subscribe("alice", "presence", 600);
        assert!(bob.notify().body.contains("here"), "publ_cache {publ}");
        sqlite::run(
            &server.database_file(),
            "UPDATE presentity SET body=CAST(replace(CAST(body AS TEXT), 'here', 'elsewhere') AS BLOB)",
        );
        assert_eq!(call(&mut alice, "pres_refresh_watchers", &[ALICE, "presence", "1"]), 1);
        assert!(bob.notify().body.contains("<note>elsewhere</note>"), "publ_cache {publ}");
    }
}

/// Takes a hard state, another one in its place, and takes it away.
fn hard_state(publ: u8, rows: fn(&Path) -> Option<Vec<String>>) {
    let server = builder().param("publ_cache", publ).start();
    let file = server.database_file();
    set_rules(&file, "alice", &[("bob", "allow")]);
    let (mut alice, mut bob) = (phone(&server, "alice"), phone(&server, "bob"));
    bob.subscribe("alice", "presence", 600);
    assert!(bob.notify().body.is_empty());
    let refresh = [ALICE, "presence", "2", "/pidf/alice", "index"];
    for note in ["on holiday", "back again"] {
        put_document(&file, "alice", 16, "/pidf/alice", &pidf("alice", "closed", note));
        assert_eq!(call(&mut alice, "pres_refresh_watchers_file", &refresh), 1, "publ_cache {publ}, {note}");
        assert!(bob.notify().body.contains(note), "publ_cache {publ}, {note}");
        let row = rows(&file);
        assert!(row.is_none_or(|row| row == ["index|-1|1"]), "publ_cache {publ}, {note}: it never expires");
        bob.listen(std::time::Duration::from_millis(100));
        bob.inbox.clear();
    }
    sqlite::run(&file, "DELETE FROM xcap WHERE doc_type=16");
    assert_eq!(call(&mut alice, "pres_refresh_watchers_file", &refresh), 1, "publ_cache {publ}");
    assert!(rows(&file).is_none_or(|rows| rows.is_empty()), "publ_cache {publ}");
    let told = bob.notify();
    assert!(!told.body.contains("back again"), "publ_cache {publ}: {told:?}");
}

#[test]
fn pres_refresh_watchers_of_type_2_takes_a_document_into_the_table_and_away_again() {
    // The stock module wants a driver that can replace rows, which the one of SQLite cannot.
    for publ in [0, 1] {
        hard_state(publ, |file| {
            let row = "SELECT etag, expires, CAST(body AS TEXT) LIKE '%<note>%' FROM presentity WHERE username='alice'";
            Some(sqlite::run(file, row))
        });
    }
}

#[test]
fn pres_refresh_watchers_of_type_2_takes_a_document_into_memory_and_away_again() {
    hard_state(2, |_| None);
}

#[test]
fn a_hard_state_that_is_no_document_is_refused() {
    let server = builder().start();
    let file = server.database_file();
    put_document(&file, "alice", 16, "/pidf/alice", "<presence><tuple></presence>");
    let mut alice = phone(&server, "alice");
    assert_eq!(call(&mut alice, "pres_refresh_watchers_file", &[ALICE, "presence", "2", "/pidf/alice", "i"]), -1);
    assert!(sqlite::run(&file, "SELECT etag FROM presentity").is_empty());
}

/// A document that says in which sphere somebody is.
fn in_sphere(user: &str, sphere: &str) -> String {
    format!(
        "<?xml version=\"1.0\"?><presence xmlns=\"urn:ietf:params:xml:ns:pidf\" \
         xmlns:dm=\"urn:ietf:params:xml:ns:pidf:data-model\" xmlns:rpid=\"urn:ietf:params:xml:ns:pidf:rpid\" \
         entity=\"sip:{user}@test.local\"><tuple id=\"t\"><status><basic>open</basic></status></tuple>\
         <dm:person id=\"p\"><rpid:sphere>{sphere}</rpid:sphere></dm:person></presence>"
    )
}

/// A rule that lets bob watch somebody who is at work.
fn at_work(server: &Kamailio, user: &str) {
    let rules = "<?xml version=\"1.0\"?><ruleset xmlns=\"urn:ietf:params:xml:ns:common-policy\" \
                 xmlns:pr=\"urn:ietf:params:xml:ns:pres-rules\"><rule id=\"a\"><conditions><identity>\
                 <one id=\"sip:bob@test.local\"/></identity><sphere>work</sphere></conditions>\
                 <actions><pr:sub-handling>allow</pr:sub-handling></actions><transformations/></rule></ruleset>";
    put_document(&server.database_file(), user, 2, &format!("/rules/{user}"), rules);
}

/// Whether bob may watch somebody at work, and somebody at home, where the rules say "at work".
fn by_sphere(value: u8, publ: u8) -> [bool; 2] {
    let server = builder().param("enable_sphere_check", value).param("publ_cache", publ).start();
    [("alice", "work"), ("carol", "home")].map(|(user, sphere)| {
        at_work(&server, user);
        let mut publisher = phone(&server, user);
        let reply = publisher.publish("presence", None, Some(600), &in_sphere(user, sphere));
        assert_eq!(reply.code(), 200, "enable_sphere_check {value}, publ_cache {publ}");
        call(&mut publisher, "pres_auth_status", &[&uri("bob"), &uri(user)]) == 1
    })
}

#[test]
fn enable_sphere_check_says_whether_rules_look_at_the_sphere() {
    assert_eq!(by_sphere(1, 0), [true, false]);
    // Without a sphere the condition counts as fulfilled.
    assert_eq!(by_sphere(0, 0), [true, true]);
}

#[test]
fn the_sphere_is_known_wherever_publications_are() {
    // The stock module does not look into a first PUBLISH with publ_cache 1 and 2.
    assert_eq!(by_sphere(1, 1), [true, false]);
    assert_eq!(by_sphere(1, 2), [true, false]);
}

#[test]
fn who_may_no_longer_watch_is_told_so_and_not_the_new_state() {
    // The stock module asks again with publ_cache 1 only, and then answers 500: it has lost the table that it was about
    // to write to.
    for publ in [0, 1, 2] {
        let server = builder().param("enable_sphere_check", 1).param("publ_cache", publ).start();
        at_work(&server, "alice");
        let (mut alice, mut bob) = (phone(&server, "alice"), phone(&server, "bob"));
        let reply = alice.publish("presence", None, Some(600), &in_sphere("alice", "work"));
        bob.subscribe("alice", "presence", 600);
        let first = bob.notify();
        assert!(first.state().starts_with("active") && first.body.contains("work"), "publ_cache {publ}: {first:?}");
        let etag = reply.header("SIP-ETag").expect("a tag").to_owned();
        assert_eq!(alice.publish("presence", Some(&etag), Some(600), &in_sphere("alice", "home")).code(), 200);
        let told = bob.notify();
        assert!(!told.state().starts_with("active") && !told.body.contains("home"), "publ_cache {publ}: {told:?}");
        bob.listen(std::time::Duration::from_millis(200));
        assert!(bob.inbox.iter().all(|n| !n.body.contains("home")), "publ_cache {publ}: {:?}", bob.inbox);
    }
}

#[test]
fn a_package_without_permission_has_no_rules_to_change() {
    let server = builder().start();
    let (mut alice, mut bob) = (phone(&server, "alice"), phone(&server, "bob"));
    alice.publish("dialog", None, Some(600), &dialog_info("alice", "d1", "early"));
    bob.subscribe("alice", "dialog", 600);
    assert!(bob.notify().body.contains("early"));
    assert_eq!(call(&mut alice, "pres_update_watchers", &[ALICE, "dialog"]), -1);
    assert_eq!(call(&mut alice, "pres_refresh_watchers", &[ALICE, "dialog", "0"]), -1);
    assert_eq!(bob.notify_within(0.3), None);
}

#[test]
fn nobody_is_told_by_a_library() {
    let routes = "request_route { if (is_method(\"OPTIONS\")) { sl_send_reply(\"200\", \"OK\"); exit; } \
                  pres_refresh_watchers(\"sip:alice@test.local\", \"presence\", 1); $var(result) = $rc; \
                  append_to_reply(\"Result: $var(result)\\r\\n\"); sl_send_reply(\"200\", \"OK\"); }";
    // The stock module calls a database that it has not opened (signal 11).
    let mut server = Kamailio::builder().param("publ_cache", 1).routes(routes).start();
    assert_eq!(call(&mut phone(&server, "alice"), "any", &[]), -1);
    assert!(server.is_running());
}
