//! `rfc_strict`: what the stock module accepts and the RFCs refuse.

use crate::set_ups;
use testkit::phone::{Dialog, pidf};
use testkit::{Kamailio, Message, Phone};

/// Makes two tests of each function: one without the parameter, where the answer is that of the stock module, and one
/// with it, where it is that of the RFCs.
macro_rules! with_and_without {
    ($($name:ident,)+) => {
        mod without {
            // Without a database the stock module does not survive a SUBSCRIBE for presence.winfo.
            $(#[test]
            fn $name() {
                super::serve(false, super::$name);
            })+
        }
        mod with {
            $(#[test]
            fn $name() {
                super::serve(true, super::$name);
            })+
        }
    };
}

with_and_without! {
    a_subscribe_that_accepts_nothing_that_can_come_is_406,
    a_refresh_that_accepts_nothing_is_406_and_an_end_is_not,
    a_publish_of_another_type_is_415_and_says_which_it_takes,
    a_publish_that_is_too_brief_is_423_with_min_expires,
    an_old_cseq_in_a_dialog_is_500,
    more_than_one_entity_tag_is_400,
}

/// Every set-up, with or without the parameter.
fn serve(strict: bool, test: fn(&str, &Kamailio, bool)) {
    for (name, builder) in set_ups() {
        let builder = if strict { builder.param("rfc_strict", 1) } else { builder };
        test(name, &builder.param("min_expires", 60).start(), strict);
    }
}

fn headers(lines: &[&str]) -> Vec<String> {
    lines.iter().map(|line| (*line).to_owned()).collect()
}

/// A SUBSCRIBE outside of a dialog with these header lines.
fn subscribe(bob: &mut Phone, event: &str, expires: u32, more: &[&str]) -> Message {
    let dialog = Dialog { cseq: 1, ..Dialog::new("alice", event) };
    let request = bob.subscribe_request(&dialog, Some(expires), &headers(more));
    bob.ask(&request)
}

fn a_subscribe_that_accepts_nothing_that_can_come_is_406(what: &str, server: &Kamailio, strict: bool) {
    let mut bob = Phone::new("bob", server.port);
    for (event, accept, takes) in [
        ("presence", &[][..], true),
        ("presence", &["Accept: application/pidf+xml"], true),
        ("presence", &["Accept: text/plain, Application/PIDF+XML;q=0.3"], true),
        ("presence", &["Accept: text/plain", "Accept: application/*"], true),
        ("presence", &["Accept: */*"], true),
        ("presence.winfo", &["Accept: application/watcherinfo+xml"], true),
        ("dialog", &["Accept: application/dialog-info+xml"], true),
        ("message-summary", &["Accept: application/simple-message-summary"], true),
        ("presence", &["Accept: application/foo"], false),
        ("presence", &["Accept: text/plain", "Accept: text/html"], false),
        ("presence", &["Accept: application/pidf+xml;q=0.0, */*"], false),
        ("presence.winfo", &["Accept: application/pidf+xml"], false),
        ("dialog", &["Accept: application/pidf+xml"], false),
    ] {
        let reply = subscribe(&mut bob, event, 600, accept);
        let refused = strict && !takes;
        assert_eq!(reply.code(), if refused { 406 } else { 200 }, "{what}: {event} {accept:?}");
        if refused {
            let warning = reply.header("Warning").unwrap_or_default();
            assert!(warning.contains(&format!("NOTIFYs of {event} carry application/")), "{what}: {warning}");
            assert_eq!(bob.notify_within(0.1), None, "{what}: {event} {accept:?}");
        } else {
            bob.notify();
        }
    }
}

fn a_refresh_that_accepts_nothing_is_406_and_an_end_is_not(what: &str, server: &Kamailio, strict: bool) {
    let mut bob = Phone::new("bob", server.port);
    let mut dialog = bob.subscribe("alice", "presence", 600);
    bob.notify();
    for (expires, code) in [(600, if strict { 406 } else { 200 }), (0, 200)] {
        dialog.cseq += 1;
        let request = bob.subscribe_request(&dialog, Some(expires), &headers(&["Accept: application/foo"]));
        assert_eq!(bob.ask(&request).code(), code, "{what}: Expires {expires}");
    }
    testkit::wait_for("the last NOTIFY", 5.0, || bob.notify().state().starts_with("terminated").then_some(()));
}

fn a_publish_of_another_type_is_415_and_says_which_it_takes(what: &str, server: &Kamailio, strict: bool) {
    let mut alice = Phone::new("alice", server.port);
    let body = pidf("alice", "open", "here");
    let typed = |alice: &mut Phone, event: &str, body: &str, content_type: &str| {
        let request = alice.publish_request("alice", event, None, Some(600), body, &[]);
        let line = request.lines().find(|line| line.starts_with("Content-Type")).expect("a type").to_owned();
        let request = match content_type {
            "" => request.replace(&format!("{line}\r\n"), ""),
            other => request.replace(&line, &format!("Content-Type: {other}")),
        };
        alice.ask(&request)
    };
    for (event, content_type, takes) in [
        ("presence", "application/pidf+xml", "application/pidf+xml"),
        ("presence", "APPLICATION/pidf+xml ; charset=UTF-8", "application/pidf+xml"),
        ("presence", "text/plain", "application/pidf+xml"),
        ("presence", "", "application/pidf+xml"),
        ("message-summary", "application/pidf+xml", "application/simple-message-summary"),
    ] {
        let document = if event == "presence" { body.as_str() } else { "Messages-Waiting: yes\r\n" };
        let reply = typed(&mut alice, event, document, content_type);
        let fits = content_type.to_ascii_lowercase().starts_with(takes);
        let refused = strict && !fits;
        assert_eq!(reply.code(), if refused { 415 } else { 200 }, "{what}: {event} as {content_type:?}");
        assert_eq!(reply.header("Accept"), refused.then_some(takes), "{what}: {event} as {content_type:?}");
    }
    // Without a body there is nothing to compare.
    let etag = alice.publish("presence", None, Some(600), &body).header("SIP-ETag").expect("a tag").to_owned();
    let wrong = headers(&["Content-Type: text/plain"]);
    let request = alice.publish_request("alice", "presence", Some(&etag), Some(600), "", &wrong);
    assert_eq!(alice.ask(&request).code(), 200, "{what}");
}

fn a_publish_that_is_too_brief_is_423_with_min_expires(what: &str, server: &Kamailio, strict: bool) {
    let mut alice = Phone::new("alice", server.port);
    let body = pidf("alice", "open", "here");
    let reply = alice.publish("presence", None, Some(10), &body);
    let expected = if strict { (423, Some("60")) } else { (200, None) };
    assert_eq!((reply.code(), reply.header("Min-Expires")), expected, "{what}");
    let reply = alice.publish("presence", None, Some(60), &body);
    assert_eq!(reply.code(), 200, "{what}");
    let etag = reply.header("SIP-ETag").expect("a tag").to_owned();
    let reply = alice.publish("presence", Some(&etag), Some(59), &body);
    assert_eq!(reply.code(), if strict { 423 } else { 200 }, "{what}");
    let etag = reply.header("SIP-ETag").map_or(etag, str::to_owned);
    assert_eq!(alice.publish("presence", Some(&etag), Some(0), "").code(), 200, "{what}: an end is never too brief");
    assert_eq!(alice.publish("presence", None, None, &body).code(), 200, "{what}");
}

#[test]
fn min_expires_action_2_raises_a_publish_too() {
    for (name, builder) in set_ups() {
        let strict = builder.param("rfc_strict", 1).param("min_expires", 60).param("min_expires_action", 2);
        let server = strict.start();
        let mut alice = Phone::new("alice", server.port);
        let reply = alice.publish("presence", None, Some(10), &pidf("alice", "open", "here"));
        assert_eq!((reply.code(), reply.header("Expires")), (200, Some("60")), "{name}");
    }
}

fn an_old_cseq_in_a_dialog_is_500(what: &str, server: &Kamailio, strict: bool) {
    let mut bob = Phone::new("bob", server.port);
    let mut dialog = bob.subscribe("alice", "presence", 600);
    bob.notify();
    dialog.cseq += 5;
    assert_eq!(bob.resubscribe(&mut dialog, 600).code(), 200, "{what}");
    bob.notify();
    let mut late = Dialog { cseq: dialog.cseq - 3, ..dialog.clone() };
    for expires in [600, 0] {
        assert_eq!(bob.resubscribe(&mut late, expires).code(), if strict { 500 } else { 400 }, "{what}");
        late.cseq -= 2;
    }
    assert_eq!(bob.notify_within(0.1), None, "{what}");
    assert_eq!(bob.resubscribe(&mut dialog, 600).code(), 200, "{what}: it goes on");
}

fn more_than_one_entity_tag_is_400(what: &str, server: &Kamailio, strict: bool) {
    let mut alice = Phone::new("alice", server.port);
    let body = pidf("alice", "open", "here");
    let etag = alice.publish("presence", None, Some(600), &body).header("SIP-ETag").expect("a tag").to_owned();
    let second = headers(&["SIP-If-Match: a.1.2.3.4"]);
    let request = alice.publish_request("alice", "presence", Some(&etag), Some(600), &body, &second);
    assert_eq!(alice.ask(&request).code(), if strict { 400 } else { 200 }, "{what}");
}
