//! The results as Markdown: on the terminal, and in a file that is kept.

use crate::options::{Mode, Options};
use crate::plot::{self, Plot};
use crate::row::{Row, Side, Unit};
use crate::table::Table;
use std::fmt::Write as _;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// When, on what, with what.
pub struct Machine {
    /// Year, month and day (UTC).
    pub date: String,
    time: String,
    kamailio: String,
    kernel: String,
    rustc: String,
    load: String,
    cpus: usize,
}

impl Machine {
    pub fn look() -> Self {
        let now = first_line("date", &["-u", "+%Y-%m-%d %H:%M"]);
        let (date, time) = now.split_once(' ').unwrap_or((&now, ""));
        let binary = std::env::var("KAMAILIO_BIN").unwrap_or_else(|_| "kamailio".into());
        let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
        Self {
            date: date.to_owned(),
            time: time.to_owned(),
            kamailio: first_line(&binary, &["-v"]).split(' ').nth(2).unwrap_or("of an unknown version").to_owned(),
            kernel: first_line("uname", &["-sr"]),
            rustc: first_line("rustc", &["--version"]),
            load: load.split(' ').next().unwrap_or_default().to_owned(),
            cpus: std::thread::available_parallelism().map_or(0, usize::from),
        }
    }

    /// The head of the results.
    pub fn heading(&self, options: &Options) -> String {
        let Self { date, time, kamailio, kernel, rustc, load, cpus } = self;
        let Options { operations, rounds, .. } = options;
        let rounds = if *rounds == 1 { "one round".to_owned() } else { format!("{rounds} rounds") };
        let more = match options.mode.time() {
            None => ", more where a ratio is not exact by then".to_owned(),
            Some(time) => format!(", or as many as fit into {} minutes", time.as_secs() / 60),
        };
        format!(
            "# Benchmark, {date}\n\n\
             `{}`, begun at {time} UTC. Ours: presence.so {}, built by {rustc}; stock: that of Kamailio {kamailio}, which \
             runs both; {kernel}; {cpus} CPUs, shared with the load; load average at the start {load}. {operations} \
             operations per row and round, {rounds}{more}. All servers of a set-up run side by side and get the \
             same load in turn, part by part; CPU is that of all processes of a server. The allocator is that of shared \
             and private memory.\n\n\
             `x stock` is the ratio over all rounds with two standard errors; `min / median / max` are the ratios of single \
             rounds, and the median decides about a target. The floor is a Kamailio without presence: `t_newtran` and \
             `t_reply` with the same headers. (With qm an allocation walks the empty free lists up to the next fragment, \
             and a server that frees little has few fragments: there the floor may lie above a presence server.) A row is \
             void in which an answer was not 200 or a NOTIFY was lost, late in its dialog or told too much.\n",
            command(options),
            env!("CARGO_PKG_VERSION"),
        )
    }
}

fn first_line(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output().ok();
    output.and_then(|o| Some(String::from_utf8_lossy(&o.stdout).lines().next()?.trim().to_owned())).unwrap_or_default()
}

fn command(options: &Options) -> String {
    let mode = match options.mode {
        Mode::Quick => " QUICK=1",
        Mode::Standard => "",
        Mode::Full => " FULL=1",
    };
    let others =
        if options.given.is_empty() { String::new() } else { format!(" BENCH=\"{}\"", options.given.join(" ")) };
    format!("make bench{mode}{others}")
}

/// The tables of a set-up, one for each unit.
pub fn section(table: &Table) -> String {
    let mut text = format!("\n## {}, rounds {}\n", table.setup.heading(), table.rounds());
    for unit in [Unit::Cpu, Unit::Wait, Unit::Memory] {
        let rows: Vec<Row> = table.rows().filter(|row| row.unit() == unit).collect();
        if !rows.is_empty() {
            let head =
                [unit.to_string().as_str(), "ours", "stock", "floor", "x stock", "min / median / max", "target", ""]
                    .map(str::to_owned);
            text.push('\n');
            text.push_str(&aligned(&head, &rows.into_iter().map(|row| line(table, row)).collect::<Vec<_>>()));
        }
    }
    let voids = table.voids();
    if !voids.is_empty() {
        text.push('\n');
    }
    for void in voids {
        let _ = writeln!(text, "- {void}");
    }
    text
}

fn line(table: &Table, row: Row) -> [String; 8] {
    let number = |side| match table.cell(row, side) {
        None => "-".to_owned(),
        Some(cell) if cell.is_void() => "void".to_owned(),
        Some(cell) => format!("{:.*}", if row.unit() == Unit::Wait { 2 } else { 1 }, cell.cost()),
    };
    let ratio = table.ratio(row).map_or("-".into(), |ratio| ratio.to_string());
    let spread = table.spread(row, (Side::Stock, row)).map_or("-".into(), |spread| spread.to_string());
    let (target, verdict) = table.judged(row).map_or(Default::default(), |(target, spread, verdict)| {
        // The ratios to the stock module are there already.
        let spread = spread.filter(|_| target.basis != (Side::Stock, row));
        let verdict = spread.map_or(verdict.to_string(), |spread| format!("{verdict}: {spread}"));
        (target.to_string(), verdict)
    });
    [row.to_string(), number(Side::Ours), number(Side::Stock), number(Side::Floor), ratio, spread, target, verdict]
}

/// A Markdown table whose columns stand below each other: numbers to the right.
fn aligned<const N: usize>(head: &[String; N], lines: &[[String; N]]) -> String {
    let width = |column: usize| {
        let cells = lines.iter().chain([head]).map(|line| line[column].chars().count());
        cells.max().unwrap_or(0).max(3)
    };
    let widths: Vec<usize> = (0..N).map(width).collect();
    let mut text = String::new();
    let mut write = |line: &[String; N]| {
        for (column, (cell, width)) in line.iter().zip(&widths).enumerate() {
            let _ = if column == 0 { write!(text, "| {cell:<width$} ") } else { write!(text, "| {cell:>width$} ") };
        }
        text.push_str("|\n");
    };
    write(head);
    let rule = |column: usize| {
        if column == 0 { "-".repeat(widths[0]) } else { format!("{}:", "-".repeat(widths[column] - 1)) }
    };
    write(&std::array::from_fn(rule));
    lines.iter().for_each(write);
    text
}

/// What must not be, and what was not asked.
pub fn end(tables: &[Table], failures: &[String], took: Duration) -> String {
    let mut text = String::new();
    if tables.iter().any(|table| table.setup.has_a_crowd()) {
        text.push_str(
            "\nThe stock module is asked about up to 10,000 watchers of one presentity: each SUBSCRIBE costs it more than \
             the one before, and with 8 MB of private memory it tells nobody from about 14,000 watchers on.\n",
        );
    }
    let _ = writeln!(text, "\nTook {} min {:02} s.\n", took.as_secs() / 60, took.as_secs() % 60);
    for failure in failures {
        let _ = writeln!(text, "FAILED: {failure}");
    }
    if failures.is_empty() {
        text.push_str("Nothing is void with ours or dearer than with the stock module.\n");
    }
    text
}

/// Writes the results and their plots into a folder. Gives the file.
pub fn save(folder: &Path, name: &str, text: &str, tables: &[Table]) -> io::Result<PathBuf> {
    fs::create_dir_all(folder)?;
    let mut text = text.to_owned();
    for plot in Plot::all(tables) {
        let file = format!("{name}-{}.svg", plot.name);
        fs::write(folder.join(&file), plot::draw(&plot).map_err(io::Error::other)?)?;
        let _ = write!(text, "\n![{}]({file})\n", plot.title);
    }
    let file = folder.join(format!("{name}.md"));
    fs::write(&file, text)?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::row::Step;
    use crate::run::Sample;
    use crate::setup::Setup;
    use loadgen::Tally;

    #[test]
    fn a_row_shows_both_its_ratios_and_a_void_one_none() {
        let setup = Setup::all().into_iter().find(|s| s.name() == "memory-tlsf-2w").expect("it is one of all");
        let mut table = Table::new(setup);
        let mut add = |row, side, amount, code| {
            let tally = Tally { codes: [(code, 1)].into(), ..Tally::default() };
            table.add(0, row, side, Sample { amount, operations: 2, tally });
        };
        let publish = Row::Publish(Step::First);
        add(publish, Side::Ours, 60.0, 200);
        add(publish, Side::Stock, 120.0, 200);
        add(publish, Side::Floor, 50.0, 200);
        add(Row::Subscribe(Step::First), Side::Ours, 60.0, 200);
        add(Row::Subscribe(Step::First), Side::Stock, 120.0, 500);
        let text = section(&table);
        let cells = |name: &str| {
            let line = text.lines().find(|line| line.contains(name)).unwrap_or_default();
            line.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect::<Vec<_>>()
        };
        let missed = "**missed**: 1.20 / 1.20 / 1.20";
        assert_eq!(
            cells("PUBLISH initial"),
            ["PUBLISH initial", "30.0", "60.0", "25.0", "0.50", "0.50 / 0.50 / 0.50", "1.15 x floor", missed]
        );
        assert_eq!(cells("SUBSCRIBE initial")[1..], ["30.0", "void", "-", "-", "-", "0.85 x stock", "void"]);
        assert!(text.ends_with("- SUBSCRIBE initial + NOTIFY: stock is void, of 2 operations 1 answered 500\n"));
    }

    #[test]
    fn the_readme_shows_results_that_are_kept() {
        let readme = fs::read_to_string(testkit::root().join("README.md")).expect("there is a README");
        let shown: Vec<&str> =
            readme.split("(benches/results/").skip(1).filter_map(|rest| rest.split(')').next()).collect();
        for file in &shown {
            assert!(testkit::root().join("benches/results").join(file).exists(), "{file}");
        }
        let plots = shown.iter().filter(|file| file.ends_with(".svg")).count();
        assert_eq!((plots, shown.len() - plots), (2, 1), "both plots, and the table behind them: {shown:?}");
    }

    #[test]
    fn columns_stand_below_each_other() {
        let head = ["µs", "a"].map(str::to_owned);
        let lines = [["longer", "1.0"], ["b", "22.0"]].map(|line| line.map(str::to_owned));
        assert_eq!(
            aligned(&head, &lines),
            "| µs     |    a |\n| ------ | ---: |\n| longer |  1.0 |\n| b      | 22.0 |\n"
        );
    }
}
