//! What the project wants to reach.

use crate::row::{HUGE, LARGE, Row, Side, Unit};
use crate::setup::Setup;
use std::fmt;

/// The most that any operation may cost, as a part of what it costs with the stock module.
const LIMIT: f64 = 1.0;
/// The same for a PUBLISH in memory with the default allocator.
const PUBLISH_LIMIT: f64 = 0.85;

/// The most CPU time that a row may cost beside the stock module: the exit status says whether it does not.
pub fn limit(setup: &Setup, row: Row) -> Option<f64> {
    let limit = if setup.is_the_plain_one() && matches!(row, Row::Publish(_)) { PUBLISH_LIMIT } else { LIMIT };
    (row.unit() == Unit::Cpu).then_some(limit)
}

/// At most so much of what it is compared with.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Target {
    pub limit: f64,
    pub basis: (Side, Row),
}

impl Target {
    /// The one of a row, if there is one.
    pub fn of(setup: &Setup, row: Row) -> Option<Self> {
        let tlsf = setup.allocator == "tlsf";
        let stock = |limit| Some(Self { limit, basis: (Side::Stock, row) });
        let own = |limit, row| Some(Self { limit, basis: (Side::Ours, row) });
        match row {
            Row::Memory(_) => stock(0.6),
            Row::Waiting(probe, HUGE) => own(2.0, Row::Waiting(probe, 0)),
            Row::Waiting(..) => None,
            Row::Joining(step, HUGE) => own(1.2, Row::Joining(step, 1000)),
            Row::Joining(..) => None,
            Row::Fanout(HUGE) => own(1.2, Row::Fanout(1000)),
            _ if !setup.is_in_memory() => stock(0.5),
            Row::Publish(_) => Some(Self { limit: 1.15, basis: (Side::Floor, row) }),
            Row::Subscribe(_) => stock(if setup.is_direct() { 0.7 } else { 0.85 }),
            Row::Fanout(..=1000) if setup.is_direct() => stock(if tlsf { 0.35 } else { 0.65 }),
            Row::Fanout(..=1000) => stock(if tlsf { 0.7 } else { 0.95 }),
            Row::Fanout(LARGE) => stock(0.3),
            Row::Fanout(_) => None,
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let basis = match self.basis {
            (Side::Ours, Row::Waiting(..)) => "idle".to_owned(),
            (Side::Ours, row) => format!("ours at {}", row.crowd()),
            (side, _) => side.to_string(),
        };
        f.pad(&format!("{} x {basis}", self.limit))
    }
}
