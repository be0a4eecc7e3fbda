//! SQLite files, through the command line tool: a reader and writer of its own, apart from the server's connection.

use std::path::Path;
use std::process::{Command, Stdio};

const SCHEMA: &str = "/usr/share/kamailio/db_sqlite";

/// Creates a file with Kamailio's own schema.
pub fn create(file: &Path, journal: &str) {
    for script in ["standard", "presence"] {
        let sql = std::fs::File::open(format!("{SCHEMA}/{script}-create.sql")).expect("Kamailio's schema");
        let status = Command::new("sqlite3").arg(file).stdin(sql).status().expect("runs sqlite3");
        assert!(status.success(), "{script}-create.sql");
    }
    run(file, &format!("PRAGMA journal_mode={journal}"));
}

/// Runs a statement; its rows with columns separated by `|`. Waits up to 5 s for other writers.
pub fn run(file: &Path, statement: &str) -> Vec<String> {
    let output = Command::new("sqlite3")
        .arg("-cmd")
        .arg(".timeout 5000")
        .arg(file)
        .arg(statement)
        .stderr(Stdio::piped())
        .output()
        .expect("runs sqlite3");
    assert!(output.status.success(), "{statement}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect()
}

/// The one number that a statement gives.
pub fn number(file: &Path, statement: &str) -> i64 {
    run(file, statement).first().and_then(|l| l.parse().ok()).unwrap_or_else(|| panic!("no number: {statement}"))
}
