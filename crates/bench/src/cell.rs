//! What was measured of one side in one row, and how two of them compare.

use crate::run::Sample;
use loadgen::Tally;
use std::collections::BTreeMap;
use std::fmt;

/// A larger error than this says nothing about a ratio.
const ERROR_LIMIT: f64 = 0.05;

/// What was measured of one side in one row, over all rounds.
#[derive(Clone, Default, Debug)]
pub struct Cell {
    rounds: BTreeMap<u32, Round>,
    /// What happened, over all rounds.
    tally: Tally,
    /// NOTIFYs that a fan-out sent too many or too few.
    off: u64,
}

#[derive(Clone, Default, Debug)]
struct Round {
    /// Of each part.
    amounts: Vec<f64>,
    operations: u64,
}

impl Cell {
    /// Adds a part of a round; in a fan-out each accepted PUBLISH is told to so many.
    pub fn add(&mut self, round: u32, told: Option<u32>, sample: Sample) {
        let Sample { amount, operations, tally } = sample;
        let entry = self.rounds.entry(round).or_default();
        entry.amounts.push(amount);
        entry.operations += operations;
        self.off += told.map_or(0, |told| (u64::from(told) * tally.accepted()).abs_diff(operations));
        self.tally.merge(tally);
    }

    /// What went wrong.
    pub fn wrong(&self) -> Vec<String> {
        let mut wrong = self.tally.complaints();
        if self.off > 0 {
            wrong.push(format!("{} NOTIFYs too many or too few", self.off));
        }
        if self.rounds.values().any(|round| round.operations == 0) {
            wrong.push("nothing was done".into());
        }
        wrong
    }

    /// Whether its numbers mean nothing.
    pub fn is_void(&self) -> bool {
        !self.wrong().is_empty()
    }

    /// In how many rounds it was measured.
    pub fn rounds(&self) -> usize {
        self.rounds.len()
    }

    /// What was done, over all rounds.
    pub fn operations(&self) -> u64 {
        self.rounds.values().map(|round| round.operations).sum()
    }

    /// Per operation, over all rounds.
    pub fn cost(&self) -> f64 {
        self.amounts().sum::<f64>() / self.operations().max(1) as f64
    }

    fn amounts(&self) -> impl Iterator<Item = f64> {
        self.rounds.values().flat_map(|round| round.amounts.iter().copied())
    }
}

impl Round {
    fn cost(&self) -> f64 {
        self.amounts.iter().sum::<f64>() / self.operations.max(1) as f64
    }
}

/// What an operation costs as a part of what another one costs.
#[derive(Clone, Copy, Debug)]
pub struct Ratio {
    pub value: f64,
    /// Two standard errors: in 19 of 20 measurements the value is not further off.
    pub error: f64,
}

impl Ratio {
    /// Over all rounds. The error is found by leaving out one part after the other (jackknife).
    pub fn of(one: &Cell, other: &Cell) -> Self {
        let value = one.cost() / other.cost();
        let [all, all_other] = [one, other].map(|cell| cell.amounts().sum::<f64>());
        let sums = all / all_other;
        let without = |(part, other): (f64, f64)| ((all - part) / (all_other - other) / sums - 1.0).powi(2);
        let parts = one.amounts().count() as f64;
        let spread = one.amounts().zip(other.amounts()).map(without).sum::<f64>() * (parts - 1.0) / parts;
        Self { value, error: 2.0 * value * spread.sqrt() }
    }

    /// An error that is no number (nothing but one part) is too large as well.
    pub fn is_exact(self) -> bool {
        self.error <= ERROR_LIMIT
    }

    /// Above it beyond the error, or not known to be.
    pub fn is_above(self, limit: f64) -> bool {
        self.value > limit && !(self.is_exact() && self.value - self.error <= limit)
    }
}

impl fmt::Display for Ratio {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.error.is_finite() {
            f.pad(&format!("{:.2} ±{:.2}", self.value, self.error))
        } else {
            f.pad(&format!("{:.2}", self.value))
        }
    }
}

/// The ratios of single rounds.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Spread {
    pub min: f64,
    pub median: f64,
    pub max: f64,
}

impl Spread {
    /// Of the rounds in which both were measured; none without any.
    pub fn of(one: &Cell, other: &Cell) -> Option<Self> {
        let ratio = |(round, one): (&u32, &Round)| Some(one.cost() / other.rounds.get(round)?.cost());
        let mut ratios: Vec<f64> = one.rounds.iter().filter_map(ratio).collect();
        ratios.sort_by(f64::total_cmp);
        let (min, max) = (*ratios.first()?, *ratios.last()?);
        let median = (ratios[(ratios.len() - 1) / 2] + ratios[ratios.len() / 2]) / 2.0;
        Some(Self { min, median, max })
    }
}

impl fmt::Display for Spread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("{:.2} / {:.2} / {:.2}", self.min, self.median, self.max))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A cell with a part for each number, so many in a round.
    fn cell(parts: &[f64], in_a_round: usize) -> Cell {
        let mut cell = Cell::default();
        for (index, amount) in parts.iter().enumerate() {
            let sample = Sample { amount: *amount, operations: 10, tally: Tally::default() };
            cell.add((index / in_a_round) as u32, None, sample);
        }
        cell
    }

    #[test]
    fn rounds_are_compared_one_by_one() {
        let stock = cell(&[100.0, 100.0, 200.0, 200.0, 100.0, 100.0, 50.0, 50.0], 2);
        let ours = cell(&[50.0, 70.0, 100.0, 60.0, 90.0, 90.0, 25.0, 10.0], 2);
        let spread = Spread::of(&ours, &stock).expect("four rounds");
        assert_eq!((spread.min, spread.max), (0.35, 0.9));
        assert!((spread.median - 0.5).abs() < 1e-9, "between 0.4 and 0.6: {spread}");
        assert!((Ratio::of(&ours, &stock).value - 495.0 / 900.0).abs() < 1e-9);
        assert_eq!(Spread::of(&ours, &cell(&[100.0; 2], 2)).map(|s| (s.min, s.max)), Some((0.6, 0.6)));
        assert_eq!(Spread::of(&ours, &Cell::default()), None);
        let odd = Spread::of(&cell(&[1.0, 9.0, 2.0], 1), &cell(&[1.0; 3], 1)).expect("three rounds");
        assert_eq!(odd, Spread { min: 1.0, median: 2.0, max: 9.0 });
    }

    #[test]
    fn the_cost_is_that_of_an_operation() {
        assert!((cell(&[50.0, 70.0, 30.0], 2).cost() - 5.0).abs() < 1e-9);
    }

    #[test]
    fn a_round_in_which_nothing_was_done_voids_the_row() {
        let mut one = cell(&[50.0, 70.0], 1);
        assert!(!one.is_void());
        one.add(2, None, Sample { amount: 5.0, operations: 0, tally: Tally::default() });
        assert_eq!(one.wrong(), ["nothing was done"]);
    }
}
