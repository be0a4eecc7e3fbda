//! What the database has when the server starts, read in pages of bounded size.

use crate::host::now;
use crate::params::settings;
use crate::store::{self, Shared, database, rows, schema as col};
use kamailio::db::{Column, Condition, Op, Part, Value};
use kamailio::log;
use presence_core::config::{PublMode, SubsMode};
use presence_core::host::Resource;
use presence_core::refusal::Fault;
use presence_core::time::Timestamp;
use presence_core::uri::sip_uri;

/// The largest page: rows take about 3 KB of private memory each, and a query that exhausts it can stop the server.
const LARGEST_PAGE: usize = 500;

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

/// Reads a table in pages by its id; `each` gets every row.
fn pages(
    table: &'static [u8],
    columns: &[Column],
    id_at: usize,
    mut each: impl FnMut(&kamailio::db::Row<'_>) -> Result<(), Fault>,
) -> Result<(), Fault> {
    let page = settings().fetch_rows.min(LARGEST_PAGE);
    let part = Part { by: b"id", rows: page, after: 0 };
    let mut last = 0;
    loop {
        let mut outcome = Ok(());
        let count = database::read(|db| {
            let of = [Condition(col::ID, Op::Gt, Value::Int(last))];
            // Where all comes at once, there need be no numbers either.
            let of = if database::knows_parts() { &of[..] } else { &[] };
            let rows = db.query(table, columns, of, Some(part))?;
            for row in rows.iter() {
                last = last.max(row.int(id_at));
                outcome = each(&row);
                if outcome.is_err() {
                    break;
                }
            }
            Ok(rows.len())
        })?;
        outcome?;
        if count < page || !database::knows_parts() {
            return Ok(());
        }
    }
}

fn subscriptions(store: &'static Shared) -> Result<(), Fault> {
    let now = now().unix;
    let (mut loaded, mut foreign) = (0u64, 0u64);
    pages(settings().active_watchers_table, &rows::COLUMNS, rows::ID_AT, |row| {
        match rows::from_row(row) {
            Some(subscription) if subscription.expires >= now => {
                store::load(store, &subscription).map_err(|_| {
                    log!(Error, "no shared memory for the subscriptions in the table: start the server with more (-m)");
                    Fault::Storage
                })?;
                loaded += 1;
            }
            Some(_) => {}
            None => foreign += 1,
        }
        Ok(())
    })?;
    log!(Info, "{loaded} subscriptions loaded");
    if foreign > 0 {
        log!(
            Warning,
            "{foreign} subscriptions left in the table: their package is not registered, or the row is not whole"
        );
    }
    Ok(())
}

fn publications(store: &'static Shared) -> Result<(), Fault> {
    let now = now().unix;
    let registry = crate::abi::packages::all();
    let columns = [col::USERNAME, col::DOMAIN, col::EVENT, col::EXPIRES, col::ID];
    let mut loaded = 0u64;
    pages(settings().presentity_table, &columns, 4, |row| {
        let live = !settings().core.hide_expired || Timestamp::from_column(row.int(3)) >= now;
        let package = registry.iter().find(|p| p.name == row.text(2)).map(|p| p.id);
        if let (true, Some(package)) = (live, package) {
            let uri = sip_uri(row.text(0), row.text(1));
            store.index_publication(Resource { uri: &uri, package }).map_err(|_| Fault::Storage)?;
            loaded += 1;
        }
        Ok(())
    })?;
    log!(Info, "{loaded} publications counted");
    Ok(())
}
