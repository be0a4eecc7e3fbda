//! A publisher's and a watcher's side of what the server keeps.

use crate::message::Notify;
use crate::request::{self, Publish, Request, Subscribe};
use crate::sequence::{Arrival, Sequence};
use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

/// The versions of each presentity's document: what its watchers must end up with.
#[derive(Default, Debug)]
pub(crate) struct Ledger(Mutex<HashMap<u32, Versions>>);

#[derive(Clone, Copy, Default, Debug)]
struct Versions {
    /// The last that was sent.
    issued: u32,
    /// The last that the server has confirmed; none while nothing is published.
    confirmed: Option<u32>,
}

impl Ledger {
    fn with<R>(&self, presentity: u32, run: impl FnOnce(&mut Versions) -> R) -> R {
        run(self.0.lock().unwrap_or_else(PoisonError::into_inner).entry(presentity).or_default())
    }

    /// The version of a document that is about to be sent.
    fn issue(&self, presentity: u32) -> u32 {
        self.with(presentity, |versions| {
            versions.issued += 1;
            versions.issued
        })
    }

    fn confirm(&self, presentity: u32, version: Option<u32>) {
        self.with(presentity, |versions| versions.confirmed = version);
    }

    /// The last version that was sent.
    pub fn issued(&self, presentity: u32) -> u32 {
        self.with(presentity, |versions| versions.issued)
    }

    /// What the watchers must end up with.
    pub fn confirmed(&self, presentity: u32) -> Option<u32> {
        self.with(presentity, |versions| versions.confirmed)
    }
}

/// A publication.
#[derive(Debug)]
pub(crate) struct Publisher {
    pub presentity: u32,
    etag: String,
    /// Of the last document that was sent.
    version: u32,
}

impl Publisher {
    pub fn new(presentity: u32) -> Self {
        Self { presentity, etag: String::new(), version: 0 }
    }

    pub fn has_published(&self) -> bool {
        !self.etag.is_empty()
    }

    pub fn request(&mut self, step: Publish, call_id: String, ledger: &Ledger) -> Request {
        if matches!(step, Publish::Initial | Publish::Modify) {
            self.version = ledger.issue(self.presentity);
        }
        request::publish(step, self.presentity, &self.etag, self.version, call_id)
    }

    /// The server has said yes.
    pub fn confirmed(&mut self, step: Publish, etag: &str, ledger: &Ledger) {
        etag.clone_into(&mut self.etag);
        match step {
            Publish::Initial | Publish::Modify => ledger.confirm(self.presentity, Some(self.version)),
            Publish::Refresh => {}
            Publish::Remove => {
                self.etag.clear();
                ledger.confirm(self.presentity, None);
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
    /// The version in the last NOTIFY, and the highest so far.
    pub shown: Option<u32>,
    highest: u32,
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
            shown: None,
            highest: 0,
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
        match self.sequence.arrive(notify.cseq) {
            Arrival::Again => return Told::Again,
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
        self.shown = notify.version;
        let stale = notify.version.is_some_and(|version| version < self.highest);
        self.highest = self.highest.max(notify.version.unwrap_or(0));
        if stale { Told::Stale } else { Told::News }
    }
}
