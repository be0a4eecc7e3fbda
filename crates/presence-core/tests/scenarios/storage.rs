//! What each `subs_db_mode` promises about the rows of the table.

use fakehost::{Phone, World, phone};
use presence_core::config::{Config, PublMode, SubsMode};
use presence_core::refusal::Refusal;
use presence_core::store::{RESERVE, Row, RowState};
use presence_core::subscription::Field;

fn watching(world: &mut World, user: &str, presentity: &str, event: &str) -> Phone {
    let mut p = phone(user, presentity, event);
    world.subscribe(&mut p, Some(600)).expect("accepted");
    world.settle();
    p
}

fn config(subs: SubsMode) -> Config {
    Config { subs, publ: PublMode::Memory, ..Config::default() }
}

#[test]
fn write_through_answers_only_what_is_written() {
    let mut world = World::with(config(SubsMode::WriteThrough));
    world.notes.fails.set(true);
    let mut w = phone("w", "a", "presence");
    assert!(matches!(world.subscribe(&mut w, Some(60)), Err(Refusal::Unavailable(_))));
    assert_eq!(world.subscriptions(), 0);
    world.notes.fails.set(false);
    world.subscribe(&mut w, Some(60)).expect("accepted");
    assert_eq!(world.notes.rows.borrow().len(), 1);
    world.settle();
    world.notes.fails.set(true);
    assert!(matches!(world.subscribe(&mut w, Some(0)), Err(Refusal::Unavailable(_))));
    assert_eq!(world.subscriptions(), 1);
    world.notes.fails.set(false);
    w.in_dialog = true;
    world.subscribe(&mut w, Some(0)).expect("accepted");
    assert_eq!(world.notes.rows.borrow().len(), 0);
}

#[test]
fn a_row_in_the_database_is_always_ahead_of_the_wire() {
    let mut world = World::with(config(SubsMode::WriteThrough));
    let w = watching(&mut world, "w", "a", "presence");
    let mut tag = world.publish("a", "presence", None, Some(6000), "0").expect("accepted");
    let mut last = 0;
    for n in 0..RESERVE * 2 {
        // For a while nothing can be written: that is when the row is not written in time.
        world.notes.fails.set(n % RESERVE > RESERVE / 3 && n % RESERVE < RESERVE / 10 * 9);
        for notify in world.settle() {
            let reserved = world.notes.rows.borrow()[&w.call_id] + RESERVE;
            assert!(notify.cseq <= reserved, "{n}: CSeq {} with a row up to {reserved}", notify.cseq);
            last = notify.cseq;
        }
        tag = world.publish("a", "presence", Some(&tag), Some(6000), &n.to_string()).expect("accepted");
    }
    assert!(last > RESERVE * 2 - 2, "{last} NOTIFYs");
}

/// Rows that are behind, as a flush takes and writes them.
fn take(world: &World, budget: usize) -> Vec<Row> {
    let rows = take_only(world, budget);
    rows.iter().for_each(|row| world.store.row_written(row));
    rows
}

fn take_only(world: &World, budget: usize) -> Vec<Row> {
    let mut rows = Vec::new();
    for shard in 0..world.store.shard_count() {
        world.store.take_rows(shard, budget, true, None, &mut rows).expect("whole");
    }
    rows
}

fn states(rows: &[Row]) -> Vec<(RowState, String)> {
    let call = |row: &Row| String::from_utf8_lossy(row.subscription.text(Field::CallId)).into_owned();
    let mut states: Vec<_> = rows.iter().map(|row| (row.state, call(row))).collect();
    states.sort_by(|a, b| a.1.cmp(&b.1));
    states
}

#[test]
fn write_back_names_each_row_that_is_behind_once() {
    let mut world = World::with(config(SubsMode::WriteBack));
    let mut w = watching(&mut world, "w", "a", "presence");
    let mut x = watching(&mut world, "x", "a", "presence");
    let rows = take(&world, 100);
    assert_eq!(
        states(&rows),
        [(RowState::Missing, "w-a-presence".to_owned()), (RowState::Missing, "x-a-presence".to_owned())]
    );
    assert_eq!(rows[0].subscription.local_cseq, 1 + RESERVE);
    assert_eq!(take(&world, 100), []);
    world.subscribe(&mut w, Some(900)).expect("accepted");
    world.settle();
    assert_eq!(states(&take(&world, 100)), [(RowState::Behind, "w-a-presence".to_owned())]);
    world.subscribe(&mut x, Some(0)).expect("accepted");
    world.settle();
    assert_eq!(states(&take(&world, 100)), [(RowState::Gone, "x-a-presence".to_owned())]);
    assert_eq!(world.store.check().expect("whole").gone, 0);
}

#[test]
fn write_back_forgets_what_never_had_a_row() {
    let mut world = World::with(config(SubsMode::WriteBack));
    let mut w = watching(&mut world, "w", "a", "presence");
    world.subscribe(&mut w, Some(0)).expect("accepted");
    world.settle();
    assert_eq!(take(&world, 100), []);
    assert_eq!(world.store.check().expect("whole").gone, 0);
}

#[test]
fn write_back_gives_a_row_again_that_could_not_be_written() {
    let mut world = World::with(config(SubsMode::WriteBack));
    let mut w = watching(&mut world, "w", "a", "presence");
    for (expires, state) in [(900, "still missing"), (900, "still behind"), (0, "still to be deleted")] {
        let rows = take_only(&world, 100);
        rows.iter().for_each(|row| world.store.give_back_row(row));
        assert_eq!(states(&take(&world, 100)), states(&rows), "{state}");
        world.subscribe(&mut w, Some(expires)).expect("accepted");
        world.settle();
    }
    let rows = take_only(&world, 100);
    assert_eq!(states(&rows), [(RowState::Gone, "w-a-presence".to_owned())]);
    rows.iter().for_each(|row| world.store.give_back_row(row));
    assert_eq!(states(&take(&world, 100)), states(&rows), "a row that could not be deleted is deleted later");
    assert_eq!(world.store.check().expect("whole").gone, 0);
}

#[test]
fn write_back_keeps_the_row_ahead_of_the_wire() {
    let mut world = World::with(config(SubsMode::WriteBack));
    watching(&mut world, "w", "a", "presence");
    let mut row = take(&world, 100).remove(0).subscription.local_cseq;
    let mut after = World::with(config(SubsMode::WriteBack));
    watching(&mut world, "x", "a", "presence");
    let rows = take(&world, 100);
    after.load(&rows[0].subscription);
    let mut tag = world.publish("a", "presence", None, Some(6000), "0").expect("accepted");
    for n in 0..500 {
        for notify in world.settle() {
            assert!(notify.cseq <= row + 1, "{n}: CSeq {} with a row up to {row}", notify.cseq);
        }
        // The flush comes seldom: 250 NOTIFYs later.
        if n % 250 == 249 {
            row = take(&world, 100).iter().map(|r| r.subscription.local_cseq).min().unwrap_or(row);
        }
        tag = world.publish("a", "presence", Some(&tag), Some(6000), &n.to_string()).expect("accepted");
    }
    after.publish("a", "presence", None, Some(60), "open").expect("accepted");
    after.settle();
    // Who loads it has put its row ahead.
    assert_eq!(take(&after, 100), []);
}

#[test]
fn write_back_deletes_the_row_of_a_watcher_who_is_gone() {
    let mut world = World::with(config(SubsMode::WriteBack));
    watching(&mut world, "w", "a", "presence");
    take(&world, 100);
    world.publish("a", "presence", None, Some(60), "open").expect("accepted");
    let notify = world.notifies().remove(0);
    world.answer(&notify, 481);
    assert_eq!(states(&take(&world, 100)), [(RowState::Gone, "w-a-presence".to_owned())]);
}

#[test]
fn write_back_deletes_the_row_of_one_who_left_before_the_last_notify_is_answered() {
    let mut world = World::with(config(SubsMode::WriteBack));
    let mut w = watching(&mut world, "w", "a", "presence");
    take(&world, 100);
    world.subscribe(&mut w, Some(0)).expect("accepted");
    let last = world.notifies();
    assert_eq!(last.len(), 1, "not answered yet");
    assert_eq!(states(&take(&world, 100)), [(RowState::Gone, "w-a-presence".to_owned())]);
    world.answer(&last[0], 200);
    assert_eq!(take(&world, 100), [], "deleted once");
    let census = world.store.check().expect("whole");
    assert_eq!((census.leaving, census.gone, census.resources), (0, 0, 0));
}

#[test]
fn a_loaded_subscription_goes_on_where_its_row_stood() {
    let mut world = World::with(config(SubsMode::WriteBack));
    let mut w = watching(&mut world, "w", "a", "presence");
    let rows = take(&world, 100);
    let mut after = World::with(config(SubsMode::WriteBack));
    after.load(&rows[0].subscription);
    assert_eq!(after.settle(), [], "nothing is owed to it");
    assert_eq!(take(&after, 100), [], "its row is as it should be");
    after.publish("a", "presence", None, Some(60), "open").expect("accepted");
    let told = after.settle();
    assert_eq!(told[0].cseq, rows[0].subscription.local_cseq + 2);
    after.subscribe(&mut w, Some(0)).expect("known");
    after.settle();
    assert_eq!(states(&take(&after, 100)), [(RowState::Gone, "w-a-presence".to_owned())]);
}

#[test]
fn two_servers_on_one_table_never_use_a_cseq_twice() {
    let mut one = World::with(config(SubsMode::Database));
    let mut two = World::with(config(SubsMode::Database));
    two.table = one.table.clone();
    let mut w = watching(&mut one, "w", "a", "presence");
    let mut last = 0;
    for n in 0..50 {
        let server = if n % 3 == 0 { &mut one } else { &mut two };
        if n % 5 == 0 {
            server.subscribe(&mut w, Some(600)).expect("either server knows the dialog");
        }
        server.publish("a", "presence", None, Some(60), "open").expect("accepted");
        for notify in server.settle() {
            assert!(notify.cseq > last, "{} after {last}", notify.cseq);
            last = notify.cseq;
        }
    }
    assert!(last >= 51);
    two.subscribe(&mut w, Some(0)).expect("either server ends it");
    assert_eq!(two.settle().last().expect("the last NOTIFY").cseq, last + 1);
    assert_eq!(one.subscriptions(), 0);
}

#[test]
fn with_the_database_alone_what_cannot_be_written_is_refused_and_nothing_is_left() {
    let mut world = World::with(config(SubsMode::Database));
    world.table.fails.set(true);
    let mut w = phone("w", "a", "presence");
    assert!(matches!(world.subscribe(&mut w, Some(60)), Err(Refusal::Unavailable(_))));
    world.table.fails.set(false);
    w.cseq = 0;
    world.subscribe(&mut w, Some(60)).expect("accepted");
    world.settle();
    world.table.fails.set(true);
    world.publish("a", "presence", None, Some(60), "open").expect("publications are in memory");
    assert_eq!(world.settle(), []);
    assert!(matches!(world.subscribe(&mut w, Some(0)), Err(Refusal::Unavailable(_))));
    world.table.fails.set(false);
    w.in_dialog = true;
    world.subscribe(&mut w, Some(60)).expect("still known");
    assert_eq!(world.settle().last().expect("a NOTIFY").body, "open");
    let census = world.store.check().expect("whole");
    assert_eq!((census.guests, census.leaving, census.queued, census.resources), (0, 0, 0, 1));
}

#[test]
fn a_notify_whose_cseq_could_not_be_taken_follows_when_the_table_is_back() {
    let mut world = World::with(config(SubsMode::Database));
    let mut w = phone("w", "a", "presence");
    world.subscribe(&mut w, Some(600)).expect("accepted");
    world.settle();
    let tag = world.publish("a", "presence", None, Some(60), "one").expect("accepted");
    let flying = world.notifies().remove(0);
    world.publish("a", "presence", Some(&tag), Some(60), "two").expect("accepted");
    world.table.fails.set(true);
    world.answer(&flying, 200);
    assert_eq!(world.notifies(), []);
    world.table.fails.set(false);
    world.wait(3);
    world.run(|s| s.go_on_with_overdue(100));
    let told = world.settle();
    assert_eq!((told.len(), told[0].body.as_str(), told[0].cseq), (1, "two", flying.cseq + 1));
    assert_eq!(world.store.check().expect("whole").guests, 0);
}
