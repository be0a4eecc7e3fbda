//! Events that a module tells the script of: event routes of kamailio.cfg, callbacks of KEMI scripts.

use crate::str::{borrow, terminated};
use kamailio_shim as raw;

/// What the script wants to be run for an event.
#[derive(Clone, Copy, Debug)]
pub struct EventRoute {
    name: &'static core::ffi::CStr,
    handler: Handler,
}

#[derive(Clone, Copy, Debug)]
enum Handler {
    /// `event_route[...]`, by its index.
    Route(i32),
    /// A function of a KEMI script, by its name.
    Function(&'static [u8]),
}

impl EventRoute {
    /// Looks a route up by its full name ("presence:notify-reply"). Without such a route the KEMI script's function
    /// `callback` is called with that name, if the script is one. None if the script has neither.
    #[must_use]
    pub fn find(name: &'static core::ffi::CStr, callback: Option<&'static [u8]>) -> Option<Self> {
        // SAFETY: the table of event routes is filled while the script is parsed and only read later; so is the
        // engine, which `cfgengine` names.
        unsafe {
            let index = raw::route_lookup(&raw mut raw::event_rt, name.as_ptr().cast_mut());
            if index >= 0 && raw::ksr_event_route_is_set(index) != 0 {
                return Some(Self { name, handler: Handler::Route(index) });
            }
            let function = callback.filter(|_| !raw::sr_kemi_eng_get().is_null())?;
            Some(Self { name, handler: Handler::Function(function) })
        }
    }

    /// Runs the script over a request built from `buffer` (a whole SIP request), as the host runs local requests.
    /// False if the buffer is no SIP message, or if the script has no such function.
    pub fn run_over(self, buffer: &[u8]) -> bool {
        debug_assert_eq!(crate::lock::held(), 0, "no script under a lock");
        let Ok(len) = i32::try_from(buffer.len()) else { return false };
        // SAFETY: a zeroed sip_msg is what the builder expects; it is freed on every way out; the buffer outlives it.
        unsafe {
            let mut msg: raw::sip_msg_t = core::mem::zeroed();
            let built =
                raw::build_sip_msg_from_buf(&raw mut msg, buffer.as_ptr().cast_mut().cast(), len, raw::inc_msg_no());
            if built < 0 {
                return false;
            }
            let before = raw::route_type;
            raw::route_type = raw::LOCAL_ROUTE as i32;
            let done = match self.handler {
                Handler::Route(index) => {
                    raw::ksr_run_event_route(index, &raw mut msg);
                    true
                }
                Handler::Function(function) => call(function, self.name, &mut msg),
            };
            raw::route_type = before;
            raw::free_sip_msg(&raw mut msg);
            done
        }
    }
}

/// Calls a function of the KEMI script with an event's name.
///
/// # Safety
/// `msg` is a whole message.
unsafe fn call(function: &[u8], event: &'static core::ffi::CStr, msg: &mut raw::sip_msg_t) -> bool {
    let mut function = borrow(function);
    let mut event = terminated(event);
    // SAFETY: a zeroed context is a fresh one; engine, names and message live through the call.
    unsafe {
        let engine = raw::sr_kemi_eng_get();
        if engine.is_null() {
            return false;
        }
        let mut context: raw::run_act_ctx_t = core::mem::zeroed();
        let kind = raw::EVENT_ROUTE as i32;
        raw::sr_kemi_ctx_route(engine, &raw mut context, msg, kind, &raw mut function, &raw mut event) >= 0
    }
}
