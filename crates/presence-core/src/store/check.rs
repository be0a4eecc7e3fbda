//! Whether everything hangs together: for tests, and for an operator who wants to know.

use super::chain::Chain;
use super::dialogs::Dialogs;
use super::records::{Dirty, Place, Queue, Stage, Watch};
use super::shard::Shard;
use super::slab::NIL;
use super::{Handle, Store};
use crate::host::Token;
use crate::refusal::Exhausted;
use allocator_api2::alloc::Allocator;
use lock_api::RawMutex;

/// What there is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Census {
    /// Open subscriptions.
    pub subscriptions: u64,
    /// NOTIFYs of subscriptions that are kept elsewhere.
    pub guests: u64,
    /// Subscriptions that wait for the end of their last NOTIFY.
    pub leaving: u64,
    /// Subscriptions whose row is still to be deleted.
    pub gone: u64,
    /// NOTIFYs under way or held.
    pub queued: u64,
    /// Entries of the dialog index.
    pub dialogs: u64,
    /// Resources.
    pub resources: u64,
    /// Publications.
    pub publications: u64,
    /// Rows that are behind.
    pub rows_behind: u64,
    /// Bytes of chunks and tables, which stay once they are there.
    pub structures: u64,
    /// Parts that could not be looked at.
    pub skipped: u64,
}

impl<A: Allocator + Clone, R: RawMutex> Store<A, R> {
    /// Counts what there is and checks every list. Takes the locks one after the other, each for as long as its part
    /// takes.
    pub fn census(&self) -> Result<Census, &'static str> {
        self.count().map(|(census, _)| census)
    }

    /// The census, and which shards could be looked at.
    fn count(&self) -> Result<(Census, Vec<bool>), &'static str> {
        let mut census = Census { structures: self.bytes(), ..Census::default() };
        let mut open = Vec::with_capacity(self.shards.len());
        for part in self.shards.iter() {
            let counted = part.try_with(200, |shard| check_shard(shard));
            open.push(counted.is_some());
            match counted {
                Some(counted) => add(&mut census, &counted?),
                None => census.skipped += 1,
            }
        }
        for part in self.dialogs.iter() {
            match part.try_with(200, |d| (d.index.bytes() + d.watchers.bytes(), d.index.len())) {
                Some((bytes, len)) => {
                    census.structures += bytes as u64;
                    census.dialogs += len as u64;
                }
                None => census.skipped += 1,
            }
        }
        Ok((census, open))
    }

    /// Runs something while a shard is locked: for tests of what is left when a process breaks off or dies there.
    #[doc(hidden)]
    pub fn while_locked<X>(&self, shard: usize, run: impl FnOnce() -> X) -> Result<X, Exhausted> {
        self.shard(shard)?.with(|_| run())
    }

    /// The census of a store that is at rest: also checks what belongs together across its parts.
    pub fn check(&self) -> Result<Census, &'static str> {
        let (census, open) = self.count()?;
        for part in self.dialogs.iter() {
            let places = part.try_with(200, |d| d.index.iter().collect::<Vec<_>>()).unwrap_or_default();
            for (hash, place) in places {
                let handle = Handle::of(Token(place));
                // Waited for once: not again for each of its dialogs.
                if open.get(handle.shard) == Some(&false) {
                    continue;
                }
                let found = self.shards.get(handle.shard).and_then(|part| {
                    part.try_with(200, |shard| shard.live(handle.slot, handle.generation).map(|s| s.dialog == hash))
                });
                if found == Some(Some(false)) || found == Some(None) {
                    return Err("the dialog index names a slot that is another's");
                }
            }
        }
        let counts = |d: &mut Dialogs<A>| d.watchers.iter().map(|(_, count)| u64::from(count)).sum::<u64>();
        let counted: u64 = self.dialogs.iter().filter_map(|part| part.try_with(200, counts)).sum();
        if census.skipped == 0 && counted != 0 && counted != census.subscriptions {
            return Err("the watchers' counts and the subscriptions differ");
        }
        if census.skipped == 0 && census.dialogs != census.subscriptions + census.guests {
            return Err("the dialog index and the subscriptions differ");
        }
        Ok(census)
    }
}

fn add(to: &mut Census, from: &Census) {
    to.subscriptions += from.subscriptions;
    to.guests += from.guests;
    to.leaving += from.leaving;
    to.gone += from.gone;
    to.queued += from.queued;
    to.resources += from.resources;
    to.publications += from.publications;
    to.rows_behind += from.rows_behind;
    to.structures += from.structures;
}

fn check_shard<A: Allocator + Clone>(shard: &Shard<A>) -> Result<Census, &'static str> {
    let mut census = Census { structures: shard.bytes() as u64, ..Census::default() };
    for index in 0..shard.slots.used() {
        match shard.slots.at(index).stage {
            Stage::Vacant => {}
            Stage::Open => census.subscriptions += 1,
            Stage::Guest => census.guests += 1,
            Stage::Last(_) => census.leaving += 1,
            Stage::Gone => census.gone += 1,
        }
    }
    let (mut listed, mut audiences, mut users, mut placed) = (0, 0, 0, 0);
    for (_, number) in shard.index.iter() {
        let resource = shard.resources.at(number);
        census.resources += 1;
        if let Some(audience) = shard.audience(number) {
            if audience.resource != number {
                return Err("an audience is another resource's");
            }
            if audience.is_idle() && (audience.body.is_none() || resource.published == 0) {
                return Err("an idle audience was kept");
            }
            audiences += 1;
            users += u64::from(audience.users);
            let watchers = length::<Watch, _, _>(&shard.slots, audience.watchers)?;
            if watchers != u64::from(audience.watcher_count) {
                return Err("the number of watchers is wrong");
            }
            listed += watchers;
        }
        let publications = length::<Place, _, _>(&shard.shelf, resource.publications)?;
        if publications != u64::from(resource.published) && !resource.is_indexed() {
            return Err("the number of publications is wrong");
        }
        placed += publications;
        if resource.audience == NIL && resource.published == 0 {
            return Err("an idle resource was kept");
        }
    }
    let slots = census.subscriptions + census.guests + census.leaving + census.gone;
    if listed != census.subscriptions || users != slots {
        return Err("resources and subscriptions differ");
    }
    if placed != u64::from(shard.shelf.live()) || u64::from(shard.resources.live()) != census.resources {
        return Err("a record was lost");
    }
    if shard.audiences.live() != audiences {
        return Err("a record was lost");
    }
    if u64::from(shard.slots.live()) != slots {
        return Err("a slot was lost");
    }
    if u64::from(shard.timers.check(&shard.slots)?) != census.subscriptions {
        return Err("the wheel and the subscriptions differ");
    }
    if u64::from(shard.shelf_timers.check(&shard.shelf)?) != placed {
        return Err("the wheel and the publications differ");
    }
    census.publications = placed;
    census.queued = length::<Queue, _, _>(&shard.slots, shard.queue)?;
    length::<super::records::Late, _, _>(&shard.audiences, shard.late)?;
    length::<super::records::Late, _, _>(&shard.audiences, shard.rest)?;
    census.rows_behind = length::<Dirty, _, _>(&shard.slots, shard.dirty)?;
    Ok(census)
}

fn length<C: Chain<T>, T: super::slab::Record, A: Allocator + Clone>(
    slab: &super::slab::Slab<T, A>,
    ends: super::chain::Ends,
) -> Result<u64, &'static str> {
    let (mut count, mut prev, mut at) = (0, NIL, ends.first);
    while at != NIL {
        let links = C::peek(slab.at(at));
        if links.prev != prev || count > u64::from(slab.used()) {
            return Err("a list is broken");
        }
        count += 1;
        (prev, at) = (at, links.next);
    }
    if ends.last == prev { Ok(count) } else { Err("a list has another end") }
}
