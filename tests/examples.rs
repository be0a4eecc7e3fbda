//! The files in `examples/` do what they say, each started as it stands.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use testkit::phone::{Dialog, content_type, dialog_info, pidf};
use testkit::{Builder, Database, Kamailio, Message, Phone};

fn example(name: &str) -> Builder {
    Kamailio::builder().file(testkit::root().join("examples").join(name))
}

/// A PUBLISH that is accepted; its entity-tag.
fn publish(publisher: &mut Phone, user: &str, event: &str, etag: Option<&str>, body: &str) -> String {
    let reply = publisher.publish_for(user, event, etag, Some(600), body);
    assert_eq!(reply.code(), 200, "{reply:?}");
    reply.header("SIP-ETag").expect("a tag").to_owned()
}

/// A NOTIFY of an active subscription, with a document of its package.
fn document(notify: &Message, event: &str) -> String {
    assert_eq!(notify.header("Event"), Some(event));
    assert!(notify.state().starts_with("active"), "{notify:?}");
    assert_eq!(notify.header("Content-Type"), Some(content_type(event)));
    notify.body.clone()
}

/// Subscribe, publish, modify, unsubscribe: what every presence server is for.
fn serves_presence(server: &Kamailio) {
    let (mut alice, mut bob) = (Phone::new("alice", server.port), Phone::new("bob", server.port));
    let mut dialog = bob.subscribe("alice", "presence", 600);
    let first = bob.notify();
    assert_eq!(first.body, "");
    let etag = publish(&mut alice, "alice", "presence", None, &pidf("alice", "open", "here"));
    let second = bob.notify();
    assert!(document(&second, "presence").contains("<note>here</note>"), "{}", second.body);
    assert_eq!(second.cseq(), first.cseq() + 1);
    publish(&mut alice, "alice", "presence", Some(&etag), &pidf("alice", "open", "there"));
    assert!(document(&bob.notify(), "presence").contains("<note>there</note>"));
    assert_eq!(bob.resubscribe(&mut dialog, 0).code(), 200);
    assert!(bob.notify().state().starts_with("terminated"));
}

#[test]
fn memory_serves_presence() {
    serves_presence(&example("memory.cfg").start());
}

#[test]
fn memory_refuses_what_is_too_short() {
    let server = example("memory.cfg").start();
    let mut bob = Phone::new("bob", server.port);
    let mut dialog = Dialog::new("alice", "presence");
    let reply = bob.resubscribe(&mut dialog, 10);
    assert_eq!((reply.code(), reply.header("Min-Expires")), (423, Some("60")));
}

#[test]
fn sqlite_serves_presence() {
    serves_presence(&example("sqlite.cfg").database(Database::Sqlite("WAL")).start());
}

#[test]
fn sqlite_goes_on_after_a_restart() {
    let mut server = example("sqlite.cfg").database(Database::Sqlite("WAL")).start();
    let (mut alice, mut bob) = (Phone::new("alice", server.port), Phone::new("bob", server.port));
    let mut dialog = bob.subscribe("alice", "presence", 600);
    // What is published before the first NOTIFY is on its way goes with it.
    bob.notify();
    let etag = publish(&mut alice, "alice", "presence", None, &pidf("alice", "open", "before"));
    let last = bob.notify().cseq();
    server.restart();
    publish(&mut alice, "alice", "presence", Some(&etag), &pidf("alice", "open", "after"));
    let notify = bob.notify();
    assert!(document(&notify, "presence").contains("<note>after</note>"));
    assert!(notify.cseq() > last, "{} after {last}", notify.cseq());
    assert_eq!(bob.resubscribe(&mut dialog, 600).code(), 200);
}

#[test]
fn sqlite_lets_phones_register() {
    let server = example("sqlite.cfg").database(Database::Sqlite("WAL")).start();
    let mut bob = Phone::new("bob", server.port);
    let (uri, contact) = (bob.uri_of("bob"), format!("Contact: <{}>", bob.contact()));
    let request = bob.request("REGISTER", "sip:test.local", &uri, &uri, ("reg", ""), "reg", 1, &[contact], "");
    assert_eq!(bob.ask(&request).code(), 200);
}

#[test]
fn busy_lamps_follow_a_call() {
    let server = example("busy-lamps.cfg").start();
    let (mut calls, mut desk) = (Phone::new("calls", server.port), Phone::new("desk", server.port));
    desk.subscribe("line1", "dialog", 600);
    desk.notify();
    let mut etag = None;
    for state in ["early", "confirmed", "terminated"] {
        etag = Some(publish(&mut calls, "line1", "dialog", etag.as_deref(), &dialog_info("line1", "call-1", state)));
        let body = document(&desk.notify(), "dialog");
        assert!(body.contains(&format!("<state>{state}</state>")), "{body}");
    }
}

#[test]
fn busy_lamps_are_lit_by_the_call_server_only() {
    let server = example("busy-lamps.cfg").define("CALL_SERVER", "\"127.0.0.2\"").start();
    let mut stranger = Phone::new("stranger", server.port);
    let reply = stranger.publish_for("line1", "dialog", None, Some(600), &dialog_info("line1", "call-1", "early"));
    assert_eq!(reply.code(), 403);
}

const ONE_MESSAGE: &str = "Messages-Waiting: yes\r\nVoice-Message: 1/0\r\n";
const NO_MESSAGE: &str = "Messages-Waiting: no\r\nVoice-Message: 0/1\r\n";

#[test]
fn a_lamp_says_that_a_message_waits() {
    let server = example("message-waiting.cfg").database(Database::Sqlite("WAL")).start();
    let (mut voicemail, mut bob) = (Phone::new("voicemail", server.port), Phone::new("bob", server.port));
    bob.subscribe("bob", "message-summary", 3600);
    bob.notify();
    let etag = publish(&mut voicemail, "bob", "message-summary", None, ONE_MESSAGE);
    assert_eq!(document(&bob.notify(), "message-summary"), ONE_MESSAGE);
    publish(&mut voicemail, "bob", "message-summary", Some(&etag), NO_MESSAGE);
    assert_eq!(document(&bob.notify(), "message-summary"), NO_MESSAGE);
}

#[test]
fn a_mailbox_is_its_owners_business() {
    let server = example("message-waiting.cfg").database(Database::Sqlite("WAL")).start();
    let mut eve = Phone::new("eve", server.port);
    let mut dialog = Dialog::new("bob", "message-summary");
    assert_eq!(eve.resubscribe(&mut dialog, 600).code(), 403);
}

/// A presence server and, in front of it, a proxy with presence in library mode.
fn behind_a_library() -> (Kamailio, Kamailio) {
    let server = example("memory.cfg").start();
    let behind = format!("\"sip:127.0.0.1:{}\"", server.port);
    let library = example("library.cfg").define("PRESENCE_SERVER", &behind).start();
    (server, library)
}

#[test]
fn presence_passes_through_a_proxy_with_the_library() {
    let (_server, library) = behind_a_library();
    let (mut alice, mut bob) = (Phone::new("alice", library.port), Phone::new("bob", library.port));
    bob.subscribe("alice", "presence", 600);
    assert!(bob.notify().header("Via").is_some());
    publish(&mut alice, "alice", "presence", None, &pidf("alice", "open", "far"));
    assert!(document(&bob.notify(), "presence").contains("<note>far</note>"));
}

#[test]
fn the_commands_of_a_library_refuse_and_it_lives_on() {
    let (_server, mut library) = behind_a_library();
    for call in [
        &["presence.refreshWatchers", "sip:alice@test.local", "presence", "1"][..],
        &["presence.updateWatchers", "sip:alice@test.local", "presence"],
    ] {
        let answer = library.rpc(call);
        assert!(answer.contains("error: 500"), "{call:?}: {answer}");
    }
    let _ = library.rpc(&["presence.cleanup"]);
    assert!(library.is_running());
    assert_eq!(library.log_lines("CRITICAL"), Vec::<String>::new());
}

#[test]
fn a_library_does_not_start_with_a_route_that_serves() {
    for function in ["handle_publish", "handle_subscribe"] {
        let routes = format!("request_route {{ {function}(); }}");
        let builder = Kamailio::builder().param("publ_cache", 1).routes(&routes);
        let log = builder.try_start().expect_err("a library serves nobody");
        let sentence =
            log.lines().find(|line| line.contains("ERROR") && line.contains(function) && line.contains("db_url"));
        assert!(sentence.is_some(), "{log}");
    }
}

/// The C module, built once.
fn weather() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| {
        let source = testkit::root().join("examples/c-module/weather.c");
        testkit::cmodule::build(&source, Path::new(env!("CARGO_TARGET_TMPDIR")))
    })
}

fn weather_server() -> Kamailio {
    Kamailio::builder().extra(&format!("loadmodule \"{}\"", weather().display())).start()
}

fn report(station: &str, temperature: i32) -> String {
    format!("station: {station}\r\ntemperature: {temperature}\r\n")
}

#[test]
fn the_weather_of_a_place_is_what_all_its_stations_report() {
    let server = weather_server();
    let (mut harbour, mut hill) = (Phone::new("harbour", server.port), Phone::new("hill", server.port));
    let mut bob = Phone::new("bob", server.port);
    bob.subscribe("bergen", "weather", 600);
    assert_eq!(bob.notify().body, "");
    let first = publish(&mut harbour, "bergen", "weather", None, &report("harbour", 12));
    assert_eq!(document(&bob.notify(), "weather"), report("harbour", 12));
    publish(&mut hill, "bergen", "weather", None, &report("hill", 9));
    let both = document(&bob.notify(), "weather");
    // In which order is not promised.
    let (harbour_report, hill_report) = (report("harbour", 12), report("hill", 9));
    let orders = [[&harbour_report, &hill_report], [&hill_report, &harbour_report]];
    assert!(orders.iter().any(|[a, b]| both == format!("{a}\r\n{b}")), "{both}");
    let first = publish(&mut harbour, "bergen", "weather", Some(&first), &report("harbour", 13));
    assert!(document(&bob.notify(), "weather").contains(&report("harbour", 13)));
    assert_eq!(harbour.publish_for("bergen", "weather", Some(&first), Some(0), "").code(), 200);
    assert_eq!(document(&bob.notify(), "weather"), report("hill", 9));
}

#[test]
fn the_weather_module_refuses_what_is_no_report() {
    let server = weather_server();
    let mut harbour = Phone::new("harbour", server.port);
    for bad in
        ["sun\r\n", "station: harbour\r\n", "temperature: 20\r\n", &report("harbour", 99), &"x: y\r\n".repeat(200)]
    {
        let reply = harbour.publish_for("bergen", "weather", None, Some(600), bad);
        assert_eq!(reply.code(), 400, "{bad}: {reply:?}");
    }
    publish(&mut harbour, "bergen", "weather", None, &report("harbour", -3));
}

#[test]
fn the_weather_module_frees_what_it_makes() {
    let server = weather_server();
    let (mut harbour, mut bob) = (Phone::new("harbour", server.port), Phone::new("bob", server.port));
    bob.subscribe("bergen", "weather", 600);
    let mut etag = None;
    let mut used = 0;
    for round in 0..400 {
        etag = Some(publish(&mut harbour, "bergen", "weather", etag.as_deref(), &report("harbour", round % 50)));
        bob.listen(std::time::Duration::from_millis(1));
        if round == 100 {
            used = server.pkg_used();
        }
    }
    let more = server.pkg_used() - used;
    assert!(more < 4096, "{more} bytes of private memory after 300 reports");
}
