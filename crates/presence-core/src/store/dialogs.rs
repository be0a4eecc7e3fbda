//! From a dialog to its subscription, whatever resource that belongs to.
//!
//! An entry is the keyed hash of the dialog and the place of the slot. The strings are compared afterwards, under the
//! lock of the shard that has the slot.

use super::index::{Index, Table};
use allocator_api2::alloc::Allocator;

/// The dialogs of one part, and how many dialogs each watcher has.
#[derive(Debug)]
pub struct Dialogs<A: Allocator> {
    pub index: Index<u64, u64, A>,
    /// By the keyed hash of the watcher alone: 64 bits, which nobody can aim at. Only with `max_subs_per_watcher`.
    pub watchers: Index<u64, u32, A>,
}

/// What is left over of a table that was offered, and the outcome or the capacity that is missing.
pub type Inserted<T, V, A> = (Option<Table<u64, V, A>>, Result<T, usize>);

/// How many places one hash may have: more than one only if hashes collide.
pub const CANDIDATES: usize = 4;

impl<A: Allocator + Clone> Dialogs<A> {
    /// None.
    pub fn new(alloc: &A) -> Self {
        Self { index: Index::new(alloc), watchers: Index::new(alloc) }
    }

    /// Puts a dialog in, or says which capacity is missing. Takes a bigger table; returns what is left over.
    pub fn insert(&mut self, hash: u64, place: u64, table: Option<Table<u64, u64, A>>) -> Inserted<(), u64, A> {
        let left_over = table.map(|t| self.index.take_in(t));
        match self.index.lack() {
            Some(room) => (left_over, Err(room)),
            None => {
                self.index.insert(hash, place);
                (left_over, Ok(()))
            }
        }
    }

    /// As [`Self::insert`], unless the hash has a place already, which is returned then.
    pub fn insert_once(
        &mut self,
        hash: u64,
        place: u64,
        table: Option<Table<u64, u64, A>>,
    ) -> Inserted<Option<u64>, u64, A> {
        match self.index.find(hash, |_| true) {
            Some(other) => (table, Ok(Some(other))),
            None => {
                let (left_over, outcome) = self.insert(hash, place, table);
                (left_over, outcome.map(|()| None))
            }
        }
    }

    /// A watcher has one dialog more; or the capacity that is missing. As [`Self::insert`].
    pub fn count_up(&mut self, watcher: u64, table: Option<Table<u64, u32, A>>) -> Inserted<(), u32, A> {
        let left_over = table.map(|t| self.watchers.take_in(t));
        if let Some(count) = self.watchers.get_mut(watcher) {
            *count += 1;
            return (left_over, Ok(()));
        }
        match self.watchers.lack() {
            Some(room) => (left_over, Err(room)),
            None => {
                self.watchers.insert(watcher, 1);
                (left_over, Ok(()))
            }
        }
    }

    /// A watcher has one dialog less.
    pub fn count_down(&mut self, watcher: u64) {
        match self.watchers.get_mut(watcher) {
            Some(count) if *count > 1 => *count -= 1,
            Some(_) => {
                self.watchers.remove(watcher, 1);
            }
            None => {}
        }
    }

    /// The places under a hash.
    pub fn places(&self, hash: u64) -> ([u64; CANDIDATES], usize) {
        let (mut places, mut count) = ([0; CANDIDATES], 0);
        self.index.find(hash, |place| {
            places[count] = place;
            count += 1;
            count == CANDIDATES
        });
        (places, count)
    }
}
