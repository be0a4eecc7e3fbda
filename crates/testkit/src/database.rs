//! The database behind a server.

use crate::engine::{Engine, Kind};
use crate::tables::Tables;
use std::path::{Path, PathBuf};

/// The database behind the server.
#[derive(Clone, Debug)]
pub enum Database {
    /// None.
    None,
    /// A SQLite file with Kamailio's schema, in the server's folder; the journal mode as PRAGMA names it.
    Sqlite(&'static str),
    /// An existing SQLite file.
    SqliteFile(PathBuf),
    /// A database of the test's own PostgreSQL, with Kamailio's schema.
    Postgres,
    /// A database of the test's own MariaDB, with Kamailio's schema.
    MariaDb,
    /// Tables that are there already.
    At(Tables),
}

impl Database {
    /// The tables, made if they are to be new; `dir` is the server's folder.
    pub fn tables(&self, dir: &Path) -> Result<Option<Tables>, String> {
        let of = |kind| {
            let engine = Engine::of_this_test(kind)?;
            let name = engine.create_database()?;
            Ok(Some(Tables::Server(engine, name)))
        };
        match self {
            Self::None => Ok(None),
            Self::Sqlite(journal) => {
                let file = dir.join("db.sqlite");
                crate::sqlite::try_create(&file, journal)?;
                Ok(Some(Tables::Sqlite(file)))
            }
            Self::SqliteFile(file) => Ok(Some(Tables::Sqlite(file.clone()))),
            Self::Postgres => of(Kind::Postgres),
            Self::MariaDb => of(Kind::MariaDb),
            Self::At(tables) => Ok(Some(tables.clone())),
        }
    }
}
