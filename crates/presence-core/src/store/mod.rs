//! Subscriptions and publications in memory that processes share.
//!
//! Generic over the allocator and the lock, so that the same code runs in the server's shared memory and, in tests,
//! on the heap. Rules: one lock at a time; while it is held nothing of the shared memory is allocated or freed, and
//! nobody is called (copies that leave the lock go to the process's own heap); loops under a lock have a budget, but for
//! those over the publications of one resource. Memory is made beforehand ([`shard::Gift`]) and dropped afterwards ([`shard::Trash`]).

mod chain;
pub mod check;
mod dialogs;
mod flights;
mod index;
mod ledger;
pub mod listing;
mod publications;
mod records;
mod rows;
mod shard;
mod slab;
mod subscriptions;
mod ties;
mod wheel;

pub use flights::{Flight, Flights, Number};
pub use ledger::{Ledger, Rows, Swap, TableBook};
pub use publications::Shelf;
pub use rows::{Row, RowState};
pub use subscriptions::{Book, Journal, RESERVE};
pub use ties::Ties;

use crate::body::{About, Dialog};
use crate::dialog::DialogId;
use crate::host::{Resource, Token};
use crate::refusal::Exhausted;
use crate::uri::UriMatch;
use allocator_api2::{alloc::Allocator, boxed::Box, vec::Vec};
use core::hash::{BuildHasher, Hasher};
use core::sync::atomic::{AtomicBool, Ordering};
use dialogs::Dialogs;
use lock_api::{Mutex, MutexGuard, RawMutex};
use records::{Mark, Slot};
use shard::{Gift, Key, Naming, Shard, Wants};

/// Parts of the dialog index: more than shards, because a part that grows moves all its entries under its lock.
const DIALOG_PARTS: usize = 256;

/// The most shards there can be.
pub const MAX_SHARDS: usize = 1 << SHARD_BITS;

/// A token: shard, slot, generation of the slot, number of the flight.
const SHARD_BITS: u32 = 6;
const SLOT_BITS: u32 = 22;
const GENERATION_BITS: u32 = 20;
const FLIGHT_BITS: u32 = 16;
const GENERATIONS: u32 = (1 << GENERATION_BITS) - 1;

/// A token taken apart.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Handle {
    shard: usize,
    slot: u32,
    generation: u32,
    flight: u16,
}

impl Handle {
    fn token(self) -> Token {
        let place = (self.shard as u64) << SLOT_BITS | u64::from(self.slot);
        Token((place << GENERATION_BITS | u64::from(self.generation)) << FLIGHT_BITS | u64::from(self.flight))
    }

    fn of(Token(number): Token) -> Self {
        let rest = number >> FLIGHT_BITS;
        let place = rest >> GENERATION_BITS;
        Self {
            shard: (place >> SLOT_BITS) as usize,
            slot: (place & ((1 << SLOT_BITS) - 1)) as u32,
            generation: rest as u32 & GENERATIONS,
            flight: number as u16,
        }
    }

    fn of_slot<A: Allocator>(shard: usize, slot: u32, record: &Slot<A>) -> Self {
        Self { shard, slot, generation: record.generation, flight: record.flight_number }
    }

    /// The handle without the flight: what the dialog index keeps.
    fn place(self) -> u64 {
        Self { flight: 0, ..self }.token().0
    }
}

/// A part of the store with its lock; on a cache line of its own.
#[repr(align(64))]
struct Part<T, R> {
    lock: Mutex<R, T>,
    /// A change broke off in the middle: nobody goes in any more.
    broken: AtomicBool,
}

impl<T, R: RawMutex> Part<T, R> {
    fn new(value: T) -> Self {
        Self { lock: Mutex::new(value), broken: AtomicBool::new(false) }
    }

    /// Runs a change under the lock. A panic in it closes this part for good: its lists may be half linked.
    fn with<X>(&self, change: impl FnOnce(&mut T) -> X) -> Result<X, Exhausted> {
        self.run(self.lock.lock(), change)
    }

    /// As [`Self::with`], or nothing if somebody else holds the lock and does not let go (`attempts`, 1 ms apart).
    fn try_with<X>(&self, attempts: u32, change: impl FnOnce(&mut T) -> X) -> Option<X> {
        for _ in 0..attempts {
            if let Some(guard) = self.lock.try_lock() {
                return self.run(guard, change).ok();
            }
            std::thread::sleep(core::time::Duration::from_millis(1));
        }
        None
    }

    fn run<X>(&self, mut guard: MutexGuard<'_, R, T>, change: impl FnOnce(&mut T) -> X) -> Result<X, Exhausted> {
        struct Mark<'m>(&'m AtomicBool);
        impl Drop for Mark<'_> {
            fn drop(&mut self) {
                if std::thread::panicking() {
                    self.0.store(true, Ordering::Relaxed);
                }
            }
        }
        if self.broken.load(Ordering::Relaxed) {
            return Err(Exhausted);
        }
        let _mark = Mark(&self.broken);
        Ok(change(&mut guard))
    }
}

/// The store.
pub struct Store<A: Allocator, R> {
    shards: Box<[Part<Shard<A>, R>], A>,
    dialogs: Box<[Part<Dialogs<A>, R>], A>,
    naming: Naming,
    /// When it was made, in seconds since 1970.
    made: u32,
    alloc: A,
}

impl<A: Allocator, R> core::fmt::Debug for Store<A, R> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Store").field("shards", &self.shards.len()).finish_non_exhaustive()
    }
}

fn boxed<T, A: Allocator + Clone>(
    count: usize,
    alloc: &A,
    mut make: impl FnMut() -> Result<T, Exhausted>,
) -> Result<Box<[T], A>, Exhausted> {
    let mut parts = Vec::new_in(alloc.clone());
    parts.try_reserve_exact(count).map_err(|_| Exhausted)?;
    for _ in 0..count {
        parts.push(make()?);
    }
    Ok(parts.into_boxed_slice())
}

/// A hash with the secret of this run.
fn hasher(seed: u64) -> impl Hasher {
    foldhash::fast::FixedState::with_seed(seed).build_hasher()
}

/// Of texts and of where each of them ends.
fn hash_of<const N: usize>(seed: u64, texts: [&[u8]; N]) -> u64 {
    let mut hasher = hasher(seed);
    for text in texts {
        hasher.write(text);
        hasher.write_usize(text.len());
    }
    hasher.finish()
}

/// A block with these bytes, one part after the other.
fn block_in<A: Allocator + Clone>(alloc: &A, parts: &[&[u8]]) -> Result<Box<[u8], A>, Exhausted> {
    let length = parts.iter().map(|part| part.len()).sum();
    let mut block = Vec::new_in(alloc.clone());
    block.try_reserve_exact(length).map_err(|_| Exhausted)?;
    // Two passes at memory speed; `extend_from_slice` of this crate goes byte by byte.
    block.resize(length, 0);
    let mut rest = &mut block[..];
    for part in parts {
        let (place, behind) = rest.split_at_mut(part.len());
        place.copy_from_slice(part);
        rest = behind;
    }
    Ok(block.into_boxed_slice())
}

impl<A: Allocator + Clone, R: RawMutex> Store<A, R> {
    /// An empty store with this many shards (a power of two, at most [`MAX_SHARDS`]). `now` in seconds since 1970.
    pub fn new(shards: usize, seed: u64, now: u32, match_uris: UriMatch, alloc: A) -> Result<Self, Exhausted> {
        let count = shards.clamp(1, MAX_SHARDS).next_power_of_two();
        let naming = Naming { seed, match_uris };
        Ok(Self {
            shards: boxed(count, &alloc, || Ok(Part::new(Shard::new(now, naming, &alloc)?)))?,
            dialogs: boxed(DIALOG_PARTS, &alloc, || Ok(Part::new(Dialogs::new(&alloc))))?,
            naming,
            made: now,
            alloc,
        })
    }

    /// Number of shards.
    pub fn shard_count(&self) -> usize {
        self.shards.len()
    }

    /// Bytes of the parts themselves.
    fn bytes(&self) -> u64 {
        (size_of_val(&*self.shards) + size_of_val(&*self.dialogs)) as u64
    }

    fn key<'a>(&self, resource: Resource<'a>) -> Key<'a> {
        Key { hash: self.naming.hash(resource.uri), uri: resource.uri, package: resource.package }
    }

    /// What is kept of what a document of dialogs is about.
    fn mark(&self, about: &About) -> Mark {
        // The upper half: the lower one is odd.
        let tag = |tag: &[u8]| if tag.is_empty() { 0 } else { (self.hash_of([tag]) >> 32) as u32 | 1 };
        let Dialog { id, local_tag, remote_tag, .. } = &about.dialog;
        Mark { dialog: self.hash_of([id]) | 1, tags: [tag(local_tag), tag(remote_tag)], is_over: about.is_over }
    }

    fn dialog_hash(&self, dialog: DialogId<'_>) -> u64 {
        self.hash_of([dialog.call_id, dialog.to_tag, dialog.from_tag])
    }

    fn watcher_hash(&self, user: &[u8], host: &[u8]) -> u64 {
        self.hash_of([user, host])
    }

    fn hash_of<const N: usize>(&self, texts: [&[u8]; N]) -> u64 {
        hash_of(self.naming.seed, texts)
    }

    fn shard_of(&self, hash: u64) -> usize {
        // The low bits choose hashbrown's bucket, the highest its tag.
        (hash >> 40) as usize & (self.shards.len() - 1)
    }

    fn shard(&self, number: usize) -> Result<&Part<Shard<A>, R>, Exhausted> {
        self.shards.get(number).ok_or(Exhausted)
    }

    fn dialogs(&self, hash: u64) -> &Part<Dialogs<A>, R> {
        &self.dialogs[(hash >> 40) as usize & (self.dialogs.len() - 1)]
    }

    /// A block with these bytes.
    fn block(&self, bytes: &[u8]) -> Result<Box<[u8], A>, Exhausted> {
        block_in(&self.alloc, &[bytes])
    }

    /// Runs an insertion in a shard once there is room for it: what is missing is made while the lock is released.
    fn insert_with<X>(
        &self,
        shard: usize,
        wants: Wants,
        insert: impl FnOnce(&mut Shard<A>) -> Option<X>,
    ) -> Result<X, Exhausted> {
        let part = self.shard(shard)?;
        let mut insert = Some(insert);
        let mut gift: Option<Gift<A>> = None;
        // Another process may use up what this one brings: it then brings again.
        for _ in 0..64 {
            let (left_over, outcome) = part.with(|shard| {
                let left_over = gift.take().map(|g| shard.take_in(g));
                let outcome = match shard.lack(wants) {
                    Some(lack) => Err(lack),
                    None => Ok(insert.take().and_then(|insert| insert(shard))),
                };
                (left_over, outcome)
            })?;
            drop(left_over);
            match outcome {
                Ok(done) => return done.ok_or(Exhausted),
                Err(lack) => gift = Some(Gift::make(&lack, &self.alloc)?),
            }
        }
        Err(Exhausted)
    }
}
