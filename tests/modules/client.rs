//! The modules on top of pua, the distribution's presence client: what they publish loops to the server that they run
//! in. The calls are in `calls`, the shared lines in `lines`.

use crate::{between, web, with};
use testkit::{Builder, Database, Kamailio, Phone};

/// A server with modules on top of pua, which publishes to itself.
pub fn client(packages: &[&'static str], modules: &str, routes: &str) -> Builder {
    let lines = format!(
        "loadmodule \"siputils.so\"\nloadmodule \"usrloc.so\"\nloadmodule \"registrar.so\"\nloadmodule \"pua.so\"\n\
         modparam(\"pua\", \"db_url\", DB_URL)\nmodparam(\"pua\", \"outbound_proxy\", SERVER)\n{modules}"
    );
    with(packages).before("alias=\"test.local\"").database(Database::Sqlite("WAL")).extra(&lines).routes(routes)
}

/// What `request_route` begins with: presence, and what the test server needs.
pub const SERVE: &str = r#"
route[PRESENCE] {
    if (is_method("OPTIONS")) { sl_send_reply("200", "OK"); exit; }
    if (is_method("PUBLISH")) {
        t_newtran();
        if ($hdr(Sender) != $null) handle_publish("$hdr(Sender)"); else handle_publish();
        t_release();
        exit;
    }
    if (is_method("SUBSCRIBE")) { t_newtran(); handle_subscribe(); t_release(); exit; }
}
"#;

/// Registers the phone, or ends its registration with `expires` 0.
pub fn register(phone: &mut Phone, call_id: &str, cseq: u32, expires: u32) {
    let (uri, contact) = (phone.uri_of(&phone.user), format!("Contact: <{}>", phone.contact()));
    let headers = [contact, format!("Expires: {expires}")];
    let registrar = format!("sip:{}", phone.domain);
    let request = phone.request("REGISTER", &registrar, &uri, &uri, ("reg", ""), call_id, cseq, &headers, "");
    let reply = phone.ask(&request);
    assert_eq!(reply.code(), 200, "{reply:?}");
}

/// The next document that shows what is looked for; the NOTIFYs before it are passed over.
pub fn shown(watcher: &mut Phone, what: &str) -> String {
    let mut seen = Vec::new();
    while let Some(notify) = watcher.notify_within(5.0) {
        if notify.body.contains(what) {
            return notify.body;
        }
        seen.push(notify.body);
    }
    panic!("{}: no {what} in {seen:#?}", watcher.user)
}

#[test]
fn who_registers_is_shown_as_open_and_who_leaves_as_closed() {
    let routes = format!(
        "{SERVE}\nrequest_route {{ route(PRESENCE); if (is_method(\"REGISTER\")) {{ pua_set_publish(); \
         save(\"location\"); }} }}"
    );
    let parameters = "loadmodule \"pua_usrloc.so\"\nmodparam(\"pua_usrloc\", \"default_domain\", \"test.local\")\n\
                      modparam(\"pua_usrloc\", \"branch_flag\", 5)\nmodparam(\"usrloc\", \"timer_interval\", 1)\nmodparam(\"registrar\", \"min_expires\", 1)";
    let server = client(&["presence_xml"], parameters, &routes).start();
    let (mut alice, mut bob) = (Phone::new("alice", server.port), Phone::new("bob", server.port));
    bob.subscribe("alice", "presence", 600);
    assert_eq!(bob.notify().body, "");
    register(&mut alice, "desk", 1, 600);
    let body = shown(&mut bob, "<basic>open</basic>");
    assert!(body.contains("entity=\"alice@test.local\"") || body.contains("sip:alice@test.local"), "{body}");
    register(&mut alice, "desk", 2, 0);
    shown(&mut bob, "<basic>closed</basic>");
    // So is one whose registration runs out.
    register(&mut alice, "mobile", 1, 1);
    shown(&mut bob, "<basic>open</basic>");
    shown(&mut bob, "<basic>closed</basic>");
}

const REGINFO: &str = "loadmodule \"pua_reginfo.so\"\nmodparam(\"pua_reginfo\", \"default_domain\", \"test.local\")\n\
                       modparam(\"pua_reginfo\", \"outbound_proxy\", SERVER)\n\
                       modparam(\"pua_reginfo\", \"server_address\", SERVER)";

#[test]
fn registrations_are_published_as_registration_information() {
    let routes =
        format!("{SERVE}\nrequest_route {{ route(PRESENCE); if (is_method(\"REGISTER\")) save(\"location\"); }}");
    let server = client(&["presence_reginfo"], REGINFO, &routes).start();
    let (mut alice, mut bob) = (Phone::new("alice", server.port), Phone::new("bob", server.port));
    bob.subscribe("alice", "reg", 600);
    assert_eq!(bob.notify().body, "");
    register(&mut alice, "desk", 1, 600);
    let body = shown(&mut bob, "event=\"created\"");
    assert!(body.contains(&alice.contact()) && body.contains("aor=\"sip:alice@test.local\""), "{body}");
    register(&mut alice, "desk", 2, 600);
    shown(&mut bob, "event=\"refreshed\"");
    register(&mut alice, "desk", 3, 0);
    shown(&mut bob, "event=\"unregistered\"");
}

#[test]
fn another_server_takes_over_the_registrations_that_it_subscribes_to() {
    let routes =
        format!("{SERVE}\nrequest_route {{ route(PRESENCE); if (is_method(\"REGISTER\")) save(\"location\"); }}");
    let home = client(&["presence_reginfo"], REGINFO, &routes).start();
    let follower = "request_route {
        if (is_method(\"OPTIONS\")) { sl_send_reply(\"200\", \"OK\"); exit; }
        if (is_method(\"MESSAGE\")) { reginfo_subscribe(\"$ru\"); sl_send_reply(\"200\", \"OK\"); exit; }
        if (is_method(\"NOTIFY\")) { reginfo_handle_notify(\"location\"); sl_send_reply(\"200\", \"OK\"); exit; }
    }";
    let there = format!("\"sip:127.0.0.1:{}\"", home.port);
    let parameters = REGINFO.replace("\"outbound_proxy\", SERVER", "\"outbound_proxy\", HOME")
        + "\nmodparam(\"pua_reginfo\", \"publish_reginfo\", 0)";
    let follower = client(&["presence_reginfo"], &parameters, follower).define("HOME", &there).start();
    let mut operator = Phone::new("operator", follower.port);
    let (uri, own) = (operator.uri_of("alice"), operator.uri_of("operator"));
    let request = operator.request("MESSAGE", &uri, &own, &uri, ("f", ""), "follow", 1, &[], "");
    assert_eq!(operator.ask(&request).code(), 200);
    testkit::wait_for("the subscription", 5.0, || (!home.log_lines("NOTIFY ").is_empty()).then_some(()));
    let mut alice = Phone::new("alice", home.port);
    register(&mut alice, "desk", 1, 600);
    let contact = alice.contact();
    testkit::wait_for("alice at the other server", 5.0, || follower.rpc(&["ul.dump"]).contains(&contact).then_some(()));
}

#[test]
fn an_operator_publishes_and_subscribes_by_command() {
    let routes =
        format!("{SERVE}\nrequest_route {{ route(PRESENCE); }}\nevent_route[xhttp:request] {{ jsonrpc_dispatch(); }}");
    let modules = "loadmodule \"pua_rpc.so\"\nloadmodule \"xhttp.so\"\nloadmodule \"jsonrpcs.so\"\n\
                   modparam(\"jsonrpcs\", \"transport\", 1)";
    let server = client(&["presence_xml"], modules, &routes).listen("LISTEN_TCP").start();
    let mut bob = Phone::new("bob", server.port);
    bob.subscribe("alice", "presence", 600);
    assert_eq!(bob.notify().body, "");
    // Its reply waits for that of the PUBLISH: not every way to give commands can do that.
    let publish = |etag: &str, expires: &str, body: &[&str]| {
        let kind = if body.is_empty() { "." } else { "application/pidf+xml" };
        let words = [&["sip:alice@test.local", expires, "presence", kind, "id-1", etag, ".", "."], body].concat();
        let words: Vec<String> = words.iter().map(|word| format!("{word:?}")).collect();
        let command = format!(
            "{{\"jsonrpc\": \"2.0\", \"method\": \"pua.publish\", \"id\": 1, \"params\": [{}]}}",
            words.join(", ")
        );
        web::request(&server, "POST", "/RPC", &command).body
    };
    let answer = publish(".", "600", &[&testkit::phone::pidf("alice", "open", "by command")]);
    assert!(bob.notify().body.contains("<note>by command</note>"));
    let etag = between(&answer, "\"SIP-ETag\":", ",").trim().trim_matches('"').to_owned();
    let answer = publish(&etag, "0", &[]);
    assert!(answer.contains("result"), "{answer}");
    shown(&mut bob, "<basic>closed</basic>");

    let mut carol = Phone::new("carol", server.port);
    let presentity = format!("sip:dora@127.0.0.1:{}", server.port);
    let answer = server.rpc(&["pua.subscribe", &presentity, &carol.contact(), "presence", "600"]);
    assert_eq!(answer, "");
    let notify = carol.notify();
    assert!(notify.state().starts_with("active"), "{notify:?}");
    assert_eq!(notify.header("Event"), Some("presence"));
}

/// A server that publishes what comes as JSON in a MESSAGE.
fn with_json(packages: &[&'static str], database: Database) -> Kamailio {
    let routes = format!(
        "{SERVE}\nrequest_route {{ route(PRESENCE); if (!pua_json_publish(\"$rb\")) {{ \
         sl_send_reply(\"500\", \"Failed\"); exit; }} sl_send_reply(\"200\", \"OK\"); }}"
    );
    let modules = "loadmodule \"json.so\"\nloadmodule \"pua_json.so\"";
    with(packages).database(database).extra(modules).routes(&routes).start()
}

fn publish_json(phone: &mut Phone, fields: &[(&str, &str)]) {
    let fields: Vec<String> = fields.iter().map(|(name, value)| format!("\"{name}\": \"{value}\"")).collect();
    let json = format!("{{\"Event-Name\": \"update\", \"Expires\": 600, {}}}", fields.join(", "));
    let (uri, call_id) = (phone.uri_of("alice"), testkit::phone::unique());
    let kind = ["Content-Type: application/json".to_owned()];
    let request = phone.request("MESSAGE", &uri, &uri, &uri, ("f", ""), &call_id, 1, &kind, &json);
    assert_eq!(phone.ask(&request).code(), 200);
}

const CALLER: [(&str, &str); 3] =
    [("From", "sip:alice@test.local"), ("From-User", "alice"), ("From-Realm", "test.local")];
const CALL: [(&str, &str); 3] = [("To", "sip:bob@test.local"), ("To-User", "bob"), ("Call-ID", "call-1")];

/// A phone that watches alice.
fn watching_alice(server: &Kamailio, event: &str) -> Phone {
    let mut phone = Phone::new("bob", server.port);
    phone.subscribe("alice", event, 600);
    assert_eq!(phone.notify().body, "", "{event}");
    phone
}

fn a_lamp_follows_json(server: &Kamailio) {
    let (mut switch, mut lamp) = (Phone::new("switch", server.port), watching_alice(server, "dialog"));
    for state in ["early", "confirmed", "terminated"] {
        let more = [("Event-Package", "dialog"), ("State", state), ("Direction", "initiator")];
        publish_json(&mut switch, &[CALLER, CALL, more].concat());
        let body = lamp.notify().body;
        assert_eq!(between(&body, "<state>", "</state>"), state, "{body}");
    }
}

#[test]
fn what_comes_as_json_is_published() {
    let server = with_json(&["presence_xml", "presence_dialoginfo", "presence_mwi"], Database::None);
    a_lamp_follows_json(&server);
    let mut switch = Phone::new("switch", server.port);
    let mut presence = watching_alice(&server, "presence");
    for (state, note) in [("early", "Busy"), ("confirmed", "On the Phone"), ("offline", "Offline")] {
        publish_json(&mut switch, &[&CALLER[..], &CALL, &[("Event-Package", "presence"), ("State", state)]].concat());
        let body = presence.notify().body;
        assert!(body.contains(&format!(">{note}</")), "{body}");
    }
    let mut mailbox = watching_alice(&server, "message-summary");
    let summary =
        [("Event-Package", "message-summary"), ("Messages-Waiting", "yes"), ("MWI-Voice-Message", "2/1 (0/0)")];
    let account = [("Call-ID", "call-2"), ("Message-Account", "sip:alice@test.local")];
    publish_json(&mut switch, &[&CALLER[..], &account, &summary].concat());
    let body = mailbox.notify().body;
    assert!(body.starts_with("Messages-Waiting: yes\r\n") && body.contains("Voice-Message: 2/1 (0/0)"), "{body}");
}

/// The C module needs a database with REPLACE for that, which SQLite's driver does not offer: nothing is published.
#[test]
fn what_comes_as_json_is_published_with_sqlite() {
    a_lamp_follows_json(&with_json(&["presence_dialoginfo"], Database::Sqlite("WAL")));
}
