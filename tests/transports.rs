//! UDP, TCP, TLS and WebSocket: a NOTIFY leaves by the connection that its subscription came by, or by the route set of
//! the dialog. The same tests run with `PRESENCE_SO=stock`.

mod connected;

use connected::{ROUTES, Server, with_alias};
use testkit::phone::{Dialog, pidf};
use testkit::{Kamailio, Phone, Transport};

const ALL: [Transport; 4] = [Transport::Udp, Transport::Tcp, Transport::Tls, Transport::Ws];

fn start(routes: &str) -> Server {
    Server::of(Kamailio::builder().packages(&["presence_xml"]), routes)
}

/// Watches, is told of a change, watches on, is told of another one, and leaves.
fn watches_to_the_end(mut bob: Phone, server: &Kamailio, top_via: &str) {
    let user = format!("alice-{top_via}");
    let mut alice = Phone::new(&user, server.port);
    let mut dialog = Dialog::new(&user, "presence");
    let reply = bob.resubscribe(&mut dialog, 600);
    assert_eq!(reply.code(), 200, "{top_via}: {reply:?}");
    dialog.to_tag = reply.to_tag().to_owned();
    let told = |bob: &mut Phone, what: &str| {
        let notify = bob.notify();
        assert!(notify.body.contains(what), "{top_via}: {notify:?}");
        let via = notify.header("Via").unwrap_or_default();
        assert!(via.starts_with(&format!("SIP/2.0/{top_via} ")), "{via}");
        assert_eq!(notify.start, format!("NOTIFY {} SIP/2.0", bob.contact()));
        notify
    };
    told(&mut bob, "");
    let etag = alice.publish("presence", None, Some(600), &pidf(&user, "open", "here"));
    let etag = etag.header("SIP-ETag").expect("accepted").to_owned();
    told(&mut bob, "<note>here</note>");
    assert_eq!(bob.resubscribe(&mut dialog, 600).code(), 200);
    told(&mut bob, "<note>here</note>");
    assert_eq!(alice.publish("presence", Some(&etag), Some(600), &pidf(&user, "open", "there")).code(), 200);
    told(&mut bob, "<note>there</note>");
    assert_eq!(bob.resubscribe(&mut dialog, 0).code(), 200);
    assert!(told(&mut bob, "").state().starts_with("terminated"));
}

#[test]
fn a_notify_goes_to_where_the_contact_says_over_the_open_connection() {
    // A WebSocket cannot be found again by the address in a Contact.
    let server = start(ROUTES);
    for transport in [Transport::Udp, Transport::Tcp, Transport::Tls] {
        watches_to_the_end(server.phone("bob", transport), &server.kamailio, transport.name());
    }
}

#[test]
fn a_notify_goes_by_the_connection_that_the_alias_of_the_contact_names() {
    let server = start(&with_alias());
    for transport in ALL {
        let mut bob = server.phone("bob", transport);
        bob.host = Some("bob.invalid".into());
        watches_to_the_end(bob, &server.kamailio, transport.name());
    }
}

/// A proxy between the phones and the server, which stays in the path.
const PROXY: &str = r#"
request_route {
    if (is_method("OPTIONS")) { sl_send_reply("200", "OK"); exit; }
    if (is_method("NOTIFY")) {
        if (!loose_route()) { sl_send_reply("403", "No route"); exit; }
        handle_ruri_alias();
        t_relay();
        exit;
    }
    force_rport();
    record_route();
    add_contact_alias();
    $du = BEHIND;
    t_relay();
}
"#;

#[test]
fn a_notify_goes_by_the_route_set_of_its_dialog() {
    let server = start(ROUTES);
    for transport in ALL {
        let inside = if transport == Transport::Udp { "" } else { ";transport=tcp" };
        let behind = format!("\"sip:127.0.0.1:{}{inside}\"", server.kamailio.port);
        let proxy = Server::of(Kamailio::builder().packages(&[]).define("BEHIND", &behind), PROXY);
        let mut bob = proxy.phone("bob", transport);
        bob.host = Some("bob.invalid".into());
        watches_to_the_end(bob, &server.kamailio, transport.name());
        // Each of the five went to the proxy.
        let hop = format!("via sip:127.0.0.1:{}{inside};", proxy.kamailio.port);
        testkit::wait_for("the lines about the next hop", 5.0, || {
            let lines = server.kamailio.log_lines(&hop);
            (lines.len() == 5 && lines.iter().all(|line| line.contains(";lr"))).then_some(())
        });
    }
}

#[test]
fn the_server_says_how_it_is_reached() {
    let server = start(ROUTES);
    for transport in ALL {
        let mut bob = server.phone("bob", transport);
        let reply = bob.resubscribe(&mut Dialog::new("alice", "presence"), 600);
        let contact = reply.header("Contact").unwrap_or_default();
        let expected = format!("<sip:127.0.0.1:{}{}>", server.kamailio.port, transport.parameter());
        assert_eq!(contact, expected, "{transport:?}");
    }
}
