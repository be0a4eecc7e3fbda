//! `subs_t`, the subscription as packages and other modules see it.

use core::ptr::null_mut;
use kamailio::raw::{pres_ev_t, subs_t};
use kamailio::str::{Str, borrow, bytes, none};
use presence_core::dialog::DialogId;
use presence_core::subscription::{Field, Subscription};

/// A `subs_t` whose texts lie in a [`Subscription`].
#[derive(Debug)]
pub struct SubsView<'s> {
    /// The structure for C code.
    pub c: subs_t,
    life: core::marker::PhantomData<&'s Subscription>,
}

impl<'s> SubsView<'s> {
    /// A view of a subscription. `expires` is what is left of it, in seconds, where that is known.
    pub fn new(subscription: &'s Subscription, event: *mut pres_ev_t) -> Self {
        let text = |field| text(subscription.text(field));
        // SAFETY: all members are numbers and pointers, for which zero is "none".
        let mut c: subs_t = unsafe { core::mem::zeroed() };
        c.pres_uri = borrow(&subscription.presentity);
        c.to_user = text(Field::ToUser);
        c.to_domain = text(Field::ToDomain);
        c.from_user = text(Field::FromUser);
        c.from_domain = text(Field::FromDomain);
        c.watcher_user = text(Field::WatcherUser);
        c.watcher_domain = text(Field::WatcherDomain);
        c.event = event;
        c.event_id = self::text(subscription.event_id());
        c.to_tag = text(Field::ToTag);
        c.from_tag = text(Field::FromTag);
        c.callid = text(Field::CallId);
        c.sockinfo_str = text(Field::Socket);
        c.remote_cseq = subscription.remote_cseq;
        c.local_cseq = subscription.local_cseq;
        c.contact = text(Field::Contact);
        c.local_contact = text(Field::LocalContact);
        c.record_route = text(Field::RecordRoute);
        c.expires = subscription.expires.0;
        c.status = u32::from(subscription.status as u8);
        c.reason = text(Field::Reason);
        c.version = subscription.version as i32;
        c.flags = subscription.branch_flags;
        c.user_agent = text(Field::UserAgent);
        Self { c, life: core::marker::PhantomData }
    }
}

/// C code takes a null pointer for "none".
pub fn text(bytes: &[u8]) -> Str {
    if bytes.is_empty() { none() } else { borrow(bytes) }
}

/// The texts of a `subs_t`.
fn texts(s: &mut subs_t) -> [&mut Str; 17] {
    [
        &mut s.pres_uri,
        &mut s.to_user,
        &mut s.to_domain,
        &mut s.from_user,
        &mut s.from_domain,
        &mut s.watcher_user,
        &mut s.watcher_domain,
        &mut s.event_id,
        &mut s.to_tag,
        &mut s.from_tag,
        &mut s.callid,
        &mut s.sockinfo_str,
        &mut s.contact,
        &mut s.local_contact,
        &mut s.record_route,
        &mut s.reason,
        &mut s.user_agent,
    ]
}

/// The bytes that a copy of a `subs_t` takes: the structure, its texts, a terminating 0.
///
/// # Safety
/// The texts of `s` are null or valid.
pub unsafe fn size_of_copy(s: &subs_t) -> usize {
    let mut s = *s;
    // SAFETY: the caller's promise.
    size_of::<subs_t>() + texts(&mut s).into_iter().map(|text| unsafe { bytes(text) }.len()).sum::<usize>() + 1
}

/// Copies a `subs_t` with its texts into one block, so that who frees the block frees all of it.
///
/// # Safety
/// The texts of `s` are null or valid; `block` is aligned for pointers, has [`size_of_copy`] bytes and holds none of
/// the texts.
pub unsafe fn copy_to(block: *mut u8, s: &subs_t) -> *mut subs_t {
    let mut copy = *s;
    // SAFETY: all writes stay within the size that the same texts gave.
    unsafe {
        let mut end = block.add(size_of::<subs_t>());
        for text in texts(&mut copy) {
            let from = bytes(text);
            core::ptr::copy_nonoverlapping(from.as_ptr(), end, from.len());
            // What is null stays null: some callers take an empty text for a value.
            if !text.s.is_null() {
                *text = Str { s: end.cast(), len: from.len() as i32 };
            } else {
                *text = none();
            }
            end = end.add(from.len());
        }
        end.write(0);
        let at = block.cast::<subs_t>();
        at.write(copy);
        at
    }
}

/// As [`copy_to`], without what belongs to the request or the caller: the rules, marks of the C module, the next one.
///
/// # Safety
/// As [`copy_to`].
pub unsafe fn copy_state_to(block: *mut u8, s: &subs_t) -> *mut subs_t {
    let state = subs_t {
        auth_rules_doc: null_mut(),
        recv_event: 0,
        internal_update_flag: 0,
        updated: 0,
        updated_winfo: 0,
        next: null_mut(),
        ..*s
    };
    // SAFETY: the caller's promise.
    unsafe { copy_to(block, &state) }
}

/// The dialog of a `subs_t`.
///
/// # Safety
/// Its texts are null or valid, for `'a`.
pub unsafe fn dialog_of<'a>(s: &subs_t) -> DialogId<'a> {
    // SAFETY: the caller's promise.
    unsafe { DialogId { call_id: bytes(&s.callid), to_tag: bytes(&s.to_tag), from_tag: bytes(&s.from_tag) } }
}
