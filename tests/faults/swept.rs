//! What was not written in time, and what a sweep makes of it.

use crate::plan::{Fault, Plan};
use crate::whole::is_whole;
use crate::{SQLITE, server};
use testkit::Phone;

/// A refresh that the database refused is in memory, and the row has its old end. When that is over the row is swept: the
/// next refresh writes it anew, and the subscription outlives the server.
#[test]
fn a_row_that_was_swept_is_written_again_with_the_next_refresh() {
    let plan = Plan::new();
    let mut server = plan.applied_to(server(&SQLITE, 1, 1)).param("db_update_period", 1).start();
    let mut bob = Phone::new("bob", server.port);
    let mut dialog = bob.subscribe("alice", "presence", 2);
    plan.set(Fault::All);
    let reply = bob.resubscribe(&mut dialog, 600);
    assert_eq!(reply.code(), 503, "{reply:?}");
    plan.set(Fault::None);
    let rows = "SELECT count(*) FROM active_watchers";
    testkit::wait_for("the sweep of the row", 8.0, || (server.tables().number(rows) == 0).then_some(()));
    let reply = bob.resubscribe(&mut dialog, 600);
    assert_eq!(reply.code(), 200, "{reply:?}");
    assert_eq!(is_whole(&server, false, "after the refresh"), 1);
    server.restart();
    assert_eq!(bob.resubscribe(&mut dialog, 600).code(), 200);
    assert_eq!(is_whole(&server, false, "after a restart"), 1);
}
