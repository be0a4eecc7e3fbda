//! The state of a subscription, as RFC 6665 names it and the `status` columns store it.

/// Authorisation state of a watcher or a subscription.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Hash)]
#[repr(u8)]
pub enum Status {
    /// Allowed: gets the state.
    #[default]
    Active = 1,
    /// Waiting for a decision: gets empty NOTIFYs.
    Pending = 2,
    /// Ended or refused.
    Terminated = 3,
    /// No subscription any more, still waiting for a decision (RFC 3857 4.7.1); only in watcher information.
    Waiting = 4,
}

impl Status {
    /// From the number in a column or in the C interface.
    #[must_use]
    pub const fn from_number(n: u32) -> Option<Self> {
        match n {
            1 => Some(Self::Active),
            2 => Some(Self::Pending),
            3 => Some(Self::Terminated),
            4 => Some(Self::Waiting),
            _ => None,
        }
    }

    /// The word in Subscription-State and in watcher information documents.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Pending => "pending",
            Self::Terminated => "terminated",
            Self::Waiting => "waiting",
        }
    }
}

/// The reason of a watcher who is refused without being told so: gets NOTIFYs without a body.
pub const POLITE_BLOCK: &[u8] = b"polite-block";
/// The reason of a subscription that ran out or was given back.
pub const TIMEOUT: &[u8] = b"timeout";
