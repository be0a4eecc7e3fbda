//! `expires_spread`: phones that all came at once do not all come back at once.

use crate::{MODES, asks, builder};
use std::collections::BTreeSet;
use testkit::{Message, Phone};

fn granted(reply: &Message) -> u32 {
    let value = reply.header("Expires").and_then(|value| value.parse().ok());
    value.unwrap_or_else(|| panic!("no Expires: {reply:?}"))
}

#[test]
fn what_is_granted_differs_and_stays_within_the_bounds() {
    for subs in MODES {
        let server = builder(subs).param("expires_spread", 50).param("min_expires", 320).start();
        let mut bob = Phone::new("bob", server.port);
        let mut seen = Vec::new();
        for n in 0..10 {
            let (reply, mut dialog) = asks(&mut bob, &format!("alice{n}"), "presence", "");
            let refreshed = {
                seen.push(granted(&reply));
                let told = bob.notify();
                let left: u32 = told.state().trim_start_matches("active;expires=").parse().expect("seconds");
                // Some seconds may have gone by on a machine that is busy.
                assert!(
                    (granted(&reply) - 5..=granted(&reply)).contains(&left),
                    "subs_db_mode {subs}: {left} of {}",
                    granted(&reply)
                );
                bob.resubscribe(&mut dialog, 600)
            };
            seen.push(granted(&refreshed));
            bob.notify();
            let ended = bob.resubscribe(&mut dialog, 0);
            assert_eq!(granted(&ended), 0, "subs_db_mode {subs}");
            bob.notify();
        }
        assert!(seen.iter().all(|seconds| (320..=600).contains(seconds)), "subs_db_mode {subs}: {seen:?}");
        // 20 draws out of 300, of which one in 15 is raised to the minimum: fewer than 8 values come once in 10^11 runs.
        let different: BTreeSet<_> = seen.iter().collect();
        assert!(different.len() >= 8, "subs_db_mode {subs}: {seen:?}");
    }
}

#[test]
fn without_expires_spread_everybody_gets_what_it_asks_for() {
    let server = builder(0).start();
    let mut bob = Phone::new("bob", server.port);
    for n in 0..10 {
        assert_eq!(granted(&asks(&mut bob, &format!("alice{n}"), "presence", "").0), 600);
        bob.notify();
    }
}
