//! Doubly linked lists through the records of a slab: they need no memory of their own.

use super::slab::{NIL, Record, Slab};
use allocator_api2::alloc::Allocator;

/// A record's neighbours in one list.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Links {
    pub prev: u32,
    pub next: u32,
}

impl Links {
    /// In no list.
    pub const NONE: Self = Self { prev: NIL, next: NIL };
}

/// First and last of a list.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Ends {
    pub first: u32,
    pub last: u32,
}

impl Ends {
    /// An empty list.
    pub const EMPTY: Self = Self { first: NIL, last: NIL };
}

/// Which of a record's lists is meant.
pub trait Chain<T> {
    /// The neighbours.
    fn links(record: &mut T) -> &mut Links;
    /// The neighbours, to look at.
    fn peek(record: &T) -> Links;
}

/// Puts a record at the end.
pub fn push<C: Chain<T>, T: Record, A: Allocator + Clone>(slab: &mut Slab<T, A>, ends: &mut Ends, index: u32) {
    *C::links(slab.at_mut(index)) = Links { prev: ends.last, next: NIL };
    match ends.last {
        NIL => ends.first = index,
        last => C::links(slab.at_mut(last)).next = index,
    }
    ends.last = index;
}

/// Takes a record out.
pub fn unlink<C: Chain<T>, T: Record, A: Allocator + Clone>(slab: &mut Slab<T, A>, ends: &mut Ends, index: u32) {
    let Links { prev, next } = core::mem::replace(C::links(slab.at_mut(index)), Links::NONE);
    match prev {
        NIL => ends.first = next,
        prev => C::links(slab.at_mut(prev)).next = next,
    }
    match next {
        NIL => ends.last = prev,
        next => C::links(slab.at_mut(next)).prev = prev,
    }
}
