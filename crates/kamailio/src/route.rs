//! Event routes of kamailio.cfg that a module runs itself.

use kamailio_shim as raw;

/// An `event_route[...]` that the script defines.
#[derive(Clone, Copy, Debug)]
pub struct EventRoute(i32);

impl EventRoute {
    /// Looks a route up by its full name ("presence:notify-reply"); none if the script has no such route.
    #[must_use]
    pub fn find(name: &core::ffi::CStr) -> Option<Self> {
        // SAFETY: the table of event routes is filled while the script is parsed and only read later.
        unsafe {
            let index = raw::route_lookup(&raw mut raw::event_rt, name.as_ptr().cast_mut());
            (index >= 0 && raw::ksr_event_route_is_set(index) != 0).then_some(Self(index))
        }
    }

    /// Runs the route over a request built from `buffer` (a whole SIP request), as the host runs local requests.
    /// False if the buffer is no SIP message.
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
            raw::ksr_run_event_route(self.0, &raw mut msg);
            raw::route_type = before;
            raw::free_sip_msg(&raw mut msg);
        }
        true
    }
}
