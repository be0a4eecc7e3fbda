//! One shard: some of the resources with their subscriptions and publications. Everything here happens under the
//! shard's lock: compare, copy, swap, unlink; no shared memory is allocated or freed, nobody is called.

use super::chain::{Ends, push, unlink};
use super::index::{Index, Table};
use super::records::{
    Audience, Block, Dirty, Flight, Late, Queue, Resource, ShelfTimer, Shelved, Slot, Stage, Stored, Timer, Wait, Watch,
};
use super::slab::{self, NIL, Slab, Supply};
use super::wheel::Wheel;
use crate::config::Config;
use crate::host::{Content, Notice, Token, Version};
use crate::package::PackageId;
use crate::refusal::Exhausted;
use crate::status::Status;
use crate::subscription::{Field, Subscription, Texts};
use crate::time::{Now, Tick, Timestamp};
use crate::uri::UriMatch;
use crate::winfo::Extent;
use allocator_api2::alloc::Allocator;
use core::hash::Hasher;

/// How URIs are told apart.
#[derive(Clone, Copy, Debug)]
pub struct Naming {
    /// Secret of this run: a peer cannot choose where its records go.
    pub seed: u64,
    pub match_uris: UriMatch,
}

impl Naming {
    /// Of a URI: equal for those that are the same.
    pub fn hash(self, uri: &[u8]) -> u64 {
        let mut hasher = super::hasher(self.seed);
        match self.match_uris {
            UriMatch::CaseSensitive => hasher.write(uri),
            UriMatch::CaseInsensitive => uri.iter().for_each(|b| hasher.write_u8(b.to_ascii_lowercase())),
        }
        hasher.finish()
    }
}

/// Blocks that were taken out: dropped when no lock is held.
pub type Trash<A> = std::vec::Vec<Block<A>>;

/// The shard.
#[derive(Debug)]
pub struct Shard<A: Allocator> {
    pub slots: Slab<Slot<A>, A>,
    pub resources: Slab<Resource<A>, A>,
    pub audiences: Slab<Audience<A>, A>,
    pub shelf: Slab<Shelved<A>, A>,
    pub index: Index<u32, u32, A>,
    pub timers: Wheel<Timer, A>,
    pub shelf_timers: Wheel<ShelfTimer, A>,
    pub queue: Ends,
    pub dirty: Ends,
    pub late: Ends,
    pub rest: Ends,
    naming: Naming,
}

impl<A: Allocator + Clone> Shard<A> {
    /// Bytes of chunks and tables, which stay once they are there.
    pub fn bytes(&self) -> usize {
        let resources = self.resources.bytes() + self.audiences.bytes();
        resources
            + self.slots.bytes()
            + self.shelf.bytes()
            + self.index.bytes()
            + self.timers.bytes()
            + self.shelf_timers.bytes()
    }
}

/// What an insertion needs room for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Wants {
    pub slot: bool,
    pub resource: bool,
    pub audience: bool,
    pub shelf: bool,
}

/// What is missing for it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Lack {
    slots: Option<slab::Lack>,
    resources: Option<slab::Lack>,
    audiences: Option<slab::Lack>,
    shelf: Option<slab::Lack>,
    index: Option<usize>,
}

/// Memory for a shard, and what is left of it.
#[derive(Debug)]
pub struct Gift<A: Allocator> {
    slots: Option<Supply<Slot<A>, A>>,
    resources: Option<Supply<Resource<A>, A>>,
    audiences: Option<Supply<Audience<A>, A>>,
    shelf: Option<Supply<Shelved<A>, A>>,
    index: Option<Table<u32, u32, A>>,
}

impl<A: Allocator + Clone> Gift<A> {
    /// Makes what is missing, while no lock is held.
    pub fn make(lack: &Lack, alloc: &A) -> Result<Self, Exhausted> {
        Ok(Self {
            slots: lack.slots.map(|l| Supply::make(l, alloc)).transpose()?,
            resources: lack.resources.map(|l| Supply::make(l, alloc)).transpose()?,
            audiences: lack.audiences.map(|l| Supply::make(l, alloc)).transpose()?,
            shelf: lack.shelf.map(|l| Supply::make(l, alloc)).transpose()?,
            index: lack.index.map(|room| Index::make(room, alloc)).transpose()?,
        })
    }
}

/// A key that is looked for: a URI and a package, with their hash.
#[derive(Clone, Copy, Debug)]
pub struct Key<'a> {
    pub hash: u64,
    pub uri: &'a [u8],
    pub package: PackageId,
}

/// A slot's place in the wheel.
fn remember<A: Allocator>(slot: &mut Slot<A>, list: u16) {
    slot.timer_list = list;
}

impl<A: Allocator + Clone> Shard<A> {
    /// An empty shard.
    pub fn new(now: u32, naming: Naming, alloc: &A) -> Result<Self, Exhausted> {
        Ok(Self {
            slots: Slab::new(alloc),
            resources: Slab::new(alloc),
            audiences: Slab::new(alloc),
            shelf: Slab::new(alloc),
            index: Index::new(alloc),
            timers: Wheel::new(now, alloc)?,
            shelf_timers: Wheel::new(now, alloc)?,
            queue: Ends::EMPTY,
            dirty: Ends::EMPTY,
            late: Ends::EMPTY,
            rest: Ends::EMPTY,
            naming,
        })
    }

    /// What is missing for an insertion; nothing if there is room.
    pub fn lack(&self, wants: Wants) -> Option<Lack> {
        let lack = Lack {
            slots: if wants.slot { self.slots.lack() } else { None },
            resources: if wants.resource { self.resources.lack() } else { None },
            audiences: if wants.audience { self.audiences.lack() } else { None },
            shelf: if wants.shelf { self.shelf.lack() } else { None },
            index: if wants.resource { self.index.lack() } else { None },
        };
        let slabs = [lack.slots, lack.resources, lack.audiences, lack.shelf];
        (lack.index.is_some() || slabs.iter().any(Option::is_some)).then_some(lack)
    }

    /// Takes memory in. Returns what is left over.
    pub fn take_in(&mut self, gift: Gift<A>) -> Gift<A> {
        Gift {
            slots: gift.slots.map(|s| self.slots.take_in(s)),
            resources: gift.resources.map(|s| self.resources.take_in(s)),
            audiences: gift.audiences.map(|s| self.audiences.take_in(s)),
            shelf: gift.shelf.map(|s| self.shelf.take_in(s)),
            index: gift.index.map(|t| self.index.take_in(t)),
        }
    }

    // --- resources

    /// The resource with this key.
    pub fn find(&self, key: Key<'_>) -> Option<u32> {
        self.index.find(key.hash, |number| {
            let resource = self.resources.at(number);
            resource.package == key.package
                && self.naming.match_uris.same(resource.uri.as_deref().unwrap_or_default(), key.uri)
        })
    }

    /// The resource with this key; a new one with `uri` if there is none. Only where nothing is missing.
    pub fn find_or_add(&mut self, key: Key<'_>, uri: &mut Block<A>) -> Option<u32> {
        if let Some(number) = self.find(key) {
            return Some(number);
        }
        let number = self.resources.take()?;
        let resource = self.resources.at_mut(number);
        resource.uri = uri.take();
        resource.package = key.package;
        resource.version = 1;
        self.index.insert(key.hash, number);
        Some(number)
    }

    /// The audience of a resource, if it has one.
    pub fn audience(&self, number: u32) -> Option<&Audience<A>> {
        let audience = self.resources.at(number).audience;
        (audience != NIL).then(|| self.audiences.at(audience))
    }

    /// The audience of a resource, to change it.
    pub fn audience_mut(&mut self, number: u32) -> Option<&mut Audience<A>> {
        let audience = self.resources.at(number).audience;
        (audience != NIL).then(|| self.audiences.at_mut(audience))
    }

    /// The audience of a resource; a new one if there is none. Only where nothing is missing.
    pub fn audience_or_add(&mut self, number: u32) -> Option<&mut Audience<A>> {
        if self.resources.at(number).audience == NIL {
            let audience = self.audiences.take()?;
            self.resources.at_mut(number).audience = audience;
            self.audiences.at_mut(audience).resource = number;
        }
        self.audience_mut(number)
    }

    /// Lets a resource go that nothing needs, and before that its audience. A document that still holds is kept: with
    /// `subs_db_mode` 3 its watchers are elsewhere.
    pub fn let_go_if_idle(&mut self, number: u32, trash: &mut Trash<A>) {
        let resource = self.resources.at(number);
        let document = (resource.published > 0).then_some(resource.version);
        let is_idle = |audience: &Audience<A>| {
            audience.is_idle() && (audience.body.is_none() || document != Some(audience.body_version))
        };
        if let Some(audience) = self.audience_mut(number).filter(|audience| is_idle(audience)) {
            trash.push(audience.body.take());
            *audience = <Audience<A> as slab::Record>::vacant();
            let audience = core::mem::replace(&mut self.resources.at_mut(number).audience, NIL);
            self.audiences.give_back(audience);
        }
        let resource = self.resources.at_mut(number);
        if resource.audience != NIL || resource.published > 0 {
            return;
        }
        let uri = core::mem::replace(resource, <Resource<A> as slab::Record>::vacant()).uri;
        self.index.remove(self.naming.hash(uri.as_deref().unwrap_or_default()), number);
        trash.push(uri);
        self.resources.give_back(number);
    }

    /// A change of a resource is told later. Nothing if it has no audience.
    pub fn put_off(&mut self, number: u32, now: u64) -> Option<()> {
        self.audience_mut(number)?.late_since = now;
        self.wait(number, Wait::Late)
    }

    /// A change of a resource is told by somebody else: after a while, or to the rest of its watchers. Nothing if it has
    /// no audience.
    pub fn wait(&mut self, number: u32, wait: Wait) -> Option<()> {
        let known = core::mem::replace(&mut self.audience_mut(number)?.waits, wait);
        let number = self.resources.at(number).audience;
        if known == wait {
            return Some(());
        }
        match known {
            Wait::No => {}
            Wait::Late => unlink::<Late, _, _>(&mut self.audiences, &mut self.late, number),
            Wait::Rest => unlink::<Late, _, _>(&mut self.audiences, &mut self.rest, number),
        }
        match wait {
            Wait::No => {}
            Wait::Late => push::<Late, _, _>(&mut self.audiences, &mut self.late, number),
            Wait::Rest => push::<Late, _, _>(&mut self.audiences, &mut self.rest, number),
        }
        Some(())
    }

    /// The next resource of whose change somebody waits to be told, and how. It does not wait any more.
    pub fn next_waiting(&mut self, now: u64, pause: u64) -> Option<(u32, Wait)> {
        let (number, wait) = match (self.rest.first, self.late.first) {
            (NIL, NIL) => return None,
            (NIL, late) if now.saturating_sub(self.audiences.at(late).late_since) < pause => return None,
            (NIL, late) => (late, Wait::Late),
            (rest, _) => (rest, Wait::Rest),
        };
        let number = self.audiences.at(number).resource;
        self.wait(number, Wait::No);
        Some((number, wait))
    }

    // --- subscriptions

    /// The live slot behind a number and a generation.
    pub fn live(&self, index: u32, generation: u32) -> Option<&Slot<A>> {
        (index < self.slots.used())
            .then(|| self.slots.at(index))
            .filter(|s| s.stage != Stage::Vacant && s.generation == generation)
    }

    /// Puts a subscription in, with a NOTIFY held for it. Only where nothing is missing.
    pub fn enter(
        &mut self,
        resource: u32,
        subscription: &Subscription,
        text: &mut Block<A>,
        dialog: u64,
        stage: Stage,
        now: Now,
    ) -> Option<u32> {
        self.audience_or_add(resource)?;
        let index = self.slots.take()?;
        let version = self.resources.at(resource).version;
        let slot = self.slots.at_mut(index);
        let (generation, flight_number) = (slot.generation, slot.flight_number);
        *slot = Slot {
            text: text.take(),
            dialog,
            since: now.steady.tick(),
            told_at: Tick::long_before(now.steady),
            generation,
            flight_number,
            resource,
            // A guest is due only if it is told of something newer than it will have been.
            seen: if stage == Stage::Guest { 0 } else { version },
            expires: if matches!(stage, Stage::Last(_)) { 0 } else { subscription.expires.0 },
            remote_cseq: subscription.remote_cseq,
            local_cseq: subscription.local_cseq,
            version: subscription.version,
            branch_flags: subscription.branch_flags,
            began: now.unix.0,
            stage,
            flight: Flight::Held,
            status: subscription.status,
            owed: true,
            ..<Slot<A> as slab::Record>::vacant()
        };
        self.enqueue(index);
        if stage == Stage::Open {
            let list = self.timers.add(&mut self.slots, index);
            self.slots.at_mut(index).timer_list = list;
        }
        let audience = self.audiences.at_mut(self.resources.at(resource).audience);
        audience.users += 1;
        if stage == Stage::Open {
            audience.watcher_count += 1;
            push::<Watch, _, _>(&mut self.slots, &mut audience.watchers, index);
        }
        Some(index)
    }

    /// Ends a subscription: out of the list of watchers and the wheel. What is left is its last NOTIFY, if any.
    pub fn end(&mut self, index: u32, stage: Stage, in_wheel: bool) {
        let slot = self.slots.at_mut(index);
        slot.stage = stage;
        slot.expires = 0;
        let (resource, list) = (slot.resource, slot.timer_list);
        if in_wheel {
            self.timers.remove(&mut self.slots, index, list);
        }
        let audience = self.audiences.at_mut(self.resources.at(resource).audience);
        audience.watcher_count -= 1;
        unlink::<Watch, _, _>(&mut self.slots, &mut audience.watchers, index);
        // Its row goes with the next flush, not after the answer to the last NOTIFY: the server may stop before that,
        // and must not begin again with a subscription that has ended.
        if self.slots.at(index).has_row {
            self.soil(index);
        } else {
            self.clean(index);
        }
    }

    /// Lets a slot go that is over and has nothing under way. If its row is left, that is deleted first.
    pub fn free(&mut self, index: u32, trash: &mut Trash<A>) {
        self.dequeue(index);
        let slot = self.slots.at_mut(index);
        if slot.has_row {
            slot.stage = Stage::Gone;
            slot.owed = false;
            self.soil(index);
        } else {
            self.release(index, trash);
        }
    }

    /// Frees a slot for the next subscription.
    pub fn release(&mut self, index: u32, trash: &mut Trash<A>) {
        self.clean(index);
        let slot = self.slots.at_mut(index);
        let number = slot.resource;
        trash.push(slot.text.take());
        slot.stage = Stage::Vacant;
        slot.resource = NIL;
        slot.generation = (slot.generation + 1) & super::GENERATIONS;
        self.slots.give_back(index);
        self.audiences.at_mut(self.resources.at(number).audience).users -= 1;
        self.let_go_if_idle(number, trash);
    }

    /// A later end, or an earlier one.
    pub fn move_end(&mut self, index: u32, expires: u32) {
        let slot = self.slots.at_mut(index);
        let (before, list) = (slot.expires, slot.timer_list);
        slot.expires = expires;
        if expires < before {
            self.timers.remove(&mut self.slots, index, list);
            let list = self.timers.add(&mut self.slots, index);
            self.slots.at_mut(index).timer_list = list;
        }
    }

    /// Takes subscriptions that ran out before `now` out of the wheel and ends them; `at` is when. True if there may be
    /// more.
    pub fn pop_expired(&mut self, now: u32, at: Now, budget: usize, out: &mut std::vec::Vec<u32>) -> bool {
        let start = out.len();
        let more = self.timers.turn(&mut self.slots, now, budget, remember, out);
        for &index in &out[start..] {
            // Rows that have expired are deleted all together.
            self.slots.at_mut(index).has_row = false;
            self.end(index, Stage::Last(false), false);
            self.owe(index, at);
        }
        more
    }

    /// The texts of a slot.
    pub fn texts(&self, index: u32) -> Texts<&[u8]> {
        Texts::from_block(self.slots.at(index).text.as_deref().unwrap_or_default())
    }

    /// A copy of a subscription.
    pub fn copy(&self, index: u32) -> Subscription {
        let slot = self.slots.at(index);
        let resource = self.resources.at(slot.resource);
        Subscription {
            presentity: resource.uri.as_deref().unwrap_or_default().to_vec(),
            package: resource.package,
            texts: Texts::from_block(slot.text.as_deref().unwrap_or_default().to_vec()),
            remote_cseq: slot.remote_cseq,
            local_cseq: slot.local_cseq,
            version: slot.version,
            expires: Timestamp(slot.expires),
            status: slot.status,
            branch_flags: slot.branch_flags,
        }
    }

    /// Whether the watcher gets the state: it is active, and not refused without being told.
    pub fn sees_state(&self, index: u32) -> bool {
        let slot = self.slots.at(index);
        slot.status == Status::Active
            && slot.stage != Stage::Last(false)
            && self.texts(index).get(Field::Reason) != crate::status::POLITE_BLOCK
    }

    // --- NOTIFYs

    /// A NOTIFY is owed to a subscription whatever the version; who asked for it will send it, unless one is under way.
    pub fn owe(&mut self, index: u32, now: Now) {
        let slot = self.slots.at_mut(index);
        slot.owed = true;
        if !matches!(slot.flight, Flight::Up | Flight::Held) {
            slot.flight = Flight::Held;
            // Whoever owes it sends it; the timer only helps if that takes long.
            slot.since = now.steady.tick();
        }
        self.enqueue(index);
    }

    /// No NOTIFY before that time, unless [`Self::owe`] says otherwise.
    pub fn pause(&mut self, index: u32, until: Tick) {
        let slot = self.slots.at_mut(index);
        slot.flight = Flight::Paused;
        slot.since = until;
        self.enqueue(index);
    }

    /// Until when a watcher is told of no further change (`notify_interval`); none if it may be told now. What is owed to
    /// it whatever the version goes at once.
    pub fn rests_until(&self, index: u32, interval: u32, now: Now) -> Option<Tick> {
        let slot = self.slots.at(index);
        let rests = !slot.owed && !matches!(slot.stage, Stage::Last(_));
        (rests && slot.told_at.elapsed(now.steady) < u64::from(interval)).then(|| slot.told_at.after(interval))
    }

    /// Whether somebody may send the NOTIFY that is due: none is under way, and there is no pause.
    pub fn may_leave(&self, index: u32) -> bool {
        matches!(self.slots.at(index).flight, Flight::None | Flight::Held)
    }

    /// Whether another NOTIFY is due when nothing is under way. One that has run out only waits for its last.
    pub fn is_due(&self, index: u32, now: Now) -> bool {
        let slot = self.slots.at(index);
        match slot.stage {
            Stage::Open if slot.expires <= now.unix.0 => false,
            Stage::Open => slot.owed || slot.told < slot.seen && self.is_told_changes(index),
            Stage::Guest => slot.owed || slot.told < slot.seen,
            Stage::Last(_) => slot.owed,
            Stage::Gone | Stage::Vacant => false,
        }
    }

    /// Whether a watcher is told of changes: active, without any reservation.
    fn is_told_changes(&self, index: u32) -> bool {
        self.slots.at(index).status == Status::Active && self.texts(index).get(Field::Reason).is_empty()
    }

    /// Takes CSeq, document version and state version in one step: from here on a NOTIFY is under way.
    pub fn take_off(
        &mut self,
        index: u32,
        version: Version,
        winfo: bool,
        now: Now,
        token: impl Fn(&Slot<A>) -> Token,
    ) -> Notice {
        let sees = self.sees_state(index);
        let slot = self.slots.at_mut(index);
        let partial = slot.told > 0 && slot.told.wrapping_add(1) == version.0 && !slot.owed;
        let content = match (sees, winfo) {
            (false, _) => Content::Nothing,
            (true, false) => Content::State,
            (true, true) if partial => Content::Watchers(Extent::Partial),
            (true, true) => Content::Watchers(Extent::Full),
        };
        slot.told = slot.told.max(version.0);
        slot.flight = Flight::Up;
        slot.flight_number = slot.flight_number.wrapping_add(1);
        slot.since = now.steady.tick();
        if !core::mem::take(&mut slot.owed) {
            slot.told_at = slot.since;
        }
        slot.local_cseq = slot.local_cseq.wrapping_add(1);
        slot.version = slot.version.wrapping_add(1);
        let token = token(slot);
        let left = Timestamp(slot.expires).since(now.unix);
        // The last NOTIFY of a dialog stays in the queue: if its end is never told, the slot is freed all the same.
        if slot.stage == Stage::Open {
            self.dequeue(index);
        }
        Notice { token, subscription: self.copy(index), left, content }
    }

    /// Visits watchers who have not heard of this version: gives out a NOTIFY to each, at most `budget` visits. True
    /// if there may be more. Nobody, unless it is the current version. Who brought a newer one tells everybody; were
    /// both told in turns, the list would not stay in the order of `seen`, and the newer one would stop too early. A
    /// higher one is that of an earlier resource of this name, which was let go.
    #[allow(clippy::too_many_arguments)]
    pub fn visit(
        &mut self,
        resource: u32,
        version: Version,
        winfo: bool,
        except: &[u8],
        budget: usize,
        interval: u32,
        now: Now,
        token: impl Fn(u32, &Slot<A>) -> Token + Copy,
        out: &mut std::vec::Vec<Notice>,
    ) -> bool {
        let audience = match self.resources.at(resource) {
            told if told.version == version.0 && told.audience != NIL => told.audience,
            _ => return false,
        };
        for _ in 0..budget {
            let index = self.audiences.at(audience).watchers.first;
            if index == NIL || self.slots.at(index).seen >= version.0 {
                return false;
            }
            let ends = &mut self.audiences.at_mut(audience).watchers;
            unlink::<Watch, _, _>(&mut self.slots, ends, index);
            push::<Watch, _, _>(&mut self.slots, ends, index);
            let slot = self.slots.at_mut(index);
            slot.seen = version.0;
            if slot.told >= version.0 || slot.expires <= now.unix.0 || !self.is_told_changes(index) {
                continue;
            }
            if !except.is_empty() && self.texts(index).get(Field::Contact) == except {
                let slot = self.slots.at_mut(index);
                slot.told = version.0;
                continue;
            }
            if self.slots.at(index).flight != Flight::None {
                self.enqueue(index);
            } else if let Some(until) = self.rests_until(index, interval, now) {
                self.pause(index, until);
            } else {
                out.push(self.take_off(index, version, winfo, now, |slot| token(index, slot)));
            }
        }
        true
    }

    /// Puts a dialog into the queue of those who wait for an answer or a sender.
    pub fn enqueue(&mut self, index: u32) {
        if !core::mem::replace(&mut self.slots.at_mut(index).queued, true) {
            push::<Queue, _, _>(&mut self.slots, &mut self.queue, index);
        }
    }

    /// Looks at a dialog in the queue; it goes to the end, or out.
    pub fn overtake(&mut self, index: u32, config: &Config, now: Now) -> Fate {
        self.dequeue(index);
        let slot = self.slots.at_mut(index);
        let waited = slot.since.elapsed(now.steady);
        let due = match slot.stage {
            Stage::Guest => slot.owed || slot.told < slot.seen,
            Stage::Last(_) => slot.owed,
            _ => true,
        };
        // One that could not be sent has been counted already.
        let is_up = slot.flight == Flight::Up;
        let wait = if is_up {
            hold(config.notify_hold, slot.overtaken)
        } else {
            hold(config.notify_hold.min(config.keep_back), slot.overtaken.saturating_sub(1))
        };
        let patience = if due { wait } else { LOST };
        let paused = slot.flight == Flight::Paused;
        let waits = if paused { slot.since.left(now.steady) > 0 } else { waited < patience };
        if waits {
            self.enqueue(index);
            return Fate::Waits;
        }
        slot.flight = Flight::None;
        slot.overtaken = slot.overtaken.saturating_add(is_up.into());
        slot.since = now.steady.tick();
        if self.is_due(index, now) {
            if let Some(until) = self.rests_until(index, config.notify_interval, now) {
                self.pause(index, until);
                return Fate::Waits;
            }
            self.enqueue(index);
            return Fate::Due;
        }
        if self.slots.at(index).stage == Stage::Open { Fate::Rests } else { Fate::Over }
    }

    /// Takes it out.
    pub fn dequeue(&mut self, index: u32) {
        if core::mem::take(&mut self.slots.at_mut(index).queued) {
            unlink::<Queue, _, _>(&mut self.slots, &mut self.queue, index);
        }
    }

    // --- rows

    /// Marks a subscription whose row has to be written.
    pub fn soil(&mut self, index: u32) {
        let slot = self.slots.at_mut(index);
        if slot.stored == Stored::Same {
            slot.stored = Stored::Behind;
        }
        if !core::mem::replace(&mut slot.in_dirty, true) {
            push::<Dirty, _, _>(&mut self.slots, &mut self.dirty, index);
        }
    }

    /// Takes the mark away.
    pub fn clean(&mut self, index: u32) {
        if core::mem::take(&mut self.slots.at_mut(index).in_dirty) {
            unlink::<Dirty, _, _>(&mut self.slots, &mut self.dirty, index);
        }
    }
}

/// What becomes of a dialog in the queue.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fate {
    /// It waits on.
    Waits,
    /// Its next NOTIFY is due.
    Due,
    /// Nothing is due: it is told of the next change.
    Rests,
    /// Nothing is due, and nothing will be: the slot goes.
    Over,
}

/// The end of a dialog's last NOTIFY is given up when it was not told for so long: 64 times T1, twice.
const LOST: u64 = 64_000;

/// How long a NOTIFY without an answer keeps the next one back: doubled each time.
fn hold(base: u64, overtaken: u8) -> u64 {
    base << overtaken.min(4)
}
