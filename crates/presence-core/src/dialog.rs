//! The identity of a dialog (RFC 3261 12).

/// Call-ID and both tags, from the server's point of view: the To tag of the SUBSCRIBE is ours.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub struct DialogId<'a> {
    /// The Call-ID.
    pub call_id: &'a [u8],
    /// Our tag.
    pub to_tag: &'a [u8],
    /// The watcher's tag.
    pub from_tag: &'a [u8],
}
