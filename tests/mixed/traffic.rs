//! Who asks for what, and when: anybody, at a rate.

use super::driver::{Asked, Driver};
use super::publishers::{self, Publisher};
use super::state::Package;
use super::watchers::{self, Watcher};
use std::time::Duration;

/// Of a hundred requests so many are spoilt; as many pairs of PUBLISHes leave back to back.
const SPOILT: usize = 5;
const PAIRS: usize = 5;

/// How requests follow each other.
pub enum Pace {
    Closed(usize),
    Rate(f64),
    Quiet,
    /// And whose turn it is.
    Settle(f64, usize),
    Leave(f64),
}

impl Driver {
    /// A message of somebody else, spoilt.
    fn ask_spoilt(&mut self) {
        self.account.spoilt_sent += 1;
        // Over datagrams: what cannot be taken apart ends a connection.
        let wire = 0;
        let package = self.random.pick(&[Package::Presence, Package::Dialog, Package::Waiting]);
        let user = format!("h{}", self.random.below(8));
        let uri = format!("sip:{user}@test.local");
        let event = package.event();
        let call_id = format!("h-{}", self.next);
        let mut parts = [format!("<{uri}>;tag=h"), format!("<{uri}>"), call_id, "1".to_owned()];
        let mut headers = vec![format!("Event: {event}"), format!("Expires: {}", self.random.below(9))];
        if self.random.percent(50) {
            if self.random.percent(30) {
                headers.push("SIP-If-Match: a.0123456789abcdef.1".into());
            }
            headers.push(format!("Content-Type: {}", testkit::phone::content_type(event)));
            let body = package.document(&user, 0, 1, 1);
            return self.ask(wire, Asked::Spoilt, "PUBLISH", &uri, &parts, &headers, &body);
        }
        // Now and then in the dialog of a watcher who is not asked: with a tag that nobody has.
        if self.random.percent(30) {
            parts[1] = format!("<{uri}>;tag=nobody");
        } else if self.random.percent(20) && package == Package::Presence {
            headers[0] = format!("Event: {event}.winfo");
        }
        headers.push(format!("Contact: <sip:h@{}>", self.wires[wire].own));
        self.ask(wire, Asked::Spoilt, "SUBSCRIBE", &uri, &parts, &headers, "");
    }

    /// Gives what is left of the share of a request.
    pub fn send_what_is_due(&mut self, due: f64, gap: Duration) -> f64 {
        let rate = match self.pace {
            Pace::Quiet => return 0.0,
            Pace::Closed(window) => {
                let free = window.saturating_sub(self.asking);
                (0..free).for_each(|_| {
                    self.send_one();
                });
                return 0.0;
            }
            Pace::Rate(rate) | Pace::Leave(rate) | Pace::Settle(rate, _) => rate,
        };
        // Whatever a stall has held up is not made up for.
        let mut due = due + rate * gap.min(Duration::from_millis(200)).as_secs_f64();
        while due >= 1.0 {
            due -= 1.0;
            match self.pace {
                Pace::Leave(_) => self.send_one_end(),
                Pace::Settle(..) => self.send_one_refresh(),
                _ => self.account.held_back += u64::from(!self.send_one()),
            }
        }
        due
    }

    /// Anybody asks for something; false if everybody is busy.
    fn send_one(&mut self) -> bool {
        let share = self.random.below(100);
        if share < SPOILT {
            self.ask_spoilt();
            return true;
        }
        for _ in 0..40 {
            let index = self.random.below(self.publishers.len() + self.watchers.len());
            if let Some(watcher) = index.checked_sub(self.publishers.len()) {
                if self.can_subscribe(watcher) {
                    self.subscribe_something(watcher);
                    return true;
                }
            } else if self.can_publish(index) {
                self.publish_something(index);
                // The other client of the presentity, back to back.
                let other = index ^ 1;
                let pair = self.publishers.get(other).is_some_and(|p| p.resource == self.publishers[index].resource);
                if share < SPOILT + PAIRS && pair && self.can_publish(other) {
                    self.publish_something(other);
                }
                return true;
            }
        }
        false
    }

    fn send_one_refresh(&mut self) {
        let Pace::Settle(_, next) = &mut self.pace else { return };
        let index = *next;
        *next += 1;
        if let Some(publisher) = self.publishers.get(index) {
            if publisher.phase == publishers::Phase::Published && self.can_publish(index) {
                self.publish(index, publishers::Step::Refresh);
            }
            return;
        }
        let index = index - self.publishers.len();
        let is_open = self.watchers.get(index).is_some_and(|w| w.phase == watchers::Phase::Open);
        if is_open && self.can_subscribe(index) {
            self.subscribe(index, watchers::Step::Refresh);
        }
    }

    /// Somebody ends what it has, if no answer is due.
    fn send_one_end(&mut self) {
        let published = |p: &Publisher| p.phase == publishers::Phase::Published;
        let next = (0..self.publishers.len()).find(|&i| published(&self.publishers[i]) && self.can_publish(i));
        if let Some(index) = next {
            return self.publish(index, publishers::Step::Remove);
        }
        let open = |w: &Watcher| w.phase == watchers::Phase::Open;
        let next = (0..self.watchers.len()).find(|&i| open(&self.watchers[i]) && self.can_subscribe(i));
        if let Some(index) = next {
            self.subscribe(index, watchers::Step::End);
        }
    }
}
