//! The command line.

use crate::row::{HUGE, LARGE, Row, STOCK_CROWD};
use crate::setup::Setup;
use std::time::Duration;

pub const USAGE: &str = "\
usage: bench table [--quick | --full] [--rounds N] [--operations N] [--rows TEXT] [--setup TEXT]
--rows, --setup: only those whose name contains the text (several, separated by commas), whatever the run is otherwise
The module under test is target/release/presence.so, or what PRESENCE_SO names.
A run without further options is saved in benches/results.
Exit status 1: dearer than the stock module, a PUBLISH in memory with qm above 0.85 of it (beyond the error of the ratio,
which must not be more than 0.05), or a row of ours is void. A target that is missed is told in the table only.";

/// How much is asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mode {
    /// What tells most, once.
    Quick,
    Standard,
    /// Every set-up, and again until each ratio is exact enough for its limit.
    Full,
}

impl Mode {
    /// The sizes that a crowd grows over.
    pub fn levels(self) -> &'static [u32] {
        match self {
            Self::Quick => &[100, 1000, LARGE],
            Self::Standard => &[100, 1000, LARGE, STOCK_CROWD, HUGE],
            Self::Full => &[100, 1000, 2000, LARGE, STOCK_CROWD, 20_000, HUGE],
        }
    }

    /// How many times the rounds are repeated at most, until the ratios are exact enough.
    pub fn patience(self) -> u32 {
        if self == Self::Full { 5 } else { 1 }
    }

    /// How long a run takes at most, where the first round alone does not take longer.
    pub fn time(self) -> Option<Duration> {
        let minutes = |n: u64| Some(Duration::from_secs(60 * n));
        match self {
            Self::Quick => minutes(2),
            Self::Standard => minutes(14),
            Self::Full => None,
        }
    }

    fn setups(self) -> Vec<Setup> {
        let has = |setup: &Setup| match self {
            Self::Quick => setup.is_in_memory() && !setup.is_cold() && !setup.is_direct(),
            // Mode 2 with two workers is the full run's: the stock module loses something in every part of it.
            Self::Standard => {
                let name = setup.name();
                !(setup.is_cold() || name.starts_with("sqlite2-") && name.ends_with("-2w"))
            }
            Self::Full => true,
        };
        Setup::all().into_iter().filter(has).collect()
    }

    /// What the file of its results is called behind the date.
    pub fn suffix(self) -> &'static str {
        match self {
            Self::Quick => "-quick",
            Self::Standard => "",
            Self::Full => "-full",
        }
    }
}

/// What is asked for.
#[derive(Clone, Debug)]
pub struct Options {
    pub mode: Mode,
    /// Runs of each module; more where the ratios are not exact by then.
    pub rounds: u32,
    /// Operations per row and run.
    pub operations: u32,
    pub rows: Vec<Row>,
    pub setups: Vec<Setup>,
    /// The words of the command line that leave something out or change something.
    pub given: Vec<String>,
}

impl Options {
    pub fn read(mut words: impl Iterator<Item = String>) -> Result<Self, String> {
        if words.next().as_deref() != Some("table") {
            return Err("what is to be done?".into());
        }
        let (mut mode, mut given) = (Mode::Standard, Vec::new());
        while let Some(word) = words.next() {
            match word.as_str() {
                "--quick" => mode = Mode::Quick,
                "--full" => mode = Mode::Full,
                _ => {
                    let value = words.next().ok_or_else(|| format!("{word} needs a value"))?;
                    given.push((word, value));
                }
            }
        }
        let (rounds, operations) = match mode {
            Mode::Quick => (1, 1000),
            Mode::Standard => (3, 1500),
            Mode::Full => (3, 3000),
        };
        let rows = Row::OF_MANY.into_iter().chain(Row::of_one(mode.levels())).collect();
        let mut options = Self { mode, rounds, operations, rows, setups: mode.setups(), given: Vec::new() };
        for (word, value) in given {
            options.given.extend([word.clone(), value.clone()]);
            let number =
                || value.parse().ok().filter(|n| *n > 0).ok_or_else(|| format!("{word} {value}: not a number"));
            match word.as_str() {
                "--rounds" => options.rounds = number()?,
                "--operations" => options.operations = number()?,
                "--rows" => options.rows.retain(|row| has_one_of(&row.to_string(), &value)),
                "--setup" => options.setups = named(&value),
                _ => return Err(format!("{word}: no such option")),
            }
        }
        options.setups.retain(|setup| setup.rows(mode.levels()).iter().any(|row| options.rows.contains(row)));
        if options.rows.is_empty() || options.setups.is_empty() {
            return Err("nothing is left to be measured".into());
        }
        Ok(options)
    }

    /// Whether nothing is left out or changed: the results are worth keeping.
    pub fn is_whole(&self) -> bool {
        self.given.is_empty()
    }

    /// The rows of a set-up that have to run, so that those that are asked for can.
    pub fn rows_to_run(&self, setup: &Setup) -> Vec<Row> {
        let rows = setup.rows(self.mode.levels());
        let wanted: Vec<Row> = rows.iter().copied().filter(|row| self.rows.contains(row)).collect();
        rows.into_iter().filter(|row| wanted.iter().any(|wanted| row.is_needed_by(*wanted))).collect()
    }
}

fn named(texts: &str) -> Vec<Setup> {
    Setup::all().into_iter().filter(|setup| has_one_of(&setup.name(), texts)).collect()
}

fn has_one_of(name: &str, texts: &str) -> bool {
    let name = name.to_lowercase();
    texts.split(',').any(|text| name.contains(&text.to_lowercase()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::row::Step;

    fn read(line: &str) -> Result<Options, String> {
        Options::read(line.split(' ').map(str::to_owned))
    }

    fn names(options: &Options) -> Vec<String> {
        options.setups.iter().map(Setup::name).collect()
    }

    #[test]
    fn filters_leave_what_they_name_and_what_that_needs() {
        let options = read("table --quick --rows refresh --setup sqlite1-qm").expect("a valid line");
        assert_eq!(options.rounds, 1);
        assert_eq!(options.rows[..2], [Row::Publish(Step::Second), Row::Subscribe(Step::Second)]);
        assert_eq!(names(&options), ["sqlite1-qm-2w", "sqlite1-qm-1w"]);
        assert_eq!(options.rows_to_run(&options.setups[0]), Row::OF_MANY[..5]);
        let fanout = read("table --rows fan-out --setup memory-qm-2w").expect("a valid line");
        assert_eq!(fanout.rows_to_run(&fanout.setups[0]), Row::OF_MANY[6..]);
        let end = read("table --rows end --setup crowd-tlsf").expect("a valid line");
        let end = end.rows_to_run(&end.setups[0]);
        assert_eq!(end.len(), 3 * 4);
        assert!(end.iter().all(|row| matches!(row, Row::Joining(..))));
    }

    #[test]
    fn what_a_crowd_has_not_leaves_it_out() {
        let publish = read("table --quick --rows initial,PUBLISH").expect("a valid line");
        assert_eq!(names(&publish), ["memory-qm-2w", "memory-tlsf-2w", "crowd-qm-2w", "crowd-tlsf-2w"]);
        let refresh = read("table --quick --rows modify").expect("a valid line");
        assert_eq!(names(&refresh), ["memory-qm-2w", "memory-tlsf-2w"]);
    }

    #[test]
    fn the_full_run_has_every_row_and_set_up_and_only_whole_runs_are_kept() {
        let full = read("table --full").expect("a valid line");
        assert_eq!(full.setups, Setup::all());
        for setup in &full.setups {
            let rows = full.rows_to_run(setup);
            let [standard, quick] = [Mode::Standard, Mode::Quick].map(|mode| setup.rows(mode.levels()));
            assert!(standard.iter().chain(&quick).all(|row| rows.contains(row)), "{}", setup.name());
        }
        assert_eq!([names(&read("table").expect("a valid line")).len(), full.setups.len()], [12, 16]);
        assert!(full.is_whole() && read("table --quick").expect("a valid line").is_whole());
        assert!(!read("table --rounds 2").expect("a valid line").is_whole());
    }

    #[test]
    fn mistakes_are_refused() {
        for line in ["", "table --rows dance", "table --rounds 0", "table --rounds", "table --fast yes"] {
            assert!(read(line).is_err(), "{line}");
        }
    }
}
