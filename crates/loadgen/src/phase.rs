//! What a run consists of.

use crate::request::{Publish, Subscribe};
use std::collections::BTreeMap;
use std::ops::Range;
use std::str::FromStr;
use std::time::Duration;

/// A part of a run that is measured by itself.
#[derive(Clone, PartialEq, Debug)]
pub enum Phase {
    /// OPTIONS: what the host costs by itself.
    Options {
        /// How many.
        count: u32,
    },
    /// New publications of `count` presentities, from number `first` on.
    Publish {
        /// How many.
        count: u32,
        /// The first one's number.
        first: u32,
    },
    /// Every publication, or a part of them: another document, another lifetime, or the end.
    Republish(Publish, Part),
    /// New watchers of `presentities`, one after the other, from number `first` on.
    Subscribe {
        /// How many watchers.
        count: u32,
        /// Of how many presentities.
        presentities: u32,
        /// The first one's number.
        first: u32,
    },
    /// Every dialog, or a part of them: another lifetime, or the end.
    Resubscribe(Subscribe, Part),
    /// Publishers and watchers at the same time, each with its own steps.
    Mix(Mix),
    /// One presentity changes, and its watchers are told.
    Fanout(Fanout),
    /// Nothing; NOTIFYs are answered all the same.
    Listen(Duration),
}

/// One of `of` parts of about the same size. Of publications and dialogs it is every `of`-th one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Part {
    /// Which one, from 0 on.
    pub index: u32,
    /// Of how many.
    pub of: u32,
}

impl Part {
    /// All of it.
    pub const WHOLE: Self = Self { index: 0, of: 1 };

    /// The part of `count` things.
    #[must_use]
    pub fn range(self, count: u32) -> Range<u32> {
        let bound = |index: u32| (u64::from(count) * u64::from(index) / u64::from(self.of.max(1))) as u32;
        bound(self.index)..bound(self.index + 1)
    }

    /// The part of a number of places.
    pub(crate) fn places(self, count: usize) -> impl Iterator<Item = usize> {
        (self.index as usize..count).step_by(self.of.max(1) as usize)
    }

    /// A part of this part.
    fn part(self, part: Self) -> Self {
        Self { index: self.index + self.of * part.index, of: self.of * part.of }
    }
}

impl Phase {
    /// A part of a phase of publications, dialogs or a fan-out: all parts together do what the phase does.
    #[must_use]
    pub fn part(&self, part: Part) -> Self {
        match *self {
            Self::Publish { count, first } => {
                let range = part.range(count);
                Self::Publish { count: range.end - range.start, first: first + range.start }
            }
            Self::Subscribe { count, presentities, first } if count == presentities => {
                let range = part.range(count);
                let count = range.end - range.start;
                Self::Subscribe { count, presentities: count, first: first + range.start }
            }
            Self::Subscribe { count, presentities: 1, first } => {
                let range = part.range(count);
                Self::Subscribe { count: range.end - range.start, presentities: 1, first }
            }
            Self::Republish(step, whole) => Self::Republish(step, whole.part(part)),
            Self::Resubscribe(step, whole) => Self::Resubscribe(step, whole.part(part)),
            Self::Fanout(fanout) => {
                let range = part.range(fanout.rounds);
                Self::Fanout(Fanout { rounds: range.end - range.start, ..fanout })
            }
            ref whole if part.index == 0 => whole.clone(),
            _ => Self::Listen(Duration::ZERO),
        }
    }
}

/// Publishers and watchers at the same time, in a random order. Each does its steps one after the other.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Mix {
    /// Publications, of the presentities from 0 on.
    pub publishers: u32,
    /// What each publication goes through.
    pub publish: Vec<Publish>,
    /// Watchers.
    pub watchers: u32,
    /// Of how many presentities, from 0 on.
    pub watched: u32,
    /// What each dialog goes through.
    pub subscribe: Vec<Subscribe>,
    /// Of the order.
    pub seed: u64,
}

/// One presentity changes, and its watchers are told.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Fanout {
    /// Its number.
    pub presentity: u32,
    /// How often; each time all watchers are waited for.
    pub rounds: u32,
    /// PUBLISHes of a round, each sent when the one before it of its client was answered, whoever was told by then. What
    /// counts is that every watcher ends up with the last.
    pub burst: u32,
    /// Clients that share them, at the same time: 1 or 2, each with a publication of its own.
    pub clients: u32,
    /// How often an OPTIONS is sent meanwhile, to see how others fare.
    pub probe: Option<Duration>,
}

impl Fanout {
    /// How many of the burst are this client's.
    pub(crate) fn share_of(&self, client: usize) -> u32 {
        let (client, clients) = (client as u32, self.clients.max(1));
        if client < clients { (self.burst + clients - 1 - client) / clients } else { 0 }
    }
}

/// `name:key=number,key=number`.
impl FromStr for Phase {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, arguments) = text.split_once(':').unwrap_or((text, ""));
        let mut given = BTreeMap::new();
        for argument in arguments.split(',').filter(|a| !a.is_empty()) {
            let value = argument.split_once('=').and_then(|(key, value)| Some((key, value.parse::<u32>().ok()?)));
            let (key, value) = value.ok_or_else(|| format!("{text}: \"{argument}\" is not key=number"))?;
            given.insert(key, value);
        }
        let mut take = |key: &str, default: u32| given.remove(key).unwrap_or(default);
        let phase = match name {
            "options" => Self::Options { count: take("count", 1000) },
            "publish" => Self::Publish { count: take("count", 1000), first: take("first", 0) },
            "modify" => Self::Republish(Publish::Modify, Part::WHOLE),
            "refresh" => Self::Republish(Publish::Refresh, Part::WHOLE),
            "remove" => Self::Republish(Publish::Remove, Part::WHOLE),
            "subscribe" => {
                let count = take("count", 1000);
                Self::Subscribe { count, presentities: take("presentities", count).max(1), first: take("first", 0) }
            }
            "resubscribe" => Self::Resubscribe(Subscribe::Refresh, Part::WHOLE),
            "unsubscribe" => Self::Resubscribe(Subscribe::End, Part::WHOLE),
            "fanout" => Self::Fanout(Fanout {
                presentity: take("presentity", 0),
                rounds: take("rounds", 3),
                burst: take("burst", 1).max(1),
                clients: take("clients", 1).clamp(1, 2),
                probe: Some(take("probe", 0)).filter(|ms| *ms > 0).map(|ms| Duration::from_millis(ms.into())),
            }),
            "mix" => {
                use {Publish as P, Subscribe as S};
                let watchers = take("watchers", 1000);
                Self::Mix(Mix {
                    publishers: take("publishers", 1000),
                    publish: vec![P::Initial, P::Modify, P::Refresh, P::Remove],
                    watchers,
                    watched: take("watched", watchers).max(1),
                    subscribe: vec![S::Initial, S::Refresh, S::Refresh, S::End],
                    seed: take("seed", 1).into(),
                })
            }
            "listen" => Self::Listen(Duration::from_secs(take("seconds", 1).into())),
            _ => return Err(format!("{name}: no such phase")),
        };
        match given.keys().next() {
            Some(key) => Err(format!("{text}: {name} has no \"{key}\"")),
            None => Ok(phase),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parts_are_the_whole() {
        let whole = Phase::Publish { count: 10, first: 5 };
        let parts = (0..3).map(|index| whole.part(Part { index, of: 3 })).collect::<Vec<_>>();
        let expected = [(3, 5), (3, 8), (4, 11)].map(|(count, first)| Phase::Publish { count, first });
        assert_eq!(parts, expected);
        assert_eq!((0..7).map(|index| Part { index, of: 7 }.range(3).len()).sum::<usize>(), 3);
        assert_eq!(whole.part(Part::WHOLE), whole);
        let third = Phase::Resubscribe(Subscribe::End, Part { index: 1, of: 3 });
        let halves = [0, 1].map(|index| match third.part(Part { index, of: 2 }) {
            Phase::Resubscribe(Subscribe::End, part) => part.places(15).collect::<Vec<_>>(),
            other => panic!("{other:?}"),
        });
        assert_eq!(halves, [vec![1, 7, 13], vec![4, 10]]);
        let of_one = |count| Phase::Subscribe { count, presentities: 1, first: 5 };
        assert_eq!([0, 1, 2].map(|index| of_one(10).part(Part { index, of: 3 })), [3, 3, 4].map(of_one));
    }

    #[test]
    fn phases_are_read_and_mistakes_are_named() {
        let fanout = Fanout { presentity: 7, rounds: 2, burst: 1, clients: 1, probe: None };
        assert_eq!([0, 1].map(|client| fanout.share_of(client)), [1, 0]);
        assert_eq!([0, 1].map(|client| Fanout { burst: 5, clients: 2, ..fanout }.share_of(client)), [3, 2]);
        assert_eq!("fanout:presentity=7,rounds=2".parse(), Ok(Phase::Fanout(fanout)));
        assert_eq!("subscribe:count=5".parse(), Ok(Phase::Subscribe { count: 5, presentities: 5, first: 0 }));
        assert_eq!("unsubscribe".parse(), Ok(Phase::Resubscribe(Subscribe::End, Part::WHOLE)));
        assert_eq!("modify:count=3".parse::<Phase>(), Err("modify:count=3: modify has no \"count\"".into()));
        assert_eq!("listen:x".parse::<Phase>(), Err("listen:x: \"x\" is not key=number".into()));
        assert_eq!("dance".parse::<Phase>(), Err("dance: no such phase".into()));
    }
}
