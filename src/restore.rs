//! What the database has when the server starts, read in pages of bounded size.

use crate::host::now;
use crate::params::settings;
use crate::store::{self, Shared, database, listing, rows, schema as col};
use kamailio::log;
use presence_core::config::{PublMode, SubsMode};
use presence_core::host::Resource;
use presence_core::refusal::{Exhausted, Fault};
use presence_core::store::RESERVE;
use presence_core::subscription::Subscription;

/// Checks the tables' versions and loads what belongs into memory. In the first process, before the others are forked
/// and after every package was registered.
pub fn restore() -> bool {
    let loaded = || -> Result<(), Unloaded> {
        if !versions_fit() {
            return Err(Unloaded::Unread);
        }
        store::widths::read();
        let Some(store) = store::shared() else { return Ok(()) };
        match settings().core.subs {
            SubsMode::WriteThrough | SubsMode::WriteBack => subscriptions(store)?,
            SubsMode::Memory | SubsMode::Database => {}
        }
        if settings().core.publ == PublMode::Indexed {
            publications(store)?;
        }
        Ok(())
    };
    if !database::open() {
        return false;
    }
    let outcome = loaded();
    database::close();
    match outcome {
        Ok(()) => return true,
        Err(Unloaded::Unread) => log!(Error, "the tables of the database could not be read, or not be written"),
        Err(Unloaded::NoMemory) => {
            log!(Error, "no shared memory for what is in the tables: start the server with more (-m)");
        }
    }
    false
}

/// Why not everything was loaded. A server with a part of it would know nothing of dialogs that go on: it does not start.
enum Unloaded {
    Unread,
    NoMemory,
}

impl From<Fault> for Unloaded {
    fn from(_: Fault) -> Self {
        Self::Unread
    }
}

impl From<Exhausted> for Unloaded {
    fn from(_: Exhausted) -> Self {
        Self::NoMemory
    }
}

fn versions_fit() -> bool {
    let s = settings();
    let tables = [
        (s.presentity_table, col::PRESENTITY_VERSION),
        (s.watchers_table, col::WATCHERS_VERSION),
        (s.active_watchers_table, col::ACTIVE_WATCHERS_VERSION),
    ];
    database::read(|db| {
        Ok(tables.iter().all(|(table, version)| {
            let fits = db.table_version_is(table, *version);
            if !fits {
                let table = kamailio::str::show(table);
                log!(Error, "table {table} is not of version {version}: create or upgrade Kamailio's tables");
            }
            fits
        }))
    })
    .unwrap_or(false)
}

fn subscriptions(store: &'static Shared) -> Result<(), Unloaded> {
    let now = now().unix;
    let (mut loaded, mut foreign, mut next) = (0u64, 0u64, Some(0));
    while let Some(after) = next {
        let page = listing::rows_of_subscriptions(after)?;
        let lives = |row: &&(listing::Place, Subscription)| row.1.expires >= now;
        // Before the first NOTIFY: a crash may come before the row is written again.
        let live: Vec<_> = page.entries.iter().flatten().filter(lives).collect();
        rows::put_ahead(&live, RESERVE)?;
        for row in &page.entries {
            match row {
                Some(row) if lives(&row) => {
                    store::load(store, &row.1)?;
                    loaded += 1;
                }
                Some(_) => {}
                None => foreign += 1,
            }
        }
        next = page.next;
    }
    log!(Info, "{loaded} subscriptions loaded");
    if foreign > 0 {
        log!(
            Warning,
            "{foreign} subscriptions left in the table: their package is not registered, or the row is not whole"
        );
    }
    Ok(())
}

/// Counts the publications of each presentity, those too that have run out: they are counted until they are swept.
fn publications(store: &'static Shared) -> Result<(), Unloaded> {
    let (mut counted, mut next) = (0u64, Some(0));
    while let Some(after) = next {
        let page = listing::presentities(after)?;
        for (uri, package) in page.entries {
            store.index_publication(Resource { uri: &uri, package })?;
            counted += 1;
        }
        next = page.next;
    }
    log!(Info, "{counted} publications counted");
    Ok(())
}
