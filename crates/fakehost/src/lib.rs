//! A server without a host: a clock that stands still, a wire that is a list, packages that are plain functions. And a
//! [`model`] of it.

pub mod model;
pub mod reached;

use allocator_api2::alloc::{AllocError, Allocator, Global, Layout};
use core::ptr::NonNull;
use presence_core::config::{Config, SubsMode};
use presence_core::dialog::DialogId;
use presence_core::host::{
    Authorisation, Counted, Decision, Host, Notice, Publications, Request, Resource, Sent, Subscriptions, Tied, Token,
};
use presence_core::outcome::Answer;
use presence_core::package::{Family, Kind, Package, PackageId};
use presence_core::publish::Publish;
use presence_core::refusal::{Fault, Refusal};
use presence_core::render::Transport;
use presence_core::server::Server;
use presence_core::status::Status;
use presence_core::store::{Book, Journal, Ledger, Rows, Shelf, Store, Swap, TableBook, Ties};
use presence_core::subscribe::{Outcome, Party, Subscribe};
use presence_core::subscription::{Field, Subscription};
use presence_core::time::{Millis, Now, Seconds, Timestamp};
use presence_core::winfo::Watcher;
use std::cell::Cell;
use std::collections::HashMap;
use std::rc::Rc;

/// The mode that a module of tests is named for.
pub fn mode_of(module: &str) -> SubsMode {
    match module.rsplit("::").next() {
        Some("memory") => SubsMode::Memory,
        Some("write_through") => SubsMode::WriteThrough,
        Some("write_back") => SubsMode::WriteBack,
        Some("database") => SubsMode::Database,
        other => panic!("{other:?} names no mode"),
    }
}

pub const START: u32 = 1_800_000_000;
pub const PRESENCE: PackageId = PackageId(0);
pub const WINFO: PackageId = PackageId(1);
pub const DIALOG: PackageId = PackageId(2);
pub const SLA: PackageId = PackageId(3);
pub const MWI: PackageId = PackageId(4);

/// The heap, able to refuse one allocation: the one with the number `fails`.
#[derive(Clone, Debug, Default)]
pub struct Heap {
    pub fails: Rc<Cell<Option<u64>>>,
    pub failed: Rc<Cell<u64>>,
    pub blocks: Rc<Cell<i64>>,
    pub made: Rc<Cell<u64>>,
}

// SAFETY: passes on to the global allocator.
unsafe impl Allocator for Heap {
    fn allocate(&self, layout: Layout) -> Result<NonNull<[u8]>, AllocError> {
        assert!(!LOCKED.get(), "nothing is allocated while a lock is held");
        if layout.size() > 0 {
            self.made.set(self.made.get() + 1);
            if self.fails.get() == Some(self.made.get()) {
                self.failed.set(self.failed.get() + 1);
                return Err(AllocError);
            }
            self.blocks.set(self.blocks.get() + 1);
        }
        Global.allocate(layout)
    }

    unsafe fn deallocate(&self, p: NonNull<u8>, layout: Layout) {
        assert!(!LOCKED.get(), "nothing is freed while a lock is held");
        if layout.size() > 0 {
            self.blocks.set(self.blocks.get() - 1);
        }
        // SAFETY: the caller's promise.
        unsafe { Global.deallocate(p, layout) };
    }
}

thread_local! {
    static LOCKED: Cell<bool> = const { Cell::new(false) };
}

/// A lock for one thread that refuses to be taken twice, and tells the heap.
#[derive(Debug)]
pub struct OneAtATime;

// SAFETY: one thread; the flag is the lock.
unsafe impl lock_api::RawMutex for OneAtATime {
    #[allow(clippy::declare_interior_mutable_const)]
    const INIT: Self = OneAtATime;
    type GuardMarker = lock_api::GuardNoSend;
    fn lock(&self) {
        assert!(!LOCKED.replace(true), "one lock at a time");
    }
    fn try_lock(&self) -> bool {
        !LOCKED.replace(true)
    }
    unsafe fn unlock(&self) {
        LOCKED.set(false);
    }
}

/// What left the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wire {
    Reply(u16, String),
    Notify(Notified),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notified {
    pub token: Token,
    pub call_id: String,
    pub contact: String,
    pub cseq: u32,
    pub version: u32,
    pub status: Status,
    pub reason: String,
    pub left: u32,
    pub body: String,
}

#[derive(Debug)]
pub struct FakeHost {
    pub now: Now,
    pub config: Config,
    pub packages: Rc<[Package]>,
    pub wire: Vec<Wire>,
    pub random: u64,
    /// What becomes of the next NOTIFYs; under way, when it is empty.
    pub sends: Vec<Sent>,
    pub authorisations: HashMap<String, Authorisation>,
    /// What the rules say when they are asked again.
    pub decisions: Vec<Decision>,
    pub refuse_check: bool,
    pub waiting: Vec<Watcher>,
    pub aggregations: usize,
    /// The connection that the next requests come by.
    pub connection: Option<i32>,
    pub ties: Rc<Ties<Heap, OneAtATime>>,
}

pub fn package(id: u8, name: &str, family: Family, kind: Kind, peer: Option<u8>) -> Package {
    Package {
        id: PackageId(id),
        name: name.into(),
        kind,
        family,
        content_type: b"text/plain".to_vec(),
        default_expires: 3600,
        keeps_etag: family == Family::SharedLine,
        needs_auth: false,
        aggregates: matches!(family, Family::Presence | Family::Dialog) && kind == Kind::Published,
        per_watcher: false,
        peer: peer.map(PackageId),
    }
}

impl FakeHost {
    pub fn new(config: Config, heap: &Heap) -> Self {
        Self {
            connection: None,
            ties: Rc::new(Ties::new(7, heap.clone()).expect("memory")),
            now: Now { unix: Timestamp(START), steady: Millis(1_000_000) },
            config,
            packages: Rc::new([
                package(0, "presence", Family::Presence, Kind::Published, Some(1)),
                package(1, "presence.winfo", Family::Other, Kind::WatcherInfo, Some(0)),
                package(2, "dialog", Family::Dialog, Kind::Published, None),
                package(3, "dialog;sla", Family::SharedLine, Kind::Published, None),
                package(4, "message-summary", Family::Other, Kind::Published, None),
            ]),
            wire: Vec::new(),
            random: 1,
            sends: Vec::new(),
            authorisations: HashMap::new(),
            decisions: Vec::new(),
            refuse_check: false,
            waiting: Vec::new(),
            aggregations: 0,
        }
    }
}

impl Host for FakeHost {
    fn now(&self) -> Now {
        self.now
    }
    fn random(&mut self) -> u64 {
        self.random = self.random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        self.random
    }
    fn config(&self) -> &Config {
        &self.config
    }
    fn packages(&self) -> Rc<[Package]> {
        Rc::clone(&self.packages)
    }
    fn reply(&mut self, (code, _): presence_core::refusal::Status, headers: &[u8]) -> bool {
        assert!(!LOCKED.get(), "no reply under a lock");
        self.wire.push(Wire::Reply(code, String::from_utf8_lossy(headers).into_owned()));
        true
    }
    fn check_request(&mut self, _: PackageId, _: bool) -> Result<(), Fault> {
        if self.refuse_check { Err(Fault::Package) } else { Ok(()) }
    }
    fn authorise(&mut self, request: &Request<'_>) -> Result<Authorisation, Fault> {
        let user = String::from_utf8_lossy(request.watcher_user).into_owned();
        Ok(self.authorisations.get(&user).cloned().unwrap_or_else(Authorisation::active))
    }
    fn decide_again(&mut self, _: Resource<'_>) -> Vec<Decision> {
        core::mem::take(&mut self.decisions)
    }
    fn aggregate(&mut self, _: Resource<'_>, documents: &[&[u8]], gone: Option<usize>) -> Option<Vec<u8>> {
        assert!(!LOCKED.get(), "no package is called under a lock");
        self.aggregations += 1;
        if documents.is_empty() {
            return None;
        }
        let shown = documents.iter().enumerate().map(|(i, d)| {
            let text = String::from_utf8_lossy(d);
            if Some(i) == gone { format!("closed:{text}") } else { text.into_owned() }
        });
        Some(shown.collect::<Vec<_>>().join("+").into_bytes())
    }
    fn waiting_watchers(&mut self, _: Resource<'_>) -> Result<Vec<Watcher>, Fault> {
        Ok(self.waiting.clone())
    }
    fn send(&mut self, notice: &Notice, body: &[u8]) -> Sent {
        assert!(!LOCKED.get(), "nothing is sent under a lock");
        let sent = if self.sends.is_empty() { Sent::UnderWay } else { self.sends.remove(0) };
        let s = &notice.subscription;
        let text = |field| String::from_utf8_lossy(s.text(field)).into_owned();
        if sent == Sent::UnderWay {
            self.wire.push(Wire::Notify(Notified {
                token: notice.token,
                call_id: text(Field::CallId),
                contact: text(Field::Contact),
                cseq: s.local_cseq + 1,
                version: s.version,
                status: if notice.left.0 == 0 { Status::Terminated } else { s.status },
                reason: text(Field::Reason),
                left: notice.left.0,
                body: String::from_utf8_lossy(body).into_owned(),
            }));
        }
        sent
    }
    fn tie(&mut self, what: &Tied<'_>, until: Timestamp) {
        match self.connection {
            Some(connection) => self.ties.tie(what, connection, until).unwrap_or_default(),
            None => self.ties.untie(what),
        }
    }
    fn untie(&mut self, what: &Tied<'_>) {
        self.ties.untie(what);
    }
    fn row_id(&mut self) -> Vec<u8> {
        format!("row-{}", self.random()).into_bytes()
    }
    fn priority(&mut self) -> i32 {
        0
    }
}

/// A database that remembers what it was told, and fails on demand.
#[derive(Debug, Default, Clone)]
pub struct Notes {
    pub rows: Rc<std::cell::RefCell<HashMap<String, u32>>>,
    pub fails: Rc<Cell<bool>>,
}

impl Notes {
    fn check(&self) -> Result<(), Refusal> {
        if self.fails.get() { Err(Refusal::Unavailable(Seconds(5))) } else { Ok(()) }
    }
}

impl Journal for Notes {
    fn entered(&mut self, s: &Subscription) -> Result<(), Refusal> {
        self.check()?;
        self.rows.borrow_mut().insert(String::from_utf8_lossy(s.text(Field::CallId)).into_owned(), s.local_cseq);
        Ok(())
    }
    fn renewed(&mut self, s: &Subscription) -> Result<(), Refusal> {
        self.check()?;
        self.entered(s)
    }
    fn ended(&mut self, dialog: DialogId<'_>) -> Result<(), Refusal> {
        self.check()?;
        self.rows.borrow_mut().remove(&String::from_utf8_lossy(dialog.call_id).into_owned());
        Ok(())
    }
    fn went_on(&mut self, s: &Subscription) -> Result<(), Fault> {
        self.check().map_err(|_| Fault::Storage)?;
        self.rows.borrow_mut().insert(String::from_utf8_lossy(s.text(Field::CallId)).into_owned(), s.local_cseq);
        Ok(())
    }
}

/// A table of subscriptions: rows with their numbers.
#[derive(Debug, Default, Clone)]
pub struct Table {
    pub rows: Rc<std::cell::RefCell<std::collections::BTreeMap<i32, Subscription>>>,
    pub fails: Rc<Cell<bool>>,
    pub statements: Rc<Cell<u64>>,
}

/// What comes back from a table: no column has the instance.
fn row_of(s: &Subscription) -> Subscription {
    Subscription { texts: s.texts.with(&[(Field::Instance, b"")]).expect("packs"), ..s.clone() }
}

impl Table {
    fn check(&self) -> Result<(), Fault> {
        assert!(!LOCKED.get(), "no statement under a lock");
        self.statements.set(self.statements.get() + 1);
        if self.fails.get() { Err(Fault::Storage) } else { Ok(()) }
    }
    fn number(&self, dialog: DialogId<'_>) -> Option<i32> {
        self.rows.borrow().iter().find(|(_, s)| s.texts.dialog() == dialog).map(|(n, _)| *n)
    }
}

impl Ledger for Table {
    fn find(&mut self, dialog: DialogId<'_>) -> Result<Option<Subscription>, Fault> {
        self.check()?;
        Ok(self.number(dialog).map(|n| self.rows.borrow()[&n].clone()))
    }
    fn insert(&mut self, s: &Subscription) -> Result<(), Fault> {
        self.check()?;
        // The table has a unique key.
        if self.number(s.texts.dialog()).is_some() {
            return Err(Fault::Storage);
        }
        let mut rows = self.rows.borrow_mut();
        let next = rows.keys().last().map_or(1, |n| n + 1);
        rows.insert(next, row_of(s));
        Ok(())
    }
    fn swap(&mut self, changes: &[Swap]) -> Result<Vec<bool>, Fault> {
        self.check()?;
        let one = |change: &Swap| {
            let Some(number) = self.number(change.now.texts.dialog()) else { return false };
            let mut rows = self.rows.borrow_mut();
            let row = rows.get_mut(&number).expect("a row");
            let expected = (row.local_cseq, row.remote_cseq) == change.was;
            if expected {
                *row = row_of(&change.now);
            }
            expected
        };
        Ok(changes.iter().map(one).collect())
    }
    fn delete(&mut self, dialog: DialogId<'_>, known: Option<&Subscription>) -> Result<bool, Fault> {
        self.check()?;
        let Some(number) = self.number(dialog) else { return Ok(false) };
        let mut rows = self.rows.borrow_mut();
        let same = known.is_none_or(|k| (k.local_cseq, k.expires) == (rows[&number].local_cseq, rows[&number].expires));
        if same {
            rows.remove(&number);
        }
        Ok(same)
    }
    fn page(&mut self, of: &Rows<'_>, after: i32, limit: usize) -> Result<(Vec<Subscription>, Option<i32>), Fault> {
        self.check()?;
        let rows = self.rows.borrow();
        let meant = |s: &&Subscription| {
            (s.presentity.as_slice(), s.package) == (of.resource.uri, of.resource.package)
                && of.call_id.is_none_or(|c| c == s.text(Field::CallId))
                && of.watcher.is_none_or(|w| w == (s.text(Field::WatcherUser), s.text(Field::WatcherDomain)))
        };
        let page: Vec<_> = rows.range(after + 1..).filter(|(_, s)| meant(s)).take(limit).collect();
        let last = page.last().map(|(n, _)| **n).filter(|_| page.len() == limit);
        Ok((page.into_iter().map(|(_, s)| s.clone()).collect(), last))
    }
    fn count(&mut self, of: Counted<'_>, enough: u32) -> Result<u32, Fault> {
        self.check()?;
        let meant = |s: &&Subscription| match of {
            Counted::Resource(resource) => (s.presentity.as_slice(), s.package) == (resource.uri, resource.package),
            Counted::Watcher(user, host) => (s.text(Field::WatcherUser), s.text(Field::WatcherDomain)) == (user, host),
        };
        let count = self.rows.borrow().values().filter(meant).take(enough as usize).count();
        Ok(count as u32)
    }
    fn expired(&mut self, before: Timestamp, limit: usize) -> Result<Vec<Subscription>, Fault> {
        self.check()?;
        Ok(self.rows.borrow().values().filter(|s| s.expires < before).take(limit).cloned().collect())
    }
}

/// A whole server in a test.
#[derive(Debug)]
pub struct World {
    pub host: FakeHost,
    pub store: Store<Heap, OneAtATime>,
    pub heap: Heap,
    pub notes: Notes,
    pub table: Table,
}

impl World {
    pub fn with(config: Config) -> Self {
        let heap = Heap::default();
        let store = Store::new(4, 7, START, config.uri_match, heap.clone()).expect("memory");
        Self { host: FakeHost::new(config, &heap), store, heap, notes: Notes::default(), table: Table::default() }
    }

    pub fn run<X>(
        &mut self,
        run: impl FnOnce(&mut Server<'_, FakeHost, dyn Subscriptions + '_, dyn Publications + '_>) -> X,
    ) -> X {
        let config = self.host.config.clone();
        let (now, packages) = (self.host.now, Rc::clone(&self.host.packages));
        let mut shelf = Shelf { store: &self.store, config: &config, now };
        let (mut book, mut table);
        let subscriptions: &mut dyn Subscriptions = if config.subs == SubsMode::Database {
            table = TableBook::new(&self.store, self.table.clone(), &config, packages, now);
            &mut table
        } else {
            book = Book { store: &self.store, journal: self.notes.clone(), config: &config, packages, now };
            &mut book
        };
        run(&mut Server { host: &mut self.host, subscriptions, publications: &mut shelf })
    }

    /// Enters a subscription that a table had.
    pub fn load(&mut self, subscription: &Subscription) {
        let config = self.host.config.clone();
        let (now, packages) = (self.host.now, Rc::clone(&self.host.packages));
        let book = Book { store: &self.store, journal: self.notes.clone(), config: &config, packages, now };
        book.load(subscription).expect("memory");
    }

    /// The subscription of a phone, if it is known.
    pub fn find(&mut self, p: &Phone) -> Option<Subscription> {
        let tag = format!("t-{}", p.call_id);
        let dialog = DialogId { call_id: p.call_id.as_bytes(), to_tag: tag.as_bytes(), from_tag: b"f" };
        self.run(|server| server.subscriptions.find(dialog)).expect("the table answers")
    }

    /// How many subscriptions there are; everything hangs together.
    pub fn subscriptions(&self) -> u64 {
        let census = self.store.check().expect("whole");
        if self.host.config.subs == SubsMode::Database {
            self.table.rows.borrow().len() as u64
        } else {
            census.subscriptions
        }
    }

    /// Time goes by.
    pub fn wait(&mut self, seconds: u32) {
        self.host.now.unix.0 += seconds;
        self.host.now.steady.0 += u64::from(seconds) * 1000;
    }

    pub fn subscribe(&mut self, phone: &mut Phone, expires: Option<u32>) -> Outcome {
        phone.cseq += 1;
        let (contact, instance) = (phone.contact.clone(), phone.instance.clone());
        let (call_id, tag) = (phone.call_id.clone(), format!("t-{}", phone.call_id));
        let request = Subscribe {
            event: Some(phone.event.as_bytes()),
            accept: phone.accept.as_deref().map(str::as_bytes),
            expires: expires.map(Seconds),
            request_uri: (!phone.in_dialog).then_some(Party { user: phone.presentity.as_bytes(), host: b"h" }),
            to: Party { user: phone.presentity.as_bytes(), host: b"h" },
            from: Party { user: phone.user.as_bytes(), host: b"h" },
            watcher: Party { user: phone.user.as_bytes(), host: b"h" },
            dialog: DialogId { call_id: call_id.as_bytes(), to_tag: tag.as_bytes(), from_tag: b"f" },
            in_dialog: phone.in_dialog,
            cseq: phone.cseq,
            contact: contact.as_bytes(),
            contact_user: phone.user.as_bytes(),
            instance: instance.as_bytes(),
            record_route: b"",
            user_agent: b"ua",
            socket: b"udp:127.0.0.1:5060",
            transport: Transport::Udp,
            local_contact: b"sip:server",
            branch_flags: 0,
        };
        let outcome = self.run(|server| server.subscribe(&request));
        if outcome.is_ok() {
            phone.in_dialog = expires != Some(0);
        }
        outcome
    }

    pub fn publish(
        &mut self,
        user: &str,
        event: &str,
        etag: Option<&str>,
        expires: Option<u32>,
        body: &str,
    ) -> Result<String, Refusal> {
        self.publish_from(user, event, etag, expires, body, None)
    }

    pub fn publish_from(
        &mut self,
        user: &str,
        event: &str,
        etag: Option<&str>,
        expires: Option<u32>,
        body: &str,
        sender: Option<&str>,
    ) -> Result<String, Refusal> {
        let before = self.host.wire.len();
        self.run(|server| {
            server.publish(&Publish {
                event: Some(event.as_bytes()),
                expires: expires.map(Seconds),
                request_uri: Some(Party { user: user.as_bytes(), host: b"h" }),
                if_match: etag.map(str::as_bytes),
                conditions: usize::from(etag.is_some()),
                content_type: Some(b"text/plain"),
                body: body.as_bytes(),
                sender: sender.map(str::as_bytes),
            })
        })?;
        match &self.host.wire[before] {
            Wire::Reply(200, headers) => Ok(headers.split("SIP-ETag: ").nth(1).expect("a tag").trim().to_owned()),
            other => panic!("the reply comes first, not {other:?}"),
        }
    }

    /// A connection is closed, and somebody looks.
    pub fn close(&mut self, gone: i32) {
        let (ties, now) = (Rc::clone(&self.host.ties), self.host.now.unix);
        let all = ties.cut(
            now,
            |connection| connection != gone,
            |what| {
                self.run(|server| server.cut(what));
                true
            },
        );
        assert!(all);
    }

    /// Takes what left the server since the last time.
    pub fn wire(&mut self) -> Vec<Wire> {
        std::mem::take(&mut self.host.wire)
    }

    /// Takes the NOTIFYs that left since the last time.
    pub fn notifies(&mut self) -> Vec<Notified> {
        let notifies = self.wire().into_iter().filter_map(|w| match w {
            Wire::Notify(n) => Some(n),
            Wire::Reply(..) => None,
        });
        notifies.collect()
    }

    pub fn answer(&mut self, notify: &Notified, code: u16) {
        self.answer_with(notify, Answer::of(code));
    }

    pub fn answer_with(&mut self, notify: &Notified, answer: Answer) {
        let token = notify.token;
        self.run(|server| server.completed(token, answer, false));
    }

    /// Answers everything with 200 until nothing comes any more. What came, in order.
    pub fn settle(&mut self) -> Vec<Notified> {
        let mut all = Vec::new();
        loop {
            let batch = self.notifies();
            if batch.is_empty() {
                return all;
            }
            for notify in &batch {
                self.answer(notify, 200);
            }
            all.extend(batch);
        }
    }
}

/// A watcher's side.
#[derive(Clone, Debug)]
pub struct Phone {
    pub user: String,
    pub presentity: String,
    pub event: String,
    pub call_id: String,
    pub contact: String,
    pub instance: String,
    pub cseq: u32,
    pub in_dialog: bool,
    pub accept: Option<String>,
}

pub fn phone(user: &str, presentity: &str, event: &str) -> Phone {
    Phone {
        user: user.into(),
        presentity: presentity.into(),
        event: event.into(),
        call_id: format!("{user}-{presentity}-{event}"),
        contact: format!("sip:{user}@1.2.3.4"),
        instance: String::new(),
        cseq: 0,
        in_dialog: false,
        accept: None,
    }
}
