//! Hostile input over the wire: the server stays up, leaks nothing, no request gets a second final reply, and none costs
//! more than its size explains.

mod bombs;
mod cost;
mod large;
mod level;
mod nearly;
mod rules;
mod storm;
mod torture;

use level::{Level, assert_serves, brief};
use storm::storm;
use testkit::mutation::Random;
use testkit::{Database, Phone};

/// So many mutated messages are sent in every run.
const CI: u32 = 20_000;

/// So many mutated messages warm a server up: what is made once and kept (tables, pools, the drivers' buffers) is there
/// then.
const WARM_UP: u32 = 20_000;

/// A number that the environment names.
fn number<N: std::str::FromStr>(name: &str, default: N) -> N {
    match std::env::var(name) {
        Ok(text) => text.parse().unwrap_or_else(|_| panic!("{name}={text}: not a number")),
        Err(_) => default,
    }
}

/// Whether this is the long run (`make hostile`).
fn is_long() -> bool {
    number("HOSTILE_MESSAGES", CI) > CI
}

fn withstands(database: Database, mode: u8, cache: u8) {
    let messages = number("HOSTILE_MESSAGES", CI);
    let mut server = brief().database(database).param("subs_db_mode", mode).param("publ_cache", cache).start();
    let mut phone = Phone::new("bob", server.port);
    // Every run makes the same messages, unless this names others.
    let mut random = Random::new(number("HOSTILE_SEED", 0x9E37_79B9_7F4A_7C15));
    storm(&mut phone, &mut random, WARM_UP);
    let before = Level::settled(&server, Some(&mut phone));
    let harvest = storm(&mut phone, &mut random, messages);
    assert!(server.is_running(), "the server is down\n{}", server.log());
    let finals = harvest.finals;
    assert!(finals.len() as u32 > messages / 4, "only {} were answered", finals.len());
    let twice: Vec<_> = finals.iter().filter(|(_, n)| **n > 1).collect();
    assert!(twice.is_empty(), "{} with more than one final reply: {twice:?}", twice.len());
    let after = Level::assert_back_at(&before, 16 * i64::from(messages), &server, Some(&mut phone));
    println!(
        "{messages} messages, {} answered, {} NOTIFYs answered; before {before:?}, after {after:?}",
        finals.len(),
        harvest.notifies
    );
    assert_serves(&mut server);
}

#[test]
fn twenty_thousand_mutated_messages_in_memory() {
    withstands(Database::None, 0, 2);
}

#[test]
fn twenty_thousand_mutated_messages_with_sqlite() {
    withstands(Database::Sqlite("wal"), 1, 1);
}
