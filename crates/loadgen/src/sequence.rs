//! The CSeqs of the NOTIFYs in one dialog (RFC 3261 12.2.2: they only grow).

/// How a CSeq stands to those before it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Arrival {
    /// Higher than all others.
    New,
    /// Seen before: the server sent the NOTIFY again.
    Again,
    /// Lower than another one, and not seen before: a phone refuses it.
    Back,
    /// Seen before, in another NOTIFY.
    Reused,
}

/// Of so many CSeqs the NOTIFY is remembered.
const REMEMBERED: usize = 4;

/// The highest CSeq, and which of the 64 up to it were seen.
#[derive(Clone, Copy, Default, Debug)]
pub struct Sequence {
    highest: u32,
    seen: u64,
    /// The last CSeqs, and what tells their NOTIFYs from others.
    last: [(u32, u32); REMEMBERED],
}

impl Sequence {
    /// Takes note of a CSeq. `request` tells the NOTIFY from others: it is the same when it is sent again.
    pub fn arrive(&mut self, cseq: u32, request: u32) -> Arrival {
        let arrival = self.place(cseq);
        match self.last.iter().find(|(known, _)| *known == cseq) {
            Some((_, known)) if arrival == Arrival::Again && *known != request => return Arrival::Reused,
            _ if arrival == Arrival::Again => {}
            _ => {
                self.last.rotate_right(1);
                self.last[0] = (cseq, request);
            }
        }
        arrival
    }

    fn place(&mut self, cseq: u32) -> Arrival {
        if self.seen == 0 || cseq > self.highest {
            let step = if self.seen == 0 { 64 } else { cseq - self.highest };
            self.seen = self.seen.checked_shl(step).unwrap_or(0) | 1;
            self.highest = cseq;
            return Arrival::New;
        }
        let bit = 1u64.checked_shl(self.highest - cseq).unwrap_or(0);
        if self.seen & bit != 0 {
            return Arrival::Again;
        }
        self.seen |= bit;
        Arrival::Back
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_seen_is_a_repetition_and_what_was_not_went_back() {
        let mut sequence = Sequence::default();
        assert_eq!(sequence.arrive(5, 5), Arrival::New);
        assert_eq!(sequence.arrive(5, 5), Arrival::Again);
        assert_eq!(sequence.arrive(9, 9), Arrival::New);
        assert_eq!(sequence.arrive(5, 5), Arrival::Again);
        assert_eq!(sequence.arrive(7, 7), Arrival::Back);
        assert_eq!(sequence.arrive(7, 7), Arrival::Again);
        assert_eq!(sequence.arrive(500, 500), Arrival::New);
        assert_eq!(sequence.arrive(9, 9), Arrival::Back);
        assert_eq!(sequence.arrive(500, 500), Arrival::Again);
    }

    #[test]
    fn another_notify_with_the_same_number_is_not_a_repetition() {
        let mut sequence = Sequence::default();
        assert_eq!(sequence.arrive(5, 1), Arrival::New);
        assert_eq!(sequence.arrive(5, 1), Arrival::Again);
        assert_eq!(sequence.arrive(5, 2), Arrival::Reused);
        assert_eq!(sequence.arrive(6, 3), Arrival::New);
        assert_eq!(sequence.arrive(5, 2), Arrival::Reused);
    }
}
