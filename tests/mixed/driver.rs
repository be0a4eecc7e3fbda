//! All the phones, in one loop: requests at a fixed rate, whatever the answers take; every message that comes is judged.

use super::account::Account;
use super::faults::Kind;
use super::orders::Order;
use super::publishers::{self, Publisher};
use super::state::{Line, Package, Resource};
use super::traffic::Pace;
use super::watchers::{self, Watcher};
use super::{GRACE, NOTIFY_PATIENCE, REQUEST_PATIENCE, Size};
use crate::wires::{Wire, wait};
use std::collections::{HashMap, VecDeque};
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, TryRecvError};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use testkit::Message;
use testkit::mutation::{Random, mutate};

/// T1 and T2 of RFC 3261 17.1.2.
const T1: Duration = Duration::from_millis(500);
const T2: Duration = Duration::from_secs(4);
/// Times at the server are whole seconds.
pub const MARGIN: Duration = Duration::from_secs(2);
/// So long without a turn of the loop, and NOTIFYs may have been given up meanwhile.
const STALL: Duration = Duration::from_millis(1500);
/// Answers are remembered, to see that there is no second one.
const REMEMBERED: usize = 50_000;

/// Who asked for what.
#[derive(Clone, Copy, Debug)]
pub enum Asked {
    Publish { index: usize, step: publishers::Step, number: u32, expires: u32 },
    Subscribe { index: usize, step: watchers::Step, expires: u32 },
    Spoilt,
}

/// A request on its way.
#[derive(Clone, Copy, Debug)]
pub struct Sent {
    pub at: Instant,
    pub copies: u32,
}

struct Pending {
    asked: Asked,
    wire: usize,
    sent: Sent,
    text: Vec<u8>,
    next: Instant,
    interval: Duration,
}

/// A request that has had its final answer.
struct Answered {
    asked: Asked,
    code: u16,
    /// So many copies of it have not been answered.
    copies: u32,
}

/// Whether there is a fault.
pub struct Weather {
    pub fault: Option<Kind>,
    /// The last one, and when it ended.
    pub last: Option<Kind>,
    pub ended: Instant,
    /// When memory was last scarce.
    pub scarce: Option<Instant>,
}

impl Weather {
    /// How long there has been no fault.
    pub fn calm_for(&self, now: Instant) -> Duration {
        if self.fault.is_some() { Duration::ZERO } else { now.saturating_duration_since(self.ended) }
    }

    /// Whether a fault may explain what becomes of a request of that time: one that goes on, or was there a moment before.
    fn explains(&self, sent: Instant, is_explained: fn(Kind) -> bool) -> bool {
        self.fault.is_some_and(is_explained) || (sent < self.ended + GRACE && self.last.is_some_and(is_explained))
    }
}

/// What the trial may look at while the phones are at work.
#[derive(Default)]
pub struct Gauge {
    pub answered: AtomicU64,
    pub pending: AtomicU64,
    /// Publications and dialogs that are not over.
    pub open: AtomicU64,
    /// Watchers who are subscribed, and nothing speaks against it.
    pub subscribed: AtomicU64,
    pub complaints: Mutex<Vec<String>>,
}

pub struct Driver {
    pub server: SocketAddr,
    pub wires: Vec<Wire>,
    pub resources: Vec<Resource>,
    pub publishers: Vec<Publisher>,
    pub watchers: Vec<Watcher>,
    pub account: Account,
    pub random: Random,
    pub run: String,
    pub weather: Weather,
    /// The number of the next request.
    pub next: u64,
    pub pace: Pace,
    pub is_down: bool,
    pub rate: f64,
    pending: HashMap<u64, Pending>,
    /// How many of these are not spoilt.
    pub asking: usize,
    /// Requests that have had their final answer.
    answered: HashMap<u64, Answered>,
    oldest: VecDeque<u64>,
    pub(super) gauge: Arc<Gauge>,
}

impl Driver {
    pub fn new(server: SocketAddr, size: Size, seed: u64, gauge: Arc<Gauge>) -> Self {
        let now = Instant::now();
        let udp = (0..size.udp).map(|_| Wire::udp(server));
        let wires: Vec<Wire> = udp.chain((0..size.tcp).map(|_| Wire::tcp(server))).collect();
        let mut driver = Self {
            server,
            wires,
            resources: Vec::new(),
            publishers: Vec::new(),
            watchers: Vec::new(),
            account: Account::default(),
            random: Random::new(seed),
            run: testkit::phone::unique(),
            weather: Weather { fault: None, last: None, ended: now, scarce: None },
            next: 1,
            pace: Pace::Quiet,
            is_down: false,
            rate: 100.0,
            pending: HashMap::new(),
            asking: 0,
            answered: HashMap::new(),
            oldest: VecDeque::new(),
            gauge,
        };
        for (package, count, clients) in [
            (Package::Presence, size.presence, 2),
            (Package::Dialog, size.dialog, 2),
            (Package::Waiting, size.waiting, 1),
        ] {
            driver.people(package, count, clients, now);
        }
        driver
    }

    /// Presentities of a package with their publishers and watchers; the first ones have more watchers than the others.
    fn people(&mut self, package: Package, count: usize, clients: usize, now: Instant) {
        let first = self.resources.len();
        for place in 0..count {
            let user = format!("u{}", first + place);
            self.resources.push(Resource { package, user, lines: [Line::new(now), Line::new(now)] });
            for client in 0..clients {
                let wire = self.publishers.len() % self.wires.len();
                self.publishers.push(Publisher::new(first + place, client, wire, now));
            }
        }
        for number in 0..count * 2 {
            let popular = number % 5 == 0;
            let resource = first + if popular { number % count.div_ceil(50) } else { number % count };
            // The members of winfo documents would be many.
            let is_winfo = !popular && package == Package::Presence && number % 10 == 1;
            let index = self.watchers.len();
            self.watchers.push(Watcher::new(index, resource, is_winfo, index % self.wires.len(), now));
        }
    }

    /// So many seconds a publication or a subscription is asked for: some run out before their turn comes again.
    pub fn lifetime(&mut self) -> u32 {
        if matches!(self.pace, Pace::Settle(..)) {
            return super::MAX_EXPIRES;
        }
        let turn = (self.publishers.len() + self.watchers.len()) as f64 / self.rate.max(1.0);
        let turns = [1.0, 3.0, 3.0, 6.0, 6.0, 6.0][self.random.below(6)];
        ((turn * turns) as u32).clamp(6, super::MAX_EXPIRES)
    }

    /// Whether the server had too little memory for an answer at some time since then.
    pub fn is_shaky(&self, sent: &Sent) -> bool {
        self.weather.fault == Some(Kind::Scarce) || self.weather.scarce.is_some_and(|end| end + GRACE > sent.at)
    }

    /// Sends a request. `parts`: From, To, Call-ID, CSeq.
    #[allow(clippy::too_many_arguments)]
    pub fn ask(
        &mut self,
        wire: usize,
        asked: Asked,
        method: &str,
        uri: &str,
        parts: &[String; 4],
        headers: &[String],
        body: &str,
    ) {
        let number = self.next;
        self.next += 1;
        let way = &mut self.wires[wire];
        let transport = if way.is_tcp() { "TCP" } else { "UDP" };
        let [from, to, call_id, cseq] = parts;
        let mut text = format!(
            "{method} {uri} SIP/2.0\r\nVia: SIP/2.0/{transport} {};branch=z9hG4bK-{}-{number}\r\nMax-Forwards: 70\r\n\
             From: {from}\r\nTo: {to}\r\nCall-ID: {call_id}\r\nCSeq: {cseq} {method}\r\n",
            way.own, self.run
        );
        for header in headers {
            let _ = write!(text, "{header}\r\n");
        }
        let _ = write!(text, "Content-Length: {}\r\n\r\n{body}", body.len());
        let is_spoilt = matches!(asked, Asked::Spoilt);
        let text = if is_spoilt { mutate(&text, &mut self.random) } else { text.into_bytes() };
        way.send(&text);
        let now = Instant::now();
        let interval = if way.is_tcp() || is_spoilt { REQUEST_PATIENCE * 2 } else { T1 };
        let sent = Sent { at: now, copies: 1 };
        self.asking += usize::from(!is_spoilt);
        self.pending.insert(number, Pending { asked, wire, sent, text, next: now + interval, interval });
    }

    /// The loop, until nobody gives orders any more.
    pub fn work(mut self, orders: &Receiver<Order>) -> Account {
        let mut buffer = vec![0; 1 << 16];
        let mut last = Instant::now();
        let mut looked = last;
        let mut due = 0.0;
        loop {
            match orders.try_recv() {
                Ok(order) => self.obey(order, &mut buffer),
                Err(TryRecvError::Disconnected) => return self.account,
                Err(TryRecvError::Empty) => {}
            }
            let heard = self.take_in(&mut buffer, Duration::from_millis(1));
            let now = Instant::now();
            let gap = now - last;
            last = now;
            if gap > STALL {
                self.stalled(gap, now);
            }
            if !self.is_down {
                due = self.send_what_is_due(due, gap);
            }
            if now - looked > Duration::from_millis(100) {
                looked = now;
                // Only when nothing waits: an answer may have been there for long.
                if !heard && !self.is_down {
                    self.send_again(now);
                }
                self.look_around(now);
            }
        }
    }

    fn look_around(&mut self, now: Instant) {
        if !self.is_down {
            for wire in 0..self.wires.len() {
                if !self.wires[wire].is_up() {
                    // Sending may have found that out, and told nobody.
                    self.lost_connection(wire);
                    self.wires[wire].connect();
                }
            }
        }
        self.let_publications_run_out(now);
        self.look_at_watchers(now);
        let published = self.publishers.iter().filter(|p| p.asking || p.phase != publishers::Phase::Idle).count();
        let watching = self.watchers.iter().filter(|w| w.asking || w.phase != watchers::Phase::Idle).count();
        let sure = self.watchers.iter().filter(|w| w.phase == watchers::Phase::Open && w.doubt.is_none()).count();
        self.gauge.pending.store(self.asking as u64, Ordering::Relaxed);
        self.gauge.open.store((published + watching) as u64, Ordering::Relaxed);
        self.gauge.subscribed.store(sure as u64, Ordering::Relaxed);
    }

    /// Takes what has come; false if nothing had.
    pub fn take_in(&mut self, buffer: &mut [u8], time: Duration) -> bool {
        let mut messages = Vec::new();
        let ready = wait(&self.wires, time);
        for place in &ready {
            let ended = self.wires[*place].receive(buffer, &mut messages);
            for bytes in messages.drain(..) {
                self.judge(*place, &bytes);
            }
            if ended {
                self.lost_connection(*place);
            }
        }
        !ready.is_empty()
    }

    fn judge(&mut self, wire: usize, bytes: &[u8]) {
        let message = Message::parse(bytes);
        if message.method() == "NOTIFY" {
            let call_id = message.header("Call-ID").unwrap_or_default().to_owned();
            if let Some(code) = self.notified(&message, &call_id) {
                let text = answer(&message, code);
                self.wires[wire].send(text.as_bytes());
            }
            return;
        }
        let via = message.header("Via").unwrap_or_default();
        let branch = via.split("branch=").nth(1).and_then(|b| b.split([';', ',', ' ']).next()).unwrap_or_default();
        let number = branch.rsplit('-').next().and_then(|n| n.parse().ok());
        let (Some(number), 200..) = (number, message.code()) else { return };
        let Some(pending) = self.pending.remove(&number) else { return self.answered_again(number, &message) };
        let copies = pending.sent.copies - 1;
        self.answered.insert(number, Answered { asked: pending.asked, code: message.code(), copies });
        self.oldest.push_back(number);
        if self.oldest.len() > REMEMBERED {
            self.oldest.pop_front().map(|old| self.answered.remove(&old));
        }
        if !matches!(pending.asked, Asked::Spoilt) {
            self.gauge.answered.fetch_add(1, Ordering::Relaxed);
            self.is_allowed(&pending, &message);
        }
        let texts = (message.header("SIP-ETag").unwrap_or_default(), message.to_tag());
        self.finish(&pending, message.code(), texts);
    }

    /// The answer to a copy of a request: the same one.
    fn answered_again(&mut self, number: u64, message: &Message) {
        let Some(answered) = self.answered.get_mut(&number) else { return };
        let same = answered.code == message.code();
        let shaky = self.weather.scarce.is_some_and(|end| end + REQUEST_PATIENCE > Instant::now());
        if answered.copies == 0 || !(same || shaky) {
            let code = answered.code;
            return self.account.wrong("second final answers", || format!("after {code}: {message:?}"));
        }
        answered.copies -= 1;
        if let (true, Asked::Publish { index, step, expires, .. }, 200) = (shaky, answered.asked, message.code()) {
            self.published_twice(index, step, expires);
        }
    }

    /// Whether the code is one that this request may get now.
    fn is_allowed(&mut self, pending: &Pending, message: &Message) {
        let now = Instant::now();
        let code = message.code();
        let is_put_off = code == 503;
        let without_memory = self.is_shaky(&pending.sent) && matches!(code, 400 | 412 | 481 | 500 | 503);
        let explained = match code {
            200 | 412 | 481 => true,
            _ => without_memory || (is_put_off && self.weather.explains(pending.sent.at, Kind::puts_off)),
        };
        if !explained {
            let weather = (self.weather.fault, self.weather.last, self.weather.calm_for(now));
            self.account.wrong("answers that nothing explains", || {
                format!("{weather:?}, {:?} after {:?}: {message:?}", pending.asked, now - pending.sent.at)
            });
        } else if is_put_off && !without_memory && message.header("Retry-After").is_none() {
            self.account.wrong("503 without Retry-After", || format!("{message:?}"));
        }
    }

    /// The end of a request; code 0: without an answer.
    fn finish(&mut self, pending: &Pending, code: u16, (etag, to_tag): (&str, &str)) {
        let place = usize::from(self.weather.explains(pending.sent.at, |_| true));
        let name = match pending.asked {
            Asked::Spoilt => {
                *self.account.spoilt.entry(code).or_default() += 1;
                return;
            }
            Asked::Publish { step, .. } => step.name(),
            Asked::Subscribe { index, step, .. } => step.name(self.watchers[index].is_winfo),
        };
        self.asking -= 1;
        self.account.answers.entry((name, code)).or_default()[place] += 1;
        match pending.asked {
            Asked::Publish { index, step, number, expires } => {
                self.published(index, step, number, expires, &pending.sent, (code, etag));
            }
            Asked::Subscribe { index, step, expires } => {
                self.subscribed(index, step, expires, &pending.sent, (code, to_tag));
            }
            Asked::Spoilt => {}
        }
    }

    fn send_again(&mut self, now: Instant) {
        let mut over = Vec::new();
        for (number, pending) in &mut self.pending {
            if now - pending.sent.at > REQUEST_PATIENCE {
                over.push(*number);
            } else if now > pending.next {
                self.wires[pending.wire].send(&pending.text);
                pending.sent.copies += 1;
                pending.interval = (pending.interval * 2).min(T2);
                pending.next = now + pending.interval;
                self.account.again[1] += 1;
            }
        }
        for number in over {
            let Some(pending) = self.pending.remove(&number) else { continue };
            if matches!(pending.asked, Asked::Spoilt) {
                continue;
            }
            // A transaction for whose answer there was no memory takes all copies, and has none.
            if !self.is_shaky(&pending.sent) {
                let text = String::from_utf8_lossy(&pending.text).into_owned();
                self.account.lost("requests that nobody answered", || format!("{:?}: {text}", pending.asked));
            }
            self.finish(&pending, 0, ("", ""));
        }
    }

    /// Requests that cannot be answered any more.
    pub fn cut_off(&mut self, is_cut: impl Fn(usize) -> bool) {
        let numbers: Vec<u64> =
            self.pending.iter().filter(|(_, p)| is_cut(p.wire)).map(|(number, _)| *number).collect();
        for number in numbers {
            if let Some(pending) = self.pending.remove(&number) {
                if !matches!(pending.asked, Asked::Spoilt) {
                    self.finish(&pending, 0, ("", ""));
                }
            }
        }
    }

    /// What came over a connection that is gone: NOTIFYs find it no more.
    pub fn lost_connection(&mut self, wire: usize) {
        self.wires[wire].cut();
        self.cut_off(|of| of == wire);
        let until = Instant::now() + NOTIFY_PATIENCE;
        for watcher in self.watchers.iter_mut().filter(|w| w.wire == wire) {
            (watcher.doubt, watcher.has_moved) = (Some(until), true);
        }
    }

    fn stalled(&mut self, gap: Duration, now: Instant) {
        self.account.stalls += 1;
        self.account.longest_stall = self.account.longest_stall.max(gap);
        for watcher in &mut self.watchers {
            watcher.doubt = Some(now + NOTIFY_PATIENCE);
        }
    }
}

/// The answer to a NOTIFY; code 0 is no answer that anybody understands.
fn answer(request: &Message, code: u16) -> String {
    if code == 0 {
        return "SIP/2.0 2\u{fffd}0 ???\r\nVia: ;;;\r\nCSeq: NOTIFY\r\n\r\n".to_owned();
    }
    let mut text = format!("SIP/2.0 {code} Answered\r\n");
    for (name, value) in &request.headers {
        if ["Via", "From", "To", "Call-ID", "CSeq"].iter().any(|echoed| echoed.eq_ignore_ascii_case(name)) {
            let _ = write!(text, "{name}: {value}\r\n");
        }
    }
    if code == 503 {
        text.push_str("Retry-After: 1\r\n");
    }
    text.push_str("Content-Length: 0\r\n\r\n");
    text
}
