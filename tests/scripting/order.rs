//! In which order documents are combined: `retrieve_order`, `retrieve_order_by`, and the priority that a script gives.

use crate::probe::with_tables;
use testkit::{Builder, Kamailio, Phone, sqlite};

const ROUTES: &str = r#"
request_route {
    if (is_method("OPTIONS")) { sl_send_reply("200", "OK"); exit; }
    if (!t_newtran()) { sl_reply_error(); exit; }
    if (is_method("PUBLISH")) {
        if (is_present_hf("Priority")) $xavp(cfg=>priority) = $(hdr(Priority){s.int});
        handle_publish();
    } else handle_subscribe();
    t_release();
}
"#;

fn builder(publ: u8) -> Builder {
    with_tables().param("publ_cache", publ).param("xavp_cfg", "\"cfg\"").routes(ROUTES)
}

fn document(tuple: &str) -> String {
    format!(
        "<?xml version=\"1.0\"?><presence xmlns=\"urn:ietf:params:xml:ns:pidf\" entity=\"sip:alice@test.local\">\
         <tuple id=\"{tuple}\"><status><basic>open</basic></status></tuple></presence>"
    )
}

/// Publishes a document for each tuple with this priority.
fn publish(server: &Kamailio, documents: &[(&str, Option<i32>)]) {
    let mut alice = Phone::new("alice", server.port);
    for (tuple, priority) in documents {
        let more: Vec<String> = priority.iter().map(|p| format!("Priority: {p}")).collect();
        let request = alice.publish_request("alice", "presence", None, Some(600), &document(tuple), &more);
        assert_eq!(alice.ask(&request).code(), 200, "{tuple}");
    }
}

/// The tuples in the document that a new watcher gets.
fn combined(server: &Kamailio) -> Vec<String> {
    let mut bob = Phone::new("bob", server.port);
    bob.subscribe("alice", "presence", 600);
    let body = bob.notify().body;
    body.match_indices(" id=\"")
        .map(|(at, mark)| body[at + mark.len()..].chars().take_while(|c| *c != '"').collect())
        .collect()
}

/// First come, first stored; the priorities go up and down.
const THREE: [(&str, Option<i32>); 3] = [("one", Some(20)), ("two", Some(10)), ("three", Some(30))];

/// The whole order, from the one that presence_xml begins with: the last one that it is given.
fn order(publ: u8, order: u8, by: &str) -> Vec<String> {
    let builder = builder(publ).param("retrieve_order", order).param("retrieve_order_by", format!("\"{by}\""));
    let server = builder.start();
    publish(&server, &THREE);
    combined(&server)
}

#[test]
fn the_latest_document_is_the_first() {
    for publ in [0, 1] {
        assert_eq!(order(publ, 0, "priority"), ["three", "two", "one"], "publ_cache {publ}");
    }
}

#[test]
fn the_latest_document_is_the_first_in_memory_too() {
    // The stock module turns the order round without a table.
    assert_eq!(order(2, 0, "priority"), ["three", "two", "one"]);
}

#[test]
fn with_retrieve_order_the_highest_priority_is_the_first() {
    for publ in [0, 1, 2] {
        assert_eq!(order(publ, 1, "priority"), ["three", "one", "two"], "publ_cache {publ}");
    }
}

#[test]
fn retrieve_order_by_names_columns_of_the_table() {
    for publ in [0, 1] {
        assert_eq!(order(publ, 1, "priority DESC"), ["two", "one", "three"], "publ_cache {publ}");
        assert_eq!(order(publ, 1, "username, priority DESC"), ["two", "one", "three"], "publ_cache {publ}");
    }
}

#[test]
fn a_script_gives_priorities_and_without_one_it_is_the_time() {
    let priority = "SELECT priority FROM presentity ORDER BY id";
    let server = builder(1).start();
    publish(&server, &[("one", Some(20)), ("two", Some(-3)), ("three", None)]);
    let rows = sqlite::run(&server.database_file(), priority);
    assert_eq!(&rows[..2], ["20", "-3"]);
    // Seconds since 2015-01-01.
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("a clock").as_secs();
    let time: u64 = rows[2].parse().expect("a number");
    assert!(time.abs_diff(since - 1_420_070_400) < 60, "{time}");
    // Without the parameter there are no priorities.
    let server = with_tables().routes(ROUTES).start();
    publish(&server, &[("one", Some(20)), ("two", None)]);
    assert_eq!(sqlite::run(&server.database_file(), priority), ["0", "0"]);
}

#[test]
fn a_modified_document_gets_its_new_priority() {
    let server = builder(1).param("retrieve_order", 1).start();
    publish(&server, &THREE);
    let mut alice = Phone::new("alice", server.port);
    let tag = "SELECT etag FROM presentity WHERE priority=10";
    let etag = sqlite::run(&server.database_file(), tag).remove(0);
    let request =
        alice.publish_request("alice", "presence", Some(&etag), Some(600), &document("two"), &["Priority: 40".into()]);
    assert_eq!(alice.ask(&request).code(), 200);
    assert_eq!(combined(&server), ["two", "three", "one"]);
}
