//! What the databases do differently, besides what their drivers hide.

use kamailio::db::{Connection, Driver, Failed, Rows};
use std::time::Duration;

/// The databases that the module knows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Engine {
    /// One writer at a time, in one file.
    Sqlite,
    /// PostgreSQL.
    Postgres,
    /// MySQL and MariaDB.
    MySql,
    /// Any other: whatever its driver offers.
    Other,
}

/// How long a database waits for a lock at a time.
const STEP: Duration = Duration::from_millis(400);
/// How often SQLite is asked how many rows a statement changed.
const ASKED: usize = 3;
/// MySQL counts in seconds.
const MYSQL_STEP: Duration = Duration::from_secs(1);

impl Engine {
    /// The one behind a driver.
    pub fn of(driver: &Driver) -> Self {
        match driver.name() {
            "sqlite" => Self::Sqlite,
            "postgres" => Self::Postgres,
            "mysql" => Self::MySql,
            _ => Self::Other,
        }
    }

    /// How long it waits for a lock at a time. Drivers do not say why something failed: what took as long was a lock.
    pub fn step(self, patience: Duration) -> Duration {
        if self == Self::MySql { MYSQL_STEP } else { STEP.min(patience) }
    }

    /// How often something is tried again that failed for another reason: a deadlock, or a connection that was gone.
    pub fn retries(self) -> u32 {
        if self == Self::Sqlite { 0 } else { 2 }
    }

    /// Makes a new connection wait for locks a step at a time, instead of for ever.
    pub fn prepare(self, db: &mut Connection, patience: Duration) -> Result<(), Failed> {
        let step = self.step(patience);
        match self {
            Self::Sqlite => db.command(&format!("PRAGMA busy_timeout={}", step.as_millis())).map(drop),
            Self::Postgres => db.command(&format!("SET lock_timeout={}", step.as_millis())).map(drop),
            Self::MySql => {
                let seconds = step.as_secs();
                let waits = format!("lock_wait_timeout={seconds}, innodb_lock_wait_timeout={seconds}");
                db.command(&format!("SET @presence=1, SESSION {waits}")).map(drop)
            }
            Self::Other => Ok(()),
        }
    }

    /// Makes a connection ready on which something failed. It comes back as if nothing had been set, or with a transaction
    /// that could not be ended. And PostgreSQL's driver escapes values for the connection as it is before it connects again:
    /// on one that is gone a document would be spoilt.
    pub fn recover(self, db: &mut Connection, patience: Duration) -> Result<(), Failed> {
        if matches!(self, Self::Postgres | Self::MySql) {
            db.command("ROLLBACK").map(drop)?;
        }
        self.prepare(db, patience)
    }

    /// Begins several statements that belong together.
    pub fn begin(self, db: &mut Connection) -> Result<(), Failed> {
        match self {
            Self::Sqlite => db.command("BEGIN IMMEDIATE").map(drop),
            // The driver's own way takes three statements more.
            Self::MySql => db.command("BEGIN").map(drop),
            // Without transactions each statement stands for itself.
            _ if !db.driver().has_transactions() => Ok(()),
            _ => db.begin(),
        }
    }

    /// Before a transaction: waits until nobody else has this number. (SQLite has one writer at a time anyway.)
    pub fn lock(self, db: &mut Connection, number: u32) -> Result<(), Failed> {
        if self != Self::MySql {
            return Ok(());
        }
        let seconds = MYSQL_STEP.as_secs();
        let answer = db.command(&format!("SELECT GET_LOCK('presence {number}', {seconds})"))?;
        if answer.get(0).is_some_and(|row| row.int(0) == 1) { Ok(()) } else { Err(Failed) }
    }

    /// In a transaction, to whose end it lasts: the same.
    pub fn lock_within(self, db: &mut Connection, number: u32) -> Result<(), Failed> {
        if self != Self::Postgres {
            return Ok(());
        }
        db.command(&format!("SELECT pg_advisory_xact_lock(5060, {number})::text")).map(drop)
    }

    /// After it: lets go. A connection that is gone has let go.
    pub fn unlock(self, db: &mut Connection, number: u32) {
        if self == Self::MySql {
            let _ = db.however_late(|db| db.command(&format!("SELECT RELEASE_LOCK('presence {number}')")).map(drop));
        }
    }

    /// Ends them well.
    pub fn commit(self, db: &mut Connection) -> Result<(), Failed> {
        match self {
            Self::Sqlite => db.command("COMMIT").map(drop),
            Self::MySql => {
                db.command("COMMIT").map(drop)?;
                // The driver connects again in silence, in the middle of a transaction too: what came before is gone
                // then, and so are the variables of the session.
                let is_one = |rows: Rows<'_>| rows.get(0).is_some_and(|row| row.int(0) == 1);
                let still = db.however_late(|db| db.command("SELECT @presence").map(is_one))?;
                if still { Ok(()) } else { Err(Failed) }
            }
            _ if !db.driver().has_transactions() => Ok(()),
            _ => db.commit(),
        }
    }

    /// Ends them without a trace.
    /// It may have been done already (a full disk, a deadlock): then this fails, and nothing is lost.
    pub fn roll_back(self, db: &mut Connection) -> Result<(), Failed> {
        match self {
            Self::Sqlite | Self::MySql => db.however_late(|db| db.command("ROLLBACK").map(drop)),
            _ if !db.driver().has_transactions() => Ok(()),
            _ => db.roll_back(),
        }
    }

    /// How many rows the last statement changed. `None`: the driver cannot say. MySQL does not count rows that had the
    /// values already.
    pub fn changed_rows(self, db: &mut Connection) -> Option<usize> {
        if self == Self::Sqlite {
            // Asking changes nothing, so it may be asked again.
            let count = |db: &mut Connection| Some(db.command("SELECT changes()").ok()?.get(0)?.int(0));
            let count = (0..ASKED).find_map(|_| db.however_late(count))?;
            return usize::try_from(count).ok();
        }
        db.affected()
    }
}
