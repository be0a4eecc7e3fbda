//! One kind of operation after the other, round after round: each answer has its one code, everybody is told, and when
//! all is over nothing is left: no subscription, no publication, no row, no byte of shared memory, of the pkg memory of any
//! process, of the heap. Expiry, refusals and failures are kinds like the others.

mod account;
mod client;
mod kind;
mod list;
mod request;
mod rest;
mod trial;

pub use list::all;
pub use trial::Trial;
