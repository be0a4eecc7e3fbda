//! The line about each NOTIFY: `local_log_level`, `local_log_facility`.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use testkit::{Kamailio, Phone, preload, wait_for};

/// What every such line contains.
const MARK: &str = "NOTIFY sip:bob@test.local via sip:bob@";

fn tell(server: &Kamailio) -> String {
    let mut bob = Phone::new("bob", server.port);
    let dialog = bob.subscribe("alice", "presence", 600);
    bob.notify();
    dialog.call_id
}

#[test]
fn local_log_level_is_the_level_of_the_line() {
    for (level, label) in [(-1, "ERROR"), (0, "WARNING"), (1, "NOTICE"), (2, "INFO")] {
        let server = Kamailio::builder().param("local_log_level", level).start();
        let call_id = tell(&server);
        let line = wait_for("the line", 5.0, || server.log_lines(MARK).pop());
        assert!(line.contains(&format!("{label}: ")), "local_log_level {level}: {line}");
        let says = format!("on behalf of sip:alice@test.local for event presence : {call_id}");
        assert!(line.ends_with(&says), "{line}");
    }
}

#[test]
fn a_level_that_is_not_logged_leaves_no_line() {
    let server = Kamailio::builder().param("local_log_level", 3).start();
    tell(&server);
    assert_eq!(server.log_lines(MARK), Vec::<String>::new());
}

/// A `syslog` that writes down what it is called with, built once.
fn syslog() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
    BUILT.get_or_init(|| preload::library(folder, "syslog", &["tests/scripting/syslog.c"], &[]))
}

/// The facility and level with which the line was logged, as syslog(3) counts them.
fn priority(builder: testkit::Builder) -> (u32, u32) {
    let server = builder.syslog(syslog()).start();
    tell(&server);
    let line = wait_for("the line", 5.0, || server.log_lines(MARK).pop());
    let number: u32 =
        line.split(' ').next().and_then(|n| n.parse().ok()).unwrap_or_else(|| panic!("no number: {line}"));
    (number >> 3, number & 7)
}

#[test]
fn local_log_facility_is_the_facility_of_the_line() {
    const LOCAL0: u32 = 16;
    let local3 = Kamailio::builder().param("local_log_facility", "\"LOG_LOCAL3\"");
    assert_eq!(priority(local3), (LOCAL0 + 3, 6), "LOG_INFO");
    let local5 = Kamailio::builder().param("local_log_facility", "\"LOG_LOCAL5\"").param("local_log_level", 1);
    assert_eq!(priority(local5), (LOCAL0 + 5, 5), "LOG_NOTICE");
}

#[test]
fn without_local_log_facility_it_is_the_servers() {
    const DAEMON: u32 = 3;
    assert_eq!(priority(Kamailio::builder()), (DAEMON, 6));
}
