//! Random interleavings against a naive model (`fakehost::model`): whatever happens, in whatever order, some things always
//! hold.

use fakehost::model::{Dice, Model, any_config, config};
use fakehost::reached::MODES;
use presence_core::config::{Config, SubsMode};

#[test]
fn whatever_the_order_nothing_goes_back_and_the_last_state_arrives() {
    let mut steps = 0;
    for seed in 0..200 {
        let mode = MODES[seed as usize % MODES.len()];
        let of_seed = match seed % 2 {
            0 => config(mode),
            _ => Config { subs: mode, ..any_config(&mut Dice(seed)) },
        };
        let config = Config {
            notify_interval: [0, 0, 1500][seed as usize % 3],
            fail_max: [0, 0, 0, 0, 3][seed as usize % 5],
            ..of_seed
        };
        let mut model = Model::new(Dice(seed), config);
        for step in 0..300 {
            model.step();
            steps += 1;
            if step % 50 == 49 {
                model.world.store.check().unwrap_or_else(|e| panic!("seed {seed} step {step}: {e}"));
            }
        }
        model.finish();
    }
    println!("{steps} steps in 200 runs");
}

/// A run of some steps in which one allocation fails. How many there were, and how many failed.
fn run_short_of_memory(mode: SubsMode, fails: Option<u64>) -> (u64, u64) {
    let mut model = Model::new(Dice(11), config(mode));
    let start = model.world.heap.made.get();
    model.world.heap.fails.set(fails.map(|k| start + 1 + k));
    for _ in 0..250 {
        model.step();
        model.world.store.check().unwrap_or_else(|e| panic!("{mode:?}, allocation {fails:?}: {e}"));
    }
    model.settle();
    model.run_out();
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
        assert!(all > 140, "{all} allocations");
        let failed: u64 = (0..all).map(|k| run_short_of_memory(mode, Some(k)).1).sum();
        println!("{mode:?}: {failed} of {all} allocations failed, each in a run of its own");
        assert_eq!(failed, all);
    }
}
