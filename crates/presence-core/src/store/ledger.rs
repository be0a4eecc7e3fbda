//! The book of subscriptions over a table (`subs_db_mode` 3), which other servers may share.
//!
//! In memory is only what the table cannot hold: one slot for each dialog with a NOTIFY that is owed or under way (a
//! [`Stage::Guest`]). A NOTIFY takes its CSeq from the row with a compare-and-swap, after its dialog was reserved here
//! and with a state that was read after the row and is still the newest: so a higher CSeq never carries an older state,
//! on this server or another.

use super::records::{Flight, Stage};
use super::shard::Wants;
use super::subscriptions::{Book, Journal};
use super::{Handle, Store};
use crate::config::Config;
use crate::dialog::DialogId;
use crate::host::{
    Authorisation, Counted, Due, Landing, Line, Notice, Postponed, Rejected, Renewal, Request, Resource, Subscriptions,
    Token, Version,
};
use crate::package::Package;
use crate::refusal::{Exhausted, Fault, Refusal};
use crate::status::Status;
use crate::subscription::{Field, Subscription, Texts};
use crate::time::{Now, Tick, Timestamp};
use crate::winfo::Watcher;
use allocator_api2::alloc::Allocator;
use lock_api::RawMutex;
use std::rc::Rc;

/// Rows that are read at a time.
const PAGE: usize = 64;
/// How often a change is tried again because somebody else changed the row meanwhile: of eight workers who tell of one
/// presentity one may come too late many times. The patience of the request ends it sooner.
const TRIES: usize = 64;

/// Which rows of a resource are meant.
#[derive(Clone, Copy, Debug)]
pub struct Rows<'a> {
    /// The resource.
    pub resource: Resource<'a>,
    /// Only those of this watcher: user and host.
    pub watcher: Option<(&'a [u8], &'a [u8])>,
    /// Only those of this call.
    pub call_id: Option<&'a [u8]>,
}

/// A change of a row, made only if the row still has both CSeqs that were read.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Swap {
    /// `local_cseq` and `remote_cseq` as they were read.
    pub was: (u32, u32),
    /// The row from now on.
    pub now: Subscription,
}

/// The table of subscriptions. Every method is one statement, or several as one.
pub trait Ledger {
    /// The row of a dialog.
    fn find(&mut self, dialog: DialogId<'_>) -> Result<Option<Subscription>, Fault>;
    /// A new row.
    fn insert(&mut self, subscription: &Subscription) -> Result<(), Fault>;
    /// Changes rows. Says for each whether it was as expected, and so was changed.
    fn swap(&mut self, changes: &[Swap]) -> Result<Vec<bool>, Fault>;
    /// Deletes the row of a dialog; with `known` only if CSeq and end are still those. False if there was none.
    fn delete(&mut self, dialog: DialogId<'_>, known: Option<&Subscription>) -> Result<bool, Fault>;
    /// Up to `limit` rows whose number is above `after`, in the order of their numbers; and where to go on, if there
    /// may be more.
    fn page(&mut self, rows: &Rows<'_>, after: i32, limit: usize) -> Result<(Vec<Subscription>, Option<i32>), Fault>;
    /// How many rows there are; no further than to `enough`.
    fn count(&mut self, of: Counted<'_>, enough: u32) -> Result<u32, Fault>;
    /// Up to `limit` rows that ended before. Rows that are no subscriptions are deleted at once.
    fn expired(&mut self, before: Timestamp, limit: usize) -> Result<Vec<Subscription>, Fault>;
}

/// Nothing is written besides: the rows themselves are the book.
#[derive(Debug)]
struct Nothing;

impl Journal for Nothing {
    fn entered(&mut self, _: &Subscription) -> Result<(), Refusal> {
        Ok(())
    }
    fn renewed(&mut self, _: &Subscription) -> Result<(), Refusal> {
        Ok(())
    }
    fn ended(&mut self, _: DialogId<'_>) -> Result<(), Refusal> {
        Ok(())
    }
    fn went_on(&mut self, _: &Subscription) -> Result<(), Fault> {
        Ok(())
    }
}

/// The book over a table, for one input.
#[derive(Debug)]
pub struct TableBook<'s, A: Allocator + Clone, R: RawMutex, L> {
    /// The slots of dialogs with a NOTIFY.
    slots: Book<'s, A, R, Nothing>,
    ledger: L,
    /// A row that was just read or written.
    found: Option<Subscription>,
    /// How far the fan-out has come: the last row's number; none at its end.
    cursor: Option<i32>,
    /// Those of the fan-out who are reserved, with their rows.
    lined_up: Vec<(Handle, Subscription)>,
    /// Resources whose version must not be forgotten while this input tells of it.
    holds: Vec<(usize, u32)>,
}

/// What became of an attempt to take the next CSeq of a row.
enum Advance {
    /// It is taken; the row before that.
    Taken(Subscription),
    /// Somebody else has changed the row: it is to be read again, and the state after it.
    Changed,
    /// There is no row any more.
    Gone,
}

/// Whether a row is what a change was to make of it.
fn is_as(row: &Subscription, wanted: &Subscription) -> bool {
    let of = |s: &Subscription| (s.local_cseq, s.remote_cseq, s.expires, s.status);
    of(row) == of(wanted) && row.text(Field::Contact) == wanted.text(Field::Contact)
}

/// A subscription whose next CSeq and document version are taken.
fn advanced(s: &Subscription) -> Subscription {
    Subscription { local_cseq: s.local_cseq.wrapping_add(1), version: s.version.wrapping_add(1), ..s.clone() }
}

impl<'s, A: Allocator + Clone, R: RawMutex, L: Ledger> TableBook<'s, A, R, L> {
    /// The book for one input.
    pub fn new(store: &'s Store<A, R>, ledger: L, config: &'s Config, packages: Rc<[Package]>, now: Now) -> Self {
        let slots = Book { store, journal: Nothing, config, packages, now };
        Self { slots, ledger, found: None, cursor: None, lined_up: Vec::new(), holds: Vec::new() }
    }

    fn row(&mut self, dialog: DialogId<'_>) -> Result<Option<Subscription>, Fault> {
        match self.found.take().filter(|s| s.texts.dialog() == dialog) {
            Some(found) => Ok(Some(found)),
            None => self.ledger.find(dialog),
        }
    }

    /// Changes a row, until nobody comes between. What `change` makes of the row; none if there is no row.
    fn change<E: From<Fault>>(
        &mut self,
        dialog: DialogId<'_>,
        mut change: impl FnMut(&Subscription) -> Result<Subscription, E>,
    ) -> Result<Option<Subscription>, E> {
        let mut tried: Option<Subscription> = None;
        for _ in 0..TRIES {
            let Some(known) = self.row(dialog)? else { return Ok(None) };
            // A driver repeats what it has lost the answer to: the row then is as it was to become.
            if tried.as_ref().is_some_and(|tried| is_as(&known, tried)) {
                self.found = Some(known.clone());
                return Ok(Some(known));
            }
            let changed = change(&known)?;
            let swap = Swap { was: (known.local_cseq, known.remote_cseq), now: changed };
            if self.ledger.swap(core::slice::from_ref(&swap))?.first() == Some(&true) {
                self.found = Some(swap.now.clone());
                return Ok(Some(swap.now));
            }
            tried = Some(swap.now);
        }
        Err(Fault::Storage.into())
    }

    /// Deletes a row as it stands. The row; none if there is none. Its last NOTIFY then needs no memory any more.
    fn take_out(
        &mut self,
        dialog: DialogId<'_>,
        check: impl Fn(&Subscription) -> Result<(), Rejected>,
    ) -> Result<Option<Subscription>, Rejected> {
        for _ in 0..TRIES {
            let Some(known) = self.row(dialog)? else { return Ok(None) };
            check(&known)?;
            self.seat(&known, None).map_err(|e| Rejected::Refused(e.into()))?;
            if self.ledger.delete(dialog, Some(&known))? {
                return Ok(Some(known));
            }
        }
        Err(Fault::Storage.into())
    }

    /// Keeps a resource in memory until this input is over, changed so: its version, which then is given.
    fn hold(
        &mut self,
        resource: Resource<'_>,
        change: impl Fn(&mut super::records::Resource<A>),
    ) -> Result<Version, Exhausted> {
        let store = self.slots.store;
        let key = store.key(resource);
        let number = store.shard_of(key.hash);
        let hold = |shard: &mut super::shard::Shard<A>, found| {
            shard.audience_mut(found)?.users += 1;
            let resource = shard.resources.at_mut(found);
            change(resource);
            Some((found, Version(resource.version)))
        };
        // What is there takes no memory.
        let known = store.shard(number)?.with(|shard| shard.find(key).and_then(|found| hold(shard, found)))?;
        let (found, version) = match known {
            Some(known) => known,
            None => {
                let mut uri = Some(store.block(resource.uri)?);
                store.insert_with(number, Wants { resource: true, audience: true, ..Wants::default() }, |shard| {
                    let found = shard.find_or_add(key, &mut uri)?;
                    shard.audience_or_add(found)?;
                    hold(shard, found)
                })?
            }
        };
        self.holds.push((number, found));
        Ok(version)
    }

    /// All rows that are meant, a page at a time.
    fn each(
        &mut self,
        rows: &Rows<'_>,
        mut visit: impl FnMut(&mut Self, Subscription) -> Result<(), Fault>,
    ) -> Result<(), Fault> {
        let mut place = Some(0);
        while let Some(after) = place {
            let (page, next) = self.ledger.page(rows, after, PAGE)?;
            page.into_iter().try_for_each(|subscription| visit(self, subscription))?;
            place = next;
        }
        Ok(())
    }

    /// The slot for the NOTIFY that is owed to a subscription. With a version: it is owed because of that. The handle
    /// of its reservation, if it was free to be reserved.
    fn seat(
        &self,
        subscription: &Subscription,
        version: Option<Version>,
    ) -> Result<(Handle, Option<Handle>), Exhausted> {
        let dialog = subscription.texts.dialog();
        let hash = self.slots.store.dialog_hash(dialog);
        for _ in 0..TRIES {
            if let Some(handle) = self.slots.handle_of(dialog, Stage::Guest) {
                if let Some(reserved) = self.owe(handle, version) {
                    return Ok((handle, reserved));
                }
            }
            let own = self.slots.enter(subscription, Stage::Guest)?;
            let reserved = version.and_then(|version| {
                // Not whatever the version: because of this one.
                self.slots.with_live(own, |shard, index| {
                    let slot = shard.slots.at_mut(index);
                    (slot.owed, slot.seen) = (false, version.0);
                });
                self.reserve(own, version)
            });
            let index = |dialogs: &mut super::dialogs::Dialogs<A>, table| dialogs.insert_once(hash, own.place(), table);
            match self.slots.index_with(hash, index) {
                Ok(None) => return Ok((own, reserved)),
                outcome => {
                    self.discard(own);
                    outcome?;
                }
            }
            // Another process has the dialog, or is just letting it go.
            std::thread::yield_now();
        }
        Err(Exhausted)
    }

    /// A NOTIFY is owed to a guest; none if it is gone. With a version it is reserved, if none is held or under way.
    fn owe(&self, handle: Handle, version: Option<Version>) -> Option<Option<Handle>> {
        let now = self.slots.now;
        let idle = self.slots.with_live(handle, |shard, index| {
            let slot = shard.slots.at_mut(index);
            if slot.stage != Stage::Guest {
                return None;
            }
            let idle = slot.flight == Flight::None;
            if idle {
                slot.flight = Flight::Held;
                slot.since = now.steady.tick();
            }
            match version {
                Some(version) => {
                    slot.seen = slot.seen.max(version.0);
                    shard.enqueue(index);
                }
                None => shard.owe(index, now),
            }
            Some(idle)
        })??;
        Some(version.filter(|_| idle).and_then(|version| self.reserve(handle, version)))
    }

    /// Takes the right to send the NOTIFY that is owed: the handle of this flight. None if somebody else has it, or
    /// nothing is owed, or the watcher was told something newer than this version. CSeqs are taken from the row only
    /// while the dialog is reserved: so they leave in their order.
    fn reserve(&self, handle: Handle, version: Version) -> Option<Handle> {
        let now = self.slots.now.steady;
        self.slots.with_live(handle, |shard, index| {
            let may_leave = shard.may_leave(index);
            let slot = shard.slots.at_mut(index);
            let due = slot.told <= version.0 && (slot.owed || slot.told < slot.seen);
            let free = slot.stage == Stage::Guest && may_leave && due;
            free.then(|| {
                slot.flight = Flight::Up;
                slot.flight_number = slot.flight_number.wrapping_add(1);
                slot.since = now.tick();
                Handle::of_slot(handle.shard, index, slot)
            })
        })?
    }

    /// Nothing is owed any more.
    fn discard(&self, handle: Handle) {
        self.slots.with_live(handle, |shard, index| {
            let slot = shard.slots.at_mut(index);
            slot.owed = false;
            slot.seen = slot.told;
            slot.flight = Flight::None;
            shard.dequeue(index);
        });
        self.slots.dismiss(handle);
    }

    /// The reserved NOTIFY of a guest, whose row now has the next CSeq. `known` is the row before that. None if the
    /// table took so long that somebody else went on with the dialog: this CSeq is left out.
    fn take_off(
        &mut self,
        handle: Handle,
        known: &Subscription,
        version: Version,
    ) -> Result<Option<Notice>, Exhausted> {
        let mut block = Some(self.slots.store.block(known.texts.block())?);
        let packages = Rc::clone(&self.slots.packages);
        let winfo = known.package.of(&packages).is_some_and(Package::is_winfo);
        let now = self.slots.now;
        let notice = self.slots.with_live(handle, |shard, index| {
            let slot = shard.slots.at_mut(index);
            if slot.stage != Stage::Guest || slot.flight != Flight::Up || slot.flight_number != handle.flight {
                return None;
            }
            core::mem::swap(&mut slot.text, &mut block);
            slot.local_cseq = known.local_cseq;
            slot.remote_cseq = known.remote_cseq;
            slot.version = known.version;
            slot.expires = known.expires.0;
            slot.status = known.status;
            let token = |slot: &super::records::Slot<A>| Handle::of_slot(handle.shard, index, slot).token();
            Some(shard.take_off(index, version, winfo, now, token))
        });
        drop(block);
        Ok(notice.flatten())
    }

    /// The last NOTIFY of a subscription whose row is deleted is owed.
    fn last(&self, s: &Subscription, with_state: bool) -> Result<Handle, Exhausted> {
        if let Some(handle) = self.slots.handle_of(s.texts.dialog(), Stage::Guest) {
            // Without memory for the texts it goes where the guest was told before.
            let mut block = self.slots.store.block(s.texts.block()).ok();
            let hash = self.slots.with_live(handle, |shard, index| {
                let slot = shard.slots.at_mut(index);
                if slot.stage != Stage::Guest {
                    return None;
                }
                if block.is_some() {
                    core::mem::swap(&mut slot.text, &mut block);
                }
                slot.local_cseq = s.local_cseq;
                slot.version = s.version;
                slot.status = s.status;
                slot.expires = 0;
                slot.stage = Stage::Last(with_state);
                let hash = slot.dialog;
                shard.owe(index, self.slots.now);
                Some(hash)
            });
            drop(block);
            if let Some(hash) = hash.flatten() {
                self.slots.unindex_dialog(hash, handle);
                return Ok(handle);
            }
        }
        self.slots.enter(s, Stage::Last(with_state))
    }

    fn is_guest(&self, handle: Handle) -> bool {
        self.slots.with_live(handle, |shard, index| shard.slots.at(index).stage == Stage::Guest) == Some(true)
    }

    /// The row of a guest whose NOTIFY is owed; the guest goes if there is none any more, or it has run out.
    fn row_of_guest(&mut self, handle: Handle) -> Result<Option<Subscription>, Fault> {
        let Some(copy) = self.slots.of_token(handle.token()) else { return Ok(None) };
        let row = self.row(copy.texts.dialog())?.filter(|row| row.expires > self.slots.now.unix);
        if row.is_none() {
            self.discard(handle);
        }
        Ok(row)
    }

    /// Takes the next CSeq of a guest's row, as it was read before the state.
    fn advance(&mut self, handle: Handle) -> Result<Advance, Fault> {
        let Some(copy) = self.slots.of_token(handle.token()) else { return Ok(Advance::Gone) };
        let Some(known) = self.row(copy.texts.dialog())? else { return Ok(Advance::Gone) };
        let swap = Swap { was: (known.local_cseq, known.remote_cseq), now: advanced(&known) };
        let done = self.ledger.swap(core::slice::from_ref(&swap))?.first() == Some(&true);
        Ok(if done { Advance::Taken(known) } else { Advance::Changed })
    }

    /// Reserves those of a page who are to be told.
    fn reserve_page(
        &self,
        page: Vec<Subscription>,
        version: Version,
        except: &[u8],
    ) -> Result<Vec<(Handle, Subscription)>, Fault> {
        let now = self.slots.now.unix;
        let mut reserved = Vec::with_capacity(page.len());
        for row in page {
            let told = row.status == Status::Active && row.text(Field::Reason).is_empty() && row.expires > now;
            if !told || !except.is_empty() && row.text(Field::Contact) == except {
                continue;
            }
            match self.seat(&row, Some(version)) {
                Ok((_, Some(flight))) => reserved.push((flight, row)),
                // Whoever sends the one before sends this one, too.
                Ok((_, None)) => {}
                Err(Exhausted) => {
                    reserved.iter().for_each(|(handle, _)| self.release(*handle));
                    return Err(Fault::Storage);
                }
            }
        }
        Ok(reserved)
    }
}

impl<A: Allocator + Clone, R: RawMutex, L> TableBook<'_, A, R, L> {
    /// Gives the right back: the NOTIFY stays owed, and the timer sees to it at its next tick.
    fn release(&self, handle: Handle) {
        let long_ago = Tick::long_before(self.slots.now.steady);
        self.slots.with_live(handle, |shard, index| {
            let slot = shard.slots.at_mut(index);
            if slot.flight_number == handle.flight {
                slot.flight = Flight::Held;
                slot.since = long_ago;
                shard.enqueue(index);
            }
        });
    }

    /// Those who were lined up and not told: the timer tells them.
    fn release_line(&mut self) {
        for (handle, _) in core::mem::take(&mut self.lined_up) {
            self.release(handle);
        }
    }
}

impl<A: Allocator + Clone, R: RawMutex, L> Drop for TableBook<'_, A, R, L> {
    fn drop(&mut self) {
        self.release_line();
        for (number, resource) in self.holds.drain(..) {
            let mut trash = Vec::with_capacity(4);
            let Ok(part) = self.slots.store.shard(number) else { continue };
            let _ = part.with(|shard| {
                if let Some(audience) = shard.audience_mut(resource) {
                    audience.users -= 1;
                }
                shard.let_go_if_idle(resource, &mut trash);
            });
        }
    }
}

impl<A: Allocator + Clone, R: RawMutex, L: Ledger> Subscriptions for TableBook<'_, A, R, L> {
    fn find(&mut self, dialog: DialogId<'_>) -> Result<Option<Subscription>, Fault> {
        let row = self.ledger.find(dialog)?;
        self.found.clone_from(&row);
        Ok(row)
    }

    fn replaced_by(&mut self, subscription: &Subscription) -> Result<Vec<Texts>, Fault> {
        let config = self.slots.config;
        let of = Rows {
            resource: Resource { uri: &subscription.presentity, package: subscription.package },
            watcher: None,
            call_id: None,
        };
        let watcher = (subscription.text(Field::WatcherUser), subscription.text(Field::WatcherDomain));
        let same_call = Rows { call_id: Some(subscription.text(Field::CallId)), ..of };
        let same_watcher = Rows { watcher: Some(watcher), ..of };
        let mut replaced = Vec::new();
        for (wanted, rows) in [(config.replace_same_call, same_call), (config.replace_same_phone, same_watcher)] {
            if wanted {
                self.each(&rows, |_, old| {
                    if config.replaces(&subscription.texts, &old.texts) {
                        replaced.push(old.texts);
                    }
                    Ok(())
                })?;
            }
        }
        Ok(replaced)
    }

    fn count(&mut self, of: Counted<'_>, enough: u32) -> Result<u32, Fault> {
        self.ledger.count(of, enough)
    }

    fn open(&mut self, subscription: &Subscription) -> Result<Token, Refusal> {
        let dialog = subscription.texts.dialog();
        if let Err(refusal) = self.ledger.insert(subscription) {
            // There is only one row for a dialog.
            let known = self.find(dialog)?.ok_or(refusal)?;
            return Ok(self.seat(&known, None)?.0.token());
        }
        self.found = Some(subscription.clone());
        match self.seat(subscription, None) {
            Ok((handle, _)) => Ok(handle.token()),
            Err(exhausted) => {
                let _ = self.ledger.delete(dialog, None);
                Err(exhausted.into())
            }
        }
    }

    fn fetch(&mut self, subscription: &Subscription) -> Result<Token, Refusal> {
        self.slots.fetch(subscription)
    }

    fn renew(&mut self, dialog: DialogId<'_>, renewal: &Renewal<'_>) -> Result<Token, Rejected> {
        let offset = self.slots.config.cseq_offset;
        let renewed = self.change::<Rejected>(dialog, |known| {
            check_cseq(known, renewal, offset)?;
            let texts = known.texts.with(&[(Field::Contact, renewal.contact)]);
            let texts = texts.map_err(|_| Rejected::Refused(Refusal::BadRequest))?;
            Ok(Subscription { texts, remote_cseq: renewal.remote_cseq, expires: renewal.expires, ..known.clone() })
        });
        let renewed = renewed?.ok_or(Rejected::Unknown)?;
        let (handle, _) = self.seat(&renewed, None).map_err(|e| Rejected::Refused(e.into()))?;
        Ok(handle.token())
    }

    fn close(&mut self, dialog: DialogId<'_>, renewal: &Renewal<'_>) -> Result<Token, Rejected> {
        let offset = self.slots.config.cseq_offset;
        let gone = self.take_out(dialog, |known| check_cseq(known, renewal, offset))?.ok_or(Rejected::Unknown)?;
        let texts = gone.texts.with(&[(Field::Contact, renewal.contact)]);
        let texts = texts.map_err(|_| Rejected::Refused(Refusal::BadRequest))?;
        let gone = Subscription { texts, remote_cseq: renewal.remote_cseq, ..gone };
        self.last(&gone, true).map(Handle::token).map_err(|e| Rejected::Refused(e.into()))
    }

    fn forget(&mut self, dialog: DialogId<'_>) -> Result<bool, Fault> {
        self.found = None;
        let was_there = self.ledger.delete(dialog, None)?;
        if let Some(handle) = self.slots.handle_of(dialog, Stage::Guest) {
            self.slots.with_live(handle, |shard, index| {
                let slot = shard.slots.at_mut(index);
                slot.owed = false;
                slot.seen = slot.told;
            });
            self.slots.dismiss(handle);
        }
        Ok(was_there)
    }

    fn version(&mut self, resource: Resource<'_>) -> Version {
        self.slots.version(resource)
    }

    fn changed(&mut self, resource: Resource<'_>) -> Result<Option<Version>, Fault> {
        let changed = self.hold(resource, |resource| resource.version = resource.version.wrapping_add(1));
        let version = changed.map_err(|_| Fault::Storage)?;
        self.cursor = Some(0);
        Ok(Some(version))
    }

    fn make_room(&mut self, resource: Resource<'_>) -> Result<(), Exhausted> {
        self.hold(resource, |_| ()).map(drop)
    }

    fn postpone(&mut self, resource: Resource<'_>) -> bool {
        self.slots.postpone(resource)
    }

    fn postponed(&mut self) -> Option<Postponed> {
        self.slots.postponed()
    }

    fn line_up(&mut self, resource: Resource<'_>, except: &[u8]) -> Result<Line, Fault> {
        self.release_line();
        while let Some(after) = self.cursor {
            let rows = Rows { resource, watcher: None, call_id: None };
            let (page, next) = self.ledger.page(&rows, after, PAGE)?;
            self.cursor = next;
            let version = self.slots.version(resource);
            self.lined_up = self.reserve_page(page, version, except)?;
            if !self.lined_up.is_empty() {
                return Ok(Line::JustRead);
            }
        }
        Ok(Line::Nobody)
    }

    fn claim(
        &mut self,
        resource: Resource<'_>,
        version: Version,
        _except: &[u8],
        out: &mut Vec<Notice>,
    ) -> Result<(), Fault> {
        if self.slots.version(resource) > version {
            // Who brought the newer state tells everybody; the timer tells those who were reserved here.
            self.release_line();
            self.cursor = None;
            return Ok(());
        }
        let swap = |s: &Subscription| Swap { was: (s.local_cseq, s.remote_cseq), now: advanced(s) };
        let swaps: Vec<Swap> = self.lined_up.iter().map(|(_, row)| swap(row)).collect();
        let done = self.ledger.swap(&swaps)?;
        for ((handle, row), done) in core::mem::take(&mut self.lined_up).into_iter().zip(done) {
            match if done { self.take_off(handle, &row, version) } else { Ok(None) } {
                Ok(Some(notice)) => out.push(notice),
                _ => self.release(handle),
            }
        }
        Ok(())
    }

    fn due(&mut self, token: Token) -> Option<Due> {
        let handle = Handle::of(token);
        if !self.is_guest(handle) {
            return self.slots.due(token);
        }
        self.slots.due(token)?;
        let row = self.row_of_guest(handle).ok()??;
        let last_told = self.slots.of_token(token)?.local_cseq;
        let due = self.slots.due(token)?;
        let due = Due {
            contact: row.text(Field::Contact).to_vec(),
            sees_state: row.status == Status::Active && !row.is_politely_blocked(),
            // Another server may have told it something newer.
            saw_before: due.saw_before && row.local_cseq == last_told,
            last_cseq: due.last_cseq,
        };
        self.found = Some(row);
        Some(due)
    }

    fn owed(&mut self, token: Token, version: Version, last_cseq: u32) -> Result<Option<Notice>, Fault> {
        let handle = Handle::of(token);
        if !self.is_guest(handle) {
            return self.slots.owed(token, version, last_cseq);
        }
        let Some(handle) = self.reserve(handle, version) else { return Ok(None) };
        match self.advance(handle) {
            Ok(Advance::Taken(known)) => {
                let notice = self.take_off(handle, &known, version);
                notice.inspect_err(|_| self.release(handle)).map_err(|_| Fault::Storage)
            }
            Ok(Advance::Changed) => {
                self.release(handle);
                Ok(None)
            }
            Ok(Advance::Gone) => {
                self.discard(handle);
                Ok(None)
            }
            Err(fault) => {
                self.release(handle);
                Err(fault)
            }
        }
    }

    fn landed(&mut self, token: Token, landing: Landing) -> Result<bool, Fault> {
        self.slots.landed(token, landing)
    }

    fn failed(&mut self, token: Token) -> u8 {
        self.slots.failed(token)
    }

    fn of_token(&mut self, token: Token) -> Option<Subscription> {
        self.slots.of_token(token)
    }

    fn watchers(&mut self, resource: Resource<'_>) -> Result<Vec<Watcher>, Fault> {
        let now = self.slots.now.unix;
        let mut watchers = Vec::new();
        self.each(&Rows { resource, watcher: None, call_id: None }, |_, row| {
            if row.expires >= now {
                watchers.push(Watcher::of(&row));
            }
            Ok(())
        })?;
        Ok(watchers)
    }

    fn expire(&mut self, budget: usize) -> Result<Vec<(Token, Subscription)>, Fault> {
        let before = self.slots.now.unix - self.slots.config.expires_offset;
        let mut over = Vec::new();
        // Another server may be as far and take some of them; then the next ones are looked at.
        for _ in 0..TRIES {
            let page = self.ledger.expired(before, budget - over.len())?;
            if page.is_empty() {
                break;
            }
            for row in page {
                // What cannot be told for lack of memory is left to the next sweep.
                if self.seat(&row, None).is_err() {
                    return Ok(over);
                }
                if !self.ledger.delete(row.texts.dialog(), Some(&row))? {
                    continue;
                }
                if let Ok(handle) = self.last(&row, false) {
                    over.push((handle.token(), row));
                }
            }
            if over.len() == budget {
                break;
            }
        }
        Ok(over)
    }

    fn overdue(&mut self, budget: usize) -> Vec<Token> {
        self.slots.overdue(budget)
    }

    fn set_status(&mut self, request: &Request<'_>, status: &Authorisation) -> Result<Vec<Token>, Fault> {
        let rows = Rows {
            resource: request.resource,
            watcher: Some((request.watcher_user, request.watcher_domain)),
            call_id: None,
        };
        let mut meant = Vec::new();
        self.each(&rows, |_, row| {
            meant.push(row);
            Ok(())
        })?;
        let decided = |known: &Subscription| {
            let texts = known.texts.with(&[(Field::Reason, &status.reason)]).map_err(|_| Fault::Package)?;
            Ok::<_, Fault>(Subscription { texts, status: status.status, ..known.clone() })
        };
        let mut tokens = Vec::new();
        for row in meant {
            let dialog = row.texts.dialog();
            let seated = if status.status == Status::Terminated {
                let gone = self.take_out(dialog, |_| Ok(())).map_err(|_| Fault::Storage)?;
                gone.map(|gone| self.last(&decided(&gone)?, false).map_err(|_| Fault::Storage)).transpose()?
            } else {
                let Some(changed) = self.change(dialog, decided)? else { continue };
                let (handle, _) = self.seat(&changed, None).map_err(|_| Fault::Storage)?;
                Some(handle)
            };
            tokens.extend(seated.map(Handle::token));
        }
        Ok(tokens)
    }

    fn cached(&mut self, resource: Resource<'_>, version: Version, steady: bool) -> Option<Vec<u8>> {
        self.slots.cached(resource, version, steady)
    }

    fn cache(&mut self, resource: Resource<'_>, version: Version, steady_until: Option<Timestamp>, body: &[u8]) {
        self.slots.cache(resource, version, steady_until, body);
    }
}

fn check_cseq(known: &Subscription, renewal: &Renewal<'_>, offset: u32) -> Result<(), Rejected> {
    if renewal.remote_cseq.saturating_add(offset) > known.remote_cseq { Ok(()) } else { Err(Rejected::OldCseq) }
}
