//! One step fails, and the next one does not: for every step of everything that a server is asked.

use crate::plan::{Fault, Plan};
use crate::whole::is_whole;
use crate::{MODES, SQLITE, is_put_off, own, server};
use testkit::phone::{Dialog, dialog_info, pidf};
use testkit::{Database, Kamailio, Message, Phone};

/// What goes wrong in one run of the scenario.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    NotDone,
    /// And the one after it: the end of a transaction that failed.
    TwoNotDone,
    /// And those after it, so many that trying again does not help.
    ManyNotDone,
    DoneAndDenied,
    Deadlock,
    Cut,
    CutAfter,
}

/// Statements that fail in a row, more than a driver and the module together try one.
const MANY: u64 = 14;

impl Kind {
    /// What goes wrong with servers.
    pub const OF_SERVERS: [Self; 5] = [Self::NotDone, Self::Deadlock, Self::Cut, Self::CutAfter, Self::ManyNotDone];

    fn at(self, number: u64) -> Fault {
        match self {
            Self::NotDone => Fault::NotDone(number, 1),
            Self::TwoNotDone => Fault::NotDone(number, 2),
            Self::ManyNotDone => Fault::NotDone(number, MANY),
            Self::DoneAndDenied => Fault::DoneAndDenied(number),
            Self::Deadlock => Fault::Deadlock(number),
            Self::Cut => Fault::Cut(number),
            Self::CutAfter => Fault::CutAfter(number),
        }
    }

    /// How often a request may be put off because of it. What a server fails once is tried again by the server itself.
    fn refusals(self, db: &Database) -> u32 {
        match self {
            Self::ManyNotDone => MANY as u32,
            Self::TwoNotDone => 2,
            _ => u32::from(matches!(db, Database::Sqlite(_))),
        }
    }

    /// Whether something may have been done that was said to have failed.
    fn leaves_doubt(self) -> bool {
        !matches!(self, Self::NotDone | Self::Deadlock | Self::Cut)
    }
}

/// One run: a presentity and a watcher of its own.
struct Scenario<'a> {
    plan: &'a Plan,
    db: &'a Database,
    kind: Kind,
    what: String,
    alice: Phone,
    bob: Phone,
    etag: Option<String>,
    refused: u32,
}

impl Scenario<'_> {
    /// Asks until the answer is 200: the fault hits once. `lost`: the code that says that the one before was carried out
    /// although it was put off: a statement was done, and whether it was could not be read.
    fn insist(&mut self, lost: Option<u16>, mut ask: impl FnMut(&mut Self) -> Message) -> Message {
        for attempt in 0.. {
            let reply = ask(self);
            // A driver that has lost an answer may have repeated what was done.
            let in_doubt = self.kind == Kind::CutAfter && self.plan.failed() > 0;
            if (attempt > 0 && self.kind.leaves_doubt() || in_doubt) && Some(reply.code()) == lost {
                return reply;
            }
            if !is_put_off(&reply, &self.what) {
                return reply;
            }
            self.refused += 1;
            let most = u64::from(self.kind.refusals(self.db));
            assert!(attempt < most && self.plan.failed() > attempt, "{}: refused again: {reply:?}", self.what);
        }
        unreachable!()
    }

    fn publish(&mut self, expires: u32, body: &str) {
        let reply =
            self.insist(Some(412), |s| s.alice.publish("presence", s.etag.clone().as_deref(), Some(expires), body));
        if reply.code() == 412 {
            // The tag has changed: as the client has to, it begins again.
            self.etag = None;
            if !body.is_empty() {
                self.publish(expires, body);
            }
            return;
        }
        self.etag = reply.header("SIP-ETag").filter(|_| expires > 0).map(str::to_owned);
    }

    fn subscribe(&mut self, who: fn(&mut Self) -> &mut Phone, presentity: &str, event: &str) -> Dialog {
        let mut dialog = Dialog::new(presentity, event);
        let reply = self.insist(None, |s| {
            dialog = Dialog::new(presentity, event);
            who(s).resubscribe(&mut dialog, 600)
        });
        dialog.to_tag = reply.to_tag().to_owned();
        dialog
    }

    fn run(&mut self, server: &Kamailio) {
        let user = self.alice.user.clone();
        let mut dialog = self.subscribe(|s| &mut s.bob, &user, "presence");
        self.publish(600, &pidf(&user, "open", "one"));
        self.insist(None, |s| s.bob.resubscribe(&mut dialog, 900));
        self.publish(600, &pidf(&user, "open", "two"));
        if self.etag.is_some() {
            self.publish(700, "");
        }
        // Everybody is told the last state, whatever failed on the way.
        let patience = if self.kind == Kind::ManyNotDone { 25.0 } else { 8.0 };
        testkit::wait_for(&format!("{}: the last state", self.what), patience, || {
            self.bob.listen(std::time::Duration::from_millis(5));
            let call = dialog.call_id.as_str();
            let last = self.bob.inbox.iter().filter(|n| n.header("Call-ID") == Some(call)).max_by_key(|n| n.cseq())?;
            last.body.contains("<note>two</note>").then_some(())
        });
        self.subscribe(|s| &mut s.alice, &user, "presence.winfo");
        for state in ["early", "confirmed"] {
            let body = dialog_info(&user, "d1", state);
            self.insist(None, |s| s.alice.publish("dialog", None, Some(600), &body));
        }
        let fetched = self.insist(None, |s| s.bob.resubscribe(&mut Dialog::new(&s.alice.user.clone(), "presence"), 0));
        assert_eq!(fetched.code(), 200, "{}", self.what);
        if self.etag.is_some() {
            self.publish(0, "");
        }
        self.insist(Some(481), |s| s.bob.resubscribe(&mut dialog, 0));
        let _ = server.rpc(&["presence.cleanup"]);
    }
}

/// Servers at the same time, each with its own part of the steps: most of the time is spent waiting.
const LANES: u64 = 4;

/// The scenario, with a fault at its first step, at its second ...; each of another of these kinds.
pub fn at_each_step(db: &Database, (publ, subs): (u8, u8), kinds: &[Kind]) {
    let lanes: Vec<(u64, u32)> = std::thread::scope(|scope| {
        let lane = |first| {
            let db = own(db);
            scope.spawn(move || at_some_steps(&db, publ, subs, kinds, first))
        };
        let lanes: Vec<_> = (1..=LANES).map(lane).collect();
        lanes.into_iter().map(|lane| lane.join().expect("a lane that found nothing wrong")).collect()
    });
    let (steps, refused): (Vec<u64>, Vec<u32>) = lanes.into_iter().unzip();
    let steps = steps.into_iter().max().unwrap_or(0);
    println!(
        "{db:?}, publ_cache {publ}, subs_db_mode {subs}, {kinds:?}: {steps} steps, {} requests put off",
        refused.iter().sum::<u32>()
    );
    assert!(steps > 10, "hardly anything was asked of the database");
}

/// At every [`LANES`]th step from this one on. The last one that there was, and how many requests were put off.
fn at_some_steps(db: &Database, publ: u8, subs: u8, kinds: &[Kind], first: u64) -> (u64, u32) {
    let plan = Plan::new();
    // The watchers of earlier runs do not answer any more.
    let server = server(db, publ, subs).param("timeout_rm_subs", 0);
    let mut server = plan.applied_to(server).children(1).start();
    let (mut refused, mut last) = (0, 0);
    for number in (first..).step_by(LANES as usize) {
        let kind = kinds[number as usize % kinds.len()];
        let what = format!("publ_cache {publ}, subs_db_mode {subs}, {kind:?}, step {number}");
        let (alice, bob) = (format!("a{number}"), format!("b{number}"));
        let (alice, bob) = (Phone::new(&alice, server.port), Phone::new(&bob, server.port));
        let mut run = Scenario { plan: &plan, db, kind, what, alice, bob, etag: None, refused: 0 };
        plan.set(kind.at(number));
        run.run(&server);
        let failed = plan.failed();
        plan.set(Fault::None);
        refused += run.refused;
        // What a flush could not write it writes with the next one.
        let _ = server.rpc(&["presence.cleanup"]);
        is_whole(&server, kind.leaves_doubt() && kind != Kind::TwoNotDone, &run.what);
        publications(&server, &run);
        assert!(server.is_running(), "{}:\n{}", run.what, server.log());
        if failed == 0 {
            break;
        }
        last = number;
    }
    for sign in ["CRITICAL", "BUG:", "panic"] {
        assert_eq!(server.log_lines(sign), Vec::<String>::new());
    }
    (last, refused)
}

/// Of all that was published the dialog is left, with its last state.
fn publications(server: &Kamailio, run: &Scenario<'_>) {
    let list = server.list(&["presence.presentity_list", "full"]).expect("a list");
    let own: Vec<_> = list.iter().filter(|entry| entry.get("user") == run.alice.user).collect();
    let of = |event: &str| own.iter().filter(|entry| entry.get("event") == event).collect::<Vec<_>>();
    let dialogs = of("dialog");
    assert_eq!(dialogs.len(), 1, "{}: {own:?}", run.what);
    // The body has several lines, of which each looks like a member.
    assert!(dialogs[0].0.iter().any(|(_, value)| value.contains("confirmed")), "{}: {dialogs:?}", run.what);
    // One that was begun again leaves the one before behind, until it runs out.
    let most = usize::from(run.kind.leaves_doubt()) * 2;
    assert!(of("presence").len() <= most, "{}: {own:?}", run.what);
}

#[test]
fn write_through_answers_503_once_for_each_step_that_fails() {
    at_each_step(&SQLITE, MODES[0], &[Kind::NotDone]);
}

#[test]
fn write_back_answers_503_once_for_each_step_that_fails() {
    at_each_step(&SQLITE, MODES[1], &[Kind::NotDone]);
}

#[test]
fn the_database_alone_answers_503_once_for_each_step_that_fails() {
    at_each_step(&SQLITE, MODES[2], &[Kind::NotDone]);
}

#[test]
fn memory_and_write_back_answers_503_once_for_each_step_that_fails() {
    at_each_step(&SQLITE, MODES[3], &[Kind::NotDone]);
}

#[test]
fn a_transaction_that_cannot_be_ended_spoils_nothing() {
    at_each_step(&SQLITE, MODES[0], &[Kind::TwoNotDone]);
}

#[test]
#[ignore = "takes a minute: make soak"]
fn a_transaction_that_cannot_be_ended_spoils_nothing_in_other_modes() {
    MODES[1..].iter().for_each(|modes| at_each_step(&SQLITE, *modes, &[Kind::TwoNotDone]));
}

#[test]
fn what_was_done_and_denied_is_kept_or_begun_again() {
    MODES.iter().for_each(|modes| at_each_step(&SQLITE, *modes, &[Kind::DoneAndDenied]));
}

/// Every step of the start fails once: the server starts, or says why not, and the next start is as if nothing had been.
#[test]
fn a_start_that_fails_says_why_and_leaves_everything() {
    let plan = Plan::new();
    let mut server = plan.applied_to(server(&SQLITE, 1, 2)).children(1).start();
    let mut bob = Phone::new("bob", server.port);
    let mut dialog = bob.subscribe("alice", "presence", 3000);
    let mut alice = Phone::new("alice", server.port);
    assert_eq!(alice.publish("presence", None, Some(3000), &pidf("alice", "open", "here")).code(), 200);
    server.stop();
    let rows = server.tables().rows("active_watchers").len();
    assert_eq!(rows, 1);
    let mut refused = 0;
    for number in 1.. {
        plan.set(Fault::NotDone(number, 1));
        let started = server.try_start_again();
        let failed = plan.failed();
        plan.set(Fault::None);
        match started {
            Ok(()) => drop(server.stop()),
            Err(log) => {
                refused += 1;
                let said = log.lines().rev().take(60).any(|l| l.contains("ERROR") && l.contains("presence"));
                assert!(said, "step {number}: no word about it in\n{log}");
            }
        }
        if failed == 0 {
            println!("{} steps of a start, {refused} of them needed", number - 1);
            assert!(number > 5, "hardly anything was asked of the database");
            break;
        }
    }
    server.try_start_again().expect("starts");
    assert_eq!(bob.resubscribe(&mut dialog, 3000).code(), 200);
    testkit::wait_for("the state", 5.0, || bob.notify().body.contains("<note>here</note>").then_some(()));
}
