//! Phones behind one socket. They ask, answer NOTIFYs at once, and keep account of everything.

use crate::Settings;
use crate::actor::{Ledger, Publisher, Told, Watcher};
use crate::document::{CLIENTS, State};
use crate::message::{self, Incoming, Notify, Reply};
use crate::pending::{Asker, Pending, Waiting};
use crate::request::{self, Publish, Request, Subscribe};
use crate::tally::Tally;
use crate::wire::Wire;
use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How often requests are looked at that may have to be sent again.
const RESEND: Duration = Duration::from_millis(100);

/// An actor that has nothing to wait for any more.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Free {
    Publisher(usize),
    Watcher(usize),
}

/// What the watchers of a presentity have to be told.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Goal {
    pub presentity: u32,
    /// The version of each client's last document.
    pub versions: [u32; CLIENTS],
    pub since: Instant,
}

impl Goal {
    fn is_reached(&self, shown: &State) -> bool {
        shown.iter().zip(&self.versions).all(|(shown, last)| shown.unwrap_or(0) >= *last)
    }
}

/// Phones behind one socket.
#[derive(Debug)]
pub(crate) struct Agent {
    /// Which of how many agents it is: it does every n-th thing of a phase.
    pub share: (u32, u32),
    pub settings: Settings,
    pub ledger: Arc<Ledger>,
    pub publishers: Vec<Publisher>,
    /// Places in `publishers`, by presentity and client.
    pub places: HashMap<(u32, usize), usize>,
    pub watchers: Vec<Watcher>,
    pub tally: Tally,
    pub pending: Pending,
    /// When something new came last.
    pub progress: Instant,
    /// What the watchers of a fan-out have to be told, and how many were.
    pub goal: Option<Goal>,
    pub reached: usize,
    wire: Wire,
    /// Tells this agent's Call-IDs and branches from all others.
    run: String,
    requests: u64,
    resend: Instant,
    buffer: Box<[u8]>,
    reply: Vec<u8>,
}

impl Agent {
    pub fn new(share: (u32, u32), settings: &Settings, ledger: &Arc<Ledger>) -> io::Result<Self> {
        let now = Instant::now();
        Ok(Self {
            share,
            settings: settings.clone(),
            ledger: Arc::clone(ledger),
            publishers: Vec::new(),
            places: HashMap::new(),
            watchers: Vec::new(),
            tally: Tally::default(),
            pending: Pending::default(),
            progress: now,
            goal: None,
            reached: 0,
            wire: Wire::open(settings.server)?,
            run: format!("{}x{}", testkit::phone::unique(), share.0),
            requests: 0,
            resend: now,
            buffer: vec![0; 1 << 16].into(),
            reply: Vec::with_capacity(1024),
        })
    }

    /// Whether something with this number is this agent's to do.
    pub fn is_mine(&self, number: u32) -> bool {
        number % self.share.1 == self.share.0
    }

    fn call_id(&self) -> String {
        format!("r{}.{}", self.requests, self.run)
    }

    fn ask(&mut self, asker: Asker, request: &Request) {
        self.requests += 1;
        let text = request.text(self.wire.own, &format!("{}-{}", self.run, self.requests));
        self.wire.send(&text);
        self.pending.enter(self.requests, asker, text);
    }

    pub fn options(&mut self, asker: Asker) {
        let request = request::options(self.wire.server, self.call_id());
        self.ask(asker, &request);
    }

    pub fn publish(&mut self, index: usize, step: Publish) {
        let call_id = self.call_id();
        let request = self.publishers[index].request(step, call_id, &self.ledger);
        self.ask(Asker::Publisher(index, step), &request);
    }

    pub fn subscribe(&mut self, index: usize, step: Subscribe) {
        let request = self.watchers[index].request(step, &self.run, self.wire.own, self.wire.server);
        self.ask(Asker::Watcher(index), &request);
    }

    /// Waits for a datagram, a few milliseconds at most, and does what has to be done about it.
    pub fn step(&mut self) -> Step {
        let Some(length) = self.wire.receive(&mut self.buffer) else {
            // Only now: an answer may have been there for long if this process had to wait for a processor, and by then
            // the server may know nothing of the request any more and serve it again.
            if self.resend.elapsed() >= RESEND {
                self.resend = Instant::now();
                self.send_again();
            }
            return Step::Quiet;
        };
        let buffer = std::mem::take(&mut self.buffer);
        let free = match message::parse(&buffer[..length]) {
            Some(Incoming::Notify(notify)) => {
                message::answer(&buffer[..length], 200, &mut self.reply);
                self.wire.send(&self.reply);
                self.notified(&notify)
            }
            Some(Incoming::Reply(reply)) => self.replied(&reply),
            None => None,
        };
        self.buffer = buffer;
        free.map_or(Step::Busy, Step::Freed)
    }

    fn send_again(&mut self) {
        let (wire, again) = (&self.wire, &mut self.tally.again);
        let over = self.pending.go_on(self.settings.patience, |text| {
            wire.send(text);
            *again += 1;
        });
        for waiting in over {
            self.tally.unanswered += 1;
            match waiting.asker {
                Asker::Watcher(index) => self.watchers[index].answered(408, ""),
                Asker::Publisher(index, _) => self.publishers[index].asking = false,
                Asker::Nobody | Asker::Probe => {}
            }
        }
    }

    fn replied(&mut self, reply: &Reply<'_>) -> Option<Free> {
        // One that was asked twice is answered twice.
        let Waiting { asker, since, .. } = self.pending.take(reply.transaction)?;
        self.progress = Instant::now();
        if asker == Asker::Probe {
            self.tally.probes.add(since.elapsed());
            return None;
        }
        self.tally.replies.add(since.elapsed());
        *self.tally.codes.entry(reply.code).or_default() += 1;
        match asker {
            Asker::Nobody | Asker::Probe => None,
            Asker::Publisher(index, step) => {
                self.publishers[index].asking = false;
                if reply.code == 200 {
                    self.publishers[index].confirmed(step, reply.etag, &self.ledger);
                }
                Some(Free::Publisher(index))
            }
            Asker::Watcher(index) => {
                let watcher = &mut self.watchers[index];
                watcher.answered(reply.code, reply.to_tag);
                self.tally.notifies.expected += u64::from(reply.code / 100 == 2);
                (!watcher.is_busy()).then_some(Free::Watcher(index))
            }
        }
    }

    fn notified(&mut self, notify: &Notify<'_>) -> Option<Free> {
        let found = self.watcher_of(notify.call_id);
        let notifies = &mut self.tally.notifies;
        let Some((index, life)) = found else {
            notifies.stray += 1;
            return None;
        };
        let watcher = &mut self.watchers[index];
        if life != watcher.life {
            // The last NOTIFY of an earlier dialog, sent again.
            notifies.again += 1;
            return None;
        }
        let (was_busy, shown) = (watcher.is_busy(), watcher.shown);
        match watcher.told(notify) {
            Told::Again => {
                notifies.again += 1;
                return None;
            }
            Told::Back => notifies.back += 1,
            Told::Reused => notifies.reused += 1,
            Told::AfterEnd => notifies.after_end += 1,
            Told::Stale => notifies.stale += 1,
            Told::Unasked => notifies.unasked += 1,
            Told::News => {}
        }
        notifies.seen += 1;
        self.progress = Instant::now();
        let cause = self.goal.map_or(watcher.asked_since(), |goal| goal.since);
        self.tally.told.add(cause.elapsed());
        if let Some(goal) = self.goal.filter(|goal| goal.presentity == watcher.presentity) {
            self.reached += usize::from(!goal.is_reached(&shown) && goal.is_reached(&watcher.shown));
        }
        (was_busy && !watcher.is_busy()).then_some(Free::Watcher(index))
    }

    /// The watcher that a Call-ID belongs to, and the number of its dialog.
    fn watcher_of(&self, call_id: &str) -> Option<(usize, u32)> {
        let mut parts = call_id.strip_prefix('w')?.splitn(3, '.');
        let (number, life, run) = (parts.next()?.parse::<u32>().ok()?, parts.next()?.parse().ok()?, parts.next()?);
        let index = (number / self.share.1) as usize;
        (run == self.run && self.is_mine(number) && index < self.watchers.len()).then_some((index, life))
    }

    /// Listens for some time.
    pub fn listen(&mut self, time: Duration) {
        let start = Instant::now();
        while start.elapsed() < time {
            self.step();
        }
    }

    /// Asks in a closed loop: as many at a time as the window allows.
    pub fn closed_loop<T>(&mut self, jobs: impl IntoIterator<Item = T>, mut start: impl FnMut(&mut Self, T)) {
        let mut jobs = jobs.into_iter();
        loop {
            while self.pending.len() < self.settings.window {
                let Some(job) = jobs.next() else { break };
                start(self, job);
            }
            if self.pending.len() == 0 {
                return;
            }
            self.step();
        }
    }

    /// Whether a watcher that goes on shows something else than the newest state.
    fn is_behind(&self, watcher: &Watcher) -> bool {
        watcher.is_open() && watcher.shown != self.ledger.confirmed(watcher.presentity)
    }

    /// Waits until all watchers were told what they had to be told, as long as something goes on. Those that were not
    /// are counted, and not waited for again.
    pub fn settle(&mut self) {
        let start = Instant::now();
        loop {
            while self.step() != Step::Quiet {}
            let lost: Vec<usize> = (0..self.watchers.len())
                .filter(|&index| self.watchers[index].owed || self.is_behind(&self.watchers[index]))
                .collect();
            if !lost.is_empty() && self.progress.max(start).elapsed() < self.settings.patience {
                continue;
            }
            self.tally.notifies.lost += lost.len() as u64;
            for index in lost {
                let newest = self.ledger.confirmed(self.watchers[index].presentity);
                let watcher = &mut self.watchers[index];
                (watcher.owed, watcher.shown) = (false, newest);
            }
            return;
        }
    }
}

/// What a step was.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Step {
    /// Nothing came.
    Quiet,
    /// Something came.
    Busy,
    /// Something came, and an actor has nothing to wait for any more.
    Freed(Free),
}
