//! How many statements each request asks a database server for. Each is a way there and back, which the phone waits for.
//!
//! The stock module asks for 5 to 9 where there is a PUBLISH; it fails at the first one.

use crate::plan::{Fault, Plan};
use crate::server;
use std::time::Duration;
use testkit::phone::pidf;
use testkit::{Database, Phone};

crate::on_each_database! {
    ;
    each_request_asks_for_little,
}

/// What follows a request has been asked by then.
const PAUSE: Duration = Duration::from_millis(100);

/// PUBLISHes that begin, modify, refresh and remove a publication; SUBSCRIBEs that begin, refresh and end a dialog.
type Most = ([u64; 4], [u64; 3]);

/// At most, in this `publ_cache` and `subs_db_mode`. A new watcher is looked for and entered; with write-through he is
/// entered together with the dialog, in a transaction. (db_postgres makes two statements of a REPLACE.)
const MOST: [((u8, u8), Most); 5] = [
    ((1, 0), ([1, 1, 1, 2], [3, 0, 0])),
    ((1, 1), ([1, 1, 1, 2], [6, 1, 1])),
    ((1, 2), ([1, 1, 1, 2], [3, 0, 0])),
    ((2, 2), ([0, 0, 0, 0], [3, 0, 0])),
    ((0, 3), ([4, 4, 1, 5], [9, 5, 4])),
];

fn each_request_asks_for_little(db: &Database) {
    for ((publ, subs), (publishes, subscribes)) in MOST {
        let plan = Plan::new();
        let builder =
            plan.applied_to(server(db, publ, subs)).param("clean_period", 1000).param("db_update_period", 1000);
        let server = builder.packages(&["presence_xml"]).children(1).start();
        let (mut alice, mut bob) = (Phone::new("alice", server.port), Phone::new("bob", server.port));
        // The first statements set up the connections.
        bob.subscribe("carol", "presence", 600);
        alice.publish_for("carol", "presence", None, Some(600), &pidf("carol", "open", "0"));
        bob.listen(PAUSE);
        // Statements since it was asked last.
        let count = |bob: &mut Phone| {
            bob.listen(PAUSE);
            let steps = plan.steps();
            plan.set(Fault::Counted);
            steps
        };
        count(&mut bob);
        let mut asked = [0; 3];
        let mut dialog = bob.subscribe("alice", "presence", 600);
        asked[0] = count(&mut bob);
        assert_eq!(bob.resubscribe(&mut dialog, 600).code(), 200);
        asked[1] = count(&mut bob);
        let mut published = [0; 4];
        let mut tag: Option<String> = None;
        for (place, (state, expires)) in [("open", 600), ("closed", 600), ("", 600), ("", 0)].into_iter().enumerate() {
            let body = if state.is_empty() { String::new() } else { pidf("alice", state, "here") };
            bob.inbox.clear();
            let reply = alice.publish("presence", tag.as_deref(), Some(expires), &body);
            assert_eq!(reply.code(), 200, "{reply:?}");
            tag = reply.header("SIP-ETag").map(str::to_owned);
            published[place] = count(&mut bob);
            let told = bob.inbox.last().is_some_and(|n| n.body.contains(&format!("<basic>{state}</basic>")));
            assert!(told || state.is_empty(), "{state}: {:?}", bob.inbox);
        }
        assert_eq!(bob.resubscribe(&mut dialog, 0).code(), 200);
        asked[2] = count(&mut bob);
        println!(
            "{db:?}, publ_cache {publ}, subs_db_mode {subs}: {published:?} for PUBLISHes, {asked:?} for SUBSCRIBEs"
        );
        let few = |counts: &[u64], most: &[u64]| counts.iter().zip(most).all(|(count, most)| count <= most);
        assert!(few(&published, &publishes) && few(&asked, &subscribes), "more than {publishes:?}, {subscribes:?}");
    }
}
