//! Connections over TCP, TLS and WebSocket.

use kamailio_shim as raw;

/// Whether a connection is still there, by its number ([`crate::msg::Message::connection`]). One that was closed by
/// either side, was idle for too long or failed is not.
#[must_use]
pub fn exists(connection: i32) -> bool {
    debug_assert_eq!(crate::lock::held(), 0, "nothing is called under a lock");
    // SAFETY: looks a number up under the host's own lock. There are numbers only where the host made connections.
    unsafe { raw::ksr_connection_exists(connection) != 0 }
}
