//! What is asked of both servers: the same requests in the same order, with the same names.

use crate::table::Run;
use testkit::phone::{Dialog, dialog_info, pidf};
use testkit::{Kamailio, Phone, Tables};

/// Routes of the runs: a branch flag goes into the dialog if the request wants one.
pub const ROUTES: &str = r#"
request_route {
    if (is_method("OPTIONS")) { sl_send_reply("200", "OK"); exit; }
    if (!t_newtran()) { sl_reply_error(); exit; }
    if (is_present_hf("X-Flag")) setbflag(5);
    if (is_method("PUBLISH")) {
        if ($hdr(Sender) != $null) handle_publish("$hdr(Sender)"); else handle_publish();
        t_release(); exit;
    }
    if ($hdr(X-Watcher) != $null) handle_subscribe("$hdr(X-Watcher)"); else handle_subscribe();
    t_release(); exit;
}
"#;

fn now() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("a clock");
    since.as_secs() as i64
}

/// A phone whose addresses are known to the run.
fn phone(run: &mut Run, server: &Kamailio, user: &'static str) -> Phone {
    let phone = Phone::new(user, server.port);
    run.names.push((phone.address().to_string(), user));
    phone
}

fn begin(server: &Kamailio) -> Run {
    Run { start: now(), names: vec![(format!("127.0.0.1:{}", server.port), "server")] }
}

fn header(text: &str) -> Vec<String> {
    text.lines().map(str::to_owned).collect()
}

/// A PUBLISH that has to succeed; its tag.
fn publish(phone: &mut Phone, event: &str, etag: Option<&str>, expires: u32, body: &str, more: &[String]) -> String {
    let user = phone.user.clone();
    let request = phone.publish_request(&user, event, etag, Some(expires), body, more);
    let reply = phone.ask(&request);
    assert_eq!(reply.code(), 200, "{request}\n{reply:?}");
    reply.header("SIP-ETag").expect("a tag").to_owned()
}

/// Every kind of publication.
pub fn publications(server: &Kamailio) -> Run {
    let mut run = begin(server);
    let mut alice = phone(&mut run, server, "alice");
    publish(&mut alice, "presence", None, 600, &pidf("alice", "open", "initial"), &[]);
    let mut carol = phone(&mut run, server, "carol");
    let etag = publish(&mut carol, "presence", None, 600, &pidf("carol", "open", "before"), &[]);
    let etag = publish(&mut carol, "presence", Some(&etag), 900, &pidf("carol", "closed", "after"), &[]);
    publish(&mut carol, "presence", Some(&etag), 1200, &pidf("carol", "closed", "it's 'quoted'"), &[]);
    let mut dave = phone(&mut run, server, "dave");
    let etag = publish(&mut dave, "presence", None, 600, &pidf("dave", "open", "refreshed"), &[]);
    publish(&mut dave, "presence", Some(&etag), 1500, "", &[]);
    let mut erin = phone(&mut run, server, "erin");
    let etag = publish(&mut erin, "presence", None, 600, &pidf("erin", "open", "removed"), &[]);
    publish(&mut erin, "presence", Some(&etag), 0, "", &[]);
    let mut frank = phone(&mut run, server, "frank");
    publish(&mut frank, "presence", None, 600, &pidf("frank", "open", "one of two"), &[]);
    publish(&mut frank, "presence", None, 700, &pidf("frank", "open", "two of two"), &[]);
    let mut gina = phone(&mut run, server, "gina");
    let sender = header("Sender: sip:line@test.local");
    let etag = publish(&mut gina, "presence", None, 600, &pidf("gina", "open", "with sender"), &sender);
    publish(&mut gina, "presence", Some(&etag), 800, &pidf("gina", "open", "with sender again"), &sender);
    let mut henry = phone(&mut run, server, "henry");
    let etag = publish(&mut henry, "dialog", None, 600, &dialog_info("henry", "d1", "early"), &[]);
    publish(&mut henry, "dialog", Some(&etag), 600, &dialog_info("henry", "d1", "confirmed"), &[]);
    publish(&mut henry, "dialog", None, 600, &dialog_info("henry", "d2", "early"), &[]);
    let mut ida = phone(&mut run, server, "ida");
    publish(&mut ida, "message-summary", None, 600, "Messages-Waiting: yes\r\n", &[]);
    let mut long = phone(&mut run, server, "long");
    publish(&mut long, "presence", None, 86_400, &pidf("long", "open", &"n".repeat(3000)), &[]);
    run
}

/// A dialog with a name of its own.
fn dialog(presentity: &str, event: &str, name: &str) -> Dialog {
    Dialog {
        presentity: presentity.into(),
        event: event.into(),
        call_id: format!("call-{name}"),
        to_tag: String::new(),
        from_tag: format!("tag-{name}"),
        cseq: 10,
    }
}

/// A SUBSCRIBE that has to succeed, and its NOTIFY.
fn subscribe(phone: &mut Phone, dialog: &mut Dialog, expires: Option<u32>, more: &str) {
    dialog.cseq += 1;
    let request = phone.subscribe_request(dialog, expires, &header(more));
    let reply = phone.ask(&request);
    assert_eq!(reply.code() / 100, 2, "{request}\n{reply:?}");
    dialog.to_tag = reply.to_tag().to_owned();
    phone.notify();
}

/// Every kind of subscription.
pub fn subscriptions(server: &Kamailio) -> Run {
    let mut run = begin(server);
    let mut alice = phone(&mut run, server, "alice");
    let mut bob = phone(&mut run, server, "bob");
    subscribe(&mut bob, &mut dialog("quiet", "presence", "plain"), Some(600), "");
    // The first hop back is the phone itself, or no NOTIFY would come.
    let hop = bob.address();
    let routes = format!("Record-Route: <sip:{hop};lr>\nRecord-Route: <sip:10.0.0.2;lr;x=1>, <sip:10.0.0.3;lr>");
    subscribe(&mut bob, &mut dialog("quiet", "presence", "routed"), Some(600), &routes);
    subscribe(&mut bob, &mut dialog("quiet", "presence", "default-expires"), None, "");
    subscribe(&mut bob, &mut dialog("quiet", "presence", "too-long"), Some(99_999), "");
    subscribe(&mut bob, &mut dialog("quiet", "presence", "user-agent"), Some(600), "User-Agent: Fön 1.0 (it's)");
    subscribe(&mut bob, &mut dialog("quiet", "presence", "flagged"), Some(600), "X-Flag: yes");
    subscribe(
        &mut bob,
        &mut dialog("quiet", "presence", "other-watcher"),
        Some(600),
        "X-Watcher: sip:boss@other.local",
    );
    subscribe(&mut bob, &mut dialog("quiet", "dialog", "of-dialogs"), Some(600), "");
    subscribe(&mut bob, &mut dialog("quiet", "message-summary", "of-messages"), Some(600), "");
    subscribe(&mut bob, &mut dialog("bob", "presence.winfo", "of-watchers"), Some(600), "");
    let mut renewed = dialog("quiet", "presence", "renewed");
    subscribe(&mut bob, &mut renewed, Some(600), "User-Agent: first");
    subscribe(&mut bob, &mut renewed, Some(1800), "User-Agent: second");
    let mut moved = dialog("quiet", "presence", "moved");
    subscribe(&mut bob, &mut moved, Some(600), "");
    let mut other = phone(&mut run, server, "other");
    other.user = "bob".into();
    let late = format!("Record-Route: <sip:{};lr>", other.address());
    subscribe(&mut other, &mut moved, Some(600), &late);
    let mut ended = dialog("quiet", "presence", "ended");
    subscribe(&mut bob, &mut ended, Some(600), "");
    subscribe(&mut bob, &mut ended, Some(0), "");
    subscribe(&mut bob, &mut dialog("quiet", "presence", "fetched"), Some(0), "");
    subscribe(&mut bob, &mut dialog("alice", "presence", "told"), Some(600), "");
    subscribe(&mut bob, &mut dialog("alice", "presence", "told-too"), Some(600), "");
    let etag = publish(&mut alice, "presence", None, 600, &pidf("alice", "open", "one"), &[]);
    (0..2).for_each(|_| drop(bob.notify()));
    publish(&mut alice, "presence", Some(&etag), 600, &pidf("alice", "open", "two"), &[]);
    (0..2).for_each(|_| drop(bob.notify()));
    // The answers to the last NOTIFYs have to be in, too.
    bob.listen(std::time::Duration::from_millis(100));
    run
}

/// Rules of a presentity: who may watch, who may not, and who is told that nobody is there.
pub fn rules(tables: &Tables, user: &str) {
    let rule = |id: &str, watcher: &str, action: &str| {
        format!(
            "<rule id=\"{id}\"><conditions><identity><one id=\"sip:{watcher}@test.local\"/></identity></conditions>\
             <actions><pr:sub-handling>{action}</pr:sub-handling></actions><transformations/></rule>"
        )
    };
    let document = format!(
        "<?xml version=\"1.0\"?><ruleset xmlns=\"urn:ietf:params:xml:ns:common-policy\" \
         xmlns:pr=\"urn:ietf:params:xml:ns:pres-rules\" xmlns:cr=\"urn:ietf:params:xml:ns:common-policy\">{}{}{}</ruleset>",
        rule("a", "friend", "allow"),
        rule("b", "foe", "block"),
        rule("c", "bore", "polite-block")
    );
    // SQLite knows a blob from a text; the others know the column.
    let document = match tables {
        Tables::Sqlite(_) => format!("CAST('{document}' AS BLOB)"),
        Tables::Server(..) => format!("'{document}'"),
    };
    tables.script(&format!(
        "INSERT INTO xcap (username, domain, doc, doc_type, etag, source, doc_uri, port) \
         VALUES ('{user}', 'test.local', {document}, 2, 'e', 1, '/rules/{user}', 0);"
    ));
}

/// Watchers who are allowed, refused, put off; with rules in the database.
pub fn watchers(server: &Kamailio) -> Run {
    let mut run = begin(server);
    rules(server.tables(), "alice");
    for (user, presentity) in
        [("friend", "alice"), ("foe", "alice"), ("bore", "alice"), ("stranger", "alice"), ("bob", "nobody")]
    {
        let mut watcher = phone(&mut run, server, user);
        let mut first = dialog(presentity, "presence", user);
        subscribe(&mut watcher, &mut first, Some(600), "");
        // A second dialog finds the decision in the table.
        let mut second = dialog(presentity, "presence", &format!("{user}-again"));
        subscribe(&mut watcher, &mut second, Some(600), "");
        subscribe(&mut watcher, &mut dialog(presentity, "dialog", &format!("{user}-dialogs")), Some(600), "");
    }
    run
}
