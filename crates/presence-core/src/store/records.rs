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
    pub hash: u64,
    pub watchers: Ends,
    pub publications: Ends,
    /// Subscriptions that name this resource, listed or not.
    pub users: u32,
    pub watcher_count: u32,
    pub publication_count: u32,
    /// Publications in the database, with `publ_cache` 1.
    pub indexed: u32,
    pub version: u32,
    /// The document that is told, and for which version it was made.
    pub body: Block<A>,
    pub body_version: u32,
    /// Until when the document also holds for new watchers; 0: it does not.
    pub body_until: u32,
    pub package: PackageId,
    /// What of its last change waits to be told by somebody else.
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
        Self {
            uri: None,
            hash: 0,
            watchers: Ends::EMPTY,
            publications: Ends::EMPTY,
            users: 0,
            watcher_count: 0,
            publication_count: 0,
            indexed: 0,
            version: 0,
            body: None,
            body_version: 0,
            body_until: 0,
            package: PackageId(0),
            waits: Wait::No,
            late_since: 0,
            late: Links::NONE,
        }
    }
}

impl<A: Allocator> Resource<A> {
    /// Whether nothing needs it any more.
    pub fn is_idle(&self) -> bool {
        self.users == 0 && self.publication_count == 0 && self.indexed == 0 && self.waits == Wait::No
    }
}

/// A publication's record. Its texts: tag, sender, row id, each with its length before it.
#[derive(Debug)]
pub struct Shelved<A: Allocator> {
    pub text: Block<A>,
    pub body: Block<A>,
    pub resource: u32,
    pub place: Links,
    pub timer: Links,
    pub expires: u32,
    pub received: u32,
    pub priority: i32,
    pub timer_list: u16,
    pub about: Mark,
}

/// What is kept of what a document of dialogs is about.
#[derive(Clone, Copy, Default, Debug)]
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

impl<A: Allocator> Record for Shelved<A> {
    fn vacant() -> Self {
        Self {
            text: None,
            body: None,
            resource: NIL,
            place: Links::NONE,
            timer: Links::NONE,
            expires: 0,
            received: 0,
            priority: 0,
            timer_list: 0,
            about: Mark::default(),
        }
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
    Late: Resource.late, "Resources whose last change could not be told; or the rest of whose watchers is to be told.";
    Place: Shelved.place, "The publications of a resource, in the order in which they came.";
    ShelfTimer: Shelved.timer, "Publications by the second at which they run out.";
}

/// Packs the texts of a publication.
pub fn pack(texts: [&[u8]; 3]) -> std::vec::Vec<u8> {
    let mut out = std::vec::Vec::with_capacity(6 + texts.iter().map(|t| t.len()).sum::<usize>());
    for text in texts {
        let len = text.len().min(usize::from(u16::MAX));
        out.extend_from_slice(&(len as u16).to_ne_bytes());
        out.extend_from_slice(&text[..len]);
    }
    out
}

/// The texts of a publication.
pub fn unpack(mut block: &[u8]) -> [&[u8]; 3] {
    let mut texts: [&[u8]; 3] = [b""; 3];
    for text in &mut texts {
        let Some((len, rest)) = block.split_first_chunk::<2>() else { break };
        let len = usize::from(u16::from_ne_bytes(*len)).min(rest.len());
        (*text, block) = rest.split_at(len);
    }
    texts
}

#[cfg(test)]
mod tests {
    use super::*;
    use allocator_api2::alloc::Global;

    #[test]
    fn a_subscription_takes_two_cache_lines() {
        assert_eq!(size_of::<Slot<Global>>(), 128);
    }
}
