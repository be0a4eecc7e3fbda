//! The cases: what the ends do. What must come of it is recorded.

mod notify;
mod publish;
mod subscribe;

use crate::scene::Scene;

/// One case: its name and its steps.
#[derive(Clone, Copy, Debug)]
pub struct Case {
    /// The name of its recording, and the user name of its presentity.
    pub name: &'static str,
    /// Its steps.
    pub play: fn(&mut Scene),
}

/// All cases.
pub fn all() -> impl Iterator<Item = Case> {
    [publish::CASES, subscribe::CASES, notify::CASES].into_iter().flatten().copied()
}

const fn case(name: &'static str, play: fn(&mut Scene)) -> Case {
    Case { name, play }
}
