//! Several processes on one store in shared memory, with a fake host in each: what one does at any moment, up to its
//! own end, leaves the others with a whole store.

#[path = "fork/arena.rs"]
mod arena;
#[path = "fork/board.rs"]
mod board;
#[path = "fork/process.rs"]
mod process;

use allocator_api2::alloc::{Allocator, Layout};
use arena::Arena;
use board::{Board, CHILDREN, Count, FAILED, PHONES, PRESENTITIES, STATE, TERMINAL, Told};
use core::sync::atomic::Ordering::SeqCst;
use fakehost::START;
use presence_core::config::{Config, PublMode, SubsMode};
use presence_core::refusal::Exhausted;
use presence_core::store::Store;
use presence_core::time::Seconds;
use process::{Child, HIDDEN, Process, SharedStore, fork, watches};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};

/// One test at a time: nothing else runs in this process while it forks.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// What the processes of one run do.
#[derive(Clone, Copy, Debug)]
struct Plan {
    name: &'static str,
    seed: u64,
    /// After each round everything comes to rest, and is looked at.
    rounds: u64,
    /// Of each process in a round.
    steps: u64,
    subs: SubsMode,
    /// NOTIFYs may be overtaken, fail to leave, or never be answered.
    rough: bool,
    /// One process takes all memory now and then.
    hog: bool,
}

impl Plan {
    fn config(self) -> Config {
        // Long enough that the clock, which others move, lets nobody be overtaken between its claim and its sending.
        let notify_hold = if self.rough { 2000 } else { 1 << 40 };
        let max_expires = Seconds(100_000_000);
        Config { subs: self.subs, publ: PublMode::Memory, max_expires, notify_hold, ..Config::default() }
    }
}

fn made(shards: usize, config: &Config) -> (Arena, &'static SharedStore, &'static Board) {
    let arena = Arena::new();
    let store = Store::new(shards, 7, START, config.uri_match, arena).expect("memory");
    (arena, Box::leak(Box::new(store)), Board::new(START))
}

fn step(p: &mut Process, plan: Plan) {
    p.board.count(Count::Steps);
    match p.dice.roll(100) {
        0..15 => {
            let presentity = [0, 0, 1, 2][p.dice.roll(4) as usize];
            let kind = p.dice.roll(10);
            let expires = if kind == 0 { 0 } else { 50_000_000 };
            p.publish(presentity, expires, kind == 1);
        }
        15..55 => {
            let place = p.dice.roll(PHONES as u64) as usize;
            let expires = [0, 20, 600, 600, 600, 600, 600][p.dice.roll(7) as usize];
            p.subscribe(place, expires);
        }
        55..94 => {
            let most = p.dice.roll(60);
            p.answer(most, plan.rough);
        }
        94..96 => {
            p.board.steady.fetch_add(p.dice.roll(3000), SeqCst);
            p.board.unix.fetch_add(p.dice.roll(3) as u32, SeqCst);
        }
        96..98 => p.tick(),
        _ => p.expire(),
    }
}

/// Takes all memory that there is, as a process of another module may.
fn take_all(arena: Arena) -> Vec<(core::ptr::NonNull<[u8]>, Layout)> {
    let mut blocks = Vec::new();
    for size in [4096, 256, 16] {
        let layout = Layout::from_size_align(size, 16).expect("a size");
        while let Ok(block) = arena.allocate(layout) {
            blocks.push((block, layout));
        }
    }
    blocks
}

fn give_back(arena: Arena, blocks: &mut Vec<(core::ptr::NonNull<[u8]>, Layout)>) {
    for (block, layout) in blocks.drain(..) {
        // SAFETY: from `allocate` of the same arena with this layout; not used any more.
        unsafe { arena.deallocate(block.cast(), layout) };
    }
}

/// A child's life.
fn work(p: &mut Process, plan: Plan, number: usize, arena: Arena) {
    if plan.rough {
        (p.host.fails, p.host.lost) = (1, 1);
    }
    let (mut taken, mut until) = (Vec::new(), 0);
    for n in 0..plan.steps {
        step(p, plan);
        if number == 0 && plan.subs == SubsMode::WriteBack && n % 50 == 0 {
            let fails = p.dice.roll(3) == 0;
            p.flush(fails);
        }
        if plan.hog && number == 1 {
            if taken.is_empty() && p.dice.roll(60) == 0 {
                (taken, until) = (take_all(arena), n + 40);
            }
            if n >= until {
                give_back(arena, &mut taken);
            }
        }
    }
    give_back(arena, &mut taken);
    // All at once, and nothing after it that could put right what went wrong.
    p.publish(0, 50_000_000, false);
}

fn all_end_well(children: Vec<Child>, board: &Board, name: &str) {
    let ends: Vec<_> = children.into_iter().map(Child::end).collect();
    assert!(ends.iter().all(|end| *end == Ok(0)), "{name}: {ends:?}: {}", board.complaint());
}

/// All NOTIFYs of each dialog, in the order of their CSeqs.
fn by_dialog(board: &Board, plan: Plan) -> Vec<Vec<Told>> {
    let mut dialogs = vec![Vec::<Told>::new(); board.dialogs() + 1];
    for told in board.logged() {
        let dialog = &mut dialogs[told.dialog as usize];
        if let (false, Some(last)) = (plan.rough, dialog.last()) {
            assert!(told.cseq > last.cseq, "{}: {told:?} left after {last:?}", plan.name);
        }
        dialog.push(told);
    }
    dialogs.iter_mut().for_each(|dialog| dialog.sort_by_key(|told| told.cseq));
    dialogs
}

/// CSeqs were taken one after the other under a lock: their order is the order of the claims.
///
/// No NOTIFY shows an older state than one with a lower CSeq; gives how many there were. That the last state arrives is checked elsewhere.
fn nothing_goes_back(dialogs: &[Vec<Told>], plan: Plan) -> u64 {
    let mut notifies = 0;
    for dialog in dialogs {
        let mut newest = board::Shown::default();
        for (n, told) in dialog.iter().enumerate() {
            notifies += 1;
            assert_eq!(told.cseq, n as u32 + 2, "{}: each CSeq is used once, none is left out: {dialog:?}", plan.name);
            let is_last = n + 1 == dialog.len();
            let failed = told.flags & FAILED != 0;
            assert!(
                told.flags & TERMINAL == 0 || is_last || failed,
                "{}: nothing after the last: {dialog:?}",
                plan.name
            );
            if told.flags & STATE == 0 {
                continue;
            }
            for (newest, number) in newest.iter_mut().zip(told.shows).filter(|(_, number)| *number > 0) {
                assert!(number >= *newest, "{}: an older state in {told:?}: {dialog:?}", plan.name);
                *newest = number;
            }
        }
    }
    notifies
}

/// The state is what was published, and each dialog that goes on was told it.
fn everybody_knows(p: &mut Process, dialogs: &[Vec<Told>], plan: Plan) -> u64 {
    let mut states = Vec::new();
    for presentity in 0..PRESENTITIES {
        let state = p.state(presentity);
        for (line, &number) in state.iter().enumerate() {
            let last = p.board.published[presentity][line].load(SeqCst);
            let expected = if last >= HIDDEN { 0 } else { last };
            assert_eq!(number, expected, "{}: what was published is there", plan.name);
        }
        states.push(state);
    }
    let now = p.board.unix.load(SeqCst);
    let mut open = 0;
    for place in 0..PHONES {
        let dialog = p.board.phones[place].dialog.load(SeqCst);
        let (presentity, event) = watches(place);
        if dialog == 0 || p.find(dialog).is_none_or(|s| s.expires.0 <= now) {
            continue;
        }
        open += 1;
        let told = dialogs[dialog as usize].iter().rfind(|told| told.flags & FAILED == 0).expect("a NOTIFY");
        if event == "presence" {
            let all = &dialogs[dialog as usize];
            assert_eq!(told.shows, states[presentity], "{}: the last state arrives: {all:?}", plan.name);
        }
    }
    open
}

fn run(plan: Plan) {
    let _alone = alone();
    let start = Instant::now();
    let config = plan.config();
    let (arena, store, board) = made(4, &config);
    let mut parent = Process::new(store, board, &config, CHILDREN, plan.seed);
    for place in 0..PHONES {
        parent.subscribe(place, 600);
    }
    parent.settle();
    let (mut notifies, mut open) = (0, 0);
    for round in 0..plan.rounds {
        if plan.hog {
            arena.leave(20_000);
        }
        let live = |number: usize| {
            let mut child = Process::new(store, board, &config, number, plan.seed * 1000 + round);
            work(&mut child, plan, number, arena);
        };
        let children: Vec<_> = (0..CHILDREN).map(|number| fork(board, || live(number))).collect();
        all_end_well(children, board, plan.name);
        let census = store.check().unwrap_or_else(|e| panic!("{}: {e}", plan.name));
        assert_eq!(census.skipped, 0);
        arena.leave(1 << 26);
        parent.settle();
        let dialogs = by_dialog(board, plan);
        notifies = nothing_goes_back(&dialogs, plan);
        open = everybody_knows(&mut parent, &dialogs, plan);
        assert!(open > 20, "{}: {open} watchers are left to ask", plan.name);
    }
    everything_goes(&mut parent, plan, arena);
    assert_eq!(nothing_goes_back(&by_dialog(board, plan), plan), board.logged().count() as u64);

    let n = |what| board.counted(what);
    assert_eq!(n(Count::Steps), plan.rounds * plan.steps * CHILDREN as u64);
    assert!(n(Count::Published) > 50 && n(Count::Renewed) > 50 && n(Count::Closed) > 50 && n(Count::Answered) > 500);
    assert_eq!(n(Count::Refused) > 0, plan.hog, "{}: {} refused", plan.name, n(Count::Refused));
    assert_eq!(arena.refused() > 0, plan.hog);
    println!(
        "{}: {} steps in {CHILDREN} processes ({} PUBLISHs, {} dialogs, {} refreshes, {} unsubscribed, {} refused), \
         {} NOTIFYs, {} answers, {open} watchers know the last state, {:.1?}",
        plan.name,
        n(Count::Steps),
        n(Count::Published),
        n(Count::Opened),
        n(Count::Renewed),
        n(Count::Closed),
        n(Count::Refused),
        notifies,
        n(Count::Answered),
        start.elapsed()
    );
}

/// Everything runs out: the counts are back at zero, and so is memory but for slabs and tables.
fn everything_goes(parent: &mut Process, plan: Plan, arena: Arena) {
    parent.board.unix.fetch_add(200_000_000, SeqCst);
    parent.expire();
    parent.settle();
    parent.flush(false);
    // Whose last NOTIFY never was answered.
    parent.settle();
    parent.flush(false);
    let census = parent.store.check().unwrap_or_else(|e| panic!("{}: {e}", plan.name));
    let left = presence_core::store::check::Census { structures: census.structures, ..Default::default() };
    assert_eq!(census, left, "{}: nothing is left", plan.name);
    assert_eq!(arena.in_use(), census.structures, "{}: memory is back", plan.name);
}

const SMOOTH: Plan =
    Plan { name: "smooth", seed: 1, rounds: 10, steps: 150, subs: SubsMode::Memory, rough: false, hog: false };

/// Runs of each plan.
const SEEDS: u64 = 3;

#[test]
fn several_processes_on_one_store_keep_every_dialog_in_order() {
    for seed in 1..=SEEDS {
        run(Plan { seed, ..SMOOTH });
    }
}

#[test]
fn notifies_that_are_late_lost_or_cannot_leave_get_nothing_stuck() {
    for seed in 1..=SEEDS {
        run(Plan { name: "rough", seed, subs: SubsMode::WriteBack, rough: true, ..SMOOTH });
    }
}

#[test]
fn a_process_that_takes_all_memory_gets_others_refused_until_it_gives_it_back() {
    for seed in 1..=SEEDS {
        run(Plan { name: "short of memory", seed, subs: SubsMode::WriteBack, hog: true, ..SMOOTH });
    }
}

/// Watchers at rest, more than one batch; then all processes publish at the same moment, and no later change puts right
/// what went wrong.
#[test]
fn changes_at_the_same_moment_reach_every_watcher() {
    let _alone = alone();
    let plan = Plan { name: "burst", ..SMOOTH };
    let config = plan.config();
    let (_, store, board) = made(4, &config);
    let mut parent = Process::new(store, board, &config, CHILDREN, plan.seed);
    for place in 0..PHONES {
        parent.subscribe(place, 100_000);
    }
    let (rounds, mut notifies) = (60, 0);
    for round in 0..rounds {
        parent.settle();
        let live = |number: usize| {
            let mut child = Process::new(store, board, &config, number, round);
            board.meet(CHILDREN as u64 * (round + 1));
            child.publish(0, 50_000_000, false);
        };
        let children: Vec<_> = (0..CHILDREN).map(|number| fork(board, || live(number))).collect();
        all_end_well(children, board, plan.name);
        parent.settle();
        let dialogs = by_dialog(board, plan);
        notifies = nothing_goes_back(&dialogs, plan);
        assert_eq!(everybody_knows(&mut parent, &dialogs, plan), PHONES as u64);
        store.check().expect("whole");
    }
    assert_eq!(board.counted(Count::Published), rounds * CHILDREN as u64);
    assert!(notifies > rounds * 150, "{notifies}");
    println!(
        "burst: {} PUBLISHs, 4 at a time, {notifies} NOTIFYs to {PHONES} watchers",
        board.counted(Count::Published)
    );
}

/// Rows that are behind in a shard; they stay so.
fn rows_behind(store: &SharedStore, shard: usize) -> Result<usize, Exhausted> {
    let mut rows = Vec::new();
    store.take_rows(shard, 1000, true, Some(200), &mut rows)?;
    rows.iter().for_each(|row| store.give_back_row(row));
    Ok(rows.len())
}

/// A child breaks off, or dies, while it holds the lock of the shard that has the first presentity. That shard is
/// refused from then on, for good and without much waiting; the others serve.
fn one_shard_is_left_behind(name: &str, break_off: impl Fn() + Copy, ends: Result<i32, i32>, goes_on: bool) {
    let config = Config { subs: SubsMode::WriteBack, ..SMOOTH.config() };
    let (_, store, board) = made(8, &config);
    let mut parent = Process::new(store, board, &config, CHILDREN, 1);
    for place in 0..PHONES {
        parent.subscribe(place, 100_000);
    }
    parent.settle();
    let before = store.check().expect("whole");
    assert_eq!((before.subscriptions, before.skipped), (PHONES as u64, 0));
    let here = |shard: &usize| rows_behind(store, *shard).expect("open") >= 150;
    let shard = (0..store.shard_count()).find(here).expect("the shard of the first presentity");
    let in_it = rows_behind(store, shard).expect("open") as u64;

    let child = fork(board, || {
        let caught = catch_unwind(AssertUnwindSafe(|| store.while_locked(shard, break_off)));
        assert!(caught.is_err(), "{caught:?}");
    });
    assert_eq!(child.end(), ends, "{name}: {}", board.complaint());

    let start = Instant::now();
    let census = store.check().expect("whole but for that shard");
    let checked = start.elapsed();
    assert_eq!((census.skipped, census.subscriptions), (1, PHONES as u64 - in_it), "{name}");
    for other in 0..store.shard_count() {
        assert_eq!(rows_behind(store, other).is_err(), other == shard, "{name}: shard {other}");
    }
    let way_down = start.elapsed();
    assert!(way_down < Duration::from_secs(1), "{name}: {way_down:?}");

    // The others serve: a watcher elsewhere is told. With the lock free again, so is the answer for that shard: 503.
    let told = board.logged().count();
    let child = fork(board, || {
        let mut child = Process::new(store, board, &config, 0, 1);
        child.publish(1, 1000, false);
        assert_eq!(board.counted(Count::Refused), 0);
        if goes_on {
            child.publish(0, 1000, false);
            child.subscribe(0, 600);
            assert_eq!(board.counted(Count::Refused), 1, "a PUBLISH is refused");
        }
        while child.answer(1000, false) > 0 {}
        child.tick();
        child.expire();
    });
    if goes_on {
        assert_eq!(child.end(), Ok(0), "{name}: {}", board.complaint());
    } else {
        // It waits for the lock at the latest in its timers, until the host ends it.
        child.kill_after(|| board.logged().count() >= told + 20);
        assert!(board.counted(Count::Published) == 1, "{name}: {}", board.complaint());
    }
    let told = board.logged().count() - told;
    assert!(told >= 20, "{name}: {told} watchers elsewhere were told");
    println!("{name}: check {checked:.1?}, all rows {:.1?}, {told} NOTIFYs elsewhere", way_down - checked);
}

#[test]
fn a_panic_under_a_lock_closes_that_shard_and_no_other() {
    let _alone = alone();
    one_shard_is_left_behind("panic", || panic!("a defect"), Ok(0), true);
}

#[test]
fn a_process_killed_under_a_lock_does_not_keep_the_way_down_waiting() {
    let _alone = alone();
    let die = || {
        // SAFETY: ends this process, a child of the test.
        unsafe { libc::kill(libc::getpid(), libc::SIGKILL) };
    };
    one_shard_is_left_behind("killed", die, Err(libc::SIGKILL), false);
}
