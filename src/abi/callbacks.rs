//! The functions of event packages (`pres_ev_t`), and who frees what they make.
//!
//! A package is not trusted to be right: a document with a length that cannot be is an error with a line in the log,
//! a document that is one of ours is not freed, a missing function to free is `pkg_free`.

use super::packages::raw_of;
use super::subs::SubsView;
use core::ffi::c_int;
use core::ptr::null_mut;
use kamailio::raw::{self, pres_ev_t};
use kamailio::str::{Str, borrow, bytes, show};
use kamailio::{log, pkg};
use presence_core::host::Resource;
use presence_core::package::PackageId;
use presence_core::refusal::Fault;
use presence_core::subscription::Subscription;
use presence_core::uri::split_sip_uri;

/// The longest text that a package may give: no SIP message carries a longer one.
const MAX_TEXT: usize = 1 << 20;

/// The C structure of a package.
fn of(id: PackageId) -> Result<&'static pres_ev_t, Fault> {
    // SAFETY: null, or a structure of the registry, which stays.
    unsafe { raw_of(id).as_ref() }.ok_or(Fault::Package)
}

/// Whether a text that `function` gave can be one; a line in the log if not. `most` bytes are known to be there.
fn is_sound(text: &Str, most: usize, event: &pres_ev_t, function: &str) -> bool {
    let sound = usize::try_from(text.len).is_ok_and(|len| len <= most && (len == 0 || !text.s.is_null()));
    if !sound {
        let (len, at) = (text.len, if text.s.is_null() { " at null" } else { "" });
        // SAFETY: the name of a registered package.
        let name = unsafe { bytes(&event.name) };
        log!(Error, "package \"{}\": {function} gave a text of {len} bytes{at}", show(name));
    }
    sound
}

/// A document that a package made; freed once, with the function that the package names for it.
struct Made {
    text: *mut Str,
    free: raw::free_body_t,
    sound: bool,
}

impl Made {
    /// What `function` returned. `ours` is what it was given: a package that returns that has changed it in place.
    fn by(function: &str, event: &pres_ev_t, text: *mut Str, free: raw::free_body_t, ours: &[*mut Str]) -> Self {
        let text = if ours.contains(&text) { null_mut() } else { text };
        // SAFETY: null or a `str` that the package allocated.
        let sound = unsafe { text.as_ref() }.is_none_or(|text| is_sound(text, MAX_TEXT, event, function));
        Self { text, free, sound }
    }

    /// The document; none if the package made none.
    fn bytes(&self) -> Result<Option<&[u8]>, Fault> {
        if !self.sound {
            return Err(Fault::Package);
        }
        // SAFETY: null or a `str` that the package allocated and filled.
        Ok(unsafe { self.text.as_ref().map(|s| bytes(s)) })
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

/// A copy of a document that a package may change in place. Where it puts one of its own there instead, that is freed
/// with the function that the package names for its documents.
struct InPlace<'c> {
    text: Str,
    copy: &'c [u8],
    free: raw::free_body_t,
}

impl<'c> InPlace<'c> {
    /// `copy` ends with a 0.
    fn new(copy: &'c [u8], event: &pres_ev_t) -> Self {
        Self { text: borrow(&copy[..copy.len() - 1]), copy, free: event.free_body }
    }
}

impl Drop for InPlace<'_> {
    fn drop(&mut self) {
        if self.text.s.is_null() || self.copy.as_ptr_range().contains(&self.text.s.cast::<u8>().cast_const()) {
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
    let event = of(resource.package).ok()?;
    let function = event.agg_nbody?;
    let (user, host) = split_sip_uri(resource.uri);
    let (mut user, mut host) = (borrow(user), borrow(host));
    let copies: Vec<Vec<u8>> = documents.iter().map(|d| terminated(d)).collect();
    let mut texts: Vec<Str> = copies.iter().map(|c| borrow(&c[..c.len() - 1])).collect();
    // Packages count on two empty places behind the last one.
    let mut array: Vec<*mut Str> = texts.iter_mut().map(|t| t as *mut Str).chain([null_mut(), null_mut()]).collect();
    let ours = array[..documents.len()].to_vec();
    let array = if documents.is_empty() { null_mut() } else { array.as_mut_ptr() };
    let gone = gone.map_or(-1, |i| i as c_int);
    // SAFETY: all texts live through the call; what the package returns is owned by `Made`.
    let text = unsafe { function(&raw mut user, &raw mut host, array, documents.len() as c_int, gone) };
    if let Some(place) = ours.iter().position(|&own| own == text) {
        return Some(documents[place].to_vec());
    }
    let made = Made::by("agg_nbody", event, text, event.free_body, &[]);
    made.bytes().ok()?.filter(|body| !body.is_empty()).map(<[u8]>::to_vec)
}

/// A text that a package gives and does not keep, in pkg memory: a presentity's rules, its hard state.
#[derive(Debug)]
pub struct Rules {
    document: *mut Str,
    /// Somebody else's: not freed here.
    lent: bool,
}

impl Rules {
    /// Asks the package (`get_rules_doc`).
    pub fn of(resource: Resource<'_>) -> Result<Self, Fault> {
        let event = of(resource.package)?;
        let Some(function) = event.get_rules_doc else { return Ok(Self::lent(null_mut())) };
        let (user, host) = split_sip_uri(resource.uri);
        let (mut user, mut host) = (borrow(user), borrow(host));
        let mut document = null_mut();
        // SAFETY: the names live through the call; the document is owned by `Rules`.
        let result = unsafe { function(&raw mut user, &raw mut host, &raw mut document) };
        let rules = Self { document, lent: false };
        if result < 0 || !rules.are_sound(event, "get_rules_doc") {
            log!(Error, "the rules of {} could not be read", show(resource.uri));
            return Err(Fault::Package);
        }
        Ok(rules)
    }

    /// Rules that the caller of an interface function keeps.
    pub fn lent(document: *mut Str) -> Self {
        Self { document, lent: true }
    }

    fn are_sound(&self, event: &pres_ev_t, function: &str) -> bool {
        // SAFETY: null or a `str` that the package filled.
        unsafe { self.document.as_ref() }.is_none_or(|text| is_sound(text, MAX_TEXT, event, function))
    }

    /// The text; none if there is none.
    fn bytes(&self) -> Option<&[u8]> {
        // SAFETY: null or a `str` that the package filled.
        unsafe { self.document.as_ref() }.map(|s| unsafe { bytes(s) }).filter(|text| !text.is_empty())
    }

    /// Whether there are any.
    pub fn exist(&self) -> bool {
        self.bytes().is_some()
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
    let event = of(subscription.package)?;
    let function = event.get_auth_status.ok_or(Fault::Package)?;
    let mut view = SubsView::new(subscription, raw_of(subscription.package));
    view.c.auth_rules_doc = rules.as_ptr();
    // SAFETY: the view lives through the call; a reason that the package sets is a text of its own that stays.
    unsafe {
        if function(&raw mut view.c) < 0 || !is_sound(&view.c.reason, MAX_TEXT, event, "get_auth_status") {
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
    let event = of(subscription.package)?;
    let apply = event.apply_auth_nbody.filter(|_| event.req_auth != 0 && rules.is_some_and(Rules::exist));
    if body.is_empty() || (event.aux_body_processing.is_none() && apply.is_none()) {
        return Ok(then(body));
    }
    let mut view = SubsView::new(subscription, raw_of(subscription.package));
    view.c.auth_rules_doc = rules.map_or(null_mut(), Rules::as_ptr);
    let copy = terminated(body);
    let mut in_place = InPlace::new(&copy, event);
    let own = &raw mut in_place.text;
    let mut current = own;
    let aux;
    if let Some(function) = event.aux_body_processing {
        // SAFETY: view and text live through the call. The package returns a document of its own, or null after it
        // has (maybe) changed the text in place, or put another one there.
        let made = unsafe { function(&raw mut view.c, own) };
        aux = Made::by("aux_body_processing", event, made, event.aux_free_body, &[own]);
        if aux.bytes()?.is_some() {
            current = aux.text;
        }
        // SAFETY: our text, or the package's document.
        check(unsafe { &*current }, &copy, event, "aux_body_processing")?;
    }
    if let Some(function) = apply {
        let mut made = null_mut();
        // SAFETY: as above.
        let result = unsafe { function(current, &raw mut view.c, &raw mut made) };
        let applied = Made::by("apply_auth_nbody", event, made, event.free_body, &[own, current]);
        if result < 0 {
            return Err(Fault::Package);
        }
        if let Some(document) = applied.bytes()? {
            return Ok(then(document));
        }
        // SAFETY: as above.
        check(unsafe { &*current }, &copy, event, "apply_auth_nbody")?;
    }
    // SAFETY: our copy, or the package's document, which `aux` keeps.
    Ok(then(unsafe { bytes(&*current) }))
}

/// A text that a package may have changed in place: within our copy (which ends with a 0) it cannot have grown.
fn check(text: &Str, copy: &[u8], event: &pres_ev_t, function: &str) -> Result<(), Fault> {
    let at = (text.s as usize).wrapping_sub(copy.as_ptr() as usize);
    let most = if at < copy.len() { copy.len() - 1 - at } else { MAX_TEXT };
    if is_sound(text, most, event, function) { Ok(()) } else { Err(Fault::Package) }
}

/// Hard state of a presentity (`get_pidf_doc`): the document; none if there is none.
pub fn hard_state(resource: Resource<'_>, file_uri: &[u8]) -> Result<Option<Vec<u8>>, Fault> {
    let event = of(resource.package)?;
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
        r if r < 0 || !document.are_sound(event, "get_pidf_doc") => {
            log!(Error, "the hard state of {} could not be read", show(resource.uri));
            Err(Fault::Package)
        }
        0 => Ok(None),
        _ => Ok(document.bytes().map(<[u8]>::to_vec)),
    }
}

/// Lets a package check the request that is being handled (`evs_publ_handl`, `evs_subs_handl`).
pub fn check_request(id: PackageId, publish: bool, msg: &mut kamailio::msg::Message<'_>) -> Result<(), Fault> {
    let event = of(id)?;
    let function = if publish { event.evs_publ_handl } else { event.evs_subs_handl };
    // SAFETY: the message that the host is processing.
    let verdict = function.map_or(0, |function| unsafe { function(msg.as_ptr()) });
    if verdict < 0 { Err(Fault::Package) } else { Ok(()) }
}
