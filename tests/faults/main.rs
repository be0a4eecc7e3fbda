//! The database fails: at each single step of a statement in turn, for a while, or when the disk is full. Requests are
//! answered 200 or 503 with Retry-After, nothing that was answered 200 is lost, and afterwards everything works and
//! memory and tables agree.
//!
//! And shared memory runs out, and is there again.
//!
//! The faults happen between Kamailio's own driver and the database's own library, SQLite's, PostgreSQL's or MariaDB's.
//! The stock module fails these tests: it answers 500, and it has no `presence.status`.

/// A test of these functions on each database server.
macro_rules! on_each_database {
    (; $($name:ident,)+) => {
        mod postgres {
            $(#[test] fn $name() { super::$name(&testkit::Database::Postgres) })+
        }
        mod mariadb {
            $(#[test] fn $name() { super::$name(&testkit::Database::MariaDb) })+
        }
    };
}
use on_each_database;

mod all;
mod allocation;
mod each;
mod full;
mod host;
mod memory;
mod plan;
mod private;
mod scarce;
mod servers;
mod start;
mod statements;
mod sweeps;
mod swept;
mod whole;

use std::path::Path;
use testkit::{Builder, Database, Kamailio, Message, Module};

const SQLITE: Database = Database::Sqlite("WAL");

/// `publ_cache` and `subs_db_mode` of the servers.
const MODES: [(u8, u8); 4] = [(1, 1), (1, 2), (0, 3), (2, 2)];

fn server(db: &Database, publ: u8, subs: u8) -> Builder {
    let builder =
        Kamailio::builder().database(db.clone()).param("publ_cache", publ).param("subs_db_mode", subs).debug(0);
    // The stock module has no such parameter: it does not wait.
    if Module::from_env().is_stock() { builder } else { builder.param("db_wait_time", 1000) }
}

/// A database for a server that another thread starts: one of this thread's own database server, where it is one.
fn own(db: &Database) -> Database {
    match db {
        Database::Postgres | Database::MariaDb => {
            Database::At(db.tables(Path::new("")).expect("a database").expect("its tables"))
        }
        other => other.clone(),
    }
}

/// Whether the answer is one of those that a failing database may cause; panics with any other but 200.
fn is_put_off(reply: &Message, what: &str) -> bool {
    match reply.code() {
        200 => false,
        503 => {
            assert!(reply.header("Retry-After").is_some(), "{what}: a 503 without Retry-After: {reply:?}");
            true
        }
        _ => panic!("{what}: {reply:?}"),
    }
}
