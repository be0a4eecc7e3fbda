//! Lists as RPC commands answer them, whatever the interface.

use crate::Kamailio;
use crate::jsonrpc::Answer;
use serde_json::Value;

/// An entry: its members in their order, numbers as text.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Entry(pub Vec<(String, String)>);

impl Entry {
    /// A member; empty if there is none.
    #[must_use]
    pub fn get(&self, name: &str) -> &str {
        self.0.iter().find(|(n, _)| n == name).map_or("", |(_, value)| value)
    }

    /// A member that is a number.
    #[must_use]
    pub fn number(&self, name: &str) -> i64 {
        self.get(name).parse().unwrap_or_else(|_| panic!("no number {name} in {self:?}"))
    }

    /// The names of all members.
    #[must_use]
    pub fn names(&self) -> Vec<&str> {
        self.0.iter().map(|(name, _)| name.as_str()).collect()
    }

    /// With the members by name.
    #[must_use]
    pub fn sorted(mut self) -> Self {
        self.0.sort();
        self
    }
}

/// What kamcmd printed: a list (texts of one line each), or the line of a fault, its own ("reply too big", beyond 128 KB)
/// or the server's.
pub fn of_kamcmd(text: &str) -> Result<Vec<Entry>, String> {
    let is_fault = |line: &&str| line.starts_with("error: ") || line.starts_with("ERROR: ");
    if let Some(fault) = text.lines().find(is_fault) {
        return Err(fault.into());
    }
    let mut entries = Vec::new();
    for line in text.lines().map(str::trim) {
        if line == "{" {
            entries.push(Entry::default());
        } else if let (Some((name, value)), Some(entry)) = (line.split_once(':'), entries.last_mut()) {
            entry.0.push((name.into(), value.trim_start().into()));
        }
    }
    Ok(entries)
}

/// A list over JSON-RPC, as [`of_kamcmd`] gives it; members by name.
pub fn of_json(answer: Answer) -> Result<Vec<Entry>, String> {
    let value = answer.map_err(|(code, sentence)| format!("error: {code} - {sentence}"))?;
    let plain = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let entry = |value: &Value| {
        let members = value.as_object().into_iter().flatten();
        Entry(members.map(|(name, value)| (name.clone(), plain(value))).collect()).sorted()
    };
    Ok(value.as_array().into_iter().flatten().map(entry).collect())
}

impl Kamailio {
    /// Calls a command that answers with a list, through kamcmd.
    pub fn list(&self, arguments: &[&str]) -> Result<Vec<Entry>, String> {
        of_kamcmd(&self.rpc(arguments))
    }
}
