//! `bind_presence`: the functions that other modules call.

use super::commands::{auth_status, handle_publish, handle_subscribe, handle_subscribe0, zero_for_done};
use super::flush::update_db_subs_timer;
use super::packages::{self, Rules};
use super::reader::extract_sdialog_info;
use super::tables::{
    delete_shtable, destroy_shtable, insert_shtable, mem_copy_subs, new_shtable, search_shtable, update_shtable,
};
use crate::commands::with_server;
use core::ffi::{c_char, c_int};
use core::ptr::null_mut;
use kamailio::entry::guard;
use kamailio::raw::{self, pres_ev_t, presence_api_t};
use kamailio::str::{Str, bytes, show};
use kamailio::{log, pkg};
use presence_core::host::Resource;
use presence_core::package::PackageId;
use presence_core::publish::Incoming;
use presence_core::time::Seconds;
use presence_core::uri::sip_uri;

/// Fills the table of functions. 0, or -1 without a table.
///
/// # Safety
/// `api` is null or a structure of the caller.
pub unsafe extern "C" fn bind_presence(api: *mut presence_api_t) -> c_int {
    guard("bind_presence", -1, || {
        // SAFETY: the caller's promise.
        let Some(api) = (unsafe { api.as_mut() }) else {
            log!(Error, "bind_presence: no table was given");
            return -1;
        };
        *api = presence_api_t {
            add_event: Some(add_event),
            contains_event: Some(contains_event),
            search_event: Some(search_event),
            get_event_list: Some(get_event_list),
            update_watchers_status: Some(update_watchers_status),
            new_shtable: Some(new_shtable),
            destroy_shtable: Some(destroy_shtable),
            insert_shtable: Some(insert_shtable),
            search_shtable: Some(search_shtable),
            delete_shtable: Some(delete_shtable),
            update_shtable: Some(update_shtable),
            mem_copy_subs: Some(mem_copy_subs),
            update_db_subs_timer: Some(update_db_subs_timer),
            extract_sdialog_info: Some(extract_sdialog_info),
            get_sphere: Some(get_sphere),
            get_presentity: Some(get_presentity),
            free_presentity: Some(free_presentity),
            pres_auth_status: Some(auth_status),
            handle_publish: Some(handle_publish),
            handle_subscribe0: Some(handle_subscribe0),
            handle_subscribe: Some(handle_subscribe),
            update_presentity: Some(update_presentity),
            pres_refresh_watchers: Some(refresh_watchers),
        };
        0
    })
}

unsafe extern "C" fn add_event(event: *mut pres_ev_t) -> c_int {
    // SAFETY: null or a structure of the caller.
    guard("add_event", -1, || unsafe { packages::add(event) })
}

/// The package by its name; `parsed`, if given, gets the parsed name, whose parameters the caller frees.
unsafe extern "C" fn contains_event(name: *mut Str, parsed: *mut raw::event_t) -> *mut pres_ev_t {
    guard("contains_event", null_mut(), || {
        // SAFETY: null or a valid `str`, and null or a structure of the caller.
        unsafe {
            let Some(name) = name.as_ref() else { return missing("contains_event", null_mut()) };
            if let Some(parsed) = parsed.as_mut() {
                *parsed = core::mem::zeroed();
                if raw::event_parser(name.s, name.len, parsed) < 0 {
                    return null_mut();
                }
            }
            packages::by_name(bytes(name)).map_or(null_mut(), packages::raw_of)
        }
    })
}

unsafe extern "C" fn search_event(event: *mut raw::event_t) -> *mut pres_ev_t {
    // SAFETY: null or a parsed event.
    guard("search_event", null_mut(), || unsafe { packages::by_event(event) }.map_or(null_mut(), packages::raw_of))
}

unsafe extern "C" fn get_event_list(list: *mut *mut Str) -> c_int {
    // SAFETY: null or a place of the caller.
    guard("get_event_list", -1, || unsafe { packages::list(list) })
}

/// The texts of `str*` parameters; none if one is null.
///
/// # Safety
/// Each is null or a valid `str`.
unsafe fn all<'a, const N: usize>(texts: [*const Str; N]) -> Option<[&'a [u8]; N]> {
    let mut values: [&[u8]; N] = [b""; N];
    for (value, text) in values.iter_mut().zip(texts) {
        // SAFETY: the caller's promise.
        *value = unsafe { bytes(text.as_ref()?) };
    }
    Some(values)
}

/// The answer to a call without what it needs.
fn missing<R>(function: &str, answer: R) -> R {
    log!(Error, "{function}: a parameter is missing");
    answer
}

/// The package of a structure: a caller may pass one of its own that only carries the name.
///
/// # Safety
/// `event` is null or a structure with a valid name.
unsafe fn package_of(event: *const pres_ev_t) -> Option<PackageId> {
    // SAFETY: the caller's promise.
    packages::id_of(event).or_else(|| packages::by_name(unsafe { bytes(&event.as_ref()?.name) }))
}

unsafe extern "C" fn update_watchers_status(uri: *mut Str, event: *mut pres_ev_t, rules: *mut Str) -> c_int {
    guard("update_watchers_status", -1, || {
        // SAFETY: null or valid.
        let (uri, named) = unsafe { (all([uri]), event.as_ref().map(|e| bytes(&e.name))) };
        let (Some([uri]), Some(name)) = (uri, named) else { return missing("update_watchers_status", -1) };
        // SAFETY: not null.
        let Some(package) = (unsafe { package_of(event) }) else {
            log!(Error, "update_watchers_status: there is no package \"{}\"", show(name));
            return 0;
        };
        let rules = Rules::lent(rules);
        if crate::auth::update(Resource { uri, package }, Some(rules)).is_ok() { 0 } else { -1 }
    })
}

unsafe extern "C" fn get_sphere(uri: *mut Str) -> *mut c_char {
    guard("get_sphere", null_mut(), || {
        // SAFETY: null or a valid `str`.
        let Some([uri]) = (unsafe { all([uri]) }) else { return missing("get_sphere", null_mut()) };
        crate::commands::sphere(uri).and_then(|sphere| pkg::copy(&sphere)).map_or(null_mut(), |s| s.s)
    })
}

unsafe extern "C" fn get_presentity(uri: Str, event: *mut pres_ev_t, _etag: *mut Str, contact: *mut Str) -> *mut Str {
    guard("get_presentity", null_mut(), || {
        // SAFETY: null or a structure of the caller.
        let Some(package) = (unsafe { package_of(event) }) else { return missing("get_presentity", null_mut()) };
        // SAFETY: valid `str`s of the caller.
        let (uri, contact) = unsafe { (bytes(&uri), contact.as_ref().map(|c| bytes(c)).unwrap_or_default()) };
        let (document, _) = with_server(None, |server| server.show(Resource { uri, package }, contact));
        let Some(Ok(Some(document))) = document else { return null_mut() };
        pkg::boxed_copy(&document).unwrap_or(null_mut())
    })
}

unsafe extern "C" fn free_presentity(document: *mut Str, _event: *mut pres_ev_t) {
    // SAFETY: null, or what `get_presentity` gave: both parts in pkg memory.
    guard("free_presentity", (), || unsafe { pkg::free_boxed(document) });
}

unsafe extern "C" fn refresh_watchers(uri: *mut Str, event: *mut Str, kind: c_int) -> c_int {
    guard("pres_refresh_watchers", -1, || {
        // SAFETY: null or valid `str`s.
        let Some([uri, event]) = (unsafe { all([uri, event]) }) else { return missing("pres_refresh_watchers", -1) };
        zero_for_done(crate::commands::refresh_watchers(uri, event, kind, None))
    })
}

unsafe extern "C" fn update_presentity(
    event: *mut Str,
    realm: *mut Str,
    user: *mut Str,
    etag: *mut Str,
    sender: *mut Str,
    body: *mut Str,
    expires: c_int,
    new: c_int,
    replace: c_int,
) -> c_int {
    guard("update_presentity", -1, || {
        // SAFETY: null or valid `str`s.
        let (named, sender, body) = unsafe { (all([event, realm, user, etag]), all([sender]), all([body])) };
        let Some([event, realm, user, etag]) = named else { return missing("update_presentity", -1) };
        let Some(package) = packages::by_name(event) else {
            log!(Error, "update_presentity: there is no package \"{}\"", show(event));
            return -1;
        };
        let uri = sip_uri(user, realm);
        let lifetime = if expires == -1 { None } else { Some(Seconds(expires.max(0).unsigned_abs())) };
        let incoming = Incoming {
            resource: Resource { uri: &uri, package },
            old_etag: (new == 0).then_some(etag),
            given_etag: Some(etag),
            body: body.map_or(b"", |[b]| b),
            sender: sender.map(|[s]| s).filter(|s| !s.is_empty()),
            lifetime,
            replace: replace != 0,
        };
        let outcome = with_server(None, |server| server.put(&incoming)).0;
        if outcome.is_some_and(|o| o.is_ok()) { 0 } else { -1 }
    })
}
