//! Time as values: nothing in this crate asks a clock.

use core::ops::{Add, Sub};

/// A point in time: seconds since 1970, as the tables store it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default, Hash)]
pub struct Timestamp(pub u32);

/// A length of time in seconds, as Expires header fields carry it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default, Hash)]
pub struct Seconds(pub u32);

/// A point on a clock that never jumps, in milliseconds from an arbitrary start; the same in all processes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default, Hash)]
pub struct Millis(pub u64);

impl Millis {
    /// In 32 bits, for records that are many: it comes round after 49 days.
    #[must_use]
    pub const fn tick(self) -> Tick {
        Tick(self.0 as u32)
    }
}

/// A point on the steady clock in 32 bits.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Tick(u32);

impl Tick {
    /// How many milliseconds ago it was, if it was less than 49 days ago. 0 if it is to come within a minute: another
    /// process looked at the clock later.
    #[must_use]
    pub const fn elapsed(self, now: Millis) -> u64 {
        let elapsed = now.tick().0.wrapping_sub(self.0);
        if elapsed > u32::MAX - 60_000 { 0 } else { elapsed as u64 }
    }

    /// How many milliseconds are left until it comes; 0 if it has come. It is less than 24 days away.
    #[must_use]
    pub const fn left(self, now: Millis) -> u64 {
        let left = self.0.wrapping_sub(now.tick().0);
        if left < 1 << 31 { left as u64 } else { 0 }
    }

    /// So many milliseconds later.
    #[must_use]
    pub const fn after(self, milliseconds: u32) -> Self {
        Self(self.0.wrapping_add(milliseconds))
    }

    /// Longer ago than anybody waits for anything: 24 days.
    #[must_use]
    pub const fn long_before(now: Millis) -> Self {
        Self(now.tick().0.wrapping_sub(1 << 31))
    }
}

/// Both clocks at one moment.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Now {
    /// The calendar's.
    pub unix: Timestamp,
    /// The steady one.
    pub steady: Millis,
}

impl Add<Seconds> for Timestamp {
    type Output = Self;
    fn add(self, length: Seconds) -> Self {
        Self(self.0.saturating_add(length.0))
    }
}

impl Sub<Seconds> for Timestamp {
    type Output = Self;
    fn sub(self, length: Seconds) -> Self {
        Self(self.0.saturating_sub(length.0))
    }
}

impl Timestamp {
    /// How long from `earlier` to this; zero if it lies before it.
    #[must_use]
    pub fn since(self, earlier: Self) -> Seconds {
        Seconds(self.0.saturating_sub(earlier.0))
    }

    /// As the tables' integer columns hold it; -1 for the end of time.
    #[must_use]
    pub fn column(self) -> i32 {
        if self.0 == u32::MAX { -1 } else { i32::try_from(self.0).unwrap_or(i32::MAX) }
    }

    /// From an integer column; what is negative ("never expires") is the end of time.
    #[must_use]
    pub fn from_column(value: i32) -> Self {
        Self(u32::try_from(value).unwrap_or(u32::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tick_comes_round_and_nobody_waits_longer_for_it() {
        for start in [0, 1_000_000, (1 << 32) - 5, 1 << 40] {
            let at = |milliseconds: u64| Millis(start + milliseconds);
            let tick = at(0).tick();
            assert_eq!([0, 1, 5000, 1 << 31].map(|ms| tick.elapsed(at(ms))), [0, 1, 5000, 1 << 31]);
            assert_eq!(at(30).tick().elapsed(at(0)), 0, "of a later look at the clock");
            let later = tick.after(700);
            assert_eq!([0, 699, 700, 701, 1 << 30].map(|ms| later.left(at(ms))), [700, 1, 0, 0, 0]);
            assert!(Tick::long_before(at(0)).elapsed(at(0)) > 1_000_000_000);
        }
    }
}
