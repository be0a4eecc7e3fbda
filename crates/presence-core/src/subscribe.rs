//! SUBSCRIBE (RFC 6665 4.2.1).

use crate::config::Config;
use crate::dialog::DialogId;
use crate::host::{Counted, Host, Publications, Rejected, Renewal, Request, Resource, Subscriptions, Tied, Token};
use crate::media;
use crate::package::{Family, Kind, Package};
use crate::refusal::{Cap, Refusal};
use crate::render::{self, Transport};
use crate::server::{Server, find_package};
use crate::status::Status;
use crate::subscription::{Field, Subscription, Texts};
use crate::time::Seconds;
use crate::uri::sip_uri;

/// User and host of a URI.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Party<'a> {
    /// The user.
    pub user: &'a [u8],
    /// The host.
    pub host: &'a [u8],
}

/// A SUBSCRIBE, taken apart.
#[derive(Clone, Copy, Debug)]
pub struct Subscribe<'a> {
    /// The Event header field.
    pub event: Option<&'a [u8]>,
    /// The Accept header fields, joined by commas; none if there is none, or nobody looks at them (`rfc_strict`).
    pub accept: Option<&'a [u8]>,
    /// The Expires header field.
    pub expires: Option<Seconds>,
    /// The Request-URI; none if it cannot be parsed.
    pub request_uri: Option<Party<'a>>,
    /// To.
    pub to: Party<'a>,
    /// From.
    pub from: Party<'a>,
    /// The watcher, who may be another one than From says.
    pub watcher: Party<'a>,
    /// The dialog. Outside of a dialog `to_tag` is the tag that the reply gives.
    pub dialog: DialogId<'a>,
    /// Whether the request came in a dialog.
    pub in_dialog: bool,
    /// CSeq.
    pub cseq: u32,
    /// Contact.
    pub contact: &'a [u8],
    /// User of the Contact URI.
    pub contact_user: &'a [u8],
    /// The Contact's `+sip.instance`; empty if there is none.
    pub instance: &'a [u8],
    /// The route set for a new dialog.
    pub record_route: &'a [u8],
    /// User-Agent.
    pub user_agent: &'a [u8],
    /// The receiving socket.
    pub socket: &'a [u8],
    /// The transport of the request.
    pub transport: Transport,
    /// Our address in the dialog.
    pub local_contact: &'a [u8],
    /// The branch flags.
    pub branch_flags: u32,
}

/// What was agreed with a SUBSCRIBE; the script may look at it.
pub type Outcome = Result<Subscription, Refusal>;

impl<H: Host, S: Subscriptions + ?Sized, P: Publications + ?Sized> Server<'_, H, S, P> {
    /// Handles a SUBSCRIBE. A refusal still has to be sent; otherwise the reply and the NOTIFYs have been.
    pub fn subscribe(&mut self, request: &Subscribe<'_>) -> Outcome {
        let packages = self.host.packages();
        let (package, event) = find_package(&packages, request.event)?;
        let config = self.host.config();
        let asked = request.expires.unwrap_or(Seconds(package.default_expires));
        let expires = config.agreed_expires(asked, config.max_expires)?;
        let expires = if config.expires_spread > 0 {
            let random = self.host.random();
            self.host.config().spread(expires, random)
        } else {
            expires
        };
        let params = own_params(package, &event.params);
        if request.in_dialog {
            self.subscribe_in_dialog(request, package, &params, expires)
        } else {
            self.subscribe_anew(request, package, &params, expires)
        }
    }

    fn subscribe_anew(
        &mut self,
        request: &Subscribe<'_>,
        package: &Package,
        params: &[u8],
        expires: Seconds,
    ) -> Outcome {
        let presentity = match package.family {
            // draft-anil-sipping-bla 5.1: the line is the user of the Contact, in the domain of From.
            Family::SharedLine => sip_uri(request.contact_user, request.from.host),
            _ => {
                let uri = request.request_uri.ok_or(Refusal::BadRequest)?;
                sip_uri(uri.user, uri.host)
            }
        };
        self.check_accept(request, package)?;
        self.host.check_request(package.id, false)?;
        let texts = texts_of(request, params, self.host.config().replace_same_phone)?;
        let resource = Resource { uri: &presentity, package: package.id };
        let asks = Request {
            resource,
            watcher_user: request.watcher.user,
            watcher_domain: request.watcher.host,
            texts: &texts,
        };
        let authorisation = self.host.authorise(&asks)?;
        let mut subscription = Subscription {
            presentity: presentity.clone(),
            package: package.id,
            texts: texts.with(&[(Field::Reason, &authorisation.reason)]).map_err(|_| Refusal::BadRequest)?,
            remote_cseq: request.cseq,
            local_cseq: 0,
            version: 0,
            expires: self.host.now().unix + expires,
            status: authorisation.status,
            branch_flags: request.branch_flags,
        };
        let lasts = expires > Seconds(0) && subscription.status != Status::Terminated;
        if !lasts {
            // The only NOTIFY of a dialog has the CSeq 1, the first of a longer one 2.
            subscription.local_cseq = u32::MAX;
        }
        if lasts {
            self.make_room_to_tell_of_watcher(resource)?;
        }
        let (token, replaces) =
            if lasts { self.open_instead(&subscription)? } else { (self.subscriptions.fetch(&subscription)?, false) };
        if lasts && self.host.config().expire_on_close {
            self.host.tie(&Tied::Subscription(request.dialog), subscription.expires);
        }
        self.accept(request, package, expires);
        if lasts {
            // Where another one went, all who are left are listed: once.
            self.tell_of_watcher(resource, (!replaces).then_some(&subscription));
        }
        if !lasts || self.notifies_at_once(package) {
            self.tell(token, resource);
        }
        // As the C module shows it to the script: numbers of a dialog that begins.
        Ok(Subscription { local_cseq: 0, version: 1, ..subscription })
    }

    /// Enters a subscription, and then forgets those whose place it takes. Whether there were any.
    fn open_instead(&mut self, subscription: &Subscription) -> Result<(Token, bool), Refusal> {
        let replaces = self.host.config().replaces_any();
        let replaced = if replaces { self.subscriptions.replaced_by(subscription)? } else { Vec::new() };
        self.admit(subscription, replaced.len())?;
        let dialog = subscription.texts.dialog();
        let token = self.subscriptions.open(subscription)?;
        for old in replaced.iter().filter(|old| old.dialog() != dialog) {
            // One that cannot be forgotten now runs out by itself.
            let _ = self.subscriptions.forget(old.dialog());
        }
        Ok((token, !replaced.is_empty()))
    }

    /// Whether there may be one subscription more, when so many go. Processes that ask at the same moment may each be
    /// allowed the last one.
    fn admit(&mut self, subscription: &Subscription, replaced: usize) -> Result<(), Refusal> {
        let Config { most_per_watcher, most_per_presentity, .. } = *self.host.config();
        let resource = Resource { uri: &subscription.presentity, package: subscription.package };
        let watcher = (subscription.text(Field::WatcherUser), subscription.text(Field::WatcherDomain));
        let replaced = u32::try_from(replaced).unwrap_or(u32::MAX);
        for (most, of, cap) in [
            (most_per_watcher, Counted::Watcher(watcher.0, watcher.1), Cap::Watcher),
            (most_per_presentity, Counted::Resource(resource), Cap::Presentity),
        ] {
            let enough = most.saturating_add(replaced);
            if most > 0 && self.subscriptions.count(of, enough)? >= enough {
                return Err(Refusal::TooMany(cap));
            }
        }
        Ok(())
    }

    fn subscribe_in_dialog(
        &mut self,
        request: &Subscribe<'_>,
        package: &Package,
        params: &[u8],
        expires: Seconds,
    ) -> Outcome {
        let known = self.subscriptions.find(request.dialog)?.ok_or(Refusal::NoSubscription)?;
        let same_id = known.event_id() == crate::subscription::event_id(params);
        if known.package != package.id || !same_id {
            // DIFFERS: the C module answers 500 to another package in a known dialog (RFC 6665 4.2.1.2 wants 481).
            return Err(Refusal::NoSubscription);
        }
        let ends = expires == Seconds(0);
        if !ends {
            self.check_accept(request, package)?;
        }
        self.host.check_request(package.id, false)?;
        let resource = Resource { uri: &known.presentity, package: package.id };
        let renewal =
            Renewal { remote_cseq: request.cseq, expires: self.host.now().unix + expires, contact: request.contact };
        self.make_room_to_tell_of_watcher(resource)?;
        let token = match if ends {
            self.subscriptions.close(request.dialog, &renewal)
        } else {
            self.subscriptions.renew(request.dialog, &renewal)
        } {
            Ok(token) => token,
            Err(Rejected::Unknown) => return Err(Refusal::NoSubscription),
            Err(Rejected::OldCseq) if self.host.config().strict => return Err(Refusal::OutOfOrder),
            Err(Rejected::OldCseq) => return Err(Refusal::BadRequest),
            Err(Rejected::Refused(refusal)) => return Err(refusal),
        };
        if self.host.config().expire_on_close {
            let what = Tied::Subscription(request.dialog);
            if ends { self.host.untie(&what) } else { self.host.tie(&what, renewal.expires) }
        }
        let now_known = self.subscriptions.of_token(token).unwrap_or_else(|| known.clone());
        // As the C module shows it to the script: with the numbers of the NOTIFY that follows.
        let (local_cseq, version) = (now_known.local_cseq.wrapping_add(1), now_known.version.wrapping_add(1));
        self.accept(request, package, expires);
        self.tell_of_watcher(resource, (!ends).then_some(&now_known));
        if ends || self.notifies_at_once(package) {
            self.tell(token, resource);
        }
        Ok(Subscription { remote_cseq: request.cseq, local_cseq, version, ..now_known })
    }

    /// Whether the watcher takes the documents of a package (`rfc_strict`). Who leaves is let go.
    fn check_accept(&self, request: &Subscribe<'_>, package: &Package) -> Result<(), Refusal> {
        let accepts = |accept| media::accepts(accept, &package.content_type);
        if !self.host.config().strict || request.accept.is_none_or(accepts) {
            return Ok(());
        }
        Err(Refusal::NotAcceptable(package.id))
    }

    /// `send_fast_notify` 0 keeps back the NOTIFY after a SUBSCRIBE, but for packages with watcher information, which
    /// the C module does not keep back either.
    fn notifies_at_once(&self, package: &Package) -> bool {
        self.host.config().fast_notify || package.peer.is_some() && package.kind == Kind::Published
    }

    fn accept(&mut self, request: &Subscribe<'_>, package: &Package, expires: Seconds) {
        let code = match package.kind {
            Kind::Published => self.host.config().accepted_code,
            Kind::WatcherInfo => 200,
        };
        let headers = render::subscribe_reply(expires.0, request.local_contact, request.transport);
        self.host.reply((code, c"OK"), &headers);
    }
}

/// The Event parameters that belong to the subscription, not to the package's name, as they are echoed.
fn own_params(package: &Package, params: &[crate::event::Param<'_>]) -> Vec<u8> {
    let of_package = |name: &[u8]| {
        package
            .name
            .split(|&b| b == b';')
            .skip(1)
            .any(|p| p.split(|&b| b == b'=').next().is_some_and(|n| n.eq_ignore_ascii_case(name)))
    };
    let mut text = Vec::new();
    params.iter().filter(|p| !of_package(p.name)).for_each(|param| param.push(&mut text));
    text
}

fn texts_of(request: &Subscribe<'_>, params: &[u8], with_instance: bool) -> Result<Texts, Refusal> {
    Texts::pack(&[
        (Field::ToUser, request.to.user),
        (Field::ToDomain, request.to.host),
        (Field::FromUser, request.from.user),
        (Field::FromDomain, request.from.host),
        (Field::WatcherUser, request.watcher.user),
        (Field::WatcherDomain, request.watcher.host),
        (Field::EventParams, params),
        (Field::ToTag, request.dialog.to_tag),
        (Field::FromTag, request.dialog.from_tag),
        (Field::CallId, request.dialog.call_id),
        (Field::Socket, request.socket),
        (Field::Contact, request.contact),
        (Field::LocalContact, request.local_contact),
        (Field::RecordRoute, request.record_route),
        (Field::UserAgent, request.user_agent),
        (Field::Instance, if with_instance { request.instance } else { b"" }),
    ])
    .map_err(|_| Refusal::BadRequest)
}
