//! Every column as the stock module writes it: the same requests to both, their tables side by side.

use crate::differences::{Difference, PERMITTED, is_over};
use crate::table::{Row, Run, key};
use crate::{ASK_FIRST, for_stock, scenarios, server};
use testkit::kamailio::Module;
use testkit::phone::pidf;
use testkit::{Database, Kamailio, Phone};

crate::on_each_database! {
    publications_are_written_as_the_stock_module_writes_them,
    subscriptions_are_written_as_the_stock_module_writes_them,
    watchers_are_written_as_the_stock_module_writes_them,
    an_offset_of_expires_changes_the_columns_as_with_the_stock_module,
    the_id_of_an_event_has_its_column,
}

const TABLES: [&str; 3] = ["presentity", "active_watchers", "watchers"];

type Tables = Vec<Vec<Row>>;

/// The tables after a run. With write-back they are complete when the server has stopped.
fn run(db: &Database, module: Module, publ: u8, subs: u8, extra: &str, scenario: fn(&Kamailio) -> Run) -> Tables {
    // One worker and no notifier: the stock module loses writes when two processes meet at the file.
    let alone = server(db, publ, subs).children(1).param("notifier_processes", 0);
    let alone = for_stock(db, alone);
    let mut server = alone.module(module).extra(extra).routes(scenarios::ROUTES).start();
    let run = scenario(&server);
    if subs == 2 {
        server.stop();
    }
    TABLES.map(|table| run.rows(&server, table)).into()
}

/// The permitted difference that explains this one, as its place in the list.
fn explained(table: &str, column: &str, subs: u8, ours: &str, stock: &str) -> Option<usize> {
    let explains = |d: &Difference| d.column == column && d.modes.contains(&subs) && (d.fits)(ours, stock);
    if table == "active_watchers" { PERMITTED.iter().position(explains) } else { None }
}

/// What differs and may not. What may is ticked off in `met`.
fn differences(table: &str, subs: u8, ours: &[Row], stock: &[Row], met: &mut [u32]) -> Vec<String> {
    let mut found = Vec::new();
    for row in ours.iter().filter(|row| !stock.iter().any(|other| key(other) == key(row))) {
        found.push(format!("{table}: only ours has {}", key(row)));
    }
    for theirs in stock {
        let Some(our) = ours.iter().find(|row| key(row) == key(theirs)) else {
            if table != "active_watchers" || !is_over(theirs) {
                found.push(format!("{table}: only stock has {}", key(theirs)));
            }
            continue;
        };
        for (column, other) in theirs.iter().filter(|(column, other)| our[*column] != **other) {
            match explained(table, column, subs, &our[column], other) {
                Some(at) => met[at] += 1,
                None => found.push(format!("{table}.{column} of {}: {}, stock has {other}", key(theirs), our[column])),
            }
        }
    }
    found
}

fn compare(db: &Database, modes: &[(u8, u8)], extra: &str, filled: &[&str], scenario: fn(&Kamailio) -> Run) {
    let mut found = Vec::new();
    let mut met = [0; PERMITTED.len()];
    for &(publ, subs) in modes {
        let compare_once = |met: &mut [u32]| {
            let ours = run(db, Module::from_env(), publ, subs, extra, scenario);
            let stock = run(db, Module::Stock, publ, subs, extra, scenario);
            let mut differ = Vec::new();
            for (at, table) in TABLES.iter().enumerate() {
                if filled.contains(table) {
                    assert!(stock[at].len() >= 5, "{table}: only {} rows to compare", stock[at].len());
                }
                differ.extend(differences(table, subs, &ours[at], &stock[at], met));
            }
            differ
        };
        let mut differ = compare_once(&mut met);
        if !differ.is_empty() {
            // On a busy machine the stock module now and then loses a write.
            differ = compare_once(&mut met);
        }
        found.extend(differ.into_iter().map(|d| format!("publ_cache {publ}, subs_db_mode {subs}: {d}")));
    }
    for (difference, times) in PERMITTED.iter().zip(met).filter(|(_, times)| *times > 0) {
        println!("{} in subs_db_mode {:?}: {times} rows ({})", difference.column, difference.modes, difference.reason);
    }
    assert!(found.is_empty(), "{} differences:\n{}", found.len(), found.join("\n"));
}

fn publications_are_written_as_the_stock_module_writes_them(db: &Database) {
    compare(db, &[(0, 2), (1, 2), (1, 3)], "", &["presentity"], scenarios::publications);
}

fn subscriptions_are_written_as_the_stock_module_writes_them(db: &Database) {
    compare(db, &[(1, 1), (1, 2), (1, 3), (0, 1)], "", &["active_watchers"], scenarios::subscriptions);
}

fn watchers_are_written_as_the_stock_module_writes_them(db: &Database) {
    compare(db, &[(1, 1), (1, 2), (1, 3)], ASK_FIRST, &["active_watchers", "watchers"], scenarios::watchers);
}

fn an_offset_of_expires_changes_the_columns_as_with_the_stock_module(db: &Database) {
    // More than the 25 s within which two times are the same.
    let offset = "modparam(\"presence\", \"expires_offset\", 100)";
    compare(db, &[(1, 2)], offset, &["presentity"], scenarios::publications);
    compare(db, &[(1, 1), (1, 3)], offset, &["active_watchers"], scenarios::subscriptions);
}

fn the_id_of_an_event_has_its_column(db: &Database) {
    // The stock module answers 489 to an Event with an id (RFC 6665 8.2.1 has it): nothing to compare with.
    for subs in [1, 2, 3] {
        let mut server = server(db, 1, subs).start();
        let mut bob = Phone::new("bob", server.port);
        bob.subscribe("alice", "presence;id=seven", 600);
        server.stop();
        let rows = server.tables().run("SELECT event, event_id FROM active_watchers");
        assert_eq!(rows, ["presence|seven"], "subs_db_mode {subs}");
        server.restart();
        let mut alice = Phone::new("alice", server.port);
        bob.inbox.clear();
        assert_eq!(alice.publish("presence", None, Some(600), &pidf("alice", "open", "here")).code(), 200);
        assert_eq!(bob.notify().header("Event"), Some("presence;id=seven"), "subs_db_mode {subs}");
    }
}
