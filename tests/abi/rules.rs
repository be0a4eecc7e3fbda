//! The functions of `presence_api_t` that are about who may watch, with `presence_xml` and rules in the table `xcap`.

use crate::{ask, builder};
use testkit::phone::pidf;
use testkit::{Database, Kamailio, Phone, sqlite};

const ALICE: &str = "sip:alice@test.local";

/// A server whose watchers need permission. One worker: the stock module loses writes when two processes meet at the
/// file.
fn start() -> Kamailio {
    let ask_first = "modparam(\"presence_xml\", \"force_active\", 0)\n\
                     modparam(\"presence_xml\", \"integrated_xcap_server\", 1)";
    let builder = builder().database(Database::Sqlite("WAL")).children(1).param("notifier_processes", 0);
    builder.param("enable_sphere_check", 1).param("publ_cache", 0).extra(ask_first).start()
}

/// Rules that say for each watcher what is done about it.
fn rules(of: &[(&str, &str)]) -> String {
    let rule = |(watcher, action): &(&str, &str)| {
        format!(
            "<rule id=\"{watcher}\"><conditions><identity><one id=\"sip:{watcher}@test.local\"/></identity></conditions>\
             <actions><pr:sub-handling>{action}</pr:sub-handling></actions><transformations/></rule>"
        )
    };
    format!(
        "<?xml version=\"1.0\"?><ruleset xmlns=\"urn:ietf:params:xml:ns:common-policy\" \
         xmlns:pr=\"urn:ietf:params:xml:ns:pres-rules\">{}</ruleset>",
        of.iter().map(rule).collect::<String>()
    )
}

fn store(server: &Kamailio, rules: &str) {
    let statement = format!(
        "INSERT INTO xcap (username, domain, doc, doc_type, etag, source, doc_uri, port) \
         VALUES ('alice', 'test.local', CAST('{rules}' AS BLOB), 2, 'e', 1, '/rules/alice', 0)"
    );
    sqlite::run(&server.database_file(), &statement);
}

#[test]
fn a_watcher_has_the_status_that_the_rules_give() {
    let server = start();
    store(&server, &rules(&[("bob", "allow"), ("carol", "confirm"), ("dave", "block"), ("erin", "polite-block")]));
    for (watcher, status) in [("bob", "1"), ("carol", "2"), ("dave", "3"), ("erin", "5")] {
        let watcher = format!("sip:{watcher}@test.local");
        assert_eq!(ask(&server, &["caller.auth", &watcher, ALICE]), status, "{watcher}");
    }
    for (watcher, presentity) in [("nonsense", ALICE), ("sip:bob@test.local", "nonsense")] {
        assert_eq!(ask(&server, &["caller.auth", watcher, presentity]), "-1", "{watcher} {presentity}");
    }
}

#[test]
fn watchers_are_told_what_rules_say_that_a_module_hands_over() {
    let server = start();
    store(&server, &rules(&[("bob", "confirm"), ("carol", "allow"), ("dave", "allow")]));
    let mut alice = Phone::new("alice", server.port);
    assert_eq!(alice.publish("presence", None, Some(600), &pidf("alice", "open", "here")).code(), 200);
    let mut watchers = ["bob", "carol", "dave"].map(|user| Phone::new(user, server.port));
    let first = watchers.each_mut().map(|watcher| {
        watcher.subscribe("alice", "presence", 600);
        watcher.notify()
    });
    assert!(first[0].state().starts_with("pending"), "{first:?}");
    // Not those in the table, which say something else.
    let handed = rules(&[("bob", "allow"), ("carol", "block"), ("dave", "allow")]);
    assert_eq!(ask(&server, &["caller.decide", ALICE, "presence", &format!("s:{handed}")]), "0");
    let [bob, carol, dave] = &mut watchers;
    let told = bob.notify();
    assert!(told.state().starts_with("active") && told.body.contains("here"), "{told:?}");
    assert_eq!(carol.notify().state(), "terminated;reason=rejected");
    assert_eq!(dave.notify_within(0.3), None, "for dave nothing changed");
    let rows = "SELECT watcher_username, status, reason FROM watchers ORDER BY 1";
    assert_eq!(sqlite::run(&server.database_file(), rows), ["bob|1|", "carol|3|rejected", "dave|1|"]);
    assert_eq!(ask(&server, &["caller.decide", "sip:nobody@test.local", "presence", &format!("s:{handed}")]), "0");
    assert_eq!(ask(&server, &["caller.decide", ALICE, "nothing", &format!("s:{handed}")]), "0");
}

#[test]
fn the_sphere_is_that_of_the_document() {
    let server = start();
    let mut alice = Phone::new("alice", server.port);
    assert_eq!(ask(&server, &["caller.sphere", ALICE]), "none");
    let mut etag = None;
    for sphere in ["work", "home"] {
        let person = format!(
            "<dm:person xmlns:dm=\"urn:ietf:params:xml:ns:pidf:data-model\" id=\"p1\"><rpid:sphere \
             xmlns:rpid=\"urn:ietf:params:xml:ns:pidf:rpid\">{sphere}</rpid:sphere></dm:person></presence>"
        );
        let body = pidf("alice", "open", "here").replace("</presence>", &person);
        let reply = alice.publish("presence", etag.as_deref(), Some(600), &body);
        assert_eq!(reply.code(), 200, "{sphere}");
        etag = reply.header("SIP-ETag").map(str::to_owned);
        assert_eq!(ask(&server, &["caller.sphere", ALICE]), sphere);
    }
    assert_eq!(ask(&server, &["caller.sphere", "sip:nobody@test.local"]), "none");
}
