//! Requests that wait for their final reply, and are sent again meanwhile (RFC 3261 17.1.2).

use std::collections::HashMap;
use std::time::{Duration, Instant};

/// T1 and T2 of RFC 3261 17.1.2.2.
const T1: Duration = Duration::from_millis(500);
const T2: Duration = Duration::from_secs(4);

/// Who asked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Asker {
    /// Nobody in particular: OPTIONS.
    Nobody,
    /// OPTIONS beside something else that is measured.
    Probe,
    /// A publication.
    Publisher(usize, crate::request::Publish),
    /// A watcher.
    Watcher(usize),
}

/// A request that waits.
#[derive(Debug)]
pub(crate) struct Waiting {
    pub asker: Asker,
    pub since: Instant,
    text: Vec<u8>,
    next: Instant,
    interval: Duration,
}

/// All of them.
#[derive(Default, Debug)]
pub(crate) struct Pending {
    waiting: HashMap<u64, Waiting>,
    /// Those that are not probes.
    requests: usize,
}

impl Pending {
    pub fn enter(&mut self, number: u64, asker: Asker, text: Vec<u8>) {
        let now = Instant::now();
        self.requests += usize::from(asker != Asker::Probe);
        self.waiting.insert(number, Waiting { asker, since: now, text, next: now + T1, interval: T1 });
    }

    /// The request that a reply answers.
    pub fn take(&mut self, number: u64) -> Option<Waiting> {
        let waiting = self.waiting.remove(&number)?;
        self.requests -= usize::from(waiting.asker != Asker::Probe);
        Some(waiting)
    }

    /// How many requests wait, probes apart.
    pub fn len(&self) -> usize {
        self.requests
    }

    /// Sends again what is due; gives back those that have waited for `patience`.
    pub fn go_on(&mut self, patience: Duration, mut send: impl FnMut(&[u8])) -> Vec<Waiting> {
        let now = Instant::now();
        let mut over = Vec::new();
        for (number, waiting) in &mut self.waiting {
            if now.duration_since(waiting.since) >= patience {
                over.push(*number);
            } else if now >= waiting.next {
                send(&waiting.text);
                waiting.interval = (waiting.interval * 2).min(T2);
                waiting.next = now + waiting.interval;
            }
        }
        over.into_iter().filter_map(|number| self.take(number)).collect()
    }
}
