//! A subscription: what the server knows of one watcher's dialog. Its texts are packed into one block.

use crate::dialog::DialogId;
use crate::package::PackageId;
use crate::status::Status;
use crate::time::{Seconds, Timestamp};

/// The texts of a subscription, in the order in which they are packed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(usize)]
pub enum Field {
    /// User of the To URI.
    ToUser,
    /// Host of the To URI.
    ToDomain,
    /// User of the From URI.
    FromUser,
    /// Host of the From URI.
    FromDomain,
    /// User of the watcher, who need not be the one in From.
    WatcherUser,
    /// Host of the watcher.
    WatcherDomain,
    /// Parameters of the Event header field, from the first semicolon on.
    EventParams,
    /// Our tag.
    ToTag,
    /// The watcher's tag.
    FromTag,
    /// Call-ID.
    CallId,
    /// The socket of the dialog, as the host names it.
    Socket,
    /// Where the watcher is reached.
    Contact,
    /// Our address in the dialog.
    LocalContact,
    /// The route set.
    RecordRoute,
    /// Why the subscription is in its state.
    Reason,
    /// The watcher's User-Agent.
    UserAgent,
    /// Which phone the watcher's is (`+sip.instance`, RFC 5626), if somebody wants to know. No column has it: it is
    /// known until the server stops, and not at all where subscriptions are in the database only.
    Instance,
}

/// Number of [`Field`]s.
pub const FIELDS: usize = 17;
/// Bytes before the first text: the lengths.
const HEAD: usize = 2 * FIELDS;

/// A text is longer than a subscription can hold (65,535 bytes).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TooLong;

/// The texts of a subscription: 16-bit lengths, then the bytes, in one block.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Texts<B: AsRef<[u8]> = Vec<u8>>(B);

impl Texts {
    /// Packs texts; those that are not named are empty.
    pub fn pack(texts: &[(Field, &[u8])]) -> Result<Self, TooLong> {
        let mut by_field: [&[u8]; FIELDS] = [b""; FIELDS];
        for (field, text) in texts {
            by_field[*field as usize] = text;
        }
        Self::pack_all(&by_field)
    }

    fn pack_all(by_field: &[&[u8]; FIELDS]) -> Result<Self, TooLong> {
        let mut block = Vec::with_capacity(HEAD + by_field.iter().map(|t| t.len()).sum::<usize>());
        for text in by_field {
            let len = u16::try_from(text.len()).map_err(|_| TooLong)?;
            block.extend_from_slice(&len.to_ne_bytes());
        }
        for text in by_field {
            block.extend_from_slice(text);
        }
        Ok(Self(block))
    }
}

impl<B: AsRef<[u8]>> Texts<B> {
    /// Takes a block that [`Texts::pack`] made.
    pub const fn from_block(block: B) -> Self {
        Self(block)
    }

    /// The block.
    pub fn block(&self) -> &[u8] {
        self.0.as_ref()
    }

    /// One text.
    pub fn get(&self, field: Field) -> &[u8] {
        text_at(self.block(), field as usize)
    }

    /// The same texts but for some.
    pub fn with(&self, changes: &[(Field, &[u8])]) -> Result<Texts, TooLong> {
        let mut by_field: [&[u8]; FIELDS] = [b""; FIELDS];
        let mut rest = self.block().get(HEAD..).unwrap_or_default();
        for (index, text) in by_field.iter_mut().enumerate() {
            (*text, rest) = rest.split_at_checked(len_at(self.block(), index)).unwrap_or((b"", b""));
        }
        for (field, text) in changes {
            by_field[*field as usize] = text;
        }
        Texts::pack_all(&by_field)
    }

    /// The dialog's identity.
    pub fn dialog(&self) -> DialogId<'_> {
        DialogId {
            call_id: self.get(Field::CallId),
            to_tag: self.get(Field::ToTag),
            from_tag: self.get(Field::FromTag),
        }
    }
}

fn len_at(block: &[u8], index: usize) -> usize {
    match block.get(2 * index..2 * index + 2) {
        Some(&[a, b]) => usize::from(u16::from_ne_bytes([a, b])),
        _ => 0,
    }
}

/// Not inlined: it is called for a dozen fields in a row, and code that is not there twice is warm the second time.
#[inline(never)]
fn text_at(block: &[u8], index: usize) -> &[u8] {
    let start: usize = HEAD + (0..index).map(|before| len_at(block, before)).sum::<usize>();
    block.get(start..start + len_at(block, index)).unwrap_or_default()
}

/// A subscription as it is passed around: a value of its own, not a place in a store.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Subscription {
    /// The presentity's URI.
    pub presentity: Vec<u8>,
    /// The package.
    pub package: PackageId,
    /// The texts.
    pub texts: Texts,
    /// CSeq of the last SUBSCRIBE.
    pub remote_cseq: u32,
    /// Counts the NOTIFYs: the CSeq of the last one, less one (the host counts once more when it sends).
    pub local_cseq: u32,
    /// Version of the last document that carries one.
    pub version: u32,
    /// When it ends.
    pub expires: Timestamp,
    /// Its state.
    pub status: Status,
    /// The branch flags that the script had set.
    pub branch_flags: u32,
}

impl Subscription {
    /// One of its texts.
    #[must_use]
    pub fn text(&self, field: Field) -> &[u8] {
        self.texts.get(field)
    }

    /// Whether the watcher is refused without being told.
    #[must_use]
    pub fn is_politely_blocked(&self) -> bool {
        self.status == Status::Active && self.text(Field::Reason) == crate::status::POLITE_BLOCK
    }

    /// State and reason as a NOTIFY says them: without time left it is over, whatever its state was.
    #[must_use]
    pub fn told_state(&self, left: Seconds) -> (Status, &[u8]) {
        if left == Seconds(0) && self.status != Status::Terminated {
            return (Status::Terminated, crate::status::TIMEOUT);
        }
        (self.status, self.text(Field::Reason))
    }

    /// The `id` parameter of its Event header field.
    #[must_use]
    pub fn event_id(&self) -> &[u8] {
        event_id(self.text(Field::EventParams))
    }
}

/// The `id` parameter in the parameters of an Event header field, as stored.
#[must_use]
pub fn event_id(params: &[u8]) -> &[u8] {
    crate::media::split_outside_quotes(params, b';')
        .find_map(|p| {
            let mut halves = p.splitn(2, |&b| b == b'=');
            let is_id = halves.next().is_some_and(|name| name.eq_ignore_ascii_case(b"id"));
            is_id.then(|| halves.next().unwrap_or_default())
        })
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_come_back_as_packed_and_change_one_by_one() {
        let texts =
            Texts::pack(&[(Field::CallId, b"c"), (Field::ToUser, b"alice"), (Field::UserAgent, b"ua")]).expect("packs");
        assert_eq!(texts.get(Field::ToUser), b"alice");
        assert_eq!(texts.get(Field::CallId), b"c");
        assert_eq!(texts.get(Field::UserAgent), b"ua");
        assert_eq!(texts.get(Field::Contact), b"");
        let changed = texts.with(&[(Field::Contact, b"sip:x"), (Field::ToUser, b"")]).expect("packs");
        assert_eq!(changed.get(Field::ToUser), b"");
        assert_eq!(changed.get(Field::Contact), b"sip:x");
        assert_eq!(changed.get(Field::UserAgent), b"ua");
    }

    #[test]
    fn a_text_beyond_the_limit_is_refused() {
        assert!(Texts::pack(&[(Field::Contact, &vec![b'x'; 65_535])]).is_ok());
        assert_eq!(Texts::pack(&[(Field::Contact, &vec![b'x'; 65_536])]), Err(TooLong));
    }

    #[test]
    fn the_id_is_found_among_parameters() {
        assert_eq!(event_id(b";sla;id=7;x=1"), b"7");
        assert_eq!(event_id(b";xid=7"), b"");
        assert_eq!(event_id(b";x=\"a;id=3\""), b"", "within quotes");
        assert_eq!(event_id(b";id=\"a;b\";x"), b"\"a;b\"");
        assert_eq!(event_id(b""), b"");
        assert_eq!(event_id(b";id;id=7"), b"", "the first one counts");
    }
}
