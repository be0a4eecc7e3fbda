//! What runs out when: one list per second, through the records themselves.
//!
//! It never grows. A record whose time moves later, as with every refresh, stays where it is and is put right when
//! its second comes round; so does one that is due more than one turn ahead.

use super::chain::{Chain, Ends, Links, push, unlink};
use super::slab::{NIL, Record, Slab};
use crate::refusal::Exhausted;
use allocator_api2::{alloc::Allocator, boxed::Box, vec::Vec};
use core::marker::PhantomData;

/// Seconds in one turn.
const TURN: u32 = 1 << 9;

/// A record with a time.
pub trait Timed {
    /// The second from which on it is due.
    fn due(&self) -> u32;
}

/// The wheel of one shard.
#[derive(Debug)]
pub struct Wheel<C, A: Allocator> {
    lists: Box<[Ends], A>,
    /// The second whose list is looked at next.
    at: u32,
    /// Where to go on in that list; none: at its start.
    resume: Option<u32>,
    chain: PhantomData<C>,
}

fn list_of(second: u32) -> usize {
    (second % TURN) as usize
}

impl<C, A: Allocator + Clone> Wheel<C, A> {
    /// A wheel that starts now.
    pub fn new(now: u32, alloc: &A) -> Result<Self, Exhausted> {
        let mut lists = Vec::new_in(alloc.clone());
        lists.try_reserve_exact(TURN as usize).map_err(|_| Exhausted)?;
        lists.resize(TURN as usize, Ends::EMPTY);
        Ok(Self { lists: lists.into_boxed_slice(), at: now, resume: None, chain: PhantomData })
    }

    /// Bytes that it holds.
    pub fn bytes(&self) -> usize {
        size_of_val(&*self.lists)
    }

    /// Puts a record in. Returns the list, which the record has to remember.
    pub fn add<T: Record + Timed>(&mut self, slab: &mut Slab<T, A>, index: u32) -> u16
    where
        C: Chain<T>,
    {
        let list = list_of(slab.at(index).due().max(self.at + 1));
        push::<C, _, _>(slab, &mut self.lists[list], index);
        list as u16
    }

    /// Takes a record out of the list that it remembers.
    pub fn remove<T: Record>(&mut self, slab: &mut Slab<T, A>, index: u32, list: u16)
    where
        C: Chain<T>,
    {
        if self.resume == Some(index) {
            self.resume = Some(C::peek(slab.at(index)).next);
        }
        unlink::<C, _, _>(slab, &mut self.lists[usize::from(list)], index);
    }

    /// Takes up to `budget` looks at records whose second has come: those that are due by `now` go to `due`, out of
    /// the wheel; the others go to the list of their own second. False when nothing is left to look at.
    pub fn turn<T: Record + Timed>(
        &mut self,
        slab: &mut Slab<T, A>,
        now: u32,
        mut budget: usize,
        mut remember: impl FnMut(&mut T, u16),
        due: &mut std::vec::Vec<u32>,
    ) -> bool
    where
        C: Chain<T>,
    {
        // After a long pause one turn sees every record.
        if now.saturating_sub(self.at) > TURN {
            (self.at, self.resume) = (now - TURN, None);
        }
        while self.at <= now {
            let list = list_of(self.at);
            let index = self.resume.unwrap_or(self.lists[list].first);
            if index == NIL {
                (self.at, self.resume) = (self.at + 1, None);
                continue;
            }
            if budget == 0 {
                return true;
            }
            budget -= 1;
            self.resume = Some(C::peek(slab.at(index)).next);
            let second = slab.at(index).due();
            if second <= now {
                unlink::<C, _, _>(slab, &mut self.lists[list], index);
                due.push(index);
            } else if list_of(second) != list {
                unlink::<C, _, _>(slab, &mut self.lists[list], index);
                let list = self.add(slab, index);
                remember(slab.at_mut(index), list);
            }
        }
        false
    }

    /// Number of records, and whether all links are in order.
    pub fn check<T: Record>(&self, slab: &Slab<T, A>) -> Result<u32, &'static str>
    where
        C: Chain<T>,
    {
        let mut count = 0;
        for ends in self.lists.iter() {
            let (mut prev, mut at) = (NIL, ends.first);
            while at != NIL {
                let links: Links = C::peek(slab.at(at));
                if links.prev != prev || count > slab.used() {
                    return Err("wheel: broken list");
                }
                count += 1;
                (prev, at) = (at, links.next);
            }
            if ends.last != prev {
                return Err("wheel: wrong end");
            }
        }
        Ok(count)
    }
}
