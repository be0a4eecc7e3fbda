//! Rows of `active_watchers`.

use super::database;
use super::engine::Engine;
use super::schema as col;
use crate::abi::packages;
use crate::params::settings;
use kamailio::db::{Assign, Column, Condition, Connection, Failed, Op, Row, Value};
use presence_core::dialog::DialogId;
use presence_core::package::name_of;
use presence_core::refusal::Fault;
use presence_core::row;
use presence_core::store::listing::Place;
use presence_core::subscription::{Field, Subscription};
use presence_core::time::Timestamp;

/// What the C module writes where no notifier has anything to do.
pub const NO_UPDATE: i32 = -1;

/// Columns that are read, in the order of [`row::subscription`].
pub const COLUMNS: [Column; 26] = [
    col::TO_USER,
    col::TO_DOMAIN,
    col::FROM_USER,
    col::FROM_DOMAIN,
    col::WATCHER_USERNAME,
    col::WATCHER_DOMAIN,
    col::TO_TAG,
    col::FROM_TAG,
    col::CALLID,
    col::SOCKET_INFO,
    col::CONTACT,
    col::LOCAL_CONTACT,
    col::RECORD_ROUTE,
    col::REASON,
    col::USER_AGENT,
    col::EVENT_ID,
    col::PRESENTITY_URI,
    col::EVENT,
    col::LOCAL_CSEQ,
    col::REMOTE_CSEQ,
    col::EXPIRES,
    col::STATUS,
    col::VERSION,
    col::FLAGS,
    col::ID,
    col::UPDATED,
];

/// The largest page of any table: rows take about 3 KB of private memory each, and a query that exhausts it can stop
/// the server.
pub const LARGEST_PAGE: usize = 500;

/// Place of the `id` column in [`COLUMNS`].
pub const ID_AT: usize = 24;

/// A row as a subscription; none if its package is not registered, or the row is not whole.
pub fn from_row(row: &Row<'_>) -> Option<Subscription> {
    row::subscription(|column| row.text(column), |column| row.int(column), packages::by_name)
}

fn number(n: u32) -> Value<'static> {
    Value::Int(n as i32)
}

/// A text of a subscription as its column holds it: not there where the C module has nothing to write.
fn text(s: &Subscription, field: Field) -> Value<'_> {
    match field {
        Field::RecordRoute | Field::Reason => Value::text_if_any(s.text(field)),
        _ => Value::Text(s.text(field)),
    }
}

/// A subscription as a row.
pub fn insert(db: &mut Connection, s: &Subscription, ahead: u32) -> Result<(), Failed> {
    let registry = packages::all();
    let event = name_of(&registry, s.package);
    let user_agent = super::widths::user_agent(s.text(Field::UserAgent));
    let event_id = super::widths::event_params(row::event_column(s), s.event_id());
    let mut row: Vec<Assign<'_>> =
        COLUMNS.iter().zip(row::TEXTS).map(|(column, field)| Assign(column, text(s, field))).collect();
    row.extend([
        Assign(col::USER_AGENT, Value::Text(&user_agent)),
        Assign(col::EVENT_ID, Value::text_if_any(&event_id)),
        Assign(col::PRESENTITY_URI, Value::Text(&s.presentity)),
        Assign(col::EVENT, Value::Text(event)),
        Assign(col::LOCAL_CSEQ, number(s.local_cseq.wrapping_add(ahead))),
        Assign(col::REMOTE_CSEQ, number(s.remote_cseq)),
        Assign(col::EXPIRES, Value::Int(s.expires.column())),
        Assign(col::STATUS, Value::Int(s.status as i32)),
        Assign(col::VERSION, number(s.version.wrapping_add(ahead))),
        Assign(col::FLAGS, number(s.branch_flags)),
        Assign(col::UPDATED, Value::Int(NO_UPDATE)),
        Assign(col::UPDATED_WINFO, Value::Int(NO_UPDATE)),
    ]);
    if database::is_sqlite() {
        // What the table fills in by itself: each column costs SQLite some 5,000 instructions.
        row.retain(|Assign(column, value)| match *column {
            col::USER_AGENT => *value != Value::Text(b""),
            col::FLAGS => *value != Value::Int(0),
            _ => *value != Value::Absent,
        });
    }
    db.insert(settings().active_watchers_table, &row).or_else(|failed| {
        // The driver repeats what it has lost the answer to: then the row is there.
        let found = db.query(settings().active_watchers_table, &COLUMNS, &identity(s.texts.dialog()), None)?;
        let is_own = |row: Row<'_>| {
            from_row(&row).is_some_and(|row| {
                let numbers = (row.local_cseq, row.remote_cseq, row.expires);
                numbers == (s.local_cseq.wrapping_add(ahead), s.remote_cseq, s.expires)
            })
        };
        if found.iter().any(is_own) { Ok(()) } else { Err(failed) }
    })
}

/// The conditions that name a dialog's row.
pub fn identity<'a>(dialog: DialogId<'a>) -> [Condition<'a>; 3] {
    [
        Condition(col::CALLID, Op::Eq, Value::Text(dialog.call_id)),
        Condition(col::TO_TAG, Op::Eq, Value::Text(dialog.to_tag)),
        Condition(col::FROM_TAG, Op::Eq, Value::Text(dialog.from_tag)),
    ]
}

/// Writes what changes in a row's life, where these conditions hold.
pub fn update(db: &mut Connection, s: &Subscription, ahead: u32, of: &[Condition<'_>]) -> Result<(), Failed> {
    let set = [
        Assign(col::EXPIRES, Value::Int(s.expires.column())),
        Assign(col::STATUS, Value::Int(s.status as i32)),
        Assign(col::REASON, text(s, Field::Reason)),
        Assign(col::REMOTE_CSEQ, number(s.remote_cseq)),
        Assign(col::LOCAL_CSEQ, number(s.local_cseq.wrapping_add(ahead))),
        Assign(col::VERSION, number(s.version.wrapping_add(ahead))),
        Assign(col::CONTACT, Value::Text(s.text(Field::Contact))),
    ];
    db.update(settings().active_watchers_table, of, &set)
}

/// Writes what changes in a row's life; a row that is not there any more (the table was made anew) is written whole.
pub fn write(db: &mut Connection, s: &Subscription, ahead: u32) -> Result<(), Failed> {
    let of = identity(s.texts.dialog());
    update(db, s, ahead, &of)?;
    if database::changed_rows(db) != Some(0) {
        return Ok(());
    }
    // MySQL counts 0 as well where the row had these values.
    let is_there = !db.query(settings().active_watchers_table, &[col::ID], &of, None)?.is_empty();
    if is_there { Ok(()) } else { insert(db, s, ahead) }
}

/// Puts rows ahead of their subscriptions, a page at a time: `local_cseq` and `version` become higher by so much.
pub fn put_ahead(rows: &[&(Place, Subscription)], by: u32) -> Result<(), Fault> {
    let fits = |number: u32| number.checked_add(by).is_some_and(|sum| i32::try_from(sum).is_ok());
    let has_sql = database::engine() != Engine::Other;
    let in_one = |row: &&(Place, Subscription)| has_sql && fits(row.1.local_cseq) && fits(row.1.version);
    let (together, single): (Vec<&(Place, Subscription)>, Vec<_>) = rows.iter().copied().partition(in_one);
    if rows.is_empty() {
        return Ok(());
    }
    database::write(|db| {
        if !together.is_empty() {
            let table = kamailio::str::show(settings().active_watchers_table);
            let ids: Vec<String> = together.iter().map(|(id, _)| id.to_string()).collect();
            let set = format!("local_cseq=local_cseq+{by}, version=version+{by}");
            db.command(&format!("UPDATE {table} SET {set} WHERE id IN ({})", ids.join(",")))?;
        }
        single.iter().try_for_each(|(_, s)| update(db, s, by, &identity(s.texts.dialog())))
    })
}

/// Deletes a dialog's row.
pub fn delete(db: &mut Connection, dialog: DialogId<'_>) -> Result<(), Failed> {
    db.delete(settings().active_watchers_table, &identity(dialog))
}

/// Deletes the rows of subscriptions that ran out before this time.
pub fn delete_expired(before: Timestamp) -> Result<(), Fault> {
    database::write(|db| {
        let of = [Condition(col::EXPIRES, Op::Lt, Value::Int(before.column()))];
        db.delete(settings().active_watchers_table, &of)
    })
}
