//! What a run consists of.

use crate::request::{Publish, Subscribe};
use std::collections::BTreeMap;
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
    /// Every publication: another document, another lifetime, or the end.
    Republish(Publish),
    /// New watchers of `presentities`, one after the other, from number `first` on.
    Subscribe {
        /// How many watchers.
        count: u32,
        /// Of how many presentities.
        presentities: u32,
        /// The first one's number.
        first: u32,
    },
    /// Every dialog: another lifetime, or the end.
    Resubscribe(Subscribe),
    /// Publishers and watchers at the same time, each with its own steps.
    Mix(Mix),
    /// One presentity changes, and its watchers are told.
    Fanout(Fanout),
    /// Nothing; NOTIFYs are answered all the same.
    Listen(Duration),
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
    /// PUBLISHes of a round, each sent when the one before was answered, whoever was told by then. What counts is that
    /// every watcher ends up with the last.
    pub burst: u32,
    /// How often an OPTIONS is sent meanwhile, to see how others fare.
    pub probe: Option<Duration>,
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
            "modify" => Self::Republish(Publish::Modify),
            "refresh" => Self::Republish(Publish::Refresh),
            "remove" => Self::Republish(Publish::Remove),
            "subscribe" => {
                let count = take("count", 1000);
                Self::Subscribe { count, presentities: take("presentities", count).max(1), first: take("first", 0) }
            }
            "resubscribe" => Self::Resubscribe(Subscribe::Refresh),
            "unsubscribe" => Self::Resubscribe(Subscribe::End),
            "fanout" => Self::Fanout(Fanout {
                presentity: take("presentity", 0),
                rounds: take("rounds", 3),
                burst: take("burst", 1).max(1),
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
    fn phases_are_read_and_mistakes_are_named() {
        let fanout = Fanout { presentity: 7, rounds: 2, burst: 1, probe: None };
        assert_eq!("fanout:presentity=7,rounds=2".parse(), Ok(Phase::Fanout(fanout)));
        assert_eq!("subscribe:count=5".parse(), Ok(Phase::Subscribe { count: 5, presentities: 5, first: 0 }));
        assert_eq!("unsubscribe".parse(), Ok(Phase::Resubscribe(Subscribe::End)));
        assert_eq!("modify:count=3".parse::<Phase>(), Err("modify:count=3: modify has no \"count\"".into()));
        assert_eq!("listen:x".parse::<Phase>(), Err("listen:x: \"x\" is not key=number".into()));
        assert_eq!("dance".parse::<Phase>(), Err("dance: no such phase".into()));
    }
}
