//! Tables of subscriptions that other modules keep for themselves (`rls`): arrays of C lists of `subs_t` in shared
//! memory, which those modules also lock and walk by themselves.
//!
//! A record is one block: whoever unlinks it frees all of it with one `shm_free`.
//! DIFFERS: in the C module contact and route set are blocks of their own, which `rls` never frees.

use super::subs::{copy_state_to, copy_to, dialog_of, size_of_copy};
use crate::host::now;
use crate::params::settings;
use core::ffi::{c_int, c_uint};
use core::ptr::{NonNull, null_mut};
use core::time::Duration;
use kamailio::entry::guard;
use kamailio::lock::{GenLock, RawMutex};
use kamailio::raw::{self, shtable_t, subs_entry_t, subs_t};
use kamailio::str::{Str, borrow, bytes};
use kamailio::{log, shm};
use presence_core::dialog::DialogId;

/// How often an update that lacks room is begun again: only if others change the same record meanwhile.
const TRIES: usize = 8;

/// One list of a table.
pub struct Bucket {
    head: NonNull<subs_t>,
    lock: &'static GenLock,
}

impl Bucket {
    /// A bucket; none without a table.
    ///
    /// # Safety
    /// `table` is null or a table of [`new_shtable`] with more than `hash` entries, which stays.
    pub unsafe fn of(table: shtable_t, hash: usize) -> Option<Self> {
        if table.is_null() {
            return None;
        }
        // SAFETY: the caller's promise; the lock was initialised with the table.
        unsafe {
            let entry = table.add(hash);
            Some(Self { head: NonNull::new((*entry).entries)?, lock: GenLock::of(&raw mut (*entry).lock) })
        }
    }

    /// Locks it.
    pub fn lock(&self) -> List<'_> {
        self.lock.lock();
        List(self)
    }

    /// Locks it within this time.
    pub fn try_lock(&self, patience: Duration) -> Option<List<'_>> {
        let until = std::time::Instant::now() + patience;
        while !self.lock.try_lock() {
            if std::time::Instant::now() >= until {
                return None;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        Some(List(self))
    }

    /// The list of a bucket that the caller has locked.
    ///
    /// # Safety
    /// No other process changes the list while this is used.
    unsafe fn locked_already(&self) -> impl Iterator<Item = *mut *mut subs_t> {
        // SAFETY: the head stays; links stay while nobody changes the list.
        let mut link = unsafe { &raw mut (*self.head.as_ptr()).next };
        core::iter::from_fn(move || {
            // SAFETY: as above; a link leads to a record with its own link, or to null.
            unsafe {
                let this = link;
                let record = (*this).as_mut()?;
                link = &raw mut record.next;
                Some(this)
            }
        })
    }
}

/// A bucket's list, locked.
pub struct List<'b>(&'b Bucket);

impl Drop for List<'_> {
    fn drop(&mut self) {
        // SAFETY: locked by whoever made this.
        unsafe { self.0.lock.unlock() };
    }
}

impl List<'_> {
    /// The links of the list, each leading to a record: what lies at a link may be changed, and the link itself if
    /// the walk ends there.
    pub fn links(&mut self) -> impl Iterator<Item = *mut *mut subs_t> {
        // SAFETY: the list is locked.
        unsafe { self.0.locked_already() }
    }

    /// The link that leads to the first record like this.
    pub fn find(&mut self, mut like: impl FnMut(&subs_t) -> bool) -> Option<*mut *mut subs_t> {
        // SAFETY: a link of the walk leads to a record.
        self.links().find(|link| unsafe { like(&***link) })
    }

    /// Takes the first record like this out of the list; it belongs to the caller then.
    pub fn take(&mut self, like: impl FnMut(&subs_t) -> bool) -> Option<NonNull<subs_t>> {
        let link = self.find(like)?;
        // SAFETY: a link of this list that leads to a record.
        unsafe {
            let record = *link;
            *link = (*record).next;
            (*record).next = null_mut();
            NonNull::new(record)
        }
    }

    fn push(&mut self, record: NonNull<subs_t>) {
        // SAFETY: the list is locked; the record is the caller's.
        unsafe {
            let head = self.0.head.as_ptr();
            (*record.as_ptr()).next = (*head).next;
            (*head).next = record.as_ptr();
        }
    }
}

/// Whether a record is this dialog.
pub fn is(record: &subs_t, dialog: DialogId<'_>) -> bool {
    // SAFETY: texts of a record lie in its block.
    unsafe { dialog_of(record) == dialog }
}

/// The time after so many seconds; who has a past one gives a negative number.
fn ends(after: c_uint) -> c_uint {
    now().unix.0.wrapping_add(after)
}

/// `new_shtable`: a table of `size` lists; null without memory.
pub unsafe extern "C" fn new_shtable(size: c_int) -> shtable_t {
    guard("new_shtable", null_mut(), || {
        let lists = usize::try_from(size).unwrap_or(0);
        let bytes = lists.checked_mul(size_of::<subs_entry_t>() + size_of::<subs_t>());
        let Some(block) = bytes.filter(|_| lists > 0).and_then(shm::block) else {
            log!(Error, "new_shtable: no shared memory for {size} lists");
            return null_mut();
        };
        // SAFETY: the block holds the entries and, behind them, their heads.
        unsafe {
            let table = block.as_ptr().cast::<subs_entry_t>();
            let heads = table.add(lists).cast::<subs_t>();
            for n in 0..lists {
                heads.add(n).write(core::mem::zeroed());
                table.add(n).write(core::mem::zeroed());
                (*table.add(n)).entries = heads.add(n);
                if !GenLock::init(&raw mut (*table.add(n)).lock) {
                    log!(Error, "new_shtable: a lock could not be made");
                    shm::free(block.as_ptr());
                    return null_mut();
                }
            }
            table
        }
    })
}

/// `destroy_shtable`: frees a table and its records. Nobody may use it any more.
pub unsafe extern "C" fn destroy_shtable(table: shtable_t, size: c_int) {
    guard("destroy_shtable", (), || {
        for hash in 0..usize::try_from(size).unwrap_or(0) {
            // SAFETY: the caller's own table with this size.
            let Some(bucket) = (unsafe { Bucket::of(table, hash) }) else { return };
            // SAFETY: nobody uses it: the lock of a process that died does not matter.
            let records: Vec<_> = unsafe { bucket.locked_already().map(|link| *link).collect() };
            // SAFETY: each record is a block.
            records.into_iter().for_each(|record| unsafe { shm::free(record) });
        }
        // SAFETY: one block, with the heads.
        unsafe { shm::free(table) };
    });
}

/// `insert_shtable`: enters a copy. `expires` is relative and becomes a time. 0, or -1.
pub unsafe extern "C" fn insert_shtable(table: shtable_t, hash: c_uint, subs: *mut subs_t) -> c_int {
    guard("insert_shtable", -1, || {
        // SAFETY: the caller's own table and structure.
        let (Some(bucket), Some(given)) = (unsafe { Bucket::of(table, hash as usize) }, unsafe { subs.as_ref() })
        else {
            log!(Error, "insert_shtable: no table or no subscription");
            return -1;
        };
        // SAFETY: valid texts of the caller; the block has the size that they take.
        let record = unsafe {
            let Some(block) = shm::block(size_of_copy(given)) else {
                log!(Error, "insert_shtable: no shared memory");
                return -1;
            };
            let record = copy_state_to(block.as_ptr(), given);
            (*record).expires = ends(given.expires);
            NonNull::new_unchecked(record)
        };
        // SAFETY: texts of the caller and of records.
        let same_call = |old: &subs_t| unsafe {
            bytes(&old.pres_uri) == bytes(&given.pres_uri) && bytes(&old.callid) == bytes(&given.callid)
        };
        let mut list = bucket.lock();
        let replaced = if settings().core.replace_same_call { list.take(same_call) } else { None };
        list.push(record);
        drop(list);
        if let Some(old) = replaced {
            // SAFETY: unlinked above.
            unsafe { shm::free(old.as_ptr()) };
        }
        0
    })
}

/// `search_shtable`: a record, or null. The caller has locked the list and keeps it locked while it uses the record.
pub unsafe extern "C" fn search_shtable(
    table: shtable_t,
    call_id: Str,
    to_tag: Str,
    from_tag: Str,
    hash: c_uint,
) -> *mut subs_t {
    guard("search_shtable", null_mut(), || {
        // SAFETY: the caller's own table and texts; the list is locked.
        unsafe {
            let Some(bucket) = Bucket::of(table, hash as usize) else { return null_mut() };
            let dialog = DialogId { call_id: bytes(&call_id), to_tag: bytes(&to_tag), from_tag: bytes(&from_tag) };
            let found = bucket.locked_already().map(|link| *link).find(|&record| is(&*record, dialog));
            found.unwrap_or(null_mut())
        }
    })
}

/// `delete_shtable`: removes a dialog, named by its To tag and by what else of it is given. The CSeq after the last
/// one that was used in it, or -1.
pub unsafe extern "C" fn delete_shtable(table: shtable_t, hash: c_uint, subs: *mut subs_t) -> c_int {
    guard("delete_shtable", -1, || {
        // SAFETY: the caller's own table and structure.
        let (Some(bucket), Some(given)) = (unsafe { Bucket::of(table, hash as usize) }, unsafe { subs.as_ref() })
        else {
            log!(Error, "delete_shtable: no table or no subscription");
            return -1;
        };
        // SAFETY: texts of the caller.
        let named = unsafe { dialog_of(given) };
        let fits = |given: &[u8], own: &[u8]| given.is_empty() || given == own;
        let taken = bucket.lock().take(|record| {
            // SAFETY: texts of a record.
            let own = unsafe { dialog_of(record) };
            own.to_tag == named.to_tag && fits(named.call_id, own.call_id) && fits(named.from_tag, own.from_tag)
        });
        let Some(record) = taken else { return -1 };
        // SAFETY: unlinked above: ours.
        unsafe {
            let next = (*record.as_ptr()).local_cseq.wrapping_add(1);
            shm::free(record.as_ptr());
            next as c_int
        }
    })
}

/// Overwrites a text of a record where it lies, if it fits there.
///
/// # Safety
/// `text` is a text within a record's block.
unsafe fn overwrite(text: &mut Str, with: &[u8]) -> bool {
    // SAFETY: the caller's promise; what is written is no longer than what was there.
    unsafe {
        let old = bytes(text);
        if old == with {
            return true;
        }
        if text.s.is_null() || old.len() < with.len() {
            return false;
        }
        core::ptr::copy_nonoverlapping(with.as_ptr(), text.s.cast::<u8>(), with.len());
        text.len = with.len() as i32;
    }
    true
}

/// `update_shtable`: takes over contact, route set, status and package; with `REMOTE_TYPE` Expires (relative) and the
/// watcher's CSeq, else it counts up our CSeq and the version and tells both. 0, or -1 (not there, no memory).
pub unsafe extern "C" fn update_shtable(table: shtable_t, hash: c_uint, subs: *mut subs_t, kind: c_int) -> c_int {
    guard("update_shtable", -1, || {
        // SAFETY: the caller's own table and structure.
        let (Some(bucket), Some(given)) = (unsafe { Bucket::of(table, hash as usize) }, unsafe { subs.as_mut() })
        else {
            log!(Error, "update_shtable: no table or no subscription");
            return -1;
        };
        // SAFETY: texts of the caller.
        let dialog = unsafe { dialog_of(given) };
        let mut room: Option<(NonNull<u8>, usize)> = None;
        for _ in 0..TRIES {
            let step = update(&bucket, dialog, given, kind as u32 & raw::REMOTE_TYPE != 0, &mut room);
            if let Some((block, _)) = room.take() {
                // SAFETY: not used, or what the record was before it moved.
                unsafe { shm::free(block.as_ptr()) };
            }
            match step {
                Step::Done => return 0,
                Step::Unknown => return -1,
                Step::Lacks(size) => match shm::block(size) {
                    Some(block) => room = Some((block, size)),
                    None => break,
                },
            }
        }
        log!(Error, "update_shtable: no shared memory");
        -1
    })
}

enum Step {
    Done,
    Unknown,
    /// A block of so many bytes is needed.
    Lacks(usize),
}

/// One try under the lock. A record that grows moves into `room`, and its old block is left there.
fn update(
    bucket: &Bucket,
    dialog: DialogId<'_>,
    given: &mut subs_t,
    remote: bool,
    room: &mut Option<(NonNull<u8>, usize)>,
) -> Step {
    let mut list = bucket.lock();
    let Some(link) = list.find(|record| is(record, dialog)) else { return Step::Unknown };
    // SAFETY: the list is locked; the record's texts lie in its block, the others are the caller's.
    unsafe {
        let (contact, route) = (bytes(&given.contact), bytes(&given.record_route));
        let mut record = &mut **link;
        let stays = bytes(&record.contact).len() >= contact.len() && bytes(&record.record_route).len() >= route.len();
        if !(stays && overwrite(&mut record.contact, contact) && overwrite(&mut record.record_route, route)) {
            let grown = subs_t { contact: borrow(contact), record_route: borrow(route), ..*record };
            let size = size_of_copy(&grown);
            let Some((block, _)) = room.filter(|(_, has)| *has >= size) else { return Step::Lacks(size) };
            *room = Some((NonNull::from(&mut *record).cast(), 0));
            *link = copy_to(block.as_ptr(), &grown);
            record = &mut **link;
        }
        if remote {
            record.expires = ends(given.expires);
            record.remote_cseq = given.remote_cseq;
        } else {
            record.local_cseq = record.local_cseq.wrapping_add(1);
            record.version = record.version.wrapping_add(1);
            (given.local_cseq, given.version) = (record.local_cseq, record.version);
        }
        (record.status, record.event) = (given.status, given.event);
        given.db_flag = record.db_flag;
        if record.db_flag as u32 & raw::NO_UPDATEDB_FLAG != 0 {
            record.db_flag = raw::UPDATEDB_FLAG as c_int;
        }
    }
    Step::Done
}

/// `mem_copy_subs`: a copy in one block of pkg or shared memory, which the caller frees; null without memory.
pub unsafe extern "C" fn mem_copy_subs(subs: *mut subs_t, memory: c_int) -> *mut subs_t {
    guard("mem_copy_subs", null_mut(), || {
        // SAFETY: null or a structure of the caller with valid texts.
        unsafe {
            let Some(given) = subs.as_ref() else { return null_mut() };
            let size = size_of_copy(given);
            let private = memory as u32 & raw::PKG_MEM_TYPE != 0;
            let Some(block) = (if private { kamailio::pkg::block(size) } else { shm::block(size) }) else {
                log!(Error, "mem_copy_subs: no {} memory", if private { "pkg" } else { "shared" });
                return null_mut();
            };
            copy_state_to(block.as_ptr(), given)
        }
    })
}
