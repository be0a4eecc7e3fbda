//! Rows of `active_watchers` as subscriptions: what another program, another version or a fault may have left there is
//! looked at before it is believed.

use crate::event::Event;
use crate::package::PackageId;
use crate::status::Status;
use crate::subscription::{Field, Subscription, Texts};
use crate::time::Timestamp;

/// The texts that the first columns of a row hold, in their order.
pub const TEXTS: [Field; 14] = [
    Field::ToUser,
    Field::ToDomain,
    Field::FromUser,
    Field::FromDomain,
    Field::WatcherUser,
    Field::WatcherDomain,
    Field::ToTag,
    Field::FromTag,
    Field::CallId,
    Field::Socket,
    Field::Contact,
    Field::LocalContact,
    Field::RecordRoute,
    Field::Reason,
];

/// The column of the route set: in a request it may be folded over several lines.
const RECORD_ROUTE: usize = 12;
/// The columns behind [`TEXTS`].
const USER_AGENT: usize = 14;
const EVENT_ID: usize = 15;
const PRESENTITY: usize = 16;
const EVENT: usize = 17;
const NUMBERS: usize = 18;
/// How many columns a row has.
pub const COLUMNS: usize = 24;

/// Whether a text stays in its line: it would begin a header field of its own in every NOTIFY otherwise. One that may be
/// folded stays where its next line begins with a space (RFC 3261 7.3.1).
fn is_in_line(text: &[u8], may_fold: bool) -> bool {
    let next = text.iter().skip(1).map(Some).chain([None]);
    text.iter().zip(next).all(|(byte, next)| match byte {
        0 => false,
        b'\r' => may_fold,
        b'\n' => may_fold && matches!(next, Some(b' ' | b'\t')),
        _ => true,
    })
}

/// A row as a subscription; none if its package is not registered, or the row is not whole. The columns are [`TEXTS`],
/// then `user_agent`, `event_id`, `presentity_uri`, `event`, `local_cseq`, `remote_cseq`, `expires`, `status`, `version` and
/// `flags`.
pub fn subscription<'r>(
    text: impl Fn(usize) -> &'r [u8],
    int: impl Fn(usize) -> i32,
    package_of: impl Fn(&[u8]) -> Option<PackageId>,
) -> Option<Subscription> {
    let package = package_of(text(EVENT))?;
    // No NOTIFY tells the watcher's User-Agent.
    let mut told = (0..EVENT).filter(|column| *column != USER_AGENT);
    if !told.all(|column| is_in_line(text(column), column == RECORD_ROUTE)) {
        return None;
    }
    let params = params_of(text(EVENT_ID));
    let more = [(Field::UserAgent, text(USER_AGENT)), (Field::EventParams, params.as_slice())];
    let texts: Vec<_> = TEXTS.iter().enumerate().map(|(i, field)| (*field, text(i))).chain(more).collect();
    let number = |place: usize| int(NUMBERS + place);
    Some(Subscription {
        presentity: text(PRESENTITY).to_vec(),
        package,
        texts: Texts::pack(&texts).ok()?,
        local_cseq: number(0) as u32,
        remote_cseq: number(1) as u32,
        expires: Timestamp::from_column(number(2)),
        status: Status::from_number(number(3).unsigned_abs())?,
        version: number(4) as u32,
        branch_flags: number(5) as u32,
    })
}

/// The parameters of Event as `event_id` holds them: the value of `id`, then the others. The C module has the value only,
/// and puts the whole column behind `;id=` in its NOTIFYs.
#[must_use]
pub fn event_column(subscription: &Subscription) -> Vec<u8> {
    let mut column = subscription.event_id().to_vec();
    let params = subscription.text(Field::EventParams);
    if params.is_empty() {
        return column;
    }
    if let Ok(event) = Event::parse(&[b"e", params].concat()) {
        let others = event.params.iter().filter(|param| !param.name.eq_ignore_ascii_case(b"id"));
        others.for_each(|param| param.push(&mut column));
    }
    column
}

/// The parameters of Event that a row's `event_id` stands for.
fn params_of(column: &[u8]) -> Vec<u8> {
    if column.is_empty() || column.starts_with(b";") { column.to_vec() } else { [b";id=", column].concat() }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A whole row but for one column.
    fn read(place: usize, text: &'static [u8]) -> Option<Subscription> {
        let of = |column| match column {
            _ if column == place => text,
            EVENT => b"presence",
            _ => b"x",
        };
        subscription(of, |_| 1, |name| (name == b"presence").then_some(PackageId(0)))
    }

    #[test]
    fn a_row_comes_back_as_a_subscription() {
        let s = read(EVENT_ID, b"7;x=1").expect("a whole row");
        assert_eq!((s.text(Field::EventParams), s.event_id()), (&b";id=7;x=1"[..], &b"7"[..]));
        assert_eq!(event_column(&s), b"7;x=1");
        assert_eq!((s.text(Field::CallId), s.status, s.local_cseq), (&b"x"[..], Status::Active, 1));
    }

    #[test]
    fn a_text_that_ends_its_line_is_not_believed() {
        let believed = |text| (0..EVENT).filter(|place| read(*place, text).is_some()).collect::<Vec<_>>();
        for broken in [&b"a\r\nb"[..], b"a\nb", b"a\0b", b"a\r\n"] {
            assert_eq!(believed(broken), [USER_AGENT], "{}", broken.escape_ascii());
        }
        for folded in [&b"<sip:a>,\r\n <sip:b>"[..], b"a\n\tb"] {
            assert_eq!(believed(folded), [RECORD_ROUTE, USER_AGENT], "{}", folded.escape_ascii());
        }
    }

    #[test]
    fn a_quoted_id_is_one_value_in_the_column_and_back() {
        let s = read(EVENT_ID, b"\"a;b\";x=\";id=3\"").expect("a whole row");
        assert_eq!(s.event_id(), b"\"a;b\"");
        assert_eq!(event_column(&s), b"\"a;b\";x=\";id=3\"");
    }
}
