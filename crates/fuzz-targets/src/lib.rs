//! What the fuzzers run: one function of bytes for each place where bytes come from outside, which panics when something
//! does not hold that always should.
//!
//! Panics alone find little: each function compares with a second reading of the same bytes, or reads back what was written.
//! `fuzz/` drives them with new inputs (`make fuzz`), `tests/corpus.rs` with the inputs that are kept.

mod document;
mod header;
mod request;
mod row;
mod states;

pub use states::states;

/// A function of bytes.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// Its name: that of the binary in `fuzz/fuzz_targets` and of the folder in `fuzz/corpus`.
    pub name: &'static str,
    /// What it reads.
    pub about: &'static str,
    /// Runs it; panics when something is wrong.
    pub run: fn(&[u8]),
}

/// All of them.
pub const TARGETS: [Target; 12] = [
    Target { name: "event", about: "Event header fields", run: header::event },
    Target { name: "accept", about: "Accept and Content-Type header fields", run: header::accept },
    Target { name: "etag", about: "SIP-If-Match, and the tag after it", run: header::etag },
    Target { name: "answer", about: "answers to NOTIFYs", run: header::answer },
    Target { name: "uri", about: "URIs as the tables hold them", run: header::uri },
    Target { name: "pidf", about: "presence documents", run: document::pidf },
    Target { name: "dialog_info", about: "dialog-info documents", run: document::dialog_info },
    Target { name: "winfo", about: "watcher information that is written", run: document::winfo },
    Target { name: "row", about: "rows of the tables, and the NOTIFY of what they hold", run: row::row },
    Target { name: "texts", about: "the texts of a record in its block", run: row::texts },
    Target { name: "request", about: "PUBLISHes and SUBSCRIBEs with texts of every kind", run: request::requests },
    Target { name: "states", about: "sequences of operations against a model", run: |bytes| drop(states(bytes)) },
];

/// Runs the target of this name; panics if there is none.
pub fn run(name: &str, bytes: &[u8]) {
    let target = TARGETS.iter().find(|target| target.name == name).expect("a target of this name");
    (target.run)(bytes);
}

/// An input in parts.
fn parts(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    bytes.split(|&b| b == 0xff)
}
