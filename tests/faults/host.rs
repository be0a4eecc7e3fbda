//! Each allocation of shared memory that anybody makes for a message fails in turn: the host's, tm's and the module's, for a
//! SUBSCRIBE, a PUBLISH, what follows in either's life, and the answer to a NOTIFY.
//!
//! The server stays up and holds no lock: the next request is served, whatever became of this one. One without a reply is in
//! doubt. Afterwards the watcher is told the last state, and at the end nothing is left. An allocation of the host that
//! nobody checks was not met: no exception is made.
//!
//! The stock module fails these tests: it has no `presence.status`.

use crate::scarce::{fail, is_up, relent, runs_out, seen, stands_before};
use crate::{SQLITE, server};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};
use testkit::phone::{Dialog, pidf};
use testkit::{Builder, Kamailio, Phone};

/// More than a message takes.
const MOST: u32 = 60;
/// How long a final reply may take.
const PATIENCE: Duration = Duration::from_millis(200);

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Kind {
    Subscribe,
    Refresh,
    End,
    Fetch,
    Publish,
    Modify,
    Remove,
    Answer,
}

const KINDS: [Kind; 8] =
    [Kind::Subscribe, Kind::Refresh, Kind::End, Kind::Fetch, Kind::Publish, Kind::Modify, Kind::Remove, Kind::Answer];

struct Trial<'a> {
    server: &'a Kamailio,
    alice: Phone,
    bob: Phone,
    standing: Dialog,
    /// The publication that the standing dialog is told of, or was before a request in doubt.
    etag: String,
    notes: u32,
}

impl<'a> Trial<'a> {
    fn new(server: &'a Kamailio) -> Self {
        let (mut alice, mut bob) = (Phone::new("alice", server.port), Phone::new("bob", server.port));
        let standing = bob.subscribe("alice", "presence", 600);
        let reply = alice.publish("presence", None, Some(600), &pidf("alice", "open", "note 0."));
        let etag = reply.header("SIP-ETag").expect("a tag").to_owned();
        Self { server, alice, bob, standing, etag, notes: 0 }
    }

    fn note(&mut self) -> String {
        self.notes += 1;
        format!("note {}.", self.notes)
    }

    /// A presentity of its own, whom somebody watches and who has published something, all of which runs out soon: the
    /// dialog, and the tag.
    fn other(&mut self) -> (Dialog, String) {
        let user = format!("carol{}", self.notes);
        let dialog = self.bob.subscribe(&user, "presence", 4);
        let reply = self.alice.publish_for(&user, "presence", None, Some(4), &pidf(&user, "open", "brief"));
        assert_eq!(reply.code(), 200, "{reply:?}");
        (dialog, reply.header("SIP-ETag").expect("a tag").to_owned())
    }

    /// The request whose allocations fail.
    fn request(&mut self, kind: Kind) -> String {
        let note = self.note();
        let (mut known, tag) = self.other();
        let user = known.presentity.clone();
        known.cseq += 1;
        let new = Dialog { cseq: 1, ..Dialog::new(&user, "presence") };
        let document = pidf(&user, "open", &note);
        let (alice, bob) = (&self.alice, &self.bob);
        match kind {
            Kind::Subscribe => bob.subscribe_request(&new, Some(4), &[]),
            Kind::Fetch => bob.subscribe_request(&new, Some(0), &[]),
            Kind::Refresh => bob.subscribe_request(&known, Some(4), &[]),
            Kind::End => bob.subscribe_request(&known, Some(0), &[]),
            Kind::Publish => alice.publish_request(&user, "presence", None, Some(4), &document, &[]),
            Kind::Modify => alice.publish_request(&user, "presence", Some(&tag), Some(4), &document, &[]),
            Kind::Remove | Kind::Answer => alice.publish_request(&user, "presence", Some(&tag), Some(0), "", &[]),
        }
    }

    /// Sends it, once; its final reply.
    fn ask(&mut self, request: &str) -> Option<u16> {
        let phone = if request.starts_with("PUBLISH") { &mut self.alice } else { &mut self.bob };
        let call = request.lines().find_map(|line| line.strip_prefix("Call-ID: ")).expect("a Call-ID").to_owned();
        phone.send_raw(request.as_bytes());
        let end = Instant::now() + PATIENCE;
        while Instant::now() < end {
            let reply = phone.receive(Duration::from_millis(10));
            let Some(reply) = reply.filter(|r| r.header("Call-ID") == Some(&call)) else { continue };
            if reply.code() >= 200 {
                return Some(reply.code());
            }
        }
        None
    }

    /// The n-th allocation for a message fails: what was answered (0: nothing), and how many there were.
    fn fail_one(&mut self, kind: Kind, number: u32) -> (u16, u32) {
        let request = self.request(kind);
        self.bob.listen(Duration::from_millis(20));
        let code = if kind == Kind::Answer {
            // The NOTIFY about the removal waits for its answer.
            self.bob.inbox.clear();
            self.bob.answer = None;
            assert_eq!(self.ask(&request), Some(200));
            let notify = self.bob.notify();
            fail(self.server, "anybody", number, 1);
            self.bob.answer = Some(200);
            self.bob.reply(&notify, 200, "", &[]);
            self.bob.listen(Duration::from_millis(30));
            200
        } else {
            fail(self.server, "anybody", number, 1);
            self.ask(&request).unwrap_or(0)
        };
        let (seen, _) = seen(self.server);
        relent(self.server);
        (code, seen)
    }

    /// Whoever asks next is served: the state is changed, and the watcher is told it last.
    fn goes_on(&mut self, what: &str) {
        let note = self.note();
        let tag = self.etag.clone();
        let reply = self.alice.publish("presence", Some(&tag), Some(600), &pidf("alice", "open", &note));
        assert_eq!(reply.code(), 200, "{what}: {reply:?}");
        self.etag = reply.header("SIP-ETag").expect("a tag").to_owned();
        let reply = self.bob.resubscribe(&mut self.standing, 600);
        assert_eq!(reply.code(), 200, "{what}: {reply:?}");
        testkit::wait_for(&format!("{what}: the last state"), 6.0, || {
            self.bob.listen(Duration::from_millis(2));
            let own = self.bob.inbox.iter().filter(|n| n.header("Call-ID") == Some(&self.standing.call_id));
            own.max_by_key(|n| n.cseq())?.body.contains(&note).then_some(())
        });
        self.bob.inbox.clear();
    }
}

fn each_fails(builder: Builder, mode: &str) {
    let builder = stands_before(builder).packages(&["presence_xml"]).debug(-1).children(1);
    let timers = "modparam(\"tm\", \"wt_timer\", 200)";
    let mut server = builder.extra(timers).param("notify_hold_time", 100).start();
    let texts = server.status("text_bytes");
    let mut trial = Trial::new(&server);
    let mut codes = BTreeMap::<Kind, BTreeMap<u16, u32>>::new();
    for kind in KINDS {
        for number in 1..=MOST {
            let what = format!("{mode}: {kind:?}, allocation {number}");
            let (code, seen) = trial.fail_one(kind, number);
            trial.goes_on(&what);
            if seen < number {
                break;
            }
            *codes.entry(kind).or_default().entry(code).or_default() += 1;
        }
    }
    for (kind, codes) in &codes {
        println!("{mode}: {kind:?}: (code: times) {codes:?}");
        assert!(codes.values().sum::<u32>() < MOST, "{kind:?} takes more");
    }
    let Trial { mut alice, mut bob, mut standing, etag, .. } = trial;
    assert_eq!(bob.resubscribe(&mut standing, 0).code(), 200);
    assert_eq!(alice.publish("presence", Some(&etag), Some(0), "").code(), 200);
    runs_out(&server, texts, mode, || bob.listen(Duration::from_millis(5)));
    is_up(&mut server, mode);
}

#[test]
fn an_allocation_of_anybody_that_fails_is_survived_in_memory() {
    each_fails(Kamailio::builder(), "memory");
}

#[test]
fn an_allocation_of_anybody_that_fails_is_survived_with_tables() {
    each_fails(server(&SQLITE, 1, 1), "publ_cache 1, subs_db_mode 1");
}

#[test]
#[ignore = "takes a minute: make soak"]
fn an_allocation_of_anybody_that_fails_is_survived_in_every_mode() {
    for (publ, subs) in [(1, 2), (0, 3)] {
        each_fails(server(&SQLITE, publ, subs), &format!("publ_cache {publ}, subs_db_mode {subs}"));
    }
}
