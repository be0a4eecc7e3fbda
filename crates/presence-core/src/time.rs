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
