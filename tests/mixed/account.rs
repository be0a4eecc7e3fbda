//! What was asked, answered and told, and everything that must not be.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

/// So many complaints of each kind are kept word for word.
const EXAMPLES: u64 = 8;

/// The sums of a trial.
#[derive(Clone, Default, Debug)]
pub struct Account {
    /// Requests by kind and final code: in calm times, and during a fault. 0: none came before the server was gone.
    pub answers: BTreeMap<(&'static str, u16), [u64; 2]>,
    /// Of spoilt messages, by code.
    pub spoilt: BTreeMap<u16, u64>,
    pub spoilt_sent: u64,
    pub notifies: u64,
    /// NOTIFYs that the server sent again, and requests that were.
    pub again: [u64; 2],
    /// NOTIFYs of dialogs whose SUBSCRIBE nobody answered, or whose end: answered 481.
    pub ghosts: u64,
    /// Watchers to whom a kill cost a NOTIFY, until they refreshed.
    pub told_by_refresh: u64,
    /// Requests that should have been sent and were not, because everybody waited for an answer.
    pub held_back: u64,
    /// Times in which this process did not run.
    pub stalls: u64,
    pub longest_stall: Duration,
    pub lost: BTreeMap<&'static str, u64>,
    pub wrong: BTreeMap<&'static str, u64>,
    pub examples: Vec<String>,
}

impl Account {
    pub fn lost(&mut self, what: &'static str, detail: impl FnOnce() -> String) {
        let number = self.lost.entry(what).or_default();
        *number += 1;
        if *number <= EXAMPLES {
            self.examples.push(format!("lost: {what}: {}", detail()));
        }
    }

    pub fn wrong(&mut self, what: &'static str, detail: impl FnOnce() -> String) {
        let number = self.wrong.entry(what).or_default();
        *number += 1;
        if *number <= EXAMPLES {
            self.examples.push(format!("wrong: {what}: {}", detail()));
        }
    }

    fn of_kind(&self, wanted: &str) -> u64 {
        self.answers.iter().filter(|((kind, _), _)| *kind == wanted).map(|(_, n)| n[0] + n[1]).sum()
    }

    /// What of it must not be.
    pub fn complaints(&self) -> Vec<String> {
        let of = |kind: &str, map: &BTreeMap<&'static str, u64>| {
            map.iter().map(|(what, n)| format!("{kind}: {n} {what}")).collect::<Vec<_>>()
        };
        [of("lost", &self.lost), of("wrong", &self.wrong)].concat()
    }

    /// The table's lines about the load of so many seconds.
    pub fn lines(&self, seconds: f64) -> String {
        let mut out = String::new();
        let kinds: std::collections::BTreeSet<&str> = self.answers.keys().map(|(kind, _)| *kind).collect();
        let each: Vec<String> =
            kinds.iter().map(|kind| format!("{kind} {:.1}", self.of_kind(kind) as f64 / seconds)).collect();
        let _ = writeln!(out, "| load held, requests/s | {} |", each.join(", "));
        let _ = writeln!(
            out,
            "| NOTIFYs/s | {:.1} ({} in all, {} sent again) |",
            self.notifies as f64 / seconds,
            self.notifies,
            self.again[0]
        );
        let requests: u64 = self.answers.values().map(|n| n[0] + n[1]).sum();
        let _ = writeln!(out, "| inputs tried | {requests} requests, {} spoilt messages |", self.spoilt_sent);
        for (place, name) in [(0, "in calm times"), (1, "during faults")] {
            let mut codes: BTreeMap<u16, u64> = BTreeMap::new();
            for ((_, code), n) in &self.answers {
                *codes.entry(*code).or_default() += n[place];
            }
            let codes: Vec<String> = codes.iter().filter(|(_, n)| **n > 0).map(|(c, n)| name_of(*c, *n)).collect();
            let _ = writeln!(out, "| answers {name} | {} |", codes.join(", "));
        }
        let spoilt: Vec<String> = self.spoilt.iter().map(|(code, n)| name_of(*code, *n)).collect();
        let _ = writeln!(out, "| answers to spoilt messages | {} |", spoilt.join(", "));
        let _ = writeln!(
            out,
            "| beside that | {} requests sent again, {} NOTIFYs of dialogs that nobody confirmed, {} watchers told by \
             their refresh after a kill, {} requests held back, {} stalls of the phones ({:.1} s at most) |",
            self.again[1],
            self.ghosts,
            self.told_by_refresh,
            self.held_back,
            self.stalls,
            self.longest_stall.as_secs_f64()
        );
        for (name, map) in [("lost", &self.lost), ("wrong", &self.wrong)] {
            let all: u64 = map.values().sum();
            let each: Vec<String> = map.iter().map(|(what, n)| format!("{n} {what}")).collect();
            let _ = writeln!(out, "| **{name}** | {all}{}{} |", if all > 0 { ": " } else { "" }, each.join(", "));
        }
        out
    }
}

fn name_of(code: u16, number: u64) -> String {
    if code == 0 { format!("none (server killed, connection cut): {number}") } else { format!("{code}: {number}") }
}
