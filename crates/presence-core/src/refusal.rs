//! Refusals: expected outcomes that *are* the SIP reply. And faults: ours or the surroundings'.

use crate::package::{Package, PackageId, name_of, type_of};
use crate::time::Seconds;
use core::ffi::CStr;

/// The status code of a reply and its reason phrase.
pub type Status = (u16, &'static CStr);

/// What there are too many of.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Cap {
    /// Subscriptions of one watcher (`max_subs_per_watcher`).
    Watcher,
    /// Subscriptions to one presentity and package (`max_subs_per_presentity`).
    Presentity,
}

/// Why a request is refused. Each value is one final reply.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Refusal {
    /// The request cannot be understood (RFC 3261 21.4.1).
    BadRequest,
    /// An initial PUBLISH without a body (RFC 3903 6, step 5).
    InvalidRequest,
    /// The watcher takes no document that this package has (RFC 3261 21.4.7); with `rfc_strict`.
    NotAcceptable(PackageId),
    /// SIP-If-Match names no publication (RFC 3903 6, step 3).
    ConditionFailed,
    /// The document is not of this package's type (RFC 3903 6, step 5); with `rfc_strict`.
    UnsupportedType(PackageId),
    /// Expires is below the minimum (RFC 3261 21.4.17).
    IntervalTooBrief(Seconds),
    /// There is no such subscription (RFC 6665 4.2.1.2).
    NoSubscription,
    /// A request of the dialog with this CSeq or a higher one was handled already (RFC 3261 12.2.2); with `rfc_strict`.
    OutOfOrder,
    /// No package of that name (RFC 6665 4.2.1.1).
    BadEvent,
    /// There are as many subscriptions as there may be. The same request would be refused again (RFC 3261 21.4.4);
    /// a 503 would tell the phone to leave a server that is well (21.5.4).
    TooMany(Cap),
    /// The document is larger than the database can take (RFC 3261 21.4.11).
    TooLarge,
    /// Memory is exhausted, or the database cannot be written in time: nothing was changed. With write-through a refresh
    /// of a subscription is in memory by then.
    Unavailable(Seconds),
    /// A package refused, or something failed that is logged elsewhere.
    ServerError,
}

impl Refusal {
    /// Status code and reason phrase; the phrases are the ones that Kamailio's operators know.
    #[must_use]
    pub const fn status(self) -> Status {
        match self {
            Self::BadRequest => (400, c"Bad request"),
            Self::InvalidRequest => (400, c"Invalid request"),
            Self::TooMany(_) => (403, c"Too many subscriptions"),
            Self::NotAcceptable(_) => (406, c"Not Acceptable"),
            Self::ConditionFailed => (412, c"Conditional request failed"),
            Self::TooLarge => (413, c"Request Entity Too Large"),
            Self::UnsupportedType(_) => (415, c"Unsupported Media Type"),
            Self::IntervalTooBrief(_) => (423, c"Interval Too Brief"),
            Self::NoSubscription => (481, c"Subscription does not exist"),
            Self::BadEvent => (489, c"Bad Event"),
            Self::OutOfOrder => (500, c"Request Out Of Order"),
            Self::Unavailable(_) => (503, c"Service Unavailable"),
            Self::ServerError => (500, c"Server Internal Error"),
        }
    }

    /// The header lines that belong to the reply.
    #[must_use]
    pub fn headers(self, packages: &[Package]) -> Vec<u8> {
        match self {
            Self::IntervalTooBrief(Seconds(min)) => format!("Min-Expires: {min}\r\n").into_bytes(),
            Self::Unavailable(Seconds(after)) => format!("Retry-After: {after}\r\n").into_bytes(),
            Self::BadEvent => [b"Allow-Events: ", &crate::server::allow_events(packages)[..], b"\r\n"].concat(),
            Self::UnsupportedType(id) => [b"Accept: ", type_of(packages, id), b"\r\n"].concat(),
            Self::NotAcceptable(id) => {
                let (name, content) = (name_of(packages, id), type_of(packages, id));
                [b"Warning: 399 presence \"NOTIFYs of ", name, b" carry ", content, b"\"\r\n"].concat()
            }
            _ => Vec::new(),
        }
    }
}

/// The surroundings failed. Logged where it happened.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fault {
    /// A package did.
    Package,
    /// The database did, or was busy for too long.
    Storage,
}

/// There is no memory left for what was asked; nothing was changed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Exhausted;

/// How long a client is asked to wait when the server is short of something.
pub const RETRY_AFTER: Seconds = Seconds(5);

impl From<Fault> for Refusal {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Package => Self::ServerError,
            Fault::Storage => Self::Unavailable(RETRY_AFTER),
        }
    }
}

impl From<Exhausted> for Refusal {
    fn from(_: Exhausted) -> Self {
        Self::Unavailable(RETRY_AFTER)
    }
}
