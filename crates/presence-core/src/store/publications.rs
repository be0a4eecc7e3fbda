//! The shelf of publications over the store (`publ_cache` 2), and the index of those in the database (`publ_cache` 1).

use super::chain::{push, unlink};
use super::records::{Block, Mark, Place, Rare, Shelved, pack, unpack};
use super::shard::{Shard, Trash, Wants};
use super::slab::{NIL, Record};
use super::{Store, block_in};
use crate::body::About;
use crate::config::{Config, RetrieveOrder};
use crate::host::{Change, Expired, Publication, Publications, Resource, Shown};
use crate::package::PackageId;
use crate::refusal::{Exhausted, Fault, Refusal};
use crate::time::{Now, Timestamp};
use allocator_api2::{alloc::Allocator, boxed::Box};
use lock_api::RawMutex;

/// Visits of one lock.
const BUDGET: usize = 64;
/// How often something is tried again that somebody else changed meanwhile.
const TRIES: usize = 64;

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
    shard.shelf.at(index).texts()[0]
}

fn shown<A: Allocator + Clone>(shard: &Shard<A>, index: u32) -> Shown {
    let record = shard.shelf.at(index);
    let [_, sender, _, body] = record.texts();
    Shown {
        body: body.to_vec(),
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

/// A publication of a resource that may be about this dialog, and is `wanted`.
fn one_about<A: Allocator + Clone>(
    shard: &Shard<A>,
    resource: u32,
    about: Mark,
    wanted: impl Fn(u32) -> bool,
) -> Option<u32> {
    if about.dialog == 0 {
        return None;
    }
    each(shard, resource).find(|&index| wanted(index) && about.may_be(shard.shelf.at(index).rare().about))
}

/// The state of a resource changes: under the same lock, so that what is read of a version is this version's, and
/// nobody sees a state before its version. Whoever does this tells the watchers ([`Subscriptions::changed`]).
///
/// [`Subscriptions::changed`]: crate::host::Subscriptions::changed
fn change<A: Allocator + Clone>(shard: &mut Shard<A>, resource: u32) {
    let resource = shard.resources.at_mut(resource);
    resource.version = resource.version.wrapping_add(1);
}

/// Puts a publication on the shelf. Only where nothing is missing.
fn place<A: Allocator + Clone>(
    shard: &mut Shard<A>,
    resource: u32,
    publication: &Publication,
    text: &mut Block<A>,
) -> Option<u32> {
    let index = shard.shelf.take()?;
    *shard.shelf.at_mut(index) = Shelved {
        text: text.take(),
        resource,
        expires: publication.expires.0,
        received: publication.received.0,
        ..Shelved::vacant()
    };
    let list = shard.shelf_timers.add(&mut shard.shelf, index);
    shard.shelf.at_mut(index).timer_list = list;
    change(shard, resource);
    let resource = shard.resources.at_mut(resource);
    resource.published += 1;
    push::<Place, _, _>(&mut shard.shelf, &mut resource.publications, index);
    Some(index)
}

/// A publication has another end, and is the last of its resource's.
fn renew<A: Allocator + Clone>(shard: &mut Shard<A>, index: u32, change: &Change<'_>) {
    let record = shard.shelf.at_mut(index);
    let (before, list, number) = (record.expires, record.timer_list, record.resource);
    record.expires = change.expires.0;
    record.received = change.received.0;
    if change.expires.0 < before {
        shard.shelf_timers.remove(&mut shard.shelf, index, list);
        let list = shard.shelf_timers.add(&mut shard.shelf, index);
        shard.shelf.at_mut(index).timer_list = list;
    }
    let ends = &mut shard.resources.at_mut(number).publications;
    unlink::<Place, _, _>(&mut shard.shelf, ends, index);
    push::<Place, _, _>(&mut shard.shelf, ends, index);
}

/// Takes a publication off; its block goes to the trash.
fn take_off<A: Allocator + Clone>(shard: &mut Shard<A>, index: u32, in_wheel: bool, trash: &mut Trash<A>) {
    let record = shard.shelf.at(index);
    let (number, list) = (record.resource, record.timer_list);
    if in_wheel {
        shard.shelf_timers.remove(&mut shard.shelf, index, list);
    }
    change(shard, number);
    let resource = shard.resources.at_mut(number);
    resource.published -= 1;
    unlink::<Place, _, _>(&mut shard.shelf, &mut resource.publications, index);
    let record = shard.shelf.at_mut(index);
    trash.push(record.text.take());
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

    /// The block of a publication.
    fn packed(&self, etag: &[u8], sender: &[u8], rare: Rare, body: &[u8]) -> Result<Box<[u8], A>, Exhausted> {
        block_in(&self.store.alloc, &[&pack([etag, sender, &rare.to_text()]), body])
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
        let (given, now) = (self.mark(about), self.now.unix.0);
        let wants = Wants { resource: true, shelf: true, ..Wants::default() };
        // The document that says that this dialog is over, and what it is about: it stays.
        let mut last: Option<(Mark, Vec<u8>)> = None;
        for _ in 0..TRIES {
            let (mark, body) = last.as_ref().map_or((given, &publication.body), |(mark, body)| (*mark, body));
            let rare = Rare { about: mark, priority: publication.priority };
            let mut text: Block<A> = Some(self.packed(&publication.etag, &publication.sender, rare, body)?);
            let mut uri: Block<A> = Some(self.store.block(resource.uri)?);
            let mut trash: Trash<A> = Vec::with_capacity(8);
            let done = self.store.insert_with(number, wants, |shard| {
                let is_same = |shard: &Shard<A>, old| replace && tag(shard, old) == publication.etag;
                let is_over = |old| {
                    let record = shard.shelf.at(old);
                    record.expires > now && record.rare().about.is_over && !is_same(shard, old)
                };
                let known = if given.is_over || about.is_none() { None } else { shard.find(key) };
                let over = known.and_then(|known| one_about(shard, known, given, is_over));
                let seen = over.map(|old| shard.shelf.at(old)).map(|old| (old.rare().about, old.texts()[3].to_vec()));
                if seen != last {
                    return Some(Err(seen));
                }
                let found = shard.find_or_add(key, &mut uri)?;
                let same = each(shard, found).find(|&old| is_same(shard, old));
                let index = place(shard, found, publication, &mut text)?;
                if let Some(old) = same {
                    take_off(shard, old, true, &mut trash);
                }
                if let Some(old) = over {
                    take_off(shard, old, true, &mut trash);
                } else {
                    while let Some(old) = one_about(shard, found, given, |old| old != index) {
                        take_off(shard, old, true, &mut trash);
                    }
                }
                Some(Ok(()))
            })?;
            match done {
                Ok(()) => return Ok(()),
                Err(seen) => last = seen,
            }
        }
        Err(Exhausted.into())
    }

    fn modify(&mut self, resource: Resource<'_>, etag: &[u8], change: &Change<'_>) -> Result<bool, Refusal> {
        let (now, hides) = (self.now.unix, self.config.hide_expired);
        for _ in 0..TRIES {
            let known =
                self.with(resource, etag, |shard, index| shard.shelf.at(index).text.as_deref().map(<[u8]>::to_vec));
            let known = known?.flatten().ok_or(Refusal::ConditionFailed)?;
            let [_, sender, rare, body] = unpack(&known);
            let (about, body) = match change.body {
                Some(body) => (self.mark(change.about), body),
                None => (Rare::of_text(rare).about, body),
            };
            let rare = Rare { about, priority: change.priority };
            let mut text: Block<A> = Some(self.packed(change.etag, change.sender.unwrap_or(sender), rare, body)?);
            let done = self.with(resource, etag, |shard, index| {
                // A package may keep its tags: then somebody else may have changed it.
                if shard.shelf.at(index).text.as_deref() != Some(&known[..]) {
                    return None;
                }
                // Without a document the state is the same, and nobody is told.
                let was_hidden = hides && shard.shelf.at(index).expires <= now.0;
                let is_new = change.body.is_some() || was_hidden;
                if is_new {
                    self::change(shard, shard.shelf.at(index).resource);
                }
                core::mem::swap(&mut shard.shelf.at_mut(index).text, &mut text);
                renew(shard, index, change);
                Some(is_new)
            });
            if let Some(is_new) = done?.ok_or(Refusal::ConditionFailed)? {
                return Ok(is_new);
            }
        }
        Err(Exhausted.into())
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
            Some(alive.map(|index| (shard.shelf.at(index).rare().priority, shown(shard, index))).collect::<Vec<_>>())
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
    /// A copy of a publication. It is in no table: where it is, in this run of the server, is its row's name.
    pub(super) fn copy_publication(&self, shard: &Shard<A>, index: u32, place: u32) -> Publication {
        let row_id = format!("{:x}-{place:x}", self.made).into_bytes();
        let (etag, priority) = (tag(shard, index).to_vec(), shard.shelf.at(index).rare().priority);
        let Shown { body, sender, expires, received } = shown(shard, index);
        Publication { etag, body, sender, expires, received, priority, row_id }
    }

    /// One more publication of a resource is in the database.
    pub fn index_publication(&self, resource: Resource<'_>) -> Result<(), Exhausted> {
        let key = self.key(resource);
        let mut uri: Block<A> = Some(self.block(resource.uri)?);
        let wants = Wants { resource: true, ..Wants::default() };
        self.insert_with(self.shard_of(key.hash), wants, |shard| {
            let number = shard.find_or_add(key, &mut uri)?;
            shard.resources.at_mut(number).published += 1;
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
            resource.published = resource.published.saturating_sub(1);
            shard.let_go_if_idle(number, &mut trash);
        });
        drop(trash);
    }

    /// How many publications of a resource are counted in the database.
    pub fn indexed(&self, resource: Resource<'_>) -> Result<u32, Exhausted> {
        let key = self.key(resource);
        let part = self.shard(self.shard_of(key.hash))?;
        part.with(|shard| shard.find(key).map_or(0, |number| shard.resources.at(number).published))
    }

    /// Corrects that count, if it still is what it `was`. False if somebody changed it meanwhile.
    pub fn correct_indexed(&self, resource: Resource<'_>, was: u32, is: u32) -> Result<bool, Exhausted> {
        let key = self.key(resource);
        let number = self.shard_of(key.hash);
        let mut uri: Block<A> = Some(self.block(resource.uri)?);
        let mut trash: Trash<A> = Vec::with_capacity(2);
        let wants = Wants { resource: true, ..Wants::default() };
        let corrected = self.insert_with(number, wants, |shard| {
            let Some(found) = (if was == 0 { shard.find_or_add(key, &mut uri) } else { shard.find(key) }) else {
                return Some(false);
            };
            let resource = shard.resources.at_mut(found);
            let same = resource.published == was;
            if same {
                resource.published = is;
                shard.let_go_if_idle(found, &mut trash);
            }
            Some(same)
        });
        drop(trash);
        corrected
    }
}
