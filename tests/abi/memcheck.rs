//! The interface under valgrind's memcheck, with private memory out of malloc (`tests/abi/sysmalloc.c`).
//!
//! What it sees: every block of private memory and of Rust's heap, its ends, its use after it was freed, that it was
//! freed twice, that it was lost. What it does not see: the ends of blocks within shared memory (the host's q_malloc
//! checks its own when they are freed), what shared memory keeps (counted in tests/abi/tables.rs), and values that
//! nobody has set: each process has its own notes about that, so that what another one has written into shared memory
//! counts as not set.

use crate::{ask, builder, module};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use testkit::phone::Dialog;
use testkit::{Database, Kamailio, Phone};

/// The parts of a stack that say nothing about whose fault it is.
const BENEATH: &[&str] =
    &["/vgpreload_", "/libc.so", "/ld-linux", "/sysmalloc.so", "/libsrdb1.so", "/kamailio/kamailio"];

/// The objects to which the errors belong: of each stack the first that is neither the allocator nor the host.
fn culprits(folder: &Path) -> Vec<String> {
    let mut objects = Vec::new();
    for entry in std::fs::read_dir(folder).expect("the server's folder").flatten() {
        if entry.path().extension().is_none_or(|e| e != "xml") {
            continue;
        }
        let text = std::fs::read_to_string(entry.path()).unwrap_or_default();
        for error in text.split("<error>").skip(1) {
            // The first stack is where it happened, or where what was lost was made.
            let stack = error.split("</stack>").next().unwrap_or_default();
            let frames = stack.split("<obj>").skip(1).filter_map(|o| o.split("</obj>").next());
            let mut known = frames.filter(|o| !BENEATH.iter().any(|b| o.contains(b)) && !o.ends_with("bin/kamailio"));
            let object = known.next().unwrap_or("the host").to_owned();
            println!("--- {object}:\n{}", error.split("</error>").next().unwrap_or_default());
            objects.push(object);
        }
    }
    objects
}

fn sysmalloc() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    module("sysmalloc.c", &BUILT)
}

/// A server under memcheck, in a folder that stays.
fn start(folder: &Path) -> Kamailio {
    let options =
        "--leak-check=full --show-leak-kinds=definite --errors-for-leak-kinds=definite --undef-value-errors=no";
    let valgrind =
        format!("valgrind {options} --num-callers=40 --xml=yes --xml-file={}/memcheck.%p.xml", folder.display());
    let book = format!("modparam(\"caller\", \"db_url\", \"sqlite:///{}\")", folder.join("db.sqlite").display());
    builder()
        .under(&valgrind)
        .folder(folder)
        .children(1)
        .database(Database::Sqlite("WAL"))
        .param("publ_cache", 2)
        .before(&format!("loadmodule \"{}\"", sysmalloc().display()))
        .extra(&book)
        .extra("modparam(\"caller\", \"with_nulls\", 1)")
        .routes(
            r#"
request_route {
    if (is_method("OPTIONS")) { sl_send_reply("200", "OK"); exit; }
    if (is_method("PUBLISH")) { handle_publish(); exit; }
    if ($hdr(Subject) == "extract") { caller_extract(); sl_send_reply("200", "OK"); exit; }
    handle_subscribe();
}
"#,
        )
        .start()
}

/// Every function of the interface, and every function of a package in every manner.
fn exercise(server: &Kamailio) {
    let (mut alice, mut bob) = (Phone::new("alice", server.port), Phone::new("bob", server.port));
    let mut extracted = Dialog::new("list", "presence");
    extracted.cseq = 1;
    let request = bob.subscribe_request(&extracted, Some(60), &["Subject: extract".into()]);
    assert_eq!(bob.ask(&request).code(), 200);
    for name in ["memo", "s:memo;line=1", "nothing", "s:;;"] {
        ask(server, &["caller.contains", name]);
        ask(server, &["caller.package", name]);
    }
    for command in ["packages", "missing", "table", "walk", "trial"] {
        ask(server, &[&format!("caller.{command}")]);
    }
    ask(server, &["caller.put", "memo", "alice", "a.1", "s:text", "600", "1"]);
    ask(server, &["caller.document", "sip:alice@test.local", "memo"]);
    ask(server, &["caller.auth", "sip:bob@test.local", "sip:alice@test.local"]);
    ask(server, &["caller.sphere", "sip:alice@test.local"]);
    ask(server, &["caller.refresh", "sip:alice@test.local", "memo"]);

    for n in 0..3 {
        ask(server, &["caller.enter", &format!("call-{n}"), "s:sip:a@here", "600", "4"]);
    }
    ask(server, &["caller.enter", "call-0", "s:sip:a@here", "0", "0"]);
    ask(server, &["caller.change", "call-1", "s:sip:a-longer-contact@somewhere.else", "600"]);
    ask(server, &["caller.leave", "call-2"]);
    ask(server, &["caller.flush", "0", "0"]);
    ask(server, &["caller.flush", "1", "0"]);

    let mut dialog = bob.subscribe("alice", "trial", 600);
    bob.notify();
    for function in ["agg", "aux", "auth", "rules", "hard", "status"] {
        for manner in ["well", "none", "fail", "minus", "huge", "null", "same", "place", "grow", "empty"] {
            ask(server, &["caller.behave", function, manner]);
            alice.publish("trial", None, Some(600), &format!("{function} {manner}"));
            let mut other = Dialog::new("carol", "trial");
            bob.resubscribe(&mut other, 0);
            ask(server, &["presence.refreshWatchers", "sip:alice@test.local", "trial", "2", "s:file", "s:name"]);
        }
        ask(server, &["caller.behave", function, "well"]);
    }
    bob.resubscribe(&mut dialog, 0);
    bob.listen(std::time::Duration::from_millis(200));
}

fn folder() -> PathBuf {
    Path::new("/dev/shm").join(format!("presence-test-memcheck-{}-{}", std::process::id(), testkit::phone::unique()))
}

#[test]
fn memcheck_finds_nothing_in_the_module_and_what_is_wrong_elsewhere() {
    // The C module fails here: it dies of the null pointers that are tried.
    let folder = folder();
    let mut server = start(&folder);
    exercise(&server);
    assert_eq!(ask(&server, &["caller.spoil"]), "done");
    server.stop();
    let found = culprits(&folder);
    let of = |name: &str| found.iter().filter(|object| object.ends_with(name)).count();
    let module = server_module();
    assert_eq!(of(&module), 0, "errors of {module}; all: {found:?}");
    // The control: a read behind a block, and the block itself.
    assert_eq!(of("/caller.so"), 2, "{found:?}");
    drop(server);
    let _ = std::fs::remove_dir_all(folder);
}

/// The file that is loaded as presence.so, as it ends in a stack.
fn server_module() -> String {
    let path = testkit::Module::from_env().path();
    format!("/{}", path.file_name().and_then(|n| n.to_str()).unwrap_or("presence.so"))
}
