//! URIs through the host's parser.

use crate::str::{borrow, bytes};
use kamailio_shim as raw;

/// User and host of a SIP URI, borrowed from the text that was parsed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UserHost<'a> {
    /// The user part; empty if there is none.
    pub user: &'a [u8],
    /// The host part.
    pub host: &'a [u8],
}

/// Parses a URI; none if the host cannot.
#[must_use]
pub fn parse(text: &[u8]) -> Option<UserHost<'_>> {
    let s = borrow(text);
    // SAFETY: the parser reads `len` bytes and stores pointers into them; what is returned borrows `text` (H1).
    unsafe {
        let mut parsed: raw::sip_uri_t = core::mem::zeroed();
        if raw::parse_uri(s.s, s.len, &raw mut parsed) != 0 {
            return None;
        }
        Some(UserHost { user: bytes(&parsed.user), host: bytes(&parsed.host) })
    }
}
