//! Where our rows may differ from the stock module's, how, and why.

/// A permitted difference of one column.
#[derive(Debug)]
pub struct Difference {
    /// The column, of `active_watchers`: the other tables have none.
    pub column: &'static str,
    /// In these `subs_db_mode`s.
    pub modes: &'static [u8],
    /// Whether our value (first) may stand for the stock module's.
    pub fits: fn(&str, &str) -> bool,
    /// Why.
    pub reason: &'static str,
}

/// All of them.
pub const PERMITTED: &[Difference] = &[
    Difference {
        column: "local_cseq",
        modes: &[1],
        fits: ahead_by_a_reserve,
        reason: "the row is ahead by a reserve, so that a NOTIFY costs no write and a crash repeats no CSeq",
    },
    Difference {
        column: "version",
        modes: &[1],
        fits: ahead_by_a_reserve,
        reason: "as local_cseq: a document version must not be repeated either",
    },
    Difference {
        column: "local_cseq",
        modes: &[3],
        fits: ahead_by_one,
        reason: "the row has the number of the last NOTIFY before that is sent; the stock module's first one is not counted",
    },
    Difference {
        column: "updated",
        modes: &[1],
        fits: nothing_to_do,
        reason: "after a refresh the stock module writes the 0 of memory that nobody filled: work for a notifier of mode 3",
    },
    Difference { column: "updated_winfo", modes: &[1], fits: nothing_to_do, reason: "as updated" },
    Difference {
        column: "flags",
        modes: &[2],
        fits: |ours, stock| ours != "0" && stock == "0",
        reason: "the stock module forgets the branch flags when it writes back, and NOTIFYs lose them at a restart",
    },
    Difference {
        column: "record_route",
        modes: &[2],
        fits: |ours, stock| ours == "NULL" && stock == "''",
        reason: "NULL in every mode, as the stock module has it in the modes 1 and 3",
    },
];

/// Rows that only the stock module keeps: those of watchers who were refused, in every mode. The 2xx and the one NOTIFY
/// say `terminated`, and a subscription that is terminated is over (RFC 6665 4.4.1).
pub fn is_over(row: &crate::table::Row) -> bool {
    row.get("status").is_some_and(|status| status == "3")
}

fn numbers(ours: &str, stock: &str) -> (i64, i64) {
    (ours.parse().unwrap_or(-1), stock.parse().unwrap_or(-1))
}

fn ahead_by_a_reserve(ours: &str, stock: &str) -> bool {
    let (ours, stock) = numbers(ours, stock);
    (stock..=stock + (1 << 16)).contains(&ours)
}

fn ahead_by_one(ours: &str, stock: &str) -> bool {
    let (ours, stock) = numbers(ours, stock);
    ours == stock + 1
}

fn nothing_to_do(ours: &str, stock: &str) -> bool {
    ours == "-1" && stock == "0"
}
