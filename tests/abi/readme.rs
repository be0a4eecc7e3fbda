//! The table of the interface in README: everything that the running server offers of the module has a row, and every
//! row names a test. `README_WRITE=1` writes the rows anew; tests that were named stay.

use crate::{ask, builder};
use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

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
    let source =
        std::env::var_os("KAMAILIO_SRC").map_or_else(|| testkit::root().join("target/kamailio-src"), PathBuf::from);
    let path = source.join("src/modules/presence/bind_presence.h");
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

/// Whether there is a test `binary::module::function` (`binary::function` where the binary is one file).
fn is_test(name: &str) -> bool {
    let parts: Vec<&str> = name.split("::").collect();
    let tests = testkit::root().join("tests");
    let (files, function) = match parts[..] {
        [binary, function] => (vec![tests.join(format!("{binary}.rs")), tests.join(binary).join("main.rs")], function),
        [binary, module, function] => (vec![tests.join(binary).join(format!("{module}.rs"))], function),
        _ => return false,
    };
    let head = format!("#[test]\nfn {function}()");
    files.iter().any(|file| fs::read_to_string(file).is_ok_and(|text| text.contains(&head)))
}

fn write(path: &PathBuf, readme: &str, offered: &[(String, String)], tests: &BTreeMap<(String, String), String>) {
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
    let readme = fs::read_to_string(&path).expect("README can be read");
    let (offered, mut listed) = (offered(), rows(&readme));
    if std::env::var_os("README_WRITE").is_some() {
        write(&path, &readme, &offered, &listed);
    }
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
