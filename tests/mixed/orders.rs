//! What the trial tells the phones, and what they make of it.

use super::driver::{Driver, MARGIN};
use super::faults::Kind;
use super::traffic::Pace;
use super::watchers::{self, Mood};
use crate::wires::Wire;
use std::time::{Duration, Instant};

/// What the trial tells the phones.
#[derive(Debug)]
pub enum Order {
    /// As many as are answered, so many at a time.
    Closed(usize),
    /// So many in a second.
    Rate(f64),
    /// None.
    Quiet,
    /// Everything is refreshed once more, for long, so many in a second.
    Settle(f64),
    /// Everybody ends what it has, so many in a second.
    Leave(f64),
    Begin(Kind),
    End,
    /// So many in a hundred answer NOTIFYs like this.
    Behave(Mood, usize),
    /// So many connections are cut.
    Cut(usize),
    /// The server is not there; whether what it had lasts.
    Down(Lasting),
    Up,
}

/// What outlives a kill.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Lasting {
    All,
    /// All but what changed so long ago at most.
    Until(Duration),
    Nothing,
}

impl Driver {
    pub fn obey(&mut self, order: Order, buffer: &mut [u8]) {
        let now = Instant::now();
        match order {
            Order::Closed(window) => self.pace = Pace::Closed(window),
            Order::Rate(rate) => (self.pace, self.rate) = (Pace::Rate(rate), rate),
            Order::Quiet => self.pace = Pace::Quiet,
            Order::Settle(rate) => self.pace = Pace::Settle(rate, 0),
            Order::Leave(rate) => self.pace = Pace::Leave(rate),
            Order::Begin(kind) => (self.weather.fault, self.weather.last) = (Some(kind), Some(kind)),
            Order::End => {
                if self.weather.fault.take() == Some(Kind::Scarce) {
                    self.weather.scarce = Some(now);
                    // A connection for which the server had no memory may take nothing any more: phones make a new one.
                    self.cut_all();
                }
                self.weather.ended = now;
                for watcher in &mut self.watchers {
                    watcher.mood = Mood::Good;
                }
                *self.gauge.complaints.lock().expect("nobody panics with it") = self.account.complaints();
            }
            Order::Behave(mood, share) => {
                for watcher in &mut self.watchers {
                    if self.random.percent(share) {
                        watcher.mood = mood;
                    }
                }
            }
            Order::Cut(count) => {
                let all: Vec<usize> = (0..self.wires.len()).filter(|&w| self.wires[w].is_tcp()).collect();
                for _ in 0..count.min(all.len()) {
                    let wire = self.random.pick(&all);
                    self.lost_connection(wire);
                }
            }
            Order::Down(lasting) => {
                // What the server said before counts.
                while self.take_in(buffer, Duration::from_millis(20)) {}
                self.gone(lasting, now);
            }
            Order::Up => {
                self.is_down = false;
                self.wires.iter_mut().for_each(Wire::connect);
                for watcher in &mut self.watchers {
                    // Nobody told who ran out meanwhile.
                    if watcher.sure_until < now + MARGIN && watcher.phase != watchers::Phase::Idle {
                        watcher.leave();
                    }
                }
            }
        }
    }

    fn cut_all(&mut self) {
        for wire in 0..self.wires.len() {
            if self.wires[wire].is_tcp() {
                self.lost_connection(wire);
            }
        }
    }

    fn gone(&mut self, lasting: Lasting, now: Instant) {
        self.is_down = true;
        self.cut_off(|_| true);
        self.cut_all();
        for watcher in &mut self.watchers {
            watcher.unsettled = true;
            match lasting {
                Lasting::All => {}
                // Until its next flush nobody knows of it.
                Lasting::Until(_) => watcher.doubt = watcher.doubt.or(Some(now)),
                Lasting::Nothing => watcher.leave(),
            }
        }
        if lasting == Lasting::Nothing {
            self.forget_publications(now);
        }
    }
}
