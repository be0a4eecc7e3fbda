//! What the database has when the server starts, read in pages of bounded size.

use crate::host::now;
use crate::params::settings;
use crate::store::engine::Engine;
use crate::store::{self, Shared, database, listing, schema as col};
use kamailio::log;
use presence_core::config::{PublMode, SubsMode};
use presence_core::host::Resource;
use presence_core::refusal::Fault;
use presence_core::store::LONG_RESERVE;

/// Checks the tables' versions and loads what belongs into memory. In the first process, before the others are forked
/// and after every package was registered.
pub fn restore() -> bool {
    let loaded = || -> Result<(), Fault> {
        if !versions_fit() {
            return Err(Fault::Storage);
        }
        store::widths::read();
        let Some(store) = store::shared() else { return Ok(()) };
        match settings().core.subs {
            SubsMode::WriteThrough => subscriptions(store)?,
            SubsMode::WriteBack => {
                subscriptions(store)?;
                go_ahead();
            }
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
    if outcome.is_err() {
        log!(Error, "the tables of the database could not be read");
    }
    outcome.is_ok()
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

fn subscriptions(store: &'static Shared) -> Result<(), Fault> {
    let now = now().unix;
    let (mut loaded, mut foreign, mut next) = (0u64, 0u64, Some(0));
    while let Some(after) = next {
        let page = listing::rows_of_subscriptions(after)?;
        for row in page.entries {
            match row {
                Some(subscription) if subscription.expires >= now => {
                    store::load(store, &subscription).map_err(|_| {
                        log!(
                            Error,
                            "no shared memory for the subscriptions in the table: start the server with more (-m)"
                        );
                        Fault::Storage
                    })?;
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

/// Puts the rows ahead of what was loaded: a crash before they are flushed again must not make a CSeq be used twice.
fn go_ahead() {
    // The others take no statements.
    if database::engine() == Engine::Other {
        return;
    }
    let (table, ahead) = (kamailio::str::show(settings().active_watchers_table), LONG_RESERVE);
    // Beyond that the column has no room; no dialog gets there but by thousands of crashes.
    let room = i32::MAX.unsigned_abs() - ahead;
    let text = format!(
        "UPDATE {table} SET local_cseq=local_cseq+{ahead}, version=version+{ahead} WHERE local_cseq<{room} AND version<{room}"
    );
    if database::write(|db| db.command(&text).map(drop)).is_err() {
        log!(
            Warning,
            "the rows of subscriptions could not be put ahead: a crash before the next flush may reuse CSeqs"
        );
    }
}

/// Counts the publications of each presentity, those too that have run out: they are counted until they are swept.
fn publications(store: &'static Shared) -> Result<(), Fault> {
    let (mut counted, mut next) = (0u64, Some(0));
    while let Some(after) = next {
        let page = listing::presentities(after)?;
        for (uri, package) in page.entries {
            store.index_publication(Resource { uri: &uri, package }).map_err(|_| Fault::Storage)?;
            counted += 1;
        }
        next = page.next;
    }
    log!(Info, "{counted} publications counted");
    Ok(())
}
