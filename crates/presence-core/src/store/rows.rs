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

/// How many milliseconds to wait for the lock of a part once its rows were written.
const PATIENCE: u32 = 200;

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
    /// Names the subscription for [`Store::row_written`] and [`Store::give_back_row`].
    pub token: Token,
    /// Its values; `local_cseq` and `version` ahead by what a crash may cost.
    pub subscription: Subscription,
    /// How it differs.
    pub state: RowState,
}

impl<A: Allocator + Clone, R: RawMutex> Store<A, R> {
    /// Takes up to `budget` rows that are behind out of one shard; what became of each is to be told afterwards.
    /// `patience`: how many milliseconds to wait for the lock. `ahead`: whether the server goes on (and a crash may follow).
    pub fn take_rows(
        &self,
        shard: usize,
        budget: usize,
        ahead: bool,
        patience: Option<u32>,
        out: &mut Vec<Row>,
    ) -> Result<bool, Exhausted> {
        out.reserve(budget);
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
                slot.has_row = true;
                slot.reserved = slot.local_cseq.wrapping_add(lead);
                let mut subscription = part.copy(index);
                subscription.local_cseq = subscription.local_cseq.wrapping_add(lead);
                subscription.version = subscription.version.wrapping_add(lead);
                let token = Handle::of_slot(shard, index, part.slots.at(index)).token();
                out.push(Row { token, subscription, state });
            }
            part.dirty.first != super::slab::NIL
        };
        match patience {
            None => part.with(take),
            Some(patience) => part.try_with(patience, take).ok_or(Exhausted),
        }
    }

    /// A row was written. One that was deleted takes its slot along.
    pub fn row_written(&self, row: &Row) {
        if row.state != RowState::Gone {
            return;
        }
        let handle = Handle::of(row.token);
        let Ok(part) = self.shard(handle.shard) else { return };
        let mut trash: Trash<A> = Vec::with_capacity(3);
        let _ = part.try_with(PATIENCE, |shard| match shard.live(handle.slot, handle.generation).map(|s| s.stage) {
            Some(Stage::Gone) => shard.release(handle.slot, &mut trash),
            Some(Stage::Last(_)) => shard.slots.at_mut(handle.slot).has_row = false,
            _ => {}
        });
        drop(trash);
    }

    /// A row could not be written, or not deleted: it is behind again.
    pub fn give_back_row(&self, row: &Row) {
        let handle = Handle::of(row.token);
        let Ok(part) = self.shard(handle.shard) else { return };
        let _ = part.try_with(PATIENCE, |shard| {
            let Some(stage) = shard.live(handle.slot, handle.generation).map(|s| s.stage) else { return };
            if stage == Stage::Open && row.state == RowState::Missing {
                let slot = shard.slots.at_mut(handle.slot);
                slot.stored = Stored::Missing;
                slot.has_row = false;
            }
            shard.soil(handle.slot);
        });
    }
}
