//! Rows as they are compared: every column by name, with what differs from run to run made equal.

use std::collections::BTreeMap;
use testkit::Kamailio;

/// A row: its columns as SQL literals, so that NULL, texts, blobs and numbers are told apart.
pub type Row = BTreeMap<String, String>;

/// The columns that name a row in both runs.
pub fn key(row: &Row) -> String {
    let parts = ["callid", "username", "presentity_uri", "watcher_username", "event", "body"];
    let found: Vec<&str> = parts.iter().filter_map(|c| row.get(*c)).map(String::as_str).collect();
    found.join(" ")
}

/// Columns with a time. Their distance from the start of the run is compared, to the next 50 s.
const TIMES: [&str; 3] = ["expires", "received_time", "inserted_time"];

/// What differs from run to run.
#[derive(Debug)]
pub struct Run {
    /// When it began.
    pub start: i64,
    /// Addresses and their names.
    pub names: Vec<(String, &'static str)>,
}

impl Run {
    /// All rows of a table.
    pub fn rows(&self, server: &Kamailio, table: &str) -> Vec<Row> {
        let row = |row: Vec<(String, String)>| {
            row.into_iter().map(|(column, value)| (column.clone(), self.settled(&column, &value))).collect()
        };
        server.tables().rows(table).into_iter().map(row).collect()
    }

    fn settled(&self, column: &str, value: &str) -> String {
        let text = value.len() > 2 && value.starts_with('\'');
        match column {
            // Numbered as the rows are written, and the last flush takes them as they lie in memory.
            "id" => String::new(),
            // The core counts on behind `.` what it made before: the stock module modifies only such a tag.
            "etag" if text => format!("a tag that {}", if counted(value) { "counts" } else { "does not count" }),
            "to_tag" | "ruid" if text => "one of its own".into(),
            column if TIMES.contains(&column) => match value.parse::<i64>() {
                Ok(time) if time > 0 => format!("start + {}", (time - self.start + 25).div_euclid(50) * 50),
                _ => value.into(),
            },
            _ => self.names.iter().fold(value.to_owned(), |text, (address, name)| text.replace(address, name)),
        }
    }
}

fn counted(quoted_tag: &str) -> bool {
    let tail = quoted_tag.trim_matches('\'').rsplit_once('.').map_or("", |(_, tail)| tail);
    !tail.is_empty() && tail.bytes().all(|b| b.is_ascii_digit())
}
