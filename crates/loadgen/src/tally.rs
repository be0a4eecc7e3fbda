//! What happened: every answer, every NOTIFY, every time.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

/// Times, for percentiles.
#[derive(Clone, Default, Debug)]
pub struct Times(Vec<u32>);

impl Times {
    /// Takes note of one.
    pub fn add(&mut self, time: Duration) {
        self.0.push(u32::try_from(time.as_micros()).unwrap_or(u32::MAX));
    }

    /// The time that this part (0 to 1) of all does not exceed; none without any.
    #[must_use]
    pub fn percentile(&self, part: f64) -> Option<Duration> {
        let mut sorted = self.0.clone();
        sorted.sort_unstable();
        let last = sorted.len().checked_sub(1)?;
        let micros = sorted[(last as f64 * part).round() as usize];
        Some(Duration::from_micros(micros.into()))
    }
}

/// `50 % / 99 % / longest` in milliseconds.
impl fmt::Display for Times {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ms = |part| self.percentile(part).map_or(0.0, |t| t.as_secs_f64() * 1e3);
        write!(f, "{:.2}/{:.2}/{:.2}", ms(0.5), ms(0.99), ms(1.0))
    }
}

/// NOTIFYs.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Notifies {
    /// Watchers that had to be told something.
    pub expected: u64,
    /// NOTIFYs that came, each counted once.
    pub seen: u64,
    /// Sent again by the server.
    pub again: u64,
    /// Watchers that were not told.
    pub lost: u64,
    /// CSeqs that went back in their dialog.
    pub back: u64,
    /// CSeqs that another NOTIFY of the dialog had.
    pub reused: u64,
    /// An older state under a higher CSeq.
    pub stale: u64,
    /// New ones in a dialog that had ended.
    pub after_end: u64,
    /// Dialogs that the server ended by itself.
    pub unasked: u64,
    /// For nobody.
    pub stray: u64,
}

/// The account of a phase.
#[derive(Clone, Default, Debug)]
pub struct Tally {
    /// Requests by the code of their final reply.
    pub codes: BTreeMap<u16, u64>,
    /// Requests that nobody answered.
    pub unanswered: u64,
    /// Requests sent again.
    pub again: u64,
    /// From a request to its final reply.
    pub replies: Times,
    /// From what caused a NOTIFY to its arrival.
    pub told: Times,
    /// From a probe (OPTIONS) to its reply.
    pub probes: Times,
    /// NOTIFYs.
    pub notifies: Notifies,
}

impl Tally {
    /// Adds another account.
    pub fn merge(&mut self, other: Self) {
        for (code, count) in other.codes {
            *self.codes.entry(code).or_default() += count;
        }
        self.unanswered += other.unanswered;
        self.again += other.again;
        self.replies.0.extend(other.replies.0);
        self.told.0.extend(other.told.0);
        self.probes.0.extend(other.probes.0);
        let (own, other) = (&mut self.notifies, other.notifies);
        own.expected += other.expected;
        own.seen += other.seen;
        own.again += other.again;
        own.lost += other.lost;
        own.back += other.back;
        own.reused += other.reused;
        own.stale += other.stale;
        own.after_end += other.after_end;
        own.unasked += other.unasked;
        own.stray += other.stray;
    }

    /// Requests that were answered 200.
    #[must_use]
    pub fn accepted(&self) -> u64 {
        self.codes.get(&200).copied().unwrap_or(0)
    }

    /// Requests that were answered something else, or not at all.
    #[must_use]
    pub fn refused(&self) -> u64 {
        self.codes.iter().filter(|(code, _)| **code != 200).map(|(_, count)| count).sum::<u64>() + self.unanswered
    }

    /// Everything that a server must not do, in words; empty if it did nothing of that.
    #[must_use]
    pub fn complaints(&self) -> Vec<String> {
        let codes =
            self.codes.iter().filter(|(code, _)| **code != 200).map(|(code, n)| (*n, format!("answered {code}")));
        let n = &self.notifies;
        let others = [
            (self.unanswered, "not answered"),
            (n.lost, "watchers not told"),
            (n.back, "CSeqs went back"),
            (n.reused, "CSeqs used again"),
            (n.stale, "NOTIFYs with an older state"),
            (n.after_end, "NOTIFYs after the last one"),
            (n.unasked, "dialogs ended by the server"),
            (n.stray, "NOTIFYs for nobody"),
        ];
        codes
            .chain(others.map(|(count, what)| (count, what.to_owned())))
            .filter(|(count, _)| *count > 0)
            .map(|(count, what)| format!("{count} {what}"))
            .collect()
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let n = &self.notifies;
        write!(f, "codes {:?}", self.codes)?;
        write!(f, ", replies {} ms, NOTIFYs {} of {} in {} ms", self.replies, n.seen, n.expected, self.told)?;
        if self.probes.percentile(0.0).is_some() {
            write!(f, ", probes {} ms", self.probes)?;
        }
        if self.again + n.again > 0 {
            write!(f, ", sent again {} requests {} NOTIFYs", self.again, n.again)?;
        }
        let complaints = self.complaints();
        if complaints.is_empty() { Ok(()) } else { write!(f, "; WRONG: {}", complaints.join(", ")) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_times_that_were_taken() {
        let mut times = Times::default();
        assert_eq!(times.percentile(0.5), None);
        (1..=101).rev().for_each(|ms| times.add(Duration::from_millis(ms)));
        assert_eq!(times.percentile(0.0), Some(Duration::from_millis(1)));
        assert_eq!(times.percentile(0.5), Some(Duration::from_millis(51)));
        assert_eq!(times.percentile(1.0), Some(Duration::from_millis(101)));
    }

    #[test]
    fn accounts_add_up_and_complain() {
        let mut tally = Tally { codes: [(200, 3)].into(), ..Tally::default() };
        assert!(tally.complaints().is_empty());
        let notifies = Notifies { lost: 2, ..Notifies::default() };
        tally.merge(Tally { codes: [(200, 1), (500, 1)].into(), unanswered: 1, notifies, ..Tally::default() });
        assert_eq!((tally.accepted(), tally.refused()), (4, 2));
        assert_eq!(tally.complaints(), ["1 answered 500", "1 not answered", "2 watchers not told"]);
    }
}
