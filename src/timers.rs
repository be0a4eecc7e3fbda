//! What happens by itself: sweeps of what has expired, flushes, NOTIFYs that wait for their time.

use crate::commands::with_server;
use crate::params::settings;
use crate::store::{self, database, rows};
use crate::{auth, host};

use kamailio::log;
use kamailio::timer;
use presence_core::config::SubsMode;
use presence_core::store::{Row, RowState};

/// Dialogs, and postponed changes, of one tick.
const PER_TICK: usize = 1000;
/// Rows of one transaction.
const ROWS: usize = 100;

/// Registers the timers and the processes; in `mod_init`.
pub fn register() -> bool {
    let settings = settings();
    let mut fine = true;
    if let Some(period) = settings.clean_period {
        fine &= timer::register(settings.timer, clean, period);
    }
    if let Some(period) = settings.db_update_period {
        fine &= timer::register(settings.timer, update, period);
    }
    fine &= timer::announce_processes(settings.notifiers as i32);
    if !fine {
        log!(Error, "the timers could not be registered");
    }
    fine
}

/// Forks the processes; in `child_init` of the main process.
pub fn fork() -> bool {
    (0..settings().notifiers)
        .all(|n| timer::fork_every(&format!("PRESENCE NOTIFIER {n}"), settings().poll_interval, tick))
}

/// Sends what waits: NOTIFYs that were kept back or whose predecessor was not answered, changes that were put off.
fn tick() {
    with_server(None, |server| {
        server.go_on_with_overdue(PER_TICK);
        server.tell_postponed(PER_TICK);
    });
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
        let written = write_rows(goes_on);
        if written > 0 {
            log!(Debug, "{written} rows of subscriptions written");
        }
    }
    let before = host::now().unix - settings().core.expires_offset;
    if rows::delete_expired(before).is_err() {
        log!(Error, "expired subscriptions could not be deleted from the table");
    }
}

/// Writes what is behind, shard by shard, a transaction for each few rows, with no lock held meanwhile.
fn write_rows(goes_on: bool) -> usize {
    let Some(store) = store::shared() else { return 0 };
    let patience = (!goes_on).then(|| database::LAST_WAIT.as_millis() as u32);
    let mut written = 0;
    for shard in 0..store.shard_count() {
        let mut batch: Vec<Row> = Vec::new();
        loop {
            batch.clear();
            let more = store.take_rows(shard, ROWS, goes_on, patience, &mut batch);
            if more.is_err() {
                log!(Error, "the subscriptions of one part could not be written: a process died while it changed them");
            }
            if write_batch(&batch).is_err() {
                batch.iter().for_each(|row| store.give_back_row(row));
                log!(Error, "{} rows of subscriptions could not be written: they will be tried again", batch.len());
                return written;
            }
            written += batch.len();
            if more != Ok(true) {
                break;
            }
        }
    }
    written
}

/// Writes a few rows as one; if that fails, each for itself, so that one bad row does not hold up the others.
fn write_batch(batch: &[Row]) -> Result<(), presence_core::refusal::Fault> {
    if batch.is_empty() {
        return Ok(());
    }
    let together = database::write_together(|db| batch.iter().try_for_each(|row| write_row(db, row)));
    if together.is_ok() {
        return Ok(());
    }
    let mut outcome = Ok(());
    for row in batch {
        let one = database::write(|db| write_row(db, row));
        if one.is_err() {
            outcome = one;
        }
    }
    outcome
}

fn write_row(db: &mut kamailio::db::Connection, row: &Row) -> Result<(), kamailio::db::Failed> {
    match row.state {
        RowState::Missing => rows::insert(db, &row.subscription, 0),
        RowState::Behind => rows::update(db, &row.subscription, 0, &rows::identity(row.subscription.texts.dialog())),
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
