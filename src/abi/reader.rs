//! `extract_sdialog_info`: a SUBSCRIBE as a `subs_t`, for modules that serve subscriptions by themselves.

use super::subs::text;
use crate::ingress;
use crate::params::settings;
use core::cell::RefCell;
use core::ffi::c_int;
use kamailio::entry::guard;
use kamailio::msg::Message;
use kamailio::raw::{self, sip_msg_t, subs_t};
use kamailio::str::{Str, bytes, none};
use kamailio::uri::UserHost;
use kamailio::{log, pkg};
use presence_core::subscribe::Subscribe;
use presence_core::time::Seconds;
use presence_core::uri::sip_uri;

thread_local! {
    /// What the structure of the last call points to and is not in the message: the tag of the reply.
    static KEPT: RefCell<ingress::Texts> = RefCell::default();
}

/// `extract_sdialog_info`: fills `subs`, whose package the caller has set. 0, or -1 and nothing to free.
///
/// Texts lie in the message and last as long as that; the To tag lasts until the next call. `record_route`, for the
/// presentity of a shared line `pres_uri`, and without `contact` also `local_contact` are in pkg memory and belong to
/// the caller. `most` is the longest Expires, `own_tag` gets whether the tag of the reply is new.
pub unsafe extern "C" fn extract_sdialog_info(
    subs: *mut subs_t,
    msg: *mut sip_msg_t,
    most: c_int,
    own_tag: *mut c_int,
    contact: Str,
    watcher_user: Str,
    watcher_domain: Str,
) -> c_int {
    guard("extract_sdialog_info", -1, || {
        // SAFETY: null, or the caller's structures and the message that the host is processing.
        let (subs, message) = unsafe { (subs.as_mut(), Message::from_raw(msg)) };
        let (Some(subs), Some(mut message)) = (subs, message) else {
            log!(Error, "extract_sdialog_info: no structure or no message");
            return -1;
        };
        // SAFETY: null or a package.
        let Some(event) = (unsafe { subs.event.as_ref() }) else {
            log!(Error, "extract_sdialog_info: the package is not set");
            return -1;
        };
        // SAFETY: texts of the caller, which live through the call.
        let (user, host) = unsafe { (bytes(&watcher_user), bytes(&watcher_domain)) };
        let mut texts = ingress::Texts::default();
        // SAFETY: as above.
        let own = unsafe { bytes(&contact) };
        let request = match ingress::subscribe(&mut message, Some(UserHost { user, host }), own, &mut texts) {
            Ok(request) => request,
            Err(refusal) => {
                log!(Error, "extract_sdialog_info: the SUBSCRIBE cannot be read ({})", refusal.status().0);
                return -1;
            }
        };
        let asked = request.expires.unwrap_or(Seconds(event.default_expires));
        // A negative bound is none, as in the C module.
        let Ok(expires) = settings().core.agreed_expires(asked, Seconds(most as u32)) else {
            log!(Error, "extract_sdialog_info: Expires is below min_expires");
            return -1;
        };
        // SAFETY: the parsed name of a registered package, or of the caller's own.
        let shared_line = unsafe { event.evp.as_ref().is_some_and(|parsed| raw::ksr_event_sla(parsed) != 0) };
        let line = if shared_line { sip_uri(request.contact_user, request.from.host) } else { Vec::new() };
        let local = if own.is_empty() { request.local_contact } else { b"" };
        let Some([line, route, local]) = owned([&line, request.record_route, local]) else {
            log!(Error, "extract_sdialog_info: no pkg memory");
            return -1;
        };
        fill(subs, &request);
        subs.expires = expires.0;
        (subs.watcher_user, subs.watcher_domain) = (watcher_user, watcher_domain);
        subs.local_contact = if own.is_empty() { local } else { contact };
        subs.record_route = route;
        if shared_line {
            subs.pres_uri = line;
        }
        // SAFETY: null or a place of the caller.
        if let Some(own_tag) = unsafe { own_tag.as_mut() } {
            *own_tag = c_int::from(!request.in_dialog);
        }
        KEPT.set(texts);
        0
    })
}

/// Copies in pkg memory, nothing for what is empty; none of them if one cannot be had.
fn owned<const N: usize>(texts: [&[u8]; N]) -> Option<[Str; N]> {
    let mut copies = [const { none() }; N];
    for n in 0..N {
        if texts[n].is_empty() {
            continue;
        }
        match pkg::copy(texts[n]) {
            Some(copy) => copies[n] = copy,
            None => {
                // SAFETY: allocated above, given to nobody.
                copies.iter().for_each(|copy| unsafe { pkg::free(copy.s) });
                return None;
            }
        }
    }
    Some(copies)
}

/// What a request says, without copies.
fn fill(subs: &mut subs_t, request: &Subscribe<'_>) {
    subs.to_user = text(request.to.user);
    subs.to_domain = text(request.to.host);
    subs.from_user = text(request.from.user);
    subs.from_domain = text(request.from.host);
    subs.to_tag = text(request.dialog.to_tag);
    subs.from_tag = text(request.dialog.from_tag);
    subs.callid = text(request.dialog.call_id);
    subs.remote_cseq = request.cseq;
    subs.contact = text(request.contact);
    subs.sockinfo_str = text(request.socket);
    subs.version = 1;
    subs.flags = request.branch_flags;
    if !request.user_agent.is_empty() {
        subs.user_agent = text(request.user_agent);
    }
}
