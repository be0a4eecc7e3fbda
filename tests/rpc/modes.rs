//! Every command wherever the state is kept.

use crate::{bob_watches_alice, in_memory, lacks, with_sqlite};
use serde_json::json;
use testkit::{Kamailio, listing};

/// Entries of a list over JSON-RPC, which are those of kamcmd.
fn both(server: &Kamailio, command: &str, arguments: &[&str]) -> Vec<listing::Entry> {
    let over_json = listing::of_json(server.json(command, &json!(arguments))).expect("a list");
    let call: Vec<&str> = std::iter::once(command).chain(arguments.iter().copied()).collect();
    let through_kamcmd = server.list(&call).expect("a list");
    let plain = |entries: &[listing::Entry]| {
        let mut entries: Vec<listing::Entry> = entries.iter().cloned().map(listing::Entry::sorted).collect();
        entries.iter_mut().for_each(|e| e.0.retain(|(name, _)| !["age", "notify_time"].contains(&name.as_str())));
        entries
    };
    assert_eq!(plain(&over_json), plain(&through_kamcmd));
    over_json
}

fn serves(server: &Kamailio, subs: u8, publ: u8) {
    let (_alice, mut bob, etag) = bob_watches_alice(server);
    let _ = bob.notify_within(0.0);
    let watchers = both(server, "presence.watcher_list", &["basic", "sip:alice@test.local"]);
    assert_eq!(watchers.len(), 1, "{watchers:?}");
    assert_eq!(watchers[0].get("watcher_user"), "bob");
    assert_eq!(both(server, "presence.watcher_list", &["full", "*"]).len(), 1);
    for list in [
        both(server, "presence.presentity_list", &[]),
        both(server, "presence.presentity_show", &["basic", "alice", "test.local"]),
    ] {
        assert_eq!(list.len(), 1, "{list:?}");
        assert_eq!((list[0].get("user"), list[0].get("etag")), ("alice", etag.as_str()));
    }
    let full = listing::of_json(server.json("presence.presentity_list", &json!(["full"]))).expect("a list");
    assert!(full[0].get("body").contains("here"));
    let status = server.json("presence.status", &json!([])).expect("an answer");
    assert_eq!(
        (&status["subs_db_mode"], &status["publ_cache"], &status["subscriptions"], &status["publications"]),
        (&json!(subs), &json!(publ), &json!(1), &json!(1)),
        "{status}"
    );
    assert_eq!(status["packages"]["presence"]["active"], json!(1), "{status}");
    let synced = server.json("presence.publish_cache_sync", &json!([]));
    assert_eq!(synced.is_ok(), publ != 2, "{synced:?}");
    assert_eq!(server.json("presence.cleanup", &json!([])), Ok(json!("Reload OK")));
    let refreshed = server.json("presence.refreshWatchers", &json!(["sip:alice@test.local", "presence", 1]));
    assert_eq!(refreshed, Ok(json!({})));
    bob.notify();
    // Alice has no rules to decide by: as with the stock module.
    let refused = server.json("presence.updateWatchers", &json!(["sip:alice@test.local", "presence"]));
    assert_eq!(refused, Err((500, "Processing error".to_owned())));
    assert!(server.log_lines("CRITICAL").is_empty());
}

#[test]
fn every_command_answers_in_every_mode() {
    if lacks("presence.watcher_list") {
        return;
    }
    serves(&in_memory().start(), 0, 2);
    for subs in 0..4 {
        for publ in 0..3 {
            serves(&with_sqlite(subs, publ).start(), subs, publ);
        }
    }
}

#[test]
fn a_library_says_what_it_is() {
    if lacks("presence.watcher_list") {
        return;
    }
    let routes = "request_route { sl_send_reply(\"200\", \"OK\"); }";
    let mut server = in_memory().param("publ_cache", 1).routes(routes).start();
    for (command, arguments) in [
        ("presence.cleanup", json!([])),
        ("presence.refreshWatchers", json!(["sip:alice@test.local", "presence", 1])),
        ("presence.updateWatchers", json!(["sip:alice@test.local", "presence"])),
        ("presence.presentity_list", json!(["full"])),
        ("presence.presentity_show", json!(["full", "*", "*"])),
        ("presence.watcher_list", json!(["full", "*"])),
        ("presence.publish_cache_sync", json!([])),
        ("presence.status", json!([])),
    ] {
        let (code, sentence) = server.json(command, &arguments).expect_err("a library keeps nothing");
        assert_eq!((code, sentence.contains("library")), (500, true), "{command}: {sentence}");
    }
    assert!(server.is_running());
}
