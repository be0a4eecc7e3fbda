//! The phones of all actors, in one loop that never waits for one of them alone.

use super::account::Account;
use super::kind::{Ask, Dialog, Kind, Part, Role, Step};
use super::request::{Held, Identity};
use crate::wires::{Wire, wait};
use loadgen::Arrival;
use loadgen::message::{self, Incoming, Notify, Reply};
use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};
use std::net::SocketAddr;
use std::time::{Duration, Instant};
use testkit::Kamailio;

/// Sockets: what arrives is shared out over the buffers of all.
const SOCKETS: usize = 4;
/// Requests under way at the same time.
const WINDOW: usize = 128;
/// A request is sent again after so long, when nothing else has come. Nothing gets lost on loopback but what finds no
/// room; the server forgets a request that it has answered after `wt_timer` and would serve the copy as a new one.
const AGAIN: Duration = Duration::from_secs(5);
/// How long a look for what has come takes at most, and the time between two looks at what is late.
const TICK: Duration = Duration::from_millis(5);
const LOOK: Duration = Duration::from_millis(250);
/// How long a step may take, with sweeps once a second.
const PATIENCE: Duration = Duration::from_secs(30);

struct Pending {
    actor: usize,
    wire: usize,
    text: Vec<u8>,
    next: Instant,
}

/// Somebody who publishes and watches, one step after the other.
struct Actor {
    /// The place of his kind.
    kind: usize,
    part: Part,
    place: usize,
    /// When the step began, if it has.
    since: Option<Instant>,
    /// What has come since the step before was over.
    answered: bool,
    told: [bool; 2],
    ended: [bool; 2],
    identity: Identity,
}

pub struct Client {
    server: SocketAddr,
    wires: Vec<Wire>,
    run: String,
    /// Numbers of requests, of dialogs, of users.
    next: u64,
    pending: HashMap<u64, Pending>,
    buffer: Vec<u8>,
    reply: Vec<u8>,
}

/// Kinds that are played at the same time.
struct Play<'a> {
    client: &'a mut Client,
    server: &'a Kamailio,
    kinds: &'a [(&'a Kind, u32)],
    actors: Vec<Actor>,
    /// Those whose next step may begin.
    ready: VecDeque<usize>,
    /// Operations of each kind that nobody has begun.
    left: Vec<u32>,
    busy: usize,
    /// Dialogs with lower numbers belong to plays before.
    first: u64,
    accounts: Vec<Account>,
}

impl Client {
    pub fn new(server: &Kamailio) -> Self {
        let address = SocketAddr::from(([127, 0, 0, 1], server.port));
        Self {
            server: address,
            wires: (0..SOCKETS).map(|_| Wire::udp(address)).collect(),
            run: testkit::phone::unique(),
            next: 0,
            pending: HashMap::new(),
            buffer: vec![0; 1 << 16],
            reply: Vec::new(),
        }
    }

    fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    /// Does so many operations of each of these kinds, at the same time.
    pub fn play(&mut self, server: &Kamailio, kinds: &[(&Kind, u32)]) -> Vec<Account> {
        let mut play = Play {
            first: self.next,
            client: self,
            server,
            kinds,
            actors: Vec::new(),
            ready: VecDeque::new(),
            left: kinds.iter().map(|(_, operations)| *operations).collect(),
            busy: 0,
            accounts: vec![Account::default(); kinds.len()],
        };
        play.run();
        let accounts = play.accounts;
        self.pending.clear();
        accounts
    }
}

impl Play<'_> {
    fn run(&mut self) {
        for (place, (kind, operations)) in self.kinds.iter().enumerate() {
            let actors = kind.actors.min(*operations) as usize;
            self.actors.extend(std::iter::repeat_with(|| Actor::of(place)).take(actors));
        }
        self.busy = self.actors.len();
        self.ready.extend(0..self.busy);
        (0..self.busy).for_each(|index| self.rename(index));
        let mut looked = Instant::now();
        while self.busy > 0 {
            for _ in self.client.pending.len()..WINDOW {
                let Some(index) = self.ready.pop_front() else { break };
                self.go_on(index);
            }
            let may_go_on = !self.ready.is_empty() && self.client.pending.len() < WINDOW;
            let heard = self.take_in(if may_go_on { Duration::ZERO } else { TICK });
            if looked.elapsed() > LOOK {
                looked = Instant::now();
                if !heard {
                    self.look_around();
                }
            }
        }
    }

    fn kind(&self, index: usize) -> &Kind {
        self.kinds[self.actors[index].kind].0
    }

    fn account(&mut self, index: usize) -> &mut Account {
        &mut self.accounts[self.actors[index].kind]
    }

    /// The step at which an actor stands; none at the end of a part.
    fn step(&self, index: usize) -> Option<Step> {
        let actor = &self.actors[index];
        self.kind(index).step(actor.part, actor.place)
    }

    /// A presentity that nobody has heard of.
    fn rename(&mut self, index: usize) {
        let number = self.client.number();
        self.actors[index].identity.user = format!("k{number}");
    }

    /// Begins the step at which an actor stands.
    fn go_on(&mut self, index: usize) {
        loop {
            if let Some(step) = self.step(index) {
                self.begin(index, &step);
                return self.look_at(index, &step);
            }
            if !self.next_part(index) {
                self.busy -= 1;
                return;
            }
        }
    }

    /// At the end of a part. False at the end of the last one.
    fn next_part(&mut self, index: usize) -> bool {
        let actor = &mut self.actors[index];
        actor.place = 0;
        match actor.part {
            Part::After => return false,
            Part::Before => {}
            Part::Operation => self.accounts[actor.kind].operations += 1,
        }
        let left = &mut self.left[actor.kind];
        actor.part = if *left > 0 { Part::Operation } else { Part::After };
        if actor.part == Part::Operation {
            *left -= 1;
            if self.kind(index).before.is_empty() {
                self.rename(index);
            }
        }
        true
    }

    fn begin(&mut self, index: usize, step: &Step) {
        let number = self.client.number();
        let wire = index % self.client.wires.len();
        let now = Instant::now();
        let actor = &mut self.actors[index];
        actor.since = Some(now);
        match step.ask {
            Ask::Wait => {
                actor.answered = true;
                return;
            }
            Ask::Command(command) => {
                let (name, parameters, shown) = actor.identity.command(command);
                let (code, text) = match self.server.json_datagram(name, &parameters) {
                    Ok(value) => (200, value.to_string()),
                    Err((code, sentence)) => (u16::try_from(code).unwrap_or(0), sentence),
                };
                if code == 200 && !text.contains(&shown) {
                    self.account(index).complain("lists without what is there", || format!("{shown} in {text:.200}"));
                }
                return self.answered(index, step, code, || format!("{name} {parameters}: {text}"));
            }
            Ask::Subscribe { role, dialog: Dialog::New, .. } => {
                let call_id = format!("w{index}.{}.{number}.{}", role as usize, self.client.run);
                actor.identity.dialogs[role as usize] = Held { life: number, call_id, ..Held::default() };
            }
            Ask::Subscribe { .. } | Ask::Publish { .. } | Ask::Options => {}
        }
        let (own, server) = (self.client.wires[wire].own, self.client.server);
        let Some(request) = actor.identity.request(step.ask, number, own, server) else { return };
        let text = request.text(own, &format!("{}-{number}", self.client.run));
        self.client.wires[wire].send(&text);
        self.client.pending.insert(number, Pending { actor: index, wire, text, next: now + AGAIN });
    }

    /// Takes what has come; false if nothing had.
    fn take_in(&mut self, time: Duration) -> bool {
        let mut messages = Vec::new();
        let ready = wait(&self.client.wires, time);
        for place in &ready {
            let mut buffer = std::mem::take(&mut self.client.buffer);
            self.client.wires[*place].receive(&mut buffer, &mut messages);
            self.client.buffer = buffer;
            for bytes in messages.drain(..) {
                match message::parse(&bytes) {
                    Some(Incoming::Reply(reply)) => self.replied(&reply),
                    Some(Incoming::Notify(notify)) => self.notified(*place, &notify, &bytes),
                    None => {}
                }
            }
        }
        !ready.is_empty()
    }

    fn replied(&mut self, reply: &Reply<'_>) {
        // Whoever asked twice is answered twice.
        let Some(Pending { actor: index, text, .. }) = self.client.pending.remove(&reply.transaction) else { return };
        let Some(step) = self.step(index) else { return };
        let actor = &mut self.actors[index];
        match step.ask {
            Ask::Publish { .. } => reply.etag.clone_into(&mut actor.identity.etag),
            Ask::Subscribe { role, dialog: Dialog::New, .. } => {
                reply.to_tag.clone_into(&mut actor.identity.dialogs[role as usize].tag);
            }
            _ => {}
        }
        self.answered(index, &step, reply.code, || String::from_utf8_lossy(&text).into_owned());
        self.look_at(index, &step);
    }

    fn answered(&mut self, index: usize, step: &Step, code: u16, request: impl FnOnce() -> String) {
        self.actors[index].answered = true;
        let account = self.account(index);
        *account.codes.entry(code).or_default() += 1;
        if code != step.code {
            account.complain("wrong answers", || format!("{code} and not {} to {}", step.code, request()));
            self.actors[index].give_up();
        }
    }

    fn notified(&mut self, wire: usize, notify: &Notify<'_>, bytes: &[u8]) {
        // Of a play before: its last NOTIFY is sent again.
        let Some((index, role, is_held)) = self.dialog_of(notify.call_id) else { return };
        let code = if role == Role::Boss { Some(200) } else { self.kind(index).answer };
        if let Some(code) = code {
            message::answer(bytes, code, &mut self.client.reply);
            self.client.wires[wire].send(&self.client.reply);
        }
        let (true, Some(step)) = (is_held, self.step(index)) else { return };
        let branch = BuildHasherDefault::<DefaultHasher>::default().hash_one(notify.branch) as u32;
        let actor = &mut self.actors[index];
        let account = &mut self.accounts[actor.kind];
        let held = &mut actor.identity.dialogs[role as usize];
        let which = || format!("{} of {}", notify.cseq, notify.call_id);
        match held.sequence.arrive(notify.cseq, branch) {
            Arrival::New => {}
            Arrival::Again => return,
            Arrival::Back | Arrival::Reused => return account.complain("CSeqs that went back", which),
        }
        account.notifies += 1;
        if held.over {
            account.complain("NOTIFYs after the last one", which);
        }
        if notify.terminated && step.ends != Some(role) {
            account.complain("subscriptions that ended by themselves", which);
        }
        held.over = notify.terminated;
        actor.told[role as usize] = true;
        actor.ended[role as usize] |= notify.terminated;
        self.look_at(index, &step);
    }

    /// The actor to whom a Call-ID belongs, and whether it is that of his present dialog.
    fn dialog_of(&self, call_id: &str) -> Option<(usize, Role, bool)> {
        let mut parts = call_id.strip_prefix('w')?.splitn(4, '.');
        let index: usize = parts.next()?.parse().ok()?;
        let role = if parts.next()? == "0" { Role::Watcher } else { Role::Boss };
        let life: u64 = parts.next()?.parse().ok()?;
        let held = &self.actors.get(index)?.identity.dialogs[role as usize];
        (life >= self.first && parts.next()? == self.client.run).then_some((index, role, held.life == life))
    }

    /// The next step may begin if nothing is missing any more.
    fn look_at(&mut self, index: usize, step: &Step) {
        let actor = &mut self.actors[index];
        if actor.is_over(step) {
            (actor.since, actor.answered, actor.told, actor.ended) = (None, false, [false; 2], [false; 2]);
            actor.place += 1;
            self.ready.push_back(index);
        }
    }

    /// What is due to be sent again, and who waits for too long.
    fn look_around(&mut self) {
        let now = Instant::now();
        for pending in self.client.pending.values_mut().filter(|pending| pending.next <= now) {
            self.client.wires[pending.wire].send(&pending.text);
            pending.next = now + AGAIN;
            self.accounts[self.actors[pending.actor].kind].again += 1;
        }
        for index in 0..self.actors.len() {
            let Some(step) = self.step(index) else { continue };
            let actor = &mut self.actors[index];
            if actor.since.is_none_or(|since| now < since + PATIENCE) {
                continue;
            }
            let (answered, told, user) = (actor.answered, actor.told, actor.identity.user.clone());
            self.accounts[actor.kind]
                .complain("steps without an end", || format!("{user}: {step:?}: answered: {answered}, told: {told:?}"));
            actor.answered = true;
            actor.give_up();
            self.client.pending.retain(|_, pending| pending.actor != index);
            self.look_at(index, &step);
        }
    }
}

impl Actor {
    fn of(kind: usize) -> Self {
        Self {
            kind,
            part: Part::Before,
            place: 0,
            since: None,
            answered: false,
            told: [false; 2],
            ended: [false; 2],
            identity: Identity::default(),
        }
    }

    fn is_over(&self, step: &Step) -> bool {
        let told = self.told.iter().zip(step.tells).all(|(told, due)| *told || !due);
        self.since.is_some() && self.answered && told && step.ends.is_none_or(|role| self.ended[role as usize])
    }

    /// Waits for no NOTIFY in this step.
    fn give_up(&mut self) {
        (self.told, self.ended) = ([true; 2], [true; 2]);
    }
}
