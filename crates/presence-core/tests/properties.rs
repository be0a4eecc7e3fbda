//! Random interleavings against a naive model: whatever happens, in whatever order, some things always hold.

mod common;

use common::{Notified, Phone, Wire, World, phone};
use presence_core::config::{Config, PublMode, SubsMode};
use presence_core::host::Sent;
use presence_core::outcome::Answer;
use presence_core::refusal::Refusal;
use presence_core::status::Status;
use presence_core::store::RowState;
use presence_core::subscription::{Field, Subscription};
use presence_core::time::Seconds;
use std::collections::HashMap;

/// Small numbers from a seed.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % sides
    }
}

/// What a watcher saw in one dialog.
#[derive(Default)]
struct Seen {
    cseq: u32,
    body: u64,
    terminated: bool,
}

struct Model {
    world: World,
    dice: Dice,
    phones: Vec<Phone>,
    /// The last state that was published, by presentity: bodies are growing numbers.
    states: Vec<(Option<String>, u64)>,
    published: u64,
    seen: HashMap<String, Seen>,
    flying: Vec<Notified>,
    calls: u64,
    rows: Rows,
}

const PRESENTITIES: u64 = 3;
const MODES: [SubsMode; 4] = [SubsMode::Memory, SubsMode::WriteThrough, SubsMode::WriteBack, SubsMode::Database];

impl Model {
    fn new(seed: u64, config: Config) -> Self {
        Self {
            world: World::with(config),
            dice: Dice(seed),
            phones: Vec::new(),
            states: vec![(None, 0); PRESENTITIES as usize],
            published: 0,
            seen: HashMap::new(),
            flying: Vec::new(),
            calls: 0,
            rows: Rows::new(),
        }
    }

    /// Looks at what left the server, in order.
    fn look(&mut self) {
        for wire in self.world.wire() {
            let Wire::Notify(n) = wire else { continue };
            let seen = self.seen.entry(n.call_id.clone()).or_default();
            assert!(n.cseq > seen.cseq, "CSeq only grows: {} after {} in {}", n.cseq, seen.cseq, n.call_id);
            assert!(!seen.terminated, "nothing after the last NOTIFY of {}", n.call_id);
            seen.cseq = n.cseq;
            seen.terminated = n.status == Status::Terminated;
            if let Ok(body) = n.body.parse::<u64>() {
                assert!(body >= seen.body, "a higher CSeq never carries an older state: {body} after {}", seen.body);
                seen.body = body;
            }
            self.flying.push(n);
        }
    }

    fn step(&mut self) {
        match self.dice.roll(100) {
            0..25 => self.publish(),
            25..45 => self.subscribe_anew(),
            45..60 => self.resubscribe(),
            60..90 => self.answer(),
            90..94 => {
                let seconds = self.dice.roll(4) as u32;
                self.world.wait(seconds);
                self.world.run(|s| s.go_on_with_overdue(10));
                self.world.run(|s| s.tell_postponed(10));
            }
            94 => {
                self.world.host.sends = vec![Sent::Failed];
            }
            95 => {
                let fails = self.dice.roll(3) == 0;
                self.world.table.fails.set(fails);
                flush(&self.world, &mut self.rows, fails);
            }
            96 => {
                let seconds = self.dice.roll(200) as u32;
                self.world.wait(seconds);
                while self.world.run(|s| s.expire_subscriptions()) {}
            }
            _ => while self.world.run(|s| s.expire_subscriptions()) {},
        }
        self.look();
    }

    fn publish(&mut self) {
        let which = self.dice.roll(PRESENTITIES) as usize;
        let user = format!("p{which}");
        let etag = self.states[which].0.clone();
        self.published += 1;
        let body = self.published.to_string();
        let outcome = self.world.publish(&user, "presence", etag.as_deref(), Some(1_000_000), &body);
        match outcome {
            Ok(tag) => self.states[which] = (Some(tag), self.published),
            Err(refusal) => assert!(matches!(refusal, Refusal::Unavailable(_)), "{refusal:?}"),
        }
        // Every other bare refresh, which changes nothing.
        if let (0, Some(tag)) = (self.dice.roll(2), self.states[which].0.clone()) {
            if let Ok(tag) = self.world.publish(&user, "presence", Some(&tag), Some(1_000_000), "") {
                self.states[which].0 = Some(tag);
            }
        }
    }

    fn subscribe_anew(&mut self) {
        self.calls += 1;
        let presentity = format!("p{}", self.dice.roll(PRESENTITIES));
        let event = if self.dice.roll(6) == 0 { "presence.winfo" } else { "presence" };
        let mut p = phone(&format!("w{}", self.calls), &presentity, event);
        let expires = [0, 20, 100, 600][self.dice.roll(4) as usize];
        if self.world.subscribe(&mut p, Some(expires)).is_ok() && p.in_dialog {
            self.phones.push(p);
        }
    }

    fn resubscribe(&mut self) {
        if self.phones.is_empty() {
            return;
        }
        let which = self.dice.roll(self.phones.len() as u64) as usize;
        let mut p = self.phones[which].clone();
        if self.dice.roll(4) == 0 {
            p.contact = format!("sip:moved{}@9.9.9.9", self.dice.roll(1000));
        }
        let expires = [0, 20, 600][self.dice.roll(3) as usize];
        match self.world.subscribe(&mut p, Some(expires)) {
            Ok(_) if p.in_dialog => self.phones[which] = p,
            Ok(_) | Err(Refusal::NoSubscription) => {
                self.phones.swap_remove(which);
            }
            Err(Refusal::Unavailable(_)) => self.phones[which].cseq = p.cseq,
            Err(other) => panic!("{other:?}"),
        }
    }

    fn answer(&mut self) {
        if self.flying.is_empty() {
            return;
        }
        let which = self.dice.roll(self.flying.len() as u64) as usize;
        let n = self.flying.swap_remove(which);
        let code = [200, 200, 200, 200, 200, 500, 481, 408][self.dice.roll(8) as usize];
        let retry_after = (code == 500 && self.dice.roll(2) == 0).then_some(Seconds(7));
        self.world.answer_with(&n, Answer { code, retry_after });
    }

    /// Answers everything with 200 until nothing flies any more.
    fn settle(&mut self) {
        self.world.host.sends.clear();
        self.world.table.fails.set(false);
        for _ in 0..50 {
            for n in std::mem::take(&mut self.flying) {
                self.world.answer(&n, 200);
                self.look();
            }
            self.world.wait(40);
            self.world.run(|s| s.go_on_with_overdue(1000));
            self.world.run(|s| s.tell_postponed(1000));
            self.look();
            if self.flying.is_empty() {
                break;
            }
        }
        assert!(self.flying.is_empty(), "it comes to rest");
    }

    /// After a flush the table has what memory has.
    fn the_table_agrees(&mut self) {
        if self.world.host.config.subs != SubsMode::WriteBack {
            return;
        }
        flush(&self.world, &mut self.rows, false);
        let now = self.world.host.now.unix;
        self.rows.retain(|_, row| row.expires >= now);
        for p in &self.phones {
            let Some(known) = self.world.find(p) else { continue };
            if known.expires >= now {
                let row = self.rows.remove(p.call_id.as_bytes()).expect("a row for each subscription");
                assert!(row.local_cseq >= known.local_cseq, "the row is ahead");
                let same = Subscription { local_cseq: known.local_cseq, version: known.version, ..row.clone() };
                assert_eq!(same, known);
                self.rows.insert(p.call_id.clone().into_bytes(), row);
            }
        }
    }

    /// Those who still watch know the last state.
    fn everybody_knows(&mut self) {
        for p in &self.phones {
            let which: usize = p.presentity[1..].parse().expect("a number");
            if p.event != "presence" || self.seen.get(&p.call_id).is_none_or(|s| s.terminated) {
                continue;
            }
            let now = self.world.host.now.unix;
            if self.world.find(p).is_some_and(|s| s.expires >= now) {
                assert_eq!(self.seen[&p.call_id].body, self.states[which].1, "{} knows the last state", p.call_id);
            }
        }
    }
}

/// What the table of a write-back server has: rows by dialog.
type Rows = HashMap<Vec<u8>, Subscription>;

/// Writes what is behind, as the flush does; sometimes it fails.
fn flush(world: &World, rows: &mut Rows, fails: bool) {
    for shard in 0..world.store.shard_count() {
        let mut batch = Vec::new();
        world.store.take_rows(shard, 1000, true, None, &mut batch).expect("whole");
        for row in batch {
            let call = row.subscription.text(Field::CallId).to_vec();
            if fails {
                world.store.give_back_row(&row);
                continue;
            }
            world.store.row_written(&row);
            match row.state {
                RowState::Missing => assert!(rows.insert(call, row.subscription).is_none(), "no row is inserted twice"),
                RowState::Behind => assert!(rows.insert(call, row.subscription).is_some(), "what is updated is there"),
                RowState::Gone => assert!(rows.remove(&call).is_some(), "what is deleted is there"),
            }
        }
    }
}

fn config(subs: SubsMode) -> Config {
    Config { subs, publ: PublMode::Memory, notify_hold: 2000, ..Config::default() }
}

#[test]
fn whatever_the_order_nothing_goes_back_and_the_last_state_arrives() {
    let mut steps = 0;
    for seed in 0..200 {
        let mode = MODES[seed as usize % MODES.len()];
        let config = Config {
            notify_interval: [0, 0, 1500][seed as usize % 3],
            fail_max: [0, 0, 0, 0, 3][seed as usize % 5],
            ..config(mode)
        };
        let mut model = Model::new(seed, config);
        for step in 0..300 {
            model.step();
            steps += 1;
            if step % 50 == 49 {
                model.world.store.check().unwrap_or_else(|e| panic!("seed {seed} step {step}: {e}"));
            }
        }
        model.settle();
        model.everybody_knows();
        model.the_table_agrees();
        let census = model.world.store.check().unwrap_or_else(|e| panic!("seed {seed}: {e}"));
        let busy = (census.leaving, census.guests, census.queued);
        assert_eq!(busy, (0, 0, 0), "seed {seed}: nothing is stuck");
        // Everything goes, and so does all memory but the slabs and tables, which stay for the next.
        model.world.wait(10_000_000);
        while model.world.run(|s| s.expire_subscriptions()) {}
        while model.world.run(|s| s.expire_publications()) {}
        model.look();
        model.settle();
        flush(&model.world, &mut model.rows, false);
        let census = model.world.store.check().expect("whole");
        assert_eq!((census.subscriptions, census.leaving, census.resources, census.publications), (0, 0, 0, 0));
        assert_eq!(model.world.subscriptions(), 0);
    }
    println!("{steps} steps in 200 runs");
}

/// A run of some steps in which one allocation fails. How many there were, and how many failed.
fn run_short_of_memory(mode: SubsMode, fails: Option<u64>) -> (u64, u64) {
    let mut model = Model::new(11, config(mode));
    let start = model.world.heap.made.get();
    model.world.heap.fails.set(fails.map(|k| start + 1 + k));
    for _ in 0..200 {
        model.step();
        model.world.store.check().unwrap_or_else(|e| panic!("{mode:?}, allocation {fails:?}: {e}"));
    }
    model.settle();
    model.world.wait(10_000_000);
    while model.world.run(|s| s.expire_subscriptions()) {}
    while model.world.run(|s| s.expire_publications()) {}
    model.look();
    model.settle();
    let census = model.world.store.check().expect("whole");
    let left = (census.subscriptions, census.guests, census.leaving, census.resources);
    assert_eq!(left, (0, 0, 0, 0), "{mode:?}, allocation {fails:?}");
    let heap = model.world.heap.clone();
    drop(model);
    assert_eq!(heap.blocks.get(), 0, "{mode:?}, allocation {fails:?}: nothing is lost");
    (heap.made.get() - start, heap.failed.get())
}

#[test]
fn every_allocation_may_fail_in_turn_and_the_tables_stay_whole() {
    for mode in [SubsMode::Memory, SubsMode::Database] {
        let (all, _) = run_short_of_memory(mode, None);
        assert!(all > 200, "{all} allocations");
        let failed: u64 = (0..all).map(|k| run_short_of_memory(mode, Some(k)).1).sum();
        println!("{mode:?}: {failed} of {all} allocations failed, each in a run of its own");
        assert_eq!(failed, all);
    }
}
