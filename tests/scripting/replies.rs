//! `event_route[presence:notify-reply]` and `$notify_reply(...)`.

use crate::probe::call;
use testkit::phone::pidf;
use testkit::{Builder, Kamailio, Phone, wait_for};

fn builder(in_route: &str) -> Builder {
    Kamailio::builder().children(1).extra("modparam(\"tm\", \"fr_timer\", 400)").routes(&format!(
        r#"
request_route {{
    if (is_method("OPTIONS")) {{ sl_send_reply("200", "OK"); exit; }}
    if (is_method("MESSAGE")) {{
        if ($notify_reply($rs) == $null && $notify_reply($ci) == $null) append_to_reply("Result: 1\r\n");
        else append_to_reply("Result: 0\r\n");
        sl_send_reply("200", "OK");
        exit;
    }}
    if (!t_newtran()) {{ sl_reply_error(); exit; }}
    if (is_method("PUBLISH")) handle_publish(); else handle_subscribe();
    t_release();
}}
event_route[presence:notify-reply] {{
    xlog("L_NOTICE", "answered: $rm $ci $cs by $notify_reply($rs) $notify_reply($rr) $notify_reply($ci) $notify_reply($hdr(CSeq)) $(notify_reply($rr){{s.len}})\n");
    {in_route}
}}
"#
    ))
}

/// The last line that the route wrote about a dialog.
fn answered(server: &Kamailio, call_id: &str) -> String {
    let mark = format!("answered: NOTIFY {call_id} ");
    let line = wait_for(&mark, 5.0, || server.log_lines(&mark).pop());
    line.split(&mark).nth(1).expect("the mark").trim().to_owned()
}

#[test]
fn the_route_sees_the_notify_and_its_answer() {
    for code in [200, 202, 404, 481, 500, 603] {
        let server = builder("").start();
        let mut bob = Phone::new("bob", server.port);
        bob.answer = Some(code);
        let dialog = bob.subscribe("alice", "presence", 600);
        let cseq = bob.notify().cseq();
        let phrase = if code == 200 { "OK" } else { "Answered" };
        let call_id = &dialog.call_id;
        let expected = format!("{cseq} by {code} {phrase} {call_id} {cseq} NOTIFY {}", phrase.len());
        assert_eq!(answered(&server, call_id), expected);
    }
}

#[test]
fn an_answer_that_never_came_is_a_408_that_was_made_up() {
    let server = builder("").start();
    let mut bob = Phone::new("bob", server.port);
    bob.answer = None;
    let dialog = bob.subscribe("alice", "presence", 600);
    let cseq = bob.notify().cseq();
    assert_eq!(answered(&server, &dialog.call_id), format!("{cseq} by 408 TIMEOUT invalid 1 TIMEOUT 7"));
}

#[test]
fn there_is_no_answer_in_other_routes() {
    let server = builder("").start();
    let mut bob = Phone::new("bob", server.port);
    bob.subscribe("alice", "presence", 600);
    bob.notify();
    assert_eq!(call(&mut bob, "any", &[]), 1);
}

#[test]
fn a_variable_that_does_not_exist_stops_the_start() {
    let routes = "event_route[presence:notify-reply] { xlog(\"$notify_reply($nosuchthing)\\n\"); }\n\
                  request_route { exit; }";
    let log = Kamailio::builder().routes(routes).try_start().expect_err("started");
    assert!(log.lines().any(|l| l.contains("ERROR") && l.contains("presence") && l.contains("nosuchthing")), "{log}");
}

#[test]
fn the_route_can_end_a_subscription() {
    let give_up = "if ($notify_reply($rs) == 486) $xavp(cfg=>delete_subscription) = 1;";
    let server = builder(give_up).param("xavp_cfg", "\"cfg\"").start();
    let mut bob = Phone::new("bob", server.port);
    let mut carol = Phone::new("carol", server.port);
    bob.answer = Some(486);
    let mut refused = bob.subscribe("alice", "presence", 600);
    bob.notify();
    answered(&server, &refused.call_id);
    wait_for("the subscription ends", 5.0, || (bob.resubscribe(&mut refused, 600).code() == 481).then_some(()));
    // What the script has set for one answer is not there for the next, in the same process.
    let mut kept = carol.subscribe("alice", "presence", 600);
    carol.notify();
    answered(&server, &kept.call_id);
    bob.inbox.clear();
    let mut alice = Phone::new("alice", server.port);
    assert_eq!(alice.publish("presence", None, Some(600), &pidf("alice", "open", "here")).code(), 200);
    assert!(carol.notify().body.contains("here"));
    assert_eq!(carol.resubscribe(&mut kept, 600).code(), 200);
    assert_eq!(bob.notify_within(0.3), None);
}

#[test]
fn without_the_xavp_a_486_changes_nothing() {
    let give_up = "$xavp(cfg=>delete_subscription) = 1;";
    let server = builder(give_up).start();
    let mut bob = Phone::new("bob", server.port);
    bob.answer = Some(486);
    let mut dialog = bob.subscribe("alice", "presence", 600);
    bob.notify();
    answered(&server, &dialog.call_id);
    assert_eq!(bob.resubscribe(&mut dialog, 600).code(), 200);
}
