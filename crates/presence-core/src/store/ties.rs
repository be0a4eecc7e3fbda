//! What came by which connection (`expire_on_close`): a subscription or a publication goes with the connection of the
//! request that made or last changed it.
//!
//! A tie names what it is about; nothing names the tie. So whoever ends a subscription need not know of it: a tie whose
//! time is over goes by itself, and one whose end is gone already does nothing.

use super::index::{Index, Table};
use super::records::{Block, pack, unpack};
use super::slab::{self, NIL, Record, Slab, Supply};
use super::{Part, block_in, boxed, hasher};
use crate::dialog::DialogId;
use crate::host::{Resource, Tied};
use crate::package::PackageId;
use crate::refusal::Exhausted;
use crate::time::Timestamp;
use allocator_api2::{alloc::Allocator, boxed::Box};
use core::hash::Hasher;
use lock_api::RawMutex;
use std::collections::HashMap;

/// Independently locked parts.
const PARTS: usize = 16;
/// Visits of one lock.
const BUDGET: u32 = 64;

/// A tie; without a text it is vacant.
#[derive(Debug)]
struct Tie<A: Allocator> {
    text: Block<A>,
    hash: u64,
    connection: i32,
    /// In seconds since 1970; of a vacant one the number of the next that is.
    until: u32,
}

impl<A: Allocator> Record for Tie<A> {
    fn vacant() -> Self {
        Self { text: None, hash: 0, connection: 0, until: NIL }
    }

    fn link(&mut self) -> &mut u32 {
        &mut self.until
    }
}

#[derive(Debug)]
struct Knots<A: Allocator> {
    ties: Slab<Tie<A>, A>,
    index: Index<u32, u32, A>,
}

/// A tie as it was seen.
struct Sight {
    number: u32,
    connection: i32,
    is_publication: bool,
}

/// What is missing for one more tie.
type Lack = (Option<slab::Lack>, Option<usize>);
/// Memory for it, or what is left over.
type Gift<A> = (Option<Supply<Tie<A>, A>>, Option<Table<u32, u32, A>>);

impl<A: Allocator + Clone> Knots<A> {
    fn find(&self, hash: u64, key: &[u8]) -> Option<u32> {
        self.index.find(hash, |number| self.ties.at(number).text.as_deref() == Some(key))
    }

    fn take_in(&mut self, (supply, table): Gift<A>) -> Gift<A> {
        (supply.map(|s| self.ties.take_in(s)), table.map(|t| self.index.take_in(t)))
    }

    fn tie(&mut self, tie: &mut Tie<A>, key: &[u8]) -> Result<(), Lack> {
        if let Some(number) = self.find(tie.hash, key) {
            let known = self.ties.at_mut(number);
            (known.connection, known.until) = (tie.connection, tie.until);
            return Ok(());
        }
        let lack = (self.ties.lack(), self.index.lack());
        if lack.0.is_some() || lack.1.is_some() {
            return Err(lack);
        }
        let Some(number) = self.ties.take() else { return Err(lack) };
        self.index.insert(tie.hash, number);
        *self.ties.at_mut(number) = core::mem::replace(tie, Tie::vacant());
        Ok(())
    }

    /// Takes a tie out; its text is to be dropped when no lock is held.
    fn untie(&mut self, number: u32) -> Block<A> {
        let tie = core::mem::replace(self.ties.at_mut(number), Tie::vacant());
        self.index.remove(tie.hash, number);
        self.ties.give_back(number);
        tie.text
    }
}

/// All ties.
pub struct Ties<A: Allocator, R> {
    parts: Box<[Part<Knots<A>, R>], A>,
    seed: u64,
    alloc: A,
}

impl<A: Allocator, R> core::fmt::Debug for Ties<A, R> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Ties").finish_non_exhaustive()
    }
}

impl<A: Allocator + Clone, R: RawMutex> Ties<A, R> {
    /// None.
    pub fn new(seed: u64, alloc: A) -> Result<Self, Exhausted> {
        let part = || Ok(Part::new(Knots { ties: Slab::new(&alloc), index: Index::new(&alloc) }));
        Ok(Self { parts: boxed(PARTS, &alloc, part)?, seed, alloc })
    }

    fn part(&self, key: &[u8]) -> (u64, &Part<Knots<A>, R>) {
        let mut hasher = hasher(self.seed);
        hasher.write(key);
        let hash = hasher.finish();
        (hash, &self.parts[(hash >> 40) as usize & (PARTS - 1)])
    }

    /// Something came by a connection, or goes on by it, until then at the latest.
    pub fn tie(&self, what: &Tied<'_>, connection: i32, until: Timestamp) -> Result<(), Exhausted> {
        let key = key_of(what);
        let (hash, part) = self.part(&key);
        let mut tie = Tie { text: Some(block_in(&self.alloc, &[&key])?), hash, connection, until: until.0 };
        let mut gift: Gift<A> = (None, None);
        // Another process may use up what this one brings: it then brings again.
        for _ in 0..64 {
            let (left_over, outcome) = part.with(|knots| {
                let left_over = knots.take_in(core::mem::take(&mut gift));
                (left_over, knots.tie(&mut tie, &key))
            })?;
            drop(left_over);
            let Err((slots, index)) = outcome else { return Ok(()) };
            gift = (
                slots.map(|lack| Supply::make(lack, &self.alloc)).transpose()?,
                index.map(|room| Index::make(room, &self.alloc)).transpose()?,
            );
        }
        Err(Exhausted)
    }

    /// Something is over, or goes on without a connection.
    pub fn untie(&self, what: &Tied<'_>) {
        let key = key_of(what);
        let (hash, part) = self.part(&key);
        drop(part.with(|knots| knots.find(hash, &key).map(|number| knots.untie(number))));
    }

    /// Goes round all ties: `cut` gets what a connection had that is not there any more, and says whether to go on. No
    /// lock is held meanwhile. Each connection is asked for once. Subscriptions come first, so that nobody is told over a
    /// connection that is gone of what was published over it. False if it broke off.
    pub fn cut(
        &self,
        now: Timestamp,
        mut exists: impl FnMut(i32) -> bool,
        mut cut: impl FnMut(&Tied<'_>) -> bool,
    ) -> bool {
        let mut known: HashMap<i32, bool> = HashMap::new();
        for publications in [false, true] {
            if publications && known.values().all(|there| *there) {
                break;
            }
            for part in &*self.parts {
                let mut from = 0;
                while let Ok((seen, next)) = self.look(part, from, now) {
                    for sight in seen {
                        let there = *known.entry(sight.connection).or_insert_with(|| exists(sight.connection));
                        if there || sight.is_publication != publications {
                            continue;
                        }
                        let text = self.take(part, &sight);
                        if text.as_deref().and_then(named).is_some_and(|what| !cut(&what)) {
                            return false;
                        }
                    }
                    let Some(next) = next else { break };
                    from = next;
                }
            }
        }
        true
    }

    /// Takes a tie out, unless a request came by another connection meanwhile.
    fn take(&self, part: &Part<Knots<A>, R>, sight: &Sight) -> Block<A> {
        let taken = part.with(|knots| {
            let tie = knots.ties.at(sight.number);
            (tie.text.is_some() && tie.connection == sight.connection).then(|| knots.untie(sight.number))
        });
        taken.ok().flatten().flatten()
    }

    /// The next few ties, and where to go on. Those whose time is over go.
    fn look(
        &self,
        part: &Part<Knots<A>, R>,
        from: u32,
        now: Timestamp,
    ) -> Result<(Vec<Sight>, Option<u32>), Exhausted> {
        let mut over: Vec<Block<A>> = Vec::with_capacity(BUDGET as usize);
        let mut seen = Vec::with_capacity(BUDGET as usize);
        let next = part.with(|knots| {
            let end = knots.ties.used().min(from.saturating_add(BUDGET));
            for number in from..end {
                let tie = knots.ties.at(number);
                let Some(text) = tie.text.as_deref() else { continue };
                if tie.until < now.0 {
                    over.push(knots.untie(number));
                } else {
                    let is_publication = text.first() == Some(&PUBLICATION);
                    seen.push(Sight { number, connection: tie.connection, is_publication });
                }
            }
            (end < knots.ties.used()).then_some(end)
        })?;
        Ok((seen, next))
    }

    /// How many there are.
    #[must_use]
    pub fn count(&self) -> u32 {
        self.parts.iter().map(|part| part.with(|knots| knots.ties.live()).unwrap_or(0)).sum()
    }
}

const SUBSCRIPTION: u8 = 0;
const PUBLICATION: u8 = 1;

/// The bytes that name something: its kind, its package, its texts.
fn key_of(what: &Tied<'_>) -> Vec<u8> {
    let (head, texts) = match *what {
        Tied::Subscription(dialog) => ([SUBSCRIPTION, 0], pack([dialog.call_id, dialog.to_tag, dialog.from_tag])),
        Tied::Publication(resource, etag) => ([PUBLICATION, resource.package.0], pack([resource.uri, etag, b""])),
    };
    [&head, &texts[..]].concat()
}

fn named(key: &[u8]) -> Option<Tied<'_>> {
    let (&[kind, package], texts) = key.split_first_chunk()?;
    let [first, second, third, _] = unpack(texts);
    Some(if kind == PUBLICATION {
        Tied::Publication(Resource { uri: first, package: PackageId(package) }, second)
    } else {
        Tied::Subscription(DialogId { call_id: first, to_tag: second, from_tag: third })
    })
}
