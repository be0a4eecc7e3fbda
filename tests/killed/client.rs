//! A client that publishes its own state, watches it in several dialogs, and remembers what was acknowledged.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use testkit::phone::{Dialog, pidf};
use testkit::{Message, Phone};

/// Dialogs that are open at a time.
const DIALOGS: usize = 4;
/// How long a reply is waited for while the server may be killed.
const REPLY: Duration = Duration::from_secs(8);

/// A dialog, and what was acknowledged in it.
#[derive(Debug)]
struct Watch {
    dialog: Dialog,
    /// When the server said yes to its beginning.
    since: Instant,
    /// The end was asked for: `Some(None)` if nobody answered.
    ended: Option<Option<Instant>>,
}

/// A publication, and what was acknowledged of it.
#[derive(Debug, Default)]
struct Published {
    etag: Option<String>,
    /// Documents that watchers may be shown: the last that was acknowledged, and one after it that nobody answered.
    notes: Vec<String>,
    /// The last request was not answered: the tag may have changed.
    in_doubt: bool,
}

#[derive(Debug)]
pub struct Client {
    phone: Phone,
    watches: Vec<Watch>,
    published: Published,
    /// The highest CSeq of each dialog, by Call-ID.
    heard: HashMap<String, u32>,
    /// NOTIFYs that came since the last request.
    told: Vec<Message>,
    /// The NOTIFY that had a CSeq: its branch.
    sent: HashMap<(String, u32), String>,
    steps: u32,
}

impl Client {
    pub fn new(user: &str, port: u16) -> Self {
        Self {
            phone: Phone::new(user, port),
            watches: Vec::new(),
            published: Published::default(),
            heard: HashMap::new(),
            told: Vec::new(),
            sent: HashMap::new(),
            steps: 0,
        }
    }

    /// Takes note of NOTIFYs: no CSeq belongs to two of them.
    fn hear(&mut self) {
        for notify in std::mem::take(&mut self.phone.inbox) {
            let call = notify.header("Call-ID").unwrap_or_default().to_owned();
            let via = notify.header("Via").unwrap_or_default();
            let branch =
                via.split("branch=").nth(1).unwrap_or_default().split(';').next().unwrap_or_default().to_owned();
            let cseq = notify.cseq();
            let before = self.sent.entry((call.clone(), cseq)).or_insert_with(|| branch.clone());
            assert_eq!(*before, branch, "CSeq {cseq} is used twice in {call}: {notify:?}");
            let highest = self.heard.entry(call).or_default();
            *highest = cseq.max(*highest);
            self.told.push(notify);
        }
    }

    /// What was sent before the server was killed.
    pub fn hear_the_rest(&mut self) {
        self.phone.listen(Duration::from_millis(30));
        self.hear();
    }

    /// Asks; none if nobody answers before `stop`.
    fn ask(&mut self, request: &str, stop: &AtomicBool) -> Option<Message> {
        let via = Message::parse(request.as_bytes()).header("Via").unwrap_or_default().to_owned();
        self.told.clear();
        self.phone.send_raw(request.as_bytes());
        let start = Instant::now();
        let mut again = Duration::from_millis(500);
        loop {
            let was_stopped = stop.load(Ordering::Relaxed);
            let reply = self.phone.receive(Duration::from_millis(20));
            self.hear();
            // The branch ends before what the server adds.
            if let Some(reply) =
                reply.filter(|r| r.code() >= 200 && r.header("Via").is_some_and(|v| v.starts_with(&via)))
            {
                return Some(reply);
            }
            if was_stopped || start.elapsed() > REPLY {
                return None;
            }
            if start.elapsed() > again {
                self.phone.send_raw(request.as_bytes());
                again += Duration::from_millis(500);
            }
        }
    }

    /// Publishes, subscribes, refreshes and ends, one after the other, until the server is down.
    pub fn go_on(&mut self, stop: &AtomicBool) {
        while !stop.load(Ordering::Relaxed) {
            self.steps += 1;
            let open = self.watches.iter().filter(|w| w.ended.is_none()).count();
            match self.steps % 4 {
                0 | 2 => self.publish(stop),
                1 if open < DIALOGS => self.subscribe(stop),
                1 => self.end(stop),
                _ => self.refresh(stop),
            }
        }
    }

    fn publish(&mut self, stop: &AtomicBool) {
        let note = format!("{} {}", self.phone.user, self.steps);
        let user = self.phone.user.clone();
        let tag = self.published.etag.clone();
        let body = pidf(&user, "open", &note);
        let request = self.phone.publish_request(&user, "presence", tag.as_deref(), Some(3000), &body, &[]);
        let Some(reply) = self.ask(&request, stop) else {
            self.published.in_doubt = true;
            self.published.notes.push(note);
            return;
        };
        assert_eq!(reply.code(), 200, "{reply:?}");
        let etag = reply.header("SIP-ETag").map(str::to_owned);
        self.published = Published { etag, notes: vec![note], in_doubt: false };
    }

    fn subscribe(&mut self, stop: &AtomicBool) {
        let mut dialog = Dialog::new(&self.phone.user, "presence");
        dialog.cseq = 1;
        let request = self.phone.subscribe_request(&dialog, Some(3000), &[]);
        let Some(reply) = self.ask(&request, stop) else { return };
        assert_eq!(reply.code(), 200, "{reply:?}");
        dialog.to_tag = reply.to_tag().to_owned();
        self.watches.push(Watch { dialog, since: Instant::now(), ended: None });
    }

    /// Sends the next request of a dialog: its code, or 0.
    fn next_in(&mut self, place: usize, expires: u32, stop: &AtomicBool) -> u16 {
        let dialog = &mut self.watches[place].dialog;
        dialog.cseq += 1;
        let request = self.phone.subscribe_request(dialog, Some(expires), &[]);
        self.ask(&request, stop).map_or(0, |reply| reply.code())
    }

    fn open(&self) -> Vec<usize> {
        (0..self.watches.len()).filter(|&n| self.watches[n].ended.is_none()).collect()
    }

    fn refresh(&mut self, stop: &AtomicBool) {
        let open = self.open();
        if open.is_empty() {
            return;
        }
        let code = self.next_in(open[self.steps as usize / 4 % open.len()], 3000, stop);
        assert!(code == 200 || code == 0, "refresh: {code}");
    }

    fn end(&mut self, stop: &AtomicBool) {
        let Some(&first) = self.open().first() else { return };
        let code = self.next_in(first, 0, stop);
        assert!(code == 200 || code == 0, "end: {code}");
        self.watches[first].ended = Some((code == 200).then(Instant::now));
    }

    /// Looks for everything that was acknowledged, after the server was started again. With `flushed`, what changed
    /// after that moment may be as it was before. How much was looked for, and how much of what came after is not there.
    pub fn look(&mut self, flushed: Option<Instant>, what: &str) -> (usize, usize) {
        let never = AtomicBool::new(false);
        let is_late = |at: Instant| flushed.is_some_and(|flushed| at > flushed);
        let (mut checked, mut unflushed) = (0, 0);
        for place in (0..self.watches.len()).rev() {
            let Watch { dialog, since, ended } = &self.watches[place];
            let (call, since, ended) = (dialog.call_id.clone(), *since, *ended);
            let before = self.heard.get(&call).copied().unwrap_or(0);
            checked += 1;
            let code = self.next_in(place, 3000, &never);
            match ended {
                None if code == 481 && is_late(since) => unflushed += 1,
                None => assert_eq!(code, 200, "{what}: an acknowledged subscription: {:?}", self.watches[place]),
                Some(Some(at)) if code == 200 && is_late(at) => unflushed += 1,
                Some(Some(_)) => assert_eq!(code, 481, "{what}: an ended subscription: {:?}", self.watches[place]),
                Some(None) => assert!(code == 200 || code == 481, "{what}: {code}"),
            }
            if code == 200 {
                self.is_told(&call, before, what);
                self.watches[place].ended = None;
            } else {
                self.watches.remove(place);
            }
        }
        (checked + self.look_for_publication(what, &never), unflushed)
    }

    /// The NOTIFY of a refresh: with the state, and above all that the dialog has heard.
    fn is_told(&mut self, call: &str, before: u32, what: &str) {
        // What nobody answered may be shown, or not.
        let notes = if self.published.etag.is_some() { self.published.notes.clone() } else { Vec::new() };
        testkit::wait_for("the NOTIFY of a refresh", 6.0, || {
            // It may come before the answer: each has a process of its own to send it.
            let notify = self.told.iter().find(|n| n.header("Call-ID") == Some(call)).cloned();
            if notify.is_none() {
                let reply = self.phone.receive(Duration::from_millis(20));
                assert!(reply.is_none_or(|r| r.code() >= 200), "{what}: {call}");
                self.hear();
            }
            let notify = notify?;
            assert!(notify.cseq() > before, "{what}: CSeq {} after {before} in {call}", notify.cseq());
            let fits =
                notes.is_empty() || notes.iter().any(|note| notify.body.contains(&format!("<note>{note}</note>")));
            assert!(fits, "{what}: none of {notes:?} in {notify:?}");
            Some(())
        });
    }

    fn look_for_publication(&mut self, what: &str, never: &AtomicBool) -> usize {
        let Some(etag) = self.published.etag.clone() else {
            self.move_on();
            return 0;
        };
        let user = self.phone.user.clone();
        let note = format!("{user} after {}", self.steps);
        let body = pidf(&user, "open", &note);
        let request = self.phone.publish_request(&user, "presence", Some(&etag), Some(3000), &body, &[]);
        let reply = self.ask(&request, never).unwrap_or_else(|| panic!("{what}: no answer to {request}"));
        match reply.code() {
            200 => {
                let etag = reply.header("SIP-ETag").map(str::to_owned);
                self.published = Published { etag, notes: vec![note], in_doubt: false };
            }
            // The change that nobody answered was made.
            412 if self.published.in_doubt => self.move_on(),
            code => panic!("{what}: an acknowledged publication: {code}, {:?}", self.published),
        }
        1
    }

    /// Goes on as somebody else, if there may be a publication whose tag nobody told.
    fn move_on(&mut self) {
        if self.published.in_doubt {
            self.phone.user.push('x');
            self.watches.clear();
            self.published = Published::default();
        }
    }
}
