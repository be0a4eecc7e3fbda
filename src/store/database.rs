//! This process's connection to the database, and how it waits for others.
//!
//! Between processes of one server writes go through a gate, one after the other: SQLite's own waiting starves some
//! (figures in ARCHITECTURE.md). Other programs may write the same file, so SQLite waits too, a little at a time,
//! until the request's patience (`db_wait_time`) is over. Inside of a call nothing but SQL happens (rule D1).

use super::health::{self, Failure};
use super::schema as col;
use crate::params::settings;
use kamailio::db::{Condition, Connection, Driver, Failed, Op, Value};
use kamailio::lock::Gate;
use kamailio::log;
use presence_core::refusal::Fault;
use std::cell::RefCell;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// How long SQLite waits for a lock at a time, in milliseconds.
const BUSY_STEP: u64 = 400;

static DRIVER: OnceLock<Driver> = OnceLock::new();
static GATE: OnceLock<Gate> = OnceLock::new();

thread_local! {
    static CONNECTION: RefCell<Option<Connection>> = const { RefCell::new(None) };
    static BESIDE: RefCell<Vec<Write>> = const { RefCell::new(Vec::new()) };
}

/// Binds to the driver and makes the gate; once, in `mod_init`.
pub fn bind(url: &[u8]) -> bool {
    let Some(driver) = Driver::bind(url) else {
        log!(
            Error,
            "modparam db_url: the module of this database is not loaded before presence, or cannot do what presence needs"
        );
        return false;
    };
    let Some(gate) = Gate::create() else {
        log!(Error, "no shared memory for the database");
        return false;
    };
    DRIVER.set(driver).is_ok() && GATE.set(gate).is_ok()
}

/// Opens this process's connection.
pub fn open() -> bool {
    let Some(driver) = DRIVER.get() else { return true };
    let Some(mut connection) = driver.connect_alone() else {
        log!(Error, "no connection to the database of modparam db_url: is it there, and do name and rights fit?");
        return false;
    };
    if is_sqlite() {
        let step = settings().db_wait.as_millis().min(u128::from(BUSY_STEP));
        if connection.command(&format!("PRAGMA busy_timeout={step}")).is_err() {
            log!(Warning, "the database does not wait for others: PRAGMA busy_timeout failed");
        }
    }
    CONNECTION.set(Some(connection));
    true
}

/// Closes it.
pub fn close() {
    CONNECTION.set(None);
}

/// Whether this process has a connection.
pub fn is_open() -> bool {
    CONNECTION.with_borrow(Option::is_some)
}

/// Whether the database is SQLite, which has one writer at a time.
pub fn is_sqlite() -> bool {
    DRIVER.get().is_some_and(|d| d.name() == "sqlite")
}

fn attempt<R>(until: Instant, mut run: impl FnMut(&mut Connection) -> Result<R, Failed>) -> Result<R, Fault> {
    CONNECTION.with_borrow_mut(|connection| {
        let connection = connection.as_mut().ok_or(Fault::Storage)?;
        loop {
            let start = Instant::now();
            match run(connection) {
                Ok(result) => return Ok(result),
                // Drivers do not say why. What took as long as SQLite waits for a lock was a lock.
                Err(Failed)
                    if is_sqlite() && start.elapsed().as_millis() as u64 * 10 >= BUSY_STEP * 9 && start < until => {}
                Err(Failed) => return Err(Fault::Storage),
            }
        }
    })
}

/// Reads.
pub fn read<R>(run: impl FnMut(&mut Connection) -> Result<R, Failed>) -> Result<R, Fault> {
    attempt(Instant::now() + settings().db_wait, run).inspect_err(|_| health::failed(Failure::Read))
}

/// Whether the database answers now.
pub fn answers() -> Result<(), Fault> {
    read(|db| {
        let of = [Condition(col::ID, Op::Eq, Value::Int(0))];
        db.query(settings().active_watchers_table, &[col::ID], &of, None).map(drop)
    })
}

/// Writes several statements as one. On a failure nothing of them is there.
pub fn write_together<R>(mut run: impl FnMut(&mut Connection) -> Result<R, Failed>) -> Result<R, Fault> {
    write(|db| transaction(db, settings().lock_tables, &mut run))
}

/// A write that somebody has handed over.
type Write = Box<dyn Fn(&mut Connection) -> Result<(), Failed>>;

/// Hands a write over to the next one of the same request: both cost one commit. [`settle`] makes those that are left.
pub fn write_beside(write: Write) {
    BESIDE.with_borrow_mut(|beside| beside.push(write));
}

/// Makes the writes that were handed over and not made; before the reply.
pub fn settle() {
    for change in BESIDE.take() {
        if write(change).is_err() {
            log!(Error, "what is kept beside a subscription could not be written");
        }
    }
}

/// Writes: one statement, or several that need not be one.
pub fn write<R>(run: impl FnMut(&mut Connection) -> Result<R, Failed>) -> Result<R, Fault> {
    let until = Instant::now() + settings().db_wait;
    let _inside = match (is_sqlite(), GATE.get()) {
        (true, Some(gate)) => match gate.enter(settings().db_wait) {
            Some(inside) => Some(inside),
            None => {
                health::failed(Failure::Busy);
                log!(Error, "the database is busy: no turn to write within {} ms", settings().db_wait.as_millis());
                return Err(Fault::Storage);
            }
        },
        _ => None,
    };
    attempt(until, run).inspect_err(|_| health::failed(Failure::Write))
}

/// As [`write`], with what was handed over.
pub fn write_all<R>(mut run: impl FnMut(&mut Connection) -> Result<R, Failed>) -> Result<R, Fault> {
    let beside = BESIDE.take();
    let start = Instant::now();
    if !beside.is_empty() {
        // No LOCK TABLES: it would shut out the second table.
        let together = write(|db| {
            transaction(db, false, |db| {
                beside.iter().try_for_each(|change| change(db))?;
                run(db)
            })
        });
        // What has used up the request's patience is not tried again.
        if together.is_ok() || start.elapsed() >= settings().db_wait {
            return together;
        }
    }
    // One may stand in the other's way (a row that somebody else has put there): each by itself.
    BESIDE.set(beside);
    settle();
    write(run)
}

fn transaction<R>(
    db: &mut Connection,
    lock: bool,
    run: impl FnOnce(&mut Connection) -> Result<R, Failed>,
) -> Result<R, Failed> {
    begin(db, lock)?;
    match run(db) {
        Ok(result) if commit(db).is_ok() => Ok(result),
        _ => {
            roll_back(db);
            Err(Failed)
        }
    }
}

fn begin(db: &mut Connection, lock: bool) -> Result<(), Failed> {
    if is_sqlite() { db.command("BEGIN IMMEDIATE").map(drop) } else { db.begin(lock) }
}

fn commit(db: &mut Connection) -> Result<(), Failed> {
    if is_sqlite() { db.command("COMMIT").map(drop) } else { db.commit() }
}

fn roll_back(db: &mut Connection) {
    // It may be rolled back already (a full disk): then this fails, and nothing is lost.
    let _ = if is_sqlite() { db.command("ROLLBACK").map(drop) } else { db.roll_back() };
}

/// How many rows the last statement changed. `None`: the driver cannot say.
pub fn changed_rows(db: &mut Connection) -> Option<usize> {
    if is_sqlite() {
        let rows = db.command("SELECT changes()").ok()?;
        let count = rows.get(0)?.int(0);
        return usize::try_from(count).ok();
    }
    db.affected()
}

/// How long a wait on the way down may take.
pub const LAST_WAIT: Duration = Duration::from_millis(200);
