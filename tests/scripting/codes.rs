//! What `handle_publish` and `handle_subscribe` return for each answer that they send.

use crate::probe::{returned, routes, serve, with_tables};
use std::time::Duration;
use testkit::phone::{Dialog, pidf};
use testkit::{Kamailio, Message, Phone, sqlite};

fn server() -> Kamailio {
    with_tables().param("subs_db_mode", 1).param("min_expires", 60).routes(&routes()).start()
}

fn header(line: &str) -> [String; 1] {
    [line.to_owned()]
}

/// What a PUBLISH is answered, and what the function returned.
fn publish(
    server: &Kamailio,
    alice: &mut Phone,
    event: &str,
    etag: Option<&str>,
    body: &str,
    more: &str,
) -> (u16, i32) {
    let more = if more.is_empty() { &[][..] } else { &header(more) };
    let request = alice.publish_request("alice", event, etag, Some(600), body, more);
    serve(server, alice, &request)
}

#[test]
fn handle_publish_returns_1_for_200_and_412_and_below_0_for_other_refusals() {
    let server = server();
    let mut alice = Phone::new("alice", server.port);
    let body = pidf("alice", "open", "here");
    assert_eq!(publish(&server, &mut alice, "presence", None, &body, ""), (200, 1));
    assert_eq!(publish(&server, &mut alice, "presence", Some("a.1.2.3.4"), &body, ""), (412, 1));
    assert_eq!(publish(&server, &mut alice, "nothing", None, &body, ""), (489, -1));
    assert_eq!(publish(&server, &mut alice, "presence", None, "", ""), (400, -1));
    let (code, result) = publish(&server, &mut alice, "presence", None, "<presence><tuple></presence>", "");
    assert_eq!((code / 100, result), (4, -1), "a package that refuses: {code}");
    let request = alice.publish_request("alice", "presence", None, Some(600), &body, &[]);
    let without =
        |name: &str| -> String { request.split_inclusive("\r\n").filter(|line| !line.starts_with(name)).collect() };
    assert_eq!(serve(&server, &mut alice, &without("Content-Length")), (400, -1));
    let silent = without("Event").replace("Call-ID: pub", "Call-ID: silent").replace("branch=", "branch=z9hG4bKs");
    assert_eq!(serve(&server, &mut alice, &silent), (489, -1));
}

#[test]
fn handle_publish_takes_a_sender_as_it_stands_and_from_a_variable() {
    let server = server();
    let mut alice = Phone::new("alice", server.port);
    let body = pidf("alice", "open", "here");
    let sender = "SELECT sender FROM presentity";
    let file = server.database_file();
    for (more, stored) in
        [("Fixed: yes", "sip:fixed@test.local"), ("Sender: sip:line@test.local", "sip:line@test.local"), ("", "")]
    {
        assert_eq!(publish(&server, &mut alice, "presence", None, &body, more), (200, 1), "{more}");
        assert_eq!(sqlite::run(&file, sender), [stored], "{more}");
        sqlite::run(&file, "DELETE FROM presentity");
    }
    assert_eq!(publish(&server, &mut alice, "presence", None, &body, "Sender: nonsense"), (400, -1));
    assert_eq!(sqlite::run(&file, sender), Vec::<String>::new());
}

#[test]
fn handle_subscribe_returns_1_for_200_and_below_0_for_refusals() {
    let server = server();
    let mut bob = Phone::new("bob", server.port);
    let ask = |bob: &mut Phone, dialog: &Dialog, expires: u32, more: &[String]| {
        let request = bob.subscribe_request(dialog, Some(expires), more);
        // One Call-ID per request, or the line of an earlier one would do: but within a dialog there is only one.
        serve(&server, bob, &request)
    };
    let outside = |event: &str| Dialog { cseq: 10, ..Dialog::new("alice", event) };
    let known = outside("presence");
    let request = bob.subscribe_request(&known, Some(600), &[]);
    let reply = bob.ask(&request);
    assert_eq!((reply.code(), returned(&server, &known.call_id)), (200, 1));
    assert_eq!(ask(&mut bob, &outside("nothing"), 600, &[]), (489, -1));
    assert_eq!(ask(&mut bob, &outside("presence"), 30, &[]), (423, -1));
    let unknown = Dialog { to_tag: "nobody".into(), ..outside("presence") };
    assert_eq!(ask(&mut bob, &unknown, 600, &[]), (481, -1));
    let late = Dialog { to_tag: reply.to_tag().into(), cseq: 5, ..known.clone() };
    let request = bob.subscribe_request(&late, Some(600), &[]);
    assert_eq!(bob.ask(&request).code(), 400);
    // The second line with this Call-ID.
    testkit::wait_for("the second result", 5.0, || {
        let lines = server.log_lines(&format!("script: {} returned", known.call_id));
        (lines.len() == 2 && lines[1].ends_with("returned -1")).then_some(())
    });
    let request = bob.subscribe_request(&outside("presence"), Some(600), &[]);
    let silent: String = request.split_inclusive("\r\n").filter(|line| !line.starts_with("Event")).collect();
    assert_eq!(serve(&server, &mut bob, &silent), (489, -1));
}

#[test]
fn handle_subscribe_takes_a_watcher_as_it_stands_and_from_a_variable() {
    let server = server();
    let mut bob = Phone::new("bob", server.port);
    for (more, watcher) in [
        (&header("Fixed: yes")[..], "fixed|test.local|bob"),
        (&header("Watcher: sip:boss@other.local"), "boss|other.local|bob"),
        (&[], "bob|test.local|bob"),
    ] {
        let request = bob.subscribe_request(&Dialog { cseq: 1, ..Dialog::new("alice", "presence") }, Some(600), more);
        assert_eq!(serve(&server, &mut bob, &request), (200, 1), "{more:?}");
        let call_id = Message::parse(request.as_bytes()).header("Call-ID").expect("a Call-ID").to_owned();
        let row =
            format!("SELECT watcher_username, watcher_domain, from_user FROM active_watchers WHERE callid='{call_id}'");
        assert_eq!(sqlite::run(&server.database_file(), &row), [watcher], "{more:?}");
    }
}

#[test]
fn a_watcher_that_is_no_uri_fails_without_an_answer() {
    let server = server();
    let mut bob = Phone::new("bob", server.port);
    let dialog = Dialog { cseq: 1, ..Dialog::new("alice", "presence") };
    bob.send_raw(bob.subscribe_request(&dialog, Some(600), &header("Watcher: nonsense")).as_bytes());
    assert_eq!(returned(&server, &dialog.call_id), -1);
    let answer = bob.receive(Duration::from_millis(200));
    assert!(answer.is_none(), "{answer:?}");
}

#[test]
fn a_from_that_is_no_uri_is_a_400_and_the_script_goes_on() {
    // The stock module ends the script (it returns 0), so that nobody learns of the refusal.
    let server = server();
    let mut bob = Phone::new("bob", server.port);
    let request = bob.subscribe_request(&Dialog { cseq: 1, ..Dialog::new("alice", "presence") }, Some(600), &[]);
    let request = request.replace("From: <sip:bob@test.local>", "From: <nonsense>");
    assert_eq!(serve(&server, &mut bob, &request), (400, -1));
}

#[test]
fn a_request_uri_that_is_no_uri_is_a_400() {
    // The stock module does not answer; it returns -1, too. (tm refuses such a request before presence sees it.)
    let server = server();
    let mut bob = Phone::new("bob", server.port);
    let dialog = Dialog { cseq: 1, ..Dialog::new("alice", "presence") };
    let request = bob.subscribe_request(&dialog, Some(600), &header("Stateless: yes"));
    let request = request.replace("SUBSCRIBE sip:alice@test.local", "SUBSCRIBE nonsense");
    assert_eq!(serve(&server, &mut bob, &request), (400, -1));
}
