//! What a subscription and a publication take of shared memory: everything that is gone from the host's heap, its own
//! bookkeeping and what the module has in reserve included, divided by how many there are.
//!
//! The stock module fails both tests: it takes 246 bytes beside the texts of a publication, and 866 for a subscription.

use std::ops::Range;
use std::time::Duration;
use testkit::{Kamailio, Phone, wait_for};

/// A publication may take that much beside URI, tag and document.
const PER_PUBLICATION: f64 = 150.0;
/// A subscription may take that much: 0.6 of what the stock module takes of these, 866 bytes.
const PER_SUBSCRIPTION: f64 = 0.6 * 866.0;

const MANY: i64 = 20_000;
/// What is made before anything is counted: each part of the store then has its first chunks and tables.
const FIRST: i64 = 100;
const WATCHED: i64 = 100;

fn server() -> Kamailio {
    let quick = "modparam(\"tm\", \"wt_timer\", 200)";
    Kamailio::builder().allocator("tlsf").memory(256, 8).children(1).debug(-1).extra(quick).start()
}

/// Shared memory once nothing is under way.
fn at_rest(server: &Kamailio) -> i64 {
    wait_for("tm lets its transactions go", 30.0, || server.rpc(&["tm.stats"]).contains("current: 0").then_some(()));
    server.shm_really_used()
}

#[test]
fn a_publication_takes_little_beside_its_texts() {
    let server = server();
    let mut phone = Phone::new("alice", server.port);
    let mut publish = |number: i64| {
        let user = format!("presentity-{number:05}");
        let body = testkit::phone::pidf(&user, "open", &"of the size that phones send: ".repeat(6));
        let reply = phone.publish_for(&user, "presence", None, Some(3600), &body);
        assert_eq!(reply.code(), 200, "{reply:?}");
        phone.uri_of(&user).len() + reply.header("SIP-ETag").expect("a tag").len() + body.len()
    };
    for number in 0..FIRST {
        publish(number);
    }
    let before = at_rest(&server);
    let texts: usize = (FIRST..FIRST + MANY).map(publish).sum();
    let taken = at_rest(&server) - before;
    let beside = (taken - texts as i64) as f64 / MANY as f64;
    println!("a publication: {} bytes, {beside:.1} of them beside URI, tag and document", taken / MANY);
    assert!(beside <= PER_PUBLICATION, "{beside}");
}

#[test]
fn a_subscription_takes_little() {
    let server = server();
    let mut phone = Phone::new("bob", server.port);
    let mut subscribe = |numbers: Range<i64>| {
        for number in numbers {
            phone.subscribe(&format!("presentity-{:05}", number % WATCHED), "presence", 3600);
            // A NOTIFY is answered while the next reply is waited for.
            phone.inbox.clear();
        }
        phone.listen(Duration::from_millis(100));
        at_rest(&server)
    };
    let before = subscribe(0..FIRST);
    let each = (subscribe(FIRST..FIRST + MANY) - before) as f64 / MANY as f64;
    println!("a subscription: {each:.1} bytes");
    assert!(each <= PER_SUBSCRIPTION, "{each}");
}
