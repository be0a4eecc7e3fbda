//! What happens by itself: sweeps of what has expired, flushes, NOTIFYs that wait for their time.

use crate::commands::with_server;
use crate::params::settings;
use crate::store::{self, database, rows};
use crate::{auth, direct, host};
use kamailio::bell::Bell;
use kamailio::lock::Gate;
use kamailio::log;
use kamailio::timer;
use presence_core::config::SubsMode;
use presence_core::refusal::Fault;
use presence_core::store::{Row, RowState};
use presence_core::time::Seconds;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Dialogs of one tick, and changes that are told until dialogs are looked at again.
const PER_TICK: usize = 1000;
const CHANGES: usize = 8;
/// Milliseconds between two looks at the connections.
const LOOK: u64 = 1000;
/// Rows of one transaction.
const ROWS: usize = 100;
/// After how many rows in a row that cannot be written the database counts as gone.
const REFUSALS: usize = 3;
/// How long the last flush may take: the host kills what has not ended after 60 s.
const LAST_FLUSH: Duration = Duration::from_secs(30);

/// How long a row that has expired may stay in mode 3, until it is deleted without a word.
const LEFT_TO_OTHERS: Seconds = Seconds(60);

/// Held by the process that flushes.
static FLUSH: OnceLock<Gate> = OnceLock::new();

/// Wakes a notifier.
static BELL: OnceLock<Bell> = OnceLock::new();

/// A notifier has something to do at once.
pub fn wake() {
    if let Some(bell) = BELL.get() {
        bell.ring();
    }
}

/// Registers the timers and the processes; in `mod_init`.
pub fn register() -> bool {
    let settings = settings();
    let Some(gate) = Gate::create() else {
        log!(Error, "no shared memory for the flush: start the server with more (-m)");
        return false;
    };
    let bell = match Bell::create() {
        Ok(bell) => bell,
        Err(error) => {
            log!(Error, "nothing to wake notifiers with: {error}");
            return false;
        }
    };
    let mut fine = FLUSH.set(gate).is_ok() && BELL.set(bell).is_ok();
    if let Some(period) = settings.clean_period {
        fine &= timer::register(settings.timer, clean, period);
    }
    if let Some(period) = settings.db_update_period {
        fine &= timer::register(settings.timer, update, period);
    }
    fine &= timer::announce_processes((settings.notifiers + direct::processes()) as i32);
    if !fine {
        log!(Error, "the timers could not be registered");
    }
    fine
}

/// Forks the processes; in `child_init` of the main process.
pub fn fork() -> bool {
    let direct = (0..direct::processes()).all(|_| timer::fork_forever("PRESENCE DIRECT", direct::look_after));
    let notifiers = (0..settings().notifiers).all(|n| {
        // One is enough to look after the connections.
        let job = if n == 0 { look_and_tick } else { tick };
        timer::fork_forever(&format!("PRESENCE NOTIFIER {n}"), job)
    });
    direct && notifiers
}

/// The first notifier's: once a second, ends what came over connections that are gone (`expire_on_close`).
fn look_and_tick() {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    if let Some(ties) = store::ties() {
        let now = host::now();
        if now.steady.0 >= NEXT.load(Ordering::Relaxed) {
            let mut left = PER_TICK;
            let all = ties.cut(now.unix, kamailio::tcp::exists, |what| {
                with_server(None, |server| server.cut(what));
                left -= 1;
                left > 0
            });
            // The rest with the next tick.
            NEXT.store(if all { now.steady.0 + LOOK } else { 0 }, Ordering::Relaxed);
        }
    }
    tick();
}

/// Waits, and sends what waits: NOTIFYs that were kept back or whose predecessor was not answered, changes that were put
/// off or handed over.
fn tick() {
    if let Some(bell) = BELL.get() {
        bell.wait(settings().poll_interval);
    }
    let (more, _) = with_server(None, |server| {
        server.go_on_with_overdue(PER_TICK);
        server.tell_postponed(CHANGES)
    });
    if more == Some(true) {
        wake();
    }
}

/// `clean_period`: publications and watchers who wait.
fn clean() {
    auth::clean();
    while with_server(None, |server| server.expire_publications()).0 == Some(true) {}
}

/// `db_update_period`: subscriptions.
fn update() {
    while with_server(None, |server| server.expire_subscriptions()).0 == Some(true) {}
    flush(true);
}

/// Both, now.
pub fn sweep_all() {
    clean();
    update();
}

/// Writes rows that are behind and deletes those that have expired. `goes_on`: the server does.
fn flush(goes_on: bool) {
    if settings().core.subs == SubsMode::Memory || !database::is_open() {
        return;
    }
    if settings().core.subs == SubsMode::WriteBack {
        // One process at a time: two could write the changes of one dialog in the wrong order.
        let Some(_alone) = FLUSH.get().and_then(|gate| gate.enter(database::LAST_WAIT)) else { return };
        let written = write_rows(goes_on);
        if written > 0 {
            log!(Debug, "{written} rows of subscriptions written");
        }
    }
    // With the table alone whoever deletes a row tells its watcher: what another server is about to take is left to it.
    let left_to_others = if settings().core.subs == SubsMode::Database { LEFT_TO_OTHERS } else { Seconds(0) };
    let before = host::now().unix - settings().core.expires_offset - left_to_others;
    if rows::delete_expired(before).is_err() {
        log!(Error, "expired subscriptions could not be deleted from the table");
    }
}

/// Writes what is behind, shard by shard, a transaction for each few rows, with no lock held meanwhile.
fn write_rows(goes_on: bool) -> usize {
    let Some(store) = store::shared() else { return 0 };
    let patience = (!goes_on).then(|| database::LAST_WAIT.as_millis() as u32);
    let until = Instant::now() + LAST_FLUSH;
    let (mut written, mut refused) = (0, Vec::new());
    for shard in 0..store.shard_count() {
        let mut batch: Vec<Row> = Vec::new();
        let mut more = true;
        while more && (goes_on || Instant::now() < until) {
            batch.clear();
            let taken = store.take_rows(shard, ROWS, goes_on, patience, &mut batch);
            if taken.is_err() {
                log!(Error, "the subscriptions of one part could not be written: a process died while it changed them");
            }
            let answers = write_batch(store, &batch, &mut refused).is_ok();
            written += batch.len();
            if !answers {
                return written - give_back(store, &mut refused);
            }
            more = taken == Ok(true);
        }
        written -= give_back(store, &mut refused);
    }
    if !goes_on && Instant::now() >= until {
        log!(Error, "the last flush was given up after {} s", LAST_FLUSH.as_secs());
    }
    written
}

/// Rows that could not be written stay behind; their number.
fn give_back(store: &store::Shared, refused: &mut Vec<Row>) -> usize {
    if !refused.is_empty() {
        log!(Error, "{} rows of subscriptions could not be written: they will be tried again", refused.len());
    }
    refused.drain(..).inspect(|row| store.give_back_row(row)).count()
}

/// Writes a few rows as one; if that fails, each for itself, so that a bad row does not hold up the others. Those that
/// could not be written go to `refused`. An error: the database does not answer at all.
fn write_batch(store: &store::Shared, batch: &[Row], refused: &mut Vec<Row>) -> Result<(), Fault> {
    if batch.is_empty() {
        return Ok(());
    }
    let start = Instant::now();
    if database::write_together(|db| batch.iter().try_for_each(|row| write_row(db, row))).is_ok() {
        batch.iter().for_each(|row| store.row_written(row));
        return Ok(());
    }
    if start.elapsed() >= settings().db_wait {
        // Not a bad row: whoever asks waits in vain.
        refused.extend_from_slice(batch);
        return Err(Fault::Storage);
    }
    let mut in_a_row = 0;
    for (at, row) in batch.iter().enumerate() {
        if database::write_together(|db| write_again(db, row)).is_ok() {
            store.row_written(row);
            in_a_row = 0;
            continue;
        }
        refused.push(row.clone());
        in_a_row += 1;
        if in_a_row == REFUSALS {
            refused.extend_from_slice(&batch[at + 1..]);
            return Err(Fault::Storage);
        }
    }
    Ok(())
}

/// Writes a row of which nobody knows whether the first attempt wrote it.
fn write_again(db: &mut kamailio::db::Connection, row: &Row) -> Result<(), kamailio::db::Failed> {
    if row.state == RowState::Missing {
        rows::delete(db, row.subscription.texts.dialog())?;
    }
    write_row(db, row)
}

fn write_row(db: &mut kamailio::db::Connection, row: &Row) -> Result<(), kamailio::db::Failed> {
    match row.state {
        RowState::Missing => rows::insert(db, &row.subscription, 0),
        RowState::Behind => rows::write(db, &row.subscription, 0),
        RowState::Gone => rows::delete(db, row.subscription.texts.dialog()),
    }
}

/// The server stops: the last flush. The workers are gone; what they hold stays locked.
pub fn last_flush() {
    if settings().core.subs == SubsMode::WriteBack && database::open() {
        flush(false);
        database::close();
    }
}
