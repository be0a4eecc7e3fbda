//! The C interface: what the host and other modules call, in their types. The only unsafe room of the module.

pub mod api;
pub mod commands;
pub mod packages;
pub mod pv;
pub mod rpc;
pub mod subs;
