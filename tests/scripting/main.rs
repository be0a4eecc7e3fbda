//! x
mod probe;
mod rules;
mod codes;
mod engines;
mod variables;
mod replies;
mod dropped;
