//! SQLite files, through the command line tool: a reader and writer of its own, apart from the server's connection.

use std::path::Path;
use std::process::{Command, Stdio};

/// Creates a file with Kamailio's own schema.
pub fn create(file: &Path, journal: &str) {
    try_create(file, journal).unwrap_or_else(|sentence| panic!("{sentence}"));
}

/// Creates a file with Kamailio's own schema; a sentence that says why not.
pub fn try_create(file: &Path, journal: &str) -> Result<(), String> {
    for script in ["standard", "presence", "rls"] {
        let script = crate::kamailio::schemas().join(format!("db_sqlite/{script}-create.sql"));
        let sql = std::fs::File::open(&script)
            .map_err(|e| format!("Kamailio's schema {} cannot be read: {e}", script.display()))?;
        let status = Command::new("sqlite3").arg(file).stdin(sql).status();
        let status = status.map_err(|e| format!("sqlite3 cannot be run: {e}"))?;
        if !status.success() {
            return Err(format!("sqlite3 could not create the tables of {} in {}", script.display(), file.display()));
        }
    }
    run(file, &format!("PRAGMA journal_mode={journal}"));
    Ok(())
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
