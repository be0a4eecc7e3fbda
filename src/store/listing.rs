//! Lists for an operator, a page at a time, from wherever the records are.

use super::publications::{self, PAGE, SLIM_PAGE};
use super::schema as col;
use super::{database, rows, shared};
use crate::abi::packages;
use crate::params::settings;
use kamailio::db::{Column, Condition, Op, Part, Row, Value};
use presence_core::config::{PublMode, SubsMode};
use presence_core::host::{Publication, Resource};
use presence_core::package::{Package, PackageId, name_of};
use presence_core::refusal::Fault;
use presence_core::status::Status;
pub use presence_core::store::listing::Place;
use presence_core::store::listing::{
    ListedPublication, ListedSubscription, Page, Tally, WantedPublications, WantedSubscriptions,
};
use presence_core::subscription::Subscription;
use presence_core::time::Timestamp;
use presence_core::uri::sip_uri;

/// Rows of `active_watchers` that are read at a time, about 3 KB each.
const ROWS: usize = 50;

/// A page of a table by its id; rows that are nothing to `of_row` are left out.
pub fn page<T>(
    table: &'static [u8],
    columns: &[Column],
    id_at: usize,
    mut of: Vec<Condition<'_>>,
    (after, limit): (Place, usize),
    of_row: impl Fn(Place, &Row<'_>) -> Option<T>,
) -> Result<Page<T>, Fault> {
    // Where all comes at once, there need be no numbers either.
    let in_parts = database::knows_parts();
    if in_parts {
        of.push(Condition(col::ID, Op::Gt, Value::Int(after as i32)));
    }
    let part = Part { by: b"id", rows: limit, after: 0 };
    database::read(|db| {
        let rows = db.query(table, columns, &of, Some(part))?;
        let place = |row: &Row<'_>| row.int(id_at).unsigned_abs();
        let is_last = !in_parts || rows.len() < limit;
        let next = (!is_last).then(|| rows.iter().map(|row| place(&row)).max().unwrap_or(after));
        Ok(Page { entries: rows.iter().filter_map(|row| of_row(place(&row), &row)).collect(), next })
    })
}

fn equal<'a>(column: Column, text: Option<&'a [u8]>) -> Option<Condition<'a>> {
    text.map(|text| Condition(column, Op::Eq, Value::Text(text)))
}

/// The next few subscriptions behind a place. A database compares names by its own rules.
pub fn subscriptions(after: Place, wanted: &WantedSubscriptions<'_>) -> Result<Page<ListedSubscription>, Fault> {
    if settings().core.subs != SubsMode::Database {
        return Ok(shared().ok_or(Fault::Storage)?.list_subscriptions(after, wanted));
    }
    let registry = packages::all();
    let of = [
        equal(col::PRESENTITY_URI, wanted.presentity),
        equal(col::EVENT, wanted.package.map(|package| name_of(&registry, package))),
        equal(col::WATCHER_USERNAME, wanted.watcher.map(|(user, _)| user)),
        equal(col::WATCHER_DOMAIN, wanted.watcher.map(|(_, host)| host)),
        equal(col::CALLID, wanted.call_id),
    ];
    let of = of.into_iter().flatten().collect();
    page(settings().active_watchers_table, &rows::COLUMNS, rows::ID_AT, of, (after, ROWS), |place, row| {
        let subscription = rows::from_row(row)?;
        Some(ListedSubscription { place, subscription, began: None, answer: None })
    })
}

/// The next few rows of `active_watchers` with their numbers; none for each that is not whole or whose package is not
/// registered.
pub fn rows_of_subscriptions(after: Place) -> Result<Page<Option<(Place, Subscription)>>, Fault> {
    let place = (after, largest_page());
    page(settings().active_watchers_table, &rows::COLUMNS, rows::ID_AT, Vec::new(), place, |id, row| {
        Some(rows::from_row(row).map(|subscription| (id, subscription)))
    })
}

/// `fetch_rows`, within what private memory has room for.
fn largest_page() -> usize {
    settings().fetch_rows.min(rows::LARGEST_PAGE)
}

/// The columns of `presentity` that say whose a publication is.
const OWNER: [Column; 4] = [col::USERNAME, col::DOMAIN, col::EVENT, col::ID];

/// A presentity and a package.
fn owner(registry: &[Package], row: &Row<'_>, at: usize) -> Option<(Vec<u8>, PackageId)> {
    let package = registry.iter().find(|p| p.name == row.text(at + 2))?.id;
    Some((sip_uri(row.text(at), row.text(at + 1)), package))
}

/// Columns of a publication, in the order of [`publication`].
const PUBLICATION: [Column; 7] =
    [col::ETAG, col::BODY, col::SENDER, col::EXPIRES, col::RECEIVED_TIME, col::PRIORITY, col::RUID];

fn publication(row: &Row<'_>) -> Publication {
    Publication {
        etag: row.text(0).to_vec(),
        body: row.text(1).to_vec(),
        sender: row.text(2).to_vec(),
        expires: Timestamp::from_column(row.int(3)),
        received: Timestamp::from_column(row.int(4)),
        priority: row.int(5),
        row_id: row.text(6).to_vec(),
    }
}

/// The next few publications behind a place, with documents or without.
pub fn publications(
    after: Place,
    wanted: &WantedPublications<'_>,
    documents: bool,
) -> Result<Page<ListedPublication>, Fault> {
    if settings().core.publ == PublMode::Memory {
        return Ok(shared().ok_or(Fault::Storage)?.list_publications(after, wanted));
    }
    let registry = packages::all();
    let of = [
        equal(col::USERNAME, wanted.user),
        equal(col::DOMAIN, wanted.host),
        equal(col::EVENT, wanted.package.map(|package| name_of(&registry, package))),
    ];
    let of = of.into_iter().flatten().collect();
    let mut columns = PUBLICATION.to_vec();
    if !documents {
        // Another column in its place: documents are large.
        columns[1] = col::RUID;
    }
    let own = columns.len();
    columns.extend(OWNER);
    let limit = if documents { PAGE } else { SLIM_PAGE };
    page(settings().presentity_table, &columns, own + 3, of, (after, limit), |place, row| {
        let (presentity, package) = owner(&registry, row, own)?;
        let publication = publication(row);
        let body = if documents { publication.body } else { Vec::new() };
        Some(ListedPublication { place, presentity, package, publication: Publication { body, ..publication } })
    })
}

/// Whose the next few publications in the table are.
pub fn presentities(after: Place) -> Result<Page<(Vec<u8>, PackageId)>, Fault> {
    let registry = packages::all();
    page(settings().presentity_table, &OWNER, 3, Vec::new(), (after, largest_page()), |_, row| owner(&registry, row, 0))
}

/// How many publications of a resource are in the table.
pub fn rows_of(registry: &[Package], resource: Resource<'_>) -> Result<u32, Fault> {
    let (mut count, mut next) = (0, Some(0));
    while let Some(after) = next {
        let of = publications::identity(registry, resource).to_vec();
        let limit = rows::LARGEST_PAGE;
        let page = page(settings().presentity_table, &[col::ID], 0, of, (after, limit), |_, _| Some(()))?;
        count += page.entries.len() as u32;
        next = page.next;
    }
    Ok(count)
}

/// Adds what is counted in the tables only, and sees whether the database answers.
pub fn add_rows(tally: &mut Tally) -> Result<(), Fault> {
    if !super::needs_database() {
        return Ok(());
    }
    let (settings, registry) = (settings(), packages::all());
    let package_of = |row: &Row<'_>| registry.iter().find(|p| p.name == row.text(0)).map(|p| p.id);
    if settings.core.subs == SubsMode::Database {
        let table = kamailio::str::show(settings.active_watchers_table);
        let statement = format!("SELECT event, status, COUNT(*) FROM {table} GROUP BY event, status");
        database::read(|db| {
            for row in db.command(&statement)?.iter() {
                if let (Some(package), Some(status)) = (package_of(&row), Status::from_number(row.int(1) as u32)) {
                    tally.of(package).add(status, row.int(2).unsigned_abs().into());
                }
            }
            Ok(())
        })?;
    }
    if settings.core.publ == PublMode::Database {
        let table = kamailio::str::show(settings.presentity_table);
        let statement = format!("SELECT event, COUNT(*) FROM {table} GROUP BY event");
        database::read(|db| {
            for row in db.command(&statement)?.iter() {
                if let Some(package) = package_of(&row) {
                    tally.of(package).publications += u64::from(row.int(1).unsigned_abs());
                }
            }
            Ok(())
        })?;
    }
    database::answers()
}
