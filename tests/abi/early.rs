//! Calls before presence is ready, and into a presence that is only a library.

use crate::{ask, builder, caller, started};
use std::path::{Path, PathBuf};
use testkit::{Kamailio, Phone};

/// The caller under the name that makes it call early, in a folder of its own.
fn early(folder: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(folder);
    std::fs::create_dir_all(&folder).expect("a folder");
    let copy = folder.join("early_caller.so");
    std::fs::copy(caller(), &copy).expect("a copy of the caller");
    copy
}

/// What every function answers before presence is ready: errors, nothing, and what needs nothing works.
const EARLY: &[&str] = &[
    "contains=0",
    "list=0",
    "add=0",
    "contains_then=1",
    "sphere=0",
    "document=0",
    "put=-1",
    "refresh=-1",
    "auth=-1",
    "publish=-1",
    "subscribe=-1",
    "table=1",
    "insert=0",
    "found=1",
    "delete=1",
    "copy=1",
];

fn answers_early(server: &mut Kamailio) {
    let started = started(server);
    assert_eq!(started, EARLY);
    assert!(server.log_lines("there is no store").iter().any(|l| l.contains("ERROR")), "{}", server.log());
    // The package that was registered early is served.
    let mut bob = Phone::new("bob", server.port);
    bob.subscribe("alice", "early", 600);
    bob.notify();
    assert!(server.is_running());
}

#[test]
fn calls_while_modules_are_loaded_are_answered() {
    // The C module fails here: it dies of a call before its mod_init.
    let load = format!("loadmodule \"{}\"", early("loading").display());
    answers_early(&mut Kamailio::builder().extra(&load).start());
}

#[test]
fn calls_from_a_module_that_is_initialised_first_are_answered() {
    // The C module fails here: it dies of a call before its mod_init.
    let load = format!("loadmodule \"{}\"", early("first").display());
    answers_early(&mut Kamailio::builder().before(&load).start());
}

/// Without a database and with publications in one, presence is a library.
#[test]
fn a_library_does_what_needs_no_storage() {
    // The C module fails here: as a library it dies of extract_sdialog_info, because it has not bound sl.
    let routes = r#"
request_route {
    if (is_method("SUBSCRIBE") && $hdr(Subject) == "serve") { caller_subscribe(); exit; }
    if (is_method("SUBSCRIBE")) { caller_extract(); }
    if (is_method("PUBLISH")) { caller_publish(); exit; }
    sl_send_reply("200", "OK");
}
"#;
    let mut server = builder().param("publ_cache", 1).routes(routes).start();
    // Packages, tables and the reader work.
    assert_eq!(ask(&server, &["caller.contains", "memo"]), ["memo|text/plain"; 3].join(" "));
    assert!(ask(&server, &["caller.packages"]).contains("presence.winfo"));
    assert_eq!(ask(&server, &["caller.table"]), "put=0 changed=0 cseq=8 contact=1 gone=0 left=0");
    let mut bob = Phone::new("bob", server.port);
    let mut dialog = testkit::phone::Dialog::new("list", "presence");
    assert_eq!(bob.resubscribe(&mut dialog, 600).code(), 200);
    assert_eq!(server.log_lines("own_tag=1 tag=1").len(), 1, "{}", server.log());
    // What needs a store is an error.
    assert_eq!(ask(&server, &["caller.put", "memo", "alice", "a.1", "s:x", "600", "1"]), "-1");
    assert_eq!(ask(&server, &["caller.document", "sip:alice@test.local", "memo"]), "none");
    assert_eq!(ask(&server, &["caller.refresh", "sip:alice@test.local", "memo"]), "-1");
    assert_eq!(ask(&server, &["caller.sphere", "sip:alice@test.local"]), "none");
    assert_eq!(bob.publish("memo", None, Some(60), "x").code(), 500);
    dialog.cseq += 1;
    let request = bob.subscribe_request(&dialog, Some(60), &["Subject: serve".into()]);
    assert_eq!(bob.ask(&request).code(), 500);
    assert!(server.is_running());
}
