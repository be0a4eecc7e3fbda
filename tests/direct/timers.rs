//! RFC 3261 17.1.2.2: when a NOTIFY is sent again, and when it is given up.

use crate::{builder, is_direct, under_way};
use std::time::{Duration, Instant};
use testkit::{Message, Phone, Transport, Wire, wait_for};

/// What comes for so long, with the seconds after the first.
fn arrivals(phone: &mut Phone, seconds: f64) -> Vec<(f64, Message)> {
    let first = phone.notify();
    let start = Instant::now();
    let mut all = vec![(0.0, first)];
    while let Some(left) = Duration::from_secs_f64(seconds).checked_sub(start.elapsed()) {
        if let Some(notify) = phone.notify_within(left.as_secs_f64()) {
            all.push((start.elapsed().as_secs_f64(), notify));
        }
    }
    all
}

#[test]
fn without_an_answer_it_comes_eleven_times_in_32_seconds_and_the_subscription_ends() {
    let server = builder().param("notify_hold_time", 32000).start();
    let mut bob = Phone::new("bob", server.port);
    bob.answer = None;
    bob.subscribe("alice", "presence", 600);
    let came = arrivals(&mut bob, 31.8);
    let times: Vec<f64> = came.iter().map(|(at, _)| *at).collect();
    let due = [0.0, 0.5, 1.5, 3.5, 7.5, 11.5, 15.5, 19.5, 23.5, 27.5, 31.5];
    assert_eq!(times.len(), due.len(), "{times:?}");
    for (at, due) in times.iter().zip(due) {
        assert!((due - 0.1..due + 0.7).contains(at), "{times:?}");
    }
    assert!(came.windows(2).all(|pair| pair[0].1 == pair[1].1 && is_direct(&pair[0].1)), "not the same message");
    assert_eq!(server.status("subscriptions"), 1, "given up too soon");
    wait_for("the end", 3.0, || (server.status("subscriptions") == 0).then_some(()));
    under_way(&server, 0);
}

#[test]
fn a_provisional_answer_slows_it_down_and_a_final_one_ends_it() {
    let server = builder().param("notify_hold_time", 32000).start();
    let mut bob = Phone::new("bob", server.port);
    bob.answer = None;
    bob.subscribe("alice", "presence", 600);
    let first = bob.notify();
    bob.reply(&first, 100, "", &[]);
    assert!(bob.notify_within(3.0).is_none(), "T2 is 4 s");
    assert!(bob.notify_within(2.5).is_some(), "it is sent again");
    under_way(&server, 1);
    bob.reply(&first, 200, "", &[]);
    under_way(&server, 0);
    assert!(bob.notify_within(4.5).is_none());
    assert_eq!(server.status("subscriptions"), 1);
}

#[test]
fn over_a_connection_it_comes_once() {
    let server = builder().param("notify_hold_time", 32000).listen("LISTEN_TCP").start();
    let wire = Wire::to(([127, 0, 0, 1], server.port).into(), Transport::Tcp).expect("connects");
    let mut bob = Phone::on("bob", wire);
    bob.answer = None;
    bob.subscribe("alice", "presence", 600);
    let notify = bob.notify();
    assert!(is_direct(&notify), "{notify:?}");
    assert!(bob.notify_within(2.0).is_none());
    under_way(&server, 1);
    bob.reply(&notify, 200, "", &[]);
    under_way(&server, 0);
}
