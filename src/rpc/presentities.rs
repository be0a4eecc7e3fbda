//! `presence.presentity_list` and `presence.presentity_show`.

use super::answer::{Entry, List};
use super::filters::{Filters, Name};
use super::{Detail, NOT_ENOUGH, Outcome, check_not_library};
use crate::abi::packages;
use crate::store::listing;
use kamailio::rpc::Call;
use presence_core::package::{Package, name_of};
use presence_core::store::listing::{ListedPublication, WantedPublications};
use presence_core::uri::split_sip_uri;

const FILTERS: [Name; 3] = [Name::Event, Name::Limit, Name::After];

/// `presence.presentity_list [full|basic] [event=package] [limit=number] [after=place]`: any other mode counts as
/// basic, as in the C module.
pub fn list(call: &Call) -> Outcome {
    let first = call.word();
    let (mode, filter) = if first.as_ref().is_some_and(|w| w.contains(&b'=')) { (None, first) } else { (first, None) };
    let detail = mode.and_then(|mode| Detail::of(&mode).ok()).unwrap_or(Detail::Basic);
    answer(call, detail, &WantedPublications::default(), filter)
}

/// `presence.presentity_show full|basic user|* domain|* [event=package] [limit=number] [after=place]`.
pub fn show(call: &Call) -> Outcome {
    let (Some(mode), Some(user), Some(domain)) = (call.text(), call.text(), call.text()) else {
        return Err(NOT_ENOUGH);
    };
    let wanted = WantedPublications { user: given(&user), host: given(&domain), package: None };
    answer(call, Detail::of(&mode)?, &wanted, None)
}

/// What is empty or a star stands for everything.
fn given(text: &[u8]) -> Option<&[u8]> {
    if matches!(text, b"" | b"*") { None } else { Some(text) }
}

fn answer(call: &Call, detail: Detail, whose: &WantedPublications<'_>, filter: Option<Vec<u8>>) -> Outcome {
    let filters = Filters::read(call, filter, &FILTERS)?;
    check_not_library()?;
    let wanted = WantedPublications { package: filters.package, ..*whose };
    let registry = packages::all();
    List::answer(
        call,
        (filters.after, filters.limit),
        |after| listing::publications(after, &wanted, detail == Detail::Full),
        |entry, listed| fill(entry, listed, detail, &registry),
    )
}

fn fill(entry: &mut Entry<'_>, listed: &ListedPublication, detail: Detail, registry: &[Package]) {
    let p = &listed.publication;
    let (user, host) = split_sip_uri(&listed.presentity);
    let package = name_of(registry, listed.package);
    entry.text(c"user", user);
    entry.text(c"domain", host);
    entry.text(c"event", package);
    entry.text(c"etag", &p.etag);
    entry.text(c"sender", &p.sender);
    entry.int(c"expires", p.expires.column());
    if detail == Detail::Full {
        entry.int(c"received_time", p.received.column());
        entry.int(c"priority", p.priority);
        entry.text(c"ruid", &p.row_id);
        entry.text(c"body", &p.body);
        entry.int(c"hashid", kamailio::str::hash_whatever_case(user, host) as i32);
    }
    // Only here.
    entry.uint(c"place", listed.place);
}
