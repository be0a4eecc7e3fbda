//! `drop` in `event_route[tm:local-request]`: the NOTIFY is not sent, nothing is lost, the next state is tried.

use crate::probe::call;
use testkit::phone::pidf;
use testkit::{Kamailio, Module, Phone, wait_for};

/// Drops NOTIFYs as long as a MESSAGE has not said otherwise, and says how long they were.
const ROUTES: &str = r#"
request_route {
    if (is_method("OPTIONS")) { sl_send_reply("200", "OK"); exit; }
    if (is_method("MESSAGE")) {
        if ($hdr(Function) == "drop") $shv(drop) = 1; else $shv(drop) = 0;
        append_to_reply("Result: $shv(length)\r\n");
        sl_send_reply("200", "OK");
        exit;
    }
    if (!t_newtran()) { sl_reply_error(); exit; }
    if (is_method("PUBLISH")) handle_publish(); else handle_subscribe();
    t_release();
}
event_route[tm:local-request] {
    if ($shv(drop) == 1) {
        $shv(length) = $ml;
        $shv(dropped) = $shv(dropped) + 1;
        drop;
    }
}
event_route[presence:notify-reply] {
    xlog("L_NOTICE", "answered: $ci\n");
}
"#;

const WATCHERS: usize = 20;
const ROUNDS: usize = 50;

fn dropped(server: &Kamailio) -> usize {
    let answer = server.rpc(&["pv.shvGet", "dropped"]);
    let value = answer.lines().find_map(|line| line.trim().strip_prefix("value: "));
    value.and_then(|number| number.trim().parse().ok()).unwrap_or_else(|| panic!("no number in {answer}"))
}

struct Scene {
    server: Kamailio,
    alice: Phone,
    bob: Phone,
    etag: String,
}

impl Scene {
    fn publish(&mut self, note: &str) {
        let etag = (!self.etag.is_empty()).then_some(self.etag.as_str());
        let reply = self.alice.publish("presence", etag, Some(600), &pidf("alice", "open", note));
        assert_eq!(reply.code(), 200, "{note}");
        self.etag = reply.header("SIP-ETag").expect("a tag").to_owned();
    }

    /// Many publications, each of which would be told to every watcher.
    fn drop_rounds(&mut self, rounds: usize, note: &str) {
        let before = dropped(&self.server);
        for round in 0..rounds {
            self.publish(&format!("{note} {:03}", round));
        }
        wait_for("all are dropped", 10.0, || (dropped(&self.server) - before >= rounds * WATCHERS).then_some(()));
        assert_eq!(dropped(&self.server) - before, rounds * WATCHERS, "each is dropped once");
    }

    /// What lies in the server's heaps when no transaction is left: shared, private.
    fn used(&self) -> (i64, i64) {
        wait_for("no transaction is left", 10.0, || {
            self.server.rpc(&["tm.stats"]).contains("current: 0").then_some(())
        });
        (self.server.shm_used(), self.server.pkg_used())
    }
}

fn scene() -> Scene {
    let server = Kamailio::builder()
        .children(1)
        .routes(ROUTES)
        .extra("modparam(\"pv\", \"shvset\", \"drop=i:0\")\nmodparam(\"pv\", \"shvset\", \"length=i:0\")")
        .extra("modparam(\"pv\", \"shvset\", \"dropped=i:0\")\nmodparam(\"tm\", \"wt_timer\", 200)")
        .start();
    let alice = Phone::new("alice", server.port);
    let mut bob = Phone::new("bob", server.port);
    for _ in 0..WATCHERS {
        bob.subscribe("alice", "presence", 600);
        bob.notify();
    }
    Scene { server, alice, bob, etag: String::new() }
}

#[test]
fn dropped_notifies_are_not_sent_and_the_next_state_is() {
    let mut scene = scene();
    let last = {
        scene.publish("told");
        (0..WATCHERS).map(|_| scene.bob.notify().cseq()).max().expect("watchers")
    };
    call(&mut scene.alice, "drop", &[]);
    scene.drop_rounds(3, "dropped");
    assert_eq!(scene.bob.notify_within(0.2), None);
    call(&mut scene.alice, "send", &[]);
    scene.publish("told again");
    let mut dialogs = std::collections::BTreeSet::new();
    for _ in 0..WATCHERS {
        let notify = scene.bob.notify();
        assert!(notify.body.contains("told again"), "{notify:?}");
        assert!(notify.cseq() > last, "CSeq {} after {last}", notify.cseq());
        dialogs.insert(notify.header("Call-ID").unwrap_or_default().to_owned());
    }
    assert_eq!(dialogs.len(), WATCHERS);
    if !Module::from_env().is_stock() {
        assert_eq!(scene.server.status("notifies_waiting"), 0);
        assert_eq!(scene.server.status("subscriptions"), WATCHERS as i64);
    }
}

#[test]
fn a_first_and_a_last_notify_can_be_dropped_too() {
    let mut scene = scene();
    call(&mut scene.alice, "drop", &[]);
    let mut carol = Phone::new("carol", scene.server.port);
    let mut dialog = carol.subscribe("alice", "presence", 600);
    assert_eq!(carol.notify_within(0.2), None);
    assert_eq!(carol.resubscribe(&mut dialog, 600).code(), 200);
    assert_eq!(carol.resubscribe(&mut dialog, 0).code(), 200);
    assert_eq!(carol.notify_within(0.2), None);
    assert_eq!(carol.resubscribe(&mut dialog, 600).code(), 481, "the dialog is over all the same");
    if !Module::from_env().is_stock() {
        wait_for("nothing is left of it", 5.0, || (scene.server.status("subscriptions_leaving") == 0).then_some(()));
    }
}

#[test]
fn a_thousand_dropped_notifies_leave_nothing_behind() {
    // The stock module loses the subscription that it has copied for the answer, with each of them.
    let mut scene = scene();
    call(&mut scene.alice, "drop", &[]);
    scene.drop_rounds(10, "warm");
    let before = scene.used();
    scene.drop_rounds(ROUNDS, "drop");
    let after = scene.used();
    let length = i64::from(call(&mut scene.alice, "send", &[]));
    assert!(length > 300, "a NOTIFY of {length} bytes");
    let each = (after.0 - before.0) as f64 / (ROUNDS * WATCHERS) as f64;
    println!("{each} bytes of shared memory for each dropped NOTIFY of {length} bytes; private: {before:?} {after:?}");
    // 5.6's tm loses the text of a request that is dropped (with the block around it), whoever sends it.
    assert!(each < length as f64 + 128.0, "{each} bytes of shared memory are lost with each NOTIFY of {length} bytes");
    assert!(after.1 - before.1 < 2048, "{} bytes of private memory are lost", after.1 - before.1);
}
