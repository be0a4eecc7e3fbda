//! Where tm is needed it is used, and the log says so once.

use crate::{builder, is_direct, under_way};
use testkit::kamailio::ROUTES;
use testkit::{Kamailio, Phone};

const THROUGH_TM: &str = "go through tm";

/// The first NOTIFY of a subscription whose Contact is this one (none: the phone's own).
fn told(server: &Kamailio, contact: Option<&str>, routes: &[&str]) -> testkit::Message {
    let mut bob = Phone::new("bob", server.port);
    let dialog = testkit::phone::Dialog::new("alice", "presence");
    let routes: Vec<String> = routes.iter().map(|route| route.replace("OWN", &bob.address().to_string())).collect();
    let request = bob.subscribe_request(&dialog, Some(600), &routes);
    let own = bob.contact();
    let elsewhere = contact.map_or_else(|| own.clone(), |host| own.replace("127.0.0.1", host));
    assert_eq!(bob.ask(&request.replace(&own, &elsewhere)).code(), 200);
    bob.notify()
}

#[test]
fn a_script_that_looks_at_what_tm_sends_goes_on_seeing_it() {
    for (more, why) in [
        ("event_route[tm:local-request] { append_hf(\"X-Seen: yes\\r\\n\"); }", "event_route[tm:local-request]"),
        ("onsend_route { xlog(\"L_DBG\", \"sent\\n\"); }", "onsend_route"),
    ] {
        let server = builder().routes(&format!("{ROUTES}{more}")).start();
        let notify = told(&server, None, &[]);
        assert!(!is_direct(&notify), "{why}: {notify:?}");
        assert_eq!(notify.header("X-Seen").is_some(), why.starts_with("event"), "{notify:?}");
        let said = server.log_lines(THROUGH_TM);
        assert!(said.len() == 1 && said[0].contains(why), "{said:?}");
    }
}

#[test]
fn a_host_name_is_left_to_tm_and_an_address_is_not() {
    // Without its own cache the server asks the system, which knows the name without a name server.
    let server = builder().before("use_dns_cache=off").start();
    for _ in 0..2 {
        let named = told(&server, Some("localhost"), &[]);
        assert!(!is_direct(&named), "{named:?}");
    }
    assert!(is_direct(&told(&server, None, &[])));
    assert_eq!(server.log_lines("goes through tm, as others may").len(), 1);
}

#[test]
fn a_loose_route_is_followed_and_a_strict_one_is_left_to_tm() {
    let server = builder().start();
    let loose = told(&server, Some("10.255.255.1"), &["Record-Route: <sip:OWN;lr>, <sip:10.255.255.2;lr>"]);
    assert!(is_direct(&loose), "{loose:?}");
    assert!(loose.start.contains("10.255.255.1"), "{}", loose.start);
    let routes = loose.header("Route").expect("a route set").replace(", ", ",");
    assert!(routes.starts_with("<sip:127.0.0.1:") && routes.ends_with(";lr>,<sip:10.255.255.2;lr>"), "{routes}");
    let strict = told(&server, Some("10.255.255.1"), &["Record-Route: <sip:OWN>"]);
    assert!(!is_direct(&strict), "{strict:?}");
    assert!(!strict.start.contains("10.255.255.1"), "{}", strict.start);
}

#[test]
fn who_looks_at_what_leaves_the_server_sees_it() {
    let hide = "loadmodule \"topoh.so\"\nmodparam(\"topoh\", \"mask_key\", \"some secret\")\n\
                modparam(\"topoh\", \"mask_ip\", \"10.1.1.10\")";
    let route = "event_route[topoh:msg-sending] { xlog(\"L_NOTICE\", \"leaves: $rm\\n\"); }";
    let server = builder().before(hide).routes(&format!("{ROUTES}{route}")).start();
    assert!(is_direct(&told(&server, None, &[])));
    assert_eq!(server.log_lines("leaves: NOTIFY").len(), 1);
    under_way(&server, 0);
}
