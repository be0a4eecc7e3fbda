//! A request that comes once more, after tm has forgotten that it was answered: the phone did not get the answers.

use testkit::phone::{Dialog, pidf};
use testkit::{Database, Kamailio, Message, Phone};

#[test]
fn a_copy_of_the_subscribe_that_began_a_dialog_begins_no_other() {
    for mode in 0..=3 {
        let server = Kamailio::builder()
            .database(Database::Sqlite("WAL"))
            .param("subs_db_mode", mode)
            .extra("modparam(\"tm\", \"wt_timer\", 300)")
            .start();
        let mut bob = Phone::new("bob", server.port);
        let mut dialog = Dialog { cseq: 1, ..Dialog::new("alice", "presence") };
        let request = bob.subscribe_request(&dialog, Some(600), &[]);
        let first = bob.ask(&request);
        assert_eq!(first.code(), 200, "{first:?}");
        first.to_tag().clone_into(&mut dialog.to_tag);
        let mut told = vec![bob.notify()];
        let publish = |note: &str| {
            let reply =
                Phone::new("alice", server.port).publish("presence", None, Some(600), &pidf("alice", "open", note));
            assert_eq!(reply.code(), 200, "{reply:?}");
        };
        publish("one");
        told.push(bob.notify());
        // The copy counts once tm does not know the transaction any more: then a NOTIFY follows.
        testkit::wait_for("a NOTIFY for the copy", 10.0, || {
            let again = bob.ask(&request);
            assert_eq!((again.code(), again.to_tag()), (200, &*dialog.to_tag), "subs_db_mode {mode}: {again:?}");
            bob.notify_within(0.4).map(|notify| told.push(notify))
        });
        publish("two");
        told.push(bob.notify());
        assert_eq!(bob.notify_within(0.3), None, "subs_db_mode {mode}: told twice");
        let numbers: Vec<_> = told.iter().map(Message::cseq).collect();
        assert!(numbers.is_sorted_by(|a, b| a < b), "subs_db_mode {mode}: {numbers:?}");
        assert_eq!(bob.resubscribe(&mut dialog, 0).code() / 100, 2);
        assert!(bob.notify().state().starts_with("terminated"));
        publish("three");
        assert_eq!(bob.notify_within(0.3), None, "subs_db_mode {mode}: told after the end");
    }
}
