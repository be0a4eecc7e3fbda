//! `presence.publish_cache_sync`: with `publ_cache` 1, how many publications of whom are in the table is counted again.
//!
//! A PUBLISH is counted before it is in the table, so a count may be too high for as long as one writes. One that is too
//! high costs a query, one that is too low hides a document: it is lowered only if it is still the same after nobody
//! can be writing any more.

use super::{Fault, Outcome, check_not_library};
use crate::abi::packages;
use crate::params::settings;
use crate::store::listing;
use crate::store::{self, Shared};
use kamailio::log;
use kamailio::rpc::Call;
use presence_core::config::PublMode;
use presence_core::host::Resource;
use presence_core::refusal::Fault as StorageFault;
use presence_core::store::listing::Indexed;
use std::collections::HashSet;
use std::time::Duration;

/// Counts that are kept in mind, to be lowered together.
const SUSPECTS: usize = 10_000;
/// Beyond the time within which a write ends (`db_wait_time`).
const MARGIN: Duration = Duration::from_millis(500);

const FAILED: Fault = Fault::Borrowed("Failed to sync presinity table with the publish cache.");

/// `presence.publish_cache_sync`.
pub fn run(call: &Call) -> Outcome {
    check_not_library()?;
    match settings().core.publ {
        // Everything is read from the table anyway.
        PublMode::Database => {}
        PublMode::Indexed => recount()?,
        PublMode::Memory => return Err("Nothing to sync: with publ_cache 2 publications are not in the table".into()),
    }
    call.line("OK");
    Ok(())
}

fn recount() -> Outcome {
    let store = store::shared().ok_or(FAILED)?;
    let raised = raise(store).map_err(|_| FAILED)?;
    let lowered = lower(store).map_err(|_| FAILED)?;
    if raised + lowered > 0 {
        log!(Info, "publish_cache_sync: {raised} presentities had more publications in the table, {lowered} fewer");
    }
    Ok(())
}

/// Goes through the table: what is in it has to be counted.
fn raise(store: &Shared) -> Result<usize, StorageFault> {
    let (mut raised, mut next) = (0, Some(0));
    let registry = packages::all();
    while let Some(after) = next {
        let page = listing::presentities(after)?;
        for (uri, package) in page.entries.into_iter().collect::<HashSet<_>>() {
            let resource = Resource { uri: &uri, package };
            let was = store.indexed(resource).map_err(|_| StorageFault::Storage)?;
            let is = listing::rows_of(&registry, resource)?;
            if is > was && store.correct_indexed(resource, was, is) == Ok(true) {
                raised += 1;
            }
        }
        next = page.next;
    }
    Ok(raised)
}

/// Goes through the counts: what is not in the table need not be counted.
fn lower(store: &Shared) -> Result<usize, StorageFault> {
    let registry = packages::all();
    let (mut lowered, mut next) = (0, Some(0));
    while next.is_some() {
        let mut suspects: Vec<(Indexed, u32)> = Vec::new();
        while let Some(after) = next.filter(|_| suspects.len() < SUSPECTS) {
            let page = store.list_indexed(after);
            for indexed in page.entries {
                let rows = listing::rows_of(&registry, resource_of(&indexed))?;
                if rows < indexed.count {
                    suspects.push((indexed, rows));
                }
            }
            next = page.next;
        }
        if !suspects.is_empty() {
            std::thread::sleep(settings().db_wait + MARGIN);
        }
        for (indexed, rows) in suspects {
            let resource = resource_of(&indexed);
            let same = listing::rows_of(&registry, resource)? == rows;
            lowered += usize::from(same && store.correct_indexed(resource, indexed.count, rows) == Ok(true));
        }
    }
    Ok(lowered)
}

fn resource_of(indexed: &Indexed) -> Resource<'_> {
    Resource { uri: &indexed.presentity, package: indexed.package }
}
