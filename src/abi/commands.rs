//! Script functions, for kamailio.cfg and for KEMI, and the table of both.

use crate::commands;
use crate::params::settings;
use core::ffi::{CStr, c_char, c_int, c_void};
use kamailio::entry::guard;
use kamailio::kemi::{self, Kind};
use kamailio::log;
use kamailio::module::{Routes, Table, command, last_command};
use kamailio::msg::Message;
use kamailio::raw;
use kamailio::str::{Str, bytes, none};

/// The message that a function is called for.
///
/// # Safety
/// As [`Message::from_raw`].
unsafe fn message<'a>(msg: *mut raw::sip_msg_t) -> Option<Message<'a>> {
    // SAFETY: the caller's promise.
    let message = unsafe { Message::from_raw(msg) };
    if message.is_none() {
        log!(Error, "a function that needs a message is called without");
    }
    message
}

/// A parameter of a script function, as its fixup left it: a text with pseudo-variables, evaluated now.
///
/// # Safety
/// Both are what the host passed to the function.
unsafe fn text<'a>(msg: *mut raw::sip_msg_t, param: *mut c_char) -> Option<&'a [u8]> {
    let mut value: Str = none();
    // SAFETY: the caller's promise; the text stays until the host evaluates the next one in the same buffer slot.
    unsafe {
        if raw::get_str_fparam(&raw mut value, msg, param.cast()) != 0 {
            log!(Error, "a parameter of the function has no value");
            return None;
        }
        Some(bytes(&value))
    }
}

/// As [`text`], copied: for functions with several parameters.
///
/// # Safety
/// As [`text`].
unsafe fn texts<const N: usize>(msg: *mut raw::sip_msg_t, params: [*mut c_char; N]) -> Option<[Vec<u8>; N]> {
    let mut values = [const { Vec::new() }; N];
    for (value, param) in values.iter_mut().zip(params) {
        // SAFETY: the caller's promise.
        *value = unsafe { text(msg, param)? }.to_vec();
    }
    Some(values)
}

/// A number that is a parameter of a script function.
///
/// # Safety
/// As [`text`].
unsafe fn number(msg: *mut raw::sip_msg_t, param: *mut c_char) -> Option<i32> {
    let mut value = 0;
    // SAFETY: the caller's promise.
    (unsafe { raw::get_int_fparam(&raw mut value, msg, param.cast()) } == 0).then_some(value)
}

/// The texts of a `str*` from KEMI or C.
///
/// # Safety
/// `s` is null or a valid `str`.
unsafe fn of_str<'a>(s: *const Str) -> Option<&'a [u8]> {
    // SAFETY: the caller's promise.
    unsafe { s.as_ref().map(|s| bytes(s)) }
}

/// `handle_publish([sender_uri])`; `presence_api_t.handle_publish`.
///
/// # Safety
/// Called by the host with its own pointers.
pub unsafe extern "C" fn handle_publish(msg: *mut raw::sip_msg_t, sender: *mut c_char, _: *mut c_char) -> c_int {
    guard("handle_publish", -1, || {
        // SAFETY: the host's message; the parameter is null or fixed up.
        unsafe {
            let Some(mut message) = message(msg) else { return -1 };
            let sender = if sender.is_null() { None } else { Some(text(msg, sender)) };
            match sender {
                Some(None) => -1,
                Some(Some(uri)) => commands::handle_publish(&mut message, Some(uri)),
                None => commands::handle_publish(&mut message, None),
            }
        }
    })
}

unsafe extern "C" fn ki_handle_publish(msg: *mut raw::sip_msg_t) -> c_int {
    // SAFETY: passed on.
    unsafe { handle_publish(msg, core::ptr::null_mut(), core::ptr::null_mut()) }
}

unsafe extern "C" fn ki_handle_publish_uri(msg: *mut raw::sip_msg_t, sender: *mut Str) -> c_int {
    guard("handle_publish_uri", -1, || {
        // SAFETY: the host's own.
        unsafe {
            let Some(mut message) = message(msg) else { return -1 };
            commands::handle_publish(&mut message, of_str(sender))
        }
    })
}

/// `handle_subscribe()`; `presence_api_t.handle_subscribe0`.
///
/// # Safety
/// Called by the host with its own pointers.
pub unsafe extern "C" fn handle_subscribe0(msg: *mut raw::sip_msg_t) -> c_int {
    guard("handle_subscribe", -1, || {
        // SAFETY: the host's message.
        unsafe { message(msg) }.map_or(-1, |mut message| commands::handle_subscribe(&mut message, None))
    })
}

unsafe extern "C" fn w_handle_subscribe0(msg: *mut raw::sip_msg_t, _: *mut c_char, _: *mut c_char) -> c_int {
    // SAFETY: passed on.
    unsafe { handle_subscribe0(msg) }
}

unsafe extern "C" fn w_handle_subscribe(msg: *mut raw::sip_msg_t, watcher: *mut c_char, _: *mut c_char) -> c_int {
    guard("handle_subscribe", -1, || {
        // SAFETY: the host's message and a fixed up parameter.
        unsafe {
            let Some(mut message) = message(msg) else { return -1 };
            text(msg, watcher).map_or(-1, |uri| commands::handle_subscribe_uri(&mut message, uri))
        }
    })
}

unsafe extern "C" fn ki_handle_subscribe_uri(msg: *mut raw::sip_msg_t, watcher: *mut Str) -> c_int {
    guard("handle_subscribe_uri", -1, || {
        // SAFETY: the host's own.
        unsafe {
            let Some(mut message) = message(msg) else { return -1 };
            commands::handle_subscribe_uri(&mut message, of_str(watcher).unwrap_or_default())
        }
    })
}

/// `presence_api_t.handle_subscribe`.
///
/// # Safety
/// Called by another module with the host's message and texts that live through the call.
pub unsafe extern "C" fn handle_subscribe(msg: *mut raw::sip_msg_t, user: Str, domain: Str) -> c_int {
    guard("handle_subscribe", -1, || {
        // SAFETY: the caller's promise.
        unsafe {
            let Some(mut message) = message(msg) else { return -1 };
            let watcher = kamailio::uri::UserHost { user: bytes(&user), host: bytes(&domain) };
            commands::handle_subscribe(&mut message, Some(watcher))
        }
    })
}

unsafe extern "C" fn w_auth_status(msg: *mut raw::sip_msg_t, watcher: *mut c_char, presentity: *mut c_char) -> c_int {
    guard("pres_auth_status", -1, || {
        // SAFETY: fixed up parameters.
        unsafe { texts(msg, [watcher, presentity]) }.map_or(-1, |[w, p]| commands::auth_status(&w, &p))
    })
}

unsafe extern "C" fn ki_auth_status(_: *mut raw::sip_msg_t, watcher: *mut Str, presentity: *mut Str) -> c_int {
    guard("pres_auth_status", -1, || {
        // SAFETY: the host's own.
        let (watcher, presentity) = unsafe { (of_str(watcher), of_str(presentity)) };
        commands::auth_status(watcher.unwrap_or_default(), presentity.unwrap_or_default())
    })
}

/// `presence_api_t.pres_auth_status`.
///
/// # Safety
/// Called by another module with texts that live through the call.
pub unsafe extern "C" fn auth_status(_: *mut raw::sip_msg_t, watcher: Str, presentity: Str) -> c_int {
    // SAFETY: the caller's promise.
    guard("pres_auth_status", -1, || unsafe { commands::auth_status(bytes(&watcher), bytes(&presentity)) })
}

unsafe extern "C" fn w_has_subscribers(msg: *mut raw::sip_msg_t, presentity: *mut c_char, event: *mut c_char) -> c_int {
    guard("pres_has_subscribers", -1, || {
        // SAFETY: fixed up parameters.
        unsafe { texts(msg, [presentity, event]) }.map_or(-1, |[p, e]| commands::has_subscribers(&p, &e))
    })
}

unsafe extern "C" fn ki_has_subscribers(_: *mut raw::sip_msg_t, presentity: *mut Str, event: *mut Str) -> c_int {
    guard("pres_has_subscribers", -1, || {
        // SAFETY: the host's own.
        let (presentity, event) = unsafe { (of_str(presentity), of_str(event)) };
        commands::has_subscribers(presentity.unwrap_or_default(), event.unwrap_or_default())
    })
}

unsafe extern "C" fn w_update_watchers(msg: *mut raw::sip_msg_t, presentity: *mut c_char, event: *mut c_char) -> c_int {
    guard("pres_update_watchers", -1, || {
        // SAFETY: fixed up parameters.
        unsafe { texts(msg, [presentity, event]) }.map_or(-1, |[p, e]| commands::update_watchers(&p, &e))
    })
}

unsafe extern "C" fn ki_update_watchers(_: *mut raw::sip_msg_t, presentity: *mut Str, event: *mut Str) -> c_int {
    guard("pres_update_watchers", -1, || {
        // SAFETY: the host's own.
        let (presentity, event) = unsafe { (of_str(presentity), of_str(event)) };
        commands::update_watchers(presentity.unwrap_or_default(), event.unwrap_or_default())
    })
}

unsafe extern "C" fn w_refresh_watchers(
    msg: *mut raw::sip_msg_t,
    presentity: *mut c_char,
    event: *mut c_char,
    kind: *mut c_char,
) -> c_int {
    guard("pres_refresh_watchers", -1, || {
        // SAFETY: fixed up parameters.
        let (values, kind) = unsafe { (texts(msg, [presentity, event]), number(msg, kind)) };
        let (Some([presentity, event]), Some(kind)) = (values, kind) else { return -1 };
        if kind == 2 {
            log!(Error, "pres_refresh_watchers: type 2 takes a file URI and a file name");
            return -1;
        }
        commands::refresh_watchers(&presentity, &event, kind, None)
    })
}

unsafe extern "C" fn w_refresh_watchers_file(
    msg: *mut raw::sip_msg_t,
    presentity: *mut c_char,
    event: *mut c_char,
    kind: *mut c_char,
    file_uri: *mut c_char,
    file_name: *mut c_char,
) -> c_int {
    guard("pres_refresh_watchers", -1, || {
        // SAFETY: fixed up parameters.
        let (values, kind) = unsafe { (texts(msg, [presentity, event, file_uri, file_name]), number(msg, kind)) };
        let (Some([presentity, event, file_uri, file_name]), Some(kind)) = (values, kind) else { return -1 };
        if kind != 2 {
            log!(Error, "pres_refresh_watchers: type {kind} takes no file");
            return -1;
        }
        commands::refresh_watchers(&presentity, &event, kind, Some((&file_uri, &file_name)))
    })
}

/// For C and KEMI `pres_refresh_watchers` is done with 0, as with the C module; for kamailio.cfg, where 0 would end the
/// script, with 1.
pub const fn zero_for_done(code: c_int) -> c_int {
    if code == 1 { 0 } else { code }
}

unsafe extern "C" fn ki_refresh_watchers(
    _: *mut raw::sip_msg_t,
    presentity: *mut Str,
    event: *mut Str,
    kind: c_int,
) -> c_int {
    guard("pres_refresh_watchers", -1, || {
        // SAFETY: the host's own.
        let (presentity, event) = unsafe { (of_str(presentity), of_str(event)) };
        let (presentity, event) = (presentity.unwrap_or_default(), event.unwrap_or_default());
        zero_for_done(commands::refresh_watchers(presentity, event, kind, None))
    })
}

unsafe extern "C" fn ki_refresh_watchers_file(
    _: *mut raw::sip_msg_t,
    presentity: *mut Str,
    event: *mut Str,
    kind: c_int,
    file_uri: *mut Str,
    file_name: *mut Str,
) -> c_int {
    guard("pres_refresh_watchers", -1, || {
        // SAFETY: the host's own.
        let (presentity, event, file, name) =
            unsafe { (of_str(presentity), of_str(event), of_str(file_uri), of_str(file_name)) };
        let (presentity, event) = (presentity.unwrap_or_default(), event.unwrap_or_default());
        zero_for_done(commands::refresh_watchers(presentity, event, kind, file.zip(name)))
    })
}

/// For `handle_publish` and `handle_subscribe`: a module that is only a library has nothing to serve requests from.
unsafe extern "C" fn fixup_serving(param: *mut *mut c_void, number: c_int) -> c_int {
    guard("fixup", -1, || {
        if settings().library {
            log!(
                Error,
                "handle_publish or handle_subscribe is called and modparam db_url is not set: set it, or publ_cache to 2 \
                 and subs_db_mode to 0"
            );
            return -1;
        }
        // SAFETY: the host's own parameter; number 0 is that of a call without parameters.
        if number == 0 { 0 } else { unsafe { raw::fixup_spve_null(param, 1) } }
    })
}

unsafe extern "C" fn fixup_texts(param: *mut *mut c_void, _: c_int) -> c_int {
    // SAFETY: the host's own parameter.
    unsafe { raw::fixup_spve_null(param, 1) }
}

unsafe extern "C" fn fixup_refresh(param: *mut *mut c_void, number: c_int) -> c_int {
    // SAFETY: the host's own parameter.
    unsafe { if number == 3 { raw::fixup_igp_null(param, 1) } else { raw::fixup_spve_null(param, 1) } }
}

/// A function of another shape in the host's one type of script functions, which it calls by the number of parameters.
macro_rules! as_command {
    ($function:expr, fn($($arg:ty),*) -> c_int) => {
        // SAFETY: the host calls a function with as many parameters as its entry says.
        Some(unsafe {
            core::mem::transmute::<unsafe extern "C" fn($($arg),*) -> c_int, kamailio::module::Command>($function)
        })
    };
}

type Msg = *mut raw::sip_msg_t;
type Param = *mut c_char;

/// The script functions.
pub static COMMANDS: Table<raw::cmd_export_t, 11> = Table::new([
    command(c"handle_publish", Some(handle_publish), 0, Some(fixup_serving), Routes::Request),
    command(c"handle_publish", Some(handle_publish), 1, Some(fixup_serving), Routes::Request),
    command(c"handle_subscribe", Some(w_handle_subscribe0), 0, Some(fixup_serving), Routes::Request),
    command(c"handle_subscribe", Some(w_handle_subscribe), 1, Some(fixup_serving), Routes::Request),
    command(c"pres_auth_status", Some(w_auth_status), 2, Some(fixup_texts), Routes::Request),
    command(
        c"pres_refresh_watchers",
        as_command!(w_refresh_watchers, fn(Msg, Param, Param, Param) -> c_int),
        3,
        Some(fixup_refresh),
        Routes::Any,
    ),
    command(
        c"pres_refresh_watchers",
        as_command!(w_refresh_watchers_file, fn(Msg, Param, Param, Param, Param, Param) -> c_int),
        5,
        Some(fixup_refresh),
        Routes::Any,
    ),
    command(c"pres_update_watchers", Some(w_update_watchers), 2, Some(fixup_texts), Routes::Any),
    command(c"pres_has_subscribers", Some(w_has_subscribers), 2, Some(fixup_texts), Routes::Any),
    command(
        c"bind_presence",
        as_command!(super::api::bind_presence, fn(*mut raw::presence_api_t) -> c_int),
        1,
        None,
        Routes::Bind,
    ),
    last_command(),
]);

const fn script(name: &'static CStr, function: *mut c_void, params: &[Kind]) -> raw::sr_kemi_t {
    kemi::function(c"presence", name, function, params)
}

/// The functions for scripts in other languages.
pub static KEMI: Table<raw::sr_kemi_t, 10> = Table::new([
    script(c"handle_publish", ki_handle_publish as *mut c_void, &[]),
    script(c"handle_publish_uri", ki_handle_publish_uri as *mut c_void, &[Kind::Text]),
    script(c"handle_subscribe", handle_subscribe0 as *mut c_void, &[]),
    script(c"handle_subscribe_uri", ki_handle_subscribe_uri as *mut c_void, &[Kind::Text]),
    script(c"pres_refresh_watchers", ki_refresh_watchers as *mut c_void, &[Kind::Text, Kind::Text, Kind::Int]),
    script(
        c"pres_refresh_watchers_file",
        ki_refresh_watchers_file as *mut c_void,
        &[Kind::Text, Kind::Text, Kind::Int, Kind::Text, Kind::Text],
    ),
    script(c"pres_update_watchers", ki_update_watchers as *mut c_void, &[Kind::Text, Kind::Text]),
    script(c"pres_has_subscribers", ki_has_subscribers as *mut c_void, &[Kind::Text, Kind::Text]),
    script(c"pres_auth_status", ki_auth_status as *mut c_void, &[Kind::Text, Kind::Text]),
    kemi::last_function(),
]);
