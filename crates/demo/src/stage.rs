//! The server and those who talk to it.

use crate::screen;
use std::time::{Duration, Instant};
use testkit::phone::Dialog;
use testkit::{Kamailio, Message, Phone};

/// Seconds that are asked for.
const EXPIRES: u32 = 600;

/// The server and those who talk to it.
pub struct Stage {
    /// The server.
    pub server: Kamailio,
    /// Publishes how she is.
    pub alice: Phone,
    /// Watches.
    pub bob: Phone,
    /// Watches, too.
    pub carol: Phone,
    /// Publishes calls.
    pub calls: Phone,
    /// Publishes what is in the mailboxes.
    pub voicemail: Phone,
    /// Bob's and Carol's subscriptions to Alice.
    pub dialogs: [Dialog; 2],
    /// The entity-tag of Alice's publication.
    pub etag: String,
    /// CSeq of the last NOTIFY about Alice to each.
    pub cseqs: [u32; 2],
}

impl Stage {
    pub fn new(server: Kamailio) -> Self {
        let phone = |user: &str| {
            let mut phone = Phone::new(user, server.port);
            phone.trace = Some(Vec::new());
            phone
        };
        Self {
            alice: phone("alice"),
            bob: phone("bob"),
            carol: phone("carol"),
            calls: phone("calls"),
            voicemail: phone("voicemail"),
            dialogs: [Dialog::new("alice", "presence"), Dialog::new("alice", "presence")],
            etag: String::new(),
            cseqs: [0; 2],
            server,
        }
    }

    /// Prints what was sent and taken since the last time, in the order of time.
    pub fn print_packets(&mut self) {
        let phones = [&mut self.alice, &mut self.bob, &mut self.carol, &mut self.calls, &mut self.voicemail];
        let mut packets = Vec::new();
        for phone in phones {
            let user = phone.user.clone();
            packets.extend(phone.trace.iter_mut().flat_map(|t| t.drain(..)).map(|traced| (user.clone(), traced)));
        }
        packets.sort_by_key(|(_, traced)| traced.at);
        packets.iter().for_each(|(user, traced)| screen::packet(user, traced));
    }

    /// Stops the server. An abort after a minute is Kamailio's own doing, with its own modules as well.
    pub fn stop(&mut self) -> Result<(), String> {
        let start = Instant::now();
        let status = self.server.try_stop()?;
        if status.success() || start.elapsed() > Duration::from_secs(55) {
            return Ok(());
        }
        Err(format!("the server ended with {status}"))
    }

    /// What somebody needs who wants to try it by hand.
    pub fn say_how_to_reach(&self) {
        let socket = self.server.dir.join("ctl.sock");
        println!("\nThe server runs on. Ctrl-C ends it.");
        println!("   SIP       sip:127.0.0.1:{} over UDP, any user, any domain, no password", self.server.port);
        println!(
            "   softphone account alice@test.local, outbound proxy 127.0.0.1:{} (UDP), no registration; presence",
            self.server.port
        );
        println!(
            "             by SUBSCRIBE and PUBLISH (\"SIMPLE\", \"presence agent\"); a second account watches alice"
        );
        println!("   log       {}", self.server.log_path().display());
        println!("   database  sqlite3 {}", self.server.database_file().display());
        println!("   commands  kamcmd -s unix:{} presence.cleanup", socket.display());
    }
}

/// Subscribes, or refreshes, and gives the NOTIFY that follows.
pub fn subscribe(watcher: &mut Phone, dialog: &mut Dialog) -> Result<Message, String> {
    dialog.cseq += 1;
    let request = watcher.subscribe_request(dialog, Some(EXPIRES), &[]);
    let reply = ask(watcher, &request, "SUBSCRIBE")?;
    dialog.to_tag = reply.to_tag().to_owned();
    notify(watcher, &dialog.event)
}

/// Publishes, or modifies what was published, and gives the new entity-tag. Without a document it is removed.
pub fn publish(
    publisher: &mut Phone,
    user: &str,
    event: &str,
    etag: Option<&str>,
    body: &str,
) -> Result<String, String> {
    let expires = if body.is_empty() { 0 } else { EXPIRES };
    let request = publisher.publish_request(user, event, etag, Some(expires), body, &[]);
    let reply = ask(publisher, &request, "PUBLISH")?;
    reply.header("SIP-ETag").map(str::to_owned).ok_or_else(|| "the reply to the PUBLISH has no SIP-ETag".into())
}

fn ask(phone: &mut Phone, request: &str, method: &str) -> Result<Message, String> {
    let user = phone.user.clone();
    let reply = phone.try_ask(request).ok_or_else(|| format!("{user}'s {method} got no reply within 5 s"))?;
    match reply.code() {
        200..300 => Ok(reply),
        _ => Err(format!("{user}'s {method} was answered \"{}\"", reply.start)),
    }
}

/// The next NOTIFY of an active subscription to this package.
pub fn notify(watcher: &mut Phone, event: &str) -> Result<Message, String> {
    let user = watcher.user.clone();
    let notify = watcher.notify_within(5.0).ok_or_else(|| format!("no NOTIFY reached {user} within 5 s"))?;
    if notify.header("Event") != Some(event) || !notify.state().starts_with("active") {
        return Err(format!("a NOTIFY for an active subscription to {event} was due, and {user} got\n{notify:#?}"));
    }
    Ok(notify)
}

/// As [`notify`], with a document that contains a text.
pub fn told(watcher: &mut Phone, event: &str, text: &str) -> Result<Message, String> {
    let notify = notify(watcher, event)?;
    if !notify.body.contains(text) {
        return Err(format!(
            "the document in the NOTIFY to {} does not contain \"{text}\":\n{}",
            watcher.user, notify.body
        ));
    }
    Ok(notify)
}
