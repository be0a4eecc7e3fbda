//! Publishers: what they ask for, and what the answers say.

use super::driver::{Asked, Driver, MARGIN, Sent};
use std::time::{Duration, Instant};

/// What a publisher asks for (RFC 3903 4.1).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Step {
    Initial,
    Modify,
    Refresh,
    Remove,
}

impl Step {
    pub fn name(self) -> &'static str {
        match self {
            Self::Initial => "PUBLISH initial",
            Self::Modify => "PUBLISH modify",
            Self::Refresh => "PUBLISH refresh",
            Self::Remove => "PUBLISH remove",
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Phase {
    /// Nothing is published.
    Idle,
    Published,
    /// Something may be published that cannot be reached any more, or has run out; until then.
    Resting(Instant),
}

/// A publication.
pub struct Publisher {
    pub resource: usize,
    pub client: usize,
    pub wire: usize,
    pub phase: Phase,
    pub asking: bool,
    etag: String,
    life: u32,
    /// The last change that was asked for was not answered, or put off: it may have been made.
    in_doubt: bool,
    /// It lasts until then for sure, and until then at the longest.
    pub sure_until: Instant,
    over_at: Instant,
}

impl Publisher {
    pub fn new(resource: usize, client: usize, wire: usize, now: Instant) -> Self {
        Self {
            resource,
            client,
            wire,
            phase: Phase::Idle,
            asking: false,
            etag: String::new(),
            life: 0,
            in_doubt: false,
            sure_until: now,
            over_at: now,
        }
    }
}

impl Driver {
    /// Whether this publisher can be asked for something.
    pub fn can_publish(&self, index: usize) -> bool {
        let publisher = &self.publishers[index];
        !publisher.asking && !matches!(publisher.phase, Phase::Resting(..)) && self.wires[publisher.wire].is_up()
    }

    pub fn publish_something(&mut self, index: usize) {
        let step = match self.publishers[index].phase {
            Phase::Idle => Step::Initial,
            _ => match self.random.below(100) {
                0..64 => Step::Modify,
                64..88 => Step::Refresh,
                _ => Step::Remove,
            },
        };
        self.publish(index, step);
    }

    pub fn publish(&mut self, index: usize, step: Step) {
        let expires = if step == Step::Remove { 0 } else { self.lifetime() };
        let now = Instant::now();
        let publisher = &mut self.publishers[index];
        let resource = &mut self.resources[publisher.resource];
        let number = match step {
            Step::Refresh => 0,
            _ => resource.lines[publisher.client].issue(step == Step::Remove),
        };
        if step == Step::Initial {
            (publisher.life, publisher.in_doubt) = (publisher.life + 1, false);
        }
        if matches!(step, Step::Modify | Step::Refresh) {
            // Once it is carried out the new time counts, whether or not the answer arrives.
            publisher.sure_until = publisher.sure_until.min(now + Duration::from_secs(expires.into()) - MARGIN);
            resource.lines[publisher.client].lasts(publisher.sure_until);
        }
        let mut headers = vec![format!("Event: {}", resource.package.event()), format!("Expires: {expires}")];
        if step != Step::Initial {
            headers.push(format!("SIP-If-Match: {}", publisher.etag));
        }
        let mut body = String::new();
        if matches!(step, Step::Initial | Step::Modify) {
            headers.push(format!("Content-Type: {}", testkit::phone::content_type(resource.package.event())));
            body = resource.package.document(&resource.user, publisher.client, publisher.life, number);
        }
        publisher.asking = true;
        let uri = format!("sip:{}@test.local", resource.user);
        let parts =
            [format!("<{uri}>;tag=p{index}"), format!("<{uri}>"), format!("p{index}.{}", self.next), "1".into()];
        let wire = publisher.wire;
        let asked = Asked::Publish { index, step, number, expires };
        self.ask(wire, asked, "PUBLISH", &uri, &parts, &headers, &body);
    }

    /// The answer to a PUBLISH; code 0: none came, and none will.
    pub fn published(&mut self, index: usize, step: Step, number: u32, expires: u32, sent: &Sent, reply: (u16, &str)) {
        let (code, etag) = reply;
        let now = Instant::now();
        let lifetime = Duration::from_secs(expires.into());
        let shaky = self.is_shaky(sent);
        let publisher = &mut self.publishers[index];
        let line = &mut self.resources[publisher.resource].lines[publisher.client];
        publisher.asking = false;
        match (step, code) {
            // Without memory for the answer the request may have been carried out twice: one publication is nobody's.
            (Step::Initial, 200) if shaky && sent.copies > 1 => {
                line.lasts(now);
                (publisher.phase, publisher.over_at) = (Phase::Resting(now + lifetime), now + lifetime);
            }
            (Step::Remove, 200) => {
                line.confirm(number, now);
                publisher.phase = Phase::Idle;
            }
            (_, 200) => {
                if matches!(step, Step::Modify | Step::Refresh) && now >= publisher.sure_until {
                    line.comes_back(now);
                    for watcher in self.watchers.iter_mut().filter(|w| w.resource == publisher.resource) {
                        watcher.forget_absence(publisher.client);
                    }
                }
                etag.clone_into(&mut publisher.etag);
                (publisher.phase, publisher.in_doubt) = (Phase::Published, false);
                (publisher.sure_until, publisher.over_at) = (sent.at + lifetime - MARGIN, now + lifetime);
                line.lasts(publisher.sure_until);
                if step != Step::Refresh {
                    line.confirm(number, now);
                }
            }
            (_, 412) => {
                if !publisher.in_doubt && !shaky && now < publisher.sure_until {
                    let what = format!("publisher {index}, {step:?} of {number}, tag {}", publisher.etag);
                    self.account.lost("publications that were acknowledged", || what);
                }
                line.lasts(now);
                publisher.phase = Phase::Resting(publisher.over_at.max(now));
            }
            // Put off, or in the dark: it may have been carried out.
            (Step::Initial | Step::Remove, _) => {
                let until = if step == Step::Initial { now + lifetime } else { publisher.over_at };
                line.lasts(now);
                (publisher.phase, publisher.over_at) = (Phase::Resting(until), until);
            }
            _ => {
                publisher.in_doubt = true;
                publisher.over_at = publisher.over_at.max(now + lifetime);
            }
        }
    }

    /// A copy of a PUBLISH was carried out by itself: there may be a publication that nobody knows.
    pub fn published_twice(&mut self, index: usize, step: Step, expires: u32) {
        let publisher = &mut self.publishers[index];
        if step == Step::Initial && !matches!(publisher.phase, Phase::Resting(..)) {
            let until = publisher.over_at.max(Instant::now() + Duration::from_secs(expires.into()));
            self.resources[publisher.resource].lines[publisher.client].lasts(Instant::now());
            (publisher.phase, publisher.over_at) = (Phase::Resting(until), until);
        }
    }

    /// Publications that run out, and those that have.
    pub fn let_publications_run_out(&mut self, now: Instant) {
        let swept = self.weather.calm_for(now) > super::SWEEP;
        for publisher in &mut self.publishers {
            let line = &mut self.resources[publisher.resource].lines[publisher.client];
            match publisher.phase {
                Phase::Published if !publisher.asking && now >= publisher.sure_until => {
                    publisher.phase = Phase::Resting(publisher.over_at);
                }
                Phase::Resting(until) if swept && now > until + super::SWEEP => {
                    let gone = line.issue(true);
                    line.confirm(gone, now);
                    publisher.phase = Phase::Idle;
                }
                _ => {}
            }
        }
    }

    /// The server has forgotten all of them: it kept them in memory.
    pub fn forget_publications(&mut self, now: Instant) {
        for publisher in &mut self.publishers {
            let line = &mut self.resources[publisher.resource].lines[publisher.client];
            let gone = line.issue(true);
            line.confirm(gone, now);
            publisher.phase = Phase::Idle;
        }
    }
}
