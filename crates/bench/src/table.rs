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

/// What was measured of one module in one row.
#[derive(Clone, Default, Debug)]
struct Cell {
    /// Over all rounds.
    cpu: Duration,
    operations: u64,
    /// What happened, over all runs.
    tally: Tally,
    /// NOTIFYs that a fan-out sent too many or too few.
    off: u64,
}

impl Cell {
    fn add(&mut self, row: Row, report: Report) {
        self.cpu += report.cpu;
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
        self.cpu.as_secs_f64() * 1e6 / self.operations.max(1) as f64
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

/// One configuration's rows.
#[derive(Clone, Default, Debug)]
pub struct Table(BTreeMap<Row, [Cell; 2]>);

impl Table {
    pub fn add(&mut self, row: Row, module: &Module, report: Report) {
        self.0.entry(row).or_default()[usize::from(module.is_stock())].add(row, report);
    }

    /// What must not be.
    pub fn failures(&self, setup: &Setup) -> Vec<String> {
        let publish_limit = if setup.is_the_plain_one() { PUBLISH_LIMIT } else { LIMIT };
        let name = setup.name();
        let judge = |(row, [ours, _]): (&Row, &[Cell; 2])| {
            if ours.is_void() {
                return Some(format!("{name}, {row}: void, {}", ours.wrong().join(", ")));
            }
            let limit = if matches!(row, Row::Publish(_)) { publish_limit } else { LIMIT };
            let ratio = self.ratio(*row).filter(|ratio| *ratio > limit)?;
            Some(format!("{name}, {row}: {ratio:.2} of the stock module's CPU, more than {limit:.2}"))
        };
        self.0.iter().filter_map(judge).collect()
    }

    /// Ours to stock; none if either is void.
    fn ratio(&self, row: Row) -> Option<f64> {
        let [ours, stock] = self.0.get(&row)?;
        (!ours.is_void() && !stock.is_void()).then(|| ours.cost() / stock.cost())
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{:<28}{:>14}{:>14}{:>8}", "CPU, µs per operation", "ours", "stock", "ratio")?;
        for (row, [ours, stock]) in &self.0 {
            let ratio = self.ratio(*row).map_or("-".into(), |ratio| format!("{ratio:.2}"));
            writeln!(f, "{row:<28}{ours:>14}{stock:>14}{ratio:>8}")?;
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

    fn table(row: Row, ours: Report, stock: Report) -> Table {
        let mut table = Table::default();
        table.add(row, &Module::Ours("x".into()), ours);
        table.add(row, &Module::Stock, stock);
        table
    }

    #[test]
    fn a_dearer_row_fails_and_a_cheaper_one_does_not() {
        let plain = Setup::all()[0];
        let other = Setup::all()[1];
        let publish = Row::Publish(Step::First);
        assert!(plain.is_the_plain_one() && !other.is_the_plain_one());
        assert_eq!(table(publish, report(80, 200), report(100, 200)).failures(&plain).len(), 0);
        assert_eq!(table(publish, report(90, 200), report(100, 200)).failures(&plain).len(), 1);
        assert_eq!(table(publish, report(90, 200), report(100, 200)).failures(&other).len(), 0);
        assert_eq!(table(publish, report(101, 200), report(100, 200)).failures(&other).len(), 1);
    }

    #[test]
    fn a_void_row_of_ours_fails_and_one_of_stock_claims_nothing() {
        let setup = Setup::all()[0];
        let row = Row::Subscribe(Step::First);
        let ours = table(row, report(1, 500), report(100, 200));
        assert_eq!(ours.failures(&setup).len(), 1);
        assert!(ours.to_string().contains("ours void: of 1 operations 1 answered 500"));
        let stock = table(row, report(900, 200), report(100, 500));
        assert_eq!((stock.failures(&setup).len(), stock.ratio(row)), (0, None));
    }

    #[test]
    fn a_fanout_that_reaches_too_few_is_void() {
        let notifies = Notifies { expected: 1, seen: 1, ..Notifies::default() };
        let few = Report { tally: Tally { notifies, ..report(1, 200).tally }, ..report(1, 200) };
        assert_eq!(table(Row::Fanout(100), few.clone(), few).failures(&Setup::all()[0]).len(), 1);
    }
}
