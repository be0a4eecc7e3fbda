//! presence_conference (RFC 4575), presence_profile (RFC 6080) and presence_reginfo (RFC 3680).

use crate::{between, publish, with};
use testkit::phone::content_type;
use testkit::{Builder, Phone};

fn conference(user_state: &str) -> String {
    format!(
        "<?xml version=\"1.0\"?>\n<conference-info xmlns=\"urn:ietf:params:xml:ns:conference-info\" version=\"7\" \
         state=\"full\" entity=\"sip:room@test.local\"><users><user entity=\"sip:bob@test.local\"><endpoint \
         entity=\"sip:bob@192.0.2.1\"><status>{user_state}</status></endpoint></user></users></conference-info>"
    )
}

fn with_conference() -> Builder {
    with(&["presence_conference"])
}

#[test]
fn a_conference_is_followed_with_versions_of_its_own() {
    let server = with_conference().start();
    let (mut room, mut bob) = (Phone::new("room", server.port), Phone::new("bob", server.port));
    bob.subscribe("room", "conference", 600);
    assert_eq!(bob.notify().body, "");
    let mut etag = None;
    for (number, state) in ["dialing-in", "connected", "disconnected"].into_iter().enumerate() {
        etag = Some(publish(&mut room, "conference", etag.as_deref(), &conference(state)));
        let notify = bob.notify();
        assert_eq!(notify.header("Content-Type"), Some("application/conference-info+xml"));
        assert_eq!(between(&notify.body, "<status>", "</status>"), state);
        assert!(notify.body.contains("state=\"full\" entity=\"room@test.local\""), "{}", notify.body);
        // The first NOTIFY had no document, and counts.
        assert_eq!(between(&notify.body, "conference-info\" version=\"", "\""), (number + 2).to_string());
    }
}

/// `use_partial_states` is read by no line of the module: it is accepted, and documents are full all the same.
#[test]
fn a_conference_with_partial_states_is_shown_in_full() {
    let server = with_conference().extra("modparam(\"presence_conference\", \"use_partial_states\", 1)").start();
    let (mut room, mut bob) = (Phone::new("room", server.port), Phone::new("bob", server.port));
    publish(&mut room, "conference", None, &conference("connected").replace("state=\"full\"", "state=\"partial\""));
    bob.subscribe("room", "conference", 600);
    let body = bob.notify().body;
    assert!(body.contains("state=\"full\"") && body.contains("<status>connected</status>"), "{body}");
}

const PROFILE: &str = "<?xml version=\"1.0\"?>\r\n<settings><codec>opus</codec></settings>\r\n";
const OTHER_PROFILE: &str = "<?xml version=\"1.0\"?>\r\n<settings><codec>pcma</codec></settings>\r\n";

fn registration(state: &str) -> String {
    format!(
        "<?xml version=\"1.0\"?>\n<reginfo xmlns=\"urn:ietf:params:xml:ns:reginfo\" version=\"0\" state=\"full\">\
         <registration aor=\"sip:alice@test.local\" id=\"r1\" state=\"{state}\"/></reginfo>"
    )
}

#[test]
fn profiles_and_registrations_are_passed_on_as_they_are() {
    let server = with(&["presence_profile", "presence_reginfo"]).start();
    let documents = [
        ("ua-profile", [PROFILE.to_owned(), OTHER_PROFILE.to_owned()]),
        ("reg", [registration("active"), registration("terminated")]),
    ];
    for (event, [one, other]) in documents {
        let (mut alice, mut bob) = (Phone::new("alice", server.port), Phone::new("bob", server.port));
        bob.subscribe("alice", event, 600);
        assert_eq!(bob.notify().body, "", "{event}");
        let etag = publish(&mut alice, event, None, &one);
        let notify = bob.notify();
        assert_eq!((notify.header("Content-Type"), &notify.body), (Some(content_type(event)), &one));
        publish(&mut alice, event, Some(&etag), &other);
        assert_eq!(bob.notify().body, other);
    }
}

#[test]
fn what_is_published_without_expires_lasts_as_long_as_its_package_says() {
    let packages = ["presence_conference", "presence_profile", "presence_reginfo"];
    let lines = packages.map(|package| format!("modparam(\"{package}\", \"default_expires\", 1234)\n")).concat();
    let server = with(&packages).extra(&lines).start();
    let mut alice = Phone::new("alice", server.port);
    let documents =
        [("conference", conference("connected")), ("ua-profile", PROFILE.into()), ("reg", registration("active"))];
    for (event, document) in documents {
        let reply = alice.publish(event, None, None, &document);
        assert_eq!((reply.code(), reply.header("Expires")), (200, Some("1234")), "{event}");
    }
}
