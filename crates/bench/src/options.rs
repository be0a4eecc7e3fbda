//! The command line.

use crate::setup::{Row, Setup};

pub const USAGE: &str = "\
usage: bench table [--quick] [--rounds N] [--operations N] [--rows TEXT] [--setup TEXT]
--rows, --setup: only those whose name contains the text (several, separated by commas)
The module under test is target/release/presence.so, or what PRESENCE_SO names.
Exit status 1: dearer than the stock module, a PUBLISH in memory with qm above 0.85 of it (beyond the error of the ratio,
which must not be more than 0.05), or a row of ours is void.";

/// What is asked for.
#[derive(Clone, Debug)]
pub struct Options {
    /// Runs of each module; more where the ratios are not exact by then.
    pub rounds: u32,
    /// Operations per row and run.
    pub operations: u32,
    pub rows: Vec<Row>,
    pub setups: Vec<Setup>,
}

impl Options {
    pub fn read(mut words: impl Iterator<Item = String>) -> Result<Self, String> {
        if words.next().as_deref() != Some("table") {
            return Err("what is to be done?".into());
        }
        let mut options = Self { rounds: 3, operations: 3000, rows: Row::ALL.into(), setups: Setup::all() };
        while let Some(word) = words.next() {
            if word == "--quick" {
                (options.rounds, options.operations) = (1, 1500);
                continue;
            }
            let value = words.next().ok_or_else(|| format!("{word} needs a value"))?;
            let number =
                || value.parse().ok().filter(|n| *n > 0).ok_or_else(|| format!("{word} {value}: not a number"));
            match word.as_str() {
                "--rounds" => options.rounds = number()?,
                "--operations" => options.operations = number()?,
                "--rows" => options.rows.retain(|row| has_one_of(&row.to_string(), &value)),
                "--setup" => options.setups.retain(|setup| has_one_of(&setup.name(), &value)),
                _ => return Err(format!("{word}: no such option")),
            }
        }
        if options.rows.is_empty() || options.setups.is_empty() {
            return Err("nothing is left to be measured".into());
        }
        Ok(options)
    }

    /// The rows that have to run, so that those that are asked for can.
    pub fn rows_to_run(&self) -> impl Iterator<Item = Row> {
        Row::ALL.into_iter().filter(|row| self.rows.iter().any(|wanted| row.is_needed_by(*wanted)))
    }
}

fn has_one_of(name: &str, texts: &str) -> bool {
    let name = name.to_lowercase();
    texts.split(',').any(|text| name.contains(&text.to_lowercase()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::setup::Step;

    fn read(line: &str) -> Result<Options, String> {
        Options::read(line.split(' ').map(str::to_owned))
    }

    #[test]
    fn filters_leave_what_they_name_and_what_that_needs() {
        let options = read("table --quick --rows refresh --setup sqlite1-qm").expect("a valid line");
        assert_eq!(options.rounds, 1);
        assert_eq!(options.rows, [Row::Publish(Step::Second), Row::Subscribe(Step::Second)]);
        assert_eq!(options.setups.iter().map(Setup::name).collect::<Vec<_>>(), ["sqlite1-qm-2w", "sqlite1-qm-1w"]);
        assert_eq!(options.rows_to_run().collect::<Vec<_>>(), Row::ALL[..5]);
        let fanout = read("table --rows 1000").expect("a valid line");
        assert_eq!(fanout.rows_to_run().collect::<Vec<_>>(), Row::ALL[7..]);
    }

    #[test]
    fn mistakes_are_refused() {
        for line in ["", "table --rows dance", "table --rounds 0", "table --rounds", "table --fast yes"] {
            assert!(read(line).is_err(), "{line}");
        }
    }
}
