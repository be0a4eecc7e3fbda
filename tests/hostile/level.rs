//! What a server holds once everything has run out, and whether it is well.

use std::time::{Duration, Instant};
use testkit::phone::pidf;
use testkit::{Builder, Kamailio, Module, Phone};

/// Memory in use once everything has run out.
#[derive(Debug)]
pub struct Level {
    /// Shared, by the whole server: pools and tables stay as large as they once were.
    pub shm: i64,
    /// Shared, by the texts and documents of presence's records: exact.
    pub texts: i64,
    /// Private, of the process that uses most.
    pub pkg: i64,
}

impl Level {
    /// Waits until everything has run out, while a phone answers the last NOTIFYs.
    pub fn settled(server: &Kamailio, phone: Option<&mut Phone>) -> Self {
        Self::at_rest(server, phone, None)
    }

    /// Waits until everything has run out, and panics if that is more than before: texts to the byte, private memory but
    /// for what is made once and kept, shared memory by `room` at most, as tables and pools grow with the fullest moment.
    pub fn assert_back_at(before: &Self, room: i64, server: &Kamailio, phone: Option<&mut Phone>) -> Self {
        let after = Self::at_rest(server, phone, Some(before.shm + room));
        assert_eq!(after.texts, before.texts, "texts leaked");
        assert!(after.pkg - before.pkg < 16_384, "pkg leaked: {before:?}, {after:?}");
        assert!(after.shm - before.shm < room, "shm leaked: {before:?}, {after:?}");
        after
    }

    fn at_rest(server: &Kamailio, mut phone: Option<&mut Phone>, enough: Option<i64>) -> Self {
        let ours = !Module::from_env().is_stock();
        let mut pause = |time: Duration| match &mut phone {
            Some(phone) => {
                let end = Instant::now() + time;
                while let Some(left) = end.checked_duration_since(Instant::now()) {
                    drop(phone.receive(left));
                    phone.inbox.clear();
                }
            }
            None => std::thread::sleep(time),
        };
        if ours {
            testkit::wait_for("everything runs out", 30.0, || {
                pause(Duration::from_millis(50));
                ["subscriptions", "publications", "subscriptions_leaving"]
                    .iter()
                    .all(|n| server.status(n) == 0)
                    .then_some(())
            });
        }
        // tm frees what is over some seconds later: it is looked at until two looks agree, or it is little enough.
        let mut shm = server.shm_used();
        for _ in 0..30 {
            pause(Duration::from_millis(400));
            let last = std::mem::replace(&mut shm, server.shm_used());
            if enough.map_or(last == shm, |enough| shm < enough) {
                break;
            }
        }
        Self { shm, texts: if ours { server.status("text_bytes") } else { 0 }, pkg: server.pkg_used() }
    }
}

/// A server on which everything runs out within seconds.
pub fn brief() -> Builder {
    Kamailio::builder()
        .debug(-1)
        .memory(128, 8)
        .before("modparam(\"tm\", \"fr_timer\", 1000)\nmodparam(\"tm\", \"wt_timer\", 1000)")
        .param("max_expires", 3)
        .param("clean_period", 1)
        .param("db_update_period", 1)
        // Only ours has it: a NOTIFY that cannot be sent is tried again soon.
        .extra(if Module::from_env().is_stock() { "" } else { "modparam(\"presence\", \"notify_hold_time\", 100)" })
}

/// Panics unless the server still does its main job.
pub fn assert_serves(server: &mut Kamailio) {
    assert!(server.is_running(), "the server is down\n{}", server.log());
    let (mut watcher, mut publisher) = (Phone::new("bob", server.port), Phone::new("erin", server.port));
    watcher.subscribe("erin", "presence", 3);
    watcher.notify();
    assert_eq!(publisher.publish("presence", None, Some(3), &pidf("erin", "open", "still here")).code(), 200);
    assert!(watcher.notify().body.contains("still here"));
}
