//! What came of a kind of operation.

use std::collections::BTreeMap;
use std::fmt;

/// So many complaints are kept as sentences, of each kind of complaint.
const KEPT: u64 = 3;

#[derive(Clone, Default, Debug)]
pub struct Account {
    pub operations: u64,
    /// Final answers by their codes; commands that were done count as 200.
    pub codes: BTreeMap<u16, u64>,
    /// NOTIFYs, without those that were sent again.
    pub notifies: u64,
    /// Requests that were sent again.
    pub again: u64,
    wrong: BTreeMap<&'static str, (u64, Vec<String>)>,
}

impl Account {
    pub fn complain(&mut self, what: &'static str, detail: impl FnOnce() -> String) {
        let (count, sentences) = self.wrong.entry(what).or_default();
        *count += 1;
        if *count <= KEPT {
            sentences.push(detail());
        }
    }

    pub fn complaints(&self) -> Vec<String> {
        self.wrong
            .iter()
            .map(|(what, (count, sentences))| format!("{count} {what}: {}", sentences.join("; ")))
            .collect()
    }

    pub fn merge(&mut self, other: Self) {
        self.operations += other.operations;
        self.notifies += other.notifies;
        self.again += other.again;
        for (code, count) in other.codes {
            *self.codes.entry(code).or_default() += count;
        }
        for (what, (count, sentences)) in other.wrong {
            let (all, kept) = self.wrong.entry(what).or_default();
            *all += count;
            kept.extend(sentences);
            kept.truncate(KEPT as usize);
        }
    }
}

/// Operations, codes, NOTIFYs.
impl fmt::Display for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let codes: Vec<String> = self.codes.iter().map(|(code, count)| format!("{count} x {code}")).collect();
        write!(f, "{:>10}  {:<28}{:>10}", self.operations, codes.join(", "), self.notifies)
    }
}
