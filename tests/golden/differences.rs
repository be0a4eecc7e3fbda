//! The list of differences in README: every one is intended, none is out of date.

use crate::compare::Difference;
use crate::setup::SetUp;

/// One row of the table.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Row {
    /// The case.
    pub case: String,
    set_ups: Vec<SetUp>,
    difference: Difference,
}

const HEADING: &str = "## Differences from the stock module";

/// Reads the table from the text of README.
pub fn rows(readme: &str) -> Result<Vec<Row>, String> {
    let (_, section) = readme.split_once(HEADING).ok_or_else(|| format!("README has no section {HEADING}"))?;
    let section = section.split("\n## ").next().unwrap_or_default();
    let lines = section.lines().filter(|l| l.starts_with('|'));
    lines.skip(2).map(row).collect()
}

fn row(line: &str) -> Result<Row, String> {
    let inner = line.strip_prefix("| ").and_then(|l| l.strip_suffix(" |")).unwrap_or_default();
    let cells: Vec<&str> = inner.split(" | ").map(|c| c.trim().trim_matches('`')).collect();
    let [case, set_ups, field, stock, here, why] = cells[..] else {
        return Err(format!("not six cells: {line}"));
    };
    if why.is_empty() || stock == here {
        return Err(format!("not a difference with a reason: {line}"));
    }
    let named = |name: &str| SetUp::ALL.into_iter().find(|s| s.name() == name);
    let set_ups = set_ups.split(", ").map(|name| named(name).ok_or_else(|| format!("no set-up {name}: {line}")));
    let difference = Difference { field: field.into(), stock: stock.into(), here: here.into() };
    Ok(Row { case: case.into(), set_ups: set_ups.collect::<Result<_, _>>()?, difference })
}

/// Holds what was observed against the rows: how many differences have one, and what is wrong, which is differences
/// without a row and rows without a difference.
pub fn explain(rows: &[Row], set_up: SetUp, observed: &[(&str, Vec<Difference>)]) -> (usize, Vec<String>) {
    let mut unused: Vec<&Row> = rows.iter().filter(|r| r.set_ups.contains(&set_up)).collect();
    let mut wrong = Vec::new();
    let mut explained = 0;
    for (case, difference) in observed.iter().flat_map(|(case, all)| all.iter().map(move |d| (*case, d))) {
        match unused.iter().position(|r| r.case == case && r.difference == *difference) {
            Some(index) => {
                unused.remove(index);
                explained += 1;
            }
            None => wrong.push(format!("not listed: {}", line(case, set_up, difference))),
        }
    }
    wrong.extend(unused.iter().map(|r| format!("not observed: {}", line(&r.case, set_up, &r.difference))));
    (explained, wrong)
}

/// A row as the table has it, but for the reason.
fn line(case: &str, set_up: SetUp, difference: &Difference) -> String {
    let Difference { field, stock, here } = difference;
    format!("| {case} | {} | {field} | `{stock}` | `{here}` | |", set_up.name())
}
