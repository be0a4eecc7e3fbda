//! The golden suite: what the stock module said on the wire, case by case, and what the module under test says now.
//!
//! Each case runs against a Kamailio of its own. With `PRESENCE_SO=stock` the recordings must come out again without
//! any difference; with this project's module exactly the differences that README lists. `GOLDEN=p12,s` plays only
//! cases whose names begin so. What was seen is kept in `golden/` in Cargo's folder for the tests' temporary files.

mod altered;
mod cases;
mod compare;
mod differences;
mod names;
mod pool;
mod request;
mod scene;
mod setup;
mod trace;

use cases::Case;
use compare::Difference;
use scene::Scene;
use setup::SetUp;
use std::fs;
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use testkit::Module;
use trace::Trace;

/// The stock module without a database takes the server down in these: nothing is recorded of them.
const STOCK_STOPS: [&str; 5] =
    ["s18_winfo_empty", "s19_winfo_sequence", "n07_subscription_expires", "n08_full_sequence", "n09_winfo_481"];

/// A server whose worker has died goes down within this time.
const GRACE: Duration = Duration::from_secs(10);

/// How often a case is played until the machine is fast enough for it.
const ATTEMPTS: u32 = 8;

/// What one case should give.
struct Expected {
    case: Case,
    /// The recording; where the stock module stopped, that of the set-up with a database.
    trace: Trace,
    /// Whether the stock module stopped.
    stops: bool,
}

#[test]
fn memory_is_as_recorded() -> Result<(), String> {
    suite(SetUp::Memory)
}

#[test]
fn sqlite_is_as_recorded() -> Result<(), String> {
    suite(SetUp::Sqlite)
}

#[test]
fn dbonly_is_as_recorded() -> Result<(), String> {
    suite(SetUp::DbOnly)
}

/// The set-ups take turns: each keeps the machine busy by itself.
static TURN: Mutex<()> = Mutex::new(());

fn suite(set_up: SetUp) -> Result<(), String> {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let module = Module::from_env();
    let mut expected = expected(set_up)?;
    // The longest first: they decide how long it all takes.
    expected.sort_by(|a, b| b.trace.length().total_cmp(&a.trace.length()));
    let played = pool::map(&expected, |e| (e.case.name, compare_one(set_up, e, &module)));
    let mut observed = Vec::new();
    for (case, differences) in played {
        observed.push((case, differences.map_err(|e| format!("{case}: {e}"))?));
    }
    let rows = if module.is_stock() { Vec::new() } else { listed()? };
    let (explained, wrong) = differences::explain(&rows, set_up, &observed);
    println!("{}: {} cases compared, {explained} differences explained", set_up.name(), observed.len());
    assert!(wrong.is_empty(), "{}: {} unexplained\n{}", set_up.name(), wrong.len(), wrong.join("\n"));
    Ok(())
}

fn listed() -> Result<Vec<differences::Row>, String> {
    let readme = fs::read_to_string(testkit::root().join("README.md")).map_err(|e| format!("README.md: {e}"))?;
    let mut rows = differences::rows(&readme)?;
    rows.retain(|row| is_wanted(&row.case));
    Ok(rows)
}

fn is_wanted(case: &str) -> bool {
    let wanted = std::env::var("GOLDEN").unwrap_or_default();
    wanted.split(',').any(|name| case.starts_with(name))
}

/// The cases that were recorded in this set-up, or stopped the server there.
fn expected(set_up: SetUp) -> Result<Vec<Expected>, String> {
    let mut found = Vec::new();
    for case in cases::all().filter(|c| is_wanted(c.name)) {
        let stops = set_up == SetUp::Memory && STOCK_STOPS.contains(&case.name);
        let source = if stops { SetUp::Sqlite } else { set_up };
        found.extend(source.recorded(case.name)?.map(|trace| Expected { case, trace, stops }));
    }
    Ok(found)
}

fn compare_one(set_up: SetUp, expected: &Expected, module: &Module) -> Result<Vec<Difference>, String> {
    let stops = expected.stops && module.is_stock();
    let (seen, runs) = play(set_up, expected.case, if stops { GRACE } else { Duration::ZERO })?;
    keep(set_up, expected.case, &seen)?;
    let server = Difference { field: "server".into(), stock: state(!expected.stops), here: state(runs) };
    if stops {
        return Ok(if runs { vec![server] } else { Vec::new() });
    }
    let mut found = if set_up.is_buffered() {
        compare::settled(&expected.trace, &seen)
    } else {
        compare::exact(&expected.trace, &seen)
    };
    if server.stock != server.here {
        found.insert(0, server);
    }
    Ok(found)
}

fn state(runs: bool) -> String {
    if runs { "runs" } else { "stops" }.into()
}

/// Plays a case; what was seen, and whether the server still runs. Where the machine was too busy for the case, again.
fn play(set_up: SetUp, case: Case, grace: Duration) -> Result<(Trace, bool), String> {
    for _ in 0..ATTEMPTS {
        let server = set_up.server().try_start()?;
        let mut scene = Scene::new(case.name, set_up, server).map_err(|e| e.to_string())?;
        if set_up.is_buffered() {
            scene.tune_in();
        }
        (case.play)(&mut scene);
        if scene.is_in_time() {
            scene.settle();
            return Ok(scene.end(grace));
        }
    }
    Err(format!("the machine is too busy: {ATTEMPTS} times its requests took too long"))
}

fn keep(set_up: SetUp, case: Case, seen: &Trace) -> Result<(), String> {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("golden").join(set_up.name());
    let written = fs::create_dir_all(&folder)
        .and_then(|()| fs::write(folder.join(format!("{}.norm", case.name)), seen.to_string()));
    written.map_err(|e| format!("{}: {e}", folder.display()))
}
