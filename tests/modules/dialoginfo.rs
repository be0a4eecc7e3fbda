//! presence_dialoginfo: the calls of a line (RFC 4235).

use crate::{between, publish};
use testkit::phone::dialog_info;
use testkit::{Builder, Phone};

fn builder() -> Builder {
    crate::with(&["presence_dialoginfo"])
}

fn version(body: &str) -> u32 {
    between(body, "urn:ietf:params:xml:ns:dialog-info\" version=\"", "\"").parse().expect("a number")
}

fn dialogs(body: &str) -> Vec<(&str, &str)> {
    let each = body.split("<dialog ").skip(1);
    let mut all: Vec<_> = each.map(|d| (between(d, "id=\"", "\""), between(d, "<state>", "</state>"))).collect();
    all.sort_unstable();
    all
}

#[test]
fn every_watcher_has_versions_of_its_own() {
    let server = builder().start();
    let mut line = Phone::new("line", server.port);
    let (mut bob, mut carol) = (Phone::new("bob", server.port), Phone::new("carol", server.port));
    let etag = publish(&mut line, "dialog", None, &dialog_info("line", "d1", "early"));
    bob.subscribe("line", "dialog", 600);
    let first = version(&bob.notify().body);
    let etag = publish(&mut line, "dialog", Some(&etag), &dialog_info("line", "d1", "confirmed"));
    assert_eq!(version(&bob.notify().body), first + 1);
    carol.subscribe("line", "dialog", 600);
    assert_eq!(version(&carol.notify().body), first);
    publish(&mut line, "dialog", Some(&etag), &dialog_info("line", "d1", "terminated"));
    let (of_bob, of_carol) = (bob.notify().body, carol.notify().body);
    assert_eq!((version(&of_bob), version(&of_carol)), (first + 2, first + 1));
    assert_eq!(dialogs(&of_bob), [("d1", "terminated")]);
    assert_eq!(dialogs(&of_carol), [("d1", "terminated")]);
    assert!(of_bob.contains("entity=\"sip:line@test.local\"") && of_bob.contains("state=\"full\""), "{of_bob}");
}

#[test]
fn the_calls_of_a_line_come_in_one_document() {
    let server = builder().start();
    let (mut first, mut second) = (Phone::new("line", server.port), Phone::new("line", server.port));
    let mut bob = Phone::new("bob", server.port);
    bob.subscribe("line", "dialog", 600);
    assert_eq!(bob.notify().body, "");
    publish(&mut first, "dialog", None, &dialog_info("line", "d1", "confirmed"));
    assert_eq!(dialogs(&bob.notify().body), [("d1", "confirmed")]);
    let etag = publish(&mut second, "dialog", None, &dialog_info("line", "d2", "early"));
    assert_eq!(dialogs(&bob.notify().body), [("d1", "confirmed"), ("d2", "early")]);
    // A call that has its publication taken away is gone.
    assert_eq!(second.publish("dialog", Some(&etag), Some(0), "").code(), 200);
    let body = bob.notify().body;
    assert!(dialogs(&body).contains(&("d1", "confirmed")), "{body}");
    let mut carol = Phone::new("carol", server.port);
    carol.subscribe("line", "dialog", 600);
    assert_eq!(dialogs(&carol.notify().body), [("d1", "confirmed")]);
}

/// The stock module, whose dialog-info package does not ask what was taken away, shows it once more as it was.
#[test]
fn a_call_whose_publication_is_taken_away_is_over() {
    let server = builder().start();
    let (mut first, mut second) = (Phone::new("line", server.port), Phone::new("line", server.port));
    publish(&mut first, "dialog", None, &dialog_info("line", "d1", "confirmed"));
    let etag = publish(&mut second, "dialog", None, &dialog_info("line", "d2", "early"));
    let mut bob = Phone::new("bob", server.port);
    bob.subscribe("line", "dialog", 600);
    assert_eq!(dialogs(&bob.notify().body), [("d1", "confirmed"), ("d2", "early")]);
    assert_eq!(second.publish("dialog", Some(&etag), Some(0), "").code(), 200);
    assert_eq!(dialogs(&bob.notify().body), [("d1", "confirmed"), ("d2", "terminated")]);
}

#[test]
fn several_calls_in_one_publication_stay_together() {
    let server = builder().start();
    let (mut line, mut bob) = (Phone::new("line", server.port), Phone::new("bob", server.port));
    bob.subscribe("line", "dialog", 600);
    bob.notify();
    let second = "<dialog id=\"d2\" direction=\"initiator\"><state>early</state></dialog></dialog-info>";
    let both = dialog_info("line", "d1", "confirmed").replace("</dialog-info>", second);
    publish(&mut line, "dialog", None, &both);
    assert_eq!(dialogs(&bob.notify().body), [("d1", "confirmed"), ("d2", "early")]);
}

#[test]
fn a_watcher_may_want_the_most_important_call_only() {
    let server = builder().extra("modparam(\"presence_dialoginfo\", \"force_single_dialog\", 1)").start();
    let (mut first, mut second) = (Phone::new("line", server.port), Phone::new("line", server.port));
    publish(&mut first, "dialog", None, &dialog_info("line", "d1", "confirmed"));
    publish(&mut second, "dialog", None, &dialog_info("line", "d2", "early"));
    let mut bob = Phone::new("bob", server.port);
    bob.subscribe("line", "dialog", 600);
    // A call that rings is what a busy lamp has to show first.
    assert_eq!(dialogs(&bob.notify().body), [("d2", "early")]);
}

#[test]
fn a_line_without_calls_may_have_a_dummy() {
    let server = builder().extra("modparam(\"presence_dialoginfo\", \"force_dummy_dialog\", 1)").start();
    let (mut line, mut bob) = (Phone::new("line", server.port), Phone::new("bob", server.port));
    bob.subscribe("line", "dialog", 600);
    let body = bob.notify().body;
    assert_eq!(dialogs(&body).iter().map(|(_, state)| *state).collect::<Vec<_>>(), ["terminated"]);
    assert!(body.contains("entity=\"sip:line@test.local\""), "{body}");
    publish(&mut line, "dialog", None, &dialog_info("line", "d1", "early"));
    assert_eq!(dialogs(&bob.notify().body), [("d1", "early")]);
}
