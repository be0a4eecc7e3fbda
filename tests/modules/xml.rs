//! presence_xml: its parameters and script functions. The rules of presentities are in `rules`.

use crate::publish;
use testkit::phone::{Dialog, pidf};
use testkit::{Builder, Database, Kamailio, Phone};

fn with(parameters: &[(&str, &str)]) -> Builder {
    let lines = parameters.iter().map(|(name, value)| format!("modparam(\"presence_xml\", \"{name}\", {value})\n"));
    crate::with(&["presence_xml"]).extra(&lines.collect::<String>())
}

/// The answer to a first SUBSCRIBE.
fn asked_for(server: &Kamailio, event: &str) -> u16 {
    Phone::new("bob", server.port).resubscribe(&mut Dialog::new("alice", event), 600).code()
}

#[test]
fn with_force_active_everybody_may_watch() {
    let server = with(&[("force_active", "1")]).database(Database::Sqlite("WAL")).start();
    let (mut alice, mut bob) = (Phone::new("alice", server.port), Phone::new("bob", server.port));
    publish(&mut alice, "presence", None, &pidf("alice", "open", "here"));
    bob.subscribe("alice", "presence", 600);
    let notify = bob.notify();
    assert!(notify.state().starts_with("active"), "{notify:?}");
    assert!(notify.body.contains("<note>here</note>"), "{notify:?}");
}

#[test]
fn without_force_active_a_watcher_waits_for_the_rules() {
    let server = with(&[("force_active", "0"), ("integrated_xcap_server", "1")]);
    let server = server.database(Database::Sqlite("WAL")).start();
    let (mut alice, mut bob) = (Phone::new("alice", server.port), Phone::new("bob", server.port));
    publish(&mut alice, "presence", None, &pidf("alice", "open", "here"));
    bob.subscribe("alice", "presence", 600);
    let notify = bob.notify();
    assert!(notify.state().starts_with("pending"), "{notify:?}");
    assert_eq!(notify.body, "");
}

#[test]
fn in_passive_mode_it_registers_nothing() {
    let server = with(&[("passive_mode", "1")]).start();
    assert_eq!(asked_for(&server, "presence"), 489);
}

#[test]
fn packages_that_are_disabled_are_refused() {
    let switches = [
        ("disable_presence", "presence"),
        ("disable_winfo", "presence.winfo"),
        ("disable_bla", "dialog;sla"),
        ("disable_xcapdiff", "xcap-diff"),
    ];
    // The C module falls over winfo subscriptions without a database.
    let with = |parameters: &[(&str, &str)]| with(parameters).database(Database::Sqlite("WAL")).start();
    let all = with(&[("force_active", "1"), ("disable_bla", "0")]);
    for (_, event) in switches {
        assert_eq!(asked_for(&all, event), 200, "{event}");
    }
    for (switch, event) in switches {
        let server = with(&[("force_active", "1"), ("disable_bla", "0"), (switch, "1")]);
        let mut bob = Phone::new("bob", server.port);
        let reply = bob.resubscribe(&mut Dialog::new("alice", event), 600);
        assert_eq!(reply.code(), 489, "{switch}");
        let allowed: Vec<&str> = reply.header("Allow-Events").unwrap_or_default().split(", ").collect();
        for (_, other) in switches {
            assert_eq!(allowed.contains(&other), other != event, "{switch}: {allowed:?}");
        }
    }
}

#[test]
fn a_dummy_document_is_shown_while_nothing_is_published() {
    let server = with(&[("force_active", "1"), ("force_dummy_presence", "1")]).start();
    let (mut alice, mut bob) = (Phone::new("alice", server.port), Phone::new("bob", server.port));
    bob.subscribe("alice", "presence", 600);
    let notify = bob.notify();
    assert!(notify.body.contains("<basic>open</basic>") && notify.body.contains(">Available</note>"), "{notify:?}");
    publish(&mut alice, "presence", None, &pidf("alice", "closed", "gone"));
    let body = bob.notify().body;
    assert!(body.contains("<note>gone</note>") && !body.contains("Available"), "{body}");
}

#[test]
fn of_several_documents_the_most_important_one_is_shown() {
    let server = with(&[("force_active", "1"), ("force_presence_single_body", "1")]).start();
    let (mut desk, mut mobile) = (Phone::new("alice", server.port), Phone::new("alice", server.port));
    let mut bob = Phone::new("bob", server.port);
    publish(&mut desk, "presence", None, &pidf("alice", "open", "On the Phone"));
    publish(&mut mobile, "presence", None, &pidf("alice", "open", "Available"));
    bob.subscribe("alice", "presence", 600);
    let body = bob.notify().body;
    assert!(body.contains("<note>On the Phone</note>") && !body.contains("Available"), "{body}");
}

#[test]
fn a_publication_without_expires_lasts_as_long_as_the_package_says() {
    let server = with(&[("force_active", "1"), ("default_expires", "1234")]).start();
    let mut alice = Phone::new("alice", server.port);
    let reply = alice.publish("presence", None, None, &pidf("alice", "open", "here"));
    assert_eq!((reply.code(), reply.header("Expires")), (200, Some("1234")));
}

const ROUTES: &str = r#"
request_route {
    if (is_method("PUBLISH")) { t_newtran(); handle_publish(); t_release(); exit; }
    $var(alice) = "sip:alice@test.local";
    if ($hdr(Subject) == "open" && pres_check_basic("$var(alice)", "open")) { sl_send_reply("200", "Yes"); exit; }
    if ($hdr(Subject) == "closed" && pres_check_basic("$var(alice)", "closed")) { sl_send_reply("200", "Yes"); exit; }
    if ($hdr(Subject) == "away" || $hdr(Subject) == "meeting") {
        pres_check_activities("$var(alice)", "$hdr(Subject)");
        if ($rc == 1) { sl_send_reply("200", "Yes"); exit; }
        if ($rc == -2) { sl_send_reply("404", "No activities"); exit; }
    }
    sl_send_reply("403", "No");
}
"#;

#[test]
fn the_script_asks_for_state_and_activities() {
    let server = with(&[("force_active", "1")]).routes(ROUTES).start();
    let mut alice = Phone::new("alice", server.port);
    let is = |alice: &mut Phone, what: &str| {
        let (uri, subject) = (alice.uri_of("alice"), format!("Subject: {what}"));
        let call_id = testkit::phone::unique();
        let request = alice.request("MESSAGE", &uri, &uri, &uri, ("f", ""), &call_id, 1, &[subject], "");
        alice.ask(&request).code()
    };
    assert_eq!(is(&mut alice, "open"), 403);
    assert_eq!(is(&mut alice, "away"), 403);
    let etag = publish(&mut alice, "presence", None, &pidf("alice", "open", "here"));
    assert_eq!((is(&mut alice, "open"), is(&mut alice, "closed")), (200, 403));
    assert_eq!(is(&mut alice, "away"), 404);
    let away = pidf("alice", "closed", "out").replace(
        "</presence>",
        "<dm:person xmlns:dm=\"urn:ietf:params:xml:ns:pidf:data-model\" id=\"p1\"><rpid:activities \
         xmlns:rpid=\"urn:ietf:params:xml:ns:pidf:rpid\"><rpid:away/></rpid:activities></dm:person></presence>",
    );
    publish(&mut alice, "presence", Some(&etag), &away);
    assert_eq!((is(&mut alice, "open"), is(&mut alice, "closed")), (403, 200));
    assert_eq!((is(&mut alice, "away"), is(&mut alice, "meeting")), (200, 403));
}
