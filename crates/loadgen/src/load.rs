//! The agents, each in a thread of its own, and what they report together.

use crate::actor::Ledger;
use crate::agent::{Agent, Goal};
use crate::phase::{Fanout, Phase};
use crate::tally::Tally;
use crate::{Settings, cpu};
use crossbeam_channel::{Receiver, Sender, TryRecvError, bounded, unbounded};
use std::fmt;
use std::io;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// What agents are told. They answer NOTIFYs in between, too.
enum Order {
    /// Do your share; say when the last thing happened.
    Do(Phase, Option<Goal>, Sender<Instant>),
    /// Give account, and begin a new one.
    Account(Sender<Tally>),
}

struct Hand {
    orders: Option<Sender<Order>>,
    thread: Option<JoinHandle<()>>,
}

/// A load on a server.
pub struct Load {
    settings: Settings,
    hands: Vec<Hand>,
    ledger: Arc<Ledger>,
}

/// A phase, done.
#[derive(Clone, Debug)]
pub struct Report {
    /// Requests; in a fan-out, NOTIFYs.
    pub operations: u64,
    /// From the first request to the last reply or NOTIFY.
    pub wall: Duration,
    /// CPU time of all processes of the server, what they clean up afterwards included.
    pub cpu: Duration,
    /// The account.
    pub tally: Tally,
}

impl Report {
    /// Microseconds of the server's CPU per operation.
    #[must_use]
    pub fn cpu_per_operation(&self) -> f64 {
        self.cpu.as_secs_f64() * 1e6 / self.operations.max(1) as f64
    }

    /// Operations per second.
    #[must_use]
    pub fn rate(&self) -> f64 {
        self.operations as f64 / self.wall.as_secs_f64().max(1e-9)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (rate, cpu) = (self.rate(), self.cpu_per_operation());
        write!(f, "{} operations, {rate:.0}/s, CPU {cpu:.1} µs each, {}", self.operations, self.tally)
    }
}

impl Load {
    /// Opens the sockets.
    pub fn new(settings: Settings) -> io::Result<Self> {
        Self::with(settings, Arc::default())
    }

    /// Another load on the same server, with sockets and dialogs of its own. Both know what the other has published.
    pub fn beside(&self, settings: Settings) -> io::Result<Self> {
        Self::with(settings, Arc::clone(&self.ledger))
    }

    fn with(settings: Settings, ledger: Arc<Ledger>) -> io::Result<Self> {
        let count = u32::try_from(settings.agents.max(1)).unwrap_or(1);
        let settings = Settings { window: (settings.window / count as usize).max(1), ..settings };
        let hand = |number| {
            let agent = Agent::new((number, count), &settings, &ledger)?;
            let (orders, inbox) = unbounded();
            let thread = thread::Builder::new().name(format!("agent {number}")).spawn(move || serve(agent, &inbox))?;
            Ok(Hand { orders: Some(orders), thread: Some(thread) })
        };
        let hands = (0..count).map(hand).collect::<io::Result<_>>()?;
        Ok(Self { settings, hands, ledger })
    }

    /// How it is put on the server.
    #[must_use]
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Runs a phase to its end.
    pub fn run(&mut self, phase: &Phase) -> Report {
        let before = self.cpu();
        let mut wall = Duration::ZERO;
        match phase {
            Phase::Fanout(fanout) => {
                for _ in 0..fanout.rounds {
                    let since = Instant::now();
                    let mut versions = self.ledger.issued(fanout.presentity);
                    versions.iter_mut().enumerate().for_each(|(client, last)| *last += fanout.share_of(client));
                    let goal = Goal { presentity: fanout.presentity, versions, since };
                    wall += self.carry_out(phase, Some(goal));
                }
            }
            _ => wall = self.carry_out(phase, None),
        }
        thread::sleep(self.settings.afterwards);
        let cpu = self.cpu().saturating_sub(before);
        let tally = self.account();
        let requests = tally.codes.values().sum::<u64>() + tally.unanswered;
        let operations = if matches!(phase, Phase::Fanout(Fanout { .. })) { tally.notifies.seen } else { requests };
        Report { operations, wall, cpu, tally }
    }

    fn cpu(&self) -> Duration {
        self.settings.pid.map_or(Duration::ZERO, cpu::used)
    }

    fn order<T>(&self, make: impl Fn(Sender<T>) -> Order) -> Vec<T> {
        let replies: Vec<Receiver<T>> = self
            .hands
            .iter()
            .map(|hand| {
                let (sender, receiver) = bounded(1);
                let orders = hand.orders.as_ref().expect("there until it is dropped");
                orders.send(make(sender)).expect("an agent serves until it is dropped");
                receiver
            })
            .collect();
        replies.into_iter().map(|reply| reply.recv().expect("an agent replies to every order")).collect()
    }

    fn carry_out(&self, phase: &Phase, goal: Option<Goal>) -> Duration {
        let start = Instant::now();
        let ends = self.order(|done| Order::Do(phase.clone(), goal, done));
        ends.into_iter().max().map_or(Duration::ZERO, |end| end.saturating_duration_since(start))
    }

    fn account(&self) -> Tally {
        let mut sum = Tally::default();
        self.order(Order::Account).into_iter().for_each(|tally| sum.merge(tally));
        sum
    }
}

impl fmt::Debug for Load {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Load").field("settings", &self.settings).finish_non_exhaustive()
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        for hand in &mut self.hands {
            hand.orders = None;
            if let Some(thread) = hand.thread.take() {
                let _ = thread.join();
            }
        }
    }
}

fn serve(mut agent: Agent, orders: &Receiver<Order>) {
    loop {
        match orders.try_recv() {
            Ok(Order::Do(phase, goal, done)) => {
                agent.aim(goal);
                let _ = done.send(agent.carry_out(&phase));
                agent.aim(None);
            }
            Ok(Order::Account(account)) => {
                let _ = account.send(std::mem::take(&mut agent.tally));
            }
            Err(TryRecvError::Empty) => {
                agent.step();
            }
            Err(TryRecvError::Disconnected) => return,
        }
    }
}
