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
}

/// The highest CSeq, and which of the 64 up to it were seen.
#[derive(Clone, Copy, Default, Debug)]
pub struct Sequence {
    highest: u32,
    seen: u64,
}

impl Sequence {
    /// Takes note of a CSeq.
    pub fn arrive(&mut self, cseq: u32) -> Arrival {
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
        assert_eq!(sequence.arrive(5), Arrival::New);
        assert_eq!(sequence.arrive(5), Arrival::Again);
        assert_eq!(sequence.arrive(9), Arrival::New);
        assert_eq!(sequence.arrive(5), Arrival::Again);
        assert_eq!(sequence.arrive(7), Arrival::Back);
        assert_eq!(sequence.arrive(7), Arrival::Again);
        assert_eq!(sequence.arrive(500), Arrival::New);
        assert_eq!(sequence.arrive(9), Arrival::Back);
        assert_eq!(sequence.arrive(500), Arrival::Again);
    }
}
