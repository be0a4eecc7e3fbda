//! This process's connection to the database, and how it waits for others.
//!
//! With SQLite writes of one server's processes go through a gate, one after the other: its own waiting starves some
//! (figures in ARCHITECTURE.md). Others may write the same tables, so the database waits for locks too, a little at a
//! time, until the request's patience (`db_wait_time`) is over. What fails for another reason than a lock is tried again
//! a few times, as servers end one of two transactions that wait for each other, and restart. No table is locked: rows
//! are compared as they are written. Inside of a call nothing but SQL happens (rule D1).
//!
//! A request has one patience for all that it asks until it is answered: from then on every statement fails that has not
//! begun. What nobody waits for (timers, NOTIFYs after the answer) has its patience for each call.

use super::engine::Engine;
use super::health::{self, Failure};
use super::schema as col;
use crate::params::settings;
use kamailio::db::{Condition, Connection, Driver, Failed, Op, Value};
use kamailio::lock::Gate;
use kamailio::log;
use presence_core::config::{PublMode, SubsMode};
use presence_core::refusal::Fault;
use std::cell::{Cell, RefCell};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// The longest pause before the first retry, in milliseconds; it grows with each.
const PAUSE: u64 = 16;

static DRIVER: OnceLock<(Driver, Engine)> = OnceLock::new();
static GATE: OnceLock<Gate> = OnceLock::new();

thread_local! {
    static CONNECTION: RefCell<Option<Connection>> = const { RefCell::new(None) };
    /// Whether the last statement failed.
    static FAILED: Cell<bool> = const { Cell::new(false) };
    /// Whether the connection has to be made anew: a transaction may have stayed open, because its beginning or its end
    /// failed; or it does not wait for locks.
    static STUCK: Cell<bool> = const { Cell::new(false) };
    static BESIDE: RefCell<Vec<Write>> = const { RefCell::new(Vec::new()) };
    /// When the patience of the request that is not answered yet is over.
    static DEADLINE: Cell<Option<Instant>> = const { Cell::new(None) };
}

/// A request whose sender waits; see [`wait_for_one_answer`].
#[derive(Debug)]
pub struct Waits {
    before: Option<Instant>,
}

impl Drop for Waits {
    fn drop(&mut self) {
        DEADLINE.set(self.before);
    }
}

/// From here on somebody waits for an answer: what is asked has one patience together.
#[must_use]
pub fn wait_for_one_answer() -> Waits {
    Waits { before: DEADLINE.replace(Some(Instant::now() + settings().db_wait)) }
}

/// The answer is given: nobody waits any more.
pub fn answered() {
    DEADLINE.set(None);
}

/// When the patience of a call that begins now is over.
fn deadline() -> Instant {
    DEADLINE.get().unwrap_or_else(|| Instant::now() + settings().db_wait)
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
    if let Some(sentence) = refused(&driver) {
        log!(Error, "{sentence}");
        return false;
    }
    let Some(gate) = Gate::create() else {
        log!(Error, "no shared memory for the database: start the server with more (-m)");
        return false;
    };
    let engine = Engine::of(&driver);
    DRIVER.set((driver, engine)).is_ok() && GATE.set(gate).is_ok()
}

/// What this driver cannot do of what is configured.
fn refused(driver: &Driver) -> Option<String> {
    let (name, core) = (driver.name(), &settings().core);
    if name == "redis" && core.publ != PublMode::Memory {
        return Some(format!(
            "modparam publ_cache is {} and db_url names db_{name}: that driver cannot keep documents, set publ_cache to 2",
            core.publ as u8
        ));
    }
    if core.subs == SubsMode::Database && Engine::of(driver) != Engine::Sqlite && !driver.counts_rows() {
        return Some(format!(
            "modparam subs_db_mode is 3 and db_url names db_{name}: that driver does not say whether a row was changed, \
             and a CSeq could be used twice; set subs_db_mode to 1 or 2"
        ));
    }
    None
}

/// Opens this process's connection.
pub fn open() -> bool {
    if DRIVER.get().is_none() {
        return true;
    }
    let connection = connect();
    let is_open = connection.is_some();
    CONNECTION.set(connection);
    is_open
}

fn connect() -> Option<Connection> {
    STUCK.set(engine() == Engine::Sqlite);
    let Some(mut connection) = DRIVER.get()?.0.connect_alone() else {
        log!(Error, "no connection to the database of modparam db_url: is it there, and do name and rights fit?");
        return None;
    };
    let is_ready = engine().prepare(&mut connection, settings().db_wait).is_ok();
    STUCK.set(!is_ready && engine() == Engine::Sqlite);
    if !is_ready {
        log!(Warning, "the database does not wait for locks as db_wait_time says: the connection could not be set so");
    }
    Some(connection)
}

/// Closes it.
pub fn close() {
    CONNECTION.set(None);
}

/// Whether this process has a connection.
pub fn is_open() -> bool {
    CONNECTION.with_borrow(Option::is_some)
}

/// Which database it is.
pub fn engine() -> Engine {
    DRIVER.get().map_or(Engine::Other, |(_, engine)| *engine)
}

/// Whether the driver can give a part of what a query finds; otherwise all comes at once.
pub fn knows_parts() -> bool {
    DRIVER.get().is_none_or(|(driver, _)| driver.knows_parts())
}

/// Whether it can be asked how many rows a statement changed.
pub fn counts_rows() -> bool {
    is_sqlite() || DRIVER.get().is_some_and(|(driver, _)| driver.counts_rows())
}

/// Whether the database is SQLite, which has one writer at a time.
pub fn is_sqlite() -> bool {
    engine() == Engine::Sqlite
}

fn attempt<R>(until: Instant, mut run: impl FnMut(&mut Connection) -> Result<R, Failed>) -> Result<R, Fault> {
    let (engine, patience) = (engine(), settings().db_wait);
    CONNECTION.with_borrow_mut(|connection| {
        if connection.is_none() && !STUCK.get() {
            return Err(Fault::Storage);
        }
        let mut failures = 0;
        loop {
            let start = Instant::now();
            if start >= until {
                health::hangs();
                return Err(Fault::Storage);
            }
            if STUCK.get() {
                // The other drivers connect again by themselves.
                *connection = connect();
            }
            let db = connection.as_mut().ok_or(Fault::Storage)?;
            db.ask_until(DEADLINE.get());
            let ready = if FAILED.get() { engine.recover(db, patience) } else { Ok(()) };
            let outcome = ready.and_then(|()| run(db));
            FAILED.set(outcome.is_err() && engine != Engine::Sqlite);
            if let Ok(result) = outcome {
                return Ok(result);
            }
            if STUCK.get() {
                // What is written in a transaction that nobody ends is lost; closing ends it.
                *connection = None;
            }
            let was_locked = start.elapsed() * 10 >= engine.step(patience) * 9;
            failures += u32::from(!was_locked);
            if failures > engine.retries() {
                return Err(Fault::Storage);
            }
            if !was_locked {
                // Two that were in each other's way must not meet again.
                let pause = kamailio::proc::random() % (PAUSE * u64::from(failures)) + 1;
                std::thread::sleep(Duration::from_millis(pause));
            }
        }
    })
}

/// Reads.
pub fn read<R>(run: impl FnMut(&mut Connection) -> Result<R, Failed>) -> Result<R, Fault> {
    attempt(deadline(), run).inspect_err(|_| health::failed(Failure::Read))
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
    write(|db| transaction(db, &mut run))
}

/// As [`write_together`], and nobody else, at whatever server, does so for the same `name` at the same time.
pub fn write_alone<R>(name: &[u8], mut run: impl FnMut(&mut Connection) -> Result<R, Failed>) -> Result<R, Fault> {
    let number = number_of(name);
    write(|db| {
        let engine = engine();
        engine.lock(db, number)?;
        let outcome = transaction(db, |db| {
            engine.lock_within(db, number)?;
            run(db)
        });
        engine.unlock(db, number);
        outcome
    })
}

/// FNV-1a: the same number at every server. Two names that share one only wait for each other.
fn number_of(name: &[u8]) -> u32 {
    name.iter().fold(0x811c_9dc5, |hash: u32, byte| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193)) >> 1
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
    let until = deadline();
    let _inside = match (is_sqlite(), GATE.get()) {
        (true, Some(gate)) => match gate.enter(until.saturating_duration_since(Instant::now())) {
            Some(inside) => Some(inside),
            None => {
                health::failed(Failure::Busy);
                health::hangs();
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
    let until = deadline();
    if !beside.is_empty() {
        let together = write(|db| {
            transaction(db, |db| {
                beside.iter().try_for_each(|change| change(db))?;
                run(db)
            })
        });
        // What has used up the request's patience is not tried again.
        if together.is_ok() || Instant::now() >= until {
            return together;
        }
    }
    // One may stand in the other's way (a row that somebody else has put there): each by itself.
    BESIDE.set(beside);
    settle();
    write(run)
}

fn transaction<R>(db: &mut Connection, run: impl FnOnce(&mut Connection) -> Result<R, Failed>) -> Result<R, Failed> {
    let engine = engine();
    if engine.begin(db).is_err() {
        STUCK.set(engine == Engine::Sqlite);
        return Err(Failed);
    }
    match run(db) {
        Ok(result) if engine.commit(db).is_ok() => Ok(result),
        _ => {
            STUCK.set(engine.roll_back(db).is_err() && engine == Engine::Sqlite);
            Err(Failed)
        }
    }
}

/// How many rows the last statement changed. `None`: the driver cannot say.
pub fn changed_rows(db: &mut Connection) -> Option<usize> {
    engine().changed_rows(db)
}

/// How long a wait on the way down may take.
pub const LAST_WAIT: Duration = Duration::from_millis(200);
