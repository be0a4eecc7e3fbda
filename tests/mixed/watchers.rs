//! Watchers: what they ask for, what they are told, and how they behave.

use super::driver::{Asked, Driver, MARGIN, Sent};
use super::state::{CLIENTS, digits};
use loadgen::{Arrival, Sequence};
use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};
use std::time::{Duration, Instant};
use testkit::Message;

/// NOTIFYs that are remembered.
const HISTORY: usize = 6;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Step {
    Initial,
    /// A look, without a subscription.
    Fetch,
    Refresh,
    End,
}

impl Step {
    pub fn name(self, is_winfo: bool) -> &'static str {
        match (self, is_winfo) {
            (Self::Initial, false) => "SUBSCRIBE initial",
            (Self::Fetch, false) => "SUBSCRIBE fetch",
            (Self::Refresh, false) => "SUBSCRIBE refresh",
            (Self::End, false) => "SUBSCRIBE end",
            (_, true) => "SUBSCRIBE winfo",
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Phase {
    /// Without a dialog.
    Idle,
    /// The first request is under way.
    Asking(Step),
    Open,
    /// Not refreshed in time: the last NOTIFY is due.
    RunningOut,
    /// The end was asked for and confirmed: the last NOTIFY is due since then.
    Ending(Instant),
}

/// How NOTIFYs are answered.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mood {
    Good,
    Silent,
    /// What is no SIP message.
    Garbage,
    Code(u16),
    /// 503 with Retry-After.
    Busy,
}

/// A watcher, and its dialog.
pub struct Watcher {
    pub number: usize,
    pub resource: usize,
    pub is_winfo: bool,
    pub wire: usize,
    pub life: u32,
    pub phase: Phase,
    pub asking: bool,
    pub mood: Mood,
    to_tag: String,
    cseq: u32,
    /// Of each dialog that the server may have begun for it, by its tag.
    sequences: HashMap<String, Sequence>,
    /// The state of each publisher that was shown last, and the least number that this can be.
    shown: [Option<u32>; CLIENTS],
    /// The greatest that it can be.
    newest: [u32; CLIENTS],
    highest: [u32; CLIENTS],
    version: Option<u32>,
    pub sure_until: Instant,
    over_at: Instant,
    /// The server may have given it up: because of its answers, or its connection; so it may be until it has refreshed
    /// after that time.
    pub doubt: Option<Instant>,
    /// Its connection was cut, and it has not said yet where it is now.
    pub has_moved: bool,
    /// Since a kill it has not refreshed.
    pub unsettled: bool,
    /// Its end was asked for and not confirmed.
    end_in_doubt: bool,
    /// A NOTIFY is due since then.
    owed: Option<Instant>,
    told_at: Instant,
    ended: bool,
    /// The last NOTIFYs, for complaints.
    history: VecDeque<(Instant, u32, [Option<u32>; CLIENTS])>,
    /// What was asked last, when, and what was answered; and how the last NOTIFY was.
    asked: Option<(Step, Instant, u16)>,
    answered: Option<(Instant, Option<u16>)>,
}

impl Watcher {
    pub fn new(number: usize, resource: usize, is_winfo: bool, wire: usize, now: Instant) -> Self {
        Self {
            number,
            resource,
            is_winfo,
            wire,
            life: 0,
            phase: Phase::Idle,
            asking: false,
            mood: Mood::Good,
            to_tag: String::new(),
            cseq: 0,
            sequences: HashMap::new(),
            shown: [None; CLIENTS],
            newest: [0; CLIENTS],
            highest: [0; CLIENTS],
            version: None,
            sure_until: now,
            over_at: now,
            doubt: None,
            has_moved: false,
            unsettled: false,
            end_in_doubt: false,
            owed: None,
            told_at: now,
            ended: false,
            history: VecDeque::new(),
            asked: None,
            answered: None,
        }
    }

    pub fn call_id(&self, run: &str) -> String {
        format!("w{}.{}.{run}", self.number, self.life)
    }

    /// What was not shown is there again: that it was gone is no news any more.
    pub fn forget_absence(&mut self, client: usize) {
        if self.shown[client].is_none() {
            self.newest[client] = 0;
        }
    }

    /// What is known of it, for complaints; times are seconds before now.
    fn story(&self, now: Instant) -> String {
        let ago = |at: Instant| -> f32 { now.saturating_duration_since(at).as_secs_f32() };
        let asked = self.asked.map(|(step, at, code)| (step, ago(at), code));
        let answered = self.answered.map(|(at, code)| (ago(at), code));
        let told: Vec<_> = self.history.iter().map(|(at, cseq, shown)| (ago(*at), cseq, shown)).collect();
        let (number, life, phase, winfo, wire) = (self.number, self.life, self.phase, self.is_winfo, self.wire);
        let over = ago(self.over_at);
        format!(
            "watcher {number}, life {life}, {phase:?}, winfo {winfo}, wire {wire}, over {over} ago, asked {asked:?}, \
             answered {answered:?}, told {told:?}"
        )
    }

    /// The next dialog is a new one.
    pub fn leave(&mut self) {
        (self.phase, self.asking, self.owed) = (Phase::Idle, false, None);
    }

    fn tag_or(&self) -> String {
        if self.to_tag.is_empty() { String::new() } else { format!(";tag={}", self.to_tag) }
    }
}

impl Driver {
    pub fn can_subscribe(&self, index: usize) -> bool {
        let watcher = &self.watchers[index];
        !watcher.asking && matches!(watcher.phase, Phase::Idle | Phase::Open) && self.wires[watcher.wire].is_up()
    }

    pub fn subscribe_something(&mut self, index: usize) {
        let step = match self.watchers[index].phase {
            Phase::Idle if !self.watchers[index].is_winfo && self.random.percent(20) => Step::Fetch,
            Phase::Idle => Step::Initial,
            _ if self.watchers[index].end_in_doubt || self.random.percent(15) => Step::End,
            _ => Step::Refresh,
        };
        self.subscribe(index, step);
    }

    pub fn subscribe(&mut self, index: usize, step: Step) {
        let expires = if matches!(step, Step::Fetch | Step::End) { 0 } else { self.lifetime() };
        let now = Instant::now();
        let old = &self.watchers[index];
        if matches!(step, Step::Initial | Step::Fetch) {
            let fresh = Watcher::new(old.number, old.resource, old.is_winfo, old.wire, now);
            let fresh = Watcher { life: old.life + 1, mood: old.mood, phase: Phase::Asking(step), ..fresh };
            self.watchers[index] = fresh;
        }
        let watcher = &mut self.watchers[index];
        watcher.cseq += 1;
        watcher.asking = true;
        let wire = &self.wires[watcher.wire];
        let transport = if wire.is_tcp() { ";transport=tcp" } else { "" };
        let resource = &self.resources[watcher.resource];
        let event = format!("{}{}", resource.package.event(), if watcher.is_winfo { ".winfo" } else { "" });
        let headers = [
            format!("Event: {event}"),
            format!("Expires: {expires}"),
            format!("Contact: <sip:w{index}@{}{transport}>", wire.own),
        ];
        let uri = format!("sip:{}@test.local", resource.user);
        let parts = [
            format!("<sip:w{index}@test.local>;tag=w{index}"),
            format!("<{uri}>{}", watcher.tag_or()),
            watcher.call_id(&self.run),
            watcher.cseq.to_string(),
        ];
        let uri = if watcher.to_tag.is_empty() { uri } else { format!("sip:{}", self.server) };
        let wire = watcher.wire;
        self.ask(wire, Asked::Subscribe { index, step, expires }, "SUBSCRIBE", &uri, &parts, &headers, "");
    }

    /// The answer to a SUBSCRIBE; code 0: none came, and none will.
    pub fn subscribed(&mut self, index: usize, step: Step, expires: u32, sent: &Sent, (code, to_tag): (u16, &str)) {
        let now = Instant::now();
        let lifetime = Duration::from_secs(expires.into());
        let shaky = self.is_shaky(sent);
        let watcher = &mut self.watchers[index];
        watcher.asking = false;
        watcher.asked = Some((step, now, code));
        match (step, code / 100) {
            (Step::Initial | Step::Fetch, 2) => {
                if watcher.to_tag != to_tag {
                    // NOTIFYs came from a dialog that the server began and could not tell about.
                    (watcher.highest, watcher.version) = ([0; CLIENTS], None);
                    watcher.ended = false;
                }
                to_tag.clone_into(&mut watcher.to_tag);
                (watcher.sure_until, watcher.over_at) = (sent.at + lifetime - MARGIN, now + lifetime);
                watcher.phase = if step == Step::Fetch { Phase::Ending(now) } else { Phase::Open };
                watcher.owed = (watcher.told_at < sent.at).then_some(now);
            }
            (Step::Refresh, 2) => {
                (watcher.sure_until, watcher.over_at) = (sent.at + lifetime - MARGIN, now + lifetime);
                watcher.owed = (watcher.told_at < sent.at).then_some(now);
                watcher.unsettled = false;
                if std::mem::take(&mut watcher.has_moved) {
                    // A NOTIFY may be on its way to where nobody is any more.
                    watcher.doubt = Some(now + super::NOTIFY_PATIENCE);
                } else if watcher.doubt.is_some_and(|until| sent.at > until) {
                    watcher.doubt = None;
                }
            }
            (Step::End, 2) => watcher.phase = Phase::Ending(now),
            (Step::Initial | Step::Fetch, _) => return watcher.leave(),
            (_, 4) if code == 481 => {
                let expected = watcher.ended
                    || watcher.doubt.is_some()
                    || watcher.end_in_doubt
                    || shaky
                    || now >= watcher.sure_until;
                if !expected {
                    let what = format!("watcher {index}, life {}, {step:?}, CSeq {}", watcher.life, watcher.cseq);
                    self.account.lost("subscriptions that were acknowledged", || what);
                }
                return self.watchers[index].leave();
            }
            (Step::Refresh, _) => {
                watcher.sure_until = watcher.sure_until.min(sent.at + lifetime - MARGIN);
                watcher.over_at = watcher.over_at.max(now + lifetime);
            }
            (Step::End, _) => watcher.end_in_doubt = true,
        }
        if self.watchers[index].ended {
            self.watchers[index].leave();
        }
    }

    /// A NOTIFY. Gives how it is to be answered: none, 0 (garbage), or a code.
    pub fn notified(&mut self, message: &Message, call_id: &str) -> Option<u16> {
        self.account.notifies += 1;
        let Some((index, life)) = self.watcher_of(call_id) else {
            // Those that spoilt messages have brought about are ended.
            if call_id.starts_with('w') && call_id.ends_with(&self.run) {
                self.account.wrong("NOTIFYs for nobody", || format!("{message:?}"));
            }
            return Some(if message.state().starts_with("terminated") { 200 } else { 481 });
        };
        let from_tag = testkit::sip::tag(message.header("From").unwrap_or_default()).to_owned();
        let watcher = &mut self.watchers[index];
        if life != watcher.life {
            // Its end is sent again, or a dialog whose end nobody could agree upon goes on.
            self.account.ghosts += 1;
            return Some(if message.state().starts_with("terminated") { 200 } else { 481 });
        }
        if watcher.to_tag.is_empty() || matches!(watcher.phase, Phase::Asking(_)) {
            from_tag.clone_into(&mut watcher.to_tag);
        }
        // Nobody has confirmed the dialog, or not its end.
        let is_left = watcher.phase == Phase::Idle && !watcher.ended;
        if watcher.to_tag != from_tag || is_left {
            self.account.ghosts += 1;
            return Some(if message.state().starts_with("terminated") { 200 } else { 481 });
        }
        self.hear(index, message);
        let watcher = &mut self.watchers[index];
        let code = match watcher.mood {
            Mood::Good => Some(200),
            Mood::Busy => Some(503),
            Mood::Silent => None,
            Mood::Garbage => Some(0),
            Mood::Code(code) => Some(code),
        };
        let now = Instant::now();
        if !matches!(watcher.mood, Mood::Good | Mood::Busy) {
            watcher.doubt = Some(now + super::NOTIFY_PATIENCE);
        }
        watcher.answered = Some((now, code));
        code
    }

    fn watcher_of(&self, call_id: &str) -> Option<(usize, u32)> {
        let mut parts = call_id.strip_prefix('w')?.splitn(3, '.');
        let (number, life) = (parts.next()?.parse::<usize>().ok()?, parts.next()?.parse().ok()?);
        (parts.next()? == self.run && number < self.watchers.len()).then_some((number, life))
    }

    /// Whether the NOTIFY is in order, and what it shows.
    fn hear(&mut self, index: usize, message: &Message) {
        let watcher = &mut self.watchers[index];
        let account = &mut self.account;
        let branch = message.header("Via").and_then(|via| via.split_once("branch=")).map_or("", |(_, rest)| rest);
        let branch = branch.split([';', ',']).next().unwrap_or_default();
        let request = BuildHasherDefault::<DefaultHasher>::default().hash_one(branch) as u32;
        let detail = |watcher: &Watcher| {
            let (seen, version, history) = (watcher.highest, watcher.version, &watcher.history);
            format!("watcher {index}.{}, seen {seen:?}, version {version:?}, {history:?}: {message:?}", watcher.life)
        };
        let sequence = watcher.sequences.entry(watcher.to_tag.clone()).or_default();
        match sequence.arrive(message.cseq(), request) {
            Arrival::New => {}
            Arrival::Again => {
                account.again[0] += 1;
                return;
            }
            Arrival::Back => return account.wrong("CSeqs that went back", || detail(watcher)),
            Arrival::Reused => return account.wrong("CSeqs used for two NOTIFYs", || detail(watcher)),
        }
        if watcher.ended {
            return account.wrong("NOTIFYs after the last one", || detail(watcher));
        }
        let now = Instant::now();
        (watcher.told_at, watcher.owed) = (now, None);
        let last = message.state().starts_with("terminated");
        if !(last && message.body.is_empty()) {
            self.compare(index, message, detail);
        }
        if last {
            self.let_go(index, message, now);
        }
    }

    fn compare(&mut self, index: usize, message: &Message, detail: impl Fn(&Watcher) -> String) {
        let watcher = &mut self.watchers[index];
        let resource = &self.resources[watcher.resource];
        let root = if watcher.is_winfo { "<watcherinfo" } else { "<dialog-info" };
        let version = message.body.split_once(root).and_then(|(_, rest)| digits(rest, "version=\""));
        if version.is_some() && version <= watcher.version {
            self.account.wrong("versions of documents that do not grow", || detail(watcher));
        }
        watcher.version = version.or(watcher.version);
        if watcher.is_winfo {
            return;
        }
        let shown = resource.package.shown(&message.body);
        let before = std::mem::replace(&mut watcher.shown, shown);
        watcher.history.push_back((Instant::now(), message.cseq(), shown));
        if watcher.history.len() > HISTORY {
            watcher.history.pop_front();
        }
        for ((line, shown), highest) in resource.lines.iter().zip(shown).zip(0..CLIENTS) {
            watcher.newest[highest] = line.newest(shown);
            // Nothing, as before: what has run out may be published again meanwhile.
            let same = shown.is_none() && before[highest].is_none();
            match line.number(shown, watcher.highest[highest]).or(same.then_some(watcher.highest[highest])) {
                Some(number) => watcher.highest[highest] = number,
                None => {
                    let detail = || format!("{}; of {:?}", detail(watcher), resource.lines);
                    self.account.wrong("older states under a higher CSeq", detail);
                }
            }
        }
    }

    /// The server has ended a dialog.
    fn let_go(&mut self, index: usize, message: &Message, now: Instant) {
        let watcher = &mut self.watchers[index];
        watcher.ended = true;
        let asked = matches!(watcher.phase, Phase::Ending(_) | Phase::Asking(_)) || watcher.end_in_doubt;
        // The end may be told before it is confirmed.
        let expected = asked || watcher.asking || watcher.doubt.is_some() || now >= watcher.sure_until;
        if !expected {
            self.account.lost("subscriptions that the server ended", || format!("watcher {index}: {message:?}"));
        }
        let watcher = &mut self.watchers[index];
        if !watcher.asking {
            watcher.leave();
        }
    }

    /// Who has not been told in time what is due.
    pub fn look_at_watchers(&mut self, now: Instant) {
        let calm = self.weather.calm_for(now);
        let strict = calm > super::TOLD_WITHIN;
        let by = now.checked_sub(super::TOLD_WITHIN).unwrap_or(now);
        for watcher in &mut self.watchers {
            if watcher.phase == Phase::Open && !watcher.asking && now >= watcher.sure_until {
                watcher.phase = Phase::RunningOut;
            }
            let late = match watcher.phase {
                Phase::RunningOut => now > watcher.over_at + super::SWEEP + super::TOLD_WITHIN,
                Phase::Ending(since) => since < by,
                _ => false,
            };
            let certain = watcher.doubt.is_none() && watcher.mood == Mood::Good;
            if late && strict {
                if certain && !watcher.unsettled {
                    let what = watcher.story(now);
                    self.account.lost("last NOTIFYs of a dialog", || what);
                }
                watcher.leave();
            }
            // One that was told the end waits for an answer that the server may have had no memory for.
            if watcher.phase != Phase::Open || watcher.ended || !strict || !certain {
                continue;
            }
            if watcher.owed.is_some_and(|since| since < by) {
                watcher.owed = None;
                let what = watcher.story(now);
                self.account.lost("NOTIFYs after a SUBSCRIBE", || what);
            }
            if watcher.is_winfo || watcher.history.is_empty() {
                continue;
            }
            for (place, line) in self.resources[watcher.resource].lines.iter().enumerate() {
                let due = line.due(by);
                if watcher.newest[place].max(line.newest(watcher.shown[place])) >= due {
                    continue;
                }
                if watcher.unsettled {
                    self.account.told_by_refresh += 1;
                } else {
                    let (who, life, told) = (watcher.number, watcher.life, watcher.told_at.elapsed());
                    let (all, shown) = (&self.resources[watcher.resource].lines, &watcher.history);
                    let what = format!(
                        "watcher {who}.{life}, told {told:?} ago: {shown:?}, publisher {place} at {due} of {all:?}"
                    );
                    self.account.lost("watchers without the last state", || what);
                }
                // Once.
                watcher.newest[place] = due;
            }
        }
    }
}
