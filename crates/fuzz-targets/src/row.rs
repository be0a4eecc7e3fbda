//! Rows of the tables, and records in their blocks.

use crate::parts;
use fakehost::reached::MODES;
use fakehost::{START, Wire, World, model};
use presence_core::event::Event;
use presence_core::host::Authorisation;
use presence_core::render::{Notify, Transport, push_notify_headers};
use presence_core::row::{self, COLUMNS, TEXTS};
use presence_core::server::find_package;
use presence_core::status::Status;
use presence_core::subscription::{FIELDS, Field, Subscription, Texts, event_id};
use presence_core::time::Timestamp;

/// Every text of a subscription.
fn fields() -> impl Iterator<Item = Field> {
    TEXTS.into_iter().chain([Field::UserAgent, Field::EventParams, Field::Instance])
}

/// What a column of numbers holds: the number that stands there, or the bytes as one.
fn number(text: &[u8]) -> i32 {
    let written = std::str::from_utf8(text).ok().and_then(|text| text.parse().ok());
    written.unwrap_or_else(|| text.iter().fold(0, |n: i32, b| n.wrapping_shl(8) | i32::from(*b)))
}

/// The header lines of a NOTIFY about it: so many and no more.
fn check_headers(s: &Subscription) {
    let mut headers = Vec::new();
    push_notify_headers(
        &mut headers,
        &Notify {
            event: b"presence",
            event_params: s.text(Field::EventParams),
            contact: s.text(Field::LocalContact),
            transport: Transport::of_socket(s.text(Field::Socket)),
            status: s.status,
            reason: s.text(Field::Reason),
            expires: 1,
            content_type: Some(b"text/plain"),
        },
    );
    let text = String::from_utf8_lossy(&headers).into_owned();
    let names: Vec<_> = text.split_terminator("\r\n").map(|line| line.split(':').next().unwrap_or_default()).collect();
    assert_eq!(
        names,
        ["Max-Forwards", "Event", "Contact", "Subscription-State", "Content-Type"],
        "{}",
        headers.escape_ascii()
    );
    assert_eq!(text.matches(['\r', '\n', '\0']).count(), 10, "{}", headers.escape_ascii());
}

/// The parameters of Event without `id`, if they stand as this server writes them.
fn others(params: &[u8]) -> Option<Vec<Vec<u8>>> {
    let text = [b"e", params].concat();
    let event = Event::parse(&text).ok()?;
    let mut written = Vec::new();
    event.params.iter().for_each(|param| param.push(&mut written));
    let others = event.params.iter().filter(|param| !param.name.eq_ignore_ascii_case(b"id"));
    let shown = |param: &presence_core::event::Param<'_>| {
        let mut text = Vec::new();
        param.push(&mut text);
        text
    };
    (written == params).then(|| others.map(shown).collect())
}

/// Reads a row with these columns.
fn read(columns: &[&[u8]]) -> Option<Subscription> {
    let packages = model_packages();
    let text = |column: usize| columns.get(column).copied().unwrap_or_default();
    let package = |name: &[u8]| find_package(&packages, Some(name)).ok().map(|(package, _)| package.id);
    row::subscription(text, |column| number(text(column)), package)
}

fn model_packages() -> Vec<presence_core::package::Package> {
    World::with(model::config(MODES[0])).host.packages.to_vec()
}

pub fn row(bytes: &[u8]) {
    let columns: Vec<&[u8]> = parts(bytes).take(COLUMNS).collect();
    let text = |column: usize| columns.get(column).copied().unwrap_or_default();
    let authorisation = Authorisation::of_row(number(text(0)), text(1));
    assert!(authorisation.status != Status::Active || number(text(0)).unsigned_abs() == 1, "only 1 is active");
    let at = number(text(2));
    assert!(at < 0 || Timestamp::from_column(at).column() == at, "times come back as they were");
    let Some(s) = read(&columns) else { return };
    for (column, field) in TEXTS.into_iter().enumerate() {
        assert_eq!(s.text(field), text(column), "{field:?}");
        let folds = field == Field::RecordRoute;
        assert!(folds || !s.text(field).iter().any(|b| b"\r\n\0".contains(b)), "{field:?} stays in its line");
    }
    check_headers(&s);
    // Written, and read again.
    let column = row::event_column(&s);
    let mut again: Vec<&[u8]> = (0..COLUMNS).map(text).collect();
    again[15] = &column;
    let again = read(&again).expect("what was written is read");
    if let Some(params) = others(s.text(Field::EventParams)) {
        assert_eq!(again.event_id(), s.event_id(), "the id of {}", text(15).escape_ascii());
        assert_eq!(others(again.text(Field::EventParams)), Some(params), "{}", text(15).escape_ascii());
    }
    live(&s);
}

/// A subscription that a table had lives as any other, and ends.
fn live(s: &Subscription) {
    let mode = MODES[usize::from(s.branch_flags as u8) % 3];
    let mut world = World::with(model::config(mode));
    world.load(&Subscription { expires: Timestamp(s.expires.0.clamp(START, START + 1000)), ..s.clone() });
    world.store.check().expect("whole");
    let found = world.run(|server| server.subscriptions.find(s.texts.dialog())).expect("memory answers");
    assert!(found.is_some(), "what was loaded is found");
    world.run(|server| server.refresh(&s.presentity, s.package));
    let told = world.settle().len();
    assert!(told <= 2, "told {told} times");
    world.wait(2000);
    while world.run(|server| server.expire_subscriptions()) {}
    world.settle();
    assert!(world.wire().iter().all(|wire| matches!(wire, Wire::Notify(_))), "nobody asked");
    assert_eq!(world.store.check().expect("whole").subscriptions, 0);
}

pub fn texts(bytes: &[u8]) {
    let block = Texts::from_block(bytes);
    let length: usize = fields().map(|field| block.get(field).len()).sum();
    assert!(length <= bytes.len(), "{length} bytes out of {}", bytes.len());
    assert!(event_id(bytes).len() <= bytes.len());
    let given: Vec<_> = fields().zip(parts(bytes)).collect();
    let longest = given.iter().map(|(_, text)| text.len()).max().unwrap_or_default();
    let Ok(packed) = Texts::pack(&given) else {
        assert!(longest > usize::from(u16::MAX), "{longest} bytes do not fit");
        return;
    };
    let again = Texts::from_block(packed.block());
    for field in fields() {
        let right = given.iter().find(|(f, _)| *f == field).map_or(&b""[..], |(_, text)| text);
        assert_eq!((packed.get(field), again.get(field)), (right, right), "{field:?}");
    }
    let changed = packed.with(&[(Field::Contact, b"changed")]).expect("it fits");
    for field in fields().filter(|field| *field != Field::Contact) {
        assert_eq!(changed.get(field), packed.get(field), "{field:?} is left alone");
    }
    assert_eq!(changed.get(Field::Contact), b"changed");
    assert_eq!(fields().count(), FIELDS);
}
