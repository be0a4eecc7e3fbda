//! A reply ends the NOTIFY that it answers, and no other.

use crate::{builder, is_direct, under_way};
use testkit::kamailio::ROUTES;
use testkit::{Message, Phone, wait_for};

/// A reply to a NOTIFY in which one text is replaced.
fn forged(notify: &Message, from: &str, to: &str) -> String {
    let mut text = String::from("SIP/2.0 481 Gone\r\n");
    for (name, value) in &notify.headers {
        if ["Via", "From", "To", "Call-ID", "CSeq"].contains(&name.as_str()) {
            text += &format!("{name}: {value}\r\n");
        }
    }
    text += "Content-Length: 0\r\n\r\n";
    let forged = text.replacen(from, to, 1);
    assert_ne!(forged, text, "{from} is not in {text}");
    forged
}

/// The server answers, and has read what came before.
fn answers(phone: &mut Phone) {
    let uri = "sip:test.local";
    let request = phone.request("OPTIONS", uri, uri, uri, ("1", ""), &testkit::phone::unique(), 1, &[], "");
    assert_eq!(phone.ask(&request).code(), 200);
}

#[test]
fn a_reply_for_another_dialog_or_another_branch_changes_nothing() {
    let server = builder().children(1).param("notify_hold_time", 32000).start();
    let mut bob = Phone::new("bob", server.port);
    bob.answer = None;
    let dialog = bob.subscribe("alice", "presence", 600);
    let notify = bob.notify();
    assert!(is_direct(&notify));
    let via = notify.header("Via").expect("one");
    let branch = via.split("branch=").nth(1).expect("one").split(';').next().expect("one");
    let (run, number) = branch.rsplit_once('.').expect("a number");
    let other_number = format!("{run}.{:016x}", u64::from_str_radix(number, 16).expect("digits") ^ 1);
    let other_run = format!("{}{}", &branch[..branch.len() - 20], "0".repeat(20));
    let cseq = notify.header("CSeq").expect("one");
    let eve = Phone::new("eve", server.port);
    for (from, to) in [
        (dialog.call_id.as_str(), "another"),
        (&dialog.to_tag, "another"),
        (&dialog.from_tag, "another"),
        (cseq, "77 NOTIFY"),
        (cseq, "99999999999999999999 NOTIFY"),
        (branch, &other_number),
        (branch, &other_run),
        (branch, &format!("{run}.")),
        (branch, &format!("{run}.{number}0")),
        (branch, &format!("{run}.ghijklmnopqrstuv")),
        ("481 Gone", "100 Trying"),
    ] {
        eve.send_raw(forged(&notify, from, to).as_bytes());
    }
    // What is sent after them is answered after them: one worker.
    answers(&mut bob);
    assert_eq!((server.status("subscriptions"), server.status("notifies_direct")), (1, 1));
    bob.reply(&notify, 481, "", &[]);
    under_way(&server, 0);
    wait_for("the end", 3.0, || (server.status("subscriptions") == 0).then_some(()));
    // Once more: it is for nobody, and troubles nobody.
    bob.reply(&notify, 200, "", &[]);
    answers(&mut bob);
    assert_eq!(server.log_lines("ERROR"), Vec::<String>::new());
}

#[test]
fn a_phone_that_is_busy_is_told_again_as_it_wishes() {
    let server = builder().start();
    let mut bob = Phone::new("bob", server.port);
    bob.answer = None;
    bob.subscribe("alice", "presence", 600);
    let first = bob.notify();
    bob.reply(&first, 503, "", &["Retry-After: 2".into()]);
    bob.answer = Some(200);
    let second = bob.notify();
    assert_eq!(second.cseq(), first.cseq() + 1);
    under_way(&server, 0);
}

/// The script's route for answers.
const ANSWERS: &str = r#"
event_route[presence:notify-reply] {
    xlog("L_NOTICE", "answered: $rm $ci $cs for $subs(pres_uri) by $notify_reply($rs) $notify_reply($rr) $notify_reply($hdr(CSeq))\n");
    if ($notify_reply($rs) == "404") $xavp(pres=>delete_subscription) = 1;
}
"#;

#[test]
fn the_script_sees_the_notify_and_its_answer_and_may_end_the_subscription() {
    let server = builder().param("xavp_cfg", "\"pres\"").routes(&format!("{ROUTES}{ANSWERS}")).start();
    let mut bob = Phone::new("bob", server.port);
    for (code, left) in [(200, 1), (202, 2), (500, 3), (404, 3), (200, 4)] {
        bob.answer = Some(code);
        let presentity = format!("alice{code}{left}");
        let dialog = bob.subscribe(&presentity, "presence", 600);
        let cseq = bob.notify().cseq();
        let phrase = if code == 200 { "OK" } else { "Answered" };
        let (uri, call_id) = (format!("sip:{presentity}@test.local"), &dialog.call_id);
        let line = format!("answered: NOTIFY {call_id} {cseq} for {uri} by {code} {phrase} {cseq} NOTIFY");
        wait_for(&line, 5.0, || server.log_lines(&line).pop());
        wait_for("subscriptions", 5.0, || (server.status("subscriptions") == left).then_some(()));
    }
    under_way(&server, 0);
}
