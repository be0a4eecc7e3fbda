//! `$subs(...)`: every attribute, in the three places where there is a subscription, and nothing elsewhere.

use crate::probe::{call, uri};
use std::collections::BTreeMap;
use testkit::phone::{Dialog, pidf};
use testkit::{Builder, Kamailio, Message, Module, Phone, wait_for};

const ATTRIBUTES: [&str; 25] = [
    "uri", "pres_uri", "to_user", "to_domain", "from_user", "from_domain", "watcher_username", "watcher_domain", "event",
    "event_id", "to_tag", "from_tag", "callid", "remote_cseq", "local_cseq", "contact", "local_contact", "record_route",
    "expires", "status", "reason", "version", "flags", "user_agent", "sockinfo",
];

/// Attributes by their names.
type Values = BTreeMap<&'static str, String>;

/// A script that writes down all attributes in each place.
fn builder() -> Builder {
    let all: Vec<String> = ATTRIBUTES.iter().map(|name| format!("{name}=[$subs({name})]")).collect();
    let all = all.join(" ");
    Kamailio::builder().children(1).routes(&format!(
        r#"
request_route {{
    if (is_method("OPTIONS")) {{ sl_send_reply("200", "OK"); exit; }}
    if (is_method("MESSAGE")) {{
        xlog("L_NOTICE", "subs: elsewhere {all}\n");
        append_to_reply("Result: 1\r\n");
        sl_send_reply("200", "OK");
        exit;
    }}
    if (!t_newtran()) {{ sl_reply_error(); exit; }}
    setbflag(5);
    if (is_method("PUBLISH")) handle_publish();
    else if (is_present_hf("Watcher")) handle_subscribe("$hdr(Watcher)");
    else handle_subscribe();
    xlog("L_NOTICE", "subs: after-$rm {all}\n");
    t_release();
}}
event_route[tm:local-request] {{
    xlog("L_NOTICE", "subs: sending-$rm {all}\n");
}}
event_route[presence:notify-reply] {{
    xlog("L_NOTICE", "subs: answered-$notify_reply($rs) {all}\n");
}}
"#
    ))
}

/// The attributes that were written down in a place, the last time of all.
fn seen(server: &Kamailio, place: &str) -> Values {
    let mark = format!("subs: {place} ");
    let line = wait_for(&mark, 5.0, || server.log_lines(&mark).pop());
    ATTRIBUTES
        .iter()
        .map(|name| {
            let value = line.split(&format!(" {name}=[")).nth(1).unwrap_or_else(|| panic!("no {name} in {line}"));
            (*name, value.split(']').next().unwrap_or_default().to_owned())
        })
        .collect()
}

/// A subscription in which every attribute has a value of its own.
struct Rich {
    server: Kamailio,
    bob: Phone,
    dialog: Dialog,
    reply: Message,
    route: String,
}

fn rich(builder: Builder) -> Rich {
    let server = builder.start();
    let mut bob = Phone::new("bob", server.port);
    let dialog = Dialog { cseq: 7, ..Dialog::new("alice", "presence") };
    let route = format!("<sip:{};lr>", bob.address());
    let more = [
        format!("Record-Route: {route}"),
        "User-Agent: Phone/1.0".into(),
        "Watcher: sip:boss@other.local".into(),
    ];
    let request = bob.subscribe_request(&dialog, Some(600), &more);
    let request = request.replace("To: <sip:alice@test.local>", "To: <sip:alias@public.local>");
    let reply = bob.ask(&request);
    assert_eq!(reply.code(), 200);
    let dialog = Dialog { to_tag: reply.to_tag().into(), ..dialog };
    Rich { server, bob, dialog, reply, route }
}

impl Rich {
    /// What all places have to show.
    fn expected(&self) -> Values {
        let server = format!("127.0.0.1:{}", self.server.port);
        [
            ("uri", uri("alice")),
            ("pres_uri", uri("alice")),
            ("to_user", "alias".into()),
            ("to_domain", "public.local".into()),
            ("from_user", "bob".into()),
            ("from_domain", "test.local".into()),
            ("watcher_username", "boss".into()),
            ("watcher_domain", "other.local".into()),
            ("event", "presence".into()),
            ("event_id", String::new()),
            ("to_tag", self.reply.to_tag().into()),
            ("from_tag", self.dialog.from_tag.clone()),
            ("callid", self.dialog.call_id.clone()),
            ("remote_cseq", "7".into()),
            ("contact", self.bob.contact()),
            ("local_contact", format!("sip:{server}")),
            ("record_route", self.route.clone()),
            ("expires", "600".into()),
            ("status", "1".into()),
            ("reason", String::new()),
            ("flags", "32".into()),
            ("user_agent", "Phone/1.0".into()),
            ("sockinfo", format!("udp:{server}")),
        ]
        .into()
    }
}

#[test]
fn explore() {
    let mut rich = rich(builder());
    rich.bob.notify();
    let expected = rich.expected();
    for place in ["after-SUBSCRIBE", "sending-NOTIFY", "answered-200"] {
        let v = seen(&rich.server, place);
        for (k, x) in &v { if expected.get(k) != Some(x) { println!("XX {place} {k} {x} {:?}", expected.get(k)); } }
    }
    let mut alice = Phone::new("alice", rich.server.port);
    alice.publish("presence", None, Some(600), &pidf("alice", "open", "x"));
    rich.bob.notify();
    rich.bob.listen(std::time::Duration::from_millis(200));
    for place in ["after-PUBLISH", "sending-NOTIFY", "answered-200"] {
        let v = seen(&rich.server, place);
        for (k, x) in &v { if expected.get(k) != Some(x) { println!("XX pub {place} {k} {x} {:?}", expected.get(k)); } }
    }
    let req = { rich.dialog.cseq += 1; rich.bob.subscribe_request(&rich.dialog, Some(700), &[]) };
    rich.bob.ask(&req);
    rich.bob.notify();
    rich.bob.listen(std::time::Duration::from_millis(200));
    for place in ["after-SUBSCRIBE", "sending-NOTIFY", "answered-200"] {
        let v = seen(&rich.server, place);
        for (k, x) in &v { if expected.get(k) != Some(x) { println!("XX re {place} {k} {x} {:?}", expected.get(k)); } }
    }
    call(&mut alice, "any", &[]);
    let v = seen(&rich.server, "elsewhere");
    println!("XX elsewhere {v:?}");
    let d = Dialog { cseq: 1, ..Dialog::new("alice", "presence") };
    let req = rich.bob.subscribe_request(&d, Some(0), &[]);
    rich.bob.ask(&req);
    rich.bob.notify();
    rich.bob.listen(std::time::Duration::from_millis(200));
    for place in ["after-SUBSCRIBE", "sending-NOTIFY", "answered-200"] {
        let v = seen(&rich.server, place);
        for (k, x) in &v { println!("XX fetch {place} {k} {x}");  }
    }
    let req = { rich.dialog.cseq += 1; rich.bob.subscribe_request(&rich.dialog, Some(0), &[]) };
    rich.bob.ask(&req);
    rich.bob.notify();
    rich.bob.listen(std::time::Duration::from_millis(200));
    for place in ["after-SUBSCRIBE", "sending-NOTIFY", "answered-200"] {
        let v = seen(&rich.server, place);
        for (k, x) in &v { if expected.get(k) != Some(x) { println!("XX un {place} {k} {x} {:?}", expected.get(k)); } }
    }
    let _ = Module::from_env();
}
