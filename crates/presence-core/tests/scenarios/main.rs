//! Journeys through the server in every `subs_db_mode`, and what the modes promise each for itself.

// One file, once for each mode: the journeys are the same wherever subscriptions are kept.
#![allow(clippy::duplicate_mod)]

mod answers;
#[path = "journeys.rs"]
mod database;
mod ghosts;
mod intervals;
mod lists;
#[path = "journeys.rs"]
mod memory;
mod reads;
mod rests;
mod storage;
mod turns;
#[path = "journeys.rs"]
mod write_back;
#[path = "journeys.rs"]
mod write_through;
