//! Every input that is kept runs through its target.

use fuzz_targets::{TARGETS, states};
use std::fs;
use std::path::{Path, PathBuf};

/// So large all inputs together may become, in bytes.
const MOST: u64 = 1 << 20;

fn corpus() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus")
}

fn inputs(target: &str) -> Vec<PathBuf> {
    let folder = corpus().join(target);
    let entries = fs::read_dir(&folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
    let mut all: Vec<_> = entries.flatten().map(|entry| entry.path()).collect();
    all.sort();
    all
}

#[test]
fn what_is_kept_holds() {
    for target in TARGETS {
        let all = inputs(target.name);
        assert!(!all.is_empty(), "no input is kept for {}", target.name);
        for path in &all {
            let bytes = fs::read(path).expect("reads");
            let run = std::panic::catch_unwind(|| (target.run)(&bytes));
            assert!(run.is_ok(), "{} panics over {}", target.name, path.display());
        }
        println!("{:<12}{:>6} inputs, {}", target.name, all.len(), target.about);
    }
}

#[test]
fn what_is_kept_is_small() {
    let size = |path: &PathBuf| fs::metadata(path).map_or(0, |data| data.len());
    let total: u64 = TARGETS.iter().flat_map(|target| inputs(target.name)).map(|path| size(&path)).sum();
    assert!(total < MOST, "{total} bytes");
}

/// How much of the core's states the kept inputs reach: `cargo test -p fuzz-targets -- --nocapture states` prints it.
#[test]
fn what_is_kept_reaches_the_states_of_the_core() {
    let mut reached = fakehost::reached::Reached::default();
    for path in inputs("states") {
        reached.merge(&states(&fs::read(path).expect("reads")));
    }
    println!("states of subscriptions x events, in four modes: {}", reached.subscriptions());
    println!("publications x tags, in four modes:              {}", reached.publications());
    println!("answers:                                         {}", reached.answers());
    let missing = reached.missing();
    for pair in &missing {
        println!("not reached: {pair}");
    }
    let seen = |part: fakehost::reached::Part| part.reached * 100 >= part.total * 90;
    assert!(seen(reached.subscriptions()) && seen(reached.publications()) && seen(reached.answers()), "{missing:?}");
}
