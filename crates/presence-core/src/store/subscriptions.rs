//! The book of subscriptions over the store.

use super::dialogs::{CANDIDATES, Dialogs, Inserted};
use super::index::{Index, Table};
use super::records::{Block, Flight, Stage, Stored, Wait};
use super::shard::{Fate, Shard, Trash, Wants};
use super::slab::NIL;
use super::{Handle, Store};
use crate::config::{Config, SubsMode};
use crate::dialog::DialogId;
use crate::host::{
    Authorisation, Counted, Due, Landing, Notice, Postponed, Rejected, Renewal, Request, Resource, Subscriptions,
    Token, Version,
};
use crate::package::Package;
use crate::refusal::{Exhausted, Fault, Refusal};
use crate::status::Status;
use crate::subscription::{Field, Subscription, Texts};
use crate::time::{Now, Timestamp};
use crate::winfo::Watcher;
use allocator_api2::alloc::Allocator;
use lock_api::RawMutex;
use std::rc::Rc;

/// Visits of one lock.
const BUDGET: usize = 64;
/// Visits of the queue in one tick, in [`BUDGET`]s for each shard.
const ROUNDS: usize = 16;
/// After how many milliseconds a change is told again that could not be told.
const LATER: u64 = 1000;
/// How often a NOTIFY that cannot be sent is tried again.
const ATTEMPTS: u8 = 5;
/// How many NOTIFYs a row in the database is ahead: after a crash a dialog goes on above what it can have used. Half of
/// them last while the database is away, or until the next flush with write-back. 2^31 CSeqs last for 32,000 crashes.
pub const RESERVE: u32 = 1 << 16;
/// With write-through a row that did not get ahead is tried again after so many NOTIFYs.
const RETRY: u32 = 64;

/// What is written to the database together with a change.
pub trait Journal {
    /// A subscription is about to be entered.
    fn entered(&mut self, subscription: &Subscription) -> Result<(), Refusal>;
    /// A subscription was renewed.
    fn renewed(&mut self, subscription: &Subscription) -> Result<(), Refusal>;
    /// A subscription is about to end.
    fn ended(&mut self, dialog: DialogId<'_>) -> Result<(), Refusal>;
    /// A subscription uses up the NOTIFYs that its row is ahead, or its state changed.
    fn went_on(&mut self, subscription: &Subscription) -> Result<(), Fault>;
}

/// The book: the store, and what this process brings along for one input.
#[derive(Debug)]
pub struct Book<'s, A: Allocator, R, J> {
    /// The shared part.
    pub store: &'s Store<A, R>,
    /// The database's part.
    pub journal: J,
    /// The configuration.
    pub config: &'s Config,
    /// The packages.
    pub packages: Rc<[Package]>,
    /// The clocks when the input came.
    pub now: Now,
}

impl<A: Allocator + Clone, R: RawMutex, J: Journal> Book<'_, A, R, J> {
    fn is_winfo(&self, resource: Resource<'_>) -> bool {
        resource.package.of(&self.packages).is_some_and(Package::is_winfo)
    }

    fn writes_back(&self) -> bool {
        self.config.subs == SubsMode::WriteBack
    }

    /// The slot in the dialog index, if it is at this stage.
    pub(super) fn handle_of(&self, dialog: DialogId<'_>, stage: Stage) -> Option<Handle> {
        let hash = self.store.dialog_hash(dialog);
        let (places, count) = self.store.dialogs(hash).with(|d| d.places(hash)).ok()?;
        debug_assert!(count <= CANDIDATES);
        places[..count].iter().map(|place| Handle::of(Token(*place))).find(|handle| {
            self.with_live(*handle, |shard, index| {
                shard.slots.at(index).stage == stage && shard.texts(index).dialog() == dialog
            }) == Some(true)
        })
    }

    /// Runs something on an open subscription, under its lock.
    fn with_open<X>(&self, handle: Handle, run: impl FnOnce(&mut Shard<A>, u32) -> X) -> Option<X> {
        self.with_live(handle, |shard, index| (shard.slots.at(index).stage == Stage::Open).then(|| run(shard, index)))?
    }

    /// Runs something on a slot that is in use, under its lock.
    pub(super) fn with_live<X>(&self, handle: Handle, run: impl FnOnce(&mut Shard<A>, u32) -> X) -> Option<X> {
        let part = self.store.shard(handle.shard).ok()?;
        part.with(|shard| shard.live(handle.slot, handle.generation).is_some().then(|| run(shard, handle.slot))).ok()?
    }

    /// Enters a subscription; one that goes on also into the dialog index, and it is counted.
    pub(super) fn enter(&self, subscription: &Subscription, stage: Stage) -> Result<Handle, Exhausted> {
        let watcher = if stage == Stage::Open { self.counted_watcher(&subscription.texts) } else { None };
        if let Some(watcher) = watcher {
            self.index_with(watcher, |dialogs, table| dialogs.count_up(watcher, table))?;
        }
        self.enter_uncounted(subscription, stage).inspect_err(|_| self.count_down(watcher))
    }

    fn enter_uncounted(&self, subscription: &Subscription, stage: Stage) -> Result<Handle, Exhausted> {
        let resource = Resource { uri: &subscription.presentity, package: subscription.package };
        let key = self.store.key(resource);
        let shard = self.store.shard_of(key.hash);
        let dialog = self.store.dialog_hash(subscription.texts.dialog());
        let mut text = Some(self.store.block(subscription.texts.block())?);
        let mut uri = Some(self.store.block(resource.uri)?);
        let (now, writes_back) = (self.now, self.writes_back());
        let wants = Wants { slot: true, resource: true, audience: true, shelf: false };
        let handle = self.store.insert_with(shard, wants, |part| {
            let resource = part.find_or_add(key, &mut uri)?;
            let index = part.enter(resource, subscription, &mut text, dialog, stage, now)?;
            let slot = part.slots.at_mut(index);
            slot.reserved = slot.local_cseq.wrapping_add(RESERVE);
            if stage == Stage::Open && writes_back {
                slot.stored = Stored::Missing;
                part.soil(index);
            }
            Some(Handle::of_slot(shard, index, part.slots.at(index)))
        })?;
        if stage == Stage::Open && self.index_dialog(dialog, handle).is_err() {
            self.remove(handle);
            return Err(Exhausted);
        }
        Ok(handle)
    }

    /// Enters a subscription that the database has (at start): nothing is owed to it.
    pub fn load(&self, subscription: &Subscription) -> Result<(), Exhausted> {
        let handle = self.enter(subscription, Stage::Open)?;
        let writes_back = self.writes_back();
        self.with_open(handle, |shard, index| {
            shard.clean(index);
            shard.dequeue(index);
            let slot = shard.slots.at_mut(index);
            slot.stored = Stored::Same;
            slot.has_row = writes_back;
            slot.owed = false;
            slot.flight = Flight::None;
            // The rows were put ahead before.
            slot.reserved = slot.local_cseq.wrapping_add(RESERVE);
            slot.began = 0;
        });
        Ok(())
    }

    fn index_dialog(&self, hash: u64, handle: Handle) -> Result<(), Exhausted> {
        self.index_with(hash, |dialogs, table| dialogs.insert(hash, handle.place(), table))
    }

    /// Puts something into the dialog index or beside it, with a bigger table if it takes one.
    pub(super) fn index_with<X, V: Copy + Eq>(
        &self,
        hash: u64,
        insert: impl Fn(&mut Dialogs<A>, Option<Table<u64, V, A>>) -> Inserted<X, V, A>,
    ) -> Result<X, Exhausted> {
        let part = self.store.dialogs(hash);
        let mut table = None;
        for _ in 0..64 {
            let (left_over, outcome) = part.with(|d| insert(d, table.take()))?;
            drop(left_over);
            match outcome {
                Ok(done) => return Ok(done),
                Err(room) => table = Some(Index::make(room, &self.store.alloc)?),
            }
        }
        Err(Exhausted)
    }

    /// The watcher of a subscription, where watchers are counted (`max_subs_per_watcher`).
    fn counted_watcher<T: AsRef<[u8]>>(&self, texts: &Texts<T>) -> Option<u64> {
        let hash = || self.store.watcher_hash(texts.get(Field::WatcherUser), texts.get(Field::WatcherDomain));
        (self.config.most_per_watcher > 0).then(hash)
    }

    /// A watcher has one subscription less.
    fn count_down(&self, watcher: Option<u64>) {
        if let Some(watcher) = watcher {
            let _ = self.store.dialogs(watcher).with(|dialogs| dialogs.count_down(watcher));
        }
    }

    /// Takes an open subscription out of the dialog index. False if another one was faster.
    fn unindex(&self, handle: Handle) -> bool {
        let marks = self.with_open(handle, |shard, index| {
            (shard.slots.at(index).dialog, self.counted_watcher(&shard.texts(index)))
        });
        let Some((hash, watcher)) = marks else { return false };
        let first = self.unindex_dialog(hash, handle);
        if first {
            self.count_down(watcher);
        }
        first
    }

    /// Takes a dialog out of the index. False if another one was faster.
    pub(super) fn unindex_dialog(&self, hash: u64, handle: Handle) -> bool {
        self.store.dialogs(hash).with(|d| d.index.remove(hash, handle.place())).unwrap_or(false)
    }

    /// Frees the slot of a subscription that is over, or of a guest, unless something is due or under way again.
    pub(super) fn dismiss(&self, handle: Handle) {
        let now = self.now;
        let guest = self.with_live(handle, |shard, index| {
            let slot = shard.slots.at(index);
            if slot.flight == Flight::Up || shard.is_due(index, now) {
                return None;
            }
            match (slot.stage, slot.dialog) {
                (Stage::Guest, dialog) => {
                    // Nobody finds it from here on.
                    shard.slots.at_mut(index).stage = Stage::Last(false);
                    Some(Some(dialog))
                }
                (Stage::Last(_), _) => Some(None),
                _ => None,
            }
        });
        let Some(dialog) = guest.flatten() else { return };
        if let Some(hash) = dialog {
            self.unindex_dialog(hash, handle);
        }
        let mut trash: Trash<A> = Vec::with_capacity(4);
        self.with_live(handle, |shard, index| shard.free(index, &mut trash));
        drop(trash);
    }

    /// Takes an open subscription away without a last NOTIFY.
    fn remove(&self, handle: Handle) {
        let mut trash: Trash<A> = Vec::with_capacity(4);
        self.with_open(handle, |shard, index| {
            shard.end(index, Stage::Last(false), true);
            let slot = shard.slots.at_mut(index);
            slot.owed = false;
            if slot.flight == Flight::Up {
                // Should the end of that NOTIFY never be told, the slot is freed all the same.
                shard.enqueue(index);
            } else {
                slot.flight = Flight::None;
                shard.free(index, &mut trash);
            }
        });
        drop(trash);
    }

    /// Ends an open subscription: out of both indexes; one last NOTIFY is owed. None if another one was faster.
    fn finish(&self, handle: Handle, with_state: bool, status: Option<Status>) -> Option<Token> {
        if !self.unindex(handle) {
            return None;
        }
        self.with_open(handle, |shard, index| {
            shard.end(index, Stage::Last(with_state), true);
            if let Some(status) = status {
                shard.slots.at_mut(index).status = status;
            }
            shard.owe(index, self.now);
            Handle::of_slot(handle.shard, index, shard.slots.at(index)).token()
        })
    }

    /// Visits all watchers of a resource, a few at a time. One that comes or goes meanwhile may be missed or seen twice.
    fn walk(&self, resource: Resource<'_>, mut visit: impl FnMut(&Shard<A>, u32, Handle)) {
        let key = self.store.key(resource);
        let number = self.store.shard_of(key.hash);
        let Ok(part) = self.store.shard(number) else { return };
        let mut from: Option<(u32, u32)> = None;
        loop {
            let next = part.with(|shard| {
                let found = shard.find(key)?;
                let mut index = match from {
                    Some((index, generation)) => {
                        let slot = shard.live(index, generation)?;
                        if slot.stage != Stage::Open {
                            return None;
                        }
                        index
                    }
                    None => shard.audience(found)?.watchers.first,
                };
                for _ in 0..BUDGET {
                    if index == NIL {
                        return None;
                    }
                    visit(shard, index, Handle::of_slot(number, index, shard.slots.at(index)));
                    index = shard.slots.at(index).watch.next;
                }
                (index != NIL).then(|| (index, shard.slots.at(index).generation))
            });
            match next {
                Ok(Some(place)) => from = Some(place),
                _ => return,
            }
        }
    }

    /// Sees to it that the row of a subscription stays ahead of it: after a crash its dialog goes on above what it can
    /// have used.
    fn extend_reserve(&mut self, notice: &Notice) {
        let at_once = match self.config.subs {
            SubsMode::WriteThrough => true,
            SubsMode::WriteBack => false,
            SubsMode::Memory | SubsMode::Database => return,
        };
        let handle = Handle::of(notice.token);
        let may_be_written = self.with_open(handle, |shard, index| {
            let slot = shard.slots.at(index);
            let left = slot.reserved.wrapping_sub(slot.local_cseq) as i32;
            let is_low = left <= (RESERVE / 2) as i32;
            if is_low && !at_once {
                shard.soil(index);
            }
            is_low && at_once && left % RETRY as i32 == 0
        });
        // A failure is logged by the journal.
        if may_be_written == Some(true) && self.journal.went_on(&notice.subscription).is_ok() {
            let reserved = notice.subscription.local_cseq.wrapping_add(RESERVE);
            self.with_open(handle, |shard, index| shard.slots.at_mut(index).reserved = reserved);
        }
    }

    /// Changes the texts of a subscription, if `apply` says so. The new block is made before the lock is taken.
    fn change_texts(
        &self,
        handle: Handle,
        changes: &[(Field, &[u8])],
        apply: impl FnOnce(&mut Shard<A>, u32) -> bool,
    ) -> Result<bool, Exhausted> {
        let Some(texts) = self.with_open(handle, |shard, index| shard.copy(index).texts) else { return Ok(false) };
        let texts = texts.with(changes).map_err(|_| Exhausted)?;
        let mut block: Block<A> = Some(self.store.block(texts.block())?);
        let done = self.with_open(handle, |shard, index| {
            if apply(shard, index) {
                core::mem::swap(&mut shard.slots.at_mut(index).text, &mut block);
            }
        });
        drop(block);
        Ok(done.is_some())
    }

    fn renewed(shard: &mut Shard<A>, index: u32, renewal: &Renewal<'_>, writes_back: bool, now: Now) {
        let slot = shard.slots.at_mut(index);
        slot.remote_cseq = renewal.remote_cseq;
        shard.move_end(index, renewal.expires.0);
        shard.owe(index, now);
        if writes_back {
            shard.soil(index);
        }
    }
}

/// What a look at a subscription before its renewal says.
enum Look {
    SameContact,
    OtherContact,
}

fn token_of<A: Allocator>(shard: usize) -> impl Fn(u32, &super::records::Slot<A>) -> Token + Copy {
    move |index, slot| Handle::of_slot(shard, index, slot).token()
}

impl<A: Allocator + Clone, R: RawMutex, J: Journal> Subscriptions for Book<'_, A, R, J> {
    fn find(&mut self, dialog: DialogId<'_>) -> Result<Option<Subscription>, Fault> {
        let Some(handle) = self.handle_of(dialog, Stage::Open) else { return Ok(None) };
        Ok(self.with_open(handle, |shard, index| shard.copy(index)))
    }

    fn replaced_by(&mut self, subscription: &Subscription) -> Result<Vec<Texts>, Fault> {
        let resource = Resource { uri: &subscription.presentity, package: subscription.package };
        let mut replaced = Vec::new();
        self.walk(resource, |shard, index, _| {
            if self.config.replaces(&subscription.texts, &shard.texts(index)) {
                replaced.push(shard.copy(index).texts);
            }
        });
        Ok(replaced)
    }

    fn count(&mut self, of: Counted<'_>, enough: u32) -> Result<u32, Fault> {
        let count = match of {
            Counted::Resource(resource) => {
                let key = self.store.key(resource);
                self.store.shard(self.store.shard_of(key.hash)).and_then(|part| {
                    part.with(|shard| {
                        let audience = shard.find(key).and_then(|found| shard.audience(found));
                        audience.map_or(0, |audience| audience.watcher_count)
                    })
                })
            }
            Counted::Watcher(user, host) => {
                let hash = self.store.watcher_hash(user, host);
                self.store.dialogs(hash).with(|dialogs| dialogs.watchers.find(hash, |_| true).unwrap_or(0))
            }
        };
        count.map(|count| count.min(enough)).map_err(|_| Fault::Storage)
    }

    fn open(&mut self, subscription: &Subscription) -> Result<Token, Refusal> {
        // DIFFERS: the C module enters it again, and two streams of NOTIFYs share a dialog.
        if let Some(handle) = self.handle_of(subscription.texts.dialog(), Stage::Open) {
            let now = self.now;
            if self.with_open(handle, |shard, index| shard.owe(index, now)).is_some() {
                return Ok(handle.token());
            }
        }
        self.journal.entered(subscription)?;
        match self.enter(subscription, Stage::Open) {
            Ok(handle) => Ok(handle.token()),
            Err(exhausted) => {
                let _ = self.journal.ended(subscription.texts.dialog());
                Err(exhausted.into())
            }
        }
    }

    fn fetch(&mut self, subscription: &Subscription) -> Result<Token, Refusal> {
        Ok(self.enter(subscription, Stage::Last(true))?.token())
    }

    fn renew(&mut self, dialog: DialogId<'_>, renewal: &Renewal<'_>) -> Result<Token, Rejected> {
        let handle = self.handle_of(dialog, Stage::Open).ok_or(Rejected::Unknown)?;
        let (offset, writes_back, now) = (self.config.cseq_offset, self.writes_back(), self.now);
        let is_new = |last: u32| renewal.remote_cseq.saturating_add(offset) > last;
        let look = self
            .with_open(handle, |shard, index| {
                if !is_new(shard.slots.at(index).remote_cseq) {
                    return Err(Rejected::OldCseq);
                }
                if shard.texts(index).get(Field::Contact) != renewal.contact {
                    return Ok(Look::OtherContact);
                }
                Self::renewed(shard, index, renewal, writes_back, now);
                Ok(Look::SameContact)
            })
            .ok_or(Rejected::Unknown)??;
        if let Look::OtherContact = look {
            let mut outcome = Ok(());
            let done = self.change_texts(handle, &[(Field::Contact, renewal.contact)], |shard, index| {
                let is_new = is_new(shard.slots.at(index).remote_cseq);
                if is_new {
                    Self::renewed(shard, index, renewal, writes_back, now);
                } else {
                    outcome = Err(Rejected::OldCseq);
                }
                is_new
            });
            if !done.map_err(|e| Rejected::Refused(e.into()))? {
                return Err(Rejected::Unknown);
            }
            outcome?;
        }
        let renewed = self.with_open(handle, |shard, index| {
            (Handle::of_slot(handle.shard, index, shard.slots.at(index)).token(), shard.copy(index))
        });
        let (token, subscription) = renewed.ok_or(Rejected::Unknown)?;
        self.journal.renewed(&subscription).map_err(Rejected::Refused)?;
        if self.with_open(handle, |_, _| ()).is_none() {
            // It was ended meanwhile: no row of it may be left.
            let _ = self.journal.ended(dialog);
        }
        Ok(token)
    }

    fn close(&mut self, dialog: DialogId<'_>, renewal: &Renewal<'_>) -> Result<Token, Rejected> {
        let handle = self.handle_of(dialog, Stage::Open).ok_or(Rejected::Unknown)?;
        let offset = self.config.cseq_offset;
        let (is_new, other_contact) = self
            .with_open(handle, |shard, index| {
                let is_new = renewal.remote_cseq.saturating_add(offset) > shard.slots.at(index).remote_cseq;
                (is_new, shard.texts(index).get(Field::Contact) != renewal.contact)
            })
            .ok_or(Rejected::Unknown)?;
        if !is_new {
            return Err(Rejected::OldCseq);
        }
        // A refusal changes nothing: the table is asked first.
        self.journal.ended(dialog).map_err(Rejected::Refused)?;
        if other_contact {
            // The last NOTIFY goes where the SUBSCRIBE says; where it said before, if there is no memory for that.
            let _ = self.change_texts(handle, &[(Field::Contact, renewal.contact)], |_, _| true);
        }
        self.with_open(handle, |shard, index| shard.slots.at_mut(index).remote_cseq = renewal.remote_cseq);
        self.finish(handle, true, None).ok_or(Rejected::Unknown)
    }

    fn forget(&mut self, dialog: DialogId<'_>) -> Result<bool, Fault> {
        let Some(handle) = self.handle_of(dialog, Stage::Open) else { return Ok(false) };
        if !self.unindex(handle) {
            return Ok(false);
        }
        // A row that cannot be deleted now is deleted when it has expired.
        let _ = self.journal.ended(dialog);
        self.remove(handle);
        Ok(true)
    }

    fn version(&mut self, resource: Resource<'_>) -> Version {
        let key = self.store.key(resource);
        let version = self
            .store
            .shard(self.store.shard_of(key.hash))
            .and_then(|part| part.with(|shard| shard.find(key).map(|number| shard.resources.at(number).version)));
        Version(version.ok().flatten().unwrap_or(0))
    }

    fn changed(&mut self, resource: Resource<'_>) -> Result<Option<Version>, Fault> {
        let key = self.store.key(resource);
        let part = self.store.shard(self.store.shard_of(key.hash)).map_err(|_| Fault::Storage)?;
        part.with(|shard| {
            let number = shard.find(key)?;
            let resource = shard.resources.at_mut(number);
            resource.version = resource.version.wrapping_add(1);
            let version = Version(resource.version);
            shard.audience(number).filter(|audience| audience.watcher_count > 0).map(|_| version)
        })
        .map_err(|_| Fault::Storage)
    }

    fn postpone(&mut self, resource: Resource<'_>) -> bool {
        let (key, now) = (self.store.key(resource), self.now.steady.0);
        let number = self.store.shard_of(key.hash);
        let Ok(part) = self.store.shard(number) else { return false };
        // What is there takes no memory: that may be what is missing.
        let known = part.with(|shard| shard.find(key).and_then(|found| shard.put_off(found, now)));
        if let Ok(Some(())) = known {
            return true;
        }
        let Ok(uri) = self.store.block(resource.uri) else { return false };
        let mut uri = Some(uri);
        let wants = Wants { resource: true, audience: true, ..Wants::default() };
        let kept = self.store.insert_with(number, wants, |shard| {
            let found = shard.find_or_add(key, &mut uri)?;
            shard.audience_or_add(found)?;
            shard.put_off(found, now)
        });
        kept.is_ok()
    }

    fn hand_over(&mut self, resource: Resource<'_>) -> bool {
        let key = self.store.key(resource);
        let Ok(part) = self.store.shard(self.store.shard_of(key.hash)) else { return false };
        let known = part.with(|shard| shard.find(key).and_then(|found| shard.wait(found, Wait::Rest)));
        known.is_ok_and(|known| known.is_some())
    }

    fn postponed(&mut self) -> Option<Postponed> {
        let now = self.now.steady.0;
        let count = self.store.shard_count();
        let mut trash: Trash<A> = Vec::with_capacity(4);
        // Not always the same one first: a resource with very many watchers keeps no other waiting.
        let start = now as usize % count;
        (start..start + count).find_map(|number| {
            let waiting = self.store.shard(number % count).ok()?.with(|shard| {
                let (first, wait) = shard.next_waiting(now, LATER)?;
                let resource = shard.resources.at(first);
                let (uri, package) = (resource.uri.as_deref().unwrap_or_default().to_vec(), resource.package);
                shard.let_go_if_idle(first, &mut trash);
                Some(Postponed { uri, package, is_rest: wait == Wait::Rest })
            });
            trash.clear();
            waiting.ok()?
        })
    }

    fn claim(
        &mut self,
        resource: Resource<'_>,
        version: Version,
        except: &[u8],
        out: &mut Vec<Notice>,
    ) -> Result<(), Fault> {
        let (winfo, now, interval) = (self.is_winfo(resource), self.now, self.config.notify_interval);
        let key = self.store.key(resource);
        let number = self.store.shard_of(key.hash);
        let part = self.store.shard(number).map_err(|_| Fault::Storage)?;
        out.reserve(BUDGET);
        let start = out.len();
        loop {
            let more = part
                .with(|shard| {
                    let found = shard.find(key)?;
                    Some(shard.visit(found, version, winfo, except, BUDGET, interval, now, token_of(number), out))
                })
                .map_err(|_| Fault::Storage)?;
            if more != Some(true) || out.len() > start {
                break;
            }
        }
        for notice in &out[start..] {
            self.extend_reserve(notice);
        }
        Ok(())
    }

    fn due(&mut self, token: Token) -> Option<Due> {
        let (handle, now) = (Handle::of(token), self.now);
        self.with_live(handle, |shard, index| {
            let slot = shard.slots.at(index);
            (shard.may_leave(index) && shard.is_due(index, now)).then(|| Due {
                contact: shard.texts(index).get(Field::Contact).to_vec(),
                sees_state: shard.sees_state(index),
                saw_before: slot.told > 0 && slot.told < shard.resources.at(slot.resource).version,
                last_cseq: slot.local_cseq,
            })
        })?
    }

    fn owed(&mut self, token: Token, version: Version, last_cseq: u32) -> Result<Option<Notice>, Fault> {
        let handle = Handle::of(token);
        let now = self.now;
        let packages = Rc::clone(&self.packages);
        let notice = self.with_live(handle, |shard, index| {
            let slot = shard.slots.at(index);
            let resource = shard.resources.at(slot.resource);
            // The state has changed since it was read, or the document is about an earlier resource of this name, which
            // was let go; or somebody else has told this watcher a state that was read later: it takes another document.
            let fits = version.0 == resource.version && last_cseq == slot.local_cseq;
            if !shard.may_leave(index) || !fits || !shard.is_due(index, now) {
                return None;
            }
            let package = resource.package;
            let winfo = package.of(&packages).is_some_and(Package::is_winfo);
            Some(shard.take_off(index, version, winfo, now, |slot| Handle::of_slot(handle.shard, index, slot).token()))
        });
        let notice = notice.flatten();
        if let Some(notice) = &notice {
            self.extend_reserve(notice);
        }
        Ok(notice)
    }

    fn landed(&mut self, token: Token, landing: Landing) -> Result<bool, Fault> {
        let (handle, now, interval) = (Handle::of(token), self.now, self.config.notify_interval);
        let mut over = false;
        let due = self.with_live(handle, |shard, index| {
            let slot = shard.slots.at_mut(index);
            if matches!(landing, Landing::Answered(200..300)) {
                slot.failures = 0;
            }
            if slot.flight != Flight::Up || slot.flight_number != handle.flight {
                // A later one has taken off since: what became of this one does not matter any more.
                return false;
            }
            slot.flight = Flight::None;
            match landing {
                Landing::Answered(code) => {
                    slot.overtaken = 0;
                    (slot.answer, slot.answered_at) = (code, now.unix.0);
                }
                Landing::Again(code, after) => {
                    slot.overtaken = 0;
                    if let Some(code) = code {
                        (slot.answer, slot.answered_at) = (code, now.unix.0);
                    }
                    if !matches!(slot.stage, Stage::Last(_)) {
                        slot.owed = true;
                        shard.pause(index, now.steady.tick().after(after));
                        return false;
                    }
                }
                Landing::Failed if slot.overtaken < ATTEMPTS => {
                    slot.overtaken += 1;
                    slot.since = now.steady.tick();
                    shard.owe(index, now);
                    return false;
                }
                Landing::Failed | Landing::Dropped => {}
            }
            let is_due = shard.is_due(index, now);
            // A guest stays until the watcher may be told of the next change: nobody else knows when that is.
            if is_due || shard.slots.at(index).stage == Stage::Guest {
                if let Some(until) = shard.rests_until(index, interval, now) {
                    shard.pause(index, until);
                    return false;
                }
            }
            if is_due {
                // The caller sends it; should that fail, the timer does.
                let slot = shard.slots.at_mut(index);
                slot.flight = Flight::Held;
                slot.since = now.steady.tick();
                shard.enqueue(index);
                return true;
            }
            shard.dequeue(index);
            over = shard.slots.at(index).stage != Stage::Open;
            false
        });
        if over {
            self.dismiss(handle);
        }
        Ok(due.unwrap_or(false))
    }

    fn failed(&mut self, token: Token) -> u8 {
        let failures = self.with_live(Handle::of(token), |shard, index| {
            let slot = shard.slots.at_mut(index);
            slot.failures = slot.failures.saturating_add(1);
            slot.failures
        });
        failures.unwrap_or(0)
    }

    fn of_token(&mut self, token: Token) -> Option<Subscription> {
        self.with_live(Handle::of(token), |shard, index| shard.copy(index))
    }

    fn watchers(&mut self, resource: Resource<'_>) -> Result<Vec<Watcher>, Fault> {
        let mut watchers = Vec::new();
        let now = self.now.unix;
        self.walk(resource, |shard, index, _| {
            let slot = shard.slots.at(index);
            if Timestamp(slot.expires) >= now {
                let texts = shard.texts(index);
                watchers.push(Watcher {
                    id: texts.get(Field::CallId).to_vec(),
                    uri: crate::uri::sip_uri(texts.get(Field::WatcherUser), texts.get(Field::WatcherDomain)),
                    status: slot.status,
                });
            }
        });
        Ok(watchers)
    }

    fn expire(&mut self, budget: usize) -> Result<Vec<(Token, Subscription)>, Fault> {
        let (now, at) = (self.now.unix - self.config.expires_offset, self.now);
        let mut over = Vec::new();
        for number in 0..self.store.shard_count() {
            let part = self.store.shard(number).map_err(|_| Fault::Storage)?;
            loop {
                let left = budget.saturating_sub(over.len());
                if left == 0 {
                    return Ok(over);
                }
                let (mut slots, mut ended) = (Vec::with_capacity(BUDGET), Vec::with_capacity(BUDGET));
                // Copied under the same lock: once it is released, an answer to a NOTIFY may free the slot.
                let more = part.with(|shard| {
                    let more = shard.pop_expired(now.0, at, left.min(BUDGET), &mut slots);
                    for &index in &slots {
                        shard.clean(index);
                        let slot = shard.slots.at(index);
                        ended.push((Handle::of_slot(number, index, slot), slot.dialog, shard.copy(index)));
                    }
                    more
                });
                for (handle, hash, subscription) in ended {
                    if self.unindex_dialog(hash, handle) {
                        self.count_down(self.counted_watcher(&subscription.texts));
                    }
                    let _ = self.journal.ended(subscription.texts.dialog());
                    over.push((handle.token(), subscription));
                }
                if more != Ok(true) {
                    break;
                }
            }
        }
        Ok(over)
    }

    fn overdue(&mut self, budget: usize) -> Vec<Token> {
        let (now, config) = (self.now, self.config);
        let (mut due, mut over) = (Vec::new(), Vec::new());
        for number in 0..self.store.shard_count() {
            let Ok(part) = self.store.shard(number) else { continue };
            let mut first = NIL;
            for _ in 0..ROUNDS {
                due.reserve(BUDGET);
                over.reserve(BUDGET);
                let left = budget.saturating_sub(due.len()).min(BUDGET);
                let more = part.with(|shard| {
                    for _ in 0..left {
                        let index = shard.queue.first;
                        if index == NIL || index == first {
                            return false;
                        }
                        let fate = shard.overtake(index, config, now);
                        let handle = Handle::of_slot(number, index, shard.slots.at(index));
                        match fate {
                            Fate::Waits if first == NIL => first = index,
                            Fate::Waits | Fate::Rests => {}
                            Fate::Due => due.push(handle.token()),
                            Fate::Over => over.push(handle),
                        }
                    }
                    left > 0
                });
                if more != Ok(true) {
                    break;
                }
            }
        }
        over.into_iter().for_each(|handle| self.dismiss(handle));
        due
    }

    fn set_status(&mut self, request: &Request<'_>, status: &Authorisation) -> Result<Vec<Token>, Fault> {
        let mut meant = Vec::new();
        self.walk(request.resource, |shard, index, handle| {
            let texts = shard.texts(index);
            if texts.get(Field::WatcherUser) == request.watcher_user
                && texts.get(Field::WatcherDomain) == request.watcher_domain
            {
                meant.push(handle);
            }
        });
        let ends = status.status == Status::Terminated;
        let (writes_back, now) = (self.writes_back(), self.now);
        let mut tokens = Vec::new();
        for handle in meant {
            let changed = self.change_texts(handle, &[(Field::Reason, &status.reason)], |shard, index| {
                if !ends {
                    shard.slots.at_mut(index).status = status.status;
                    shard.owe(index, now);
                    if writes_back {
                        shard.soil(index);
                    }
                }
                true
            });
            if !changed.map_err(|_| Fault::Storage)? {
                continue;
            }
            let Some(subscription) = self.with_open(handle, |shard, index| shard.copy(index)) else { continue };
            if ends {
                let _ = self.journal.ended(subscription.texts.dialog());
                tokens.extend(self.finish(handle, false, Some(Status::Terminated)));
            } else {
                // Logged by the journal. The decision holds in memory: who is affected is told of it all the same.
                let _ = self.journal.went_on(&subscription);
                tokens.push(handle.token());
            }
        }
        Ok(tokens)
    }

    fn cached(&mut self, resource: Resource<'_>, version: Version, steady: bool) -> Option<Vec<u8>> {
        let key = self.store.key(resource);
        let now = self.now.unix.0;
        self.store
            .shard(self.store.shard_of(key.hash))
            .ok()?
            .with(|shard| {
                let number = shard.find(key)?;
                let audience = shard.audience(number)?;
                let fits = audience.body_version == version.0 && shard.resources.at(number).version == version.0;
                let holds = if steady {
                    audience.body_until > now
                } else {
                    audience.body_until == 0 || audience.body_until > now
                };
                if fits && holds { audience.body.as_deref().map(<[u8]>::to_vec) } else { None }
            })
            .ok()?
    }

    fn cache(&mut self, resource: Resource<'_>, version: Version, steady_until: Option<Timestamp>, body: &[u8]) {
        // A document that cannot be kept is made again.
        let Ok(block) = self.store.block(body) else { return };
        let mut block = Some(block);
        let key = self.store.key(resource);
        let Ok(part) = self.store.shard(self.store.shard_of(key.hash)) else { return };
        let _ = part.with(|shard| {
            let Some(number) = shard.find(key) else { return };
            let is_current = shard.resources.at(number).version == version.0;
            let audience = shard.audience_mut(number).filter(|audience| is_current && audience.users > 0);
            if let Some(audience) = audience {
                core::mem::swap(&mut audience.body, &mut block);
                audience.body_version = version.0;
                audience.body_until = steady_until.map_or(0, |t| t.0);
            }
        });
        drop(block);
    }
}
