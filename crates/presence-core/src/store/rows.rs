//! What the write-back of subscriptions needs: rows that are behind, taken a few at a time, with no lock held while
//! they are written.

use super::records::{Stage, Stored};
use super::shard::{Shard, Trash};
use super::subscriptions::RESERVE;
use super::{Handle, Store};
use crate::host::Token;
use crate::refusal::Exhausted;
use crate::subscription::Subscription;
use allocator_api2::alloc::Allocator;
use lock_api::RawMutex;

/// How a row differs from the table.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RowState {
    /// It is not there.
    Missing,
    /// It has older values.
    Behind,
    /// It is there and should not be.
    Gone,
}

/// A row that has to be written.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Row {
    /// Names the subscription for [`Store::give_back_row`].
    pub token: Token,
    /// Its values; `local_cseq` and `version` ahead by what a crash may cost.
    pub subscription: Subscription,
    /// How it differs.
    pub state: RowState,
}

impl<A: Allocator + Clone, R: RawMutex> Store<A, R> {
    /// Takes up to `budget` rows that are behind out of one shard; they count as written from here on. `patience`:
    /// how many milliseconds to wait for the lock. `ahead`: whether the server goes on (and a crash may follow).
    pub fn take_rows(
        &self,
        shard: usize,
        budget: usize,
        ahead: bool,
        patience: Option<u32>,
        out: &mut Vec<Row>,
    ) -> Result<bool, Exhausted> {
        out.reserve(budget);
        let mut trash: Trash<A> = Vec::with_capacity(3 * budget);
        let part = self.shard(shard)?;
        let take = |part: &mut Shard<A>| {
            for _ in 0..budget {
                let index = part.dirty.first;
                if index == super::slab::NIL {
                    return false;
                }
                part.clean(index);
                let lead = if ahead { RESERVE } else { 0 };
                let slot = part.slots.at_mut(index);
                let state = match (slot.stage, core::mem::replace(&mut slot.stored, Stored::Same)) {
                    (Stage::Gone, _) => RowState::Gone,
                    (Stage::Last(_), _) if slot.has_row => RowState::Gone,
                    (Stage::Open, Stored::Missing) => RowState::Missing,
                    (Stage::Open, _) => RowState::Behind,
                    _ => continue,
                };
                slot.has_row = state != RowState::Gone;
                slot.reserved = slot.local_cseq.wrapping_add(lead);
                let mut subscription = part.copy(index);
                subscription.local_cseq = subscription.local_cseq.wrapping_add(lead);
                subscription.version = subscription.version.wrapping_add(lead);
                let token = Handle::of_slot(shard, index, part.slots.at(index)).token();
                out.push(Row { token, subscription, state });
                if part.slots.at(index).stage == Stage::Gone {
                    part.release(index, &mut trash);
                }
            }
            part.dirty.first != super::slab::NIL
        };
        let more = match patience {
            None => part.with(take),
            Some(patience) => part.try_with(patience, take).ok_or(Exhausted),
        };
        drop(trash);
        more
    }

    /// A row could not be written: it is behind again. One that should not be there expires by itself.
    pub fn give_back_row(&self, row: &Row) {
        let handle = Handle::of(row.token);
        let Ok(part) = self.shard(handle.shard) else { return };
        let _ = part.with(|shard| {
            if shard.live(handle.slot, handle.generation).is_some_and(|s| s.stage == Stage::Open) {
                if row.state == RowState::Missing {
                    let slot = shard.slots.at_mut(handle.slot);
                    slot.stored = Stored::Missing;
                    slot.has_row = false;
                }
                shard.soil(handle.slot);
            }
        });
    }
}
