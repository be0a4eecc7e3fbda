//! The shelf of publications over the store (`publ_cache` 2), and the index of those in the database (`publ_cache` 1).

use super::Store;
use super::chain::{push, unlink};
use super::records::{Block, Mark, Place, Shelved, pack, unpack};
use super::shard::{Shard, Trash, Wants};
use super::slab::{NIL, Record};
use crate::body::About;
use crate::config::{Config, RetrieveOrder};
use crate::host::{Change, Expired, Publication, Publications, Resource, Shown};
use crate::package::PackageId;
use crate::refusal::{Exhausted, Fault, Refusal};
use crate::time::{Now, Timestamp};
use allocator_api2::alloc::Allocator;
use lock_api::RawMutex;

/// Visits of one lock.
const BUDGET: usize = 64;

/// The shelf, and what this process brings along for one input.
#[derive(Debug)]
pub struct Shelf<'s, A: Allocator, R> {
    /// The shared part.
    pub store: &'s Store<A, R>,
    /// The configuration.
    pub config: &'s Config,
    /// The clocks when the input came.
    pub now: Now,
}

fn tag<A: Allocator + Clone>(shard: &Shard<A>, index: u32) -> &[u8] {
    unpack(shard.shelf.at(index).text.as_deref().unwrap_or_default())[0]
}

/// A copy of a publication.
pub(super) fn copy<A: Allocator + Clone>(shard: &Shard<A>, index: u32) -> Publication {
    let record = shard.shelf.at(index);
    let [etag, _, row_id] = unpack(record.text.as_deref().unwrap_or_default());
    let Shown { body, sender, expires, received } = shown(shard, index);
    let (etag, row_id) = (etag.to_vec(), row_id.to_vec());
    Publication { etag, body, sender, expires, received, priority: record.priority, row_id }
}

fn shown<A: Allocator + Clone>(shard: &Shard<A>, index: u32) -> Shown {
    let record = shard.shelf.at(index);
    let [_, sender, _] = unpack(record.text.as_deref().unwrap_or_default());
    Shown {
        body: record.body.as_deref().unwrap_or_default().to_vec(),
        sender: sender.to_vec(),
        expires: Timestamp(record.expires),
        received: Timestamp(record.received),
    }
}

/// The publications of a resource, in their order.
fn each<A: Allocator + Clone>(shard: &Shard<A>, resource: u32) -> impl Iterator<Item = u32> {
    let mut at = shard.resources.at(resource).publications.first;
    core::iter::from_fn(move || {
        let index = at;
        (index != NIL).then(|| {
            at = shard.shelf.at(index).place.next;
            index
        })
    })
}

/// Another publication of the same resource that may be about this one's dialog and is `wanted`.
fn other_about<A: Allocator + Clone>(
    shard: &Shard<A>,
    index: u32,
    wanted: impl Fn(&Shelved<A>) -> bool,
) -> Option<u32> {
    let own = shard.shelf.at(index);
    let mut others = each(shard, own.resource).filter(|&other| other != index);
    others.find(|&other| {
        let other = shard.shelf.at(other);
        own.about.may_be(other.about) && wanted(other)
    })
}

/// The state of a resource changes: under the same lock, so that what is read of a version is this version's, and
/// nobody sees a state before its version. Whoever does this tells the watchers ([`Subscriptions::changed`]).
///
/// [`Subscriptions::changed`]: crate::host::Subscriptions::changed
fn change<A: Allocator + Clone>(shard: &mut Shard<A>, resource: u32) {
    let resource = shard.resources.at_mut(resource);
    resource.version = resource.version.wrapping_add(1);
}

/// Takes a publication off; its blocks go to the trash.
fn take_off<A: Allocator + Clone>(shard: &mut Shard<A>, index: u32, in_wheel: bool, trash: &mut Trash<A>) {
    let record = shard.shelf.at(index);
    let (number, list) = (record.resource, record.timer_list);
    if in_wheel {
        shard.shelf_timers.remove(&mut shard.shelf, index, list);
    }
    change(shard, number);
    let resource = shard.resources.at_mut(number);
    resource.publication_count -= 1;
    unlink::<Place, _, _>(&mut shard.shelf, &mut resource.publications, index);
    let record = shard.shelf.at_mut(index);
    trash.push(record.text.take());
    trash.push(record.body.take());
    *record = Shelved::vacant();
    shard.shelf.give_back(index);
    shard.let_go_if_idle(number, trash);
}

impl<A: Allocator + Clone, R: RawMutex> Shelf<'_, A, R> {
    /// Runs something on the publication with this tag, under its lock.
    fn with<X>(
        &self,
        resource: Resource<'_>,
        etag: &[u8],
        run: impl FnOnce(&mut Shard<A>, u32) -> X,
    ) -> Result<Option<X>, Exhausted> {
        let key = self.store.key(resource);
        self.store.shard(self.store.shard_of(key.hash))?.with(|shard| {
            let number = shard.find(key)?;
            let index = each(shard, number).find(|&index| tag(shard, index) == etag)?;
            Some(run(shard, index))
        })
    }

    fn mark(&self, about: Option<&About>) -> Mark {
        about.map_or_else(Mark::default, |about| self.store.mark(about))
    }
}

impl<A: Allocator + Clone, R: RawMutex> Publications for Shelf<'_, A, R> {
    fn insert(
        &mut self,
        resource: Resource<'_>,
        publication: &Publication,
        replace: bool,
        about: Option<&About>,
    ) -> Result<(), Refusal> {
        let key = self.store.key(resource);
        let number = self.store.shard_of(key.hash);
        let texts = pack([&publication.etag, &publication.sender, &publication.row_id]);
        let mut text: Block<A> = Some(self.store.block(&texts)?);
        let mut body: Block<A> = Some(self.store.block(&publication.body)?);
        let mut uri: Block<A> = Some(self.store.block(resource.uri)?);
        let (about, now) = (self.mark(about), self.now.unix.0);
        let mut trash: Trash<A> = Vec::with_capacity(8);
        let wants = Wants { slot: false, resource: true, shelf: true };
        self.store.insert_with(number, wants, |shard| {
            let found = shard.find_or_add(key, &mut uri)?;
            let index = shard.shelf.take()?;
            *shard.shelf.at_mut(index) = Shelved {
                text: text.take(),
                body: body.take(),
                resource: found,
                expires: publication.expires.0,
                received: publication.received.0,
                priority: publication.priority,
                about,
                ..Shelved::vacant()
            };
            let list = shard.shelf_timers.add(&mut shard.shelf, index);
            shard.shelf.at_mut(index).timer_list = list;
            change(shard, found);
            let resource = shard.resources.at_mut(found);
            resource.publication_count += 1;
            push::<Place, _, _>(&mut shard.shelf, &mut resource.publications, index);
            let same = each(shard, found).find(|&old| replace && old != index && tag(shard, old) == publication.etag);
            if let Some(old) = same {
                take_off(shard, old, true, &mut trash);
            }
            let is_over = |old: &Shelved<A>| old.about.is_over && old.expires > now;
            if let Some(old) = other_about(shard, index, |old| !about.is_over && is_over(old)) {
                let (document, was) = (shard.shelf.at_mut(old).body.take(), shard.shelf.at(old).about);
                let new = shard.shelf.at_mut(index);
                new.about = was;
                trash.push(core::mem::replace(&mut new.body, document));
                take_off(shard, old, true, &mut trash);
            } else {
                while let Some(old) = other_about(shard, index, |_| true) {
                    take_off(shard, old, true, &mut trash);
                }
            }
            Some(())
        })?;
        Ok(())
    }

    fn modify(&mut self, resource: Resource<'_>, etag: &[u8], change: &Change<'_>) -> Result<bool, Refusal> {
        let Some([old_sender, row_id]) = self.with(resource, etag, |shard, index| {
            let [_, sender, row_id] = unpack(shard.shelf.at(index).text.as_deref().unwrap_or_default());
            [sender.to_vec(), row_id.to_vec()]
        })?
        else {
            return Err(Refusal::ConditionFailed);
        };
        let sender = change.sender.unwrap_or(&old_sender);
        let mut text: Block<A> = Some(self.store.block(&pack([change.etag, sender, &row_id]))?);
        let mut body: Block<A> = match change.body {
            Some(body) => Some(self.store.block(body)?),
            None => None,
        };
        let about = self.mark(change.about);
        let (now, hides) = (self.now.unix, self.config.hide_expired);
        let done = self.with(resource, etag, |shard, index| {
            // Without a document the state is the same, and nobody is told.
            let was_hidden = hides && shard.shelf.at(index).expires <= now.0;
            let is_new = change.body.is_some() || was_hidden;
            if is_new {
                self::change(shard, shard.shelf.at(index).resource);
            }
            let record = shard.shelf.at_mut(index);
            core::mem::swap(&mut record.text, &mut text);
            if body.is_some() {
                core::mem::swap(&mut record.body, &mut body);
                record.about = about;
            }
            let (before, list, number) = (record.expires, record.timer_list, record.resource);
            record.expires = change.expires.0;
            record.received = change.received.0;
            record.priority = change.priority;
            if change.expires.0 < before {
                shard.shelf_timers.remove(&mut shard.shelf, index, list);
                let list = shard.shelf_timers.add(&mut shard.shelf, index);
                shard.shelf.at_mut(index).timer_list = list;
            }
            let ends = &mut shard.resources.at_mut(number).publications;
            unlink::<Place, _, _>(&mut shard.shelf, ends, index);
            push::<Place, _, _>(&mut shard.shelf, ends, index);
            is_new
        });
        done?.ok_or(Refusal::ConditionFailed)
    }

    fn remove(&mut self, resource: Resource<'_>, etag: &[u8]) -> Result<Shown, Refusal> {
        let mut trash: Trash<A> = Vec::with_capacity(4);
        let gone = self.get(resource, etag)?.ok_or(Refusal::ConditionFailed)?;
        let done = self.with(resource, etag, |shard, index| take_off(shard, index, true, &mut trash));
        drop(trash);
        done?.map(|()| gone).ok_or(Refusal::ConditionFailed)
    }

    fn get(&mut self, resource: Resource<'_>, etag: &[u8]) -> Result<Option<Shown>, Fault> {
        self.with(resource, etag, |shard, index| shown(shard, index)).map_err(|_| Fault::Storage)
    }

    fn all(&mut self, resource: Resource<'_>) -> Result<Vec<Shown>, Fault> {
        let key = self.store.key(resource);
        let part = self.store.shard(self.store.shard_of(key.hash)).map_err(|_| Fault::Storage)?;
        let (now, hides) = (self.now.unix, self.config.hide_expired);
        let all = part.with(|shard| {
            let number = shard.find(key)?;
            let alive = each(shard, number).filter(|&i| !hides || shard.shelf.at(i).expires > now.0);
            Some(alive.map(|index| (shard.shelf.at(index).priority, shown(shard, index))).collect::<Vec<_>>())
        });
        let mut all = all.map_err(|_| Fault::Storage)?.unwrap_or_default();
        if let RetrieveOrder::Columns(_) = self.config.order {
            all.sort_by_key(|(priority, _)| *priority);
        }
        Ok(all.into_iter().map(|(_, shown)| shown).collect())
    }

    fn expire(
        &mut self,
        budget: usize,
        wanted: &dyn Fn(PackageId) -> bool,
        _ready: &mut dyn FnMut(Resource<'_>) -> bool,
    ) -> Result<Vec<Expired>, Fault> {
        let now = self.now.unix.0;
        let mut over = Vec::new();
        for number in 0..self.store.shard_count() {
            let part = self.store.shard(number).map_err(|_| Fault::Storage)?;
            loop {
                let left = budget.saturating_sub(over.len()).min(BUDGET);
                if left == 0 {
                    return Ok(over);
                }
                let mut trash: Trash<A> = Vec::with_capacity(4 * BUDGET);
                let mut due = Vec::with_capacity(BUDGET);
                over.reserve(BUDGET);
                let more = part.with(|shard| {
                    let remember = |record: &mut Shelved<A>, list| record.timer_list = list;
                    let more = shard.shelf_timers.turn(&mut shard.shelf, now, left, remember, &mut due);
                    for &index in &due {
                        let resource = shard.resources.at(shard.shelf.at(index).resource);
                        let (uri, package) = (resource.uri.as_deref().unwrap_or_default().to_vec(), resource.package);
                        let shown = wanted(package).then(|| shown(shard, index));
                        over.push(Expired { uri, package, shown });
                        take_off(shard, index, false, &mut trash);
                    }
                    more
                });
                drop(trash);
                if more != Ok(true) {
                    break;
                }
            }
        }
        Ok(over)
    }

    fn is_exclusive(&self) -> bool {
        true
    }
}

impl<A: Allocator + Clone, R: RawMutex> Store<A, R> {
    /// One more publication of a resource is in the database.
    pub fn index_publication(&self, resource: Resource<'_>) -> Result<(), Exhausted> {
        let key = self.key(resource);
        let mut uri: Block<A> = Some(self.block(resource.uri)?);
        let wants = Wants { slot: false, resource: true, shelf: false };
        self.insert_with(self.shard_of(key.hash), wants, |shard| {
            let number = shard.find_or_add(key, &mut uri)?;
            shard.resources.at_mut(number).indexed += 1;
            Some(())
        })
    }

    /// One publication of a resource less is in the database.
    pub fn unindex_publication(&self, resource: Resource<'_>) {
        let key = self.key(resource);
        let mut trash: Trash<A> = Vec::with_capacity(2);
        let Ok(part) = self.shard(self.shard_of(key.hash)) else { return };
        let _ = part.with(|shard| {
            let Some(number) = shard.find(key) else { return };
            let resource = shard.resources.at_mut(number);
            resource.indexed = resource.indexed.saturating_sub(1);
            shard.let_go_if_idle(number, &mut trash);
        });
        drop(trash);
    }

    /// How many publications of a resource are counted in the database.
    pub fn indexed(&self, resource: Resource<'_>) -> Result<u32, Exhausted> {
        let key = self.key(resource);
        let part = self.shard(self.shard_of(key.hash))?;
        part.with(|shard| shard.find(key).map_or(0, |number| shard.resources.at(number).indexed))
    }

    /// Corrects that count, if it still is what it `was`. False if somebody changed it meanwhile.
    pub fn correct_indexed(&self, resource: Resource<'_>, was: u32, is: u32) -> Result<bool, Exhausted> {
        let key = self.key(resource);
        let number = self.shard_of(key.hash);
        let mut uri: Block<A> = Some(self.block(resource.uri)?);
        let mut trash: Trash<A> = Vec::with_capacity(2);
        let wants = Wants { slot: false, resource: true, shelf: false };
        let corrected = self.insert_with(number, wants, |shard| {
            let Some(found) = (if was == 0 { shard.find_or_add(key, &mut uri) } else { shard.find(key) }) else {
                return Some(false);
            };
            let resource = shard.resources.at_mut(found);
            let same = resource.indexed == was;
            if same {
                resource.indexed = is;
                shard.let_go_if_idle(found, &mut trash);
            }
            Some(same)
        });
        drop(trash);
        corrected
    }
}
