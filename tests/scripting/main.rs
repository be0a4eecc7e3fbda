//! What scripts use: functions, variables, event routes and parameters, for kamailio.cfg and for KEMI scripts.
//!
//! The same tests run with this module and, with `PRESENCE_SO=stock`, with Kamailio's own. Where that one cannot pass,
//! the test says why, and fails there.

mod codes;
mod dropped;
mod engines;
mod expires;
mod holding;
mod logs;
mod matching;
mod order;
mod probe;
mod replies;
mod routes;
mod rules;
mod sweeps;
mod variables;
