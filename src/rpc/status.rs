//! `presence.status`: one screen for an operator.

use super::{Fault, Outcome, check_not_library};
use crate::abi::packages;
use crate::direct;
use crate::params::settings;
use crate::store::{self, database, health, listing};
use core::ffi::CStr;
use kamailio::proc::steady_clock;
use kamailio::rpc::{Call, Struct};
use kamailio::shm::Pool;
use presence_core::package::name_of;
use presence_core::store::listing::{PackageTally, Tally};
use std::ffi::CString;
use std::sync::OnceLock;
use std::time::Duration;

static STARTED: OnceLock<Duration> = OnceLock::new();

const CANNOT: Fault = Fault::Borrowed("Internal error creating response");

/// From here on the module is up; in `mod_init`.
pub fn begin() {
    let _ = STARTED.set(steady_clock());
}

/// A structure of the answer, as long as all of it fits.
struct Section<'c> {
    members: Struct<'c>,
    fits: bool,
}

impl<'c> Section<'c> {
    fn of(members: Option<Struct<'c>>) -> Result<Self, Fault> {
        members.map(|members| Section { members, fits: true }).ok_or(CANNOT)
    }

    fn number(&mut self, name: &CStr, value: u64) {
        self.fits &= self.members.long(name, value);
    }

    fn text(&mut self, name: &CStr, value: &str) {
        self.fits &= self.members.text(name, value.as_bytes());
    }

    fn within(&self, name: &CStr) -> Result<Section<'_>, Fault> {
        Section::of(self.members.add_struct(name))
    }

    fn end(self) -> Outcome {
        if self.fits { Ok(()) } else { Err(CANNOT) }
    }
}

/// `presence.status [check]`; with `check` every list in memory is looked through first.
pub fn show(call: &Call) -> Outcome {
    check_not_library()?;
    let store = store::shared().ok_or(CANNOT)?;
    match call.text().as_deref() {
        None => {}
        // Takes each lock for as long as its part takes.
        Some(b"check") => drop(store.census().map_err(Fault::Borrowed)?),
        Some(_) => return Err("Unknown output mode".into()),
    }
    let mut tally = store.tally();
    let is_open = database::is_open();
    let counted = listing::add_rows(&mut tally).is_ok();
    let config = &settings().core;
    let mut answer = Section::of(call.add_struct())?;
    let uptime = steady_clock().saturating_sub(STARTED.get().copied().unwrap_or_default());
    answer.text(c"version", env!("CARGO_PKG_VERSION"));
    answer.number(c"uptime", uptime.as_secs());
    answer.number(c"subs_db_mode", config.subs as u64);
    answer.number(c"publ_cache", config.publ as u64);
    answer.number(c"subscriptions", tally.packages.iter().flat_map(|p| p.subscriptions).sum());
    answer.number(c"publications", tally.packages.iter().map(publications).sum());
    answer.number(c"resources", tally.resources);
    numbers(&mut answer, &tally);
    if store::needs_database() {
        let database = answer.within(c"database")?;
        describe_database(database, &tally, is_open && counted)?;
    }
    let list = answer.within(c"packages")?;
    for package in &tally.packages {
        describe_package(&list, package)?;
    }
    list.end()?;
    answer.end()
}

fn publications(package: &PackageTally) -> u64 {
    package.publications + package.indexed
}

fn numbers(answer: &mut Section<'_>, tally: &Tally) {
    let structures = tally.structures + direct::bytes() as u64;
    for (name, number) in [
        (c"notifies_waiting", tally.queued),
        (c"notifies_elsewhere", tally.guests),
        (c"notifies_direct", direct::under_way().into()),
        (c"subscriptions_leaving", tally.leaving),
        (c"changes_postponed", tally.late),
        (c"shm_bytes", Pool::held()),
        (c"text_bytes", Pool::in_use().saturating_sub(structures)),
        (c"table_bytes", structures),
        (c"parts_skipped", tally.skipped),
    ] {
        answer.number(name, number);
    }
}

fn describe_database(mut database: Section<'_>, tally: &Tally, answers: bool) -> Outcome {
    let (failures, last) = health::report();
    database.text(c"connected", if answers { "yes" } else { "no" });
    database.number(c"statements_failed", failures);
    database.text(c"last_error", last.map_or("", |(last, _)| last.words()));
    database.number(c"last_error_time", last.map_or(0, |(_, at)| at.0.into()));
    database.number(c"rows_behind", tally.rows_behind);
    database.number(c"rows_to_delete", tally.gone);
    database.end()
}

fn describe_package(list: &Section<'_>, package: &PackageTally) -> Outcome {
    let registry = packages::all();
    let name = CString::new(name_of(&registry, package.package)).unwrap_or_default();
    let mut members = list.within(&name)?;
    for (name, count) in [c"active", c"pending", c"terminated", c"waiting"].into_iter().zip(package.subscriptions) {
        members.number(name, count);
    }
    members.number(c"publications", publications(package));
    members.end()
}
