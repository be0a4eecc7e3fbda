//! Entity-tags (RFC 3903 4.1).
//!
//! Shape: `a.<64 random bits in hex>.<counter>`. The random part makes a tag unguessable and unique over servers and
//! restarts; it stays while the counter grows with each change, because the C module takes a tag for one of its own
//! only if it ends in a dot and a decimal number, and has to be able to carry on with our rows.

use crate::render::push_number;

/// An entity-tag as it is stored and sent.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct EntityTag(pub Vec<u8>);

/// The longest tag that the `etag` column holds.
pub const MAX_LEN: usize = 128;

impl EntityTag {
    /// The tag of a new publication.
    #[must_use]
    pub fn first(random: u64) -> Self {
        Self::make(random, 0)
    }

    /// The tag after a change: fresh random bits, and a counter one above the old tag's.
    #[must_use]
    pub fn next(old: &[u8], random: u64) -> Self {
        Self::make(random, counter(old).map_or(0, |n| n.wrapping_add(1)))
    }

    fn make(random: u64, counter: u32) -> Self {
        let mut text = Vec::with_capacity(32);
        let mut digits = [0; 16];
        // It fails for a place of another length only.
        let _ = hex::encode_to_slice(random.to_be_bytes(), &mut digits);
        text.extend_from_slice(b"a.");
        text.extend_from_slice(&digits);
        text.push(b'.');
        push_number(&mut text, counter);
        Self(text)
    }

    /// The tag's text.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

/// The number behind the last dot.
fn counter(tag: &[u8]) -> Option<u32> {
    let dot = tag.iter().rposition(|&b| b == b'.')?;
    core::str::from_utf8(&tag[dot + 1..]).ok()?.parse().ok()
}

/// A tag in a SIP-If-Match header field: the token without white space around.
#[must_use]
pub fn from_header(text: &[u8]) -> &[u8] {
    text.trim_ascii()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_counts_on_and_draws_new_bits() {
        let first = EntityTag::first(0xfeed);
        assert_eq!(first.as_bytes(), b"a.000000000000feed.0");
        assert_eq!(EntityTag::next(first.as_bytes(), 1).as_bytes(), b"a.0000000000000001.1");
        assert_eq!(EntityTag::next(b"a.1795246611.14724.46.8", 1).as_bytes(), b"a.0000000000000001.9");
    }

    #[test]
    fn a_foreign_tag_starts_a_new_count() {
        assert_eq!(EntityTag::next(b"no-number", 2).as_bytes(), b"a.0000000000000002.0");
        assert_eq!(EntityTag::next(b"a.4294967295", 2).as_bytes(), b"a.0000000000000002.0");
    }
}
