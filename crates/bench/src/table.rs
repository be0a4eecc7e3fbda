//! The rows of one set-up: sums, ratios and the verdict.

use crate::cell::{Cell, Ratio, Spread};
use crate::row::{Row, Side};
use crate::run::Sample;
use crate::setup::Setup;
use crate::target::{Target, limit};
use std::collections::BTreeMap;
use std::fmt;

/// What was measured in one configuration.
#[derive(Clone, Debug)]
pub struct Table {
    pub setup: Setup,
    rows: BTreeMap<Row, BTreeMap<Side, Cell>>,
}

/// Whether a target is met.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    Met,
    Missed,
    /// One of the two that are compared is void.
    Void,
}

impl Table {
    pub fn new(setup: Setup) -> Self {
        Self { setup, rows: BTreeMap::new() }
    }

    /// Adds a part of a row.
    pub fn add(&mut self, round: u32, row: Row, side: Side, sample: Sample) {
        let told = if let Row::Fanout(watchers) = row { Some(watchers) } else { None };
        self.rows.entry(row).or_default().entry(side).or_default().add(round, told, sample);
    }

    /// Rounds in which anything was measured.
    pub fn rounds(&self) -> usize {
        self.rows.values().flat_map(BTreeMap::values).map(Cell::rounds).max().unwrap_or(0)
    }

    /// Its rows, in their order.
    pub fn rows(&self) -> impl Iterator<Item = Row> {
        self.rows.keys().copied()
    }

    pub fn cell(&self, row: Row, side: Side) -> Option<&Cell> {
        self.rows.get(&row)?.get(&side)
    }

    fn valid(&self, row: Row, side: Side) -> Option<&Cell> {
        self.cell(row, side).filter(|cell| !cell.is_void())
    }

    /// What an operation costs; none if it was not measured, or is void.
    pub fn cost(&self, row: Row, side: Side) -> Option<f64> {
        self.valid(row, side).map(Cell::cost)
    }

    /// Ours to stock; none if either is void.
    pub fn ratio(&self, row: Row) -> Option<Ratio> {
        Some(Ratio::of(self.valid(row, Side::Ours)?, self.valid(row, Side::Stock)?))
    }

    /// The same, round by round.
    pub fn spread(&self, row: Row, (side, basis): (Side, Row)) -> Option<Spread> {
        Spread::of(self.valid(row, Side::Ours)?, self.valid(basis, side)?)
    }

    /// A row's target, the ratios that it is about, and what became of it. None without a target, or where nothing was
    /// measured to compare with.
    pub fn judged(&self, row: Row) -> Option<(Target, Option<Spread>, Verdict)> {
        let target = Target::of(&self.setup, row)?;
        let (side, basis) = target.basis;
        self.cell(row, Side::Ours)?;
        self.cell(basis, side)?;
        let spread = self.spread(row, target.basis);
        let verdict = match spread {
            None => Verdict::Void,
            Some(spread) if spread.median <= target.limit => Verdict::Met,
            Some(_) => Verdict::Missed,
        };
        Some((target, spread, verdict))
    }

    /// Whether further rounds would not change the exit status.
    pub fn is_decided(&self) -> bool {
        let is_open = |row: Row| {
            let limit = limit(&self.setup, row);
            self.ratio(row).zip(limit).is_some_and(|(ratio, limit)| ratio.is_above(limit) && !ratio.is_exact())
        };
        !self.rows().any(is_open)
    }

    /// What must not be.
    pub fn failures(&self) -> Vec<String> {
        let name = self.setup.name();
        let judge = |row: Row| {
            if let Some(ours) = self.cell(row, Side::Ours).filter(|ours| ours.is_void()) {
                return Some(format!("{name}, {row}: void, {}", ours.wrong().join(", ")));
            }
            let limit = limit(&self.setup, row)?;
            let ratio = self.ratio(row).filter(|ratio| ratio.is_above(limit))?;
            Some(format!("{name}, {row}: {ratio} of the stock module's CPU, more than {limit:.2}"))
        };
        self.rows().filter_map(judge).collect()
    }

    /// What is void, and why.
    pub fn voids(&self) -> Vec<String> {
        let cells = self.rows.iter().flat_map(|(row, cells)| cells.iter().map(move |(side, cell)| (row, side, cell)));
        let tell = |(row, side, cell): (&Row, &Side, &Cell)| {
            let (operations, wrong) = (cell.operations(), cell.wrong().join(", "));
            format!("{row}: {side} is void, of {operations} operations {wrong}")
        };
        cells.filter(|(_, _, cell)| cell.is_void()).map(tell).collect()
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Met => "met",
            Self::Missed => "**missed**",
            Self::Void => "void",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::row::{HUGE, Probe, Step};
    use loadgen::{Notifies, Tally};

    fn setup(name: &str) -> Setup {
        Setup::all().into_iter().find(|setup| setup.name() == name).expect("a set-up of this name")
    }

    fn sample(amount: f64, code: u16) -> Sample {
        let tally = Tally { codes: [(code, 1)].into(), ..Tally::default() };
        Sample { amount, operations: 1, tally }
    }

    /// In one round: a part for each pair of ours and stock's.
    fn table(setup: &str, row: Row, parts: &[(Sample, Sample)]) -> Table {
        let mut table = Table::new(self::setup(setup));
        for (ours, stock) in parts {
            table.add(0, row, Side::Ours, ours.clone());
            table.add(0, row, Side::Stock, stock.clone());
        }
        table
    }

    fn equal(setup: &str, row: Row, ours: Sample, stock: Sample) -> Table {
        table(setup, row, &[(ours.clone(), stock.clone()), (ours, stock)])
    }

    #[test]
    fn a_dearer_row_fails_and_a_cheaper_one_does_not() {
        let publish = Row::Publish(Step::First);
        let failures = |setup, ours| equal(setup, publish, sample(ours, 200), sample(100.0, 200)).failures().len();
        assert_eq!([80.0, 90.0].map(|ours| failures("memory-qm-2w-cold", ours)), [0, 1]);
        assert_eq!([90.0, 101.0].map(|ours| failures("memory-tlsf-2w-cold", ours)), [0, 1]);
    }

    #[test]
    fn a_row_that_is_dearer_within_a_small_error_does_not_fail() {
        let parts = |spread: f64| {
            let ours = |n: u32| sample(1010.0 + spread * f64::from(n % 2) - spread / 2.0, 200);
            (0..32).map(|n| (ours(n), sample(1000.0, 200))).collect::<Vec<_>>()
        };
        let row = Row::Publish(Step::First);
        let of = |spread, count: usize| table("memory-tlsf-2w", row, &parts(spread)[..count]);
        let ratio = of(100.0, 32).ratio(row).expect("not void");
        assert!((ratio.value - 1.01).abs() < 1e-9 && (ratio.error - 0.018).abs() < 0.001, "{ratio:?}");
        assert_eq!(of(100.0, 32).failures().len(), 0);
        assert_eq!(of(10.0, 32).failures().len(), 1, "beyond its error");
        assert_eq!(of(1000.0, 32).failures().len(), 1, "the error is too large to tell");
        assert!(of(10.0, 32).is_decided() && !of(1000.0, 32).is_decided());
        assert_eq!(of(10.0, 1).failures().len(), 1, "one part has no error");
    }

    #[test]
    fn a_void_row_of_ours_fails_and_one_of_stock_claims_nothing() {
        let row = Row::Subscribe(Step::First);
        let ours = equal("memory-qm-2w", row, sample(1.0, 500), sample(100.0, 200));
        assert_eq!(ours.failures().len(), 1);
        assert_eq!(ours.voids(), ["SUBSCRIBE initial + NOTIFY: ours is void, of 2 operations 2 answered 500"]);
        assert_eq!((ours.cost(row, Side::Ours), ours.cost(row, Side::Stock)), (None, Some(100.0)));
        let stock = equal("memory-qm-2w", row, sample(900.0, 200), sample(100.0, 500));
        assert!(stock.failures().is_empty() && stock.ratio(row).is_none());
        for void in [ours, stock] {
            assert_eq!(void.judged(row).map(|(_, spread, verdict)| (spread, verdict)), Some((None, Verdict::Void)));
        }
    }

    #[test]
    fn a_fanout_that_reaches_too_few_is_void() {
        let row = Row::Fanout(100);
        let lost = Notifies { expected: 100, seen: 100, lost: 1, ..Notifies::default() };
        let all = Sample { operations: 100, ..sample(1.0, 200) };
        assert_eq!(equal("memory-qm-2w", row, all.clone(), all.clone()).voids().len(), 0);
        let few = Sample { operations: 99, ..all.clone() };
        assert_eq!(equal("memory-qm-2w", row, few, all.clone()).failures().len(), 1);
        let told = Sample { tally: Tally { notifies: lost, ..all.tally.clone() }, ..all.clone() };
        assert_eq!(equal("memory-qm-2w", row, told, all).failures().len(), 1);
    }

    #[test]
    fn targets_are_judged_by_the_median_of_the_rounds() {
        let row = Row::Publish(Step::Second);
        let mut table = Table::new(setup("memory-tlsf-2w"));
        for (round, ours) in [100.0, 130.0, 110.0].into_iter().enumerate() {
            table.add(round as u32, row, Side::Ours, sample(ours, 200));
            table.add(round as u32, row, Side::Stock, sample(10.0, 200));
            table.add(round as u32, row, Side::Floor, sample(100.0, 200));
        }
        let (target, spread, verdict) = table.judged(row).expect("a target");
        assert_eq!((target.to_string(), verdict), ("1.15 x floor".to_owned(), Verdict::Met));
        assert_eq!(spread, Some(Spread { min: 1.0, median: 1.1, max: 1.3 }));
        table.add(3, row, Side::Ours, sample(140.0, 200));
        table.add(3, row, Side::Floor, sample(100.0, 200));
        assert_eq!(table.judged(row).map(|judged| judged.2), Some(Verdict::Missed), "the median is 1.2");
        assert_eq!(table.rounds(), 4);
        assert_eq!(table.failures().len(), 1, "dearer than stock's 10");
    }

    #[test]
    fn a_huge_crowd_is_compared_with_a_small_one_and_with_an_idle_server() {
        let mut table = Table::new(setup("crowd-qm-2w"));
        let waiting = |crowd| Row::Waiting(Probe::Publish, crowd);
        let joining = |crowd| Row::Joining(Step::Third, crowd);
        for (row, amount) in [(joining(1000), 10.0), (joining(HUGE), 13.0), (waiting(0), 0.5), (waiting(HUGE), 1.0)] {
            table.add(0, row, Side::Ours, sample(amount, 200));
        }
        let judged = |row| table.judged(row).map(|(target, _, verdict)| (target.to_string(), verdict));
        assert_eq!(judged(joining(HUGE)), Some(("1.2 x ours at 1000".to_owned(), Verdict::Missed)));
        assert_eq!(judged(waiting(HUGE)), Some(("2 x idle".to_owned(), Verdict::Met)));
        assert_eq!(judged(joining(1000)), None);
        assert!(table.failures().is_empty(), "nothing of stock's to compare with");
    }
}
