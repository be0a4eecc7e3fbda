//! Each function of `presence_api_t`.

use crate::{ask, builder, started};
use testkit::{Database, Kamailio, Module, Phone};

/// Puts a document without SIP (`update_presentity`); what it returned.
fn put(server: &Kamailio, user: &str, etag: &str, body: &str, expires: i32, new: bool) -> i32 {
    let (body, expires, new) = (format!("s:{body}"), expires.to_string(), i32::from(new).to_string());
    let answer = ask(server, &["caller.put", "memo", user, etag, &body, &expires, &new]);
    answer.parse().unwrap_or_else(|_| panic!("no number: {answer}"))
}

#[test]
fn binding_without_a_table_fails_and_with_one_does_not() {
    let server = builder().start();
    let started = started(&server);
    assert!(started.contains(&"bind_null=-1".into()), "{started:?}");
    assert!(started.contains(&"bind=0".into()), "{started:?}");
    assert!(server.log_lines("ERROR").iter().any(|l| l.contains("bind_presence")), "{}", server.log());
}

#[test]
fn packages_that_cannot_be_are_refused_with_a_line_each() {
    let server = builder().start();
    let started = started(&server);
    for refused in ["null_name=-1", "empty_name=-1", "null_type=-1", "guarded=-1"] {
        assert!(started.contains(&refused.into()), "{refused}: {started:?}");
    }
    assert_eq!(server.log_lines("add_event").iter().filter(|l| l.contains("ERROR")).count(), 4, "{}", server.log());
    for name in ["typeless", "guarded"] {
        assert_eq!(ask(&server, &["caller.contains", name]), "none none none");
    }
}

#[test]
fn the_first_registration_of_a_package_stays() {
    let server = builder().start();
    let started = started(&server);
    // The C module takes the second one without a word, and modules rely on it.
    assert!(started.contains(&"memo=0".into()) && started.contains(&"memo_again=0".into()), "{started:?}");
    assert_eq!(ask(&server, &["caller.contains", "memo"]), ["memo|text/plain"; 3].join(" "));
    let packages = ask(&server, &["caller.packages"]);
    assert_eq!(packages.split(", ").filter(|p| *p == "memo").count(), 1, "{packages}");
    if !Module::from_env().is_stock() {
        let lines = server.log_lines("WARNING");
        assert!(lines.iter().any(|l| l.contains("\"memo\"") && l.contains("already")), "{lines:?}");
    }
}

#[test]
fn packages_are_found_by_name_and_by_parsed_event() {
    let server = builder().start();
    let found = |name: &str| ask(&server, &["caller.contains", name]);
    assert_eq!(found("presence"), ["presence|application/pidf+xml"; 3].join(" "));
    assert_eq!(found("message-summary"), ["message-summary|application/simple-message-summary"; 3].join(" "));
    assert_eq!(found("presence.winfo"), ["presence.winfo|application/watcherinfo+xml"; 3].join(" "));
    assert_eq!(found("nothing"), "none none none");
    assert_eq!(found("s:memo;line=1"), ["memo;line=1|text/plain"; 3].join(" "));
    assert_eq!(found("s:;;"), "none none none");
}

#[test]
fn the_list_names_every_package_once() {
    let server = builder().start();
    let list = ask(&server, &["caller.packages"]);
    let mut names: Vec<&str> = list.split(", ").collect();
    names.sort_unstable();
    for name in ["dialog", "memo", "message-summary", "presence", "presence.winfo"] {
        assert_eq!(names.iter().filter(|n| **n == name).count(), 1, "{name} in {list}");
    }
}

#[test]
fn what_is_put_without_sip_reaches_the_watcher() {
    let server = builder().start();
    let mut bob = Phone::new("bob", server.port);
    bob.subscribe("alice", "memo", 600);
    assert_eq!(bob.notify().body, "");
    assert!(put(&server, "alice", "a.1", "first", 600, true) >= 0);
    assert_eq!(bob.notify().body, "first");
    assert_eq!(ask(&server, &["caller.document", "sip:alice@test.local", "memo"]), "first");
    assert!(put(&server, "alice", "a.1", "second", 600, false) >= 0);
    assert_eq!(bob.notify().body, "second");
    assert_eq!(ask(&server, &["caller.document", "sip:nobody@test.local", "memo"]), "none");
}

#[test]
fn watchers_are_told_again_when_a_module_asks() {
    let server = builder().start();
    let mut bob = Phone::new("bob", server.port);
    bob.subscribe("alice", "memo", 600);
    let first = bob.notify().cseq();
    ask(&server, &["caller.refresh", "sip:alice@test.local", "memo"]);
    assert_eq!(bob.notify().cseq(), first + 1);
    assert_eq!(ask(&server, &["caller.refresh", "sip:alice@test.local", "nothing"]), "-1");
}

#[test]
fn a_watcher_without_rules_is_pending_and_without_the_package_an_error() {
    let ask_about = |server: &Kamailio| ask(server, &["caller.auth", "sip:bob@test.local", "sip:alice@test.local"]);
    assert_eq!(ask_about(&builder().start()), "2");
    assert_eq!(ask_about(&builder().packages(&["presence_mwi"]).start()), "-1");
}

const ROUTES: &str = r#"
request_route {
    if (is_method("OPTIONS")) { sl_send_reply("200", "OK"); exit; }
    t_newtran();
    if (is_method("PUBLISH")) { caller_publish(); exit; }
    if ($hdr(Subject) == "as") { caller_subscribe("carol", "other.test"); exit; }
    caller_subscribe();
}
"#;

#[test]
fn requests_are_served_through_the_interface() {
    let server = builder().routes(ROUTES).start();
    let (mut alice, mut bob) = (Phone::new("alice", server.port), Phone::new("bob", server.port));
    let mut dialog = bob.subscribe("alice", "presence", 600);
    bob.notify();
    let body = testkit::phone::pidf("alice", "open", "through C");
    assert_eq!(alice.publish("presence", None, Some(600), &body).code(), 200);
    assert!(bob.notify().body.contains("<note>through C</note>"));
    assert_eq!(alice.publish("presence", Some("unknown.1"), Some(600), "").code(), 412);
    assert_eq!(bob.resubscribe(&mut dialog, 0).code(), 200);
    assert!(bob.notify().state().starts_with("terminated"));
}

#[test]
fn a_module_may_name_the_watcher_itself() {
    // The C module dies of a subscription to winfo without a database.
    let server = builder().routes(ROUTES).database(Database::Sqlite("WAL")).start();
    let mut alice = Phone::new("alice", server.port);
    let mut bob = Phone::new("bob", server.port);
    alice.subscribe("alice", "presence.winfo", 600);
    alice.notify();
    let mut dialog = testkit::phone::Dialog::new("alice", "presence");
    dialog.cseq = 1;
    let request = bob.subscribe_request(&dialog, Some(600), &["Subject: as".into()]);
    assert_eq!(bob.ask(&request).code(), 200);
    let winfo = alice.notify().body;
    assert!(winfo.contains("carol@other.test") && !winfo.contains("bob@"), "{winfo}");
}

#[test]
fn null_pointers_are_errors() {
    if Module::from_env().is_stock() {
        println!("ignored: the C module does not survive null pointers");
        return;
    }
    let mut server = builder().extra("modparam(\"caller\", \"with_nulls\", 1)").start();
    let started = started(&server);
    let errors = [
        "event",
        "list",
        "publish",
        "subscribe",
        "subscribe_as",
        "put",
        "refresh",
        "update",
        "insert",
        "delete",
        "change",
        "extract",
    ];
    let nothing = ["contains", "text", "search", "sphere", "document", "size", "negative", "find", "copy"];
    for (names, value) in [(&errors[..], -1), (&nothing[..], 0)] {
        for name in names {
            assert!(started.contains(&format!("null_{name}={value}")), "{name}: {started:?}");
        }
    }
    for name in ["insert_shtable", "delete_shtable", "update_shtable", "update_db_subs_timer", "extract_sdialog_info"] {
        assert_eq!(server.log_lines(&format!("{name}: no")).len(), 1, "{name}: {}", server.log());
    }
    assert!(server.is_running());
}

#[test]
fn the_interface_leaks_no_private_memory() {
    let server = builder().start();
    let round = || {
        for name in ["memo", "s:memo;line=1", "nothing", "s:;;"] {
            ask(&server, &["caller.contains", name]);
        }
        ask(&server, &["caller.packages"]);
        ask(&server, &["caller.document", "sip:alice@test.local", "memo"]);
        ask(&server, &["caller.auth", "sip:bob@test.local", "sip:alice@test.local"]);
        ask(&server, &["caller.sphere", "sip:alice@test.local"]);
    };
    assert!(put(&server, "alice", "a.1", "here", 600, true) >= 0);
    (0..5).for_each(|_| round());
    let before = server.pkg_used();
    (0..50).for_each(|_| round());
    let more = server.pkg_used() - before;
    assert!(more < 512, "{more} bytes after 50 rounds");
}

#[test]
fn a_module_keeps_subscriptions_in_tables_of_its_own() {
    let server = builder().start();
    assert_eq!(ask(&server, &["caller.table"]), "put=0 changed=0 cseq=8 contact=1 gone=0 left=0");
}

#[test]
fn a_table_that_is_destroyed_gives_back_its_memory() {
    // The C module fails here: it loses the route set of each record, also an empty one.
    let server = builder().start();
    let round = || assert_eq!(ask(&server, &["caller.destroy", "200"]), "200");
    round();
    let before = server.shm_used();
    (0..20).for_each(|_| round());
    let more = server.shm_used() - before;
    assert!(more < 1024, "{more} bytes of shared memory after 20 tables of 200 records");
}

#[test]
fn a_module_reads_a_subscribe_by_itself() {
    let routes = r#"
request_route {
    if (is_method("SUBSCRIBE")) { caller_extract(); }
    sl_send_reply("200", "OK");
}
"#;
    let server = builder().routes(routes).start();
    let mut bob = Phone::new("bob", server.port);
    let mut dialog = testkit::phone::Dialog::new("list", "presence");
    assert_eq!(bob.resubscribe(&mut dialog, 600).code(), 200);
    let expected = format!(
        "extracted to=list@test.local from=bob@test.local callid={} expires=300 cseq=1 own_tag=1 tag=1",
        dialog.call_id
    );
    assert_eq!(server.log_lines(&expected).len(), 1, "{}", server.log());
}

#[test]
fn no_function_of_the_table_is_missing() {
    let server = builder().start();
    assert_eq!(ask(&server, &["caller.missing"]), "0 of 23");
}
