//! Requests with texts of every kind: one final reply each, and a whole store.

use crate::parts;
use fakehost::model::{Bytes, any_config};
use fakehost::{Wire, World};
use presence_core::dialog::DialogId;
use presence_core::publish::Publish;
use presence_core::refusal::Refusal;
use presence_core::render::Transport;
use presence_core::subscribe::{Party, Subscribe};
use presence_core::time::Seconds;

/// So many requests of one input are looked at.
const MOST: usize = 24;
/// Texts of a request.
const TEXTS: usize = 9;

const EXPIRES: [Option<Seconds>; 5] =
    [None, Some(Seconds(0)), Some(Seconds(5)), Some(Seconds(600)), Some(Seconds(u32::MAX))];

/// A short text stands for one that leads somewhere.
fn meant<'a>(text: &'a [u8], usual: &[&'a [u8]]) -> &'a [u8] {
    match text {
        [n] => usual[usize::from(*n) % usual.len()],
        _ => text,
    }
}

fn publish(world: &mut World, kind: u8, texts: &[&[u8]; TEXTS], tag: &[u8]) -> Result<(), Refusal> {
    let given = meant(texts[1], &[b"", tag]);
    let request = Publish {
        event: Some(meant(texts[0], &[b"presence", b"dialog", b"dialog;sla", b"message-summary"])),
        expires: EXPIRES[usize::from(kind) % EXPIRES.len()],
        request_uri: Some(Party { user: meant(texts[2], &[b"a", b"b"]), host: meant(texts[3], &[b"h"]) }),
        if_match: (!given.is_empty()).then_some(given),
        conditions: usize::from(!given.is_empty()),
        content_type: Some(meant(texts[4], &[b"text/plain"])),
        body: meant(texts[5], &[b"", b"<d><dialog id='1'><state>early</state></dialog></d>"]),
        sender: (!texts[6].is_empty()).then_some(texts[6]),
    };
    world.run(|server| server.publish(&request))
}

fn subscribe(world: &mut World, kind: u8, cseq: u32, texts: &[&[u8]; TEXTS]) -> Result<(), Refusal> {
    let host = meant(texts[3], &[b"h"]);
    let request = Subscribe {
        event: Some(meant(texts[0], &[b"presence", b"dialog", b"dialog;sla", b"presence.winfo"])),
        accept: (!texts[4].is_empty()).then_some(texts[4]),
        expires: EXPIRES[usize::from(kind) % EXPIRES.len()],
        request_uri: Some(Party { user: meant(texts[2], &[b"a", b"b"]), host }),
        to: Party { user: meant(texts[2], &[b"a", b"b"]), host },
        from: Party { user: texts[1], host: b"h" },
        watcher: Party { user: texts[1], host: b"h" },
        dialog: DialogId { call_id: meant(texts[5], &[b"c1", b"c2", b"c3"]), to_tag: b"t", from_tag: texts[6] },
        in_dialog: kind >= 128,
        cseq,
        contact: texts[7],
        contact_user: texts[1],
        instance: texts[8],
        record_route: b"",
        user_agent: texts[8],
        socket: b"udp:127.0.0.1:5060",
        transport: Transport::Udp,
        local_contact: b"sip:server",
        branch_flags: 0,
    };
    world.run(|server| server.subscribe(&request)).map(drop)
}

/// Header lines end as they should, and no text of a request ends one.
fn check_lines(headers: &[u8]) {
    let text = String::from_utf8_lossy(headers);
    assert!(text.is_empty() || text.ends_with("\r\n"), "{text}");
    for line in text.split_terminator("\r\n") {
        assert!(line.split_once(": ").is_some_and(|(name, _)| !name.is_empty()), "{text}");
    }
}

pub fn requests(bytes: &[u8]) {
    let mut choices = Bytes(bytes);
    let config = any_config(&mut choices);
    let mut world = World::with(config);
    let texts: Vec<&[u8]> = parts(choices.0).collect();
    let mut tag = Vec::new();
    for (n, chunk) in texts.chunks(TEXTS + 1).take(MOST).enumerate() {
        let (kind, rest) = chunk.split_first().map_or((&b""[..], chunk), |(kind, rest)| (*kind, rest));
        let kind = kind.first().copied().unwrap_or_default();
        let of: [&[u8]; TEXTS] = std::array::from_fn(|i| rest.get(i).copied().unwrap_or_default());
        let outcome = match kind % 2 {
            0 => publish(&mut world, kind / 2, &of, &tag),
            _ => subscribe(&mut world, kind, n as u32 + 1, &of),
        };
        let wire = world.wire();
        let replies = wire.iter().filter(|wire| matches!(wire, Wire::Reply(..))).count();
        match outcome {
            Ok(()) => {
                assert_eq!(replies, 1, "one final reply");
                let Some(Wire::Reply(code, headers)) = wire.first() else { panic!("the reply comes first") };
                assert_eq!(code / 100, 2);
                check_lines(headers.as_bytes());
                if let Some((_, new)) = headers.split_once("SIP-ETag: ") {
                    tag = new.trim_end().as_bytes().to_vec();
                }
            }
            Err(refusal) => {
                assert_eq!(replies, 0, "a refusal is still to be sent: {refusal:?}");
                assert!((400..=699).contains(&refusal.status().0));
                check_lines(&refusal.headers(&world.host.packages.clone()));
            }
        }
        for wire in &wire {
            if let Wire::Notify(notify) = wire {
                world.answer(notify, [200, 481, 500][n % 3]);
            }
        }
        world.store.check().expect("whole");
    }
    world.wait(10_000_000);
    while world.run(|server| server.expire_subscriptions()) {}
    while world.run(|server| server.expire_publications()) {}
    world.settle();
    world.wait(10_000_000);
    world.run(|server| server.go_on_with_overdue(1000));
    world.settle();
    let census = world.store.check().expect("whole");
    assert_eq!((world.subscriptions(), census.publications), (0, 0), "everything runs out");
}
