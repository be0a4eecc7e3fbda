//! Publications in the table `presentity` (`publ_cache` 0 and 1).

use super::schema as col;
use super::{Shared, database};
use crate::host::now;
use crate::params::settings;
use kamailio::db::{Assign, Column, Condition, Connection, Failed, Op, Part, Row, Value};
use kamailio::log;
use kamailio::str::show;
use presence_core::body::{self, About};
use presence_core::config::{PublMode, RetrieveOrder};
use presence_core::host::{Change, Expired, Publication, Publications, Resource, Shown};
use presence_core::package::{Package, PackageId, name_of};
use presence_core::refusal::{Fault, Refusal};
use presence_core::time::{Now, Timestamp};
use presence_core::uri::{sip_uri, split_sip_uri};
use std::cell::Cell;
use std::rc::Rc;

/// Rows with documents that are read at a time: so many of the largest fit into a small pool of private memory.
pub const PAGE: usize = 16;
/// Rows without documents that are read at a time.
pub const SLIM_PAGE: usize = 50;

/// The table, with the index of who has something in it.
#[derive(Debug)]
pub struct Table {
    /// Where the index is.
    pub store: &'static Shared,
    /// The packages.
    pub packages: Rc<[Package]>,
    /// The clocks when the input came.
    pub now: Now,
}

/// What [`Shown`] is read from: each further column costs SQLite some 15,000 instructions.
const COLUMNS: [Column; 4] = [col::BODY, col::SENDER, col::EXPIRES, col::RECEIVED_TIME];

fn shown(row: &Row<'_>) -> Shown {
    Shown {
        body: row.text(0).to_vec(),
        sender: row.text(1).to_vec(),
        expires: Timestamp::from_column(row.int(2)),
        received: Timestamp::from_column(row.int(3)),
    }
}

fn table() -> &'static [u8] {
    settings().presentity_table
}

/// The conditions that name a resource's rows.
pub fn identity<'a>(packages: &'a [Package], resource: Resource<'a>) -> [Condition<'a>; 3] {
    let (user, host) = split_sip_uri(resource.uri);
    let event = name_of(packages, resource.package);
    [
        Condition(col::DOMAIN, super::uri_op(), Value::Text(host)),
        Condition(col::USERNAME, super::uri_op(), Value::Text(user)),
        Condition(col::EVENT, Op::Eq, Value::Text(event)),
    ]
}

impl Table {
    fn is_indexed(&self) -> bool {
        settings().core.publ == PublMode::Indexed
    }

    /// The conditions that name a resource's rows.
    fn of<'a>(&'a self, resource: Resource<'a>) -> [Condition<'a>; 3] {
        identity(&self.packages, resource)
    }

    /// The conditions that name a publication's row.
    fn named<'a>(&'a self, resource: Resource<'a>, etag: &'a [u8]) -> [Condition<'a>; 4] {
        let [domain, user, event] = self.of(resource);
        [domain, user, event, Condition(col::ETAG, Op::Eq, Value::Text(etag))]
    }

    fn put(&self, db: &mut Connection, resource: Resource<'_>, p: &Publication) -> Result<(), Failed> {
        let [Condition(_, _, domain), Condition(_, _, user), Condition(_, _, event)] = self.of(resource);
        let row = [
            Assign(col::DOMAIN, domain),
            Assign(col::USERNAME, user),
            Assign(col::EVENT, event),
            Assign(col::ETAG, Value::Text(&p.etag)),
            Assign(col::SENDER, Value::Text(&p.sender)),
            Assign(col::BODY, Value::Blob(&p.body)),
            Assign(col::RECEIVED_TIME, Value::Int(p.received.column())),
            Assign(col::RUID, Value::Text(&p.row_id)),
            Assign(col::EXPIRES, Value::Int(p.expires.column())),
            Assign(col::PRIORITY, Value::Int(p.priority)),
        ];
        // A priority of 0 the table fills in by itself.
        let filled_in = usize::from(p.priority == 0 && super::database::is_sqlite());
        db.insert(table(), &row[..row.len() - filled_in]).or_else(|failed| {
            // The driver repeats what it has lost the answer to: then the row is there, and its tag is nobody else's.
            let own = db.query(table(), &[col::ETAG], &self.named(resource, &p.etag), None)?;
            if own.is_empty() { Err(failed) } else { Ok(()) }
        })
    }

    /// All rows of a resource, a page at a time, in the order in which they are combined.
    fn rows<T>(
        &self,
        resource: Resource<'_>,
        columns: &[Column],
        read: impl Fn(&Row<'_>) -> T,
    ) -> Result<Vec<T>, Fault> {
        let order = match &settings().core.order {
            RetrieveOrder::ReceivedTime => "received_time, id".to_owned(),
            RetrieveOrder::Columns(columns) => format!("{}, id", String::from_utf8_lossy(columns)),
        };
        let mut all = Vec::new();
        loop {
            let part = Part { by: order.as_bytes(), rows: PAGE, after: all.len() };
            let page = database::read(|db| {
                let rows = db.query(table(), columns, &self.of(resource), Some(part))?;
                Ok(rows.iter().map(|row| read(&row)).collect::<Vec<_>>())
            })?;
            let last = page.len() < PAGE || !database::knows_parts();
            all.extend(page);
            if last {
                return Ok(all);
            }
        }
    }

    /// The row of a resource that has one, in no order and to no limit: these make up half of what the query costs.
    fn single(&self, resource: Resource<'_>) -> Result<Vec<Shown>, Fault> {
        let found = database::read(|db| {
            let rows = db.query(table(), &COLUMNS, &self.of(resource), None)?;
            Ok((rows.len() <= 1).then(|| rows.get(0).map(|row| shown(&row))))
        })?;
        match found {
            Some(row) => Ok(row.into_iter().collect()),
            // Another server writes to the table, too.
            None => self.rows(resource, &COLUMNS, shown),
        }
    }

    /// In a transaction: takes the publications away in whose place one comes that is `about` this
    /// ([`Publications::insert`]). How many there were, and the document that stays.
    fn take_out(
        &self,
        db: &mut Connection,
        resource: Resource<'_>,
        about: &About,
    ) -> Result<(usize, Option<Vec<u8>>), Failed> {
        let (mut tags, mut over, mut seen) = (Vec::new(), None, 0);
        loop {
            let part = Part { by: b"id", rows: PAGE, after: seen };
            let rows = db.query(table(), &[col::ETAG, col::BODY, col::EXPIRES], &self.of(resource), Some(part))?;
            for row in rows.iter() {
                let Some(found) = body::about(row.text(1)).filter(|found| found.dialog.may_be(&about.dialog)) else {
                    continue;
                };
                let lives = Timestamp::from_column(row.int(2)) > self.now.unix;
                if found.is_over && lives && !about.is_over {
                    over = Some((row.text(0).to_vec(), row.text(1).to_vec()));
                }
                tags.push(row.text(0).to_vec());
            }
            seen += rows.len();
            if rows.len() < PAGE || !database::knows_parts() {
                break;
            }
        }
        let document = over.map(|(tag, document)| {
            tags = vec![tag];
            document
        });
        let mut gone = 0;
        for tag in &tags {
            db.delete(table(), &self.named(resource, tag))?;
            gone += database::changed_rows(db).unwrap_or(1);
        }
        Ok((gone, document))
    }

    /// In a transaction: puts a publication there instead of others. How many these were.
    fn put_instead(
        &self,
        db: &mut Connection,
        resource: Resource<'_>,
        p: &Publication,
        replace: bool,
        about: Option<&About>,
    ) -> Result<usize, Failed> {
        let mut gone = 0;
        if replace {
            db.delete(table(), &self.named(resource, &p.etag))?;
            gone += database::changed_rows(db).unwrap_or(1);
        }
        let over = match about {
            Some(about) => {
                let (taken, over) = self.take_out(db, resource, about)?;
                gone += taken;
                over
            }
            None => None,
        };
        match over {
            Some(body) => self.put(db, resource, &Publication { body, ..p.clone() })?,
            None => self.put(db, resource, p)?,
        }
        Ok(gone)
    }

    fn unindex(&self, resource: Resource<'_>, count: usize) {
        if self.is_indexed() {
            (0..count).for_each(|_| self.store.unindex_publication(resource));
        }
    }

    /// Deletes the publication with this tag. False if another one was faster.
    fn delete(&self, resource: Resource<'_>, etag: &[u8]) -> Result<bool, Fault> {
        database::write(|db| {
            db.delete(table(), &self.named(resource, etag))?;
            Ok(database::changed_rows(db) != Some(0))
        })
    }
}

impl Publications for Table {
    fn insert(
        &mut self,
        resource: Resource<'_>,
        p: &Publication,
        replace: bool,
        about: Option<&About>,
    ) -> Result<(), Refusal> {
        if self.is_indexed() {
            self.store.index_publication(resource)?;
        }
        let attempts = Cell::new(0);
        let put = |db: &mut Connection| {
            attempts.set(attempts.get() + 1);
            self.put_instead(db, resource, p, replace, about)
        };
        let written = match about {
            // Two that are about one dialog must not both find that there is none yet.
            Some(_) => database::write_alone(resource.uri, put),
            None if replace => database::write_together(put),
            None => database::write(|db| self.put(db, resource, p)).map(|()| 0),
        };
        match written {
            Ok(gone) => {
                // What an attempt took out whose outcome could not be read was counted by nobody. A count that is too high
                // costs a query, one that is too low hides a document.
                self.unindex(resource, if attempts.get() > 1 { 0 } else { gone });
                Ok(())
            }
            Err(fault) => {
                self.unindex(resource, 1);
                log!(Error, "a publication of {} could not be written", show(resource.uri));
                Err(fault.into())
            }
        }
    }

    fn modify(&mut self, resource: Resource<'_>, etag: &[u8], change: &Change<'_>) -> Result<bool, Refusal> {
        let mut set = vec![
            Assign(col::ETAG, Value::Text(change.etag)),
            Assign(col::EXPIRES, Value::Int(change.expires.column())),
            Assign(col::RECEIVED_TIME, Value::Int(change.received.column())),
            Assign(col::PRIORITY, Value::Int(change.priority)),
        ];
        set.extend(change.body.map(|body| Assign(col::BODY, Value::Blob(body))));
        set.extend(change.sender.map(|sender| Assign(col::SENDER, Value::Text(sender))));
        let may_come_back = change.body.is_none() && settings().core.hide_expired && database::counts_rows();
        if may_come_back {
            // What is still shown stays as it is: nobody has to be told.
            let refreshed = database::write(|db| {
                let [domain, user, event, tag] = self.named(resource, etag);
                let lives = Condition(col::EXPIRES, Op::Gt, Value::Int(now().unix.column()));
                db.update(table(), &[domain, user, event, tag, lives], &set)?;
                Ok(database::changed_rows(db))
            })?;
            if refreshed.is_some_and(|rows| rows > 0) {
                return Ok(false);
            }
        }
        let changed = database::write(|db| {
            db.update(table(), &self.named(resource, etag), &set)?;
            Ok(database::changed_rows(db))
        })?;
        // Some drivers count rows that got another value; and one that has lost the answer asks again, and changes nothing.
        let found = changed.is_some_and(|rows| rows > 0) || self.get(resource, change.etag)?.is_some();
        if found { Ok(change.body.is_some() || may_come_back) } else { Err(Refusal::ConditionFailed) }
    }

    fn remove(&mut self, resource: Resource<'_>, etag: &[u8]) -> Result<Shown, Refusal> {
        let gone = self.get(resource, etag)?.ok_or(Refusal::ConditionFailed)?;
        if !self.delete(resource, etag)? {
            return Err(Refusal::ConditionFailed);
        }
        self.unindex(resource, 1);
        Ok(gone)
    }

    fn get(&mut self, resource: Resource<'_>, etag: &[u8]) -> Result<Option<Shown>, Fault> {
        database::read(|db| {
            let rows = db.query(table(), &COLUMNS, &self.named(resource, etag), None)?;
            Ok(rows.get(0).map(|row| shown(&row)))
        })
    }

    fn is_only(&mut self, resource: Resource<'_>) -> bool {
        self.is_indexed() && self.store.indexed(resource) == Ok(1)
    }

    fn all(&mut self, resource: Resource<'_>) -> Result<Vec<Shown>, Fault> {
        let mut all = match self.is_indexed().then(|| self.store.indexed(resource)) {
            Some(Ok(0)) => return Ok(Vec::new()),
            Some(Ok(1)) => self.single(resource)?,
            _ => self.rows(resource, &COLUMNS, shown)?,
        };
        if settings().core.hide_expired {
            all.retain(|p| p.expires > self.now.unix);
        }
        Ok(all)
    }

    fn expire(
        &mut self,
        budget: usize,
        wanted: &dyn Fn(PackageId) -> bool,
        ready: &mut dyn FnMut(Resource<'_>) -> bool,
    ) -> Result<Vec<Expired>, Fault> {
        let mut over = Vec::new();
        while over.len() < budget {
            let limit = SLIM_PAGE.min(budget - over.len());
            let due = self.due(limit)?;
            let (all, before) = (due.len() < limit, over.len());
            for [user, domain, event, etag] in due {
                let uri = sip_uri(&user, &domain);
                let package = self.packages.iter().find(|p| p.name == event).map(|p| p.id);
                let Some(package) = package else {
                    self.delete_foreign(&user, &domain, &event, &etag)?;
                    continue;
                };
                let resource = Resource { uri: &uri, package };
                if !ready(resource) {
                    return Ok(over);
                }
                let shown = if wanted(package) { self.get(resource, &etag)? } else { None };
                if self.delete(resource, &etag)? {
                    self.unindex(resource, 1);
                    over.push(Expired { uri, package, shown });
                }
            }
            // A page of which nothing could be taken away would come again and again.
            if all || over.len() == before {
                break;
            }
        }
        Ok(over)
    }

    fn is_exclusive(&self) -> bool {
        false
    }
}

impl Table {
    /// Rows that ran out, at most so many: user, domain, event, tag.
    fn due(&self, limit: usize) -> Result<Vec<[Vec<u8>; 4]>, Fault> {
        let columns = [col::USERNAME, col::DOMAIN, col::EVENT, col::ETAG];
        let part = Part { by: b"id", rows: limit, after: 0 };
        let of = [
            Condition(col::EXPIRES, Op::Lt, Value::Int(self.now.unix.column())),
            Condition(col::EXPIRES, Op::Gt, Value::Int(0)),
        ];
        database::read(|db| {
            let rows = db.query(table(), &columns, &of, Some(part))?;
            Ok(rows.iter().map(|row| [0, 1, 2, 3].map(|i| row.text(i).to_vec())).collect())
        })
    }

    /// Deletes a row of a package that is not registered.
    fn delete_foreign(&self, user: &[u8], domain: &[u8], event: &[u8], etag: &[u8]) -> Result<(), Fault> {
        log!(Warning, "a publication for \"{}\" has expired, and there is no such package", show(event));
        database::write(|db| {
            let of = [
                Condition(col::USERNAME, Op::Eq, Value::Text(user)),
                Condition(col::DOMAIN, Op::Eq, Value::Text(domain)),
                Condition(col::EVENT, Op::Eq, Value::Text(event)),
                Condition(col::ETAG, Op::Eq, Value::Text(etag)),
            ];
            db.delete(table(), &of)
        })
    }
}
