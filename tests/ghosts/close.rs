//! `expire_on_close`: what came over a connection ends with it.

use crate::connected::{Server, with_alias};
use crate::{MODES, builder, opens, publishes, told};
use std::time::{Duration, Instant};
use testkit::phone::{Dialog, dialog_info, pidf};
use testkit::{Builder, Phone, Transport, wait_for};

const CONNECTIONS: [Transport; 3] = [Transport::Tcp, Transport::Tls, Transport::Ws];

/// How long it may take until everybody knows.
const SOON: f64 = 2.0;

fn start(builder: Builder) -> Server {
    Server::of(builder, &with_alias())
}

fn subscriptions(server: &Server) -> i64 {
    server.kamailio.status("subscriptions")
}

fn publish(phone: &mut Phone, etag: Option<&str>, note: &str) -> String {
    let reply = phone.publish("presence", etag, Some(600), &pidf(&phone.user.clone(), "open", note));
    assert_eq!(reply.code(), 200, "{reply:?}");
    reply.header("SIP-ETag").expect("a tag").to_owned()
}

#[test]
fn the_subscription_and_the_publication_of_a_phone_end_with_its_connection() {
    let server = start(builder(0).param("expire_on_close", 1));
    for transport in CONNECTIONS {
        let user = format!("alice-{}", transport.name().to_lowercase());
        let port = server.kamailio.port;
        let (mut carol, mut dave) = (Phone::new("carol", port), Phone::new("dave", port));
        let over_udp = opens(&mut carol, &user, "presence", "");
        opens(&mut dave, &user, "presence.winfo", "");
        let before = subscriptions(&server);
        let mut alice = server.phone(&user, transport);
        let own = opens(&mut alice, &user, "presence", "");
        assert!(dave.notify().body.contains(&own.call_id), "{transport:?}");
        publish(&mut alice, None, "here");
        assert!(alice.notify().body.contains("here"), "{transport:?}: she watches herself");
        assert_eq!(told(&mut carol, "here"), [over_udp.call_id.as_str()], "{transport:?}");
        let closed = Instant::now();
        drop(alice);
        let gone = carol.notify_within(SOON).unwrap_or_else(|| panic!("{transport:?}: she stays online"));
        assert!(gone.body.contains("<basic>closed</basic>"), "{transport:?}: {gone:?}");
        let list = dave.notify_within(SOON).unwrap_or_else(|| panic!("{transport:?}: she stays a watcher"));
        assert!(!list.body.contains(&own.call_id) && list.body.contains(&over_udp.call_id), "{transport:?}: {list:?}");
        assert!(closed.elapsed() < Duration::from_secs_f64(SOON), "{transport:?}: {:?}", closed.elapsed());
        assert_eq!(subscriptions(&server), before, "{transport:?}");
        // Nothing was sent to her: that would wait for an answer.
        assert_eq!(server.kamailio.status("notifies_waiting"), 0, "{transport:?}");
        assert_eq!([&mut carol, &mut dave].map(|phone| phone.notify_within(0.2)), [None, None], "{transport:?}");
    }
}

#[test]
fn so_it_is_wherever_they_are_kept() {
    for (subs, publ) in MODES.into_iter().flat_map(|subs| [0, 1, 2].map(|publ| (subs, publ))) {
        if subs == 0 && publ != 2 {
            continue;
        }
        let what = format!("subs_db_mode {subs}, publ_cache {publ}");
        let server = start(builder(subs).param("publ_cache", publ).param("expire_on_close", 1));
        let mut carol = Phone::new("carol", server.kamailio.port);
        let mut known = opens(&mut carol, "alice", "presence", "");
        opens(&mut carol, "alice", "dialog", "");
        let mut alice = server.phone("alice", Transport::Tcp);
        opens(&mut alice, "carol", "presence", "");
        let tag = publish(&mut alice, None, "here");
        publish(&mut alice, Some(&tag), "there");
        let call = alice.publish("dialog", None, Some(600), &dialog_info("alice", "d1", "confirmed"));
        assert_eq!(call.code(), 200, "{what}");
        (0..3).for_each(|_| drop(carol.notify()));
        drop(alice);
        let mut gone: Vec<_> = (0..2).filter_map(|_| carol.notify_within(SOON)).map(|n| n.body).collect();
        gone.sort();
        assert_eq!(gone.len(), 2, "{what}: {gone:?}");
        assert!(gone.iter().any(|body| body.contains("<basic>closed</basic>")), "{what}: {gone:?}");
        assert!(gone.iter().any(|body| body.contains("<state>terminated</state>")), "{what}: {gone:?}");
        wait_for("her subscription goes", SOON, || (subscriptions(&server) == 2).then_some(()));
        if subs != 0 {
            let _ = server.kamailio.rpc(&["presence.cleanup"]);
            assert_eq!(server.kamailio.tables().number("SELECT count(*) FROM active_watchers"), 2, "{what}");
        }
        if publ != 2 {
            assert_eq!(server.kamailio.tables().number("SELECT count(*) FROM presentity"), 0, "{what}");
        }
        assert_eq!(carol.resubscribe(&mut known, 600).code(), 200, "{what}");
    }
}

#[test]
fn a_phone_that_has_come_back_over_another_connection_stays() {
    let server = start(builder(0).param("expire_on_close", 1));
    let mut carol = Phone::new("carol", server.kamailio.port);
    opens(&mut carol, "alice", "presence", "");
    let mut first = server.phone("alice", Transport::Tcp);
    let mut dialog = opens(&mut first, "carol", "presence", "");
    let tag = publish(&mut first, None, "here");
    assert!(carol.notify().body.contains("here"));
    let mut second = server.phone("alice", Transport::Tls);
    assert_eq!(second.resubscribe(&mut dialog, 600).code(), 200);
    second.notify();
    let reply = second.publish("presence", Some(&tag), Some(600), "");
    assert_eq!(reply.code(), 200);
    drop(first);
    assert_eq!(carol.notify_within(SOON), None, "she is there");
    assert_eq!(subscriptions(&server), 2);
    publishes(&server.kamailio, "carol", "over there");
    assert!(second.notify().body.contains("over there"));
    // Then over none: a datagram has no connection that could end.
    let mut third = server.phone("alice", Transport::Udp);
    assert_eq!(third.resubscribe(&mut dialog, 600).code(), 200);
    third.notify();
    drop(second);
    let gone = carol.notify_within(SOON).expect("what she published came by the second");
    assert!(!gone.body.contains("<basic>open</basic>"), "{gone:?}");
    assert_eq!(subscriptions(&server), 2);
}

#[test]
fn a_connection_that_the_server_closes_is_closed() {
    // Kamailio tells no module of these.
    let builder = builder(0).param("expire_on_close", 1).before("tcp_connection_lifetime=2");
    let server = start(builder);
    let mut alice = server.phone("alice", Transport::Tcp);
    opens(&mut alice, "carol", "presence", "");
    assert_eq!(subscriptions(&server), 1);
    wait_for("the idle connection is closed", 15.0, || (subscriptions(&server) == 0).then_some(()));
}

#[test]
fn without_expire_on_close_everything_stays() {
    let server = start(builder(0));
    let mut carol = Phone::new("carol", server.kamailio.port);
    opens(&mut carol, "alice", "presence", "");
    let mut alice = server.phone("alice", Transport::Tcp);
    let mut dialog: Dialog = opens(&mut alice, "carol", "presence", "");
    publish(&mut alice, None, "here");
    assert!(carol.notify().body.contains("here"));
    drop(alice);
    assert_eq!(carol.notify_within(SOON), None);
    let mut again = server.phone("alice", Transport::Tcp);
    assert_eq!(again.resubscribe(&mut dialog, 600).code(), 200, "the dialog is there");
}
