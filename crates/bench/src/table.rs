//! Sums, ratios and the verdict.

use crate::options::Options;
use crate::setup::{Row, Setup};
use loadgen::{Report, Tally};
use std::collections::BTreeMap;
use std::fmt;
use std::process::Command;
use std::time::Duration;
use testkit::Module;

/// The most that any operation may cost, as a part of what it costs with the stock module.
const LIMIT: f64 = 1.0;
/// The same for a PUBLISH in memory with the default allocator.
const PUBLISH_LIMIT: f64 = 0.85;

/// A larger error than this says nothing about a ratio.
const ERROR_LIMIT: f64 = 0.05;

/// What was measured of one module in one row, over all rounds.
#[derive(Clone, Default, Debug)]
struct Cell {
    /// Of each part.
    cpu: Vec<Duration>,
    operations: u64,
    /// What happened, over all runs.
    tally: Tally,
    /// NOTIFYs that a fan-out sent too many or too few.
    off: u64,
}

impl Cell {
    fn add(&mut self, row: Row, report: Report) {
        self.cpu.push(report.cpu);
        self.operations += report.operations;
        if let Row::Fanout(watchers) = row {
            self.off += (u64::from(watchers) * report.tally.accepted()).abs_diff(report.operations);
        }
        self.tally.merge(report.tally);
    }

    /// What went wrong.
    fn wrong(&self) -> Vec<String> {
        let mut wrong = self.tally.complaints();
        if self.off > 0 {
            wrong.push(format!("{} NOTIFYs too many or too few", self.off));
        }
        if self.operations == 0 {
            wrong.push("nothing was done".into());
        }
        wrong
    }

    /// Microseconds of CPU per operation.
    fn cost(&self) -> f64 {
        self.cpu.iter().sum::<Duration>().as_secs_f64() * 1e6 / self.operations.max(1) as f64
    }

    fn is_void(&self) -> bool {
        !self.wrong().is_empty()
    }
}

impl fmt::Display for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("{:.1}{}", self.cost(), if self.is_void() { " VOID" } else { "" }))
    }
}

/// What an operation of ours costs as a part of what it costs with the stock module.
#[derive(Clone, Copy, Debug)]
struct Ratio {
    value: f64,
    /// Two standard errors: in 19 of 20 measurements the value is not further off.
    error: f64,
}

impl Ratio {
    /// The error is found by leaving out one part after the other (jackknife).
    fn of(ours: &Cell, stock: &Cell) -> Self {
        let value = ours.cost() / stock.cost();
        let [all_ours, all_stock] = [ours, stock].map(|cell| cell.cpu.iter().sum::<Duration>());
        let sums = all_ours.as_secs_f64() / all_stock.as_secs_f64();
        let without = |(ours, stock): (&Duration, &Duration)| {
            let rest = (all_ours - *ours).as_secs_f64() / (all_stock - *stock).as_secs_f64();
            (rest / sums - 1.0).powi(2)
        };
        let parts = ours.cpu.len() as f64;
        let spread = ours.cpu.iter().zip(&stock.cpu).map(without).sum::<f64>() * (parts - 1.0) / parts;
        Self { value, error: 2.0 * value * spread.sqrt() }
    }

    /// An error that is no number (nothing but one part) is too large as well.
    fn is_exact(self) -> bool {
        self.error <= ERROR_LIMIT
    }

    /// Above it beyond the error, or not known to be.
    fn is_above(self, limit: f64) -> bool {
        self.value > limit && !(self.is_exact() && self.value - self.error <= limit)
    }
}

impl fmt::Display for Ratio {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("{:.2} ±{:.2}", self.value, self.error))
    }
}

/// One configuration's rows.
#[derive(Clone, Default, Debug)]
pub struct Table(BTreeMap<Row, [Cell; 2]>);

impl Table {
    /// Adds a part of a row.
    pub fn add(&mut self, row: Row, parts: [(&Module, Report); 2]) {
        let cells = self.0.entry(row).or_default();
        for (module, report) in parts {
            cells[usize::from(module.is_stock())].add(row, report);
        }
    }

    /// The most that a row of this configuration may cost.
    fn limit(setup: &Setup, row: Row) -> f64 {
        if setup.is_the_plain_one() && matches!(row, Row::Publish(_)) { PUBLISH_LIMIT } else { LIMIT }
    }

    /// Whether further rounds would not change the verdict.
    pub fn is_decided(&self, setup: &Setup) -> bool {
        let is_open = |row: &Row| {
            self.ratio(*row).is_some_and(|ratio| ratio.is_above(Self::limit(setup, *row)) && !ratio.is_exact())
        };
        !self.0.keys().any(is_open)
    }

    /// What must not be.
    pub fn failures(&self, setup: &Setup) -> Vec<String> {
        let name = setup.name();
        let judge = |(row, [ours, _]): (&Row, &[Cell; 2])| {
            if ours.is_void() {
                return Some(format!("{name}, {row}: void, {}", ours.wrong().join(", ")));
            }
            let limit = Self::limit(setup, *row);
            let ratio = self.ratio(*row).filter(|ratio| ratio.is_above(limit))?;
            Some(format!("{name}, {row}: {ratio} of the stock module's CPU, more than {limit:.2}"))
        };
        self.0.iter().filter_map(judge).collect()
    }

    /// Ours to stock; none if either is void.
    fn ratio(&self, row: Row) -> Option<Ratio> {
        let [ours, stock] = self.0.get(&row)?;
        (!ours.is_void() && !stock.is_void()).then(|| Ratio::of(ours, stock))
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{:<28}{:>14}{:>14}{:>13}", "CPU, µs per operation", "ours", "stock", "ratio")?;
        for (row, [ours, stock]) in &self.0 {
            let ratio = self.ratio(*row).map_or("-".into(), |ratio| ratio.to_string());
            writeln!(f, "{row:<28}{ours:>14}{stock:>14}{ratio:>13}")?;
            for (name, cell) in [("ours", ours), ("stock", stock)].into_iter().filter(|(_, cell)| cell.is_void()) {
                writeln!(f, "    {name} void: of {} operations {}", cell.operations, cell.wrong().join(", "))?;
            }
        }
        Ok(())
    }
}

/// When, on what, with what.
pub fn heading(options: &Options) -> String {
    let first_line = |program: &str, arguments: &[&str]| {
        let output = Command::new(program).args(arguments).output().ok();
        output
            .and_then(|o| Some(String::from_utf8_lossy(&o.stdout).lines().next()?.trim().to_owned()))
            .unwrap_or_default()
    };
    let kamailio = first_line("kamailio", &["-v"]).split(' ').nth(2).unwrap_or("of an unknown version").to_owned();
    let cpus = std::thread::available_parallelism().map_or(0, usize::from);
    format!(
        "{}; ours: presence.so {}; stock: that of Kamailio {kamailio}, which runs both; {cpus} CPUs, shared with the load\n\
         {} operations per row and round, {} rounds, both servers side by side; CPU of all processes of a server",
        first_line("date", &["-u", "+%Y-%m-%d %H:%M UTC"]),
        env!("CARGO_PKG_VERSION"),
        options.operations,
        options.rounds,
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::setup::Step;
    use loadgen::Notifies;

    fn report(micros: u64, code: u16) -> Report {
        let tally = Tally { codes: [(code, 1)].into(), ..Tally::default() };
        Report { operations: 1, wall: Duration::ZERO, cpu: Duration::from_micros(micros), tally }
    }

    /// Two equal parts, or several that differ.
    fn table(row: Row, ours: &[Report], stock: &[Report]) -> Table {
        let mut table = Table::default();
        for (ours, stock) in ours.iter().zip(stock) {
            table.add(row, [(&Module::Ours("x".into()), ours.clone()), (&Module::Stock, stock.clone())]);
        }
        table
    }

    fn equal(row: Row, ours: Report, stock: Report) -> Table {
        table(row, &[ours.clone(), ours], &[stock.clone(), stock])
    }

    #[test]
    fn a_dearer_row_fails_and_a_cheaper_one_does_not() {
        let plain = Setup::all()[0];
        let other = Setup::all()[1];
        let publish = Row::Publish(Step::First);
        assert!(plain.is_the_plain_one() && !other.is_the_plain_one());
        assert_eq!(equal(publish, report(80, 200), report(100, 200)).failures(&plain).len(), 0);
        assert_eq!(equal(publish, report(90, 200), report(100, 200)).failures(&plain).len(), 1);
        assert_eq!(equal(publish, report(90, 200), report(100, 200)).failures(&other).len(), 0);
        assert_eq!(equal(publish, report(101, 200), report(100, 200)).failures(&other).len(), 1);
    }

    #[test]
    fn a_row_that_is_dearer_within_a_small_error_does_not_fail() {
        let (setup, row) = (Setup::all()[1], Row::Publish(Step::First));
        let stock = vec![report(1000, 200); 32];
        let ours = |spread: u64| (0..32).map(|n| report(1010 + spread * (n % 2) - spread / 2, 200)).collect::<Vec<_>>();
        let ratio = table(row, &ours(100), &stock).ratio(row).expect("not void");
        assert!((ratio.value - 1.01).abs() < 1e-9 && (ratio.error - 0.018).abs() < 0.001, "{ratio:?}");
        assert_eq!(table(row, &ours(100), &stock).failures(&setup).len(), 0);
        assert_eq!(table(row, &ours(10), &stock).failures(&setup).len(), 1, "beyond its error");
        assert_eq!(table(row, &ours(1000), &stock).failures(&setup).len(), 1, "the error is too large to tell");
        assert!(
            table(row, &ours(10), &stock).is_decided(&setup) && !table(row, &ours(1000), &stock).is_decided(&setup)
        );
        assert_eq!(table(row, &ours(10)[..1], &stock).failures(&setup).len(), 1, "one part has no error");
    }

    #[test]
    fn a_void_row_of_ours_fails_and_one_of_stock_claims_nothing() {
        let setup = Setup::all()[0];
        let row = Row::Subscribe(Step::First);
        let ours = equal(row, report(1, 500), report(100, 200));
        assert_eq!(ours.failures(&setup).len(), 1);
        assert!(ours.to_string().contains("ours void: of 2 operations 2 answered 500"));
        let stock = equal(row, report(900, 200), report(100, 500));
        assert!(stock.failures(&setup).is_empty() && stock.ratio(row).is_none());
    }

    #[test]
    fn a_fanout_that_reaches_too_few_is_void() {
        let notifies = Notifies { expected: 1, seen: 1, ..Notifies::default() };
        let few = Report { tally: Tally { notifies, ..report(1, 200).tally }, ..report(1, 200) };
        assert_eq!(equal(Row::Fanout(100), few.clone(), few).failures(&Setup::all()[0]).len(), 1);
    }
}
