//! `$subs(...)` and `$notify_reply(...)`.

use crate::params::settings;
use core::cell::{Cell, RefCell};
use core::ffi::c_int;
use core::ptr::{null, null_mut};
use kamailio::entry::guard;
use kamailio::log;
use kamailio::msg::Message;
use kamailio::pv::{Value, give};
use kamailio::raw;
use kamailio::str::{Str, bytes, literal, show};
use presence_core::status::Status;
use presence_core::subscription::{Field, Subscription};
use presence_core::time::Seconds;
use std::thread::LocalKey;

thread_local! {
    /// The subscription of the last SUBSCRIBE that this process handled, and which message that was.
    static LAST: RefCell<Option<(u32, Subscription)>> = const { RefCell::new(None) };
    /// The subscription whose NOTIFY is being sent or was answered, while a route runs for it.
    static CURRENT: Cell<*const Subscription> = const { Cell::new(null()) };
    /// The reply to that NOTIFY.
    static REPLY: Cell<*mut raw::sip_msg_t> = const { Cell::new(null_mut()) };
}

/// Remembers the subscription for the rest of this request's script (`pres_subs_mode`).
pub fn remember(msg: &Message<'_>, subscription: Option<Subscription>) {
    if settings().subs_pv {
        LAST.set(subscription.map(|subscription| (msg.id(), subscription)));
    }
}

/// Runs something while `$subs(...)` is this subscription.
pub fn with_current<R>(subscription: &Subscription, run: impl FnOnce() -> R) -> R {
    with(&CURRENT, subscription, run)
}

/// Runs something while `$notify_reply(...)` looks at this reply.
pub fn with_reply<R>(reply: *mut raw::sip_msg_t, run: impl FnOnce() -> R) -> R {
    with(&REPLY, reply, run)
}

/// Runs something while a cell has this value; it gets its old one back on every way out.
fn with<T: Copy, R>(cell: &'static LocalKey<Cell<T>>, value: T, run: impl FnOnce() -> R) -> R {
    struct Restore<T: Copy + 'static>(&'static LocalKey<Cell<T>>, T);
    impl<T: Copy> Drop for Restore<T> {
        fn drop(&mut self) {
            self.0.set(self.1);
        }
    }
    let _restore = Restore(cell, cell.replace(value));
    run()
}

/// A subscription as the script sees it.
#[derive(Clone, Copy)]
struct Seen<'s> {
    of: &'s Subscription,
    /// Seconds until it ends.
    left: Seconds,
    /// State and reason: the agreed ones, or those that a NOTIFY tells.
    state: (Status, &'s [u8]),
}

impl<'s> Seen<'s> {
    /// With a SUBSCRIBE: as it was agreed.
    fn agreed(of: &'s Subscription) -> Self {
        Self { of, left: left(of), state: (of.status, of.text(Field::Reason)) }
    }

    /// With a NOTIFY: as that says it.
    fn told(of: &'s Subscription) -> Self {
        Self { of, left: left(of), state: of.told_state(left(of)) }
    }
}

fn left(subscription: &Subscription) -> Seconds {
    subscription.expires.since(crate::host::now().unix)
}

type Attribute = for<'s> fn(Seen<'s>) -> Value<'s>;

macro_rules! text {
    ($field:ident) => {
        |s| Value::Text(s.of.text(Field::$field))
    };
}

/// The attributes, by their names in the script.
const ATTRIBUTES: &[(&str, Attribute)] = &[
    ("uri", |s| Value::Text(&s.of.presentity)),
    ("pres_uri", |s| Value::Text(&s.of.presentity)),
    ("to_user", text!(ToUser)),
    ("to_domain", text!(ToDomain)),
    ("from_user", text!(FromUser)),
    ("from_domain", text!(FromDomain)),
    ("watcher_username", text!(WatcherUser)),
    ("watcher_domain", text!(WatcherDomain)),
    ("event", event_name),
    ("event_id", |s| Value::Text(s.of.event_id())),
    ("to_tag", text!(ToTag)),
    ("from_tag", text!(FromTag)),
    ("callid", text!(CallId)),
    ("remote_cseq", |s| Value::Unsigned(s.of.remote_cseq)),
    ("local_cseq", |s| Value::Unsigned(s.of.local_cseq)),
    ("contact", text!(Contact)),
    ("local_contact", text!(LocalContact)),
    ("record_route", text!(RecordRoute)),
    ("expires", |s| Value::Unsigned(s.left.0)),
    ("status", |s| Value::Unsigned(u32::from(s.state.0 as u8))),
    ("reason", |s| Value::Text(s.state.1)),
    ("version", |s| Value::Signed(s.of.version as i32)),
    ("flags", |s| Value::Signed(s.of.branch_flags as i32)),
    ("user_agent", text!(UserAgent)),
    ("sockinfo", text!(Socket)),
];

fn event_name(seen: Seen<'_>) -> Value<'_> {
    let event = super::packages::raw_of(seen.of.package);
    // SAFETY: null or a structure of the registry, whose name stays.
    unsafe { event.as_ref() }.map_or(Value::Null, |e| Value::Text(unsafe { bytes(&e.name) }))
}

unsafe extern "C" fn parse_subs(spec: *mut raw::pv_spec_t, name: *mut raw::str_) -> c_int {
    guard("$subs", -1, || {
        // SAFETY: the host's own structures, while the script is parsed.
        let (Some(spec), Some(name)) = (unsafe { spec.as_mut() }, unsafe { name.as_ref() }) else { return -1 };
        // SAFETY: as above.
        let name = unsafe { bytes(name) };
        let Some(index) = ATTRIBUTES.iter().position(|(n, _)| n.as_bytes() == name) else {
            log!(Error, "$subs({}): there is no such attribute", show(name));
            return -1;
        };
        spec.pvp.pvn.type_ = raw::PV_NAME_INTSTR as c_int;
        spec.pvp.pvn.u.isname.type_ = 0;
        spec.pvp.pvn.u.isname.name.n = index as _;
        0
    })
}

unsafe extern "C" fn get_subs(
    msg: *mut raw::sip_msg_t,
    param: *mut raw::pv_param_t,
    result: *mut raw::pv_value_t,
) -> c_int {
    guard("$subs", -1, || {
        // SAFETY: the parameter that `parse_subs` filled.
        let index = unsafe { (*param).pvn.u.isname.name.n } as usize;
        let Some((_, attribute)) = ATTRIBUTES.get(index) else { return -1 };
        if !settings().subs_pv {
            // SAFETY: passed on to the host.
            return unsafe { give(msg, param, result, Value::Null) };
        }
        // SAFETY: `with_current` keeps the subscription alive while the pointer is set.
        if let Some(current) = unsafe { CURRENT.get().as_ref() } {
            // SAFETY: passed on to the host.
            return unsafe { give(msg, param, result, attribute(Seen::told(current))) };
        }
        // DIFFERS: with the C module a later message in the same process still sees the last SUBSCRIBE.
        // SAFETY: the message that the script works on, or null.
        let id = unsafe { Message::from_raw(msg) }.map(|msg| msg.id());
        LAST.with_borrow(|last| {
            let last = last.as_ref().filter(|(of, _)| Some(*of) == id);
            let value = last.map_or(Value::Null, |(_, subscription)| attribute(Seen::agreed(subscription)));
            // SAFETY: passed on to the host; the text stays until the next SUBSCRIBE.
            unsafe { give(msg, param, result, value) }
        })
    })
}

unsafe extern "C" fn parse_notify_reply(spec: *mut raw::pv_spec_t, name: *mut raw::str_) -> c_int {
    guard("$notify_reply", -1, || {
        // SAFETY: the host's own structures, while the script is parsed. The inner variable stays for good.
        unsafe {
            let (Some(spec), Some(text)) = (spec.as_mut(), name.as_ref()) else { return -1 };
            let inner: *mut raw::pv_spec_t = Box::into_raw(Box::new(core::mem::zeroed()));
            if raw::pv_parse_spec2(name, inner, 1).is_null() {
                log!(Error, "$notify_reply({}): there is no such variable", show(bytes(text)));
                drop(Box::from_raw(inner));
                return -1;
            }
            spec.pvp.pvn.u.dname = inner.cast();
            spec.pvp.pvn.type_ = raw::PV_NAME_PVAR as c_int;
            0
        }
    })
}

unsafe extern "C" fn get_notify_reply(
    msg: *mut raw::sip_msg_t,
    param: *mut raw::pv_param_t,
    result: *mut raw::pv_value_t,
) -> c_int {
    guard("$notify_reply", -1, || {
        // SAFETY: the parameter that `parse_notify_reply` filled; the reply is valid while it is set.
        unsafe {
            let inner = (*param).pvn.u.dname.cast::<raw::pv_spec_t>();
            let reply = REPLY.get();
            if inner.is_null() || reply.is_null() {
                return give(msg, param, result, Value::Null);
            }
            raw::pv_get_spec_value(reply, inner, result)
        }
    })
}

const fn variable(
    name: &'static str,
    get: unsafe extern "C" fn(*mut raw::sip_msg_t, *mut raw::pv_param_t, *mut raw::pv_value_t) -> c_int,
    parse: unsafe extern "C" fn(*mut raw::pv_spec_t, *mut raw::str_) -> c_int,
) -> raw::pv_export_t {
    raw::pv_export_t {
        name: Str { ..literal(name) },
        type_: raw::PVT_OTHER,
        getf: Some(get),
        setf: None,
        parse_name: Some(parse),
        parse_index: None,
        init_param: None,
        iparam: 0,
    }
}

/// The host's table.
pub static TABLE: kamailio::module::Table<raw::pv_export_t, 3> = kamailio::module::Table::new([
    variable("subs", get_subs, parse_subs),
    variable("notify_reply", get_notify_reply, parse_notify_reply),
    // SAFETY: an empty entry ends the table.
    unsafe { core::mem::zeroed() },
]);

/// Phrase, Call-ID and CSeq as scripts know them from the C module; From and To can be parsed.
const NO_ANSWER: &[u8] = b"SIP/2.0 408 TIMEOUT\r\nVia: SIP/2.0/UDP 127.0.0.1\r\nFrom: <sip:nobody@invalid>\r\n\
To: <sip:nobody@invalid>\r\nCall-ID: invalid\r\nCSeq: 1 TIMEOUT\r\nContent-Length: 0\r\n\r\n";

/// A reply that says that there was none, for `$notify_reply(...)`.
pub fn no_answer() -> *mut raw::sip_msg_t {
    thread_local! {
        static MADE: Cell<*mut raw::sip_msg_t> = const { Cell::new(null_mut()) };
    }
    if MADE.get().is_null() {
        // SAFETY: a zeroed message is what the builder expects; it stays for the life of the process.
        unsafe {
            let msg: *mut raw::sip_msg_t = Box::into_raw(Box::new(core::mem::zeroed()));
            // The host's parsers may write into the text for a moment.
            let text: &'static mut [u8] = NO_ANSWER.to_vec().leak();
            let built =
                raw::build_sip_msg_from_buf(msg, text.as_mut_ptr().cast(), text.len() as c_int, raw::inc_msg_no());
            if built >= 0 {
                MADE.set(msg);
            } else {
                drop(Box::from_raw(msg));
            }
        }
    }
    MADE.get()
}
