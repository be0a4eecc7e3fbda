//! `subs_t`, the subscription as packages and other modules see it.

use kamailio::raw::{pres_ev_t, subs_t};
use kamailio::str::{Str, borrow, none};
use presence_core::subscription::{Field, Subscription};

/// A `subs_t` whose texts lie in a [`Subscription`].
#[derive(Debug)]
pub struct SubsView<'s> {
    /// The structure for C code.
    pub c: subs_t,
    life: core::marker::PhantomData<&'s Subscription>,
}

impl<'s> SubsView<'s> {
    /// A view of a subscription. `expires` is what is left of it, in seconds, where that is known.
    pub fn new(subscription: &'s Subscription, event: *mut pres_ev_t) -> Self {
        let text = |field| text(subscription.text(field));
        // SAFETY: all members are numbers and pointers, for which zero is "none".
        let mut c: subs_t = unsafe { core::mem::zeroed() };
        c.pres_uri = borrow(&subscription.presentity);
        c.to_user = text(Field::ToUser);
        c.to_domain = text(Field::ToDomain);
        c.from_user = text(Field::FromUser);
        c.from_domain = text(Field::FromDomain);
        c.watcher_user = text(Field::WatcherUser);
        c.watcher_domain = text(Field::WatcherDomain);
        c.event = event;
        c.event_id = self::text(subscription.event_id());
        c.to_tag = text(Field::ToTag);
        c.from_tag = text(Field::FromTag);
        c.callid = text(Field::CallId);
        c.sockinfo_str = text(Field::Socket);
        c.remote_cseq = subscription.remote_cseq;
        c.local_cseq = subscription.local_cseq;
        c.contact = text(Field::Contact);
        c.local_contact = text(Field::LocalContact);
        c.record_route = text(Field::RecordRoute);
        c.expires = subscription.expires.0;
        c.status = u32::from(subscription.status as u8);
        c.reason = text(Field::Reason);
        c.version = subscription.version as i32;
        c.flags = subscription.branch_flags;
        c.user_agent = text(Field::UserAgent);
        Self { c, life: core::marker::PhantomData }
    }
}

/// C code takes a null pointer for "none".
fn text(bytes: &[u8]) -> Str {
    if bytes.is_empty() { none() } else { borrow(bytes) }
}
