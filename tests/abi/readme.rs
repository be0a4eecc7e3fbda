//! The table of the interface in README: everything that the running server offers of the module has a row, and every
//! row names a test. `README_WRITE=1` writes the rows anew; tests that were named stay. The same for the table of
//! requirements.

use crate::{ask, builder};
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

const HEADING: &str = "| interface | name | test |\n|---|---|---|\n";

/// Where the script is called; the host keeps no list of these.
const EVENT_ROUTES: [&str; 2] = ["presence:notify-reply", "tm:local-request"];

/// What there is, as (interface, name).
fn offered() -> Vec<(String, String)> {
    let server = builder().start();
    let mut all: Vec<(String, String)> = ask(&server, &["caller.exports", "presence"])
        .lines()
        .filter_map(|line| line.trim().split_once(' '))
        .map(|(kind, rest)| {
            let kind = if kind == "param" { "modparam" } else { kind };
            (kind.to_owned(), rest.split(' ').next().unwrap_or(rest).to_owned())
        })
        .collect();
    all.extend(EVENT_ROUTES.map(|name| ("event_route".to_owned(), name.to_owned())));
    all.extend(api().into_iter().map(|field| ("presence_api_t".to_owned(), field)));
    let order = ["modparam", "function", "kemi", "rpc", "pv", "event_route", "presence_api_t"];
    all.sort_by_key(|(kind, _)| order.iter().position(|k| k == kind));
    all.dedup();
    all
}

/// The fields of `presence_api_t`, from Kamailio's header.
fn api() -> Vec<String> {
    let path = testkit::kamailio::source().join("src/modules/presence/bind_presence.h");
    let text = fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let (_, body) = text.split_once("typedef struct presence_api").expect("the structure");
    let (_, body) = body.split_once('{').expect("its beginning");
    let (body, _) = body.split_once('}').expect("its end");
    let fields = body.split(';').filter_map(|field| field.split_whitespace().last());
    fields.map(|name| name.trim_start_matches('*').to_owned()).collect()
}

/// The rows: the test of each (interface, name).
fn rows(readme: &str) -> BTreeMap<(String, String), String> {
    let (_, table) = readme.split_once(HEADING).expect("README has the table of the interface");
    let row = |line: &str| {
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(|c| c.trim().trim_matches('`')).collect();
        let [kind, name, test] = cells[..] else { panic!("not three cells: {line}") };
        ((kind.to_owned(), name.to_owned()), test.to_owned())
    };
    table.lines().take_while(|line| line.starts_with('|')).map(row).collect()
}

/// Whether there is a test of that name that runs with `make test`: `binary::module::function`, or `binary::function`
/// where the binary is one file. One that is made for each database is `binary::module::database::function`.
fn is_test(name: &str) -> bool {
    let tests = testkit::root().join("tests");
    let read = |path: String| fs::read_to_string(tests.join(path)).unwrap_or_default();
    let module = |binary: &str, module: &str| {
        let declared = read(format!("{binary}/main.rs")).contains(&format!("\nmod {module};\n"));
        if declared { read(format!("{binary}/{module}.rs")) } else { String::new() }
    };
    let is_in = |text: &str, function: &str| text.contains(&format!("\n#[test]\nfn {function}()"));
    match name.split("::").collect::<Vec<_>>()[..] {
        [binary, function] => {
            is_in(&read(format!("{binary}.rs")), function) || is_in(&read(format!("{binary}/main.rs")), function)
        }
        [binary, file, function] => is_in(&module(binary, file), function),
        [binary, file, database, function] => on_database(&module(binary, file), database).contains(&function),
        _ => false,
    }
}

/// The functions that `on_each_database!` makes tests of in a file: those behind its semicolon not with SQLite.
fn on_database<'a>(text: &'a str, database: &str) -> Vec<&'a str> {
    let Some((_, list)) = text.split_once("\ncrate::on_each_database! {\n") else { return Vec::new() };
    let (list, _) = list.split_once("\n}\n").expect("the end of the list");
    let (all, of_servers) = list.split_once(';').unwrap_or((list, ""));
    let names = |list: &'a str| list.split(',').map(str::trim).filter(|name| !name.is_empty());
    match database {
        "sqlite" => names(all).collect(),
        "postgres" | "mariadb" => names(all).chain(names(of_servers)).collect(),
        _ => Vec::new(),
    }
}

#[test]
fn only_the_name_of_a_test_is_taken_for_one() {
    for name in [
        "host::a_watcher_follows_a_publication_from_beginning_to_end",
        "abi::readme::only_the_name_of_a_test_is_taken_for_one",
        "storage::modes::sqlite::every_combination_serves_and_stops",
        "storage::modes::only_memory_needs_no_database",
        "storage::outage::mariadb::what_is_in_memory_goes_on_without_the_database",
    ] {
        assert!(is_test(name), "{name}");
    }
    for name in [
        "",
        "host",
        "host::",
        "host::nothing",
        "nothing::a_watcher_follows_a_publication_from_beginning_to_end",
        // Functions that are no tests, or not in that place.
        "abi::readme::is_test",
        "abi::interface::put",
        "abi::only_the_name_of_a_test_is_taken_for_one",
        "storage::modes::serve",
        "storage::modes::every_combination_serves_and_stops",
        "storage::modes::oracle::every_combination_serves_and_stops",
        "storage::modes::sqlite::only_memory_needs_no_database",
        "storage::outage::sqlite::what_is_in_memory_goes_on_without_the_database",
        // Part of `make soak` only.
        "storage::restore::two_hundred_thousand_subscriptions_are_there_after_a_start",
        // Of no binary.
        "endurance::memory::a_step_is_no_slope_and_a_leak_is_one",
    ] {
        assert!(!is_test(name), "{name}");
    }
}

#[test]
fn every_requirement_has_a_test_or_a_sentence() {
    let text = fs::read_to_string(testkit::root().join("tests/REQUIREMENTS.md")).expect("it can be read");
    let rows: Vec<Vec<&str>> = text
        .lines()
        .filter(|line| line.starts_with("| R"))
        .map(|line| line.trim_matches('|').split('|').map(str::trim).collect())
        .collect();
    let mut wrong = Vec::new();
    for (number, row) in rows.iter().enumerate() {
        let [name, _, tests, remarks] = row[..] else { panic!("not four cells: {row:?}") };
        assert_eq!(name, format!("R{}", number + 1), "rows in their order");
        if tests.is_empty() && remarks.is_empty() {
            wrong.push(format!("{name}: neither a test nor a sentence"));
        }
        let missing = tests.split_whitespace().map(|test| test.trim_matches('`')).filter(|test| !is_test(test));
        wrong.extend(missing.map(|test| format!("{name}: no test \"{test}\"")));
    }
    assert_eq!(rows.len(), 51);
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn write(path: &Path, readme: &str, offered: &[(String, String)]) {
    let tests = rows(readme);
    let (before, after) = readme.split_once(HEADING).expect("README has the table of the interface");
    let after = &after[after.lines().take_while(|l| l.starts_with('|')).map(|l| l.len() + 1).sum::<usize>()..];
    let row = |of: &(String, String)| {
        let test = tests.get(of).filter(|t| !t.is_empty()).map_or(String::new(), |t| format!("`{t}`"));
        format!("| {} | `{}` | {test} |\n", of.0, of.1)
    };
    let table: String = offered.iter().map(row).collect();
    fs::write(path, [before, HEADING, &table, after].concat()).expect("README can be written");
}

#[test]
fn every_part_of_the_interface_has_a_test() {
    if testkit::Module::from_env().is_stock() {
        println!("ignored: README is about this project's module");
        return;
    }
    let path = testkit::root().join("README.md");
    let read = || fs::read_to_string(&path).expect("README can be read");
    let offered = offered();
    if std::env::var_os("README_WRITE").is_some() {
        write(&path, &read(), &offered);
    }
    let mut listed = rows(&read());
    assert!(offered.len() > 90, "only {} parts: {offered:?}", offered.len());
    let mut wrong = Vec::new();
    for part in &offered {
        match listed.remove(part) {
            None => wrong.push(format!("no row: {part:?}")),
            Some(test) if !is_test(&test) => wrong.push(format!("no test \"{test}\": {part:?}")),
            Some(_) => {}
        }
    }
    wrong.extend(listed.keys().map(|part| format!("not offered: {part:?}")));
    println!("{} parts of the interface", offered.len());
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
