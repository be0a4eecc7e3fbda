//! What a shard holds: subscriptions, resources (a presentity for one package) and publications.

use super::chain::{Chain, Ends, Links};
use super::slab::{NIL, Record};
use super::wheel::Timed;
use crate::package::PackageId;
use crate::status::Status;
use crate::time::Tick;
use allocator_api2::{alloc::Allocator, boxed::Box};

/// A block of bytes of its own.
pub type Block<A> = Option<Box<[u8], A>>;

/// Where a subscription stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Stage {
    /// The slot is free.
    Vacant,
    /// It is in both indexes.
    Open,
    /// Its place is in the database; here is only the NOTIFY that is owed or under way, in the dialog index.
    Guest,
    /// It is over; one last NOTIFY is due or under way. `true`: with the state.
    Last(bool),
    /// It is over; its row in the database still has to be deleted.
    Gone,
}

/// Whether a NOTIFY of the dialog is under way.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Flight {
    /// None.
    None,
    /// Somebody is about to send one after a reply: others leave it to them.
    Held,
    /// One was handed to the host.
    Up,
    /// None, and none goes before the time in `since`: unless somebody asks for it, or it is the last one.
    Paused,
}

/// What the table of subscriptions in the database lacks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Stored {
    /// Nothing.
    Same,
    /// The row.
    Missing,
    /// The last changes.
    Behind,
}

/// A subscription's slot.
#[derive(Debug)]
pub struct Slot<A: Allocator> {
    pub text: Block<A>,
    pub dialog: u64,
    /// When the last NOTIFY left, or since when one is held, or until when there is a pause.
    pub since: Tick,
    /// When the last NOTIFY about a change left.
    pub told_at: Tick,
    pub generation: u32,
    pub resource: u32,
    pub watch: Links,
    pub timer: Links,
    pub queue: Links,
    pub dirty: Links,
    /// The version that the last fan-out had when it came by.
    pub seen: u32,
    /// The version that the watcher was told.
    pub told: u32,
    pub expires: u32,
    pub remote_cseq: u32,
    pub local_cseq: u32,
    pub version: u32,
    pub branch_flags: u32,
    /// Up to which `local_cseq` the row in the database reaches.
    pub reserved: u32,
    /// When the dialog began, in seconds since 1970; 0: before this server started.
    pub began: u32,
    /// When a NOTIFY was last answered, in seconds since 1970; 0: none was since this server started.
    pub answered_at: u32,
    /// With which code.
    pub answer: u16,
    pub timer_list: u16,
    pub flight_number: u16,
    pub stage: Stage,
    pub flight: Flight,
    pub stored: Stored,
    pub status: Status,
    /// A NOTIFY is owed whatever the version: after a SUBSCRIBE, at the end.
    pub owed: bool,
    pub queued: bool,
    pub in_dirty: bool,
    /// There is a row of it that somebody has to delete.
    pub has_row: bool,
    /// How often a NOTIFY was followed by another one without an answer.
    pub overtaken: u8,
    /// How many NOTIFYs in a row failed; counted only with `notify_fail_max`.
    pub failures: u8,
}

impl<A: Allocator> Record for Slot<A> {
    fn vacant() -> Self {
        Self {
            text: None,
            dialog: 0,
            since: Tick::default(),
            told_at: Tick::default(),
            generation: 0,
            resource: NIL,
            watch: Links::NONE,
            timer: Links::NONE,
            queue: Links::NONE,
            dirty: Links::NONE,
            seen: 0,
            told: 0,
            expires: 0,
            remote_cseq: 0,
            local_cseq: 0,
            version: 0,
            branch_flags: 0,
            reserved: 0,
            began: 0,
            answered_at: 0,
            answer: 0,
            timer_list: 0,
            flight_number: 0,
            stage: Stage::Vacant,
            flight: Flight::None,
            stored: Stored::Same,
            status: Status::Active,
            owed: false,
            queued: false,
            in_dirty: false,
            has_row: false,
            overtaken: 0,
            failures: 0,
        }
    }

    fn link(&mut self) -> &mut u32 {
        &mut self.watch.next
    }
}

impl<A: Allocator> Timed for Slot<A> {
    fn due(&self) -> u32 {
        self.expires.saturating_add(1)
    }
}

/// A presentity for one package.
#[derive(Debug)]
pub struct Resource<A: Allocator> {
    pub uri: Block<A>,
    /// Those on the shelf (`publ_cache` 2).
    pub publications: Ends,
    /// How many those are; with `publ_cache` 1, how many are in the database.
    pub published: u32,
    pub version: u32,
    /// What only a resource has that somebody watches, or whose change waits to be told; or [`NIL`].
    pub audience: u32,
    pub package: PackageId,
}

/// Who watches a resource, and what they are told.
#[derive(Debug)]
pub struct Audience<A: Allocator> {
    pub resource: u32,
    pub watchers: Ends,
    pub watcher_count: u32,
    /// Subscriptions that name the resource, listed or not.
    pub users: u32,
    /// The document that is told, and for which version it was made.
    pub body: Block<A>,
    pub body_version: u32,
    /// Until when the document also holds for new watchers; 0: it does not.
    pub body_until: u32,
    /// What of the last change waits to be told by somebody else.
    pub waits: Wait,
    /// Since when, on the steady clock, if it could not be told.
    pub late_since: u64,
    pub late: Links,
}

/// In which of a shard's two lists a resource is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Wait {
    /// In none.
    No,
    /// Its change could not be told, and is after a while.
    Late,
    /// Some of its many watchers were told, the rest is at once.
    Rest,
}

impl<A: Allocator> Record for Resource<A> {
    fn vacant() -> Self {
        Self { uri: None, publications: Ends::EMPTY, published: 0, version: 0, audience: NIL, package: PackageId(0) }
    }

    fn link(&mut self) -> &mut u32 {
        &mut self.audience
    }
}

impl<A: Allocator> Resource<A> {
    /// Whether its publications are in the database and only counted here.
    pub fn is_indexed(&self) -> bool {
        self.published > 0 && self.publications.first == NIL
    }
}

impl<A: Allocator> Record for Audience<A> {
    fn vacant() -> Self {
        Self {
            resource: NIL,
            watchers: Ends::EMPTY,
            watcher_count: 0,
            users: 0,
            body: None,
            body_version: 0,
            body_until: 0,
            waits: Wait::No,
            late_since: 0,
            late: Links::NONE,
        }
    }

    fn link(&mut self) -> &mut u32 {
        &mut self.resource
    }
}

impl<A: Allocator> Audience<A> {
    /// Whether there is nobody to be told of anything.
    pub fn is_idle(&self) -> bool {
        self.users == 0 && self.waits == Wait::No
    }
}

/// A publication's record.
#[derive(Debug)]
pub struct Shelved<A: Allocator> {
    /// Tag, sender, [`Rare`] and document, in one block ([`pack`]).
    pub text: Block<A>,
    pub resource: u32,
    pub place: Links,
    pub timer: Links,
    pub expires: u32,
    pub received: u32,
    pub timer_list: u16,
}

/// What is kept of what a document of dialogs is about.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Mark {
    /// The hash of its first dialog's id; 0: it is about none.
    pub dialog: u64,
    /// The hashes of this dialog's tags; 0: it has none yet.
    pub tags: [u32; 2],
    /// It says that this dialog is over.
    pub is_over: bool,
}

impl Mark {
    /// Whether both may be about one dialog ([`Dialog::may_be`](crate::body::Dialog::may_be)).
    pub fn may_be(self, other: Self) -> bool {
        let mut tags = self.tags.into_iter().zip(other.tags);
        self.dialog != 0 && self.dialog == other.dialog && tags.all(|(a, b)| a == 0 || b == 0 || a == b)
    }
}

/// What few publications have.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Rare {
    pub about: Mark,
    /// Its place among others, with `retrieve_order`.
    pub priority: i32,
}

impl Rare {
    /// As a text; an empty one where there is nothing.
    pub fn to_text(self) -> std::vec::Vec<u8> {
        if self == Self::default() {
            return std::vec::Vec::new();
        }
        let Mark { dialog, tags: [local, remote], is_over } = self.about;
        let numbers = [self.priority.to_ne_bytes(), local.to_ne_bytes(), remote.to_ne_bytes()];
        [&dialog.to_ne_bytes()[..], numbers.as_flattened(), &[is_over.into()]].concat()
    }

    /// From that text.
    pub fn of_text(text: &[u8]) -> Self {
        let read = || {
            let (dialog, rest) = text.split_first_chunk()?;
            let (priority, rest) = rest.split_first_chunk()?;
            let (local, rest) = rest.split_first_chunk()?;
            let (remote, is_over) = rest.split_first_chunk()?;
            let tags = [local, remote].map(|tag| u32::from_ne_bytes(*tag));
            let about = Mark { dialog: u64::from_ne_bytes(*dialog), tags, is_over: is_over == [1] };
            Some(Self { about, priority: i32::from_ne_bytes(*priority) })
        };
        read().unwrap_or_default()
    }
}

impl<A: Allocator> Record for Shelved<A> {
    fn vacant() -> Self {
        Self {
            text: None,
            resource: NIL,
            place: Links::NONE,
            timer: Links::NONE,
            expires: 0,
            received: 0,
            timer_list: 0,
        }
    }

    fn link(&mut self) -> &mut u32 {
        &mut self.place.next
    }
}

impl<A: Allocator> Shelved<A> {
    /// Its texts: tag, sender, what few have, document.
    pub fn texts(&self) -> [&[u8]; 4] {
        unpack(self.text.as_deref().unwrap_or_default())
    }

    /// What few have.
    pub fn rare(&self) -> Rare {
        Rare::of_text(self.texts()[2])
    }
}

impl<A: Allocator> Timed for Shelved<A> {
    fn due(&self) -> u32 {
        self.expires
    }
}

macro_rules! chains {
    ($($name:ident: $record:ident.$field:ident, $doc:literal;)+) => {
        $(
            #[doc = $doc]
            #[derive(Debug)]
            pub struct $name;
            impl<A: Allocator> Chain<$record<A>> for $name {
                fn links(record: &mut $record<A>) -> &mut Links {
                    &mut record.$field
                }
                fn peek(record: &$record<A>) -> Links {
                    record.$field
                }
            }
        )+
    };
}

chains! {
    Watch: Slot.watch, "The watchers of a resource; those who were visited longest ago first.";
    Timer: Slot.timer, "Subscriptions by the second at which they run out.";
    Queue: Slot.queue, "Dialogs with a NOTIFY under way and another one to follow, or held; the oldest first.";
    Dirty: Slot.dirty, "Subscriptions whose row is behind.";
    Late: Audience.late, "Resources whose last change could not be told; or the rest of whose watchers is to be told.";
    Place: Shelved.place, "The publications of a resource, in the order in which they came.";
    ShelfTimer: Shelved.timer, "Publications by the second at which they run out.";
}

/// Packs texts, each with its length before it.
pub fn pack(texts: [&[u8]; 3]) -> std::vec::Vec<u8> {
    let mut out = std::vec::Vec::with_capacity(6 + texts.iter().map(|t| t.len()).sum::<usize>());
    for text in texts {
        let len = text.len().min(usize::from(u16::MAX));
        out.extend_from_slice(&(len as u16).to_ne_bytes());
        out.extend_from_slice(&text[..len]);
    }
    out
}

/// The texts of [`pack`], and what follows them.
pub fn unpack(mut block: &[u8]) -> [&[u8]; 4] {
    let mut texts: [&[u8]; 4] = [b""; 4];
    for text in &mut texts[..3] {
        let Some((len, rest)) = block.split_first_chunk::<2>() else { break };
        let len = usize::from(u16::from_ne_bytes(*len)).min(rest.len());
        (*text, block) = rest.split_at(len);
    }
    texts[3] = block;
    texts
}

#[cfg(test)]
mod tests {
    use super::*;
    use allocator_api2::alloc::Global;

    #[test]
    fn records_have_their_sizes() {
        assert_eq!(size_of::<Slot<Global>>(), 128, "two cache lines");
        assert_eq!(size_of::<Resource<Global>>(), 40);
        assert_eq!(size_of::<Audience<Global>>(), 64);
        assert_eq!(size_of::<Shelved<Global>>(), 48);
    }

    #[test]
    fn a_publication_is_read_as_it_was_packed() {
        let about = Mark { dialog: 7, tags: [0, 9], is_over: true };
        let none = Rare::default();
        for rare in [none, Rare { about, ..none }, Rare { priority: -3, ..none }, Rare { about, priority: 5 }] {
            let block = [pack([b"tag", b"", &rare.to_text()]), b"document".to_vec()].concat();
            let [tag, sender, text, document] = unpack(&block);
            assert_eq!((tag, sender, Rare::of_text(text), document), (&b"tag"[..], &b""[..], rare, &b"document"[..]));
        }
        assert!(none.to_text().is_empty());
    }
}
