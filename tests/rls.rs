//! Resource lists (RFC 4662): Kamailio's own `rls.so` and `pua.so`, unmodified, with this module's interface behind
//! `bind_presence`. The same tests run against Kamailio's own presence.so with `PRESENCE_SO=stock`.
//!
//! rls keeps its own tables with db_text: with db_sqlite it calls a function that this driver does not have
//! (`affected_rows`), and the server dies, whichever presence.so is loaded. The list itself is read from SQLite.

use std::net::UdpSocket;
use std::path::Path;
use std::time::{Duration, Instant};
use testkit::phone::{Dialog, pidf};
use testkit::{Kamailio, Message, Phone, sqlite};

/// The service documents of a watcher: two lists (RFC 4826 4), in the row that an XCAP server would have written.
const LISTS: &str = r#"<?xml version="1.0" encoding="UTF-8"?>
<rls-services xmlns="urn:ietf:params:xml:ns:rls-services" xmlns:rl="urn:ietf:params:xml:ns:resource-lists">
 <service uri="sip:friends@test.local"><list><rl:entry uri="sip:alice@test.local"/><rl:entry uri="sip:carol@test.local"/></list><packages><package>presence</package></packages></service>
 <service uri="sip:others@test.local"><list><rl:entry uri="sip:dave@test.local"/></list><packages><package>presence</package></packages></service>
</rls-services>"#;

/// The number of the kind of document in `xcap.doc_type`.
const RLS_SERVICE: u32 = 1 << 3;

const ROUTES: &str = r#"
request_route {
    if (is_method("OPTIONS")) { sl_send_reply("200", "OK"); exit; }
    if (!t_newtran()) { sl_reply_error(); exit; }
    if (is_method("PUBLISH")) { handle_publish(); exit; }
    if (is_method("NOTIFY")) { rls_handle_notify(); exit; }
    if (is_method("SUBSCRIBE")) {
        $var(code) = rls_handle_subscribe();
        if ($var(code) == 10) { handle_subscribe(); }
        exit;
    }
    t_reply("405", "Method Not Allowed");
}
"#;

fn free_port() -> u16 {
    UdpSocket::bind("127.0.0.1:0").and_then(|socket| socket.local_addr()).expect("a port").port()
}

/// A server with presence, pua and rls, and a SQLite file that has bob's lists.
fn start(more: &str) -> Kamailio {
    let port = free_port();
    let folder = Path::new("/dev/shm").join(format!("presence-test-rls-{}-{port}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder");
    let file = folder.join("db.sqlite");
    sqlite::create(&file, "WAL");
    sqlite::run(
        &file,
        &format!(
            "INSERT INTO xcap (username, domain, doc, doc_type, etag, source, doc_uri, port) VALUES \
             ('bob', 'test.local', '{LISTS}', {RLS_SERVICE}, 'e1', 0, 'rls-services/users/sip:bob@test.local/index', 0)"
        ),
    );
    // Kamailio's own empty tables for db_text.
    let tables = testkit::kamailio::schemas().join("dbtext/kamailio");
    for table in ["version", "rls_presentity", "rls_watchers"] {
        std::fs::copy(tables.join(table), folder.join(table)).expect("a table for db_text");
    }
    let url = format!("sqlite:///{}", file.display());
    let own = format!("sip:127.0.0.1:{port}");
    let mut lines = String::new();
    for (module, name, value) in [
        ("pua", "db_url", format!("\"{url}\"")),
        ("rls", "db_url", format!("\"text://{}\"", folder.display())),
        ("rls", "xcap_db_url", format!("\"{url}\"")),
        ("rls", "server_address", format!("\"sip:rls@127.0.0.1:{port}\"")),
        ("rls", "outbound_proxy", format!("\"{own}\"")),
        ("rls", "integrated_xcap_server", "1".into()),
        ("rls", "to_presence_code", "10".into()),
        ("rls", "waitn_time", "1".into()),
        ("rls", "rls_event", "\"presence\"".into()),
    ] {
        lines.push_str(&format!("modparam(\"{module}\", \"{name}\", {value})\n"));
    }
    Kamailio::builder()
        .port(port)
        .folder(&folder)
        .before("loadmodule \"db_sqlite.so\"\nloadmodule \"db_text.so\"")
        .packages(&["presence_xml", "pua", "rls"])
        .extra(&format!("alias=\"test.local\"\n{lines}{more}"))
        .routes(ROUTES)
        .children(4)
        .start()
}

/// Removes the folder of a test that went well.
fn clean(server: Kamailio) {
    let folder = server.dir.clone();
    drop(server);
    let _ = std::fs::remove_dir_all(folder);
}

/// Asks for a list, in the dialog as it stands.
fn subscribe(watcher: &mut Phone, dialog: &mut Dialog, expires: u32) -> Message {
    dialog.cseq += 1;
    let more =
        ["Supported: eventlist".into(), "Accept: application/pidf+xml, application/rlmi+xml, multipart/related".into()];
    let request = watcher.subscribe_request(dialog, Some(expires), &more);
    let reply = watcher.ask(&request);
    if reply.code() / 100 == 2 {
        dialog.to_tag = reply.to_tag().to_owned();
    }
    reply
}

/// The next NOTIFY of a dialog that this says something about; those before it are dropped.
fn notify_that(watcher: &mut Phone, what: &str, seconds: f64, fits: impl Fn(&Message) -> bool) -> Message {
    let end = Instant::now() + Duration::from_secs_f64(seconds);
    let mut others = String::new();
    while let Some(message) = watcher.notify_within(end.saturating_duration_since(Instant::now()).as_secs_f64()) {
        if fits(&message) {
            return message;
        }
        others.push_str(&format!("{message:?}\n"));
    }
    panic!("no NOTIFY {what} within {seconds} s; there were\n{others}");
}

/// Attribute values of the `rlmi` part: of the list itself and of its resources.
fn rlmi(message: &Message) -> (String, Vec<String>) {
    let content_type = message.header("Content-Type").unwrap_or_default();
    assert!(content_type.starts_with("multipart/related"), "{message:?}");
    assert!(content_type.contains("application/rlmi+xml"), "{message:?}");
    assert_eq!(message.header("Require"), Some("eventlist"), "{message:?}");
    let start = message.body.find("<list").unwrap_or_else(|| panic!("no list in {}", message.body));
    let end = message.body.find("</list>").unwrap_or_else(|| panic!("no end of the list in {}", message.body));
    let list = &message.body[start..end];
    let value = |text: &str, name: &str| -> String {
        let at = text.find(&format!("{name}=\"")).unwrap_or_else(|| panic!("no {name} in {text}"));
        text[at..].split('"').nth(1).unwrap_or_default().to_owned()
    };
    (value(list, "fullState"), list.split("<resource ").skip(1).map(|r| value(r, "uri")).collect())
}

/// A watcher subscribes to a list, is told of all members, then of the one that publishes. rls begins again with a full
/// list where it has its subscriptions in the table alone: `full` is what the second NOTIFY says of itself.
fn serves_a_list(server: &Kamailio, full: &str) {
    let mut bob = Phone::new("bob", server.port);
    let mut list = Dialog::new("friends", "presence");
    let reply = subscribe(&mut bob, &mut list, 600);
    assert_eq!(reply.code(), 200, "{reply:?}");
    assert_eq!(reply.header("Require"), Some("eventlist"), "{reply:?}");
    let first = bob.notify();
    assert_eq!(rlmi(&first), ("true".into(), vec!["sip:alice@test.local".into(), "sip:carol@test.local".into()]));
    assert!(first.state().starts_with("active"), "{first:?}");

    let mut alice = Phone::new("alice", server.port);
    assert_eq!(alice.publish("presence", None, Some(600), &pidf("alice", "open", "at the lake")).code(), 200);
    let then = notify_that(&mut bob, "about alice", 12.0, |m| m.body.contains("at the lake"));
    let (state, resources) = rlmi(&then);
    assert_eq!(state, full);
    assert!(resources.contains(&"sip:alice@test.local".into()), "{resources:?}");
    let member = then.body.split("<resource ").find(|r| r.contains("sip:alice@test.local")).unwrap_or_default();
    assert!(member.contains("state=\"active\"") && member.contains("cid=\""), "{member}");
    assert!(then.body.contains("application/pidf+xml"), "{}", then.body);
    assert!(then.cseq() > first.cseq());

    // In the dialog: a refresh, and the next change is told in it.
    assert_eq!(subscribe(&mut bob, &mut list, 300).code(), 200);
    let mut carol = Phone::new("carol", server.port);
    assert_eq!(carol.publish("presence", None, Some(600), &pidf("carol", "open", "on a train")).code(), 200);
    let last = notify_that(&mut bob, "about carol", 12.0, |m| m.body.contains("on a train"));
    assert!(last.cseq() > then.cseq());
    assert_eq!(last.header("Call-ID"), Some(list.call_id.as_str()));
}

#[test]
fn a_list_is_told_in_full_and_then_in_part() {
    let server = start("");
    serves_a_list(&server, "false");
    clean(server);
}

#[test]
fn a_list_is_told_from_the_table_alone() {
    let server = start("modparam(\"rls\", \"db_mode\", 2)\n");
    serves_a_list(&server, "true");
    clean(server);
}

#[test]
fn what_is_no_list_is_for_presence() {
    let server = start("");
    let mut bob = Phone::new("bob", server.port);
    let mut dialog = Dialog::new("alice", "presence");
    assert_eq!(subscribe(&mut bob, &mut dialog, 600).code(), 200);
    let notify = bob.notify();
    assert_eq!(notify.header("Require"), None, "{notify:?}");
    assert!(notify.state().starts_with("active"), "{notify:?}");
    clean(server);
}

/// Ends a dialog until the server does not know it any more. (A refresh that is faster than the end would revive it.)
fn is_forgotten(watcher: &mut Phone, list: &mut Dialog) {
    testkit::wait_for("a dialog that the server has forgotten", 20.0, || {
        (subscribe(watcher, list, 0).code() == 481).then_some(())
    });
}

#[test]
fn a_list_that_runs_out_ends_with_a_notify() {
    let server = start("modparam(\"rls\", \"clean_period\", 1)\n");
    let mut bob = Phone::new("bob", server.port);
    let mut list = Dialog::new("friends", "presence");
    assert_eq!(subscribe(&mut bob, &mut list, 1).code(), 200);
    let first = bob.notify();
    let last = notify_that(&mut bob, "about the end", 8.0, |m| m.state().starts_with("terminated"));
    assert_eq!(last.state(), "terminated;reason=timeout");
    assert!(last.cseq() > first.cseq());
    is_forgotten(&mut bob, &mut list);
    clean(server);
}

#[test]
fn a_watcher_who_answers_481_loses_the_list() {
    let server = start("");
    let mut bob = Phone::new("bob", server.port);
    bob.answer = Some(481);
    let mut list = Dialog::new("friends", "presence");
    assert_eq!(subscribe(&mut bob, &mut list, 600).code(), 200);
    bob.notify();
    is_forgotten(&mut bob, &mut list);
    clean(server);
}

#[test]
fn a_watcher_may_leave_the_list() {
    let server = start("");
    let mut bob = Phone::new("bob", server.port);
    let mut list = Dialog::new("others", "presence");
    assert_eq!(subscribe(&mut bob, &mut list, 600).code(), 200);
    bob.notify();
    assert_eq!(subscribe(&mut bob, &mut list, 0).code(), 200);
    is_forgotten(&mut bob, &mut list);
    clean(server);
}
