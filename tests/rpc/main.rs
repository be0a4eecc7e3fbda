//! The RPC commands on a real Kamailio, through kamcmd and over JSON-RPC. What both modules have is asked of both; what
//! Kamailio 5.6.3's module lacks is asked of this one, and said to be ignored with `PRESENCE_SO=stock`.

mod cleanup;
mod faults;
mod filters;
mod many;
mod modes;
mod shapes;
mod status;
mod sync;

use testkit::phone::pidf;
use testkit::{Builder, Database, Kamailio, Module, Phone};

/// True, after a line that says so, where the command is not there: with Kamailio 5.6.3's own module.
fn lacks(command: &str) -> bool {
    let stock = Module::from_env().is_stock();
    if stock {
        println!("ignored: the module of Kamailio 5.6.3 has no {command}");
    }
    stock
}

/// A server with both interfaces, its state in memory.
fn in_memory() -> Builder {
    Kamailio::builder().jsonrpc()
}

/// The same, its state in SQLite where the modes say so.
fn with_sqlite(subs: u8, publ: u8) -> Builder {
    in_memory().database(Database::Sqlite("wal")).param("subs_db_mode", subs).param("publ_cache", publ)
}

/// Bob watches alice, who has published something and has told him.
fn bob_watches_alice(server: &Kamailio) -> (Phone, Phone, String) {
    let (mut alice, mut bob) = (Phone::new("alice", server.port), Phone::new("bob", server.port));
    bob.subscribe("alice", "presence", 600);
    bob.notify();
    let reply = alice.publish("presence", None, Some(600), &pidf("alice", "open", "here"));
    let etag = reply.header("SIP-ETag").expect("a tag").to_owned();
    assert!(bob.notify().body.contains("here"));
    (alice, bob, etag)
}
