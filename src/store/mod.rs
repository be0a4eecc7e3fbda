//! Where subscriptions and publications are: in shared memory, in the database, or in both.

pub mod database;
mod engine;
pub mod health;
mod journal;
mod ledger;
pub mod listing;
mod publications;
pub mod rows;
pub mod schema;
pub mod widths;

use crate::abi::packages;
use crate::host::now;
use crate::params::settings;
use journal::Written;
use kamailio::db::Op;
use kamailio::direct::Destination;
use kamailio::lock::GenLock;
use kamailio::log;
use kamailio::shm::Pool;
use presence_core::config::{PublMode, SubsMode};
use presence_core::host::{Publications, Subscriptions};
use presence_core::store::{Book, Flights, Shelf, Store, TableBook, Ties};
use presence_core::time::Now;
use presence_core::uri::UriMatch;
use std::rc::Rc;
use std::sync::OnceLock;

/// The store in shared memory.
pub type Shared = Store<Pool, GenLock>;

static STORE: OnceLock<Shared> = OnceLock::new();

/// What came by which connection.
pub type Tied = Ties<Pool, GenLock>;

/// NOTIFYs under way without tm.
pub type SharedFlights = Flights<Destination, Pool, GenLock>;

static TIES: OnceLock<Tied> = OnceLock::new();

/// What came by which connection, with `expire_on_close`.
pub fn ties() -> Option<&'static Tied> {
    TIES.get()
}

/// The store. Only after [`create`].
pub fn shared() -> Option<&'static Shared> {
    STORE.get()
}

/// Makes the store in shared memory; once, in `mod_init`.
pub fn create() -> bool {
    let settings = settings();
    let seed = kamailio::proc::random();
    let start = now().unix - settings.core.expires_offset;
    let made = (Pool::create() && health::create())
        .then(|| Store::new(settings.shards, seed, start.0, settings.core.uri_match, Pool).ok())
        .flatten();
    let tied = !settings.core.expire_on_close || Ties::new(seed, Pool).is_ok_and(|ties| TIES.set(ties).is_ok());
    match made.filter(|_| tied) {
        Some(store) => STORE.set(store).is_ok(),
        None => {
            log!(Error, "no shared memory for the subscriptions: start the server with more (-m)");
            false
        }
    }
}

/// Runs something with the book of subscriptions and the shelf of publications, for one input, which came `now`.
pub fn with<R>(
    now: Now,
    run: impl FnOnce(&mut (dyn Subscriptions + '_), &mut (dyn Publications + '_)) -> R,
) -> Option<R> {
    let (store, config, packages) = (shared()?, &settings().core, packages::all());
    let (mut shelf, mut presentity);
    let publications: &mut dyn Publications = if config.publ == PublMode::Memory {
        shelf = Shelf { store, config, now };
        &mut shelf
    } else {
        presentity = publications::Table { store, packages: Rc::clone(&packages), now };
        &mut presentity
    };
    let (mut book, mut table);
    let subscriptions: &mut dyn Subscriptions = if config.subs == SubsMode::Database {
        table = TableBook::new(store, ledger::Table, config, packages, now);
        &mut table
    } else {
        book = Book { store, journal: Written, config, packages, now };
        &mut book
    };
    Some(run(subscriptions, publications))
}

/// Enters a subscription that the database has; at start.
pub fn load(
    store: &'static Shared,
    subscription: &presence_core::subscription::Subscription,
) -> Result<(), presence_core::refusal::Exhausted> {
    let book = Book { store, journal: Written, config: &settings().core, packages: packages::all(), now: now() };
    book.load(subscription)
}

/// How a part of a URI is compared in the database (`sip_uri_match`).
pub fn uri_op() -> Op {
    match settings().core.uri_match {
        UriMatch::CaseSensitive => Op::Eq,
        UriMatch::CaseInsensitive => Op::Alike,
    }
}

/// Whether anything is kept in the database.
pub fn needs_database() -> bool {
    let core = &settings().core;
    !settings().library && (core.publ != PublMode::Memory || core.subs != SubsMode::Memory)
}
