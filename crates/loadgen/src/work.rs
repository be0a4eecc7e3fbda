//! An agent's share of a phase.

use crate::actor::{Publisher, Watcher};
use crate::agent::{Agent, Free, Goal, Step};
use crate::document::CLIENTS;
use crate::pending::Asker;
use crate::phase::{Fanout, Mix, Phase};
use crate::request::{Publish, Subscribe};
use std::time::Instant;

impl Agent {
    /// Does this agent's share of a phase. Gives the time when the last thing happened.
    pub fn carry_out(&mut self, phase: &Phase) -> Instant {
        let start = Instant::now();
        match phase {
            Phase::Options { count } => {
                let share = (0..*count).filter(|&n| n % self.share.1 == self.share.0);
                self.closed_loop(share.collect::<Vec<_>>(), |agent, _| agent.options(Asker::Nobody));
            }
            Phase::Publish { count, first } => {
                let new: Vec<usize> =
                    self.mine(*first, *count).into_iter().map(|p| self.publisher_of(p, self.settings.client)).collect();
                self.closed_loop(new, |agent, index| agent.publish(index, Publish::Initial));
            }
            Phase::Republish(step, part) => {
                let all = part.places(self.publishers.len()).filter(|&i| self.publishers[i].has_published());
                let all: Vec<usize> = all.collect();
                self.closed_loop(all, |agent, index| agent.publish(index, *step));
            }
            Phase::Subscribe { count, presentities, first } => {
                let new: Vec<usize> =
                    self.mine(0, *count).into_iter().map(|n| self.new_watcher(first + n % presentities)).collect();
                self.closed_loop(new, |agent, index| agent.subscribe(index, Subscribe::Initial));
            }
            Phase::Resubscribe(step, part) => {
                let all = part.places(self.watchers.len()).filter(|&i| self.watchers[i].is_open());
                let all: Vec<usize> = all.collect();
                self.closed_loop(all, |agent, index| agent.subscribe(index, *step));
            }
            Phase::Mix(mix) => self.mix(mix),
            Phase::Fanout(fanout) => self.fan_out(fanout),
            Phase::Listen(time) => self.listen(*time),
        }
        self.settle();
        self.progress.max(start)
    }

    /// The numbers from `first` on that are this agent's.
    fn mine(&self, first: u32, count: u32) -> Vec<u32> {
        (first..first + count).filter(|&n| self.is_mine(n)).collect()
    }

    /// The publication of one of a presentity's clients.
    fn publisher_of(&mut self, presentity: u32, client: usize) -> usize {
        let publishers = &mut self.publishers;
        *self.places.entry((presentity, client)).or_insert_with(|| {
            publishers.push(Publisher::new(presentity, client));
            publishers.len() - 1
        })
    }

    fn new_watcher(&mut self, presentity: u32) -> usize {
        let index = self.watchers.len();
        self.watchers.push(Watcher::new(index as u32 * self.share.1 + self.share.0, presentity));
        index
    }

    /// Waits until all watchers of a presentity know its newest state.
    fn fan_out(&mut self, fanout: &Fanout) {
        // Each client is behind a socket of its own, as far as there are so many.
        let mut to_publish = Vec::new();
        for client in 0..CLIENTS {
            if self.is_mine(fanout.presentity.wrapping_add(client as u32)) {
                to_publish.push((self.publisher_of(fanout.presentity, client), fanout.share_of(client)));
            }
        }
        let watching = self.watchers.iter().filter(|w| w.is_open() && w.presentity == fanout.presentity).count();
        let start = Instant::now();
        let mut probed = start;
        self.reached = 0;
        self.tally.notifies.expected += watching as u64;
        while to_publish.iter().any(|(_, left)| *left > 0) || self.pending.len() > 0 || self.reached < watching {
            if self.progress.max(start).elapsed() > self.settings.patience {
                break;
            }
            for (index, left) in &mut to_publish {
                let publisher = &self.publishers[*index];
                if *left > 0 && !publisher.asking {
                    *left -= 1;
                    let step = if publisher.has_published() { Publish::Modify } else { Publish::Initial };
                    self.publish(*index, step);
                }
            }
            if fanout.probe.is_some_and(|interval| probed.elapsed() >= interval) {
                probed = Instant::now();
                self.options(Asker::Probe);
            }
            self.step();
        }
    }

    /// What the watchers of a presentity have to be told next.
    pub fn aim(&mut self, goal: Option<Goal>) {
        self.goal = goal;
        self.reached = 0;
    }

    fn mix(&mut self, mix: &Mix) {
        let publishers: Vec<usize> =
            self.mine(0, mix.publishers).into_iter().map(|p| self.publisher_of(p, 0)).collect();
        let watchers = self.mine(0, mix.watchers);
        while self.watchers.len() < watchers.len() {
            self.new_watcher(watchers[self.watchers.len()] % mix.watched);
        }
        let mut play = Play {
            mix,
            steps: [vec![0; self.publishers.len()], vec![0; self.watchers.len()]],
            ready: publishers.into_iter().map(Free::Publisher).chain((0..watchers.len()).map(Free::Watcher)).collect(),
            random: mix.seed.wrapping_add(self.share.0.into()),
        };
        let start = Instant::now();
        let mut busy = 0;
        loop {
            while busy < self.settings.window {
                let Some(actor) = play.pick() else { break };
                busy += usize::from(play.advance(self, actor));
            }
            let waited = self.progress.max(start).elapsed() > self.settings.patience;
            if busy == 0 && play.ready.is_empty() || waited {
                return;
            }
            if let Step::Freed(actor) = self.step() {
                busy = busy.saturating_sub(1);
                play.ready.push(actor);
            }
        }
    }
}

/// Where everybody is in a mix.
struct Play<'m> {
    mix: &'m Mix,
    /// Steps done, of publishers and of watchers.
    steps: [Vec<usize>; 2],
    ready: Vec<Free>,
    random: u64,
}

impl Play<'_> {
    /// Any of those that are ready.
    fn pick(&mut self) -> Option<Free> {
        // SplitMix64: the same order for the same seed.
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.random;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        let place = ((mixed ^ (mixed >> 31)) as usize).checked_rem(self.ready.len())?;
        Some(self.ready.swap_remove(place))
    }

    /// Lets an actor do its next step. False if it has done all.
    fn advance(&mut self, agent: &mut Agent, actor: Free) -> bool {
        let (kind, index) = match actor {
            Free::Publisher(index) => (0, index),
            Free::Watcher(index) => (1, index),
        };
        let done = &mut self.steps[kind][index];
        match actor {
            Free::Publisher(index) => match self.mix.publish.get(*done) {
                Some(step) => agent.publish(index, *step),
                None => return false,
            },
            Free::Watcher(index) => match self.mix.subscribe.get(*done) {
                Some(step) => agent.subscribe(index, *step),
                None => return false,
            },
        }
        *done += 1;
        true
    }
}
