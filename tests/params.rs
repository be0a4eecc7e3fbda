//! kamailio.cfg's parameters of presence: what is wrong stops the start with a sentence, what the C module corrects is
//! corrected and said.

use testkit::{Builder, Database, Kamailio, Module};

/// Numbers.
const INTS: [&str; 33] = [
    "clean_period",
    "cseq_offset",
    "db_update_period",
    "waitn_time",
    "notifier_poll_rate",
    "notifier_processes",
    "force_delete",
    "startup_mode",
    "expires_offset",
    "max_expires",
    "min_expires",
    "min_expires_action",
    "subs_htable_size",
    "pres_htable_size",
    "subs_db_mode",
    "publ_cache",
    "enable_sphere_check",
    "timeout_rm_subs",
    "send_fast_notify",
    "fetch_rows",
    "db_table_lock_type",
    "local_log_level",
    "subs_remove_match",
    "retrieve_order",
    "sip_uri_match",
    "enable_dmq",
    "pres_subs_mode",
    "delete_same_subs",
    "timer_mode",
    "subs_respond_200",
    "enable_pres_dmq",
    "enable_pres_sync_dmq",
    "enable_subs_dmq",
];

/// Numbers, continued: those that only matter with DMQ.
const DMQ_INTS: [&str; 2] = ["enable_subs_sync_dmq", "skip_notify_dmq"];

/// Texts.
const TEXTS: [&str; 10] = [
    "db_url",
    "presentity_table",
    "active_watchers_table",
    "watchers_table",
    "server_address",
    "local_log_facility",
    "xavp_cfg",
    "retrieve_order_by",
    "default_socket",
    "dmq_peer_id",
];

/// Parameters that only this module has: numbers, texts.
const OWN: ([&str; 11], [&str; 2]) = (
    [
        "notify_hold_time",
        "db_wait_time",
        "replace_subs",
        "max_subs_per_watcher",
        "max_subs_per_presentity",
        "expires_spread",
        "expire_on_close",
        "dialog_max_age",
        "notify_interval",
        "notify_fail_max",
        "rfc_strict",
    ],
    ["event_callback", "notify_transport"],
);

/// What a value that cannot be meant leads to: the sentence's parts.
const REFUSED: [(&str, &str, &[&str]); 28] = [
    ("subs_db_mode", "4", &["subs_db_mode is 4", "0 to 3"]),
    ("subs_db_mode", "-1", &["subs_db_mode is -1", "0 to 3"]),
    ("publ_cache", "3", &["publ_cache is 3", "0 to 2"]),
    ("min_expires_action", "3", &["min_expires_action is 3", "1 to 2"]),
    ("min_expires", "-5", &["min_expires is -5", "0 or more"]),
    ("cseq_offset", "-1", &["cseq_offset is -1", "0 or more"]),
    ("subs_htable_size", "31", &["subs_htable_size is 31", "1 to 30"]),
    ("pres_htable_size", "99", &["pres_htable_size is 99", "1 to 30"]),
    ("enable_dmq", "1", &["enable_dmq is 1", "allowed is 0"]),
    ("presentity_table", "\"a; drop table x\"", &["presentity_table is \"a; drop table x\"", "letters, digits"]),
    ("local_log_facility", "\"LOG_NOWHERE\"", &["local_log_facility is \"LOG_NOWHERE\"", "LOG_LOCAL0"]),
    ("notify_transport", "\"udp\"", &["notify_transport is \"udp\"", "allowed are tm and direct"]),
    ("notify_hold_time", "9", &["notify_hold_time is 9", "10 to 32000"]),
    ("db_wait_time", "0", &["db_wait_time is 0", "1 to 60000"]),
    ("notify_interval", "-1", &["notify_interval is -1", "0 to 600000"]),
    ("notify_interval", "600001", &["notify_interval is 600001", "0 to 600000"]),
    ("notify_fail_max", "-1", &["notify_fail_max is -1", "0 to 100"]),
    ("notify_fail_max", "101", &["notify_fail_max is 101", "0 to 100"]),
    ("rfc_strict", "2", &["rfc_strict is 2", "0 to 1"]),
    ("replace_subs", "2", &["replace_subs is 2", "0 to 1"]),
    ("replace_subs", "-1", &["replace_subs is -1", "0 to 1"]),
    ("max_subs_per_watcher", "-1", &["max_subs_per_watcher is -1", "0 or more"]),
    ("max_subs_per_presentity", "-7", &["max_subs_per_presentity is -7", "0 or more"]),
    ("expires_spread", "51", &["expires_spread is 51", "0 to 50"]),
    ("expires_spread", "-1", &["expires_spread is -1", "0 to 50"]),
    ("expire_on_close", "2", &["expire_on_close is 2", "0 to 1"]),
    ("expire_on_close", "-1", &["expire_on_close is -1", "0 to 1"]),
    ("dialog_max_age", "-1", &["dialog_max_age is -1", "0 or more"]),
];

/// What the C module corrects: the parts of the warning.
const CORRECTED: [(&str, &str, &[&str]); 10] = [
    ("max_expires", "0", &["max_expires is 0", "using 3600"]),
    ("max_expires", "-3", &["max_expires is -3", "using 3600"]),
    ("min_expires", "5000", &["min_expires is 5000", "using 3600"]),
    ("expires_offset", "-1", &["expires_offset is -1", "using 0"]),
    ("subs_htable_size", "0", &["subs_htable_size is 0", "using 9"]),
    ("pres_htable_size", "-2", &["pres_htable_size is -2", "using 9"]),
    ("fetch_rows", "0", &["fetch_rows is 0", "using 500"]),
    ("timeout_rm_subs", "7", &["timeout_rm_subs is 7", "using 1"]),
    ("server_address", "\"nonsense\"", &["server_address is \"nonsense\"", "no SIP URI"]),
    ("sip_uri_match", "2", &["sip_uri_match is 2", "using 1"]),
];

fn ours() -> Option<Builder> {
    let module = Module::from_env();
    // The C module misunderstands or corrects in silence: there is no sentence to compare.
    (!module.is_stock()).then(|| Kamailio::builder().module(module).packages(&[]))
}

fn sentence(log: &str, parts: &[&str]) -> bool {
    log.lines().any(|line| parts.iter().all(|part| line.contains(part)))
}

#[test]
fn a_value_of_the_wrong_type_stops_the_start_with_a_sentence() {
    let Some(builder) = ours() else { return };
    let numbers =
        INTS.iter().chain(&DMQ_INTS).chain(&OWN.0).map(|name| (*name, "\"12x\"", "\"12x\"", "without quotes"));
    let texts = TEXTS.iter().chain(&OWN.1).map(|name| (*name, "12", "12", "in quotes"));
    let mut tried = 0;
    for (name, value, shown, allowed) in numbers.chain(texts) {
        let log = builder.clone().param(name, value).try_start().expect_err(name);
        assert!(sentence(&log, &[&format!("{name} is {shown}"), allowed]), "{name} {value}\n{log}");
        tried += 1;
    }
    assert_eq!(tried, 45 + 13, "every parameter of the C module, and our own");
}

/// What only matters with DMQ, which is not there yet: a value of its type other than the default, and a wrong one.
const OF_DMQ: [(&str, &str, &str); 7] = [
    ("enable_pres_dmq", "0", "\"yes\""),
    ("enable_pres_sync_dmq", "0", "\"yes\""),
    ("enable_subs_dmq", "1", "\"yes\""),
    ("enable_subs_sync_dmq", "0", "\"yes\""),
    ("skip_notify_dmq", "1", "\"yes\""),
    ("default_socket", "\"udp:127.0.0.1:5060\"", "5060"),
    ("dmq_peer_id", "\"another\"", "1"),
];

#[test]
fn parameters_of_dmq_are_taken_with_their_type_only_and_change_nothing() {
    // Not with the module of Kamailio 5.6.3: it does not have them.
    let Some(builder) = ours() else { return };
    let with_dmq = |builder: Builder| OF_DMQ.iter().fold(builder, |b, (name, value, _)| b.param(name, value));
    for builder in [builder.clone(), with_dmq(builder.clone()).param("enable_dmq", 0)] {
        let server = builder.packages(&["presence_xml"]).start();
        let mut bob = testkit::Phone::new("bob", server.port);
        bob.subscribe("alice", "presence", 300);
        bob.notify();
        let mut alice = testkit::Phone::new("alice", server.port);
        let body = testkit::phone::pidf("alice", "open", "here");
        assert_eq!(alice.publish("presence", None, Some(300), &body).code(), 200);
        assert!(bob.notify().body.contains("here"), "skip_notify_dmq is for publications of other servers");
        assert_eq!(bob.notify_within(0.2), None);
        let said = ["WARNING", "ERROR"].map(|level| server.log_lines(&format!("{level}: presence")));
        assert_eq!(said, [Vec::<String>::new(), Vec::new()]);
    }
    for (name, _, wrong) in OF_DMQ {
        let log = builder.clone().param(name, wrong).try_start().expect_err(name);
        assert!(sentence(&log, &[&format!("{name} is {wrong}: it must be a ")]), "{name} {wrong}\n{log}");
    }
    for (value, name, given) in [("1", "enable_pres_dmq", "1"), ("2", "dmq_peer_id", "\"another\"")] {
        let log = builder.clone().param("enable_dmq", value).param(name, given).try_start().expect_err("enable_dmq");
        let says = format!("enable_dmq is {value}: replication over DMQ is not there yet");
        assert!(sentence(&log, &["ERROR", &says]), "{log}");
    }
}

/// A server with ten watchers of each of so many presentities, who are all told; the bytes of the tables that they are in.
fn table_bytes(builder: &Builder, name: &str, power: i32, presentities: usize) -> i64 {
    let server = builder.clone().param(name, power).packages(&["presence_xml"]).start();
    let (mut alice, mut bob) = (testkit::Phone::new("alice", server.port), testkit::Phone::new("bob", server.port));
    for n in 0..presentities {
        let user = format!("alice{n}");
        for _ in 0..10 {
            bob.subscribe(&user, "presence", 300);
            bob.notify();
        }
        let body = testkit::phone::pidf(&user, "open", "here");
        assert_eq!(alice.publish_for(&user, "presence", None, Some(300), &body).code(), 200);
        (0..10).for_each(|_| assert!(bob.notify().body.contains("here"), "{name} {power}"));
    }
    assert_eq!(server.status("subscriptions"), 10 * presentities as i64, "{name} {power}");
    server.status("table_bytes")
}

#[test]
fn subs_htable_size_makes_16_to_64_parts_that_grow_by_themselves() {
    // Not with the C module, which makes 2^n buckets that never grow: 2^30 of them do not fit into memory.
    let Some(builder) = ours() else { return };
    let empty = |power| table_bytes(&builder, "subs_htable_size", power, 0);
    let [least, more, most] = [4, 5, 6].map(empty);
    assert!(least < more && more < most, "{least} {more} {most}");
    assert_eq!([1, 9, 30].map(empty), [least, most, most]);
    // In 16 parts or 64.
    for (power, before) in [(1, least), (30, most)] {
        let grown = table_bytes(&builder, "subs_htable_size", power, 20);
        assert!(grown > before, "subs_htable_size {power}: {grown} after {before}");
    }
}

#[test]
fn pres_htable_size_changes_nothing() {
    // Not with the C module: 2^30 buckets do not fit into memory.
    let Some(builder) = ours() else { return };
    let empty = [1, 9, 30].map(|power| table_bytes(&builder, "pres_htable_size", power, 0));
    assert!(empty[0] == empty[1] && empty[1] == empty[2], "{empty:?}");
    // How much the parts grow depends on who is in which.
    let served = [1, 30].map(|power| table_bytes(&builder, "pres_htable_size", power, 4));
    assert!(served.iter().all(|bytes| *bytes > empty[0]), "{served:?} after {empty:?}");
}

#[test]
fn a_value_that_cannot_be_meant_stops_the_start_with_a_sentence() {
    let Some(builder) = ours() else { return };
    for (name, value, parts) in REFUSED {
        let log = builder.clone().param(name, value).try_start().expect_err(name);
        assert!(sentence(&log, parts), "{name} {value}: {parts:?}\n{log}");
    }
    let order = builder.clone().param("retrieve_order", 1).param("retrieve_order_by", "\"priority; delete\"");
    let log = order.try_start().expect_err("retrieve_order_by");
    assert!(sentence(&log, &["retrieve_order_by is \"priority; delete\"", "column names"]), "{log}");
    let unstored = builder.clone().param("subs_db_mode", 2).param("publ_cache", 2);
    let log = unstored.try_start().expect_err("subs_db_mode without db_url");
    assert!(sentence(&log, &["subs_db_mode is 2", "db_url"]), "{log}");
}

#[test]
fn a_value_that_the_c_module_corrects_is_corrected_and_said() {
    let Some(builder) = ours() else { return };
    for (name, value, parts) in CORRECTED {
        let server = builder.clone().param(name, value).start();
        assert!(sentence(&server.log(), parts), "{name} {value}: {parts:?}\n{}", server.log());
    }
}

#[test]
fn a_database_that_is_not_there_stops_the_start_with_a_sentence() {
    let Some(builder) = ours() else { return };
    let nowhere = builder.clone().database(Database::SqliteFile("/nonexistent/folder/db.sqlite".into()));
    let log = nowhere.try_start().expect_err("no such file");
    assert!(log.contains("presence") && log.contains("db_url"), "{log}");
    let unknown = builder
        .param("publ_cache", 1)
        .param("db_url", "\"nosuchdriver://host/base\"")
        .try_start()
        .expect_err("no such driver");
    assert!(unknown.contains("presence") && unknown.contains("db_url"), "{unknown}");
}

#[test]
fn expires_is_kept_within_the_bounds_of_the_parameters() {
    let server = Kamailio::builder().param("max_expires", 700).param("min_expires", 60).start();
    let mut bob = testkit::Phone::new("bob", server.port);
    let mut dialog = bob.subscribe("alice", "presence", 5000);
    assert!(bob.notify().state().starts_with("active;expires=700"));
    let refused = bob.resubscribe(&mut dialog, 30);
    assert_eq!((refused.code(), refused.header("Min-Expires")), (423, Some("60")));

    let server = Kamailio::builder().param("min_expires", 60).param("min_expires_action", 2).start();
    let mut bob = testkit::Phone::new("bob", server.port);
    bob.subscribe("alice", "presence", 30);
    assert!(bob.notify().state().starts_with("active;expires=60"));
}

#[test]
fn subs_respond_200_chooses_the_code() {
    for (value, code) in [(1, 200), (0, 202)] {
        let server = Kamailio::builder().param("subs_respond_200", value).start();
        let mut bob = testkit::Phone::new("bob", server.port);
        let mut dialog = bob.subscribe("alice", "presence", 300);
        assert_eq!(bob.resubscribe(&mut dialog, 300).code(), code);
    }
}
