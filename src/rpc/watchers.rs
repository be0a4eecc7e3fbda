//! `presence.watcher_list`.

use super::answer::{Entry, List};
use super::filters::{Filters, Name};
use super::{Detail, EMPTY_URI, NO_SUCH_MODE, NOT_ENOUGH, Outcome, check_not_library};
use crate::abi::packages;
use crate::store::listing;
use crate::store::rows::NO_UPDATE;
use kamailio::rpc::Call;
use presence_core::package::{Package, name_of};
use presence_core::store::listing::{ListedSubscription, WantedSubscriptions};
use presence_core::subscription::Field;
use presence_core::time::Timestamp;

/// What the C module has in `recv_event` after a SUBSCRIBE.
const SUBSCRIBE_RECEIVED: i32 = 1;

const FILTERS: [Name; 5] = [Name::Watcher, Name::Event, Name::CallId, Name::Limit, Name::After];

/// `presence.watcher_list basic|full presentity|* [watcher=uri] [event=package] [callid=text] [limit=number]
/// [after=place]`.
pub fn list(call: &Call) -> Outcome {
    let (Some(mode), Some(presentity)) = (call.text(), call.text()) else { return Err(NOT_ENOUGH) };
    let detail = Detail::of(&mode).or(if is_all(&mode) { Ok(Detail::Full) } else { Err(NO_SUCH_MODE) })?;
    if presentity.is_empty() {
        return Err(EMPTY_URI);
    }
    let filters = Filters::read(call, None, &FILTERS)?;
    check_not_library()?;
    let wanted = WantedSubscriptions {
        presentity: (!is_all(&presentity)).then_some(presentity.as_slice()),
        watcher: filters.watcher.as_ref().map(|(user, host)| (user.as_slice(), host.as_slice())),
        package: filters.package,
        call_id: filters.call_id.as_deref(),
    };
    let (registry, now) = (packages::all(), crate::host::now().unix);
    List::answer(
        call,
        (filters.after, filters.limit),
        |after| listing::subscriptions(after, &wanted),
        |entry, listed| fill(entry, listed, detail, &registry, now),
    )
}

fn is_all(text: &[u8]) -> bool {
    matches!(text, b"*" | b"all")
}

fn fill(entry: &mut Entry<'_>, listed: &ListedSubscription, detail: Detail, registry: &[Package], now: Timestamp) {
    let s = &listed.subscription;
    entry.text(c"pres_uri", &s.presentity);
    for (name, field) in [
        (c"to_user", Field::ToUser),
        (c"to_domain", Field::ToDomain),
        (c"from_user", Field::FromUser),
        (c"from_domain", Field::FromDomain),
        (c"watcher_user", Field::WatcherUser),
        (c"watcher_domain", Field::WatcherDomain),
        (c"contact", Field::Contact),
    ] {
        entry.text(name, s.text(field));
    }
    entry.text(c"event_id", s.event_id());
    entry.text(c"callid", s.text(Field::CallId));
    entry.text(c"user_agent", s.text(Field::UserAgent));
    entry.uint(c"expires", s.expires.0);
    entry.uint(c"status", u32::from(s.status as u8));
    entry.int(c"version", s.version as i32);
    entry.uint(c"flags", s.branch_flags);
    if detail == Detail::Full {
        for (name, field) in [
            (c"reason", Field::Reason),
            (c"to_tag", Field::ToTag),
            (c"from_tag", Field::FromTag),
            (c"socket", Field::Socket),
            (c"local_contact", Field::LocalContact),
            (c"record_route", Field::RecordRoute),
        ] {
            entry.text(name, s.text(field));
        }
        // The rules are asked for when they are needed, and not kept.
        entry.text(c"auth_rules", b"");
        entry.uint(c"remote_cseq", s.remote_cseq);
        entry.uint(c"local_cseq", s.local_cseq);
        entry.int(c"recv_event", SUBSCRIBE_RECEIVED);
        entry.int(c"updated", NO_UPDATE);
        entry.int(c"updated_winfo", NO_UPDATE);
    }
    // Only here, behind what the C module has.
    let package = name_of(registry, s.package);
    let (code, at) = listed.answer.unwrap_or_default();
    entry.text(c"event", package);
    entry.uint(c"age", listed.began.map_or(0, |began| now.since(began).0));
    entry.uint(c"notify_code", code.into());
    entry.uint(c"notify_time", at.0);
    entry.uint(c"place", listed.place);
}
