//! `update_db_subs_timer`: takes what has expired out of another module's table of subscriptions, and writes the rest
//! to that module's database.

use super::subs::{copy_to, dialog_of, size_of_copy};
use super::tables::{Bucket, List, is};
use crate::host::now;
use crate::params::settings;
use crate::store::database::LAST_WAIT;
use crate::store::rows::NO_UPDATE;
use crate::store::schema as col;
use core::ffi::c_int;
use core::ptr::{NonNull, null_mut};
use kamailio::db::{Assign, Column, Condition, Lent, Op, Value};
use kamailio::entry::guard;
use kamailio::raw::{self, db_func_t, db1_con_t, shtable_t, subs_t};
use kamailio::str::{Str, bytes, show};
use kamailio::{log, shm};
use presence_core::time::Timestamp;
use std::cell::RefCell;
use std::time::Instant;

/// How many records are copied under one lock.
const BATCH: usize = 64;
/// After so many refusals in a row the database counts as gone until the next call.
const REFUSALS: usize = 3;

/// What to do about a subscription whose time is over: the owner of the table sends the last NOTIFY.
type Expired = Option<unsafe extern "C" fn(*mut subs_t) -> c_int>;

/// `update_db_subs_timer`. The caller's table is in use on the caller's connection.
///
/// `no_lock`: the server is about to stop. Locks are only tried, and nobody is told of what has expired.
///
/// DIFFERS: the C module runs SQL and the callback with the list locked.
pub unsafe extern "C" fn update_db_subs_timer(
    db: *mut db1_con_t,
    functions: *mut db_func_t,
    table: shtable_t,
    size: c_int,
    no_lock: c_int,
    expired: Expired,
) {
    guard("update_db_subs_timer", (), || {
        // SAFETY: the caller's own connection, with its driver's functions.
        let Some(db) = (unsafe { Lent::from_raw(db, functions) }) else {
            log!(Error, "update_db_subs_timer: no database");
            return;
        };
        let before = now().unix - settings().core.expires_offset;
        let mut flush = Flush { db, in_a_row: 0 };
        let mut over = Chain(null_mut());
        let until = Instant::now() + LAST_WAIT;
        for hash in 0..usize::try_from(size).unwrap_or(0) {
            // SAFETY: the caller's own table with this size.
            let Some(bucket) = (unsafe { Bucket::of(table, hash) }) else {
                log!(Error, "update_db_subs_timer: no table");
                return;
            };
            let patience = (no_lock != 0).then_some(until);
            if !flush.bucket(&bucket, before, patience, &mut over) {
                log!(Error, "a list of subscriptions was left out: a process holds its lock");
            }
        }
        let of = [Condition(col::EXPIRES, Op::Lt, Value::Int(before.column()))];
        if flush.db.delete(&of).is_err() {
            log!(Error, "expired subscriptions could not be deleted from the table");
        }
        over.tell(expired.filter(|_| no_lock == 0));
    });
}

/// Records that were taken out of the table, linked to each other; freed when dropped.
struct Chain(*mut subs_t);

impl Chain {
    fn push(&mut self, record: NonNull<subs_t>) {
        // SAFETY: unlinked from its list: ours.
        unsafe { (*record.as_ptr()).next = self.0 };
        self.0 = record.as_ptr();
    }

    fn tell(mut self, expired: Expired) {
        while let Some(record) = self.pop() {
            // SAFETY: the record is ours and lives through the call; freed once.
            unsafe {
                if expired.is_some_and(|tell| tell(record.as_ptr()) < 0) {
                    log!(
                        Error,
                        "the end of a subscription to {} could not be told",
                        show(bytes(&record.as_ref().pres_uri))
                    );
                }
                shm::free(record.as_ptr());
            }
        }
    }

    fn pop(&mut self) -> Option<NonNull<subs_t>> {
        let first = NonNull::new(self.0)?;
        // SAFETY: a record of this chain.
        unsafe {
            self.0 = first.as_ref().next;
            (*first.as_ptr()).next = null_mut();
        }
        Some(first)
    }
}

impl Drop for Chain {
    fn drop(&mut self) {
        while let Some(record) = self.pop() {
            // SAFETY: a record of this chain, freed once.
            unsafe { shm::free(record.as_ptr()) };
        }
    }
}

/// A record that is to be written, in this process's own memory.
struct Behind {
    block: Vec<u64>,
    /// How its row stood: `INSERTDB_FLAG` or `UPDATEDB_FLAG`.
    flag: c_int,
}

impl Behind {
    /// Copies a record and marks it as written, so that a change from now on marks it again.
    fn of(record: &mut subs_t) -> Self {
        // SAFETY: a locked record with its texts; the block has the size that they take, aligned for pointers.
        unsafe {
            let mut block = vec![0u64; size_of_copy(record).div_ceil(size_of::<u64>())];
            copy_to(block.as_mut_ptr().cast(), record);
            let flag = core::mem::replace(&mut record.db_flag, raw::NO_UPDATEDB_FLAG as c_int);
            Self { block, flag }
        }
    }

    fn subs(&self) -> &subs_t {
        // SAFETY: written by `of`.
        unsafe { &*self.block.as_ptr().cast() }
    }
}

const fn is_behind(flag: c_int) -> bool {
    flag == raw::INSERTDB_FLAG as c_int || flag == raw::UPDATEDB_FLAG as c_int
}

struct Flush<'c> {
    db: Lent<'c>,
    /// Refusals of the database in a row.
    in_a_row: usize,
}

impl Flush<'_> {
    /// One list. False if its lock could not be had.
    fn bucket(&mut self, bucket: &Bucket, before: Timestamp, patience: Option<Instant>, over: &mut Chain) -> bool {
        let lock = || -> Option<List<'_>> {
            match patience {
                None => Some(bucket.lock()),
                Some(until) => bucket.try_lock(until.saturating_duration_since(Instant::now())),
            }
        };
        let mut refused: Vec<Behind> = Vec::new();
        let mut batch: Vec<Behind> = Vec::with_capacity(BATCH);
        loop {
            {
                let Some(mut list) = lock() else { return false };
                while let Some(record) = list.take(|record| record.expires < before.0) {
                    over.push(record);
                }
                if self.in_a_row < REFUSALS {
                    // SAFETY: the links of a locked list lead to records.
                    let behind = list.links().map(|link| unsafe { &mut **link }).filter(|r| is_behind(r.db_flag));
                    batch.extend(behind.take(BATCH).map(Behind::of));
                }
            }
            let full = batch.len() == BATCH;
            for record in batch.drain(..) {
                if self.in_a_row == REFUSALS || !self.write(&record) {
                    refused.push(record);
                }
            }
            if !full || self.in_a_row == REFUSALS {
                break;
            }
        }
        if refused.is_empty() {
            return true;
        }
        let Some(mut list) = lock() else { return false };
        for record in refused {
            // SAFETY: texts of the copy.
            let dialog = unsafe { dialog_of(record.subs()) };
            if let Some(link) = list.find(|r| is(r, dialog)) {
                // SAFETY: a link of a locked list leads to a record.
                unsafe { (**link).db_flag = record.flag };
            }
        }
        true
    }

    /// Writes one row; false if the database refused.
    fn write(&mut self, record: &Behind) -> bool {
        let row = row(record.subs());
        let done = if record.flag == raw::INSERTDB_FLAG as c_int {
            self.insert(&row)
        } else {
            let of: Vec<Condition<'_>> = row.iter().take(KEYS).map(|a| Condition(a.0, Op::Eq, a.1)).collect();
            let set: Vec<Assign<'_>> = row.into_iter().filter(|a| CHANGING.contains(&a.0)).collect();
            self.db.update(&of, &set).is_ok()
        };
        self.in_a_row = if done { 0 } else { self.in_a_row + 1 };
        if !done {
            // SAFETY: a text of the copy.
            log!(Error, "a subscription to {} could not be written", show(unsafe { bytes(&record.subs().pres_uri) }));
        }
        done
    }

    /// DIFFERS: a table without them gets a row without the columns that only `active_watchers` has. The C module
    /// fails with `rls_watchers`.
    fn insert(&mut self, row: &[Assign<'_>]) -> bool {
        if !is_narrow(self.db.table()) {
            if self.db.insert(row).is_ok() {
                return true;
            }
            log!(Info, "the next try is without {} and {}", WIDE[0], WIDE[1]);
        }
        let narrow: Vec<Assign<'_>> = row.iter().filter(|a| !WIDE.contains(&a.0)).copied().collect();
        let done = self.db.insert(&narrow).is_ok();
        if done {
            NARROW.set(self.db.table().to_vec());
        }
        done
    }
}

/// What `rls_watchers` does not have.
const WIDE: [Column; 2] = [col::UPDATED_WINFO, col::USER_AGENT];

thread_local! {
    /// A table that took a row only without those: drivers do not say which columns an empty table has.
    static NARROW: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

fn is_narrow(table: &[u8]) -> bool {
    NARROW.with_borrow(|known| !known.is_empty() && known == table)
}

/// The first columns of [`row`], which name it.
const KEYS: usize = 4;

/// The columns that change in a row's life.
const CHANGING: [Column; 8] = [
    col::EXPIRES,
    col::STATUS,
    col::REASON,
    col::REMOTE_CSEQ,
    col::LOCAL_CSEQ,
    col::VERSION,
    col::CONTACT,
    col::RECORD_ROUTE,
];

/// A subscription as a row.
fn row(s: &subs_t) -> Vec<Assign<'_>> {
    // SAFETY: texts of the copy, which lives as long as the row; the name of a package stays.
    let text = |text: &Str| Value::Text(unsafe { bytes(text) });
    let number = |n: u32| Value::Int(n as i32);
    // SAFETY: null or a package.
    let event = unsafe { s.event.as_ref() }.map_or(Value::Text(b""), |event| text(&event.name));
    let mut row: Vec<Assign<'_>> = [
        (col::PRESENTITY_URI, &s.pres_uri),
        (col::CALLID, &s.callid),
        (col::TO_TAG, &s.to_tag),
        (col::FROM_TAG, &s.from_tag),
        (col::TO_USER, &s.to_user),
        (col::TO_DOMAIN, &s.to_domain),
        (col::FROM_USER, &s.from_user),
        (col::FROM_DOMAIN, &s.from_domain),
        (col::WATCHER_USERNAME, &s.watcher_user),
        (col::WATCHER_DOMAIN, &s.watcher_domain),
        (col::REASON, &s.reason),
        (col::RECORD_ROUTE, &s.record_route),
        (col::CONTACT, &s.contact),
        (col::LOCAL_CONTACT, &s.local_contact),
        (col::SOCKET_INFO, &s.sockinfo_str),
        (col::USER_AGENT, &s.user_agent),
    ]
    .map(|(column, value)| Assign(column, text(value)))
    .into();
    row.extend([
        Assign(col::EVENT, event),
        // SAFETY: as above.
        Assign(col::EVENT_ID, Value::text_if_any(unsafe { bytes(&s.event_id) })),
        Assign(col::LOCAL_CSEQ, number(s.local_cseq)),
        Assign(col::REMOTE_CSEQ, number(s.remote_cseq)),
        Assign(col::EXPIRES, Value::Int(Timestamp(s.expires).column())),
        Assign(col::STATUS, number(s.status)),
        Assign(col::VERSION, Value::Int(s.version)),
        Assign(col::UPDATED, Value::Int(NO_UPDATE)),
        Assign(col::UPDATED_WINFO, Value::Int(NO_UPDATE)),
    ]);
    row
}
