//! The table `active_watchers` as the book of subscriptions (`subs_db_mode` 3).

use super::schema as col;
use super::{database, listing, rows};
use crate::abi::packages;
use crate::params::settings;
use kamailio::db::{Condition, Connection, Failed, Op, Part, Row, Value};
use presence_core::dialog::DialogId;
use presence_core::host::{Counted, Resource};
use presence_core::package::Package;
use presence_core::refusal::Fault;
use presence_core::store::{Ledger, Rows, Swap};
use presence_core::subscription::Subscription;
use presence_core::time::Timestamp;

/// How many pages of nothing but broken rows are taken out at once.
const BROKEN_PAGES: usize = 16;

/// The table of this process's connection.
#[derive(Debug)]
pub struct Table;

fn table() -> &'static [u8] {
    settings().active_watchers_table
}

fn number(column: kamailio::db::Column, value: u32) -> Condition<'static> {
    Condition(column, Op::Eq, Value::Int(value as i32))
}

fn of_resource<'a>(package: &'a Package, resource: Resource<'a>) -> [Condition<'a>; 2] {
    [
        Condition(col::PRESENTITY_URI, super::uri_op(), Value::Text(resource.uri)),
        Condition(col::EVENT, Op::Eq, Value::Text(&package.name)),
    ]
}

fn of_watcher<'a>(user: &'a [u8], domain: &'a [u8]) -> [Condition<'a>; 2] {
    [
        Condition(col::WATCHER_USERNAME, Op::Eq, Value::Text(user)),
        Condition(col::WATCHER_DOMAIN, Op::Eq, Value::Text(domain)),
    ]
}

fn swap(db: &mut Connection, change: &Swap) -> Result<bool, Failed> {
    let (local, remote) = change.was;
    let [call_id, to_tag, from_tag] = rows::identity(change.now.texts.dialog());
    let of = [call_id, to_tag, from_tag, number(col::LOCAL_CSEQ, local), number(col::REMOTE_CSEQ, remote)];
    rows::update(db, &change.now, 0, &of)?;
    if was_there(db)? {
        return Ok(true);
    }
    // A refresh with the same CSeq (`cseq_offset`) or a decision that stands may change nothing: MySQL counts 0 then,
    // and the row is as expected all the same.
    if (change.now.local_cseq, change.now.remote_cseq) != change.was {
        return Ok(false);
    }
    db.query(table(), &[col::ID], &of, None).map(|rows| !rows.is_empty())
}

/// Whether the last statement found its row. A driver that cannot say has to be believed.
fn was_there(db: &mut Connection) -> Result<bool, Failed> {
    Ok(database::changed_rows(db) != Some(0))
}

impl Ledger for Table {
    fn find(&mut self, dialog: DialogId<'_>) -> Result<Option<Subscription>, Fault> {
        database::read(|db| {
            let found = db.query(table(), &rows::COLUMNS, &rows::identity(dialog), None)?;
            Ok(found.iter().find_map(|row| rows::from_row(&row)))
        })
    }

    fn insert(&mut self, subscription: &Subscription) -> Result<(), Fault> {
        database::write_all(|db| rows::insert(db, subscription, 0))
    }

    fn swap(&mut self, changes: &[Swap]) -> Result<Vec<bool>, Fault> {
        match changes {
            [] => Ok(Vec::new()),
            [one] => Ok(vec![database::write(|db| swap(db, one))?]),
            many => database::write_together(|db| many.iter().map(|change| swap(db, change)).collect()),
        }
    }

    fn delete(&mut self, dialog: DialogId<'_>, known: Option<&Subscription>) -> Result<bool, Fault> {
        let mut of = rows::identity(dialog).to_vec();
        if let Some(known) = known {
            of.push(number(col::LOCAL_CSEQ, known.local_cseq));
            of.push(Condition(col::EXPIRES, Op::Eq, Value::Int(known.expires.column())));
        }
        database::write(|db| {
            db.delete(table(), &of)?;
            was_there(db)
        })
    }

    fn page(&mut self, rows: &Rows<'_>, after: i32, limit: usize) -> Result<(Vec<Subscription>, Option<i32>), Fault> {
        let registry = packages::all();
        let package = rows.resource.package.of(&registry).ok_or(Fault::Package)?;
        let mut of = of_resource(package, rows.resource).to_vec();
        if let Some((user, domain)) = rows.watcher {
            of.extend(of_watcher(user, domain));
        }
        if let Some(call_id) = rows.call_id {
            of.push(Condition(col::CALLID, Op::Eq, Value::Text(call_id)));
        }
        let whole = |_, row: &Row<'_>| rows::from_row(row);
        let page = listing::page(table(), &rows::COLUMNS, rows::ID_AT, of, (after.unsigned_abs(), limit), whole)?;
        Ok((page.entries, page.next.map(|last| last as i32)))
    }

    fn count(&mut self, of: Counted<'_>, enough: u32) -> Result<u32, Fault> {
        let registry = packages::all();
        let named = match of {
            Counted::Resource(resource) => {
                let package = resource.package.of(&registry).ok_or(Fault::Package)?;
                of_resource(package, resource)
            }
            Counted::Watcher(user, host) => of_watcher(user, host),
        };
        let (mut count, mut after) = (0, 0);
        while count < enough {
            let limit = rows::LARGEST_PAGE.min((enough - count) as usize);
            // The drivers have no word for COUNT: the numbers of the rows are read, and no further than it matters.
            let page = listing::page(table(), &[col::ID], 0, named.to_vec(), (after, limit), |_, _| Some(()))?;
            count += page.entries.len() as u32;
            let Some(next) = page.next else { break };
            after = next;
        }
        Ok(count.min(enough))
    }

    fn expired(&mut self, before: Timestamp, limit: usize) -> Result<Vec<Subscription>, Fault> {
        let of = [Condition(col::EXPIRES, Op::Lt, Value::Int(before.column()))];
        for _ in 0..BROKEN_PAGES {
            let (whole, broken) = database::read(|db| {
                let part = Part { by: b"id", rows: limit, after: 0 };
                let found = db.query(table(), &rows::COLUMNS, &of, Some(part))?;
                let (mut whole, mut broken) = (Vec::new(), Vec::new());
                for row in found.iter() {
                    match rows::from_row(&row) {
                        Some(subscription) => whole.push(subscription),
                        None => broken.push(row.int(rows::ID_AT)),
                    }
                }
                Ok((whole, broken))
            })?;
            // Nobody can be told of these; left where they are they would hide the others.
            let gone = |id: &i32| [Condition(col::ID, Op::Eq, Value::Int(*id)), of[0]];
            if !broken.is_empty() {
                database::write(|db| broken.iter().try_for_each(|id| db.delete(table(), &gone(id))))?;
            }
            if broken.is_empty() || !whole.is_empty() {
                return Ok(whole);
            }
        }
        Ok(Vec::new())
    }
}
