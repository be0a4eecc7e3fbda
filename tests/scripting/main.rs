//! x
mod probe;
mod rules;
