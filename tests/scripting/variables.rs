//! `$subs(...)`: every attribute, in the three places where there is a subscription, and nothing elsewhere.

use crate::probe::{call, uri};
use std::collections::BTreeMap;
use testkit::phone::{Dialog, pidf};
use testkit::{Builder, Kamailio, Message, Phone, wait_for};

const ATTRIBUTES: [&str; 25] = [
    "uri",
    "pres_uri",
    "to_user",
    "to_domain",
    "from_user",
    "from_domain",
    "watcher_username",
    "watcher_domain",
    "event",
    "event_id",
    "to_tag",
    "from_tag",
    "callid",
    "remote_cseq",
    "local_cseq",
    "contact",
    "local_contact",
    "record_route",
    "expires",
    "status",
    "reason",
    "version",
    "flags",
    "user_agent",
    "sockinfo",
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

/// Header fields from which attributes come.
const MORE: [&str; 2] = ["User-Agent: Phone/1.0", "Watcher: sip:boss@other.local"];

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
    let more = MORE.iter().map(|line| (*line).to_owned()).chain([format!("Record-Route: {route}")]);
    let request = bob.subscribe_request(&dialog, Some(600), &more.collect::<Vec<_>>());
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

impl Rich {
    /// The next SUBSCRIBE of the dialog, otherwise as the first.
    fn resubscribe(&mut self, expires: u32) {
        self.dialog.cseq += 1;
        let request = self.bob.subscribe_request(&self.dialog, Some(expires), &MORE.map(str::to_owned));
        let request = request.replace("To: <sip:alice@test.local>", "To: <sip:alias@public.local>");
        assert_eq!(self.bob.ask(&request).code(), 200);
        self.bob.notify();
    }

    /// A place shows what all have to show, but for some attributes.
    fn assert_shows(&self, place: &str, but: &[(&'static str, &str)]) {
        let mut expected = self.expected();
        expected.extend(but.iter().map(|(name, value)| (*name, (*value).to_owned())));
        // The answer to the last NOTIFY may still be on its way.
        let mut last = seen(&self.server, place);
        for _ in 0..100 {
            if last == expected {
                return;
            }
            std::thread::sleep(std::time::Duration::from_millis(20));
            last = seen(&self.server, place);
        }
        assert_eq!(last, expected, "{place}");
    }
}

#[test]
fn the_attributes_of_a_new_subscription() {
    let mut rich = rich(builder());
    rich.bob.notify();
    rich.assert_shows("after-SUBSCRIBE", &[("local_cseq", "0"), ("version", "1")]);
    rich.assert_shows("sending-NOTIFY", &[("local_cseq", "1"), ("version", "1")]);
    rich.assert_shows("answered-200", &[("local_cseq", "1"), ("version", "1")]);
}

#[test]
fn the_attributes_with_a_notify_about_a_publication() {
    let mut rich = rich(builder());
    rich.bob.notify();
    let mut alice = Phone::new("alice", rich.server.port);
    assert_eq!(alice.publish("presence", None, Some(600), &pidf("alice", "open", "here")).code(), 200);
    rich.bob.notify();
    for place in ["sending-NOTIFY", "answered-200"] {
        rich.assert_shows(place, &[("local_cseq", "2"), ("version", "2")]);
    }
}

#[test]
fn the_attributes_of_a_refresh() {
    let mut rich = rich(builder());
    rich.bob.notify();
    rich.resubscribe(700);
    for place in ["after-SUBSCRIBE", "sending-NOTIFY", "answered-200"] {
        rich.assert_shows(place, &[("expires", "700"), ("remote_cseq", "8"), ("local_cseq", "2"), ("version", "2")]);
    }
}

#[test]
fn the_attributes_of_the_end() {
    let mut rich = rich(builder());
    rich.bob.notify();
    rich.resubscribe(0);
    let numbers = [("expires", "0"), ("remote_cseq", "8"), ("local_cseq", "2"), ("version", "2")];
    rich.assert_shows("after-SUBSCRIBE", &numbers);
    let over = [numbers[0], numbers[1], numbers[2], numbers[3], ("status", "3"), ("reason", "timeout")];
    for place in ["sending-NOTIFY", "answered-200"] {
        rich.assert_shows(place, &over);
    }
}

#[test]
fn the_attributes_of_a_fetch() {
    let server = builder().start();
    let mut bob = Phone::new("bob", server.port);
    let dialog = Dialog { cseq: 1, ..Dialog::new("alice", "presence") };
    let request = bob.subscribe_request(&dialog, Some(0), &[]);
    assert_eq!(bob.ask(&request).code(), 200);
    bob.notify();
    for (place, status, reason) in
        [("after-SUBSCRIBE", "1", ""), ("sending-NOTIFY", "3", "timeout"), ("answered-200", "3", "timeout")]
    {
        let seen = seen(&server, place);
        for (name, value) in [
            ("callid", dialog.call_id.as_str()),
            ("expires", "0"),
            ("local_cseq", "0"),
            ("version", "1"),
            ("status", status),
            ("reason", reason),
        ] {
            assert_eq!(seen[name], value, "{place}: {name}");
        }
    }
}

#[test]
fn the_id_of_an_event_is_an_attribute() {
    // The stock module answers 489 to an Event with an id.
    let server = builder().start();
    let mut bob = Phone::new("bob", server.port);
    bob.subscribe("alice", "presence;id=seven", 600);
    bob.notify();
    for place in ["after-SUBSCRIBE", "sending-NOTIFY", "answered-200"] {
        let seen = seen(&server, place);
        assert_eq!((seen["event"].as_str(), seen["event_id"].as_str()), ("presence", "seven"), "{place}");
    }
}

/// Every attribute is `$null`.
fn assert_null(seen: &Values, what: &str) {
    for name in ATTRIBUTES {
        assert_eq!(seen[name], "<null>", "{what}: {name}");
    }
}

#[test]
fn without_pres_subs_mode_there_are_no_attributes() {
    let mut rich = rich(builder().param("pres_subs_mode", 0));
    rich.bob.notify();
    for place in ["after-SUBSCRIBE", "sending-NOTIFY", "answered-200"] {
        assert_null(&seen(&rich.server, place), place);
    }
}

#[test]
fn there_are_no_attributes_before_a_subscription_and_after_a_refusal() {
    let server = builder().start();
    let mut bob = Phone::new("bob", server.port);
    assert_eq!(call(&mut bob, "any", &[]), 1);
    assert_null(&seen(&server, "elsewhere"), "before");
    let request = bob.subscribe_request(&Dialog { cseq: 1, ..Dialog::new("alice", "nothing") }, Some(600), &[]);
    assert_eq!(bob.ask(&request).code(), 489);
    assert_null(&seen(&server, "after-SUBSCRIBE"), "refused");
}

#[test]
fn there_are_no_attributes_in_other_requests() {
    // The stock module shows the last SUBSCRIBE of the process to every script that it runs later.
    let server = builder().start();
    let mut bob = Phone::new("bob", server.port);
    bob.subscribe("alice", "presence", 600);
    bob.notify();
    assert_eq!(bob.publish("presence", None, Some(600), &pidf("bob", "open", "here")).code(), 200);
    assert_null(&seen(&server, "after-PUBLISH"), "PUBLISH");
    assert_eq!(call(&mut bob, "any", &[]), 1);
    assert_null(&seen(&server, "elsewhere"), "MESSAGE");
}

#[test]
fn an_attribute_that_does_not_exist_stops_the_start() {
    for name in ["nothing", "Uri", "uri_", "to_tags"] {
        let routes = format!("request_route {{ xlog(\"$subs({name})\\n\"); }}");
        let log = Kamailio::builder().routes(&routes).try_start().err().unwrap_or_else(|| panic!("{name}: started"));
        let line = log.lines().find(|l| l.contains("ERROR") && l.contains("presence") && l.contains(name));
        assert!(line.is_some(), "no sentence about {name}:\n{log}");
    }
}
