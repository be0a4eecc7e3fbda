//! Mutated PUBLISH and SUBSCRIBE messages over the wire: the server stays up, leaks nothing, and no request gets a
//! second final reply. Every run makes the same messages; `HOSTILE_SEED` picks others.

use std::collections::HashMap;
use std::time::Duration;
use testkit::phone::{Dialog, dialog_info, pidf};
use testkit::{Database, Kamailio, Message, Module, Phone};

const MESSAGES: u32 = 20_000;

/// Values that break parsers: they take the place of a header's value, or of a part of one.
const NASTY: [&str; 36] = [
    "",
    " ",
    ";",
    "<",
    "<>",
    "\"",
    "<sip:>",
    "<sip:@>",
    "sip:",
    "sip:%00%ff@x",
    "<sip:a@[::1>",
    "tel:+1;x=\"",
    "<sip:a@b>;tag=",
    "<sip:a@b>;tag=;tag=x",
    "<sip:a@b>;;;tag==",
    "\"\\\" <sip:a@b>",
    "presence;;",
    "presence;id",
    "presence;id=",
    "presence;id=\"",
    "presence.winfo.winfo",
    "dialog;sla;ma",
    "dialog;id=\u{e9}",
    ".winfo",
    "message-summary;=;x",
    "-1",
    "4294967296",
    "99999999999999999999",
    "0x10",
    "00000000000000000001",
    "1 1",
    "*",
    "a.1.2.3.4.5",
    "application/pidf+xml;charset=\"",
    "multipart/related;boundary=",
    "<sip:a@127.0.0.1:99999;lr>, <sip:b",
];

/// A small generator of pseudo-random numbers (xorshift).
struct Random(u64);

impl Random {
    fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % n.max(1) as u64).unwrap_or(0)
    }

    fn pick<'a, T: ?Sized>(&mut self, from: &[&'a T]) -> &'a T {
        from[self.below(from.len())]
    }
}

/// What a watcher and a publisher say on a good day, with the tags of living dialogs and publications.
struct Seeds {
    dialogs: Vec<Dialog>,
    etags: Vec<String>,
}

impl Seeds {
    fn message(&self, phone: &Phone, random: &mut Random) -> String {
        let event =
            random.pick(&["presence", "dialog", "dialog;sla", "message-summary", "presence.winfo", "dialog.winfo"]);
        let user = random.pick(&["alice", "carol", "dave"]);
        if random.below(2) == 0 {
            let body = match event {
                "message-summary" => "Messages-Waiting: yes\r\nVoice-Message: 2/8 (0/2)\r\n".to_owned(),
                e if e.starts_with("dialog") => dialog_info(user, "d1", "confirmed"),
                _ => pidf(user, "open", "here"),
            };
            let etag = (random.below(2) == 0).then(|| self.etags[random.below(self.etags.len())].as_str());
            let body = if random.below(4) == 0 { "" } else { &body };
            return phone.publish_request(user, event, etag, Some([0, 1, 2][random.below(3)]), body, &[]);
        }
        let mut dialog = self.dialogs[random.below(self.dialogs.len())].clone();
        dialog.cseq += u32::try_from(random.below(5000)).unwrap_or(1);
        if random.below(2) == 0 {
            (dialog.to_tag, dialog.call_id) = (String::new(), format!("h-{}", testkit::phone::unique()));
            dialog.event = event.into();
        }
        phone.subscribe_request(&dialog, Some([0, 1, 2][random.below(3)]), &["Accept: application/pidf+xml".into()])
    }
}

/// Spoils a message in one to four places; the first Via stays, so that every reply finds its way and its count.
fn mutate(text: &str, random: &mut Random) -> Vec<u8> {
    let (head, body) = text.split_once("\r\n\r\n").expect("a whole message");
    let mut lines: Vec<String> = head.split("\r\n").map(str::to_owned).collect();
    let mut body = body.as_bytes().to_vec();
    for _ in 0..=random.below(4) {
        let at = if random.below(12) == 0 { 0 } else { 2 + random.below(lines.len().saturating_sub(2)) };
        if at >= lines.len() {
            continue;
        }
        let line = lines[at].clone();
        let (name, value) = line.split_once(": ").unwrap_or((&line, ""));
        match random.below(11) {
            0 => lines[at] = format!("{name}: {}", random.pick(&NASTY)),
            1 => drop(lines.remove(at)),
            2 => lines.push(line),
            3 => lines[at] = format!("{name}: {value}{}", random.pick(&NASTY)),
            4 => lines[at] = format!("{name}: {value}, {}", random.pick(&NASTY)),
            5 => lines[at] = line.chars().take(random.below(line.len())).collect(),
            6 => lines[at] = format!("{name}: {}{value}", "x".repeat(random.below(4000))),
            7 => {
                let mut bytes = line.into_bytes();
                let place = random.below(bytes.len());
                if let Some(byte) = bytes.get_mut(place) {
                    *byte = b'!' + u8::try_from(random.below(94)).unwrap_or(0);
                }
                lines[at] = String::from_utf8_lossy(&bytes).into_owned();
            }
            8 if !body.is_empty() => body.truncate(random.below(body.len())),
            9 if !body.is_empty() => {
                let place = random.below(body.len());
                body[place] = u8::try_from(random.below(256)).unwrap_or(0);
            }
            _ => {
                let place = random.below(body.len() + 1);
                body.splice(place..place, random.pick(&NASTY).bytes());
            }
        }
    }
    // Half of them keep a length that fits, or the server drops too many before they reach the module.
    if random.below(2) == 0 {
        lines.retain(|l| !l.starts_with("Content-Length:"));
        lines.push(format!("Content-Length: {}", body.len()));
    }
    let mut out = lines.join("\r\n").into_bytes();
    out.extend(b"\r\n\r\n");
    out.extend(body);
    out
}

fn branch(message: &Message) -> String {
    let via = message.header("Via").unwrap_or_default();
    via.split("branch=").nth(1).and_then(|b| b.split([';', ',', ' ']).next()).unwrap_or_default().to_owned()
}

/// Sends `count` messages; final replies by branch.
fn storm(phone: &mut Phone, random: &mut Random, count: u32) -> HashMap<String, u32> {
    let mut seeds = Seeds { dialogs: Vec::new(), etags: Vec::new() };
    for (user, event) in
        [("alice", "presence"), ("carol", "dialog"), ("dave", "message-summary"), ("alice", "presence.winfo")]
    {
        seeds.dialogs.push(phone.subscribe(user, event, 600));
        if !event.ends_with("winfo") {
            let reply = phone.publish_for(
                user,
                event,
                None,
                Some(600),
                &match event {
                    "dialog" => dialog_info(user, "d", "early"),
                    "presence" => pidf(user, "open", "x"),
                    _ => "Messages-Waiting: no\r\n".into(),
                },
            );
            seeds.etags.push(reply.header("SIP-ETag").expect("a tag").to_owned());
        }
    }
    let mut finals = HashMap::new();
    for n in 0..count {
        let text = seeds.message(phone, random);
        let message = mutate(&text, random);
        if message.len() < 60_000 {
            phone.send_raw(&message);
        }
        if n % 20 == 0 || n + 1 == count {
            let wait = if n + 1 == count { 1500 } else { 2 };
            while let Some(reply) = phone.receive(Duration::from_millis(wait)) {
                if reply.code() >= 200 {
                    *finals.entry(branch(&reply)).or_default() += 1;
                }
            }
            phone.inbox.clear();
        }
    }
    finals
}

/// Shared memory in use once everything has run out.
#[derive(Debug)]
struct Level {
    /// By the whole server: pools and tables stay as large as they once were.
    shm: i64,
    /// By the texts and documents of presence's records: exact.
    texts: i64,
    pkg: i64,
}

fn settled(server: &Kamailio) -> Level {
    let ours = !Module::from_env().is_stock();
    if ours {
        testkit::wait_for("everything runs out", 30.0, || {
            ["subscriptions", "publications", "subscriptions_leaving"]
                .iter()
                .all(|n| server.status(n) == 0)
                .then_some(())
        });
    }
    // tm frees what is over after a few seconds; the smallest of several looks counts.
    let looks = (0..6).map(|_| {
        std::thread::sleep(Duration::from_millis(500));
        server.shm_used()
    });
    let shm = looks.min().unwrap_or_default();
    Level { shm, texts: if ours { server.status("text_bytes") } else { 0 }, pkg: server.pkg_used() }
}

fn withstands(database: Database, mode: u8, cache: u8) {
    let seed = std::env::var("HOSTILE_SEED").ok().and_then(|s| s.parse().ok()).unwrap_or(0x9E37_79B9_7F4A_7C15);
    let stock = Module::from_env().is_stock();
    let mut server = Kamailio::builder()
        .database(database)
        .debug(-1)
        .memory(128, 8)
        .before("modparam(\"tm\", \"fr_timer\", 1000)\nmodparam(\"tm\", \"wt_timer\", 1000)")
        .param("subs_db_mode", mode)
        .param("publ_cache", cache)
        .param("max_expires", 3)
        .param("clean_period", 1)
        .param("db_update_period", 1)
        // Only ours has it: a NOTIFY that cannot be sent is tried again soon.
        .extra(if stock { "" } else { "modparam(\"presence\", \"notify_hold_time\", 100)" })
        .start();
    let mut phone = Phone::new("bob", server.port);
    let mut random = Random(seed);
    // What is made once and kept (tables, pools, the drivers' buffers) is there after the first storm.
    storm(&mut phone, &mut random, MESSAGES);
    let before = settled(&server);
    let finals = storm(&mut phone, &mut random, MESSAGES);
    assert!(server.is_running(), "the server is down\n{}", server.log());
    assert!(finals.len() as u32 > MESSAGES / 4, "only {} were answered", finals.len());
    let twice: Vec<_> = finals.iter().filter(|(_, n)| **n > 1).collect();
    assert!(twice.is_empty(), "{} with more than one final reply: {twice:?}", twice.len());
    let after = settled(&server);
    println!("{MESSAGES} messages, {} answered; before {before:?}, after {after:?}", finals.len());
    assert_eq!(after.texts, before.texts, "texts leaked");
    assert!(after.pkg - before.pkg < 16_384, "pkg leaked");
    // Tables and pools grow with the fullest moment: less than 16 bytes a message.
    assert!(after.shm - before.shm < 16 * i64::from(MESSAGES), "shm leaked");
    let mut alice = Phone::new("alice", server.port);
    phone.listen(Duration::from_millis(200));
    phone.inbox.clear();
    phone.subscribe("erin", "presence", 3);
    phone.notify();
    assert_eq!(alice.publish_for("erin", "presence", None, Some(3), &pidf("erin", "open", "still here")).code(), 200);
    assert!(phone.notify().body.contains("still here"));
}

#[test]
fn twenty_thousand_mutated_messages_in_memory() {
    withstands(Database::None, 0, 2);
}

#[test]
fn twenty_thousand_mutated_messages_with_sqlite() {
    withstands(Database::Sqlite("wal"), 1, 1);
}
