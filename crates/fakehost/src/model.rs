//! A naive model of the core: whatever happens, in whatever order, some things always hold.

use crate::reached::{Event, MODES, Publishing, Reached, State, Tag, answer};
use crate::{Notified, Phone, Wire, World, phone};
use presence_core::config::{Config, PublMode, SubsMode};
use presence_core::host::{Authorisation, Decision, Resource, Sent};
use presence_core::outcome::Answer;
use presence_core::publish::Publish;
use presence_core::refusal::Refusal;
use presence_core::status::{POLITE_BLOCK, Status};
use presence_core::store::RowState;
use presence_core::subscribe::Party;
use presence_core::subscription::{Field, Subscription};
use presence_core::time::Seconds;
use std::collections::HashMap;

/// Where the next step comes from.
pub trait Choices {
    /// One of so many.
    fn roll(&mut self, sides: u64) -> u64;
}

/// Small numbers from a seed.
#[derive(Clone, Debug)]
pub struct Dice(pub u64);

impl Choices for Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % sides
    }
}

/// Small numbers from bytes, one each; zeros when there are none left.
#[derive(Clone, Debug)]
pub struct Bytes<'a>(pub &'a [u8]);

impl Choices for Bytes<'_> {
    fn roll(&mut self, sides: u64) -> u64 {
        let Some((first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        u64::from(*first) % sides
    }
}

/// What a watcher saw in one dialog.
#[derive(Default, Debug)]
struct Seen {
    cseq: u32,
    body: u64,
    last: String,
    terminated: bool,
}

/// What a presentity has published: bodies are growing numbers.
#[derive(Clone, Default, Debug)]
struct Published {
    tag: Option<String>,
    /// The tag before.
    spent: Option<String>,
    number: u64,
    expires: u32,
    /// It had run out, and a refresh came before the sweep: who was told meanwhile learns of it with the next change.
    revived: bool,
}

/// A server, what its watchers saw, and what they should have seen.
#[derive(Debug)]
pub struct Model<C> {
    pub world: World,
    pub choices: C,
    /// What was seen of the core.
    pub reached: Reached,
    phones: Vec<Phone>,
    /// Phones whose subscription is over, and that may not know it.
    former: Vec<Phone>,
    states: Vec<Published>,
    published: u64,
    seen: HashMap<String, Seen>,
    flying: Vec<Notified>,
    calls: u64,
    rows: Rows,
}

const PRESENTITIES: u64 = 3;
/// Watchers have so many names: some call twice.
const WATCHERS: u64 = 24;
/// So many former dialogs are remembered.
const FORMER: usize = 8;

/// What the table of a write-back server has: rows by dialog.
pub type Rows = HashMap<Vec<u8>, Subscription>;

/// A server of a mode.
#[must_use]
pub fn config(subs: SubsMode) -> Config {
    Config { subs, publ: PublMode::Memory, notify_hold: 2000, ..Config::default() }
}

/// Any server.
pub fn any_config(choices: &mut impl Choices) -> Config {
    let mut one_of = |values: &[u32]| values[choices.roll(values.len() as u64) as usize];
    let mode = MODES[one_of(&[0, 1, 2, 3]) as usize];
    Config {
        notify_interval: one_of(&[0, 0, 1500]),
        fail_max: one_of(&[0, 0, 3]) as u8,
        strict: one_of(&[0, 1]) == 1,
        min_expires: Seconds(one_of(&[0, 0, 30])),
        most_per_watcher: one_of(&[0, 0, 2]),
        most_per_presentity: one_of(&[0, 0, 5]),
        replace_same_phone: one_of(&[0, 1]) == 1,
        expire_on_close: one_of(&[0, 1]) == 1,
        accepted_code: one_of(&[200, 202]) as u16,
        ..config(mode)
    }
}

impl<C: Choices> Model<C> {
    pub fn new(choices: C, config: Config) -> Self {
        let mut world = World::with(config);
        for (user, status, reason) in [
            (5, Status::Pending, &b""[..]),
            (6, Status::Active, POLITE_BLOCK),
            (7, Status::Terminated, b"rejected"),
            (13, Status::Pending, b""),
            (14, Status::Active, POLITE_BLOCK),
        ] {
            let authorisation = Authorisation { status, reason: reason.to_vec() };
            world.host.authorisations.insert(format!("w{user}"), authorisation);
        }
        Self {
            world,
            choices,
            reached: Reached::default(),
            phones: Vec::new(),
            former: Vec::new(),
            states: vec![Published::default(); PRESENTITIES as usize],
            published: 0,
            seen: HashMap::new(),
            flying: Vec::new(),
            calls: 0,
            rows: Rows::new(),
        }
    }

    fn mode(&self) -> SubsMode {
        self.world.host.config.subs
    }

    /// What the server knows of a phone's subscription, whatever the table would say to the server.
    fn known(&mut self, p: &Phone) -> Option<Subscription> {
        let fails = self.world.table.fails.replace(false);
        let known = self.world.find(p);
        self.world.table.fails.set(fails);
        known
    }

    /// What a phone's subscription is.
    fn state(&mut self, p: &Phone) -> State {
        let own = self.flying.iter().filter(|n| n.call_id == p.call_id);
        let (mut told, mut leaving) = (false, false);
        own.for_each(|n| (told, leaving) = (true, leaving || n.status == Status::Terminated));
        match self.known(p) {
            None if leaving => State::Leaving,
            None => State::Gone,
            Some(s) => match (s.status, s.is_politely_blocked(), told) {
                (_, true, false) => State::Blocked,
                (_, true, true) => State::BlockedTold,
                (Status::Active, _, false) => State::Active,
                (Status::Active, _, true) => State::ActiveTold,
                (Status::Terminated, ..) => State::Leaving,
                (_, _, false) => State::Pending,
                (_, _, true) => State::PendingTold,
            },
        }
    }

    /// Notes what happens to a phone's subscription.
    fn met(&mut self, p: &Phone, event: Event) {
        let state = self.state(p);
        self.reached.event(self.mode(), state, event);
    }

    /// Notes what happens to all who watch, or to all who watch one presentity.
    fn all_met(&mut self, presentity: Option<&str>, event: Event) {
        let meant = |p: &&Phone| presentity.is_none_or(|name| p.presentity == name && p.event == "presence");
        let all: Vec<Phone> = self.phones.iter().chain(&self.former).filter(meant).cloned().collect();
        all.iter().for_each(|p| self.met(p, event));
    }

    /// Looks at what left the server, in order.
    fn look(&mut self) {
        for wire in self.world.wire() {
            let n = match wire {
                Wire::Notify(n) => n,
                Wire::Reply(code, _) => {
                    self.reached.answer(if code == 202 { "202" } else { "200" });
                    continue;
                }
            };
            let seen = self.seen.entry(n.call_id.clone()).or_default();
            assert!(n.cseq > seen.cseq, "CSeq only grows: {} after {} in {}", n.cseq, seen.cseq, n.call_id);
            assert!(!seen.terminated, "nothing after the last NOTIFY of {}", n.call_id);
            seen.cseq = n.cseq;
            seen.terminated = n.status == Status::Terminated;
            if let Ok(body) = n.body.parse::<u64>() {
                assert!(body >= seen.body, "a higher CSeq never carries an older state: {body} after {}", seen.body);
                seen.body = body;
            }
            if n.status == Status::Pending || n.reason.as_bytes() == POLITE_BLOCK {
                assert_eq!(n.body, "", "{:?} ({}) gets no state", n.status, n.reason);
            }
            seen.last.clone_from(&n.body);
            self.flying.push(n);
        }
    }

    /// Whatever comes next.
    pub fn step(&mut self) {
        match self.choices.roll(100) {
            0..20 => self.publish(),
            20..36 => self.subscribe_anew(),
            36..52 => self.resubscribe(),
            52..78 => self.answer(),
            78..83 => {
                let seconds = self.choices.roll(4) as u32;
                self.world.wait(seconds);
                self.all_met(None, Event::HoldTimeOver);
                self.world.run(|s| s.go_on_with_overdue(10));
                self.world.run(|s| s.tell_postponed(10));
            }
            83 => self.world.host.sends = vec![Sent::Failed],
            84..86 => {
                let fails = self.choices.roll(3) == 0;
                self.world.table.fails.set(fails);
                self.world.notes.fails.set(fails && self.choices.roll(2) == 0);
                flush(&self.world, &mut self.rows, fails);
            }
            86..89 => {
                let seconds = self.choices.roll(200) as u32;
                self.world.wait(seconds);
                self.sweep();
            }
            89 => self.sweep(),
            90 => while self.world.run(|s| s.expire_publications()) {},
            91..94 => self.decide(),
            94 => self.close(),
            _ => self.odd(),
        }
        self.look();
    }

    fn sweep(&mut self) {
        self.all_met(None, Event::Sweep);
        while self.world.run(|s| s.expire_subscriptions()) {}
    }

    fn publish(&mut self) {
        let which = self.choices.roll(PRESENTITIES) as usize;
        let kind = self.choices.roll(8);
        let user = format!("p{which}");
        if self.has_run_out(which) && kind != 3 {
            while self.world.run(|s| s.expire_publications()) {}
            self.look();
            self.states[which].spent = self.states[which].tag.take();
        }
        let own = self.states[which].clone();
        let living = if self.has_run_out(which) { Tag::RunOut } else { Tag::Living };
        let foreign = self.states[(which + 1) % self.states.len()].tag.clone();
        let (tag, etag) = match kind {
            4 => (Tag::Unknown, Some("a.ffffffffffffffff.7".to_owned())),
            5 if foreign.is_some() => (Tag::Foreign, foreign),
            6 if own.spent.is_some() => (Tag::Spent, own.spent.clone()),
            _ if own.tag.is_some() => (living, own.tag.clone()),
            _ => (Tag::None, None),
        };
        let publishing = match (tag, self.choices.roll(4)) {
            (Tag::None, _) => Publishing::Initial,
            (_, 0) => Publishing::Refresh,
            (_, 1) => Publishing::Remove,
            _ => Publishing::Modify,
        };
        let lifetime = match (publishing, self.choices.roll(4)) {
            (Publishing::Remove, _) => 0,
            (_, 0) => 40,
            _ => 1_000_000,
        };
        self.reached.publication(self.mode(), publishing, tag);
        let watched = if publishing == Publishing::Remove { Event::Unpublish } else { Event::Publish };
        self.all_met(Some(&user), watched);
        let number = self.published + 1;
        let has_body = matches!(publishing, Publishing::Initial | Publishing::Modify);
        let body = if has_body { number.to_string() } else { String::new() };
        let outcome = self.world.publish(&user, "presence", etag.as_deref(), Some(lifetime), &body);
        let now = self.world.host.now.unix.0;
        match outcome {
            Ok(new) => {
                assert!(!matches!(tag, Tag::Unknown | Tag::Foreign | Tag::Spent), "{tag:?} names a publication");
                let state = &mut self.states[which];
                state.spent = etag.filter(|old| *old != new);
                state.tag = (publishing != Publishing::Remove).then_some(new);
                state.expires = now + lifetime.min(1_000_000);
                state.revived = !has_body && (state.revived || tag == Tag::RunOut);
                if has_body {
                    (self.published, state.number) = (number, number);
                }
            }
            Err(refusal) => {
                self.reached.answer(answer(refusal));
                let fits = match refusal {
                    Refusal::ConditionFailed => !matches!(tag, Tag::None | Tag::Living),
                    Refusal::IntervalTooBrief(_) => lifetime > 0 && lifetime < self.world.host.config.min_expires.0,
                    Refusal::Unavailable(_) => true,
                    _ => false,
                };
                assert!(fits, "{publishing:?} with {tag:?}: {refusal:?}");
            }
        }
    }

    /// Whether a presentity's publication is one that the next sweep takes.
    fn has_run_out(&self, which: usize) -> bool {
        self.states[which].tag.is_some() && self.states[which].expires <= self.world.host.now.unix.0
    }

    fn subscribe_anew(&mut self) {
        self.calls += 1;
        let presentity = format!("p{}", self.choices.roll(PRESENTITIES));
        let event = if self.choices.roll(6) == 0 { "presence.winfo" } else { "presence" };
        let mut p = phone(&format!("w{}", self.choices.roll(WATCHERS)), &presentity, event);
        p.call_id = format!("call-{}", self.calls);
        let expires = [0, 20, 100, 600][self.choices.roll(4) as usize];
        self.world.host.connection = [None, Some(1), Some(2)][self.choices.roll(3) as usize];
        self.met(&p, if expires == 0 { Event::Fetch } else { Event::Subscribe });
        let outcome = self.world.subscribe(&mut p, Some(expires));
        self.world.host.connection = None;
        match outcome {
            Ok(_) if p.in_dialog => self.phones.push(p),
            Ok(_) => self.remember(p),
            Err(refusal) => {
                self.reached.answer(answer(refusal));
                let config = &self.world.host.config;
                let fits = match refusal {
                    Refusal::IntervalTooBrief(_) => expires > 0 && expires < config.min_expires.0,
                    Refusal::TooMany(_) => config.most_per_watcher + config.most_per_presentity > 0,
                    Refusal::Unavailable(_) => true,
                    _ => false,
                };
                assert!(fits, "{refusal:?} to a first SUBSCRIBE for {expires} s");
            }
        }
    }

    fn remember(&mut self, mut p: Phone) {
        p.in_dialog = true;
        self.former.push(p);
        if self.former.len() > FORMER {
            self.former.remove(0);
        }
    }

    fn resubscribe(&mut self) {
        let kind = self.choices.roll(8);
        let is_former = !self.former.is_empty() && (kind == 0 || self.phones.is_empty());
        let from = if is_former { &self.former } else { &self.phones };
        if from.is_empty() {
            return;
        }
        let which = self.choices.roll(from.len() as u64) as usize;
        let mut p = from[which].clone();
        let known = p.clone();
        if self.choices.roll(4) == 0 {
            p.contact = format!("sip:moved{}@9.9.9.9", self.choices.roll(1000));
        }
        let expires = [0, 20, 600][self.choices.roll(3) as usize];
        let event = match self.choices.roll(8) {
            0 => Event::RefreshWithOldCseq,
            1 => Event::RefreshForOtherPackage,
            _ if expires == 0 => Event::Unsubscribe,
            _ => Event::Refresh,
        };
        match event {
            Event::RefreshWithOldCseq => p.cseq = p.cseq.saturating_sub(2),
            Event::RefreshForOtherPackage => p.event = "message-summary".into(),
            _ => {}
        }
        self.met(&p, event);
        let before = self.state(&p);
        let last = self.known(&p).map_or(0, |s| s.remote_cseq);
        let outcome = self.world.subscribe(&mut p, Some(expires));
        if let Err(refusal) = &outcome {
            self.reached.answer(answer(*refusal));
        }
        match outcome {
            Ok(_) => {
                assert!(!matches!(before, State::Gone | State::Leaving), "{event:?} in {before:?} is served");
                assert_ne!(event, Event::RefreshForOtherPackage, "a dialog has one package");
                assert!(p.cseq > last, "an old CSeq is served: {} after {last}", p.cseq);
                p.cseq = p.cseq.max(known.cseq);
                if is_former {
                    self.former.remove(which);
                    self.phones.push(p);
                } else if p.in_dialog {
                    self.phones[which] = p;
                } else {
                    self.phones.swap_remove(which);
                    self.remember(p);
                }
            }
            Err(Refusal::NoSubscription) => {
                let other = event == Event::RefreshForOtherPackage;
                assert!(other || matches!(before, State::Gone | State::Leaving), "{event:?} in {before:?} is unknown");
                if !is_former && !other {
                    self.phones.swap_remove(which);
                    self.remember(known);
                }
            }
            Err(Refusal::BadRequest | Refusal::OutOfOrder) => assert_eq!(event, Event::RefreshWithOldCseq),
            Err(Refusal::IntervalTooBrief(_)) => assert!(expires < self.world.host.config.min_expires.0),
            Err(Refusal::Unavailable(_)) if is_former => {}
            Err(Refusal::Unavailable(_)) => self.phones[which].cseq = p.cseq.max(known.cseq),
            Err(other) => panic!("{other:?} to {event:?}"),
        }
    }

    fn answer(&mut self) {
        if self.flying.is_empty() {
            return;
        }
        let which = self.choices.roll(self.flying.len() as u64) as usize;
        let code = [200, 200, 200, 200, 200, 500, 481, 408][self.choices.roll(8) as usize];
        let retry_after = (code == 500 && self.choices.roll(2) == 0).then_some(Seconds(7));
        let call_id = self.flying[which].call_id.clone();
        let event = match (code, retry_after) {
            (200, _) => Event::AnswerSuccess,
            (481, _) => Event::AnswerEnds,
            (408, _) => Event::AnswerTimeout,
            (_, Some(_)) => Event::AnswerRetryAfter,
            _ => Event::AnswerFails,
        };
        if let Some(p) = self.phones.iter().chain(&self.former).find(|p| p.call_id == call_id).cloned() {
            self.met(&p, event);
        }
        let n = self.flying.swap_remove(which);
        self.world.answer_with(&n, Answer { code, retry_after });
    }

    /// The rules say something else about a watcher.
    fn decide(&mut self) {
        if self.phones.is_empty() {
            return;
        }
        let which = self.choices.roll(self.phones.len() as u64) as usize;
        let p = self.phones[which].clone();
        let (event, status, reason) = [
            (Event::Allow, Status::Active, &b""[..]),
            (Event::Confirm, Status::Pending, b""),
            (Event::PolitelyBlock, Status::Active, POLITE_BLOCK),
            (Event::Reject, Status::Terminated, b"rejected"),
        ][self.choices.roll(4) as usize];
        self.met(&p, event);
        let authorisation = Authorisation { status, reason: reason.to_vec() };
        self.world.host.authorisations.insert(p.user.clone(), authorisation.clone());
        let packages = self.world.host.packages.clone();
        let package = packages.iter().find(|package| package.name == p.event.as_bytes()).map(|package| package.id);
        let uri = format!("sip:{}@h", p.presentity);
        let resource = Resource { uri: uri.as_bytes(), package: package.unwrap_or_default() };
        let decision = Decision { watcher_user: p.user.into(), watcher_domain: b"h".to_vec(), authorisation };
        self.world.run(|server| server.authorisation_changed(resource, &decision));
    }

    /// A connection is closed.
    fn close(&mut self) {
        let gone = 1 + self.choices.roll(2) as i32;
        if self.world.host.config.expire_on_close {
            self.all_met(None, Event::ConnectionClosed);
            self.world.close(gone);
        }
    }

    /// A request that is refused.
    fn odd(&mut self) {
        let kind = self.choices.roll(6);
        let strict = self.world.host.config.strict;
        let (event, content_type, body): (&[u8], &[u8], &[u8]) = match kind {
            0 => (b"unknown", b"text/plain", b"1"),
            1 => (b"presence;;", b"text/plain", b"1"),
            2 => (b"presence", b"text/plain", b""),
            3 if strict => (b"presence", b"image/png", b"1"),
            _ => {
                let mut p = phone("w0", "p0", "presence");
                p.call_id = "odd".into();
                p.accept = Some("image/png".into());
                if strict {
                    let refusal = self.world.subscribe(&mut p, Some(600)).expect_err("nothing is accepted");
                    self.reached.answer(answer(refusal));
                    assert!(matches!(refusal, Refusal::NotAcceptable(_)), "{refusal:?}");
                }
                return;
            }
        };
        let refused = self.world.run(|server| {
            server.publish(&Publish {
                event: Some(event),
                expires: Some(Seconds(600)),
                request_uri: Some(Party { user: b"p0", host: b"h" }),
                if_match: None,
                conditions: 0,
                content_type: Some(content_type),
                body,
                sender: None,
            })
        });
        let refusal = refused.expect_err("it is refused");
        self.reached.answer(answer(refusal));
        let fits = match kind {
            0 => refusal == Refusal::BadEvent,
            1 => refusal == Refusal::BadRequest,
            2 => refusal == Refusal::InvalidRequest,
            _ => matches!(refusal, Refusal::UnsupportedType(_)),
        };
        assert!(fits, "{refusal:?} to kind {kind}");
    }

    /// Answers everything with 200 until nothing flies any more.
    pub fn settle(&mut self) {
        self.world.host.sends.clear();
        self.world.table.fails.set(false);
        self.world.notes.fails.set(false);
        for _ in 0..50 {
            for n in std::mem::take(&mut self.flying) {
                self.world.answer(&n, 200);
                self.look();
            }
            self.world.wait(40);
            self.world.run(|s| s.go_on_with_overdue(1000));
            self.world.run(|s| s.tell_postponed(1000));
            self.look();
            if self.flying.is_empty() {
                break;
            }
        }
        assert!(self.flying.is_empty(), "it comes to rest");
    }

    /// After a flush the table has what memory has.
    fn the_table_agrees(&mut self) {
        if self.mode() != SubsMode::WriteBack {
            return;
        }
        flush(&self.world, &mut self.rows, false);
        let now = self.world.host.now.unix;
        self.rows.retain(|_, row| row.expires >= now);
        for p in &self.phones {
            let Some(known) = self.world.find(p) else { continue };
            if known.expires >= now {
                let row = self.rows.remove(p.call_id.as_bytes()).expect("a row for each subscription");
                assert!(row.local_cseq >= known.local_cseq, "the row is ahead");
                let same = Subscription { local_cseq: known.local_cseq, version: known.version, ..row.clone() };
                assert_eq!(same, known);
                self.rows.insert(p.call_id.clone().into_bytes(), row);
            }
        }
    }

    /// Those who still watch, and may, know the last state.
    fn everybody_knows(&mut self) {
        for p in &self.phones {
            let which: usize = p.presentity[1..].parse().expect("a number");
            let Some(seen) = self.seen.get(&p.call_id).filter(|seen| !seen.terminated) else { continue };
            let now = self.world.host.now.unix;
            let may = |s: &Subscription| s.expires >= now && s.status == Status::Active && !s.is_politely_blocked();
            if p.event != "presence" || !self.world.find(p).as_ref().is_some_and(may) {
                continue;
            }
            let state = &self.states[which];
            match state.tag {
                // It may have been told, or swept.
                Some(_) if state.expires <= now.0 || state.revived => {}
                Some(_) => assert_eq!(seen.last, state.number.to_string(), "{} knows the last state", p.call_id),
                None => assert!(seen.last.parse::<u64>().is_err(), "{} knows that there is no state", p.call_id),
            }
        }
    }

    /// Lets it come to rest: nobody is left behind, then everything runs out and nothing stays.
    pub fn finish(&mut self) {
        self.settle();
        self.everybody_knows();
        self.the_table_agrees();
        let census = self.world.store.check().unwrap_or_else(|e| panic!("{e}"));
        assert_eq!((census.leaving, census.guests, census.queued), (0, 0, 0), "nothing is stuck");
        self.run_out();
        let census = self.world.store.check().expect("whole");
        assert_eq!((census.subscriptions, census.leaving, census.resources, census.publications), (0, 0, 0, 0));
        assert_eq!(self.world.subscriptions(), 0);
    }

    /// Everything goes, and so does all memory but the slabs and tables, which stay for the next.
    pub fn run_out(&mut self) {
        self.world.wait(10_000_000);
        while self.world.run(|s| s.expire_subscriptions()) {}
        while self.world.run(|s| s.expire_publications()) {}
        self.look();
        self.settle();
        flush(&self.world, &mut self.rows, false);
    }
}

/// Writes what is behind, as the flush does; sometimes it fails.
fn flush(world: &World, rows: &mut Rows, fails: bool) {
    for shard in 0..world.store.shard_count() {
        let mut batch = Vec::new();
        world.store.take_rows(shard, 1000, true, None, &mut batch).expect("whole");
        for row in batch {
            let call = row.subscription.text(Field::CallId).to_vec();
            if fails {
                world.store.give_back_row(&row);
                continue;
            }
            world.store.row_written(&row);
            match row.state {
                RowState::Missing => assert!(rows.insert(call, row.subscription).is_none(), "no row is inserted twice"),
                RowState::Behind => assert!(rows.insert(call, row.subscription).is_some(), "what is updated is there"),
                RowState::Gone => assert!(rows.remove(&call).is_some(), "what is deleted is there"),
            }
        }
    }
}
