//! Steps of two processes that take turns in the middle of each other, by hand: what `tests/fork.rs` meets by chance.

use fakehost::{PRESENCE, Phone, START, World, phone};
use presence_core::config::{Config, PublMode, SubsMode};
use presence_core::dialog::DialogId;
use presence_core::host::{Landing, Line, Renewal, Resource};
use presence_core::subscription::Field;
use presence_core::time::Timestamp;
use std::collections::HashSet;

const A: Resource<'static> = Resource { uri: b"sip:a@h", package: PRESENCE };

fn world(subs: SubsMode) -> World {
    World::with(Config { subs, publ: PublMode::Memory, ..Config::default() })
}

fn watching(world: &mut World, user: &str) -> Phone {
    let mut p = phone(user, "a", "presence");
    world.subscribe(&mut p, Some(600)).expect("accepted");
    world.settle();
    p
}

#[test]
fn two_changes_that_are_told_in_turns_reach_every_watcher() {
    const WATCHERS: usize = 200;
    let mut world = world(SubsMode::Memory);
    for n in 0..WATCHERS {
        watching(&mut world, &format!("w{n}"));
    }
    let (mut first, mut second) = (Vec::new(), Vec::new());
    world.run(|server| {
        let book = &mut *server.subscriptions;
        let older = book.changed(A).expect("memory").expect("watchers");
        book.claim(A, older, b"", &mut first).expect("memory");
        let newer = book.changed(A).expect("memory").expect("watchers");
        let mut before = 0;
        while first.len() + second.len() > before {
            before = first.len() + second.len();
            book.claim(A, newer, b"", &mut second).expect("memory");
            book.claim(A, older, b"", &mut first).expect("memory");
        }
        assert!(!first.is_empty() && !second.is_empty());
        let mut know: HashSet<_> = second.iter().map(|n| n.subscription.text(Field::CallId).to_vec()).collect();
        for notice in &first {
            if book.landed(notice.token, Landing::Answered(200)).expect("memory") {
                // It is told next.
                know.insert(notice.subscription.text(Field::CallId).to_vec());
            }
        }
        assert_eq!(know.len(), WATCHERS);
    });
}

#[test]
fn a_document_made_before_a_change_does_not_follow_the_news_of_it() {
    for subs in [SubsMode::Memory, SubsMode::Database] {
        let mut world = world(subs);
        let mut p = watching(&mut world, "w");
        // The NOTIFY of a refresh is about to be sent ...
        p.cseq += 1;
        let tag = format!("t-{}", p.call_id);
        let dialog = DialogId { call_id: p.call_id.as_bytes(), to_tag: tag.as_bytes(), from_tag: b"f" };
        let renewal = |cseq| Renewal { remote_cseq: cseq, expires: Timestamp(START + 600), contact: b"sip:w@1.2.3.4" };
        world.run(|server| {
            let book = &mut *server.subscriptions;
            let token = book.renew(dialog, &renewal(p.cseq)).expect("renewed");
            let older = book.version(A);
            // ... while the state changes, another process tells it, and a further refresh comes.
            let before = book.due(token).expect("owed").last_cseq;
            let newer = book.changed(A).expect("a version").expect("watchers");
            assert!(newer > older);
            if subs == SubsMode::Memory {
                assert_eq!(book.owed(token, older, before), Ok(None), "not the current version");
            }
            let told = book.owed(token, newer, before).expect("memory").expect("a NOTIFY");
            book.renew(dialog, &renewal(p.cseq + 1)).expect("renewed");
            book.landed(told.token, Landing::Answered(200)).expect("memory");
            // What was read before that NOTIFY was taken does not follow it, though the version is the same.
            if subs == SubsMode::Memory {
                assert_eq!(book.owed(token, newer, before), Ok(None), "read before another one");
            }
            let last = book.due(token).expect("still owed").last_cseq;
            assert_eq!(book.owed(token, older, last), Ok(None), "{subs:?}");
            book.due(token).expect("still owed");
            let next = book.owed(token, newer, last).expect("memory").expect("it stays owed");
            assert_eq!(next.subscription.local_cseq, told.subscription.local_cseq + 1, "{subs:?}");
        });
    }
}

#[test]
fn a_version_of_a_resource_that_was_let_go_is_not_taken_for_one_of_the_next() {
    let mut world = world(SubsMode::Memory);
    let mut p = watching(&mut world, "w");
    let stale = world.run(|server| {
        let book = &mut *server.subscriptions;
        (0..5).for_each(|_| assert!(book.changed(A).expect("memory").is_some()));
        book.version(A)
    });
    // The last watcher leaves, and another one comes, while a process still holds that version.
    world.subscribe(&mut p, Some(0)).expect("accepted");
    world.settle();
    assert_eq!(world.store.check().expect("whole").resources, 0);
    let next = watching(&mut world, "next");
    let tag = format!("t-{}", next.call_id);
    let dialog = DialogId { call_id: next.call_id.as_bytes(), to_tag: tag.as_bytes(), from_tag: b"f" };
    let renewal = Renewal { remote_cseq: 9, expires: Timestamp(START + 600), contact: b"sip:next@1.2.3.4" };
    let mut out = Vec::new();
    world.run(|server| {
        let book = &mut *server.subscriptions;
        assert!(book.version(A) < stale);
        book.claim(A, stale, b"", &mut out).expect("memory");
        assert_eq!(out, []);
        // It is told of the next change.
        let next = book.changed(A).expect("memory").expect("a watcher");
        book.claim(A, next, b"", &mut out).expect("memory");
        assert_eq!(out.len(), 1);
        book.landed(out[0].token, Landing::Answered(200)).expect("memory");
        let token = book.renew(dialog, &renewal).expect("renewed");
        let last = book.due(token).expect("owed").last_cseq;
        assert_eq!(book.owed(token, stale, last), Ok(None));
        assert!(book.owed(token, next, last).expect("memory").is_some());
    });
}

#[test]
fn a_forgotten_dialog_whose_notify_is_never_answered_leaves_nothing_behind() {
    let mut world = world(SubsMode::Memory);
    let p = watching(&mut world, "w");
    world.publish("a", "presence", None, Some(600), "open").expect("accepted");
    let tag = format!("t-{}", p.call_id);
    let dialog = DialogId { call_id: p.call_id.as_bytes(), to_tag: tag.as_bytes(), from_tag: b"f" };
    assert_eq!(world.run(|server| server.subscriptions.forget(dialog)), Ok(true));
    assert_eq!(world.store.check().expect("whole").leaving, 1);
    world.wait(200);
    world.run(|server| server.go_on_with_overdue(10));
    assert_eq!(world.store.check().expect("whole").leaving, 0);
}

#[test]
fn a_state_read_before_another_server_told_a_newer_one_is_not_told_after_it() {
    let mut one = world(SubsMode::Database);
    watching(&mut one, "w");
    let mut other = world(SubsMode::Database);
    other.table = one.table.clone();
    let tell = |world: &mut World, meanwhile: &mut dyn FnMut()| {
        let mut told = Vec::new();
        world.run(|server| {
            let book = &mut *server.subscriptions;
            let version = book.changed(A).expect("the table").expect("a version");
            assert_eq!(book.line_up(A, b""), Ok(Line::JustRead));
            // Here the state is read.
            meanwhile();
            book.claim(A, version, b"", &mut told).expect("the table");
        });
        told
    };
    let mut first = Vec::new();
    let late = tell(&mut one, &mut || first = tell(&mut other, &mut || ()));
    assert_eq!((first.len(), late.len()), (1, 0));
    // Its NOTIFY stays owed, and goes with the state as it is then, and the next CSeq.
    let next = one.run(|server| {
        let token = server.subscriptions.overdue(10)[0];
        let last = server.subscriptions.due(token).expect("owed").last_cseq;
        let version = server.subscriptions.version(A);
        server.subscriptions.owed(token, version, last).expect("the table").expect("a NOTIFY")
    });
    assert_eq!(next.subscription.local_cseq, first[0].subscription.local_cseq + 1);
}

/// The NOTIFY would leave before the answer.
#[test]
fn the_timer_leaves_a_notify_for_a_while_to_whoever_owes_it() {
    for subs in [SubsMode::Memory, SubsMode::WriteBack, SubsMode::WriteThrough, SubsMode::Database] {
        let mut world = world(subs);
        let p = watching(&mut world, "w");
        let tag = format!("t-{}", p.call_id);
        let dialog = DialogId { call_id: p.call_id.as_bytes(), to_tag: tag.as_bytes(), from_tag: b"f" };
        let renewal = Renewal { remote_cseq: 9, expires: Timestamp(START + 900), contact: b"sip:w@1.2.3.4" };
        world.wait(60);
        let token = world.run(|server| {
            server.go_on_with_overdue(10);
            let token = server.subscriptions.renew(dialog, &renewal).expect("renewed");
            assert_eq!(server.subscriptions.overdue(10), [], "{subs:?}");
            token
        });
        world.wait(60);
        assert_eq!(world.run(|server| server.subscriptions.overdue(10)), [token], "{subs:?}");
    }
}
