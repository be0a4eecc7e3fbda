//! Single allocations of shared memory fail, on a real server: a module in C (`scarce.c`) stands before its allocator.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use testkit::{Builder, Kamailio};

/// What the server holds of the module when nobody has anything.
const NUMBERS: [&str; 3] = ["subscriptions", "publications", "subscriptions_leaving"];

fn module() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
        testkit::cmodule::build(&testkit::root().join("tests/faults/scarce.c"), folder)
    })
}

/// A server before whose allocator the module stands.
pub fn stands_before(builder: Builder) -> Builder {
    builder.before(&format!("loadmodule \"{}\"", module().display()))
}

/// From the start on the presence module's n-th allocation fails, and so many in all.
pub fn from_the_start(builder: Builder, from: u32, count: u32) -> Builder {
    let lines = format!("modparam(\"scarce\", \"fail_at\", {from})\nmodparam(\"scarce\", \"fail_count\", {count})");
    stands_before(builder).before(&lines)
}

/// From now on the n-th allocation fails, and so many in all: of `presence`, the `host`, or `anybody`.
pub fn fail(server: &Kamailio, whose: &str, from: u32, count: u32) {
    let said = server.rpc(&["scarce.fail", whose, &from.to_string(), &count.to_string()]);
    assert_eq!(said, "", "{whose} {from} {count}");
}

/// None fails any more.
pub fn relent(server: &Kamailio) {
    fail(server, "presence", 0, 0);
}

/// Allocations since then, and how many of them failed.
pub fn seen(server: &Kamailio) -> (u32, u32) {
    let said = server.rpc(&["scarce.failed"]);
    let mut numbers = said.lines().map(|line| line.trim().parse().unwrap_or_else(|_| panic!("no number in {said}")));
    (numbers.next().expect("how many"), numbers.next().expect("how many failed"))
}

/// Waits until nothing is left: what is kept of it is what was there before. `listen`: the last NOTIFYs want an answer.
pub fn runs_out(server: &Kamailio, texts: i64, what: &str, mut listen: impl FnMut()) {
    testkit::wait_for(&format!("{what}: everything to run out"), 10.0, || {
        listen();
        let _ = server.rpc(&["presence.cleanup"]);
        NUMBERS.iter().all(|name| server.status(name) == 0).then_some(())
    });
    assert_eq!(server.status("parts_skipped"), 0, "{what}");
    testkit::wait_for(&format!("{what}: {texts} bytes of texts"), 5.0, || {
        (server.status("text_bytes") == texts).then_some(())
    });
}

/// The server runs, and nothing of the module was ever wrong.
pub fn is_up(server: &mut Kamailio, what: &str) {
    assert!(server.is_running(), "{what}:\n{}", server.log());
    for sign in ["CRITICAL: presence", "BUG:", "panic"] {
        assert_eq!(server.log_lines(sign), Vec::<String>::new(), "{what}");
    }
}

/// So many dialogs in SQLite's table, all of whose watchers are reached at this Contact; `each` of them for one presentity.
/// And as many publications, one of each presentity, with a document of so many bytes.
pub fn fill(server: &Kamailio, contact: &str, rows: u32, each: u32, document: u32) {
    let port = server.port;
    let numbers = format!("WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i+1 FROM n WHERE i+1 < {rows})");
    let [dialogs, publications] = [
        "INSERT INTO active_watchers (presentity_uri, watcher_username, watcher_domain, to_user, to_domain, event, to_tag, \
         from_tag, callid, local_cseq, remote_cseq, contact, expires, status, version, socket_info, local_contact, \
         from_user, from_domain, updated, updated_winfo, flags, user_agent)",
        "INSERT INTO presentity (username, domain, event, etag, expires, received_time, body, sender, priority, ruid)",
    ];
    server.tables().script(&format!(
        "BEGIN; {numbers} {dialogs} SELECT 'sip:p' || (i / {each}) || '@test.local', 'w' || i, 'test.local', \
         'p' || (i / {each}), 'test.local', 'presence', 'totag-' || i, 'fromtag-' || i, 'call-' || i, 7, 1, '{contact}', \
         strftime('%s','now') + 3000, 1, 7, 'udp:127.0.0.1:{port}', 'sip:127.0.0.1:{port}', 'w' || i, 'test.local', \
         -1, -1, 0, 'A phone of some make' FROM n; \
         {numbers} {publications} SELECT 'q' || i, 'test.local', 'presence', 'tag' || i, strftime('%s','now') + 3000, 1, \
         replace(hex(zeroblob({document} / 2)), '0', 'x'), '', 0, 'row' || i FROM n; COMMIT;\n"
    ));
}
