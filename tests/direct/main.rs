//! `notify_transport` "direct": NOTIFYs without the host's transactions. The client transaction is that of RFC 3261
//! 17.1.2; whatever else a phone or a script can see is as with "tm".

mod fallback;
mod replies;
mod timers;

use testkit::{Builder, Kamailio, Message, Phone, wait_for};

/// What the branch of a NOTIFY begins with that tm did not send.
const OURS: &str = "branch=z9hG4bKpresence-";

fn builder() -> Builder {
    Kamailio::builder().param("notify_transport", "\"direct\"")
}

fn is_direct(notify: &Message) -> bool {
    notify.header("Via").is_some_and(|via| via.contains(OURS))
}

/// So many NOTIFYs are under way, soon.
fn under_way(server: &Kamailio, expected: i64) {
    wait_for(&format!("{expected} under way"), 5.0, || (server.status("notifies_direct") == expected).then_some(()));
}

/// A NOTIFY as lines in their order, with the texts that differ from one to the next taken out.
fn lines_of(notify: &Message, dialog: &testkit::phone::Dialog, port: u16) -> Vec<String> {
    let known = [
        (dialog.call_id.as_str(), "CALL-ID"),
        (dialog.to_tag.as_str(), "OUR-TAG"),
        (dialog.from_tag.as_str(), "THEIR-TAG"),
        (&port.to_string(), "PORT"),
    ];
    let plain = |value: &str| known.iter().fold(value.to_owned(), |text, (from, to)| text.replace(from, to));
    let header = |(name, value): &(String, String)| match name.as_str() {
        "Via" => format!("Via: {}", plain(value.split("branch=").next().expect("one"))),
        // A second may go by.
        "Subscription-State" if value.starts_with("active") => "Subscription-State: active".to_owned(),
        _ => format!("{name}: {}", plain(value)),
    };
    let head = std::iter::once(plain(&notify.start)).chain(notify.headers.iter().map(header));
    head.chain([plain(&notify.body)]).collect()
}

/// What a phone is told from the beginning of a subscription to its end, with both transports.
fn told_with_each() -> [Vec<Vec<String>>; 2] {
    ["tm", "direct"].map(|transport| {
        let builder = Kamailio::builder().param("notify_transport", format!("\"{transport}\""));
        let server = builder.start();
        let (mut alice, mut bob) = (Phone::new("alice", server.port), Phone::new("bob", server.port));
        let mut dialog = bob.subscribe("alice", "presence", 600);
        let mut told = vec![bob.notify()];
        let document = testkit::phone::pidf("alice", "open", "here");
        assert_eq!(alice.publish("presence", None, Some(600), &document).code(), 200);
        told.push(bob.notify());
        assert_eq!(bob.resubscribe(&mut dialog, 0).code(), 200);
        told.push(bob.notify());
        assert!(told.iter().all(|notify| is_direct(notify) == (transport == "direct")), "{told:?}");
        let own = bob.address().port();
        let lines = |notify: &Message| {
            let lines = lines_of(notify, &dialog, server.port);
            lines.iter().map(|line| line.replace(&own.to_string(), "OWN")).collect::<Vec<_>>()
        };
        if transport == "direct" {
            under_way(&server, 0);
        }
        told.iter().map(lines).collect::<Vec<_>>()
    })
}

#[test]
fn a_phone_sees_the_same_but_for_the_branch() {
    let [tm, direct] = told_with_each();
    assert_eq!(tm, direct);
    assert_eq!(direct.len(), 3);
    assert!(direct[1].iter().any(|line| line.contains("<note>here</note>")));
}

#[test]
fn what_is_under_way_is_counted_and_gone_with_the_answer() {
    let server = builder().start();
    let mut bob = Phone::new("bob", server.port);
    bob.answer = None;
    for n in 0..3 {
        bob.subscribe(&format!("alice{n}"), "presence", 600);
        under_way(&server, n + 1);
    }
    for n in (0..3).rev() {
        let notify = bob.notify();
        bob.reply(&notify, 200, "", &[]);
        under_way(&server, n);
    }
    assert_eq!(server.status("subscriptions"), 3);
}
