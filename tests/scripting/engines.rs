//! KEMI: the nine functions, and the event callback, from Lua, Python and JavaScript; beside them kamailio.cfg, which
//! has to see the same.

use crate::probe::{ASK_FIRST, ask, call, put_document, result, returned, routes, serve, set_rules, uri, with_tables};
use testkit::phone::{Dialog, pidf};
use testkit::{Builder, Database, Kamailio, Phone, sqlite, wait_for};

const ALICE: &str = "sip:alice@test.local";

/// A language: its module, its script, how that is named to the module.
#[derive(Clone, Copy, Debug)]
pub struct Engine {
    name: &'static str,
    module: &'static str,
    script: &'static str,
}

/// All of them.
pub const ENGINES: [Engine; 3] = [
    Engine { name: "lua", module: "app_lua", script: "probe.lua" },
    Engine { name: "python", module: "app_python3", script: "probe.py" },
    Engine { name: "jsdt", module: "app_jsdt", script: "probe.js" },
];

impl Engine {
    /// A server whose script is in this language.
    pub fn server(self, builder: Builder) -> Builder {
        let script = testkit::root().join("tests/scripts").join(self.script);
        builder
            .extra(&format!(
                "loadmodule \"{0}.so\"\nmodparam(\"{0}\", \"load\", \"{1}\")",
                self.module,
                script.display()
            ))
            .routes(&format!("cfgengine \"{}\"", self.name))
    }
}

/// Every language, and none for kamailio.cfg.
fn languages() -> impl Iterator<Item = Option<Engine>> {
    std::iter::once(None).chain(ENGINES.map(Some))
}

fn start(language: Option<Engine>, builder: Builder) -> Kamailio {
    match language {
        Some(engine) => engine.server(builder).start(),
        None => builder.routes(&routes()).start(),
    }
}

#[test]
fn the_functions_that_serve_return_the_same_in_every_language() {
    for language in languages() {
        let what = format!("{language:?}");
        let server = start(language, with_tables().param("subs_db_mode", 1));
        let (mut alice, mut bob) = (Phone::new("alice", server.port), Phone::new("bob", server.port));
        let subscribe = |bob: &mut Phone, event: &str, more: &[String]| {
            let dialog = Dialog { cseq: 1, ..Dialog::new("alice", event) };
            let request = bob.subscribe_request(&dialog, Some(600), more);
            serve(&server, bob, &request)
        };
        assert_eq!(subscribe(&mut bob, "presence", &[]), (200, 1), "{what}");
        assert_eq!(subscribe(&mut bob, "presence", &["Fixed: yes".into()]), (200, 1), "{what}");
        assert_eq!(subscribe(&mut bob, "presence", &["Watcher: sip:boss@other.local".into()]), (200, 1), "{what}");
        assert_eq!(subscribe(&mut bob, "nothing", &[]), (489, -1), "{what}");
        let watchers = "SELECT watcher_username FROM active_watchers ORDER BY 1";
        assert_eq!(sqlite::run(&server.database_file(), watchers), ["bob", "boss", "fixed"], "{what}");
        (0..3).for_each(|_| drop(bob.notify()));
        let body = pidf("alice", "open", "here");
        let publish = |alice: &mut Phone, etag: Option<&str>, body: &str, more: &[String]| {
            let request = alice.publish_request("alice", "presence", etag, Some(600), body, more);
            serve(&server, alice, &request)
        };
        assert_eq!(publish(&mut alice, None, &body, &[]), (200, 1), "{what}");
        assert!((0..3).all(|_| bob.notify().body.contains("here")), "{what}");
        assert_eq!(publish(&mut alice, None, &body, &["Fixed: yes".into()]), (200, 1), "{what}");
        assert_eq!(publish(&mut alice, None, &body, &["Sender: sip:line@test.local".into()]), (200, 1), "{what}");
        assert_eq!(publish(&mut alice, Some("a.1.2.3.4"), &body, &[]), (412, 1), "{what}");
        assert_eq!(publish(&mut alice, None, "", &[]), (400, -1), "{what}");
        assert_eq!(publish(&mut alice, None, &body, &["Sender: nonsense".into()]), (400, -1), "{what}");
        let senders = "SELECT sender FROM presentity ORDER BY 1";
        let senders = sqlite::run(&server.database_file(), senders);
        assert_eq!(senders, ["", "sip:fixed@test.local", "sip:line@test.local"], "{what}");
        let dialog = Dialog { cseq: 1, ..Dialog::new("alice", "presence") };
        bob.send_raw(bob.subscribe_request(&dialog, Some(600), &["Watcher: nonsense".into()]).as_bytes());
        assert_eq!(returned(&server, &dialog.call_id), -1, "{what}");
    }
}

#[test]
fn the_functions_that_ask_and_tell_return_the_same_in_every_language() {
    for language in languages() {
        let what = format!("{language:?}");
        // With publications in memory the stock module can take a hard state, too.
        let server = start(language, with_tables().param("publ_cache", 2).extra(ASK_FIRST));
        let file = server.database_file();
        set_rules(&file, "alice", &[("bob", "confirm"), ("bore", "polite-block"), ("foe", "block")]);
        let (mut alice, mut bob) = (Phone::new("alice", server.port), Phone::new("bob", server.port));
        bob.subscribe("alice", "presence", 600);
        assert!(bob.notify().state().starts_with("pending"), "{what}");
        // In kamailio.cfg 0 would end the script.
        let done = if language.is_none() { 1 } else { 0 };
        let mut code = |function: &str, arguments: &[&str]| call(&mut alice, function, arguments);
        for (watcher, status) in [("bob", 2), ("bore", 5), ("foe", 3)] {
            assert_eq!(code("pres_auth_status", &[&uri(watcher), ALICE]), status, "{what}: {watcher}");
        }
        assert_eq!(code("pres_auth_status", &["nonsense", ALICE]), -1, "{what}");
        assert_eq!(code("pres_auth_status", &[&uri("bob"), "nonsense"]), -1, "{what}");
        assert_eq!(code("pres_has_subscribers", &[ALICE, "presence"]), 1, "{what}");
        assert_eq!(code("pres_has_subscribers", &[&uri("carol"), "presence"]), -1, "{what}");
        assert_eq!(code("pres_has_subscribers", &[ALICE, "nothing"]), -1, "{what}");
        set_rules(&file, "alice", &[("bob", "allow")]);
        assert_eq!(code("pres_update_watchers", &[ALICE, "presence"]), 1, "{what}");
        assert!(bob.notify().state().starts_with("active"), "{what}");
        assert_eq!(code("pres_update_watchers", &[&uri("carol"), "presence"]), -1, "{what}");
        assert_eq!(code("pres_update_watchers", &["nonsense", "presence"]), -1, "{what}");
        assert_eq!(code("pres_update_watchers", &[ALICE, "message-summary"]), -1, "{what}");
        assert_eq!(code("pres_refresh_watchers", &[ALICE, "presence", "1"]), done, "{what}");
        bob.notify();
        set_rules(&file, "alice", &[("bob", "confirm")]);
        assert_eq!(code("pres_refresh_watchers", &[ALICE, "presence", "0"]), done, "{what}");
        assert!(bob.notify().state().starts_with("pending"), "{what}");
        assert_eq!(code("pres_refresh_watchers", &[ALICE, "nothing", "1"]), -1, "{what}");
        assert_eq!(code("pres_refresh_watchers", &[&uri("carol"), "presence", "0"]), -1, "{what}");
        set_rules(&file, "alice", &[("bob", "allow")]);
        assert_eq!(code("pres_update_watchers", &[ALICE, "presence"]), 1, "{what}");
        assert!(bob.notify().state().starts_with("active"), "{what}");
        put_document(&file, "alice", 16, "/pidf/alice", &pidf("alice", "closed", "on holiday"));
        let refresh = [ALICE, "presence", "2", "/pidf/alice", "index"];
        assert_eq!(code("pres_refresh_watchers_file", &refresh), done, "{what}");
        assert!(bob.notify().body.contains("on holiday"), "{what}");
        let refresh = [ALICE, "message-summary", "2", "/pidf/alice", "index"];
        assert_eq!(code("pres_refresh_watchers_file", &refresh), -1, "{what}");
    }
}

#[test]
fn what_is_missing_in_a_call_is_refused() {
    for engine in ENGINES {
        let mut server = engine.server(with_tables().extra(ASK_FIRST)).start();
        set_rules(&server.database_file(), "alice", &[("bob", "allow")]);
        let mut alice = Phone::new("alice", server.port);
        for function in ["pres_auth_status", "pres_has_subscribers", "pres_update_watchers"] {
            for arguments in [&[][..], &["", ALICE], &[ALICE, ""]] {
                // An engine may refuse an empty text itself.
                let reply = ask(&mut alice, function, arguments).unwrap_or_else(|| panic!("{engine:?}: {function}"));
                assert_eq!(result(&reply), Some(-1), "{engine:?}: {function}{arguments:?}");
            }
        }
        assert_eq!(call(&mut alice, "pres_refresh_watchers", &["", "", "1"]), -1, "{engine:?}");
        assert_eq!(call(&mut alice, "pres_refresh_watchers_file", &["", "", "2", "", ""]), -1, "{engine:?}");
        assert!(server.is_running(), "{engine:?}");
    }
}

#[test]
fn a_hard_state_without_a_file_is_refused() {
    // The stock module follows a null pointer (signal 11).
    for engine in ENGINES {
        let mut server = engine.server(with_tables().extra(ASK_FIRST)).start();
        let mut alice = Phone::new("alice", server.port);
        assert_eq!(call(&mut alice, "pres_refresh_watchers", &[ALICE, "presence", "2"]), -1, "{engine:?}");
        assert!(server.is_running(), "{engine:?}");
    }
}

/// The lines that the scripts' event callback has written.
fn events(server: &Kamailio) -> Vec<String> {
    let lines = server.log_lines("event: ");
    lines.iter().filter_map(|line| line.split("event: ").nth(1)).map(|line| line.trim().to_owned()).collect()
}

#[test]
fn event_callback_is_called_with_the_answer_to_a_notify() {
    // Only here: the stock module tells scripts in kamailio.cfg only.
    for engine in ENGINES {
        let server = engine.server(Kamailio::builder().param("event_callback", "\"presence_event\"")).start();
        let mut bob = Phone::new("bob", server.port);
        bob.answer = Some(202);
        bob.subscribe("alice", "presence", 600);
        let cseq = bob.notify().cseq();
        let line = wait_for("the event", 5.0, || events(&server).pop());
        assert_eq!(line, format!("presence:notify-reply {ALICE} NOTIFY 202 {cseq} NOTIFY"), "{engine:?}");
    }
}

#[test]
fn event_callback_is_called_when_nobody_answers() {
    for engine in ENGINES {
        let builder = Kamailio::builder()
            .param("event_callback", "\"presence_event\"")
            .extra("modparam(\"tm\", \"fr_timer\", 300)");
        let server = engine.server(builder).start();
        let mut bob = Phone::new("bob", server.port);
        bob.answer = None;
        bob.subscribe("alice", "presence", 600);
        bob.notify();
        let line = wait_for("the event", 5.0, || events(&server).pop());
        assert!(line.starts_with(&format!("presence:notify-reply {ALICE} NOTIFY 408 ")), "{engine:?}: {line}");
    }
}

#[test]
fn a_callback_that_the_script_does_not_have_does_no_harm() {
    for engine in ENGINES {
        let mut server = engine.server(Kamailio::builder().param("event_callback", "\"nowhere\"")).start();
        let mut bob = Phone::new("bob", server.port);
        bob.subscribe("alice", "presence", 600);
        bob.notify();
        let mut alice = Phone::new("alice", server.port);
        assert_eq!(alice.publish("presence", None, Some(600), &pidf("alice", "open", "here")).code(), 200);
        assert!(bob.notify().body.contains("here"), "{engine:?}");
        assert!(server.is_running(), "{engine:?}");
    }
}

#[test]
fn a_callback_without_a_script_of_kemi_is_said_at_start() {
    let server = Kamailio::builder().param("event_callback", "\"presence_event\"").start();
    let lines = server.log_lines("event_callback");
    assert!(lines.iter().any(|line| line.contains("WARNING") && line.contains("cfgengine")), "{lines:?}");
}

#[test]
fn a_notify_that_a_kemi_script_drops_is_not_sent() {
    for engine in ENGINES {
        let builder = Kamailio::builder().extra("modparam(\"tm\", \"event_callback\", \"local_request\")");
        let server = engine.server(builder).start();
        let (mut bob, mut gone) = (Phone::new("bob", server.port), Phone::new("dropped", server.port));
        bob.subscribe("alice", "presence", 600);
        bob.notify();
        gone.subscribe("alice", "presence", 600);
        let mut alice = Phone::new("alice", server.port);
        assert_eq!(alice.publish("presence", None, Some(600), &pidf("alice", "open", "here")).code(), 200);
        assert!(bob.notify().body.contains("here"), "{engine:?}");
        assert_eq!(gone.notify_within(0.3), None, "{engine:?}");
    }
}

#[test]
fn scripts_of_kemi_serve_with_write_back_and_stop() {
    for engine in ENGINES {
        let builder = Kamailio::builder().database(Database::Sqlite("wal"));
        let mut server = engine.server(builder).start();
        let mut bob = Phone::new("bob", server.port);
        bob.subscribe("alice", "presence", 600);
        bob.notify();
        bob.listen(std::time::Duration::from_millis(100));
        assert!(server.stop().success(), "{engine:?}");
        assert_eq!(sqlite::number(&server.database_file(), "SELECT count(*) FROM active_watchers"), 1, "{engine:?}");
        assert_eq!(server.log_lines("CRITICAL"), Vec::<String>::new(), "{engine:?}");
    }
}
