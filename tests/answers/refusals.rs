//! What is refused whatever `rfc_strict` says, and that there is one final reply to each request.

use crate::set_ups;
use std::time::Duration;
use testkit::phone::{Dialog, pidf};
use testkit::{Kamailio, Message, Module, Phone};

/// Final replies to one request that is sent once, in the order in which they came.
fn replies(phone: &mut Phone, request: &str) -> Vec<Message> {
    let call_id = Message::parse(request.as_bytes()).header("Call-ID").map(str::to_owned);
    phone.send_raw(request.as_bytes());
    let mut all = Vec::new();
    let mut wait = Duration::from_secs(5);
    while let Some(reply) = phone.receive(wait) {
        if reply.code() >= 200 && reply.header("Call-ID").map(str::to_owned) == call_id {
            all.push(reply);
            // A second one would follow at once.
            wait = Duration::from_millis(60);
        }
    }
    all
}

fn one(phone: &mut Phone, request: &str, what: &str) -> Message {
    let mut all = replies(phone, request);
    let codes: Vec<u16> = all.iter().map(Message::code).collect();
    assert_eq!(codes.len(), 1, "{what}: {codes:?} to\n{request}");
    all.remove(0)
}

fn without(request: &str, name: &str) -> String {
    request.split_inclusive("\r\n").filter(|line| !line.starts_with(name)).collect()
}

#[test]
fn every_refusal_is_one_final_reply() {
    // The stock module answers malformed XML twice (415, then 500), and an unknown tag without a dot with 500.
    for (name, builder) in set_ups() {
        for strict in [None, Some(1)] {
            let builder = builder.clone().param("min_expires", 60);
            let builder = strict.map_or(builder.clone(), |value| builder.param("rfc_strict", value));
            let what = format!("{name}, rfc_strict {strict:?}");
            refuse(&what, &builder.start());
        }
    }
}

fn refuse(what: &str, server: &Kamailio) {
    let (mut alice, mut bob) = (Phone::new("alice", server.port), Phone::new("bob", server.port));
    let body = pidf("alice", "open", "here");
    let publish = |alice: &Phone, event: &str, etag: Option<&str>, body: &str| {
        alice.publish_request("alice", event, etag, Some(600), body, &[])
    };
    for (request, code, reason) in [
        (publish(&alice, "presence", Some("nosuch"), &body), 412, "an unknown tag"),
        (publish(&alice, "presence", Some("a.1.2.3.4"), &body), 412, "an unknown tag of a known shape"),
        (publish(&alice, "nothing", None, &body), 489, "an unknown package"),
        (without(&publish(&alice, "presence", None, &body), "Event"), 489, "no package"),
        (publish(&alice, "presence", None, ""), 400, "nothing to publish"),
        (publish(&alice, "presence;;", None, &body), 400, "a malformed Event"),
    ] {
        let reply = one(&mut alice, &request, &format!("{what}: {reason}"));
        assert_eq!(reply.code(), code, "{what}: {reason}");
        let allowed = reply.header("Allow-Events").unwrap_or_default();
        assert_eq!(allowed.contains("presence"), code == 489, "{what}: {reason}: {allowed}");
    }
    let malformed = publish(&alice, "presence", None, "<presence><tuple></presence>");
    assert_eq!(one(&mut alice, &malformed, what).code() / 100, 4, "{what}");

    let fresh = |event: &str| Dialog { cseq: 1, ..Dialog::new("alice", event) };
    let subscribe = |bob: &Phone, dialog: &Dialog, expires| bob.subscribe_request(dialog, Some(expires), &[]);
    let unknown = Dialog { to_tag: "nobody".into(), ..fresh("presence") };
    let plain = subscribe(&bob, &fresh("presence"), 600);
    for (request, code, reason) in [
        (subscribe(&bob, &fresh("nothing"), 600), 489, "an unknown package"),
        (subscribe(&bob, &fresh("presence"), 30), 423, "too brief"),
        (subscribe(&bob, &unknown, 600), 481, "an unknown dialog"),
        (without(&plain, "Contact"), 400, "no Contact"),
    ] {
        let reply = one(&mut bob, &request, &format!("{what}: {reason}"));
        assert_eq!(reply.code(), code, "{what}: {reason}");
        let min = (code == 423).then_some("60");
        assert_eq!(reply.header("Min-Expires"), min, "{what}: {reason}");
        assert_eq!(reply.header("Allow-Events").is_some(), code == 489, "{what}: {reason}");
    }
    assert_eq!(bob.notify_within(0.1), None, "{what}: nobody who was refused is told anything");
}

#[test]
fn event_parameters_are_taken_and_said_again_in_every_notify() {
    // The stock module refuses them with 489.
    for (name, builder) in set_ups() {
        let server = builder.start();
        let (mut alice, mut bob) = (Phone::new("alice", server.port), Phone::new("bob", server.port));
        let event = "presence;id=7;purpose=call-completion";
        let mut dialog = bob.subscribe("alice", event, 600);
        assert_eq!(bob.notify().header("Event"), Some(event), "{name}");
        assert_eq!(alice.publish("presence", None, Some(600), &pidf("alice", "open", "here")).code(), 200);
        assert_eq!(bob.notify().header("Event"), Some(event), "{name}");
        assert_eq!(bob.resubscribe(&mut dialog, 0).code(), 200, "{name}");
        assert_eq!(bob.notify().header("Event"), Some(event), "{name}");
    }
}

#[test]
fn event_parameters_survive_a_restart_of_the_server() {
    for mode in [1, 2, 3] {
        let mut server = crate::in_sqlite(mode, 0).start();
        let mut bob = Phone::new("bob", server.port);
        let events = ["presence;id=7;purpose=call-completion", "presence;purpose=call-completion", "presence;id=7"];
        let dialogs: Vec<Dialog> = events.iter().map(|event| bob.subscribe("alice", event, 600)).collect();
        dialogs.iter().for_each(|_| drop(bob.notify()));
        // The answers have to be in, too.
        bob.listen(Duration::from_millis(100));
        server.restart();
        let mut alice = Phone::new("alice", server.port);
        assert_eq!(alice.publish("presence", None, Some(600), &pidf("alice", "open", "here")).code(), 200);
        for _ in &dialogs {
            let notify = bob.notify();
            let dialog = dialogs.iter().find(|d| notify.header("Call-ID") == Some(&d.call_id)).expect("a dialog");
            assert_eq!(notify.header("Event"), Some(dialog.event.as_str()), "subs_db_mode {mode}");
        }
        for mut dialog in dialogs {
            assert_eq!(bob.resubscribe(&mut dialog, 600).code(), 200, "subs_db_mode {mode}: {}", dialog.event);
        }
    }
}

/// Asks again where the host itself had no memory for the transaction, and the script said so: in a moment it frees those
/// that have ended.
fn patiently(mut ask: impl FnMut() -> Option<Message>) -> Message {
    for _ in 0..50 {
        match ask() {
            Some(reply) if !reply.start.ends_with("/SL)") => return reply,
            _ => std::thread::sleep(Duration::from_millis(100)),
        }
    }
    panic!("the host had no memory for 5 s");
}

#[test]
fn without_memory_requests_are_503_with_retry_after_and_what_is_there_is_served() {
    if Module::from_env().is_stock() {
        // Its answers when memory runs out depend on where it does.
        println!("ignored: what is left for the answer is this module's memory, which the stock module does not keep");
        return;
    }
    let server = Kamailio::builder().memory(12, 8).extra("modparam(\"tm\", \"wt_timer\", 100)").start();
    let (mut alice, mut bob) = (Phone::new("alice", server.port), Phone::new("bob", server.port));
    bob.subscribe("alice", "presence", 3600);
    bob.notify();
    let long = "n".repeat(30_000);
    let mut refused = None;
    let mut etags = Vec::new();
    for n in 0..2000 {
        let user = format!("user{n}");
        let reply = patiently(|| {
            let body = pidf(&user, "open", &long);
            alice.try_ask(&alice.publish_request(&user, "presence", None, Some(3600), &body, &[]))
        });
        if reply.code() != 200 {
            refused = Some(reply);
            break;
        }
        etags.push((user, reply.header("SIP-ETag").expect("a tag").to_owned()));
    }
    let refused = refused.expect("memory runs out");
    assert_eq!(refused.code(), 503, "{refused:?}");
    assert!(refused.header("Retry-After").is_some_and(|v| v.parse::<u32>().is_ok_and(|s| s > 0)), "{refused:?}");
    for (user, etag) in etags.iter().take(30) {
        let reply = patiently(|| {
            let request = alice.publish_request(user, "presence", Some(etag), Some(0), "", &[]);
            alice.try_ask(&request)
        });
        assert_eq!(reply.code(), 200, "{reply:?}");
    }
    assert_eq!(alice.publish("presence", None, Some(600), &pidf("alice", "open", "back")).code(), 200);
    assert!(bob.notify().body.contains("back"));
}
