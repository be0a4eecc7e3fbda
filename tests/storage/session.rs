//! An open connection to a SQLite file, in a process of its own: it reads within the moment, and can hold a lock.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

/// What ends the answer to a statement.
const END: &str = "--end of answer--";

/// The connection.
#[derive(Debug)]
pub struct Session {
    tool: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Session {
    /// Opens one, which waits up to 10 s for locks of others.
    pub fn open(file: &Path) -> Self {
        let mut tool = Command::new("sqlite3")
            .args(["-batch", "-bail", "-cmd", ".timeout 10000"])
            .arg(file)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("runs sqlite3");
        let input = tool.stdin.take().expect("its input");
        let output = BufReader::new(tool.stdout.take().expect("its output"));
        let mut session = Self { tool, input, output };
        // Reads the schema now, not with the first question.
        session.run("SELECT count(*) FROM version");
        session
    }

    /// Runs a statement; its rows with columns separated by `|`.
    pub fn run(&mut self, statement: &str) -> Vec<String> {
        writeln!(self.input, "{statement};\n.print {END}").expect("sqlite3 listens");
        let mut rows = Vec::new();
        loop {
            let mut line = String::new();
            let length = self.output.read_line(&mut line).expect("sqlite3 answers");
            assert!(length > 0, "sqlite3 gave up: {statement}");
            match line.trim_end_matches('\n') {
                END => return rows,
                row => rows.push(row.to_owned()),
            }
        }
    }

    /// The one row that a statement gives.
    pub fn row(&mut self, statement: &str) -> String {
        let mut rows = self.run(statement);
        assert_eq!(rows.len(), 1, "{statement}: {rows:?}");
        rows.remove(0)
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        let _ = self.tool.kill();
        let _ = self.tool.wait();
    }
}
