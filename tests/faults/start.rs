//! The server starts with rows in its tables, and each allocation of the module in shared memory fails in turn. Either the
//! start stops with a sentence that names `-m`, and the tables are as they were; or everything is there. A server with a
//! part of the dialogs would answer 481 to the others, and with publications that nobody has counted it would show none.
//!
//! Of 2,002 such starts of the stock module (`subs_db_mode` 1, 1,200 rows, 5,842 allocations) none was refused with a
//! sentence that names `-m`, and none was whole.

use crate::scarce::{fill, from_the_start, is_up, seen, stands_before};
use crate::whole::is_whole;
use crate::{SQLITE, server};
use testkit::{Builder, Database, Kamailio, Module};

/// Starts at the same time.
const LANES: u32 = 2;
/// More than any start allocates.
const NEVER: u32 = 1 << 30;
/// Watchers of each presentity.
const EACH: u32 = 3;

/// A server whose allocator keeps no lists of its own that have to be littered first (see `heap.rs`).
fn builder(database: &Database, subs: u8) -> Builder {
    server(database, 1, subs).allocator("tlsf").packages(&["presence_xml"]).debug(2).children(1)
}

/// What a start may not change. With write-back it puts CSeqs and versions ahead.
fn rows(server: &Kamailio) -> Vec<String> {
    let texts = "sum(length(contact) + length(callid) + length(to_tag)), sum(expires), sum(status), sum(remote_cseq)";
    let dialogs = format!("SELECT count(DISTINCT callid), {texts}, min(local_cseq) >= 7 FROM active_watchers");
    let publications = "SELECT count(DISTINCT etag), sum(expires), sum(length(body)) FROM presentity";
    [&dialogs, publications].iter().flat_map(|statement| server.tables().run(statement)).collect()
}

/// What came of the starts.
#[derive(Default)]
struct Tally {
    most: u32,
    refused: u32,
    whole: u32,
    wrong: Vec<String>,
}

/// What is wrong with a start that came to this.
fn wrong(started: &mut Result<Kamailio, String>, count: u32) -> Option<String> {
    let server = match started {
        Err(log) => {
            let says = log.contains("start the server with more (-m)") && log.contains("ended with exit status: ");
            let last: Vec<&str> = log.lines().rev().take(4).collect();
            return (!says).then(|| format!("no sentence: {last:?}"));
        }
        Ok(server) => server,
    };
    // What is not in memory must not go from the tables either.
    let _ = server.rpc(&["presence.cleanup"]);
    if !Module::from_env().is_stock() {
        let loaded = ["subscriptions", "publications"].map(|name| server.status(name));
        if loaded != [i64::from(count); 2] {
            return Some(format!("{loaded:?} of {count} were loaded"));
        }
        is_up(server, "a start");
    }
    None
}

/// The allocations of each start fail from another one on: with the empty store each, with what is loaded every `step`-th.
fn starts(subs: u8, count: u32, in_a_row: u32, step: u32) {
    let empty = seen(&from_the_start(builder(&SQLITE, subs), NEVER, 1).start()).0;
    let lane = |lane: u32| {
        let mut first = stands_before(builder(&SQLITE, subs)).start();
        fill(&first, "sip:w@127.0.0.1:9", count, EACH, 100);
        first.stop();
        let before = rows(&first);
        let again = || builder(&Database::At(first.tables().clone()), subs);
        let most = seen(&from_the_start(again(), NEVER, 1).start()).0;
        let mut tally = Tally { most, ..Tally::default() };
        let numbers = (1..=most).filter(|n| *n <= empty || n % step == 0);
        for number in numbers.skip(lane as usize).step_by(LANES as usize) {
            let mut started = from_the_start(again(), number, in_a_row).try_start();
            let changed = || {
                let now = rows(&first);
                (now != before).then(|| format!("{before:?} became {now:?}"))
            };
            match wrong(&mut started, count).or_else(changed) {
                Some(sentence) => tally.wrong.push(format!("allocation {number}: {sentence}")),
                None if started.is_ok() => tally.whole += 1,
                None => tally.refused += 1,
            }
        }
        let server = again().start();
        if !Module::from_env().is_stock() {
            assert_eq!(is_whole(&server, false, "afterwards"), count as usize);
        }
        tally
    };
    let tallies: Vec<Tally> = std::thread::scope(|scope| {
        let lanes: Vec<_> = (0..LANES).map(|number| scope.spawn(move || lane(number))).collect();
        lanes.into_iter().map(|lane| lane.join().expect("a lane that found nothing wrong")).collect()
    });
    let sum = |of: fn(&Tally) -> u32| tallies.iter().map(of).sum::<u32>();
    let (refused, whole) = (sum(|t| t.refused), sum(|t| t.whole));
    println!(
        "subs_db_mode {subs}, {count} rows: {empty} allocations without them, {} with them; {refused} starts refused, {whole} \
         whole, {} wrong",
        tallies[0].most,
        sum(|t| t.wrong.len() as u32)
    );
    let wrong: Vec<&String> = tallies.iter().flat_map(|t| &t.wrong).take(9).collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(refused > 20, "hardly anything was allocated");
}

#[test]
fn a_start_without_memory_is_refused_or_whole() {
    for subs in [1, 2] {
        starts(subs, 1200, 1, 15);
    }
}

#[test]
#[ignore = "takes minutes: make soak"]
fn a_start_is_refused_or_whole_at_each_allocation() {
    for subs in [1, 2] {
        starts(subs, 3000, 1, 1);
        starts(subs, 1200, 3, 1);
    }
}
