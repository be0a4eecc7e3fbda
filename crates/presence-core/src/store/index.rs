//! From a hash to a number: hashbrown's table, which grows by moving to one that was made beforehand.

use crate::refusal::Exhausted;
use allocator_api2::alloc::Allocator;
use hashbrown::HashTable;

/// What an entry keeps of its hash, so that moving it needs no strings: 32 bits where what is found is compared anyway,
/// 64 where the hash alone says what is meant.
pub trait Kept: Copy + Eq {
    /// Of a hash.
    fn of(hash: u64) -> Self;
    /// With hashbrown's bits, the lowest and the highest, in their places.
    fn spread(self) -> u64;
}

impl Kept for u64 {
    fn of(hash: u64) -> Self {
        hash
    }
    fn spread(self) -> u64 {
        self
    }
}

impl Kept for u32 {
    fn of(hash: u64) -> Self {
        hash as Self
    }
    fn spread(self) -> u64 {
        u64::from(self) << 32 | u64::from(self)
    }
}

#[derive(Clone, Copy, Debug)]
struct Entry<K, V> {
    hash: K,
    value: V,
}

/// The index.
#[derive(Debug)]
pub struct Index<K, V, A: Allocator> {
    table: HashTable<Entry<K, V>, A>,
    /// Capacity of the table when it was empty (tombstones take from it).
    room: usize,
}

/// A bigger table, or what is left of a smaller one.
#[derive(Debug)]
pub struct Table<K, V, A: Allocator>(HashTable<Entry<K, V>, A>);

const SMALLEST: usize = 14;

impl<K: Kept, V: Copy + Eq, A: Allocator + Clone> Index<K, V, A> {
    /// An empty index; it holds no memory yet.
    pub fn new(alloc: &A) -> Self {
        Self { table: HashTable::new_in(alloc.clone()), room: 0 }
    }

    /// The capacity that is missing for one more entry; nothing if there is room.
    pub fn lack(&self) -> Option<usize> {
        let len = self.table.len();
        if len < self.table.capacity() {
            return None;
        }
        // Full of tombstones rather than of entries: the same size again will do.
        let crowded = len * 3 > self.room * 2;
        Some(if crowded { self.room * 2 } else { self.room }.max(SMALLEST))
    }

    /// Makes a table of this capacity.
    pub fn make(capacity: usize, alloc: &A) -> Result<Table<K, V, A>, Exhausted> {
        let mut table = HashTable::new_in(alloc.clone());
        table.try_reserve(capacity, |e: &Entry<K, V>| e.hash.spread()).map_err(|_| Exhausted)?;
        Ok(Table(table))
    }

    /// Moves to a bigger table, if it still is one. Returns the other one.
    pub fn take_in(&mut self, Table(mut table): Table<K, V, A>) -> Table<K, V, A> {
        if self.lack().is_none() || table.capacity() <= self.table.len() {
            return Table(table);
        }
        self.room = table.capacity();
        for entry in &self.table {
            // Never allocates: the capacity was compared above.
            table.insert_unique(entry.hash.spread(), *entry, |e| e.hash.spread());
        }
        core::mem::swap(&mut table, &mut self.table);
        Table(table)
    }

    /// The value under this hash that is the one meant.
    pub fn find(&self, hash: u64, mut meant: impl FnMut(V) -> bool) -> Option<V> {
        let hash = K::of(hash);
        self.table.find(hash.spread(), |e| e.hash == hash && meant(e.value)).map(|e| e.value)
    }

    /// The value under this hash, to be changed; where a hash has one value only.
    pub fn get_mut(&mut self, hash: u64) -> Option<&mut V> {
        let hash = K::of(hash);
        self.table.find_mut(hash.spread(), |e| e.hash == hash).map(|e| &mut e.value)
    }

    /// Puts a value in. Only while nothing is missing.
    pub fn insert(&mut self, hash: u64, value: V) {
        debug_assert!(self.table.len() < self.table.capacity());
        let hash = K::of(hash);
        self.table.insert_unique(hash.spread(), Entry { hash, value }, |e| e.hash.spread());
    }

    /// Takes a value out. False if it was not there.
    pub fn remove(&mut self, hash: u64, value: V) -> bool {
        let hash = K::of(hash);
        match self.table.find_entry(hash.spread(), |e| e.hash == hash && e.value == value) {
            Ok(entry) => {
                entry.remove();
                true
            }
            Err(_) => false,
        }
    }

    /// Number of entries.
    pub fn len(&self) -> usize {
        self.table.len()
    }

    /// Bytes that it holds.
    pub fn bytes(&self) -> usize {
        self.table.allocation_size()
    }

    /// All entries, for the checker.
    pub fn iter(&self) -> impl Iterator<Item = (K, V)> {
        self.table.iter().map(|e| (e.hash, e.value))
    }
}
