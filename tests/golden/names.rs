//! Names for what changes from run to run: ports, the server's tags and branches, entity-tags.
//!
//! A value keeps its name for the whole case, so that it still shows whether two messages belong to one dialog and
//! whether an entity-tag is a new one.

use crate::trace::End;
use testkit::sip;

/// In branches and Call-IDs of the ends, where a run of the recorded server had its own number.
pub const RUN: &str = "R";

/// The names given so far.
#[derive(Debug)]
pub struct Names {
    ports: [(u16, &'static str); 4],
    own_tags: Vec<String>,
    /// Value and name.
    tags: Vec<(String, String)>,
    etags: Vec<(String, String)>,
}

impl Names {
    /// The ports of the server and of the ends.
    pub fn new(server: u16, ends: [u16; 3]) -> Self {
        let [publisher, w1, w2] = ends;
        Self {
            ports: [(server, "server"), (publisher, "pub"), (w1, "w1"), (w2, "w2")],
            own_tags: Vec::new(),
            tags: Vec::new(),
            etags: Vec::new(),
        }
    }

    /// A message with names in place of what is volatile. Learns new values from it.
    pub fn replace(&mut self, end: End, sent: bool, message: &str) -> String {
        let (head, body) = message.split_once("\r\n\r\n").unwrap_or((message, ""));
        let mut lines: Vec<String> = Vec::new();
        for line in head.split("\r\n") {
            self.learn(end, sent, line);
            lines.push(self.line(line));
        }
        format!("{}\r\n\r\n{body}", lines.join("\r\n"))
    }

    /// Begins again: a new case with the same ports.
    pub fn forget(&mut self) {
        self.own_tags.clear();
        self.tags.clear();
        self.etags.clear();
    }

    fn learn(&mut self, end: End, sent: bool, line: &str) {
        let Some((name, value)) = line.split_once(": ") else { return };
        match name {
            "From" | "To" => self.learn_tag(end, sent, sip::tag(value)),
            "SIP-ETag" if !self.etags.iter().any(|(etag, _)| etag == value) => {
                self.etags.push((value.to_owned(), format!("{{etag {}}}", self.etags.len() + 1)));
            }
            _ => {}
        }
    }

    fn learn_tag(&mut self, end: End, sent: bool, tag: &str) {
        let known = self.tags.iter().any(|(t, _)| t == tag) || self.own_tags.iter().any(|t| t == tag);
        if known || tag.is_empty() {
            return;
        }
        if sent {
            return self.own_tags.push(tag.to_owned());
        }
        let prefix = format!("{{tag {}.", end.name());
        let number = self.tags.iter().filter(|(_, name)| name.starts_with(&prefix)).count() + 1;
        self.tags.push((tag.to_owned(), format!("{prefix}{number}}}")));
    }

    fn line(&self, line: &str) -> String {
        let mut line = line.to_owned();
        for (port, name) in self.ports {
            line = line.replace(&format!(":{port}"), &format!(":{{{name}}}"));
        }
        for (tag, name) in &self.tags {
            line = line.replace(&format!(";tag={tag}"), &format!(";tag={name}"));
        }
        if line.starts_with("SIP-") {
            line = self.etags.iter().fold(line, |line, (etag, name)| line.replace(etag, name));
        }
        branch(&line)
    }
}

/// The server's branches are volatile; those of the ends carry [`RUN`].
fn branch(line: &str) -> String {
    match line.split_once(";branch=") {
        Some((via, branch)) if !branch.contains(RUN) => format!("{via};branch={{branch}}"),
        _ => line.to_owned(),
    }
}
