//! Whether memory and tables say the same, row by row.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};
use testkit::Kamailio;

/// Columns of `active_watchers`, as the table and `presence.watcher_list` name them.
const COLUMNS: [(&str, &str); 9] = [
    ("presentity_uri", "pres_uri"),
    ("watcher_username", "watcher_user"),
    ("event", "event"),
    ("to_tag", "to_tag"),
    ("from_tag", "from_tag"),
    ("expires", "expires"),
    ("status", "status"),
    ("contact", "contact"),
    ("remote_cseq", "remote_cseq"),
];

/// Subscriptions by Call-ID: their columns, and the CSeq of the last NOTIFY.
type Rows = BTreeMap<String, (Vec<String>, i64)>;

fn in_table(server: &Kamailio) -> Rows {
    let mut rows = Rows::new();
    for row in server.tables().rows("active_watchers") {
        let row: BTreeMap<String, String> =
            row.into_iter().map(|(column, value)| (column, value.trim_matches('\'').to_owned())).collect();
        let columns = COLUMNS.iter().map(|(column, _)| row[*column].clone()).collect();
        let cseq = row["local_cseq"].parse().expect("a number");
        let twice = rows.insert(row["callid"].clone(), (columns, cseq));
        assert!(twice.is_none(), "two rows of {}", row["callid"]);
    }
    rows
}

/// Entries that are asked for at a time: kamcmd does not take an answer of more than 128 KB.
const PART: usize = 100;

fn in_memory(server: &Kamailio) -> Rows {
    let limit = format!("limit={PART}");
    let mut list: Vec<testkit::listing::Entry> = Vec::new();
    loop {
        let mut arguments = vec!["presence.watcher_list", "full", "*", &limit];
        let after = list.last().map(|entry| format!("after={}", entry.get("place")));
        arguments.extend(after.as_deref());
        let part = server.list(&arguments).expect("a list");
        let count = part.len();
        list.extend(part);
        if count < PART {
            break;
        }
    }
    let entry = |entry: &testkit::listing::Entry| {
        let columns = COLUMNS.iter().map(|(_, member)| entry.get(member).to_owned()).collect();
        (entry.get("callid").to_owned(), (columns, entry.number("local_cseq")))
    };
    list.iter().map(entry).collect()
}

/// The first difference.
fn difference(table: &Rows, memory: &Rows, stray: bool) -> Option<String> {
    for (call, (columns, cseq)) in memory {
        let Some((stored, reserve)) = table.get(call) else { return Some(format!("no row of {call}: {columns:?}")) };
        if stored != columns || reserve < cseq {
            return Some(format!("{call}: the row {stored:?} at {reserve}, memory {columns:?} at {cseq}"));
        }
    }
    let stray = table.keys().find(|call| !stray && !memory.contains_key(*call))?;
    Some(format!("a row without a subscription: {stray}"))
}

/// Compares them until they agree: what failed is made up for a little later. Panics with the first difference that
/// stays. `stray`: rows without a subscription may be there. Gives how many subscriptions there are.
pub fn is_whole(server: &Kamailio, stray: bool, what: &str) -> usize {
    agree(server, stray).unwrap_or_else(|difference| panic!("{what}: {difference}"))
}

/// As [`is_whole`]; the first difference that stays.
pub fn agree(server: &Kamailio, stray: bool) -> Result<usize, String> {
    let end = Instant::now() + Duration::from_secs(5);
    loop {
        let (table, memory) = (in_table(server), in_memory(server));
        // Checks the lists in memory as well. A resource that a NOTIFY is being made for is counted once more meanwhile.
        let lists = server.rpc(&["presence.status", "check"]);
        let broken = (!lists.contains("parts_skipped: 0")).then_some(lists);
        let Some(difference) = difference(&table, &memory, stray).or(broken) else { return Ok(memory.len()) };
        if Instant::now() > end {
            return Err(difference);
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}
