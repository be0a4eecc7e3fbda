//! Event packages as other modules register them (`pres_ev_t`).

pub use super::callbacks::{Rules, adapt, aggregate, auth_status, check_request, hard_state};
use core::ffi::c_int;
use core::mem::{ManuallyDrop, MaybeUninit};
use core::ptr::null_mut;
use kamailio::raw::{self, pres_ev_t};
use kamailio::str::{Str, bytes, show};
use kamailio::{log, pkg};
use presence_core::event::{Event, Param};
use presence_core::package::{Family, Kind, Package, PackageId};
use std::cell::RefCell;
use std::rc::Rc;

/// The most packages there can be.
const MAX_PACKAGES: usize = 64;

struct Registry {
    /// The structures that C code sees; never freed, at the same address in every process.
    structs: Vec<*mut pres_ev_t>,
    packages: Rc<[Package]>,
}

thread_local! {
    // One thread per process; filled before the fork, so every process has the same. Not dropped with the thread: other
    // modules may still look at the structures while the process ends.
    static REGISTRY: ManuallyDrop<RefCell<Registry>> =
        ManuallyDrop::new(RefCell::new(Registry { structs: Vec::new(), packages: Rc::new([]) }));
}

fn registered<R>(look: impl FnOnce(&Registry) -> R) -> R {
    REGISTRY.with(|registry| look(&registry.borrow()))
}

/// The registered packages, in the order of registration.
pub fn all() -> Rc<[Package]> {
    registered(|r| Rc::clone(&r.packages))
}

/// The C structure of a package.
pub fn raw_of(id: PackageId) -> *mut pres_ev_t {
    registered(|r| r.structs.get(usize::from(id.0)).copied().unwrap_or(null_mut()))
}

/// The number of a package by its C structure.
pub fn id_of(event: *const pres_ev_t) -> Option<PackageId> {
    registered(|r| r.structs.iter().position(|&p| core::ptr::eq(p, event)).map(|i| PackageId(i as u8)))
}

/// The package that this text names.
pub fn by_name(name: &[u8]) -> Option<PackageId> {
    presence_core::server::find_package(&all(), Some(name)).ok().map(|(package, _)| package.id)
}

/// The package that a parsed Event header field is for.
///
/// # Safety
/// `event` is null or a parsed event of the host.
pub unsafe fn by_event(event: *const raw::event_t) -> Option<PackageId> {
    // SAFETY: the caller's promise.
    let event = unsafe { event.as_ref()? };
    let mut params = Vec::new();
    let mut next = event.params.list;
    // SAFETY: a list of parameters that lives with the event.
    while let Some(param) = unsafe { next.as_ref() } {
        // SAFETY: texts within the header field.
        params.push(unsafe { Param { name: bytes(&param.name), value: bytes(&param.body) } });
        next = param.next;
    }
    // SAFETY: as above.
    let parsed = Event { name: unsafe { bytes(&event.name) }, params_text: b"", params };
    all().iter().filter(|p| p.accepts(&parsed)).max_by_key(|p| p.specificity()).map(|p| p.id)
}

/// Registers a package. 0, or -1 with a sentence in the log.
///
/// # Safety
/// `event` is null or a structure that another module filled.
pub unsafe fn add(event: *const pres_ev_t) -> c_int {
    // SAFETY: the caller's promise.
    let Some(event) = (unsafe { event.as_ref() }) else {
        log!(Error, "add_event: no package was given");
        return -1;
    };
    // SAFETY: texts of the caller, copied below.
    let (name, content_type) = unsafe { (bytes(&event.name), bytes(&event.content_type)) };
    match check(event, name, content_type) {
        Ok(true) => {
            log!(Warning, "add_event: package \"{}\" is registered already: the first registration stays", show(name));
            0
        }
        Ok(false) => register(event, name, content_type),
        Err(sentence) => {
            log!(Error, "add_event: package \"{}\": {sentence}", show(name));
            -1
        }
    }
}

/// Whether the package is there already; or why it cannot be taken.
fn check(event: &pres_ev_t, name: &[u8], content_type: &[u8]) -> Result<bool, &'static str> {
    let parsed = Event::parse(name).map_err(|_| "its name is missing or no event name")?;
    if content_type.is_empty() {
        return Err("it has no content type");
    }
    if name.len() > 64 {
        return Err("its name is longer than 64 bytes");
    }
    if event.req_auth != 0 && (event.get_auth_status.is_none() || event.get_rules_doc.is_none()) {
        return Err("it asks for authorisation and has no functions for it");
    }
    let same = |p: &Package| p.accepts(&parsed) && p.specificity() == parsed.params.len();
    if all().iter().any(same) {
        return Ok(true);
    }
    if all().len() == MAX_PACKAGES {
        return Err("there are 64 packages already");
    }
    Ok(false)
}

fn register(event: &pres_ev_t, name: &[u8], content_type: &[u8]) -> c_int {
    let (Some(kept_name), Some(kept_type), Some(parsed)) = (pkg::copy(name), pkg::copy(content_type), parse(name))
    else {
        log!(Error, "add_event: no memory for package \"{}\"", show(name));
        return -1;
    };
    // SAFETY: the host parsed it.
    let family = family_of(unsafe { &*parsed });
    let own = Event::parse(name).map(|e| e.name.to_vec()).unwrap_or_default();
    let is_winfo = own.split(|&b| b == b'.').nth(1).is_some_and(|template| template.starts_with(b"winfo"));
    let peer_name = if is_winfo {
        own.split(|&b| b == b'.').next().unwrap_or_default().to_vec()
    } else {
        [name, b".winfo"].concat()
    };
    let mut packages = all().to_vec();
    let id = PackageId(packages.len() as u8);
    let peer = packages.iter().find(|p| p.name.eq_ignore_ascii_case(&peer_name)).map(|p| p.id);
    packages.push(Package {
        id,
        name: name.to_vec(),
        kind: if is_winfo { Kind::WatcherInfo } else { Kind::Published },
        family,
        content_type: content_type.to_vec(),
        default_expires: event.default_expires,
        keeps_etag: event.etag_not_new != 0,
        needs_auth: event.req_auth != 0,
        aggregates: event.agg_nbody.is_some(),
        per_watcher: event.aux_body_processing.is_some(),
        peer,
    });
    let mut c = *event;
    c.name = kept_name;
    c.content_type = kept_type;
    c.evp = parsed;
    c.type_ = if is_winfo { raw::WINFO_TYPE } else { raw::PUBL_TYPE } as c_int;
    c.next = null_mut();
    c.wipeer = peer.map_or(null_mut(), raw_of);
    let c = Box::into_raw(Box::new(c));
    if let Some(peer) = peer {
        packages[usize::from(peer.0)].peer = Some(id);
        // SAFETY: a structure of this registry; nobody else writes it.
        unsafe { (*raw_of(peer)).wipeer = c };
    }
    REGISTRY.with(|registry| {
        let mut r = registry.borrow_mut();
        if let Some(&last) = r.structs.last() {
            // SAFETY: as above. C code may walk the list.
            unsafe { (*last).next = c };
        }
        r.structs.push(c);
        r.packages = packages.into();
    });
    log!(Debug, "package \"{}\" registered", show(name));
    0
}

/// The host's own parsed form of a name, in memory that stays.
fn parse(name: &[u8]) -> Option<*mut raw::event_t> {
    // The parsed form points into the text.
    let text = pkg::copy(name)?;
    let mut parsed = MaybeUninit::<raw::event_t>::zeroed();
    // SAFETY: the text stays; the host fills the structure or fails.
    unsafe {
        (raw::event_parser(text.s, text.len, parsed.as_mut_ptr()) >= 0)
            .then(|| Box::into_raw(Box::new(parsed.assume_init())))
    }
}

fn family_of(event: &raw::event_t) -> Family {
    match event.type_ {
        t if t == raw::EVENT_PRESENCE => Family::Presence,
        // SAFETY: reads two pointers of the parsed event.
        t if t == raw::EVENT_DIALOG && unsafe { raw::ksr_event_sla(event) != 0 } => Family::SharedLine,
        t if t == raw::EVENT_DIALOG => Family::Dialog,
        _ => Family::Other,
    }
}

/// The list of names for another module: a `str*` in pkg memory. 0, or -1.
///
/// # Safety
/// `out` is null or a place to write to.
pub unsafe fn list(out: *mut *mut Str) -> c_int {
    // SAFETY: the caller's promise.
    let Some(out) = (unsafe { out.as_mut() }) else {
        log!(Error, "get_event_list: no place for the list");
        return -1;
    };
    *out = null_mut();
    if all().is_empty() {
        return 0;
    }
    match pkg::boxed_copy(&presence_core::server::allow_events(&all())) {
        Some(text) => {
            *out = text;
            0
        }
        None => -1,
    }
}
