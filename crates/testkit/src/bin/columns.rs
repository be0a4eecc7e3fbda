//! `columns OURS STOCK REASONS`: what the tests said of this project's presence.so and of Kamailio's own, side by side.
//!
//! `OURS` and `STOCK` are logs of `cargo test -- --show-output`. A test that says `ignored: <why>` on its standard output
//! claims nothing about the module it ran with. `REASONS` is a Markdown file with a table of the tests that fail with the
//! stock module and why; a reason that begins with "sometimes: " is of one that fails by chance. Exit status 1: a test
//! failed with this project's module, one failed with stock and has no reason, a reason belongs to no such test, or no
//! test ran.

use std::collections::BTreeMap;
use std::fmt;
use std::process::ExitCode;

/// What a test said.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Outcome {
    Passed,
    Failed,
    Ignored(String),
    /// It did not run, or did not come to its end.
    Nothing,
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Passed => "ok",
            Self::Failed => "FAILED",
            Self::Ignored(_) => "-",
            Self::Nothing => "nothing",
        })
    }
}

/// The outcomes in a log, by `binary::path::of::test`.
fn outcomes(log: &str) -> BTreeMap<String, Outcome> {
    let mut all = BTreeMap::new();
    let (mut binary, mut shown) = ("", None);
    for line in log.lines() {
        if let Some(name) = running(line) {
            (binary, shown) = (name, None);
        } else if let Some((name, outcome)) = line.strip_prefix("test ").and_then(|rest| rest.split_once(" ... ")) {
            let outcome = match outcome {
                "ok" => Outcome::Passed,
                "FAILED" => Outcome::Failed,
                _ => Outcome::Ignored(outcome.strip_prefix("ignored, ").unwrap_or_default().to_owned()),
            };
            all.insert(format!("{binary}::{name}"), outcome);
        } else if let Some(name) = line.strip_prefix("---- ").and_then(|rest| rest.strip_suffix(" stdout ----")) {
            shown = Some(format!("{binary}::{name}"));
        } else if let (Some(name), Some(why)) = (&shown, line.strip_prefix("ignored: ")) {
            all.insert(name.clone(), Outcome::Ignored(why.to_owned()));
        }
    }
    all
}

/// The name of the test binary that a line of cargo announces: "Running tests/host.rs (target/.../deps/host-0123abcd)".
fn running(line: &str) -> Option<&str> {
    let path = line.trim_start().strip_prefix("Running ")?.split_once('(')?.1.strip_suffix(')')?;
    path.rsplit('/').next()?.rsplit_once('-').map(|(name, _)| name)
}

/// The rows of a table "test | why".
fn reasons(markdown: &str) -> BTreeMap<String, String> {
    let row = |line: &str| {
        let (test, why) = line.strip_prefix("| `")?.strip_suffix(" |")?.split_once("` | ")?;
        Some((test.to_owned(), why.trim().to_owned()))
    };
    markdown.lines().filter_map(row).collect()
}

/// The two columns, and what must not be.
fn compare(ours: &str, stock: &str, markdown: &str) -> (String, Vec<String>) {
    let (ours, stock, mut reasons) = (outcomes(ours), outcomes(stock), reasons(markdown));
    let (mut table, mut wrong) = (String::new(), Vec::new());
    let width = ours.keys().map(String::len).max().unwrap_or(0);
    for (test, own) in &ours {
        let other = stock.get(test).unwrap_or(&Outcome::Nothing);
        let why = match (other, reasons.remove(test)) {
            (Outcome::Failed, Some(why)) => why,
            (Outcome::Failed, None) => {
                wrong.push(format!("{test} fails with the stock module, and nothing says why"));
                String::new()
            }
            (Outcome::Ignored(why), reason) => {
                wrong.extend(
                    reason.map(|_| format!("{test} does not run with the stock module, and has a reason to fail")),
                );
                why.clone()
            }
            (_, reason) => {
                let reason = reason.filter(|why| !why.starts_with("sometimes: "));
                wrong
                    .extend(reason.map(|_| format!("{test} does not fail with the stock module, and has a reason to")));
                String::new()
            }
        };
        if matches!(own, Outcome::Failed | Outcome::Nothing) || *other == Outcome::Nothing {
            wrong.push(format!("{test}: {own} here, {other} with the stock module"));
        }
        table += format!("{test:<width$}  {own:<8}{other:<8}{why}").trim_end();
        table.push('\n');
    }
    wrong.extend(reasons.keys().map(|test| format!("{test} has a reason to fail, and is no test")));
    let count = |of: &BTreeMap<String, Outcome>, what: &Outcome| of.values().filter(|o| *o == what).count();
    let line = |of| format!("{} passed, {} failed", count(of, &Outcome::Passed), count(of, &Outcome::Failed));
    table += &format!("ours: {}; stock: {}\n", line(&ours), line(&stock));
    if ours.is_empty() {
        wrong.push("no test ran".into());
    }
    (table, wrong)
}

fn main() -> ExitCode {
    let paths: Vec<String> = std::env::args().skip(1).collect();
    let [ours, stock, markdown] = &paths[..] else {
        eprintln!("usage: columns OURS STOCK REASONS");
        return ExitCode::from(2);
    };
    let read = |path: &String| std::fs::read(path).map(|text| String::from_utf8_lossy(&text).into_owned());
    let (table, wrong) = match (read(ours), read(stock), read(markdown)) {
        (Ok(ours), Ok(stock), Ok(markdown)) => compare(&ours, &stock, &markdown),
        (ours, stock, markdown) => {
            let mistakes = [(ours, &paths[0]), (stock, &paths[1]), (markdown, &paths[2])];
            for (path, error) in mistakes.into_iter().filter_map(|(read, path)| Some((path, read.err()?))) {
                eprintln!("{path}: {error}");
            }
            return ExitCode::from(2);
        }
    };
    print!("{table}");
    for line in &wrong {
        println!("WRONG: {line}");
    }
    if wrong.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OURS: &str = "\
     Running tests/host.rs (target/release/deps/host-0a1b)
test a ... ok
test b ... ok
     Running tests/scripting/main.rs (target/release/deps/scripting-77)
test rules::c ... ok
test d ... ignored, it takes long
";

    fn stock(a: &str) -> String {
        format!(
            "     Running tests/host.rs (target/release/deps/host-0a1b)\ntest a ... {a}\ntest b ... ok\n\
             successes:\n\n---- b stdout ----\nignored: 5.6.3 has no such command\n\
             \x20    Running tests/scripting/main.rs (target/release/deps/scripting-77)\n\
             test rules::c ... ok\ntest d ... ignored, it takes long\n"
        )
    }

    #[test]
    fn a_failure_of_stock_needs_a_reason_and_a_reason_a_failure() {
        let because = "| test | why |\n|---|---|\n| `host::a` | it forgets |\n";
        let (table, wrong) = compare(OURS, &stock("FAILED"), because);
        assert!(wrong.is_empty(), "{wrong:?}");
        let words: Vec<String> = table.lines().map(|l| l.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
        assert_eq!(words[0], "host::a ok FAILED it forgets");
        assert_eq!(words[1], "host::b ok - 5.6.3 has no such command");
        assert_eq!(compare(OURS, &stock("FAILED"), "").1.len(), 1);
        assert_eq!(compare(OURS, &stock("ok"), because).1.len(), 1);
        let by_chance = because.replace("it forgets", "sometimes: it forgets");
        assert!(compare(OURS, &stock("ok"), &by_chance).1.is_empty());
        assert!(compare(OURS, &stock("FAILED"), &by_chance).1.is_empty());
        assert_eq!(compare(OURS, &stock("ok"), "| `host::z` | gone |").1.len(), 1);
    }

    #[test]
    fn a_failure_here_a_missing_test_and_no_test_are_wrong() {
        assert!(compare(OURS, &stock("ok"), "").1.is_empty());
        assert_eq!(compare(&stock("FAILED"), &stock("ok"), "").1.len(), 1);
        assert_eq!(compare(OURS, "", "").1.len(), 4);
        assert_eq!(compare("", "", "").1, ["no test ran"]);
    }
}
