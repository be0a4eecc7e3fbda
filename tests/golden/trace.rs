//! What went over the wire in one case: a list of messages, and its text form in `recorded/`.

use std::fmt;
use testkit::Message;

/// The three ends that talk to the server.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum End {
    /// The publisher.
    Pub,
    /// The first watcher.
    W1,
    /// The second watcher.
    W2,
}

impl End {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Pub, Self::W1, Self::W2];

    /// Its name in traces, and its user name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Pub => "pub",
            Self::W1 => "w1",
            Self::W2 => "w2",
        }
    }
}

/// One message.
#[derive(Clone, PartialEq, Debug)]
pub struct Entry {
    /// Seconds since the case began.
    pub seconds: f64,
    /// Whether the end sent it; otherwise the server did.
    pub sent: bool,
    /// Who sent or received it.
    pub end: End,
    /// The message with its volatile parts replaced by names.
    pub text: String,
}

impl Entry {
    /// The message, taken apart.
    pub fn message(&self) -> Message {
        Message::parse(self.text.as_bytes())
    }
}

/// The messages of one case, in the order in which the ends saw them.
#[derive(Clone, PartialEq, Default, Debug)]
pub struct Trace(pub Vec<Entry>);

const MARK: &str = "---- ";

impl Trace {
    /// Reads the text form: a line `---- seconds >> end` (or `<<`) before each message.
    pub fn parse(text: &str) -> Result<Self, String> {
        let text = text.strip_prefix(MARK).ok_or("does not begin with ----")?;
        let text = text.strip_suffix('\n').ok_or("does not end with a line")?;
        text.split("\n---- ").map(entry).collect::<Result<_, _>>().map(Self)
    }

    /// When its last message came.
    pub fn length(&self) -> f64 {
        self.0.last().map_or(0.0, |e| e.seconds)
    }
}

fn entry(text: &str) -> Result<Entry, String> {
    let (line, message) = text.split_once('\n').ok_or("a mark without a message")?;
    let [seconds, direction, name] = line.split_whitespace().collect::<Vec<_>>()[..] else {
        return Err(format!("not a mark: {line}"));
    };
    Ok(Entry {
        seconds: seconds.parse().map_err(|_| format!("not a time: {line}"))?,
        sent: direction == ">>",
        end: End::ALL.into_iter().find(|e| e.name() == name).ok_or_else(|| format!("not an end: {line}"))?,
        text: message.to_owned(),
    })
}

impl fmt::Display for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for Entry { seconds, sent, end, text } in &self.0 {
            let direction = if *sent { ">>" } else { "<<" };
            writeln!(f, "{MARK}{seconds:.3} {direction} {}\n{text}", end.name())?;
        }
        Ok(())
    }
}
