//! Child processes, and the server that runs in each of them.

use super::arena::{Arena, SharedLock, is_locked};
use super::board::{Board, CHILDREN, Count, FAILED, PHONES, PRESENTITIES, STATE, Shown, TERMINAL, Told};
use core::sync::atomic::Ordering::SeqCst;
use fakehost::{FakeHost, Heap, PRESENCE, Wire};
use presence_core::config::Config;
use presence_core::dialog::DialogId;
use presence_core::host::{Authorisation, Content, Decision, Host, Notice, Request, Resource, Sent, Subscriptions};
use presence_core::outcome::Answer;
use presence_core::package::{Package, PackageId};
use presence_core::publish::Publish;
use presence_core::refusal::{self, Fault, Refusal};
use presence_core::render::Transport;
use presence_core::server::Server;
use presence_core::store::{Book, Journal, Shelf, Store};
use presence_core::subscribe::{Outcome, Party, Subscribe};
use presence_core::subscription::{Field, Subscription};
use presence_core::time::{Millis, Now, Seconds, Timestamp};
use presence_core::winfo::Watcher;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;

pub type SharedStore = Store<Arena, SharedLock>;

/// Seconds after which a child that hangs is ended by a signal.
const AT_MOST: u32 = 30;

/// A child that was forked.
#[derive(Debug)]
pub struct Child(libc::pid_t);

/// Runs something in a child, which ends with it: 0, or 1 after a panic, whose text is on the board then.
pub fn fork(board: &'static Board, run: impl FnOnce()) -> Child {
    // SAFETY: the child has one thread, runs what the test gives it, and leaves by _exit: nothing of the harness runs.
    match unsafe { libc::fork() } {
        0 => {
            // SAFETY: the default action of SIGALRM ends the process.
            unsafe { libc::alarm(AT_MOST) };
            std::panic::set_hook(Box::new(|info| board.complain(&info.to_string())));
            let code = i32::from(catch_unwind(AssertUnwindSafe(run)).is_err());
            // SAFETY: ends this process without any destructor.
            unsafe { libc::_exit(code) }
        }
        pid => {
            assert!(pid > 0, "a process");
            Child(pid)
        }
    }
}

impl Child {
    /// Ends it once it has done something, or after five seconds.
    pub fn kill_after(self, done: impl Fn() -> bool) {
        for _ in 0..500 {
            if done() {
                break;
            }
            std::thread::sleep(core::time::Duration::from_millis(10));
        }
        // SAFETY: a child of this process that was not waited for yet.
        unsafe { libc::kill(self.0, libc::SIGKILL) };
        assert_eq!(self.end(), Err(libc::SIGKILL));
    }

    /// Waits for its end: the exit code, or the number of the signal.
    pub fn end(self) -> Result<i32, i32> {
        let mut status = 0;
        // SAFETY: a child of this process that nobody else waits for.
        let pid = unsafe { libc::waitpid(self.0, &raw mut status, 0) };
        assert_eq!(pid, self.0);
        if libc::WIFEXITED(status) { Ok(libc::WEXITSTATUS(status)) } else { Err(libc::WTERMSIG(status)) }
    }
}

/// Small numbers from a seed.
pub struct Dice(pub u64);

impl Dice {
    pub fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % sides
    }
}

/// The numbers of a document such as `0n7+closed:2n4`.
pub fn shown(document: &[u8]) -> Shown {
    let mut shows = Shown::default();
    for part in String::from_utf8_lossy(document).split('+') {
        let Some((line, number)) = part.split_once('n').filter(|_| !part.starts_with("closed:")) else { continue };
        let line: usize = line.parse().expect("the number of a publisher");
        assert_eq!(shows[line], 0, "a publisher has one publication: {part}");
        shows[line] = number.parse().expect("a number");
    }
    shows
}

/// The fake host, which logs NOTIFYs where every process sees them.
pub struct SharedHost {
    pub fake: FakeHost,
    board: &'static Board,
    dice: Dice,
    /// In a hundred NOTIFYs: how many fail to leave, and how many are never answered.
    pub fails: u64,
    pub lost: u64,
}

impl Host for SharedHost {
    fn now(&self) -> Now {
        now(self.board)
    }
    fn random(&mut self) -> u64 {
        self.fake.random()
    }
    fn config(&self) -> &Config {
        self.fake.config()
    }
    fn packages(&self) -> Rc<[Package]> {
        self.fake.packages()
    }
    fn reply(&mut self, status: refusal::Status, headers: &[u8]) -> bool {
        assert!(!is_locked(), "no reply under a lock");
        self.fake.reply(status, headers)
    }
    fn check_request(&mut self, package: PackageId, publish: bool) -> Result<(), Fault> {
        self.fake.check_request(package, publish)
    }
    fn authorise(&mut self, request: &Request<'_>) -> Result<Authorisation, Fault> {
        assert!(!is_locked(), "no package is called under a lock");
        self.fake.authorise(request)
    }
    fn decide_again(&mut self, resource: Resource<'_>) -> Vec<Decision> {
        assert!(!is_locked(), "no package is called under a lock");
        self.fake.decide_again(resource)
    }
    fn aggregate(&mut self, resource: Resource<'_>, documents: &[&[u8]], gone: Option<usize>) -> Option<Vec<u8>> {
        assert!(!is_locked(), "no package is called under a lock");
        self.fake.aggregate(resource, documents, gone)
    }
    fn waiting_watchers(&mut self, resource: Resource<'_>) -> Result<Vec<Watcher>, Fault> {
        self.fake.waiting_watchers(resource)
    }
    fn send(&mut self, notice: &Notice, body: &[u8]) -> Sent {
        assert!(!is_locked(), "nothing is sent under a lock");
        let subscription = &notice.subscription;
        let call = String::from_utf8_lossy(subscription.text(Field::CallId));
        let with_state = notice.content == Content::State;
        let failed = self.dice.roll(100) < self.fails;
        self.board.log(&Told {
            dialog: call.parse().expect("the number of a dialog"),
            cseq: subscription.local_cseq.wrapping_add(1),
            flags: [(notice.left.0 == 0, TERMINAL), (with_state, STATE), (failed, FAILED)]
                .map(|(is, flag)| u32::from(is) * flag)
                .iter()
                .sum(),
            shows: if with_state { shown(body) } else { Shown::default() },
        });
        if failed {
            return Sent::Failed;
        }
        if self.dice.roll(100) >= self.lost {
            self.board.take_off(notice.token, self.dice.roll(u64::MAX >> 33));
        }
        Sent::UnderWay
    }
    fn row_id(&mut self) -> Vec<u8> {
        self.fake.row_id()
    }
    fn priority(&mut self) -> i32 {
        self.fake.priority()
    }
}

fn now(board: &Board) -> Now {
    Now { unix: Timestamp(board.unix.load(SeqCst)), steady: Millis(board.steady.load(SeqCst)) }
}

/// A database that is always content.
pub struct Content200;

impl Journal for Content200 {
    fn entered(&mut self, _: &Subscription) -> Result<(), Refusal> {
        Ok(())
    }
    fn renewed(&mut self, _: &Subscription) -> Result<(), Refusal> {
        Ok(())
    }
    fn ended(&mut self, _: DialogId<'_>) -> Result<(), Refusal> {
        Ok(())
    }
    fn went_on(&mut self, _: &Subscription) -> Result<(), Fault> {
        Ok(())
    }
}

/// The presentity and the event of a place.
pub fn watches(place: usize) -> (usize, &'static str) {
    match place {
        0..150 => (0, "presence"),
        150..190 => (1 + place % 2, "presence"),
        _ => (place % PRESENTITIES, "presence.winfo"),
    }
}

/// A server process.
pub struct Process {
    pub host: SharedHost,
    pub store: &'static SharedStore,
    pub board: &'static Board,
    pub dice: Dice,
    number: usize,
}

impl Process {
    pub fn new(store: &'static SharedStore, board: &'static Board, config: &Config, number: usize, seed: u64) -> Self {
        let mut fake = FakeHost::new(config.clone(), &Heap::default());
        fake.random = seed * 1000 + number as u64 + 1;
        let dice = || Dice(seed * 7919 + number as u64);
        Self { host: SharedHost { fake, board, dice: dice(), fails: 0, lost: 0 }, store, board, dice: dice(), number }
    }

    pub fn run<X>(
        &mut self,
        run: impl FnOnce(
            &mut Server<'_, SharedHost, Book<'_, Arena, SharedLock, Content200>, Shelf<'_, Arena, SharedLock>>,
        ) -> X,
    ) -> X {
        self.host.fake.wire.clear();
        let config = self.host.fake.config.clone();
        let (now, packages, store) = (now(self.board), self.host.packages(), self.store);
        let mut shelf = Shelf { store, config: &config, now };
        let mut book = Book { store, journal: Content200, config: &config, packages, now };
        run(&mut Server { host: &mut self.host, subscriptions: &mut book, publications: &mut shelf })
    }

    fn refused(&self, refusal: Refusal) {
        assert_eq!(refusal.status().0, 503, "{refusal:?}");
        self.board.count(Count::Refused);
    }

    fn request(&mut self, place: usize, dialog: u32, cseq: u32, expires: u32, moved: bool) -> Outcome {
        let (presentity, event) = watches(place);
        let (user, watcher, call) = (format!("p{presentity}"), format!("w{place}"), dialog.to_string());
        let contact = format!("sip:{watcher}@{}", if moved { cseq } else { 0 });
        let watched = Party { user: user.as_bytes(), host: b"h" };
        let watcher = Party { user: watcher.as_bytes(), host: b"h" };
        self.run(|server| {
            server.subscribe(&Subscribe {
                event: Some(event.as_bytes()),
                accept: None,
                expires: Some(Seconds(expires)),
                request_uri: (cseq == 1).then_some(watched),
                to: watched,
                from: watcher,
                watcher,
                dialog: dialog_id(&call),
                in_dialog: cseq > 1,
                cseq,
                contact: contact.as_bytes(),
                contact_user: watcher.user,
                instance: b"",
                record_route: b"",
                user_agent: b"ua",
                socket: b"udp:127.0.0.1:5060",
                transport: Transport::Udp,
                local_contact: b"sip:server",
                branch_flags: 0,
            })
        })
    }

    /// A SUBSCRIBE from a place: the first of a dialog, or another one; others may do the same at the same time.
    pub fn subscribe(&mut self, place: usize, expires: u32) {
        let at = &self.board.phones[place];
        let dialog = at.dialog.load(SeqCst);
        if dialog == 0 {
            let dialog = self.board.dialog();
            match self.request(place, dialog, 1, expires.max(1), false) {
                Ok(_) => {
                    self.board.count(Count::Opened);
                    at.cseq.store(1, SeqCst);
                    if at.dialog.compare_exchange(0, dialog, SeqCst, SeqCst).is_err() {
                        // Another process was faster: this dialog is ended again.
                        self.end(place, dialog, 2);
                    }
                }
                Err(refusal) => self.refused(refusal),
            }
            return;
        }
        let cseq = at.cseq.fetch_add(1, SeqCst) + 2;
        if expires == 0 {
            self.end(place, dialog, cseq);
            return;
        }
        let moved = self.dice.roll(4) == 0;
        match self.request(place, dialog, cseq, expires, moved) {
            Ok(_) => self.board.count(Count::Renewed),
            Err(Refusal::NoSubscription) => self.over(place, dialog),
            // A later one was faster.
            Err(Refusal::BadRequest) => {}
            Err(refusal) => self.refused(refusal),
        }
    }

    fn end(&mut self, place: usize, dialog: u32, mut cseq: u32) {
        for _ in 0..3 {
            match self.request(place, dialog, cseq, 0, cseq % 3 == 0) {
                Ok(_) => {
                    self.board.count(Count::Closed);
                    return self.over(place, dialog);
                }
                Err(Refusal::NoSubscription) => return self.over(place, dialog),
                Err(Refusal::BadRequest) => cseq += 1000,
                Err(refusal) => self.refused(refusal),
            }
        }
    }

    fn over(&self, place: usize, dialog: u32) {
        let _ = self.board.phones[place].dialog.compare_exchange(dialog, 0, SeqCst, SeqCst);
    }

    /// A PUBLISH of this process' publication: a new number, a refresh, or its removal.
    pub fn publish(&mut self, presentity: usize, expires: u32, bare: bool) {
        let (line, user) = (self.number, format!("p{presentity}"));
        let last = &self.board.published[presentity][line];
        let known = &self.board.tags[presentity][line];
        let tag = Some(known.get()).filter(|tag| !tag.is_empty());
        if tag.is_none() && (expires == 0 || bare) {
            return;
        }
        let number = last.load(SeqCst) % HIDDEN + 1;
        let body = if bare || expires == 0 { String::new() } else { format!("{line}n{number}") };
        let outcome = self.run(|server| {
            server.publish(&Publish {
                event: Some(b"presence"),
                expires: Some(Seconds(expires)),
                request_uri: Some(Party { user: user.as_bytes(), host: b"h" }),
                if_match: tag.as_deref().map(str::as_bytes),
                conditions: 1,
                content_type: None,
                body: body.as_bytes(),
                sender: None,
            })
        });
        match outcome {
            Ok(()) => {
                self.board.count(Count::Published);
                let replied = self.host.fake.wire.iter().find_map(|w| match w {
                    Wire::Reply(200, headers) => headers.split("SIP-ETag: ").nth(1),
                    _ => None,
                });
                let tag = replied.expect("a reply with a tag").trim();
                known.set(if expires > 0 { tag } else { "" });
                let hidden = if expires == 0 { HIDDEN } else { 0 };
                if bare || expires == 0 {
                    last.store(hidden + last.load(SeqCst) % HIDDEN, SeqCst);
                } else {
                    last.store(number, SeqCst);
                }
            }
            Err(Refusal::ConditionFailed) => panic!("nobody else changes this publication"),
            Err(refusal) => self.refused(refusal),
        }
    }

    /// A few of the NOTIFYs that are under way are answered.
    pub fn answer(&mut self, most: u64, badly: bool) -> u64 {
        for n in 0..most {
            let Some(token) = self.board.land(self.dice.roll(1 << 30)) else { return n };
            let codes = [500, 500, 500, 481, 408, 404];
            let dice = self.dice.roll(400) as usize;
            let code = codes.get(dice).copied().filter(|_| badly).unwrap_or(200);
            self.board.count(Count::Answered);
            self.run(|server| server.completed(token, Answer::of(code), false));
        }
        most
    }

    /// What the notifier processes do.
    pub fn tick(&mut self) {
        self.board.count(Count::Overdue);
        self.run(|server| {
            server.go_on_with_overdue(100);
            server.tell_postponed(10);
        });
    }

    /// What the timer does.
    pub fn expire(&mut self) {
        while self.run(|server| server.expire_subscriptions()) {}
        while self.run(|server| server.expire_publications()) {}
    }

    /// Writes what is behind; sometimes it fails.
    pub fn flush(&mut self, fails: bool) {
        for shard in 0..self.store.shard_count() {
            let (mut rows, mut more) = (Vec::new(), true);
            while more {
                rows.clear();
                more = self.store.take_rows(shard, 100, true, None, &mut rows).expect("whole") && !fails;
                for row in &rows {
                    if fails {
                        self.store.give_back_row(row);
                    } else {
                        self.store.row_written(row);
                    }
                }
            }
        }
    }

    pub fn find(&mut self, dialog: u32) -> Option<Subscription> {
        let call = dialog.to_string();
        self.run(|server| server.subscriptions.find(dialog_id(&call))).expect("memory answers")
    }

    /// The state of a presentity as it stands.
    pub fn state(&mut self, presentity: usize) -> Shown {
        let uri = format!("sip:p{presentity}@h");
        let resource = Resource { uri: uri.as_bytes(), package: PRESENCE };
        shown(&self.run(|server| server.show(resource, b"")).expect("memory answers").unwrap_or_default())
    }

    /// Answers everything until nothing is under way and nothing waits. The calendar stands still.
    pub fn settle(&mut self) {
        (self.host.fails, self.host.lost) = (0, 0);
        for _ in 0..60 {
            while self.answer(1000, false) > 0 {}
            self.board.steady.fetch_add(40_000, SeqCst);
            self.run(|server| {
                server.go_on_with_overdue(100_000);
                server.tell_postponed(1000);
            });
            if self.store.census().expect("whole").queued == 0 {
                while self.answer(1000, false) > 0 {}
                return;
            }
        }
        panic!("it comes to rest: {:?}", self.store.census());
    }
}

/// Added to the last number of a publication that was removed.
pub const HIDDEN: u32 = 1 << 30;

fn dialog_id(call: &str) -> DialogId<'_> {
    DialogId { call_id: call.as_bytes(), to_tag: b"t", from_tag: b"f" }
}

/// Each place and each publisher is there.
const _: () = assert!(PHONES == 200 && CHILDREN == 4);
