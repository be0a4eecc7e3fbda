//! What is measured: the rows of the table.

use loadgen::{Fanout, Part, Phase, Publish, Subscribe};
use std::fmt;

/// Something that is measured.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Row {
    /// A request with what follows from it, each answered before the next one of its publication or dialog.
    Publish(Step),
    Subscribe(Step),
    /// One PUBLISH, and the NOTIFYs to so many watchers.
    Fanout(u32),
    /// A request of one of the watchers of a presentity: of those who join so many, or of any of them.
    Joining(Step, u32),
    /// How long a request waits for its answer while one PUBLISH is told to so many; with 0 nothing else goes on.
    Waiting(Probe, u32),
    /// Shared memory of a subscription, of the last of so many.
    Memory(u32),
}

/// Where a publication or a dialog stands.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Step {
    First,
    Second,
    Third,
}

/// Who waits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Probe {
    /// Somebody else: the script answers, statelessly.
    Options,
    /// Another client of the presentity whose watchers are told.
    Publish,
}

/// Whose server it is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Side {
    Ours,
    Stock,
    /// Kamailio without presence, which says 200 to everything: what the host costs by itself.
    Floor,
}

impl fmt::Display for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Ours => "ours",
            Self::Stock => "stock",
            Self::Floor => "floor",
        })
    }
}

/// The most watchers that the stock module is asked to tell: every SUBSCRIBE to one presentity costs it more than the
/// one before, and with 8 MB of private memory it tells nobody any more from about 14,000 watchers on.
pub const STOCK_CROWD: u32 = 10_000;
/// So many watchers take long enough to be told for others to notice.
pub const LARGE: u32 = 5_000;
/// The crowd that nothing may depend on the size of.
pub const HUGE: u32 = 50_000;

impl Row {
    /// Of many presentities with a watcher each, and two with some more. In the order in which they run: each needs those
    /// before it, but a fan-out needs none.
    pub const OF_MANY: [Self; 8] = [
        Self::Publish(Step::First),
        Self::Publish(Step::Second),
        Self::Publish(Step::Third),
        Self::Subscribe(Step::First),
        Self::Subscribe(Step::Second),
        Self::Subscribe(Step::Third),
        Self::Fanout(100),
        Self::Fanout(1000),
    ];

    /// Of one presentity whose watchers become so many, step by step; in the order of the table.
    pub fn of_one(levels: &[u32]) -> Vec<Self> {
        let steps = [Step::First, Step::Second, Step::Third];
        let from = |least| levels.iter().copied().filter(move |level| *level >= least);
        let mut rows: Vec<Self> = from(0).map(Self::Fanout).collect();
        rows.extend(steps.iter().flat_map(|step| from(1000).map(|level| Self::Joining(*step, level))));
        for probe in [Probe::Options, Probe::Publish] {
            // A PUBLISH itself is told to all: the stock module would take minutes.
            let loads = from(LARGE).filter(|level| *level == HUGE || *level == LARGE && probe == Probe::Options);
            let loads: Vec<Self> = loads.map(|level| Self::Waiting(probe, level)).collect();
            if !loads.is_empty() {
                rows.push(Self::Waiting(probe, 0));
                rows.extend(loads);
            }
        }
        rows.extend(from(LARGE).map(Self::Memory));
        rows
    }

    /// Whether this row has to run so that another one can.
    pub fn is_needed_by(self, other: Self) -> bool {
        self == other
            || match (self, other) {
                (Self::Publish(_) | Self::Subscribe(_), Self::Publish(_) | Self::Subscribe(_)) => self < other,
                (Self::Joining(step, crowd), Self::Joining(later, other)) => crowd == other && step < later,
                _ => false,
            }
    }

    /// Whether a server is asked to do it.
    pub fn concerns(self, side: Side) -> bool {
        match side {
            Side::Ours => true,
            Side::Stock => self.crowd() <= STOCK_CROWD && !matches!(self, Self::Waiting(Probe::Publish, _)),
            Side::Floor => matches!(self, Self::Publish(_)),
        }
    }

    /// The load of a row that is measured in CPU time: `operations` of it, or, in a fan-out, about as many NOTIFYs. A
    /// crowd is that of the presentity `crowded`.
    pub fn phase(self, operations: u32, crowded: u32) -> Option<Phase> {
        let phase = match self {
            Self::Publish(Step::First) => Phase::Publish { count: operations, first: 0 },
            // The refresh before the new document: the stock module loses the document here (publ_cache 2), and the
            // watchers of the next rows are to see one.
            Self::Publish(Step::Second) => Phase::Republish(Publish::Refresh, Part::WHOLE),
            Self::Publish(Step::Third) => Phase::Republish(Publish::Modify, Part::WHOLE),
            Self::Subscribe(Step::First) => Phase::Subscribe { count: operations, presentities: operations, first: 0 },
            Self::Subscribe(Step::Second) => Phase::Resubscribe(Subscribe::Refresh, Part::WHOLE),
            Self::Subscribe(Step::Third) => Phase::Resubscribe(Subscribe::End, Part::WHOLE),
            Self::Joining(step, crowd) => {
                // Of those who have been there for long as well as of those who have just come.
                let count = operations.min(crowd / 2).max(1);
                let some = Part { index: 0, of: (crowd + count) / count };
                match step {
                    Step::First => Phase::Subscribe { count, presentities: 1, first: crowded },
                    Step::Second => Phase::Resubscribe(Subscribe::Refresh, some),
                    Step::Third => Phase::Resubscribe(Subscribe::End, some),
                }
            }
            Self::Fanout(watchers) => told_about(crowded, (operations / watchers).max(2)),
            Self::Waiting(..) | Self::Memory(_) => return None,
        };
        Some(phase)
    }

    /// How many watch by then.
    pub fn crowd(self) -> u32 {
        match self {
            Self::Fanout(n) | Self::Joining(_, n) | Self::Waiting(_, n) | Self::Memory(n) => n,
            Self::Publish(_) | Self::Subscribe(_) => 0,
        }
    }

    /// What is measured, and in which unit.
    pub fn unit(self) -> Unit {
        match self {
            Self::Waiting(..) => Unit::Wait,
            Self::Memory(_) => Unit::Memory,
            _ => Unit::Cpu,
        }
    }
}

/// PUBLISHes of a presentity, each told to all its watchers before the next.
pub fn told_about(presentity: u32, rounds: u32) -> Phase {
    Phase::Fanout(Fanout { presentity, rounds, burst: 1, clients: 1, probe: None })
}

/// What a number in the table is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Unit {
    /// Microseconds of CPU time of all processes of a server, per operation.
    Cpu,
    /// Milliseconds that 99 of 100 requests do not exceed.
    Wait,
    /// Bytes of shared memory.
    Memory,
}

impl fmt::Display for Unit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Cpu => "CPU, µs per operation",
            Self::Wait => "99 % answered within, ms",
            Self::Memory => "shared memory, bytes",
        })
    }
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self {
            Self::Publish(Step::First) => "PUBLISH initial".into(),
            Self::Publish(Step::Second) => "PUBLISH refresh".into(),
            Self::Publish(Step::Third) => "PUBLISH modify".into(),
            Self::Subscribe(Step::First) => "SUBSCRIBE initial + NOTIFY".into(),
            Self::Subscribe(Step::Second) => "SUBSCRIBE refresh + NOTIFY".into(),
            Self::Subscribe(Step::Third) => "SUBSCRIBE end + NOTIFY".into(),
            Self::Fanout(watchers) => format!("NOTIFY, fan-out to {watchers}"),
            Self::Joining(Step::First, crowd) => format!("SUBSCRIBE initial, of {crowd}"),
            Self::Joining(Step::Second, crowd) => format!("SUBSCRIBE refresh, of {crowd}"),
            Self::Joining(Step::Third, crowd) => format!("SUBSCRIBE end, of {crowd}"),
            Self::Waiting(Probe::Options, 0) => "OPTIONS, idle".into(),
            Self::Waiting(Probe::Publish, 0) => "PUBLISH, idle".into(),
            Self::Waiting(Probe::Options, crowd) => format!("OPTIONS, during a fan-out to {crowd}"),
            Self::Waiting(Probe::Publish, crowd) => format!("PUBLISH, during a fan-out to {crowd}"),
            Self::Memory(crowd) => format!("a subscription, of {crowd}"),
        };
        f.pad(&name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_rows_have_one_name() {
        let mut names: Vec<String> = Row::OF_MANY.iter().map(Row::to_string).collect();
        names.extend(
            Row::of_one(&[10, LARGE, HUGE]).iter().filter(|row| !Row::OF_MANY.contains(row)).map(Row::to_string),
        );
        let all = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!((names.len(), all), (8 + 3 + 6 + 5 + 2, 8 + 3 + 6 + 5 + 2));
    }

    #[test]
    fn some_join_a_crowd_and_as_many_of_all_refresh_and_go() {
        let phases = |crowd| [Step::First, Step::Second, Step::Third].map(|s| Row::Joining(s, crowd).phase(1200, 7));
        let expected = |count, of| {
            let some = Part { index: 0, of };
            [
                Phase::Subscribe { count, presentities: 1, first: 7 },
                Phase::Resubscribe(Subscribe::Refresh, some),
                Phase::Resubscribe(Subscribe::End, some),
            ]
            .map(Some)
        };
        assert_eq!(phases(HUGE), expected(1200, 42));
        assert_eq!(phases(1000), expected(500, 3), "not so many that the crowd is another one");
    }

    #[test]
    fn the_stock_module_is_spared_what_it_cannot_do() {
        let rows = Row::of_one(&[1000, STOCK_CROWD, HUGE]);
        let spared = rows.iter().filter(|row| !row.concerns(Side::Stock));
        let spared: Vec<String> = spared.map(Row::to_string).collect();
        assert!(spared.iter().all(|name| name.contains("50000") || name.starts_with("PUBLISH")), "{spared:?}");
        assert_eq!(spared.len(), 1 + 3 + 1 + 2 + 1);
        assert!(rows.iter().all(|row| row.concerns(Side::Ours) && !row.concerns(Side::Floor)));
    }
}
