//! The C interface: what the host and other modules call, in their types. The module's unsafe room; the only unsafe
//! lines elsewhere are those that refuse a modparam (`params`).

pub mod api;
mod callbacks;
pub mod commands;
mod flush;
pub mod packages;
pub mod pv;
mod reader;
pub mod rpc;
pub mod subs;
mod tables;
