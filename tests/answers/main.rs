//! Right answers: what a request is refused with, what the answer to a NOTIFY leads to, how many NOTIFYs a burst makes.
//!
//! `rfc_strict`, `notify_fail_max` and `notify_interval` are parameters that only this module has: with
//! `PRESENCE_SO=stock` the tests that set them fail, as the server does not start. Where another test fails there it says
//! why.

mod body;
mod contact;
mod interval;
mod outcomes;
mod refusals;
mod strict;

use testkit::{Builder, Database, Kamailio};

/// Everything in memory, and everything in SQLite.
pub fn set_ups() -> [(&'static str, Builder); 2] {
    [("memory", Kamailio::builder()), ("SQLite", in_sqlite(3, 0))]
}

/// With SQLite, subscriptions and publications where these modes say.
pub fn in_sqlite(subs_db_mode: u8, publ_cache: u8) -> Builder {
    let builder = Kamailio::builder().database(Database::Sqlite("wal"));
    builder.param("subs_db_mode", subs_db_mode).param("publ_cache", publ_cache)
}
