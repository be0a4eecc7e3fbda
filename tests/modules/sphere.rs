//! `enable_sphere_check`: rules that hold while the presentity is in some sphere (RFC 4745 7.2, RFC 4480 3.9).

use crate::publish;
use crate::rules::{self, Rule, ruleset};
use testkit::phone::pidf;
use testkit::{Kamailio, Phone};

fn at(sphere: &str) -> String {
    let person = format!(
        "<dm:person xmlns:dm=\"urn:ietf:params:xml:ns:pidf:data-model\" id=\"p1\"><rpid:sphere \
         xmlns:rpid=\"urn:ietf:params:xml:ns:pidf:rpid\">{sphere}</rpid:sphere></dm:person></presence>"
    );
    pidf("alice", "open", sphere).replace("</presence>", &person)
}

/// Bob may watch alice at work, and is politely blocked anywhere else.
fn start(check: u8, publ_cache: u8) -> Kamailio {
    let builder = rules::builder().param("enable_sphere_check", check).param("publ_cache", publ_cache);
    let server = builder.start();
    let transformations = "<pr:provide-services><pr:all-services/></pr:provide-services>";
    let condition = "<cr:sphere>work</cr:sphere>";
    let at_work = Rule { watcher: "bob", handling: "allow", condition, transformations };
    let elsewhere = Rule { watcher: "bob", handling: "polite-block", ..Rule::default() };
    rules::store_rules(&server, "alice", &ruleset(&[at_work, elsewhere]));
    server
}

/// With `publ_cache` 1 the C module asks the rules again in the middle of writing the publication, and goes on with the
/// wrong table: the PUBLISH with another sphere is answered 500. With the others it does not ask again: bob goes on
/// seeing everything.
#[test]
fn a_rule_holds_while_the_presentity_is_in_its_sphere() {
    for publ_cache in 0..=2 {
        follows_the_sphere(&start(1, publ_cache));
    }
}

fn follows_the_sphere(server: &Kamailio) {
    let (mut alice, mut bob) = (Phone::new("alice", server.port), Phone::new("bob", server.port));
    let etag = publish(&mut alice, "presence", None, &at("work"));
    bob.subscribe("alice", "presence", 600);
    let notify = bob.notify();
    assert!(notify.state().starts_with("active") && notify.body.contains("<note>work</note>"), "{notify:?}");
    // The rules are asked again when the sphere changes: from here on bob sees nothing.
    let etag = publish(&mut alice, "presence", Some(&etag), &at("home"));
    while let Some(notify) = bob.notify_within(1.0) {
        assert!(notify.state().starts_with("active"), "{notify:?}");
        assert!(!notify.body.contains("home"), "{notify:?}");
    }
    publish(&mut alice, "presence", Some(&etag), &at("work"));
    let seen = testkit::wait_for("the state at work", 5.0, || bob.notify_within(0.1).filter(|n| !n.body.is_empty()));
    assert!(seen.body.contains("<note>work</note>"), "{seen:?}");
}

#[test]
fn without_the_check_a_sphere_is_no_condition() {
    let server = start(0, 1);
    let (mut alice, mut bob) = (Phone::new("alice", server.port), Phone::new("bob", server.port));
    publish(&mut alice, "presence", None, &at("home"));
    bob.subscribe("alice", "presence", 600);
    let notify = bob.notify();
    assert!(notify.state().starts_with("active") && notify.body.contains("<note>home</note>"), "{notify:?}");
}
