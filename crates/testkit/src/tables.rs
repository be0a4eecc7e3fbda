//! Kamailio's tables in whichever database, through that database's own command line client: a reader and writer apart
//! from the server's connections.

use crate::engine::{Engine, Kind};
use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::Arc;

/// Where tables are.
#[derive(Clone, Debug)]
pub enum Tables {
    /// A SQLite file.
    Sqlite(PathBuf),
    /// A database of a server.
    Server(Arc<Engine>, String),
}

/// What ends the answer to a statement.
const END: &str = "--end of answer--";

impl Tables {
    /// The server that has them; none for SQLite.
    #[must_use]
    pub fn engine(&self) -> Option<&Engine> {
        match self {
            Self::Sqlite(_) => None,
            Self::Server(engine, _) => Some(engine),
        }
    }

    fn kind(&self) -> Option<Kind> {
        self.engine().map(|e| e.kind)
    }

    /// As Kamailio's modules name them.
    #[must_use]
    pub fn url(&self) -> String {
        match self {
            Self::Sqlite(file) => format!("sqlite:///{}", file.display()),
            Self::Server(engine, name) => engine.url(name),
        }
    }

    /// Kamailio's driver.
    #[must_use]
    pub fn driver(&self) -> &'static str {
        match self.kind() {
            None => "db_sqlite",
            Some(Kind::Postgres) => "db_postgres",
            Some(Kind::MariaDb) => "db_mysql",
        }
    }

    fn client(&self) -> Command {
        match self {
            Self::Sqlite(file) => {
                let mut client = Command::new("sqlite3");
                client.args(["-batch", "-bail", "-cmd", ".timeout 10000"]).arg(file);
                client
            }
            Self::Server(engine, name) => engine.client(name),
        }
    }

    /// Runs a statement; its rows with columns separated by `|`. Waits for other writers.
    #[must_use]
    pub fn run(&self, statement: &str) -> Vec<String> {
        let mut client = self.client();
        match self.kind() {
            None => client.arg(statement),
            Some(kind) => client.args(kind.statement(statement)),
        };
        let output = client.stdin(Stdio::null()).output().expect("runs the client");
        assert!(output.status.success(), "{statement}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).lines().map(|line| self.row(line)).collect()
    }

    /// Runs statements in one go; false if one failed.
    #[must_use]
    pub fn try_run(&self, statements: &str) -> bool {
        let mut client = self.client();
        match self.kind() {
            None => client.arg(statements),
            Some(kind) => client.args(kind.statement(statements)),
        };
        client.stdin(Stdio::null()).output().is_ok_and(|output| output.status.success())
    }

    /// Deadlocks that the server has broken so far.
    #[must_use]
    pub fn deadlocks(&self) -> i64 {
        match self.kind() {
            None => 0,
            Some(Kind::Postgres) => self.number("SELECT sum(deadlocks) FROM pg_stat_database"),
            Some(Kind::MariaDb) => {
                let of = "SELECT variable_value FROM information_schema.global_status WHERE variable_name=";
                self.number(&format!("{of}'INNODB_DEADLOCKS'"))
            }
        }
    }

    /// Runs statements that give nothing; as many as one likes.
    pub fn script(&self, statements: &str) {
        let mut client = self.client().stdin(Stdio::piped()).stdout(Stdio::null()).spawn().expect("runs the client");
        let mut input = client.stdin.take().expect("its input");
        input.write_all(statements.as_bytes()).expect("the client listens");
        drop(input);
        assert!(client.wait().expect("the client ends").success(), "the client refused a statement");
    }

    fn row(&self, line: &str) -> String {
        if self.kind() == Some(Kind::MariaDb) { line.replace('\t', "|") } else { line.to_owned() }
    }

    /// The one number that a statement gives.
    #[must_use]
    pub fn number(&self, statement: &str) -> i64 {
        self.run(statement).first().and_then(|l| l.parse().ok()).unwrap_or_else(|| panic!("no number: {statement}"))
    }

    /// An expression for the text in a blob column.
    #[must_use]
    pub fn text_of(&self, column: &str) -> String {
        match self.kind() {
            None => format!("CAST({column} AS TEXT)"),
            Some(Kind::Postgres) => format!("convert_from({column}, 'UTF8')"),
            Some(Kind::MariaDb) => format!("CONVERT({column} USING utf8mb4)"),
        }
    }

    /// Names of a table's columns in their order, and whether they are texts or blobs.
    #[must_use]
    pub fn columns(&self, table: &str) -> Vec<(String, bool)> {
        let statement = match self {
            Self::Sqlite(_) => format!("SELECT name, type FROM pragma_table_info('{table}')"),
            Self::Server(engine, name) => {
                let schema = if engine.kind == Kind::Postgres { "public" } else { name };
                format!(
                    "SELECT column_name, data_type FROM information_schema.columns \
                     WHERE table_schema = '{schema}' AND table_name = '{table}' ORDER BY ordinal_position"
                )
            }
        };
        let is_text = |kind: &str| !kind.to_ascii_lowercase().contains("int");
        let lines = self.run(&statement);
        lines.iter().filter_map(|l| l.split_once('|')).map(|(name, kind)| (name.to_owned(), is_text(kind))).collect()
    }

    /// All rows of a table: columns with values as literals, so that NULL, texts and numbers are told apart.
    #[must_use]
    pub fn rows(&self, table: &str) -> Vec<Vec<(String, String)>> {
        let columns = self.columns(table);
        assert!(columns.len() > 5, "no table {table}");
        let literal = |(name, text): &(String, bool)| match (self.kind(), text) {
            (None, _) => format!("replace(quote({name}), char(10), ' ')"),
            (Some(Kind::Postgres), true) => {
                let text = if name == "body" { self.text_of(name) } else { name.clone() };
                format!("replace(quote_nullable({text}), chr(10), ' ')")
            }
            (Some(Kind::MariaDb), true) => format!("replace(quote({name}), char(10), ' ')"),
            (Some(_), false) => format!("coalesce(CAST({name} AS CHAR(12)), 'NULL')"),
        };
        let separator = if self.kind() == Some(Kind::Postgres) { "chr(31)" } else { "char(31)" };
        let literals: Vec<String> = columns.iter().map(literal).collect();
        let lines = self.run(&format!("SELECT {} FROM {table}", literals.join(&format!(" || {separator} || "))));
        let row = |line: &String| {
            let values: Vec<String> = line.split('\u{1f}').map(|v| v.trim_end().to_owned()).collect();
            assert_eq!(values.len(), columns.len(), "{line}");
            columns.iter().map(|(name, _)| name.clone()).zip(values).collect()
        };
        lines.iter().map(row).collect()
    }

    /// Opens a session.
    #[must_use]
    pub fn session(&self) -> Session {
        Session::open(self)
    }

    /// Statements that the server has been asked so far, by everybody: MariaDB counts each, PostgreSQL transactions, of
    /// which each statement outside of one is its own.
    #[must_use]
    pub fn statements(&self) -> i64 {
        match self {
            Self::Sqlite(_) => 0,
            Self::Server(engine, name) if engine.kind == Kind::Postgres => {
                let counted = "SELECT xact_commit + xact_rollback FROM pg_stat_database WHERE datname=";
                self.number(&format!("{counted}'{name}'"))
            }
            Self::Server(..) => {
                let line = self.run("SHOW GLOBAL STATUS LIKE 'Questions'");
                let number = line.first().and_then(|l| l.split('|').nth(1)?.parse().ok());
                number.unwrap_or_else(|| panic!("no number in {line:?}"))
            }
        }
    }
}

/// An open connection in a process of its own: it reads within the moment, and can hold locks.
#[derive(Debug)]
pub struct Session {
    client: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
    tables: Tables,
}

impl Session {
    fn open(tables: &Tables) -> Self {
        let mut client = tables.client().stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("runs the client");
        let input = client.stdin.take().expect("its input");
        let output = BufReader::new(client.stdout.take().expect("its output"));
        let mut session = Self { client, input, output, tables: tables.clone() };
        // Reads the schema now, not with the first question.
        session.run("SELECT count(*) FROM version");
        session
    }

    /// Runs a statement; its rows with columns separated by `|`.
    pub fn run(&mut self, statement: &str) -> Vec<String> {
        let end = match self.tables.kind() {
            None => format!(".print {END}"),
            Some(Kind::Postgres) => format!("\\echo {END}"),
            Some(Kind::MariaDb) => format!("SELECT '{END}';"),
        };
        writeln!(self.input, "{statement};\n{end}").expect("the client listens");
        let mut rows = Vec::new();
        loop {
            let mut line = String::new();
            let length = self.output.read_line(&mut line).expect("the client answers");
            assert!(length > 0, "the client gave up: {statement}");
            match line.trim_end_matches('\n') {
                END => return rows,
                row => rows.push(self.tables.row(row)),
            }
        }
    }

    /// The one row that a statement gives.
    pub fn row(&mut self, statement: &str) -> String {
        let mut rows = self.run(statement);
        assert_eq!(rows.len(), 1, "{statement}: {rows:?}");
        rows.remove(0)
    }

    /// Locks tables: nobody else writes them until [`Self::unlock`]. (SQLite locks its file.)
    pub fn lock(&mut self, tables: &[&str]) {
        self.run(&match self.tables.kind() {
            None => "BEGIN IMMEDIATE".to_owned(),
            Some(Kind::Postgres) => format!("BEGIN; LOCK TABLE {} IN EXCLUSIVE MODE", tables.join(", ")),
            Some(Kind::MariaDb) => format!("LOCK TABLES {} READ", tables.join(" READ, ")),
        });
    }

    /// Locks a table of a server: nobody else reads it either.
    pub fn lock_out(&mut self, table: &str) {
        self.run(&match self.tables.kind() {
            None => "BEGIN EXCLUSIVE".to_owned(),
            Some(Kind::Postgres) => format!("BEGIN; LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE"),
            Some(Kind::MariaDb) => format!("LOCK TABLES {table} WRITE, version WRITE"),
        });
    }

    /// Lets go.
    pub fn unlock(&mut self) {
        self.run(if self.tables.kind() == Some(Kind::MariaDb) { "UNLOCK TABLES" } else { "COMMIT" });
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        let _ = self.client.kill();
        let _ = self.client.wait();
    }
}
