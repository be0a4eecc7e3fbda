//! The one way in: every function that C calls runs its body inside [`guard`], so that no panic crosses into C and
//! none stops the server.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Runs `body`; a panic in it is logged and `failed` is returned instead.
///
/// Locks are released by the unwinding of their guards; a structure that was being changed under a lock is left as
/// the last completed step made it, which is why changes under a lock neither allocate nor call out.
pub fn guard<R>(name: &str, failed: R, body: impl FnOnce() -> R) -> R {
    match catch_unwind(AssertUnwindSafe(body)) {
        Ok(value) => value,
        Err(payload) => {
            crate::log!(Critical, "a defect in {name}: {}", message(payload.as_ref()));
            failed
        }
    }
}

fn message(payload: &(dyn Any + Send)) -> &str {
    payload
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| payload.downcast_ref::<&str>().copied())
        .unwrap_or("no message")
}

/// Sends the place of a panic to the server's log instead of standard error, which a daemon does not have.
pub fn install_panic_hook() {
    std::panic::set_hook(Box::new(|info| {
        if let Some(place) = info.location() {
            crate::log!(Critical, "panic at {}:{}", place.file(), place.line());
        }
    }));
}
