//! Records of one size in chunks that never move, reached by a number that stays the same.
//!
//! A slab never allocates by itself: when it is full, [`Slab::lack`] says what is missing, [`Supply::make`] makes it
//! while no lock is held, and [`Slab::take_in`] takes it under the lock.

use crate::refusal::Exhausted;
use allocator_api2::{alloc::Allocator, boxed::Box, vec::Vec};

/// "No record."
pub const NIL: u32 = u32::MAX;

/// Records in the first chunk, and in the others: what a shard has room for and does not use is the largest part of what
/// a record takes beside itself.
const FIRST: u32 = 1 << 3;
const LARGEST: u32 = 1 << 4;

/// A record that a slab can hold.
pub trait Record: Sized {
    /// One that is not in use; its link is [`NIL`].
    fn vacant() -> Self;
    /// Where one that is not in use names the next such one.
    fn link(&mut self) -> &mut u32;
}

/// The slab.
#[derive(Debug)]
pub struct Slab<T, A: Allocator> {
    chunks: Vec<Box<[T], A>, A>,
    /// The record that was given back last; it names the one before it.
    free: u32,
    live: u32,
    /// Records from this number on were never used.
    fresh: u32,
    room: u32,
}

/// What is missing for one more record.
#[derive(Clone, Copy, Debug)]
pub struct Lack {
    chunk: u32,
    chunks: usize,
}

/// Memory for a slab; also what is left of it afterwards, to be dropped without a lock.
#[derive(Debug)]
pub struct Supply<T, A: Allocator> {
    chunk: Option<Box<[T], A>>,
    chunks: Vec<Box<[T], A>, A>,
}

impl<T: Record, A: Allocator + Clone> Supply<T, A> {
    /// Makes what is missing.
    pub fn make(lack: Lack, alloc: &A) -> Result<Self, Exhausted> {
        let mut chunk = Vec::new_in(alloc.clone());
        chunk.try_reserve_exact(lack.chunk as usize).map_err(|_| Exhausted)?;
        chunk.extend(core::iter::repeat_with(T::vacant).take(lack.chunk as usize));
        let mut chunks = Vec::new_in(alloc.clone());
        chunks.try_reserve_exact(lack.chunks).map_err(|_| Exhausted)?;
        Ok(Self { chunk: Some(chunk.into_boxed_slice()), chunks })
    }
}

/// Chunk number, place in it, of a record.
fn locate(index: u32) -> (usize, usize) {
    let units = index / FIRST;
    let doublings = (LARGEST / FIRST).ilog2();
    if units == 0 {
        (0, index as usize)
    } else if units >> doublings == 0 {
        let power = units.ilog2();
        (power as usize + 1, (index - (FIRST << power)) as usize)
    } else {
        (doublings as usize + (index / LARGEST) as usize, (index % LARGEST) as usize)
    }
}

/// Records in a chunk.
fn chunk_len(chunk: usize) -> u32 {
    (FIRST << chunk.saturating_sub(1).min(16)).min(LARGEST)
}

impl<T: Record, A: Allocator + Clone> Slab<T, A> {
    /// An empty slab; it holds no memory yet.
    pub fn new(alloc: &A) -> Self {
        Self { chunks: Vec::new_in(alloc.clone()), free: NIL, live: 0, fresh: 0, room: 0 }
    }

    /// What is missing for one more record; nothing if there is room.
    pub fn lack(&self) -> Option<Lack> {
        if self.free != NIL || self.fresh < self.room {
            return None;
        }
        let (have, needed) = (self.chunks.capacity(), self.chunks.len() + 1);
        let chunks = if needed > have { needed.max(have * 2).max(4) } else { 0 };
        Some(Lack { chunk: chunk_len(self.chunks.len()), chunks })
    }

    /// Takes memory in, if it is still what is missing. Returns what is left over.
    pub fn take_in(&mut self, mut supply: Supply<T, A>) -> Supply<T, A> {
        let wanted = self.lack();
        let fits = |s: &Supply<T, A>, l: Lack| {
            s.chunk.as_ref().is_some_and(|c| c.len() == l.chunk as usize) && s.chunks.capacity() >= l.chunks
        };
        let Some(lack) = wanted.filter(|l| fits(&supply, *l)) else { return supply };
        // Moves within capacity: nothing is allocated here.
        if lack.chunks > 0 {
            supply.chunks.append(&mut self.chunks);
            core::mem::swap(&mut supply.chunks, &mut self.chunks);
        }
        if let Some(chunk) = supply.chunk.take() {
            self.room += chunk.len() as u32;
            self.chunks.push(chunk);
        }
        supply
    }

    /// A free record; none while something is missing.
    pub fn take(&mut self) -> Option<u32> {
        let index = if self.free != NIL {
            let index = self.free;
            self.free = core::mem::replace(self.at_mut(index).link(), NIL);
            index
        } else if self.fresh < self.room {
            self.fresh += 1;
            self.fresh - 1
        } else {
            return None;
        };
        self.live += 1;
        Some(index)
    }

    /// Gives a record back.
    pub fn give_back(&mut self, index: u32) {
        let next = core::mem::replace(&mut self.free, index);
        *self.at_mut(index).link() = next;
        self.live -= 1;
    }

    /// A record.
    pub fn at(&self, index: u32) -> &T {
        let (chunk, place) = locate(index);
        &self.chunks[chunk][place]
    }

    /// A record, to change it.
    pub fn at_mut(&mut self, index: u32) -> &mut T {
        let (chunk, place) = locate(index);
        &mut self.chunks[chunk][place]
    }

    /// Numbers below this one are or were in use.
    pub fn used(&self) -> u32 {
        self.fresh
    }

    /// Bytes that it holds, in use or not.
    pub fn bytes(&self) -> usize {
        self.room as usize * size_of::<T>() + self.chunks.capacity() * size_of::<Box<[T], A>>()
    }

    /// Records in use.
    pub fn live(&self) -> u32 {
        self.live
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use allocator_api2::alloc::Global;

    impl Record for (u32, u64) {
        fn vacant() -> Self {
            (NIL, 0)
        }
        fn link(&mut self) -> &mut u32 {
            &mut self.0
        }
    }

    #[test]
    fn places_follow_one_another_without_gaps() {
        let mut expected = (0, 0);
        for index in 0..10_000 {
            assert_eq!(locate(index), expected, "{index}");
            expected.1 += 1;
            if expected.1 == chunk_len(expected.0) as usize {
                expected = (expected.0 + 1, 0);
            }
        }
    }

    #[test]
    fn records_stay_where_they_are_while_the_slab_grows_and_shrinks() {
        let mut slab: Slab<(u32, u64), Global> = Slab::new(&Global);
        let mut live = std::collections::BTreeMap::new();
        let mut random = 1u64;
        for step in 0..20_000u64 {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            if random >> 63 == 0 || live.len() < 3 {
                if let Some(lack) = slab.lack() {
                    let supply = Supply::make(lack, &Global).expect("heap");
                    slab.take_in(supply);
                }
                let index = slab.take().expect("room");
                *slab.at_mut(index) = (NIL, step);
                assert!(live.insert(index, step).is_none());
            } else {
                let index = *live.keys().nth((random >> 32) as usize % live.len()).expect("one");
                live.remove(&index);
                slab.give_back(index);
            }
        }
        assert_eq!(slab.live() as usize, live.len());
        assert!(live.iter().all(|(index, value)| slab.at(*index) == &(NIL, *value)));
    }
}
