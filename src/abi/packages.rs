//! Event packages as other modules register them (`pres_ev_t`), and the calls of their functions.

use super::subs::SubsView;
use core::ffi::{c_char, c_int};
use core::mem::MaybeUninit;
use core::ptr::null_mut;
use kamailio::raw::{self, pres_ev_t};
use kamailio::str::{Str, borrow, bytes, show};
use kamailio::{log, pkg};
use presence_core::event::{Event, Param};
use presence_core::host::Resource;
use presence_core::package::{Family, Kind, Package, PackageId};
use presence_core::refusal::Fault;
use presence_core::subscription::Subscription;
use presence_core::uri::split_sip_uri;
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
    // One thread per process; filled before the fork, so every process has the same.
    static REGISTRY: RefCell<Registry> = RefCell::new(Registry { structs: Vec::new(), packages: Rc::new([]) });
}

/// The registered packages, in the order of registration.
pub fn all() -> Rc<[Package]> {
    REGISTRY.with_borrow(|r| Rc::clone(&r.packages))
}

/// The C structure of a package.
pub fn raw_of(id: PackageId) -> *mut pres_ev_t {
    REGISTRY.with_borrow(|r| r.structs.get(usize::from(id.0)).copied().unwrap_or(null_mut()))
}

/// The number of a package by its C structure.
pub fn id_of(event: *const pres_ev_t) -> Option<PackageId> {
    REGISTRY.with_borrow(|r| r.structs.iter().position(|&p| core::ptr::eq(p, event)).map(|i| PackageId(i as u8)))
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
    REGISTRY.with_borrow_mut(|r| {
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

/// A document that a package made; freed with the function that the package names for it.
struct Made {
    text: *mut Str,
    free: raw::free_body_t,
}

impl Made {
    fn bytes(&self) -> &[u8] {
        // SAFETY: null or a `str` that the package allocated and filled.
        unsafe { self.text.as_ref().map_or(&[], |s| bytes(s)) }
    }
}

impl Drop for Made {
    fn drop(&mut self) {
        if self.text.is_null() {
            return;
        }
        // SAFETY: the structure is in pkg memory, as every package has it; the text goes back to the function that
        // the package named, once.
        unsafe {
            let text = (*self.text).s;
            if !text.is_null() {
                match self.free {
                    Some(free) => free(text),
                    None => pkg::free(text),
                }
            }
            pkg::free(self.text);
        }
    }
}

/// A text that a package may change in place: where it puts a document of its own there instead, that is freed with the
/// function that the package names for its documents.
struct InPlace {
    text: Str,
    lent: *mut c_char,
    free: raw::free_body_t,
}

impl Drop for InPlace {
    fn drop(&mut self) {
        if self.text.s == self.lent || self.text.s.is_null() {
            return;
        }
        if let Some(free) = self.free {
            // SAFETY: made by the package, which lent it to nobody else.
            unsafe { free(self.text.s) };
        }
    }
}

/// A text with a terminating 0 behind it, because packages search it with string functions.
fn terminated(text: &[u8]) -> Vec<u8> {
    let mut copy = Vec::with_capacity(text.len() + 1);
    copy.extend_from_slice(text);
    copy.push(0);
    copy
}

/// Lets a package combine documents (`agg_nbody`). `gone` is the index of one that is shown as gone.
pub fn aggregate(resource: Resource<'_>, documents: &[&[u8]], gone: Option<usize>) -> Option<Vec<u8>> {
    // SAFETY: a structure of the registry.
    let event = unsafe { raw_of(resource.package).as_ref()? };
    let function = event.agg_nbody?;
    let (user, host) = split_sip_uri(resource.uri);
    let (mut user, mut host) = (borrow(user), borrow(host));
    let copies: Vec<Vec<u8>> = documents.iter().map(|d| terminated(d)).collect();
    let mut texts: Vec<Str> = copies.iter().map(|c| borrow(&c[..c.len() - 1])).collect();
    // Packages count on two empty places behind the last one.
    let mut array: Vec<*mut Str> = texts.iter_mut().map(|t| t as *mut Str).chain([null_mut(), null_mut()]).collect();
    let array = if documents.is_empty() { null_mut() } else { array.as_mut_ptr() };
    let gone = gone.map_or(-1, |i| i as c_int);
    // SAFETY: all texts live through the call; what the package returns is owned by `Made`.
    let text = unsafe { function(&raw mut user, &raw mut host, array, documents.len() as c_int, gone) };
    let made = Made { text, free: event.free_body };
    let body = made.bytes();
    (!body.is_empty()).then(|| body.to_vec())
}

/// A presentity's rules, while they are needed.
#[derive(Debug)]
pub struct Rules {
    document: *mut Str,
    /// Somebody else's: not freed here.
    lent: bool,
}

impl Rules {
    /// Asks the package (`get_rules_doc`).
    pub fn of(resource: Resource<'_>) -> Result<Self, Fault> {
        // SAFETY: a structure of the registry.
        let event = unsafe { raw_of(resource.package).as_ref().ok_or(Fault::Package)? };
        let Some(function) = event.get_rules_doc else { return Ok(Self::lent(null_mut())) };
        let (user, host) = split_sip_uri(resource.uri);
        let (mut user, mut host) = (borrow(user), borrow(host));
        let mut document = null_mut();
        // SAFETY: the names live through the call; the document is owned by `Rules`.
        let result = unsafe { function(&raw mut user, &raw mut host, &raw mut document) };
        let rules = Self { document, lent: false };
        if result < 0 {
            log!(Error, "the rules of {} could not be read", show(resource.uri));
            return Err(Fault::Package);
        }
        Ok(rules)
    }

    /// Rules that the caller of an interface function keeps.
    pub fn lent(document: *mut Str) -> Self {
        Self { document, lent: true }
    }

    /// Whether there are any.
    pub fn exist(&self) -> bool {
        // SAFETY: null or a `str` that the package filled.
        unsafe { self.document.as_ref().is_some_and(|s| !s.s.is_null() && s.len > 0) }
    }

    /// The document for C code; null if there is none.
    pub fn as_ptr(&self) -> *mut Str {
        self.document
    }
}

impl Drop for Rules {
    fn drop(&mut self) {
        if !self.lent {
            // SAFETY: packages allocate both in pkg memory.
            unsafe { pkg::free_boxed(self.document) };
        }
    }
}

/// Asks a package for the authorisation of a watcher by the rules (`get_auth_status`): status number and reason.
pub fn auth_status(subscription: &Subscription, rules: &Rules) -> Result<(u32, Vec<u8>), Fault> {
    // SAFETY: a structure of the registry.
    let event = unsafe { raw_of(subscription.package).as_ref().ok_or(Fault::Package)? };
    let function = event.get_auth_status.ok_or(Fault::Package)?;
    let mut view = SubsView::new(subscription, raw_of(subscription.package));
    view.c.auth_rules_doc = rules.as_ptr();
    // SAFETY: the view lives through the call; a reason that the package sets is a text of its own that stays.
    unsafe {
        if function(&raw mut view.c) < 0 {
            return Err(Fault::Package);
        }
        Ok((view.c.status, bytes(&view.c.reason).to_vec()))
    }
}

/// What goes to one watcher: the document after the package adapted it (`aux_body_processing`) and applied the
/// watcher's rules (`apply_auth_nbody`).
pub fn adapt<R>(
    subscription: &Subscription,
    body: &[u8],
    rules: Option<&Rules>,
    then: impl FnOnce(&[u8]) -> R,
) -> Result<R, Fault> {
    // SAFETY: a structure of the registry.
    let Some(event) = (unsafe { raw_of(subscription.package).as_ref() }) else { return Ok(then(body)) };
    let apply = event.apply_auth_nbody.filter(|_| event.req_auth != 0 && rules.is_some_and(Rules::exist));
    if body.is_empty() || (event.aux_body_processing.is_none() && apply.is_none()) {
        return Ok(then(body));
    }
    let mut view = SubsView::new(subscription, raw_of(subscription.package));
    view.c.auth_rules_doc = rules.map_or(null_mut(), Rules::as_ptr);
    let copy = terminated(body);
    let text = borrow(&copy[..body.len()]);
    let mut text = InPlace { text, lent: text.s, free: event.free_body };
    let mut current = &raw mut text.text;
    let aux;
    if let Some(function) = event.aux_body_processing {
        // SAFETY: view and text live through the call. The package returns a document of its own, or null after it
        // has (maybe) changed the text in place, which is our copy or, from then on, what `InPlace` frees.
        let made = unsafe { function(&raw mut view.c, current) };
        aux = Made { text: made, free: event.aux_free_body };
        if !aux.text.is_null() {
            current = aux.text;
        }
    }
    if let Some(function) = apply {
        let mut made = null_mut();
        // SAFETY: as above.
        let result = unsafe { function(current, &raw mut view.c, &raw mut made) };
        let applied = Made { text: made, free: event.free_body };
        if result < 0 {
            return Err(Fault::Package);
        }
        if !applied.text.is_null() {
            return Ok(then(applied.bytes()));
        }
    }
    // SAFETY: our copy, or the package's document, which `aux` keeps.
    Ok(then(unsafe { bytes(&*current) }))
}

/// Hard state of a presentity (`get_pidf_doc`): the document; none if there is none.
pub fn hard_state(resource: Resource<'_>, file_uri: &[u8]) -> Result<Option<Vec<u8>>, Fault> {
    // SAFETY: a structure of the registry.
    let event = unsafe { raw_of(resource.package).as_ref().ok_or(Fault::Package)? };
    let Some(function) = event.get_pidf_doc else {
        log!(Warning, "pidf-manipulation is not supported for {}", show(resource.uri));
        return Err(Fault::Package);
    };
    let (user, host) = split_sip_uri(resource.uri);
    let (mut user, mut host, mut file) = (borrow(user), borrow(host), borrow(file_uri));
    let mut document = null_mut();
    // SAFETY: the texts live through the call; the document is owned by `Rules`, which frees the same way.
    let result = unsafe { function(&raw mut user, &raw mut host, &raw mut file, &raw mut document) };
    let document = Rules { document, lent: false };
    match result {
        r if r < 0 => Err(Fault::Package),
        0 => Ok(None),
        // SAFETY: not null where it exists.
        _ => Ok(document.exist().then(|| unsafe { bytes(&*document.document) }.to_vec())),
    }
}

/// Lets a package check the request that is being handled (`evs_publ_handl`, `evs_subs_handl`).
pub fn check_request(id: PackageId, publish: bool, msg: &mut kamailio::msg::Message<'_>) -> Result<(), Fault> {
    // SAFETY: a structure of the registry.
    let event = unsafe { raw_of(id).as_ref().ok_or(Fault::Package)? };
    let function = if publish { event.evs_publ_handl } else { event.evs_subs_handl };
    // SAFETY: the message that the host is processing.
    let verdict = function.map_or(0, |function| unsafe { function(msg.as_ptr()) });
    if verdict < 0 { Err(Fault::Package) } else { Ok(()) }
}

/// The list of names for another module: a `str*` in pkg memory. 0, or -1.
///
/// # Safety
/// `out` is null or a place to write to.
pub unsafe fn list(out: *mut *mut Str) -> c_int {
    // SAFETY: the caller's promise.
    let Some(out) = (unsafe { out.as_mut() }) else { return -1 };
    *out = null_mut();
    if all().is_empty() {
        return 0;
    }
    let Some(text) = pkg::copy(&presence_core::server::allow_events(&all())) else { return -1 };
    match pkg::boxed(text) {
        Some(boxed) => {
            *out = boxed;
            0
        }
        None => {
            // SAFETY: allocated above, given to nobody.
            unsafe { pkg::free(text.s) };
            -1
        }
    }
}
