//! play
use serde_json::json;
use testkit::{Database, Kamailio, Phone};
use testkit::phone::pidf;
#[test]
fn play() {
    for (db, mode, cache) in [(Database::None, 0, 2), (Database::Sqlite("wal"), 3, 0)] {
    let server = Kamailio::builder().database(db).param("subs_db_mode", mode).param("publ_cache", cache).jsonrpc().start();
    let (mut alice, mut bob) = (Phone::new("alice", server.port), Phone::new("bob", server.port));
    bob.subscribe("alice", "presence", 600);
    bob.notify();
    alice.publish("presence", None, Some(600), &pidf("alice", "open", "here"));
    bob.notify();
    for call in [&["presence.watcher_list", "full", "*"][..], &["presence.watcher_list", "basic", "sip:ALICE@test.local", "watcher=bob@test.local", "limit=1", "event=presence"], &["presence.presentity_list", "full"], &["presence.presentity_show", "basic", "alice", "*"], &["presence.status"], &["presence.status", "check"], &["presence.publish_cache_sync"], &["presence.cleanup"], &["presence.watcher_list", "basic", "*", "x=1"],&["presence.watcher_list", "basic"], &["presence.watcher_list", "basic", "123"], &["presence.watcher_list", "bad", "123"], &["presence.watcher_list", "basic", "*", "12"], &["presence.watcher_list", "basic", "*", "limit=0"], &["presence.refreshWatchers", "", "", "1"], &["presence.refreshWatchers", "sip:a@b", "presence", "2", "a"]] {
        println!("{call:?}\n{}", server.rpc(call));
    }
    println!("{:?}", server.json("presence.watcher_list", &json!(["full", "*"])));
    println!("{:?}", server.json_datagram("presence.presentity_list", &json!(["full"])));
    println!("{:?}", server.json_datagram("presence.status", &json!([])));
    println!("{:?}", server.json_datagram("presence.watcher_list", &json!(["full", "x".repeat(65000)])));
    println!("{:?}", server.json_datagram("presence.watcher_list", &json!(["full", 5])));
    println!("{:?}", server.json_datagram("presence.watcher_list", &json!(["full", "*", 5])));
    println!("{:?}", server.json_datagram("presence.watcher_list", &json!(["full", "*", {"a": 1}])));
    println!("{}", server.log());
    }
}
