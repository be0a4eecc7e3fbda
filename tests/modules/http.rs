//! xcap_server (RFC 4825): rules are put, read and deleted over HTTP, and watchers are told again with the new rules.

use crate::publish;
use crate::rules::{self, one};
use crate::web::{self, Answer};
use testkit::phone::pidf;
use testkit::{Kamailio, Phone};

/// The routes of xcap_server's own manual, without its authentication.
const ROUTES: &str = r#"
request_route {
    if (is_method("OPTIONS")) { sl_send_reply("200", "OK"); exit; }
    t_newtran();
    if (is_method("PUBLISH")) { handle_publish(); t_release(); exit; }
    handle_subscribe();
    t_release();
}
event_route[xhttp:request] {
    set_reply_close();
    set_reply_no_connect();
    $xcapuri(u=>data) = $hu;
    $var(uri) = $xcapuri(u=>xuid);
    switch ($rm) {
        case "PUT":
            xcaps_put("$var(uri)", "$hu", "$rb");
            pres_update_watchers("$var(uri)", "presence");
            pres_refresh_watchers("$var(uri)", "presence", 1);
        break;
        case "GET":
            xcaps_get("$var(uri)", "$hu");
        break;
        case "DELETE":
            xcaps_del("$var(uri)", "$hu");
            pres_update_watchers("$var(uri)", "presence");
            pres_refresh_watchers("$var(uri)", "presence", 1);
        break;
    }
}
"#;

fn start() -> Kamailio {
    let modules = "loadmodule \"xhttp.so\"\nloadmodule \"xcap_server.so\"\n\
                   modparam(\"xcap_server\", \"db_url\", DB_URL)\nmodparam(\"xcap_server\", \"buf_size\", 8192)";
    let server = rules::builder().extra(modules).before("tcp_accept_no_cl=yes").listen("LISTEN_TCP");
    server.routes(ROUTES).start()
}

const RULES: &str = "/xcap-root/pres-rules/users/sip:alice@test.local/index";

fn http(server: &Kamailio, method: &str, body: &str) -> (u16, String, String) {
    let Answer { code, head, body } = web::request(server, method, RULES, body);
    (code, head, body)
}

#[test]
fn rules_that_are_put_decide_about_watchers_at_once() {
    let server = start();
    let (mut alice, mut bob) = (Phone::new("alice", server.port), Phone::new("bob", server.port));
    publish(&mut alice, "presence", None, &pidf("alice", "open", "here"));
    bob.subscribe("alice", "presence", 600);
    assert!(bob.notify().state().starts_with("pending"));
    let until = |bob: &mut Phone, state: &str| {
        let mut seen = Vec::new();
        while let Some(notify) = bob.notify_within(5.0) {
            if notify.state().starts_with(state) {
                return notify;
            }
            seen.push(notify);
        }
        panic!("no {state} in {seen:#?}")
    };
    let (code, head, _) = http(&server, "PUT", &one("bob", "allow"));
    assert!(code == 200 && head.contains("\r\nETag: "), "{head}");
    let notify = until(&mut bob, "active");
    assert!(notify.body.contains("<note>here</note>"), "{notify:?}");
    let (code, head, body) = http(&server, "GET", "");
    assert_eq!((code, body), (200, one("bob", "allow")), "{head}");
    let (code, ..) = http(&server, "PUT", &one("bob", "block"));
    assert_eq!(code, 200);
    assert_eq!(until(&mut bob, "terminated").state(), "terminated;reason=rejected");
}

#[test]
fn without_rules_again_watchers_wait() {
    let server = start();
    let mut alice = Phone::new("alice", server.port);
    publish(&mut alice, "presence", None, &pidf("alice", "open", "here"));
    assert_eq!(http(&server, "PUT", &one("bob", "allow")).0, 200);
    assert_eq!(http(&server, "DELETE", "").0, 200);
    assert_eq!(http(&server, "GET", "").0, 404);
    let mut bob = Phone::new("bob", server.port);
    bob.subscribe("alice", "presence", 600);
    assert!(bob.notify().state().starts_with("pending"));
}

#[test]
fn what_is_no_xml_is_not_put() {
    let server = start();
    let (code, ..) = http(&server, "PUT", "these are no rules");
    assert!(code >= 400, "{code}");
    assert_eq!(http(&server, "GET", "").0, 404);
}
