//! Busy lamps: two clients publish about one call at the same time, one that it rings and one that it is over, each
//! without knowing of the other. There is one publication about the call in the end, and the lamp goes out and stays out.
//!
//! The stock module fails: it looks for the dialog and then inserts, so both stay, and a late "early" takes the place of
//! "terminated".

use std::sync::Barrier;
use std::thread;
use testkit::phone::dialog_info;
use testkit::{Database, Kamailio, Phone};

/// Callers at the same time, and calls of each.
const CALLERS: usize = 4;
const CALLS: usize = 12;

/// Runs it with this `publ_cache`.
pub fn run(db: &Database, publ: u8) {
    let subs = if publ == 0 { 3 } else { 1 };
    let mut server = Kamailio::builder()
        .database(db.clone())
        .param("publ_cache", publ)
        .param("subs_db_mode", subs)
        .children(8)
        .memory(256, 8)
        .start();
    thread::scope(|scope| {
        for caller in 0..CALLERS {
            let server = &server;
            scope
                .spawn(move || (0..CALLS).for_each(|call| ring(server, &format!("line{caller}x{call}"), caller, call)));
        }
    });
    let list = server.list(&["presence.presentity_list"]).expect("a list");
    assert_eq!(list.len(), CALLERS * CALLS, "one publication about each call: {list:?}");
    assert!(server.is_running());
    assert!(server.stop().success());
}

/// A call: who watches the line never sees it ring again after it was over.
fn ring(server: &Kamailio, line: &str, caller: usize, call: usize) {
    let mut watcher = Phone::new("watcher", server.port);
    watcher.subscribe(line, "dialog", 600);
    watcher.notify();
    let together = Barrier::new(2);
    // Which of them is the first is left to chance, and now and then helped.
    thread::scope(|scope| {
        for (place, state) in ["early", "terminated"].into_iter().enumerate() {
            let together = &together;
            scope.spawn(move || {
                let mut client = Phone::new(line, server.port);
                let text =
                    client.publish_request(line, "dialog", None, Some(600), &dialog_info(line, "d1", state), &[]);
                together.wait();
                if (caller + call) % 3 == place {
                    thread::sleep(std::time::Duration::from_micros(300));
                }
                let reply = client.ask(&text);
                assert_eq!(reply.code(), 200, "{state}: {reply:?}");
            });
        }
    });
    // Nobody knows of the call any more, and says so late.
    let mut late = Phone::new(line, server.port);
    assert_eq!(late.publish("dialog", None, Some(600), &dialog_info(line, "d1", "early")).code(), 200);
    let mut told = Vec::new();
    testkit::wait_for(&format!("{line}: the end of the call"), 8.0, || {
        told.extend(watcher.notify_within(0.02));
        told.iter().any(|n| n.body.contains("terminated")).then_some(())
    });
    // One more, which shows the state as it is at last.
    let mut other = Phone::new("other", server.port);
    other.subscribe(line, "dialog", 600);
    told.extend(watcher.notify_within(0.05));
    told.sort_by_key(testkit::Message::cseq);
    let over = told.iter().position(|n| n.body.contains("terminated")).expect("was told");
    let rings = told[over..].iter().find(|n| n.body.contains("early"));
    assert_eq!(rings, None, "{line}: it rings after it was over");
    let last = other.notify().body;
    assert!(last.contains("terminated") && !last.contains("early"), "{line}: {last}");
    assert_eq!(last.matches("<dialog ").count(), 1, "{line}: {last}");
}

/// Several dialogs in one document: that one is over does not hide what becomes of the other.
pub fn several_in_one(publ: u8) {
    let server = Kamailio::builder().database(Database::Sqlite("WAL")).param("publ_cache", publ).start();
    let document = |states: [&str; 2]| {
        let dialog =
            |(n, state)| format!("<dialog id=\"d{n}\" direction=\"recipient\"><state>{state}</state></dialog>");
        let dialogs: String = states.into_iter().enumerate().map(dialog).collect();
        format!(
            "<?xml version=\"1.0\"?>\r\n<dialog-info xmlns=\"urn:ietf:params:xml:ns:dialog-info\" version=\"0\" \
             state=\"full\" entity=\"sip:line@test.local\">{dialogs}</dialog-info>\r\n"
        )
    };
    let (mut line, mut watcher) = (Phone::new("line", server.port), Phone::new("watcher", server.port));
    watcher.subscribe("line", "dialog", 600);
    watcher.notify();
    let mut tag: Option<String> = None;
    for states in [["early", "early"], ["terminated", "confirmed"], ["terminated", "terminated"]] {
        let reply = line.publish("dialog", tag.as_deref(), Some(600), &document(states));
        assert_eq!(reply.code(), 200, "{reply:?}");
        tag = reply.header("SIP-ETag").map(str::to_owned);
        let body = watcher.notify().body;
        for (n, state) in states.into_iter().enumerate() {
            let element = body.split(&format!("id=\"d{n}\"")).nth(1).unwrap_or_else(|| panic!("no d{n} in {body}"));
            let shown = element.split("<state>").nth(1).and_then(|rest| rest.split('<').next());
            assert_eq!(shown, Some(state), "publ_cache {publ}, d{n}: {body}");
        }
    }
    // Everything is over: a late update is accepted, and not shown.
    assert_eq!(line.publish("dialog", tag.as_deref(), Some(600), &document(["confirmed", "early"])).code(), 200);
    assert_eq!(watcher.notify_within(0.2), None);
}

/// A call that is forked: its branches have one id, and another tag each.
pub fn branches(publ: u8) {
    let server = Kamailio::builder().database(Database::Sqlite("WAL")).param("publ_cache", publ).start();
    let branch = |id: &str, tag: &str, state: &str| {
        format!(
            "<?xml version=\"1.0\"?>\r\n<dialog-info xmlns=\"urn:ietf:params:xml:ns:dialog-info\" version=\"0\" \
             state=\"full\" entity=\"sip:line@test.local\"><dialog id=\"{id}\" local-tag=\"l\" remote-tag=\"{tag}\" \
             direction=\"initiator\"><state>{state}</state></dialog></dialog-info>\r\n"
        )
    };
    let shown = |line: &str| {
        let mut watcher = Phone::new("watcher", server.port);
        watcher.subscribe(line, "dialog", 0);
        watcher.notify().body
    };
    let publish = |line: &str, tag: Option<&str>, body: &str| {
        let reply = Phone::new(line, server.port).publish("dialog", tag, Some(600), body);
        assert_eq!(reply.code(), 200, "{reply:?}");
        reply.header("SIP-ETag").expect("a tag").to_owned()
    };
    // Each is published for itself.
    for document in [
        branch("call", "", "early"),
        branch("call", "one", "confirmed"),
        branch("call", "other", "terminated"),
        branch("call", "other", "early"),
        branch("call", "", "early"),
    ] {
        publish("line", None, &document);
    }
    let body = shown("line");
    let states = ["confirmed", "terminated", "early"].map(|state| body.matches(&format!(">{state}<")).count());
    assert_eq!(states, [1, 1, 0], "publ_cache {publ}: {body}");
    publish("line", None, &branch("call", "one", "terminated"));
    let body = shown("line");
    assert!(!body.contains("confirmed"), "publ_cache {publ}: {body}");
    // All are published in one place.
    let mut tag = None;
    for (document, expected) in [
        (branch("call", "", "early"), "early"),
        (branch("call", "one", "confirmed"), "confirmed"),
        (branch("call", "other", "terminated"), "confirmed"),
        (branch("call", "one", "terminated"), "terminated"),
        (branch("call", "one", "confirmed"), "terminated"),
        (branch("next", "", "early"), "early"),
    ] {
        tag = Some(publish("place", tag.as_deref(), &document));
        let body = shown("place");
        assert!(body.contains(&format!(">{expected}<")), "publ_cache {publ}, {expected} after {document}: {body}");
        assert_eq!(body.matches("<dialog ").count(), 1, "{body}");
    }
}
