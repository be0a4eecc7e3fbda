//! presence_xml with rules: what a watcher is shown of a document (RFC 5025 3.3).

use crate::publish;
use crate::rules::{self, Rule, ruleset};
use testkit::Phone;

const DOCUMENT: &str = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\r\n<presence \
    xmlns=\"urn:ietf:params:xml:ns:pidf\" xmlns:dm=\"urn:ietf:params:xml:ns:pidf:data-model\" \
    xmlns:r=\"urn:ietf:params:xml:ns:pidf:rpid\" entity=\"sip:alice@test.local\"><tuple id=\"desk\"><status><basic>open\
    </basic></status><r:class>business</r:class></tuple><tuple id=\"games\"><status><basic>closed</basic></status>\
    <r:class>private</r:class></tuple><dm:person id=\"p1\"><r:mood><r:happy/></r:mood></dm:person></presence>\r\n";

/// What bob sees of the document.
fn seen_by_bob(transformations: &str) -> String {
    let server = rules::builder().start();
    let rule = Rule { watcher: "bob", handling: "allow", transformations, ..Rule::default() };
    rules::store_rules(&server, "alice", &ruleset(&[rule]));
    publish(&mut Phone::new("alice", server.port), "presence", None, DOCUMENT);
    let mut bob = Phone::new("bob", server.port);
    bob.subscribe("alice", "presence", 600);
    let first = bob.notify();
    assert!(first.state().starts_with("active"), "{first:?}");
    // What is published later goes the same way.
    publish(&mut Phone::new("alice", server.port), "presence", None, DOCUMENT);
    let later = bob.notify();
    let shown = |body: &str| MARKS.map(|mark| body.contains(mark));
    assert_eq!(shown(&later.body), shown(&first.body), "{}", later.body);
    first.body
}

const MARKS: [&str; 3] = ["\"desk\"", "\"games\"", "happy"];

fn shown(transformations: &str) -> [bool; 3] {
    let body = seen_by_bob(transformations);
    MARKS.map(|mark| body.contains(mark))
}

#[test]
fn everything_is_shown_where_everything_is_provided() {
    let all = "<pr:provide-services><pr:all-services/></pr:provide-services>\
               <pr:provide-persons><pr:all-persons/></pr:provide-persons>";
    assert_eq!(shown(all), [true; 3]);
}

#[test]
fn nothing_is_shown_where_nothing_is_provided() {
    let none = "<pr:provide-services/><pr:provide-persons/>";
    assert_eq!(shown(none), [false; 3]);
}

#[test]
fn services_are_chosen_by_class() {
    let business = "<pr:provide-services><pr:class>business</pr:class></pr:provide-services>\
                    <pr:provide-persons><pr:all-persons/></pr:provide-persons>";
    assert_eq!(shown(business), [true, false, true]);
}

#[test]
fn an_element_is_hidden_by_false() {
    let moodless = "<pr:provide-services><pr:all-services/></pr:provide-services>\
                    <pr:provide-persons><pr:all-persons/></pr:provide-persons><pr:provide-mood>false</pr:provide-mood>";
    assert_eq!(shown(moodless), [true, true, false]);
}
