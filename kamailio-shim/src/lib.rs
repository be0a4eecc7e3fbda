//! The Kamailio host, raw: what bindgen reads from the headers of one version, and the functions of `shim.c`.
//!
//! Nothing here is safe or checked; [`kamailio`](../kamailio/index.html) is the crate to use. The layouts of all
//! structures are asserted at compile time (bindgen's layout tests).

#[allow(
    non_camel_case_types,
    non_upper_case_globals,
    non_snake_case,
    missing_docs,
    unreachable_pub,
    unsafe_op_in_unsafe_fn,
    clippy::all,
    clippy::pedantic,
    clippy::undocumented_unsafe_blocks,
    clippy::missing_safety_doc
)]
mod bindings {
    include!(concat!(env!("OUT_DIR"), "/bindings.rs"));
}
pub use bindings::*;

include!(concat!(env!("OUT_DIR"), "/identity.rs"));

/// The flag of a parameter that is a function instead of a cell (checked against the headers by `shim.c`).
pub const PARAM_USE_FUNC: modparam_t = 1 << 31;
/// The flag of an RPC command that answers with a list (checked against the headers by `shim.c`).
pub const RPC_ANSWERS_ARRAY: u32 = 1;
