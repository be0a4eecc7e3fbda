//! What is published, by numbers: each change of a publisher's state has one, and a document carries it.

use std::collections::VecDeque;
use std::time::Instant;

/// Publishers of one resource.
pub const CLIENTS: usize = 2;
/// So many changes are remembered.
const REMEMBERED: usize = 32;

/// An event package.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Package {
    Presence,
    Dialog,
    Waiting,
}

impl Package {
    pub fn event(self) -> &'static str {
        match self {
            Self::Presence => "presence",
            Self::Dialog => "dialog",
            Self::Waiting => "message-summary",
        }
    }

    /// The document of a client, with its number. `life` tells its publications apart.
    pub fn document(self, user: &str, client: usize, life: u32, number: u32) -> String {
        let letter = ["v", "w"][client];
        match self {
            Self::Presence => format!(
                "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\r\n<presence xmlns=\"urn:ietf:params:xml:ns:pidf\" \
                 entity=\"sip:{user}@test.local\"><tuple id=\"t{letter}\"><status><basic>open</basic></status>\
                 <note>{letter}{number}</note></tuple></presence>\r\n"
            ),
            Self::Dialog => format!(
                "<?xml version=\"1.0\"?>\r\n<dialog-info xmlns=\"urn:ietf:params:xml:ns:dialog-info\" version=\"0\" \
                 state=\"full\" entity=\"sip:{user}@test.local\"><dialog id=\"{user}{letter}{life}\" \
                 direction=\"recipient\"><state>{}</state><note>{letter}{number}</note></dialog></dialog-info>\r\n",
                ["early", "confirmed"][number as usize % 2]
            ),
            Self::Waiting => format!("Messages-Waiting: yes\r\nVoice-Message: {number}/0 (0/0)\r\n"),
        }
    }

    /// The numbers in a document that the server made of ours.
    pub fn shown(self, body: &str) -> [Option<u32>; CLIENTS] {
        match self {
            Self::Waiting => [digits(body, "Voice-Message: "), None],
            _ => [digits(body, "<note>v"), digits(body, "<note>w")],
        }
    }
}

/// The number behind a text.
pub fn digits(text: &str, before: &str) -> Option<u32> {
    let (_, rest) = text.split_once(before)?;
    let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
    rest[..end].parse().ok()
}

/// The changes of one publisher's state.
#[derive(Clone, Debug)]
pub struct Line {
    issued: u32,
    /// Numbers without a document: nothing is published.
    gone: VecDeque<u32>,
    /// When the server had said yes to them, or nothing was left to wait for.
    confirmed: VecDeque<(u32, Instant)>,
    /// What is published now lasts until then for sure.
    lasts_until: Option<Instant>,
    /// It was refreshed then, although it may have run out before: who was told so is told again.
    came_back: Option<Instant>,
}

impl Line {
    pub fn new(now: Instant) -> Self {
        Self { issued: 0, gone: [0].into(), confirmed: [(0, now)].into(), lasts_until: None, came_back: None }
    }

    /// The number of a change that is about to be asked for. `is_gone`: the publication ends.
    pub fn issue(&mut self, is_gone: bool) -> u32 {
        self.issued += 1;
        if is_gone {
            self.gone.push_back(self.issued);
            if self.gone.len() > REMEMBERED {
                self.gone.pop_front();
            }
        }
        self.issued
    }

    pub fn lasts(&mut self, until: Instant) {
        self.lasts_until = Some(until);
    }

    pub fn comes_back(&mut self, now: Instant) {
        self.came_back = Some(now);
    }

    fn was_away(&self, since: Instant) -> bool {
        self.came_back.is_some_and(|at| at > since)
    }

    /// Whether nothing may be published, because it was not refreshed, or nobody knows whether it was.
    fn may_have_run_out(&self) -> bool {
        self.lasts_until.is_some_and(|until| Instant::now() >= until)
    }

    pub fn confirm(&mut self, number: u32, now: Instant) {
        if self.confirmed.back().is_some_and(|(last, _)| *last < number) {
            self.confirmed.push_back((number, now));
            if self.confirmed.len() > REMEMBERED {
                self.confirmed.pop_front();
            }
        }
    }

    /// The newest number that was confirmed by then.
    pub fn due(&self, by: Instant) -> u32 {
        if self.was_away(by) {
            return 0;
        }
        self.confirmed.iter().rev().find(|(_, at)| *at <= by).map_or(0, |(number, _)| *number)
    }

    /// The number that a document shows, at most.
    pub fn newest(&self, shown: Option<u32>) -> u32 {
        match shown {
            Some(number) => number,
            None if self.may_have_run_out() => self.issued,
            None => self.gone.back().copied().unwrap_or(0),
        }
    }

    /// The number that a document shows, at least, to a watcher who has seen `highest`; none if it is older.
    pub fn number(&self, shown: Option<u32>, highest: u32) -> Option<u32> {
        match shown {
            Some(number) => (number >= highest && number <= self.issued).then_some(number),
            None => {
                let gone = self.gone.iter().copied().find(|gone| *gone >= highest);
                let just_back =
                    Instant::now().checked_sub(super::TOLD_WITHIN).is_some_and(|since| self.was_away(since));
                gone.or((self.may_have_run_out() || just_back).then_some(highest))
            }
        }
    }
}

/// Who is watched, in one package.
pub struct Resource {
    pub package: Package,
    pub user: String,
    pub lines: [Line; CLIENTS],
}

#[test]
fn an_older_state_is_told_from_a_newer_one() {
    let now = Instant::now();
    let mut line = Line::new(now);
    assert_eq!(line.number(None, 0), Some(0));
    let first = line.issue(false);
    assert_eq!(line.number(Some(first), 0), Some(first));
    assert_eq!(line.number(None, first), None, "nothing was taken away");
    let end = line.issue(true);
    assert_eq!(line.number(None, first), Some(end));
    assert_eq!(line.number(Some(first), end), None);
    assert_eq!(line.number(Some(9), end), None, "nobody has published that");
    line.confirm(end, now);
    assert_eq!(line.due(now), end);
    assert_eq!((line.newest(None), line.newest(Some(first))), (end, first));
}

#[test]
fn numbers_are_read_back_from_documents() {
    for package in [Package::Presence, Package::Dialog, Package::Waiting] {
        assert_eq!(package.shown(&package.document("u", 0, 1, 42)), [Some(42), None]);
        assert_eq!(package.shown(""), [None; 2]);
    }
    assert_eq!(Package::Dialog.shown(&Package::Dialog.document("u", 1, 1, 7)), [None, Some(7)]);
}
