//! Many mutated messages: PUBLISHes, SUBSCRIBEs that open dialogs and such as go on in them, answers to NOTIFYs.

use crate::nearly::{count, near};
use std::collections::HashMap;
use std::time::{Duration, Instant};
use testkit::mutation::{NASTY, Random, mutate};
use testkit::phone::{Dialog, dialog_info, pidf};
use testkit::{Message, Phone};

const EVENTS: [&str; 6] = ["presence", "dialog", "dialog;sla", "message-summary", "presence.winfo", "dialog.winfo"];

/// What a watcher and a publisher say on a good day, with the tags of living dialogs and publications.
struct Seeds {
    dialogs: Vec<Dialog>,
    etags: Vec<String>,
}

/// The document that a package's publisher has.
pub fn document(user: &str, event: &str, state: &str) -> String {
    match event.split([';', '.']).next() {
        Some("message-summary") => format!("Messages-Waiting: yes\r\nVoice-Message: {}/8 (0/2)\r\n", state.len()),
        Some("dialog") => dialog_info(user, "d1", if state == "x" { "early" } else { "confirmed" }),
        _ => pidf(user, "open", state),
    }
}

impl Seeds {
    /// Dialogs and publications that live for some minutes, or as long as the server allows.
    fn plant(phone: &mut Phone) -> Self {
        let mut seeds = Self { dialogs: Vec::new(), etags: Vec::new() };
        for (user, event) in
            [("alice", "presence"), ("carol", "dialog"), ("dave", "message-summary"), ("alice", "presence.winfo")]
        {
            seeds.dialogs.push(phone.subscribe(user, event, 600));
            if !event.ends_with("winfo") {
                let reply = phone.publish_for(user, event, None, Some(600), &document(user, event, "x"));
                seeds.etags.push(reply.header("SIP-ETag").expect("a tag").to_owned());
            }
        }
        seeds
    }

    fn message(&self, phone: &Phone, random: &mut Random) -> String {
        let event = random.pick(&EVENTS);
        let user = random.pick(&["alice", "carol", "dave"]);
        match random.below(4) {
            0 | 1 => {
                let body = if random.one_in(4) { String::new() } else { document(user, event, "here") };
                let etag = random.one_in(2).then(|| self.etags[random.below(self.etags.len())].as_str());
                phone.publish_request(user, event, etag, Some([0, 1, 2][random.below(3)]), &body, &[])
            }
            2 => {
                let mut dialog = Dialog::new(user, event);
                dialog.cseq = u32::try_from(random.below(5000)).unwrap_or(1);
                self.subscribe(phone, &dialog, random, &[])
            }
            _ => self.in_dialog(phone, random),
        }
    }

    fn subscribe(&self, phone: &Phone, dialog: &Dialog, random: &mut Random, more: &[String]) -> String {
        let more = [&["Accept: application/pidf+xml".into()], more].concat();
        phone.subscribe_request(dialog, Some([0, 1, 2][random.below(3)]), &more)
    }

    /// The next request of a dialog; every other time with tags, a CSeq or a route of its own.
    fn in_dialog(&self, phone: &Phone, random: &mut Random) -> String {
        let mut dialog = self.dialogs[random.below(self.dialogs.len())].clone();
        dialog.cseq += u32::try_from(random.below(5000)).unwrap_or(1);
        let mut more = Vec::new();
        let spoilt = random.below(10);
        match spoilt {
            0 => dialog.to_tag = near(&dialog.to_tag, random),
            1 => dialog.from_tag = near(&dialog.from_tag, random),
            2 => dialog.call_id = near(&dialog.call_id, random),
            3 => more.push(format!("{}: {}", random.pick(&["Route", "Record-Route", "Via"]), random.pick(&NASTY))),
            4 => dialog.event = random.pick(&EVENTS).to_owned(),
            _ => {}
        }
        let text = self.subscribe(phone, &dialog, random, &more);
        if spoilt == 5 {
            let number = count(dialog.cseq, random);
            return text.replace(&format!("CSeq: {} ", dialog.cseq), &format!("CSeq: {number} "));
        }
        text
    }
}

/// Answers a NOTIFY: mostly as it should be.
fn answer(phone: &mut Phone, notify: &Message, random: &mut Random) {
    if !random.one_in(4) {
        phone.reply(notify, 200, "", &[]);
        return;
    }
    let code = random.pick(&[
        "200", "100", "199", "299", "301", "401", "404", "481", "500", "503", "606", "700", "-1", "99999", "x",
    ]);
    let mut text = format!("SIP/2.0 {code} Answered\r\n");
    for (name, value) in &notify.headers {
        if ["Via", "From", "To", "Call-ID", "CSeq"].contains(&name.as_str()) {
            text += &format!("{name}: {value}\r\n");
        }
    }
    match random.below(5) {
        0 => text += &format!("Retry-After: {}\r\n", random.pick(&NASTY)),
        1 => text += &format!("Contact: {}\r\n", random.pick(&NASTY)),
        2 => text += &format!("WWW-Authenticate: Digest realm=\"{}\r\n", "x".repeat(random.below(4000))),
        3 => text += &format!("Subscription-State: {}\r\n", random.pick(&NASTY)),
        _ => {}
    }
    text += "Content-Length: 0\r\n\r\n";
    let spoilt = mutate(&text, random);
    // Now and then it changes its mind.
    for _ in 0..=usize::from(random.one_in(4)) {
        phone.send_raw(&spoilt);
    }
    if random.one_in(4) {
        phone.reply(notify, 481, "late", &[]);
    }
}

/// The branch of a message's first Via, in its long or its compact form.
pub fn branch(message: &Message) -> String {
    let via = message.header("Via").or_else(|| message.header("v")).unwrap_or_default();
    via.split("branch=").nth(1).and_then(|b| b.split([';', ',', ' ']).next()).unwrap_or_default().to_owned()
}

/// Sends a request. Its final replies: none within the patience, or all until nothing comes for 20 ms.
pub fn finals(phone: &mut Phone, request: &[u8], patience: Duration) -> Vec<u16> {
    let own = branch(&Message::parse(&request[..request.len().min(400)]));
    phone.send_raw(request);
    let (mut codes, start, mut wait) = (Vec::new(), Instant::now(), patience);
    while let Some(left) = wait.checked_sub(start.elapsed()) {
        let Some(reply) = phone.receive(left.min(Duration::from_millis(20))) else { continue };
        if reply.code() >= 200 && branch(&reply) == own {
            codes.push(reply.code());
            wait = start.elapsed() + Duration::from_millis(20);
        }
    }
    codes
}

/// What came of a storm.
#[derive(Default)]
pub struct Harvest {
    /// Final replies by branch.
    pub finals: HashMap<String, u32>,
    /// NOTIFYs that were answered, one way or the other.
    pub notifies: u32,
}

impl Harvest {
    fn count(&mut self, reply: &Message) {
        if reply.code() >= 200 {
            *self.finals.entry(branch(reply)).or_default() += 1;
        }
    }
}

/// How long dialogs and publications are made use of: the server lets none live for longer than 3 s.
const FRESH: Duration = Duration::from_millis(1500);

/// Sends `count` messages, and answers the NOTIFYs that come.
pub fn storm(phone: &mut Phone, random: &mut Random, count: u32) -> Harvest {
    let mut harvest = Harvest::default();
    let (mut seeds, mut planted) = (Seeds::plant(phone), Instant::now());
    phone.answer = None;
    for n in 0..count {
        if planted.elapsed() > FRESH {
            (seeds, planted) = (Seeds::plant(phone), Instant::now());
            phone.strays.drain(..).for_each(|reply| harvest.count(&reply));
        }
        let text = seeds.message(phone, random);
        let message = mutate(&text, random);
        if message.len() < 60_000 {
            phone.send_raw(&message);
        }
        if n % 20 == 0 || n + 1 == count {
            let wait = if n + 1 == count { 1500 } else { 2 };
            while let Some(reply) = phone.receive(Duration::from_millis(wait)) {
                harvest.count(&reply);
            }
            for notify in std::mem::take(&mut phone.inbox) {
                harvest.notifies += 1;
                answer(phone, &notify, random);
            }
        }
    }
    phone.answer = Some(200);
    harvest
}
