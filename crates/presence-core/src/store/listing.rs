//! Lists and counts for an operator: a few records under each lock, in the order of their places.
//!
//! A record keeps its place as long as it lives, so a list that runs beside changes shows each one once at most; one
//! that comes or goes meanwhile may be in it or not.

use super::records::{Stage, Wait};
use super::shard::Shard;
use super::slab::NIL;
use super::{SLOT_BITS, Store};
use crate::host::Publication;
use crate::package::PackageId;
use crate::status::Status;
use crate::subscription::{Field, Subscription};
use crate::time::Timestamp;
use crate::uri::split_sip_uri;
use allocator_api2::alloc::Allocator;
use lock_api::RawMutex;

/// Records that are looked at under one lock.
const VISITS: u32 = 256;
/// Records that are copied under one lock.
const COPIES: usize = 32;
/// How many milliseconds a count waits for a part that somebody else holds.
const PATIENCE: u32 = 200;

/// Where a record stands in a list; 0 is before the first one.
pub type Place = u32;

/// A piece of a list.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Page<T> {
    /// What it has; may be nothing.
    pub entries: Vec<T>,
    /// The place to go on behind; none at the end.
    pub next: Option<Place>,
}

/// Which subscriptions are meant: those that meet everything that is given. Names are compared whatever their case.
#[derive(Clone, Copy, Debug, Default)]
pub struct WantedSubscriptions<'a> {
    /// The presentity's URI.
    pub presentity: Option<&'a [u8]>,
    /// User and host of the watcher.
    pub watcher: Option<(&'a [u8], &'a [u8])>,
    /// The package.
    pub package: Option<PackageId>,
    /// The Call-ID, letter for letter.
    pub call_id: Option<&'a [u8]>,
}

/// Which publications are meant.
#[derive(Clone, Copy, Debug, Default)]
pub struct WantedPublications<'a> {
    /// The presentity's user.
    pub user: Option<&'a [u8]>,
    /// The presentity's host.
    pub host: Option<&'a [u8]>,
    /// The package.
    pub package: Option<PackageId>,
}

/// A subscription, and what only this server knows of it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ListedSubscription {
    /// Its place.
    pub place: Place,
    /// The subscription.
    pub subscription: Subscription,
    /// When its dialog began, if that was since this server started.
    pub began: Option<Timestamp>,
    /// The code of the last answer to a NOTIFY, and when it came; none since this server started.
    pub answer: Option<(u16, Timestamp)>,
}

/// A publication, and whose it is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ListedPublication {
    /// Its place.
    pub place: Place,
    /// The presentity's URI.
    pub presentity: Vec<u8>,
    /// The package.
    pub package: PackageId,
    /// The publication.
    pub publication: Publication,
}

/// A resource with publications in the database.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Indexed {
    /// The presentity's URI.
    pub presentity: Vec<u8>,
    /// The package.
    pub package: PackageId,
    /// How many are counted.
    pub count: u32,
}

fn is_meant(wanted: Option<&[u8]>, text: &[u8]) -> bool {
    wanted.is_none_or(|wanted| wanted.eq_ignore_ascii_case(text))
}

impl WantedSubscriptions<'_> {
    fn has<A: Allocator + Clone>(&self, shard: &Shard<A>, index: u32) -> bool {
        let slot = shard.slots.at(index);
        if slot.stage != Stage::Open {
            return false;
        }
        let resource = shard.resources.at(slot.resource);
        if self.package.is_some_and(|package| package != resource.package)
            || !is_meant(self.presentity, resource.uri.as_deref().unwrap_or_default())
        {
            return false;
        }
        if self.watcher.is_none() && self.call_id.is_none() {
            return true;
        }
        let texts = shard.texts(index);
        self.watcher.is_none_or(|(user, host)| {
            is_meant(Some(user), texts.get(Field::WatcherUser)) && is_meant(Some(host), texts.get(Field::WatcherDomain))
        }) && self.call_id.is_none_or(|call_id| call_id == texts.get(Field::CallId))
    }
}

impl WantedPublications<'_> {
    fn has(&self, uri: &[u8], package: PackageId) -> bool {
        let (user, host) = split_sip_uri(uri);
        self.package.is_none_or(|wanted| wanted == package) && is_meant(self.user, user) && is_meant(self.host, host)
    }
}

/// Counts of one package.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PackageTally {
    /// The package.
    pub package: PackageId,
    /// Open subscriptions by status: active, pending, terminated, waiting.
    pub subscriptions: [u64; 4],
    /// Publications in memory.
    pub publications: u64,
    /// Publications that are counted in the database.
    pub indexed: u64,
}

impl PackageTally {
    /// Nothing yet.
    #[must_use]
    pub const fn new(package: PackageId) -> Self {
        Self { package, subscriptions: [0; 4], publications: 0, indexed: 0 }
    }

    /// Counts subscriptions with this status.
    pub fn add(&mut self, status: Status, count: u64) {
        self.subscriptions[status as usize - 1] += count;
    }
}

/// What there is.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Tally {
    /// The packages with anything, by number.
    pub packages: Vec<PackageTally>,
    /// Resources: presentities for one package.
    pub resources: u64,
    /// NOTIFYs under way or held.
    pub queued: u64,
    /// NOTIFYs of subscriptions that are kept elsewhere.
    pub guests: u64,
    /// Subscriptions that wait for the end of their last NOTIFY.
    pub leaving: u64,
    /// Resources whose last change is still to be told.
    pub late: u64,
    /// Rows that are behind.
    pub rows_behind: u64,
    /// Subscriptions whose row is still to be deleted.
    pub gone: u64,
    /// Bytes of chunks and tables.
    pub structures: u64,
    /// Parts that could not be looked at.
    pub skipped: u64,
}

impl Tally {
    /// The counts of a package.
    pub fn of(&mut self, package: PackageId) -> &mut PackageTally {
        let at = match self.packages.binary_search_by_key(&package.0, |p| p.package.0) {
            Ok(at) => at,
            Err(at) => {
                self.packages.insert(at, PackageTally::new(package));
                at
            }
        };
        &mut self.packages[at]
    }

    fn add_slot<A: Allocator + Clone>(&mut self, shard: &Shard<A>, index: u32) {
        let slot = shard.slots.at(index);
        match slot.stage {
            Stage::Vacant => return,
            Stage::Open => self.of(shard.resources.at(slot.resource).package).add(slot.status, 1),
            Stage::Guest => self.guests += 1,
            Stage::Last(_) => self.leaving += 1,
            Stage::Gone => self.gone += 1,
        }
        self.queued += u64::from(slot.queued);
        self.rows_behind += u64::from(slot.in_dirty);
    }

    fn add_resource<A: Allocator + Clone>(&mut self, shard: &Shard<A>, index: u32) {
        let resource = shard.resources.at(index);
        if resource.uri.is_none() {
            return;
        }
        self.resources += 1;
        self.late += u64::from(shard.audience(index).is_some_and(|audience| audience.waits != Wait::No));
        if resource.published > 0 {
            let counts = self.of(resource.package);
            let counted = if resource.is_indexed() { &mut counts.indexed } else { &mut counts.publications };
            *counted += u64::from(resource.published);
        }
    }
}

/// Which records of a shard are walked.
type Used<A> = fn(&Shard<A>) -> u32;

impl<A: Allocator + Clone, R: RawMutex> Store<A, R> {
    /// The next few subscriptions behind a place.
    pub fn list_subscriptions(&self, after: Place, wanted: &WantedSubscriptions<'_>) -> Page<ListedSubscription> {
        self.page(
            after,
            |shard| shard.slots.used(),
            |shard, index, place| {
                wanted.has(shard, index).then(|| {
                    let slot = shard.slots.at(index);
                    let known = |at: u32| (at > 0).then_some(Timestamp(at));
                    ListedSubscription {
                        place,
                        subscription: shard.copy(index),
                        began: known(slot.began),
                        answer: known(slot.answered_at).map(|at| (slot.answer, at)),
                    }
                })
            },
        )
    }

    /// The next few publications in memory behind a place.
    pub fn list_publications(&self, after: Place, wanted: &WantedPublications<'_>) -> Page<ListedPublication> {
        self.page(
            after,
            |shard| shard.shelf.used(),
            |shard, index, place| {
                let number = shard.shelf.at(index).resource;
                if number == NIL {
                    return None;
                }
                let resource = shard.resources.at(number);
                let (uri, package) = (resource.uri.as_deref().unwrap_or_default(), resource.package);
                wanted.has(uri, package).then(|| ListedPublication {
                    place,
                    presentity: uri.to_vec(),
                    package,
                    publication: self.copy_publication(shard, index, place),
                })
            },
        )
    }

    /// The next few resources behind a place that have publications in the database.
    pub fn list_indexed(&self, after: Place) -> Page<Indexed> {
        self.page(
            after,
            |shard| shard.resources.used(),
            |shard, index, _| {
                let resource = shard.resources.at(index);
                resource.is_indexed().then(|| Indexed {
                    presentity: resource.uri.as_deref().unwrap_or_default().to_vec(),
                    package: resource.package,
                    count: resource.published,
                })
            },
        )
    }

    /// Counts what there is, in pieces: what changes meanwhile may be counted or not.
    pub fn tally(&self) -> Tally {
        let mut tally = Tally { structures: self.bytes(), ..Tally::default() };
        for part in self.shards.iter() {
            match part.try_with(PATIENCE, |shard| shard.bytes()) {
                Some(bytes) => tally.structures += bytes as u64,
                None => tally.skipped += 1,
            }
        }
        for part in self.dialogs.iter() {
            match part.try_with(PATIENCE, |dialogs| dialogs.index.bytes()) {
                Some(bytes) => tally.structures += bytes as u64,
                None => tally.skipped += 1,
            }
        }
        self.each(|shard| shard.slots.used(), |shard, index| tally.add_slot(shard, index));
        self.each(|shard| shard.resources.used(), |shard, index| tally.add_resource(shard, index));
        tally
    }

    fn each(&self, used: Used<A>, mut visit: impl FnMut(&Shard<A>, u32)) {
        let mut next = Some(0);
        while let Some(after) = next {
            next = self.piece(after, used, |shard, index, _| {
                visit(shard, index);
                true
            });
        }
    }

    fn page<T>(
        &self,
        after: Place,
        used: Used<A>,
        mut copy: impl FnMut(&Shard<A>, u32, Place) -> Option<T>,
    ) -> Page<T> {
        let mut entries = Vec::with_capacity(COPIES);
        let next = self.piece(after, used, |shard, index, place| {
            entries.extend(copy(shard, index, place));
            entries.len() < COPIES
        });
        Page { entries, next }
    }

    /// Visits the next few records behind a place, until `visit` has enough. A part that a defect has closed, or that
    /// somebody does not let go of, is left out. The place to go on behind; none at the end.
    fn piece(
        &self,
        after: Place,
        used: Used<A>,
        mut visit: impl FnMut(&Shard<A>, u32, Place) -> bool,
    ) -> Option<Place> {
        // The place of a record is one more than this number, so it also is the number of the one behind it.
        let (number, first) = ((after >> SLOT_BITS) as usize, after & ((1 << SLOT_BITS) - 1));
        let part = self.shards.get(number)?;
        let visited = part.try_with(PATIENCE, |shard| {
            let end = used(shard);
            for index in first..end.min(first + VISITS) {
                let place = (after - first) + index + 1;
                if !visit(shard, index, place) {
                    return Some(place);
                }
            }
            (end > first + VISITS).then_some(after + VISITS)
        });
        let following = || (number + 1 < self.shards.len()).then_some(((number + 1) as u32) << SLOT_BITS);
        visited.flatten().or_else(following)
    }
}
