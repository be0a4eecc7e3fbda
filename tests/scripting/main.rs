//! x
mod probe;
mod rules;
mod codes;
mod engines;
mod variables;
