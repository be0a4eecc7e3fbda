//! Single allocations of shared memory fail, on a real server: a module in C (`scarce.c`) stands before its allocator. The
//! module's own fail in turn, each on a server that has just started, because the pool asks only once; then the server's.

use crate::is_put_off;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use testkit::phone::{Dialog, pidf};
use testkit::{Builder, Database, Kamailio, Message, Phone};

/// Servers at the same time.
const LANES: u32 = 3;
/// What the server holds of the module when nobody has anything.
const NUMBERS: [&str; 3] = ["subscriptions", "publications", "subscriptions_leaving"];

fn scarce() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
        testkit::cmodule::build(&testkit::root().join("tests/faults/scarce.c"), folder)
    })
}

/// A server before whose allocator the module stands.
fn builder(database: Database) -> Builder {
    let builder = Kamailio::builder()
        .before(&format!("loadmodule \"{}\"", scarce().display()))
        .extra("modparam(\"tm\", \"wt_timer\", 200)")
        .packages(&["presence_xml"])
        .debug(-1);
    match database {
        Database::None => builder,
        // Documents, too, are in memory: more is allocated.
        database => builder.database(database).param("subs_db_mode", 1).param("publ_cache", 2),
    }
}

/// From now on the n-th allocation fails, and so many in all.
fn fail(server: &Kamailio, whose: &str, from: u32, count: u32) {
    let said = server.rpc(&["scarce.fail", whose, &from.to_string(), &count.to_string()]);
    assert_eq!(said, "", "{whose} {from} {count}");
}

/// Allocations since then.
fn seen(server: &Kamailio) -> u32 {
    let said = server.rpc(&["scarce.failed"]);
    said.lines().next().and_then(|line| line.trim().parse().ok()).unwrap_or_else(|| panic!("no number in {said}"))
}

/// The life of a publication and of a dialog, as somebody has them who insists.
struct Scenario<'a> {
    server: &'a Kamailio,
    what: String,
    alice: Phone,
    bob: Phone,
    /// Answers that may come beside 200 and 503: the server's own, where it has no memory itself.
    others: &'static [u16],
    put_off: u32,
}

impl Scenario<'_> {
    fn insist(&mut self, mut ask: impl FnMut(&mut Self) -> Message) -> Message {
        for _ in 0..8 {
            let reply = ask(self);
            if self.others.contains(&reply.code()) || is_put_off(&reply, &self.what) {
                self.put_off += 1;
                continue;
            }
            return reply;
        }
        panic!("{}: put off again and again", self.what);
    }

    fn publish(&mut self, etag: Option<&str>, expires: u32, note: &str) -> String {
        let user = self.alice.user.clone();
        let body = if note.is_empty() { String::new() } else { pidf(&user, "open", note) };
        let reply = self.insist(|s| s.alice.publish("presence", etag, Some(expires), &body));
        reply.header("SIP-ETag").expect("a tag").to_owned()
    }

    fn subscribe(&mut self, watcher: fn(&mut Self) -> &mut Phone, event: &str) -> Dialog {
        let user = self.alice.user.clone();
        let mut dialog = Dialog::new(&user, event);
        let reply = self.insist(|s| {
            dialog = Dialog::new(&user, event);
            watcher(s).resubscribe(&mut dialog, 600)
        });
        dialog.to_tag = reply.to_tag().to_owned();
        dialog
    }

    fn run(&mut self) {
        let user = self.alice.user.clone();
        let mut dialog = self.subscribe(|s| &mut s.bob, "presence");
        let etag = self.publish(None, 600, "one");
        let mut winfo = self.subscribe(|s| &mut s.alice, "presence.winfo");
        self.insist(|s| s.bob.resubscribe(&mut dialog, 900));
        let etag = self.publish(Some(&etag), 600, "two");
        let mut etag = self.publish(Some(&etag), 700, "");
        // Texts of every size, and more records than there is room for at first.
        for size in [1, 40, 90, 200, 400, 800, 1500, 3000, 9000, 30_000] {
            etag = self.publish(Some(&etag), 600, &"x".repeat(size));
        }
        for _ in 0..20 {
            let mut more = self.subscribe(|s| &mut s.bob, "presence");
            self.insist(|s| s.bob.resubscribe(&mut more, 1));
        }
        let etag = self.publish(Some(&etag), 600, "last");
        self.insist(|s| s.bob.resubscribe(&mut Dialog::new(&user, "presence"), 0));
        testkit::wait_for(&format!("{}: the last state", self.what), 8.0, || {
            self.bob.listen(std::time::Duration::from_millis(5));
            let own = self.bob.inbox.iter().filter(|n| n.header("Call-ID") == Some(&dialog.call_id));
            own.max_by_key(|n| n.cseq())?.body.contains("<note>last</note>").then_some(())
        });
        for list in [["presence.watcher_list", "full", "*"], ["presence.presentity_list", "full", "limit=9"]] {
            let _ = self.server.list(&list);
        }
        // One publication and one subscription run out.
        self.insist(|s| s.bob.resubscribe(&mut dialog, 1));
        self.publish(Some(&etag), 1, "");
        self.insist(|s| s.alice.resubscribe(&mut winfo, 0));
    }

    /// Nothing is left, every list is whole, and the server is up.
    fn look(&mut self, texts: i64) {
        let what = self.what.clone();
        testkit::wait_for(&format!("{what}: everything to run out"), 8.0, || {
            // The last NOTIFYs want an answer.
            for phone in [&mut self.alice, &mut self.bob] {
                phone.listen(std::time::Duration::from_millis(5));
            }
            let _ = self.server.rpc(&["presence.cleanup"]);
            NUMBERS.iter().all(|name| self.server.status(name) == 0).then_some(())
        });
        assert_eq!(self.server.status("parts_skipped"), 0, "{what}");
        testkit::wait_for(&format!("{what}: {texts} bytes of texts"), 5.0, || {
            (self.server.status("text_bytes") == texts).then_some(())
        });
    }
}

fn scenario<'a>(server: &'a Kamailio, number: u32, what: String, others: &'static [u16]) -> Scenario<'a> {
    let phone = |name: &str| Phone::new(&format!("{name}{number}"), server.port);
    Scenario { server, what, alice: phone("a"), bob: phone("b"), others, put_off: 0 }
}

fn is_up(server: &mut Kamailio, what: &str) {
    assert!(server.is_running(), "{what}:\n{}", server.log());
    for sign in ["CRITICAL: presence", "BUG:", "panic"] {
        assert_eq!(server.log_lines(sign), Vec::<String>::new(), "{what}");
    }
}

/// Every allocation of the module since the start fails once, and so do as many after it.
fn own(database: &Database, count: u32) {
    let lane = |first: u32| {
        let (mut last, mut put_off) = (0, 0);
        for number in (first..).step_by(LANES as usize) {
            let mut server = builder(database.clone()).start();
            let texts = server.status("text_bytes");
            let what = format!("allocation {number} and {} more", count - 1);
            fail(&server, "presence", number, count);
            let mut run = scenario(&server, number, what, &[]);
            run.run();
            run.look(texts);
            put_off += run.put_off;
            let (seen, what) = (seen(&server), run.what);
            is_up(&mut server, &what);
            if seen < number {
                break;
            }
            last = number;
        }
        (last, put_off)
    };
    let lanes: Vec<(u32, u32)> = std::thread::scope(|scope| {
        let lanes: Vec<_> = (1..=LANES).map(|first| scope.spawn(move || lane(first))).collect();
        lanes.into_iter().map(|lane| lane.join().expect("a lane that found nothing wrong")).collect()
    });
    let last = lanes.iter().map(|(last, _)| *last).max().unwrap_or(0);
    println!("{last} allocations, {} requests put off", lanes.iter().map(|(_, n)| n).sum::<u32>());
    assert!(last > 10, "hardly anything was allocated");
}

#[test]
fn each_allocation_of_ours_fails_once_and_nothing_is_lost() {
    own(&Database::None, 1);
}

#[test]
#[ignore = "takes a minute: make soak"]
fn three_allocations_of_ours_in_a_row_fail() {
    own(&Database::None, 3);
    own(&Database::Sqlite("WAL"), 1);
}
