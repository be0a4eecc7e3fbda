//! A publisher's and a watcher's side of what the server keeps.

use crate::document::{CLIENTS, State};
use crate::message::Notify;
use crate::request::{self, Publish, Request, Subscribe};
use crate::sequence::{Arrival, Sequence};
use std::collections::HashMap;
use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};
use std::net::SocketAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

/// The versions of each presentity's documents: what its watchers must end up with.
#[derive(Default, Debug)]
pub(crate) struct Ledger(Mutex<HashMap<u32, Versions>>);

#[derive(Clone, Copy, Default, Debug)]
struct Versions {
    /// The last that each client sent.
    issued: [u32; CLIENTS],
    /// The last that the server has confirmed to each; none while nothing is published.
    confirmed: State,
}

impl Ledger {
    fn with<R>(&self, presentity: u32, run: impl FnOnce(&mut Versions) -> R) -> R {
        run(self.0.lock().unwrap_or_else(PoisonError::into_inner).entry(presentity).or_default())
    }

    /// The version of a document that is about to be sent.
    fn issue(&self, presentity: u32, client: usize) -> u32 {
        self.with(presentity, |versions| {
            versions.issued[client] += 1;
            versions.issued[client]
        })
    }

    fn confirm(&self, presentity: u32, client: usize, version: Option<u32>) {
        self.with(presentity, |versions| versions.confirmed[client] = version);
    }

    /// The last version that each client sent.
    pub fn issued(&self, presentity: u32) -> [u32; CLIENTS] {
        self.with(presentity, |versions| versions.issued)
    }

    /// What the watchers must end up with.
    pub fn confirmed(&self, presentity: u32) -> State {
        self.with(presentity, |versions| versions.confirmed)
    }
}

/// A publication.
#[derive(Debug)]
pub(crate) struct Publisher {
    pub presentity: u32,
    /// Which of the presentity's clients it is.
    client: usize,
    /// A reply is due.
    pub asking: bool,
    etag: String,
    /// Of the last document that was sent.
    version: u32,
}

impl Publisher {
    pub fn new(presentity: u32, client: usize) -> Self {
        Self { presentity, client, asking: false, etag: String::new(), version: 0 }
    }

    pub fn has_published(&self) -> bool {
        !self.etag.is_empty()
    }

    pub fn request(&mut self, step: Publish, call_id: String, ledger: &Ledger) -> Request {
        if matches!(step, Publish::Initial | Publish::Modify) {
            self.version = ledger.issue(self.presentity, self.client);
        }
        self.asking = true;
        request::publish(step, (self.presentity, self.client), &self.etag, self.version, call_id)
    }

    /// The server has said yes.
    pub fn confirmed(&mut self, step: Publish, etag: &str, ledger: &Ledger) {
        etag.clone_into(&mut self.etag);
        match step {
            Publish::Initial | Publish::Modify => ledger.confirm(self.presentity, self.client, Some(self.version)),
            Publish::Refresh => {}
            Publish::Remove => {
                self.etag.clear();
                ledger.confirm(self.presentity, self.client, None);
            }
        }
    }
}

/// What a NOTIFY turned out to be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Told {
    /// Something new.
    News,
    /// Something new, with an older state than the last one.
    Stale,
    /// Seen before.
    Again,
    /// A CSeq that went back.
    Back,
    /// A CSeq that another NOTIFY had.
    Reused,
    /// New, and the dialog had ended.
    AfterEnd,
    /// The end of the dialog, and the watcher had not asked for it.
    Unasked,
}

/// A watcher, and its dialog.
#[derive(Debug)]
pub(crate) struct Watcher {
    pub number: u32,
    pub presentity: u32,
    /// Dialogs so far; part of the Call-ID.
    pub life: u32,
    to_tag: String,
    cseq: u32,
    sequence: Sequence,
    /// What the last SUBSCRIBE was, and when.
    asked: (Subscribe, Instant),
    /// A reply is due.
    pub asking: bool,
    /// A NOTIFY is due.
    pub owed: bool,
    ended: bool,
    /// The versions in the last NOTIFY, and the highest so far.
    pub shown: State,
    highest: State,
}

impl Watcher {
    pub fn new(number: u32, presentity: u32) -> Self {
        Self {
            number,
            presentity,
            life: 0,
            to_tag: String::new(),
            cseq: 0,
            sequence: Sequence::default(),
            asked: (Subscribe::Initial, Instant::now()),
            asking: false,
            owed: false,
            ended: false,
            shown: State::default(),
            highest: State::default(),
        }
    }

    /// In a dialog that goes on.
    pub fn is_open(&self) -> bool {
        !self.to_tag.is_empty() && !self.ended
    }

    pub fn is_busy(&self) -> bool {
        self.asking || self.owed
    }

    pub fn request(&mut self, step: Subscribe, run: &str, own: SocketAddr, server: SocketAddr) -> Request {
        if step == Subscribe::Initial {
            *self = Self { life: self.life + 1, ..Self::new(self.number, self.presentity) };
        }
        self.cseq += 1;
        (self.asked, self.asking, self.owed) = ((step, Instant::now()), true, true);
        let call_id = format!("w{}.{}.{run}", self.number, self.life);
        let dialog = request::Dialog {
            watcher: self.number,
            presentity: self.presentity,
            call_id: &call_id,
            to_tag: &self.to_tag,
            cseq: self.cseq,
        };
        request::subscribe(step, &dialog, own, server)
    }

    /// The reply has come; or, without one, never will.
    pub fn answered(&mut self, code: u16, to_tag: &str) {
        self.asking = false;
        if code / 100 != 2 {
            self.owed = false;
        } else if self.to_tag.is_empty() {
            to_tag.clone_into(&mut self.to_tag);
        }
    }

    /// How long ago it asked.
    pub fn asked_since(&self) -> Instant {
        self.asked.1
    }

    pub fn told(&mut self, notify: &Notify<'_>) -> Told {
        let request = BuildHasherDefault::<DefaultHasher>::default().hash_one(notify.branch) as u32;
        match self.sequence.arrive(notify.cseq, request) {
            Arrival::Again => return Told::Again,
            Arrival::Reused => return Told::Reused,
            Arrival::Back => return Told::Back,
            Arrival::New => {}
        }
        if self.ended {
            return Told::AfterEnd;
        }
        self.ended = notify.terminated;
        let asked_end = self.asked.0 == Subscribe::End;
        if notify.terminated || !asked_end {
            self.owed = false;
        }
        if notify.terminated && !asked_end {
            return Told::Unasked;
        }
        self.shown = notify.state;
        let mut stale = false;
        for (version, highest) in notify.state.iter().zip(&mut self.highest) {
            stale |= version.is_some() && version < highest;
            *highest = (*highest).max(*version);
        }
        if stale { Told::Stale } else { Told::News }
    }
}
