//! Arguments that cannot be meant: the fault of the C module where it has one, and nothing lost over it.

use crate::{bob_watches_alice, in_memory, lacks, with_sqlite};
use serde_json::{Value, json};
use testkit::jsonrpc::Answer;
use testkit::{Kamailio, Module};

fn fault(sentence: &str) -> Answer {
    Err((500, sentence.to_owned()))
}

#[test]
fn what_is_missing_or_empty_is_said_as_the_stock_module_says_it() {
    let server = in_memory().start();
    let uri = "sip:alice@test.local";
    let refresh = "presence.refreshWatchers";
    let update = "presence.updateWatchers";
    for (command, arguments, sentence) in [
        (refresh, json!([]), "Not enough parameters"),
        (refresh, json!([uri]), "Not enough parameters"),
        (refresh, json!([uri, "presence"]), "Not enough parameters"),
        (refresh, json!([5, "presence", 1]), "Not enough parameters"),
        (refresh, json!([uri, ["presence"], 1]), "Not enough parameters"),
        (refresh, json!(["", "presence", 1]), "Empty presentity URI"),
        (refresh, json!([uri, "", 1]), "Empty event parameter"),
        (refresh, json!(["", "", 1]), "Empty presentity URI"),
        (refresh, json!([uri, "presence", 2]), "No file uri or name parameters"),
        (refresh, json!([uri, "presence", 2, "file"]), "No file uri or name parameters"),
        (refresh, json!([uri, "presence", 2, "", "name"]), "Empty file uri parameter"),
        (refresh, json!([uri, "presence", 2, "file", ""]), "Empty file name parameter"),
        (refresh, json!([uri, "no-such-event", 1]), "Execution failed"),
        (update, json!([]), "Not enough parameters"),
        (update, json!([uri]), "Not enough parameters"),
        (update, json!([uri, 7]), "Not enough parameters"),
        (update, json!(["", "presence"]), "Empty presentity URI"),
        (update, json!([uri, ""]), "Empty event parameter"),
        (update, json!([uri, "no-such-event"]), "Processing error"),
    ] {
        assert_eq!(server.json(command, &arguments), fault(sentence), "{command} {arguments}");
    }
    for (call, sentence) in [
        (&[refresh][..], "Not enough parameters"),
        (&[refresh, uri, "presence"], "Not enough parameters"),
        (&[refresh, uri, "presence", "s:x"], "Not enough parameters"),
        (&[refresh, "s:", "presence", "1"], "Empty presentity URI"),
        (&[update, "12", "presence"], "Not enough parameters"),
        (&[update, uri, "s:"], "Empty event parameter"),
    ] {
        assert_eq!(server.rpc(call).trim(), format!("error: 500 - {sentence}"), "{call:?}");
    }
}

#[test]
fn what_is_too_much_is_left_unread_as_by_the_stock_module() {
    let server = in_memory().start();
    bob_watches_alice(&server);
    assert_eq!(server.json("presence.cleanup", &json!(["x", 1])), Ok(json!("Reload OK")));
    let uri = "sip:alice@test.local";
    assert_eq!(server.json("presence.refreshWatchers", &json!([uri, "presence", 1, "x", "y", "z"])), Ok(json!({})));
    // A text in the place of the number is 0 to JSON-RPC: decide again by the rules, of which alice has none.
    let refused = server.json("presence.refreshWatchers", &json!([uri, "presence", "1"]));
    assert_eq!(refused, fault("Execution failed"));
}

#[test]
fn what_a_list_cannot_do_is_said() {
    if lacks("presence.watcher_list") {
        return;
    }
    let server = in_memory().start();
    let (watchers, show, list) = ("presence.watcher_list", "presence.presentity_show", "presence.presentity_list");
    for (command, arguments, sentence) in [
        (watchers, json!([]), "Not enough parameters"),
        (watchers, json!(["basic"]), "Not enough parameters"),
        (watchers, json!([1, 2]), "Not enough parameters"),
        (watchers, json!(["basics", "sip:alice@test.local"]), "Unknown output mode"),
        (watchers, json!(["", "sip:alice@test.local"]), "Unknown output mode"),
        (watchers, json!(["basic", ""]), "Empty presentity URI"),
        (watchers, json!(["basic", "*", "sip:bob@test.local"]), "Unknown filter: sip:bob@test.local"),
        (watchers, json!(["basic", "*", ""]), "Unknown filter: "),
        (watchers, json!(["basic", "*", {"watcher": "bob"}]), "Unknown filter"),
        (watchers, json!(["basic", "*", "colour=red"]), "Unknown filter: colour=red"),
        (watchers, json!(["basic", "*", "watcher="]), "Bad value of a filter: watcher="),
        (watchers, json!(["basic", "*", "event=no-such-event"]), "Bad value of a filter: event=no-such-event"),
        (watchers, json!(["basic", "*", "callid="]), "Bad value of a filter: callid="),
        (watchers, json!(["basic", "*", "limit=0"]), "Bad value of a filter: limit=0"),
        (watchers, json!(["basic", "*", "limit=many"]), "Bad value of a filter: limit=many"),
        (watchers, json!(["basic", "*", "after=-1"]), "Bad value of a filter: after=-1"),
        (watchers, json!(["basic", "*", "after=99999999999"]), "Bad value of a filter: after=99999999999"),
        (show, json!([]), "Not enough parameters"),
        (show, json!(["full", "alice"]), "Not enough parameters"),
        (show, json!(["fully", "alice", "*"]), "Unknown output mode"),
        (show, json!(["full", "alice", "*", "watcher=bob@test.local"]), "Unknown filter: watcher=bob@test.local"),
        (list, json!(["full", "alice"]), "Unknown filter: alice"),
        ("presence.status", json!(["everything"]), "Unknown output mode"),
    ] {
        assert_eq!(server.json(command, &arguments), fault(sentence), "{command} {arguments}");
    }
    let call = [watchers, "basic", "*", "limit=many"];
    assert_eq!(server.rpc(&call).trim(), "error: 500 - Bad value of a filter: limit=many");
    assert_eq!(server.json(watchers, &json!(["basic", "*", "after=2000000000"])), Ok(json!([])));
    assert_eq!(server.json(watchers, &json!(["basic", "*", "after=268435455"])), Ok(json!([])));
}

/// Private memory of the process that answers on the socket, and shared memory.
fn memory(server: &Kamailio) -> (i64, i64) {
    let stats = server.json_datagram("mod.stats", &json!(["all", "pkg"])).expect("an answer");
    let totals = stats.as_array().into_iter().flatten().filter_map(|module| module["Total"].as_i64());
    (totals.sum(), server.shm_used())
}

/// The `n`th of many calls, of which most are wrong in some way.
fn call(n: usize, stock: bool) -> (&'static str, Value) {
    let long = || "x".repeat(60_000 + n % 10);
    let uri = "sip:alice@test.local";
    let calls = [
        ("presence.refreshWatchers", json!([])),
        ("presence.refreshWatchers", json!([long(), "presence", 1])),
        ("presence.refreshWatchers", json!([uri, long(), 1])),
        ("presence.refreshWatchers", json!([uri, "presence", 2, "file", ""])),
        ("presence.updateWatchers", json!([uri, long()])),
        ("presence.updateWatchers", json!([long(), "presence"])),
        ("presence.updateWatchers", json!([["x"], {"y": 1}])),
        ("presence.presentity_list", json!([long()])),
        ("presence.presentity_list", json!(["full"])),
        ("presence.cleanup", json!([long()])),
        ("presence.watcher_list", json!(["full", uri])),
        ("presence.watcher_list", json!(["full", long()])),
        ("presence.watcher_list", json!([long(), uri])),
        ("presence.watcher_list", json!(["full", uri, long()])),
        ("presence.watcher_list", json!(["full", "*", format!("watcher={}", long())])),
        ("presence.watcher_list", json!(["full", "*", format!("callid={}", long())])),
        ("presence.watcher_list", json!(["full", "*", format!("event={}", long())])),
        ("presence.presentity_show", json!(["full", long(), "*"])),
        ("presence.presentity_show", json!(["full", "*", long()])),
        ("presence.status", json!([long()])),
        ("presence.status", json!([])),
        ("presence.publish_cache_sync", json!([long()])),
    ];
    let there = if stock { 10 } else { calls.len() };
    calls[n % there].clone()
}

fn loses_nothing(mut server: Kamailio) {
    bob_watches_alice(&server);
    let stock = Module::from_env().is_stock();
    let calls = |from: usize, count: usize| {
        for n in from..from + count {
            let (command, arguments) = call(n, stock);
            let _ = server.json_datagram(command, &arguments);
        }
    };
    // What is made once and kept (tables, pools) is there after the first ones: after so many they repeat.
    calls(0, 220);
    let ended = || {
        testkit::wait_for("tm frees what has ended", 20.0, || {
            let answer = server.rpc(&["tm.stats"]);
            answer.lines().any(|l| l.trim() == "current: 0").then_some(())
        })
    };
    ended();
    let (pkg, shm) = memory(&server);
    calls(220, 1000);
    ended();
    let (pkg_after, shm_after) = memory(&server);
    assert_eq!(pkg_after, pkg, "private memory");
    assert!((shm_after - shm).abs() < 4096, "shared memory: {shm} and then {shm_after}");
    assert!(server.is_running());
    assert!(server.log_lines("CRITICAL").is_empty());
}

const SHORT: &str = "modparam(\"tm\", \"wt_timer\", 500)";

#[test]
fn a_thousand_calls_leave_nothing_behind_in_memory() {
    loses_nothing(in_memory().before(SHORT).start());
}

#[test]
fn a_thousand_calls_leave_nothing_behind_with_sqlite() {
    loses_nothing(with_sqlite(3, 1).before(SHORT).start());
}

#[test]
fn a_long_text_through_kamcmd_is_no_more_than_a_long_text() {
    let mut server = in_memory().start();
    let long = "x".repeat(60_000);
    assert_eq!(server.rpc(&["presence.updateWatchers", "sip:a@b", &long]).trim(), "error: 500 - Processing error");
    if !Module::from_env().is_stock() {
        assert_eq!(server.list(&["presence.watcher_list", "basic", &long]), Ok(Vec::new()));
        let refused = server.list(&["presence.watcher_list", "basic", "*", &long]).expect_err("no filter");
        assert!(refused.len() < 200, "{refused}");
    }
    assert!(server.is_running());
}
