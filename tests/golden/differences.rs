//! The list of differences in README: every one is intended, none is out of date.

use crate::compare::Difference;
use crate::setup::SetUp;

/// One row of the table.
#[derive(Clone, Debug)]
pub struct Row {
    case: String,
    set_ups: Vec<String>,
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
    let cells: Vec<&str> = line.trim_matches('|').split(" | ").map(|c| c.trim().trim_matches('`')).collect();
    let [case, set_ups, field, stock, here, why] = cells[..] else {
        return Err(format!("not six cells: {line}"));
    };
    if why.is_empty() || stock == here || [case, set_ups, field].iter().any(|c| c.contains('*')) {
        return Err(format!("not a difference with a reason: {line}"));
    }
    let difference = Difference { field: field.into(), stock: stock.into(), here: here.into() };
    Ok(Row { case: case.into(), set_ups: set_ups.split(", ").map(str::to_owned).collect(), difference })
}

/// Rows that say what is observed, and what is wrong: differences without a row, rows without a difference.
pub fn explain(rows: &[Row], set_up: SetUp, observed: &[(&str, Vec<Difference>)]) -> (usize, Vec<String>) {
    let mut wrong = Vec::new();
    let mut explained = 0;
    for (case, differences) in observed {
        let mut listed: Vec<&Difference> = rows
            .iter()
            .filter(|r| r.case == *case && r.set_ups.iter().any(|s| s == set_up.name()))
            .map(|r| &r.difference)
            .collect();
        for difference in differences {
            match listed.iter().position(|l| *l == difference) {
                Some(index) => {
                    listed.remove(index);
                    explained += 1;
                }
                None => wrong.push(format!("not listed: {}", line(case, set_up, difference))),
            }
        }
        wrong.extend(listed.iter().map(|d| format!("not observed: {}", line(case, set_up, d))));
    }
    (explained, wrong)
}

/// A row as the table has it.
pub fn line(case: &str, set_up: SetUp, difference: &Difference) -> String {
    let Difference { field, stock, here } = difference;
    format!("| {case} | {} | {field} | `{stock}` | `{here}` | |", set_up.name())
}
