//! What stands in the tables, and when: a real Kamailio over SQLite, PostgreSQL and MariaDB with Kamailio's own schema.
//!
//! The database servers are the test's own. What is promised holds on each of them, with the same parameters.
//!
//! The module under test is the one that `PRESENCE_SO` names. Where it is compared with Kamailio's own, or takes turns
//! with it on one file, the other side is always the stock module. With `PRESENCE_SO=stock` it is compared with itself,
//! and then nothing may differ; what it does not promise (contention, broken rows, many rows) fails.

/// A test of these functions on each database, and of those after the semicolon on each that is a server.
macro_rules! on_each_database {
    ($($name:ident,)* $(; $($of_servers:ident,)+)?) => {
        mod sqlite {
            $(#[test] fn $name() { super::$name(&testkit::Database::Sqlite("WAL")) })*
        }
        mod postgres {
            $(#[test] fn $name() { super::$name(&testkit::Database::Postgres) })*
            $($(#[test] fn $of_servers() { super::$of_servers(&testkit::Database::Postgres) })+)?
        }
        mod mariadb {
            $(#[test] fn $name() { super::$name(&testkit::Database::MariaDb) })*
            $($(#[test] fn $of_servers() { super::$of_servers(&testkit::Database::MariaDb) })+)?
        }
    };
}
use on_each_database;

mod broken;
mod columns;
mod committed;
mod contention;
mod differences;
mod flush;
mod guessed;
mod modes;
mod others;
mod outage;
mod restart;
mod restore;
mod scenarios;
mod servers;
mod table;
mod texts;

use testkit::{Builder, Database, Kamailio};

/// A server over a new database, with this `publ_cache` and this `subs_db_mode`.
fn server(db: &Database, publ: u8, subs: u8) -> Builder {
    Kamailio::builder().database(db.clone()).param("publ_cache", publ).param("subs_db_mode", subs)
}

/// With MariaDB the stock module locks one table and asks another, unless it is told to lock none (error 1100).
fn for_stock(db: &Database, builder: Builder) -> Builder {
    if matches!(db, Database::MariaDb) { builder.param("db_table_lock_type", 0) } else { builder }
}

/// A server over tables that are there already.
fn server_on(tables: &testkit::Tables, publ: u8, subs: u8) -> Builder {
    server(&Database::At(tables.clone()), publ, subs)
}

/// Watchers need the presentity's permission, by rules in the table `xcap`.
const ASK_FIRST: &str = r#"modparam("presence_xml", "force_active", 0)
modparam("presence_xml", "integrated_xcap_server", 1)"#;

/// Counts when it is dropped: those who wait for the count go on when a test fails, too.
struct Done<'a>(&'a std::sync::atomic::AtomicUsize);

impl Drop for Done<'_> {
    fn drop(&mut self) {
        self.0.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    }
}

/// Waits until a statement gives this number.
fn wait_for_number(server: &Kamailio, statement: &str, wanted: i64) {
    let mut last = None;
    let end = std::time::Instant::now() + std::time::Duration::from_secs(10);
    while last != Some(wanted) {
        assert!(std::time::Instant::now() < end, "{statement}: {last:?} after 10 s, not {wanted}");
        std::thread::sleep(std::time::Duration::from_millis(30));
        last = Some(server.tables().number(statement));
    }
}
