//! PUBLISH (RFC 3903 6). One door for requests, for other modules and for peers.

use crate::body;
use crate::etag::EntityTag;
use crate::host::{Change, Host, Publication, Publications, Resource, Shown, Subscriptions, Tied, Version};
use crate::media;
use crate::notify::News;
use crate::package::{Family, Package};
use crate::refusal::Refusal;
use crate::render;
use crate::server::{Server, find_package};
use crate::subscribe::Party;
use crate::time::{Seconds, Timestamp};
use crate::uri::sip_uri;

/// A PUBLISH, taken apart.
#[derive(Clone, Copy, Debug)]
pub struct Publish<'a> {
    /// The Event header field.
    pub event: Option<&'a [u8]>,
    /// The Expires header field.
    pub expires: Option<Seconds>,
    /// The Request-URI; none if it cannot be parsed.
    pub request_uri: Option<Party<'a>>,
    /// SIP-If-Match.
    pub if_match: Option<&'a [u8]>,
    /// How many header fields of that name there are.
    pub conditions: usize,
    /// Content-Type.
    pub content_type: Option<&'a [u8]>,
    /// The body; empty if there is none.
    pub body: &'a [u8],
    /// The URI that the script names as the sender, for shared lines.
    pub sender: Option<&'a [u8]>,
}

/// A publication on its way in, from whichever door.
#[derive(Clone, Copy, Debug)]
pub struct Incoming<'a> {
    /// Where it belongs.
    pub resource: Resource<'a>,
    /// The tag of the publication that it changes; none for a new one.
    pub old_etag: Option<&'a [u8]>,
    /// The tag that a new one shall have; none for a made one.
    pub given_etag: Option<&'a [u8]>,
    /// The document; empty if there is none.
    pub body: &'a [u8],
    /// The sender, for shared lines.
    pub sender: Option<&'a [u8]>,
    /// How long; zero removes; none for ever.
    pub lifetime: Option<Seconds>,
    /// A new one takes the place of one with the same tag.
    pub replace: bool,
}

/// What the watchers have to be told of.
struct NewState {
    news: News,
    /// Who published, for shared lines: it is not told itself.
    sender: Vec<u8>,
}

/// Committed and answered; none if there is nothing to tell.
type Told = Result<Option<NewState>, Refusal>;

impl<H: Host, S: Subscriptions + ?Sized, P: Publications + ?Sized> Server<'_, H, S, P> {
    /// Handles a PUBLISH. A refusal still has to be sent; otherwise the reply and the NOTIFYs have been.
    pub fn publish(&mut self, request: &Publish<'_>) -> Result<(), Refusal> {
        let packages = self.host.packages();
        let (package, _) = find_package(&packages, request.event)?;
        let config = self.host.config();
        let lifetime = config.published_expires(request.expires, Seconds(package.default_expires))?;
        let strict = config.strict;
        let uri = request.request_uri.ok_or(Refusal::BadRequest)?;
        if request.body.is_empty() && request.if_match.is_none() {
            return Err(Refusal::InvalidRequest);
        }
        if strict {
            check_form(request, package)?;
        }
        self.host.check_request(package.id, true)?;
        let uri = sip_uri(uri.user, uri.host);
        let resource = Resource { uri: &uri, package: package.id };
        let incoming = Incoming {
            resource,
            old_etag: request.if_match.map(crate::etag::from_header),
            given_etag: None,
            body: request.body,
            sender: request.sender,
            lifetime: Some(lifetime),
            replace: false,
        };
        self.take_in(&incoming, package, true)
    }

    /// A publication without a SIP request: from another module, or hard state.
    pub fn put(&mut self, incoming: &Incoming<'_>) -> Result<(), Refusal> {
        let packages = self.host.packages();
        let package = incoming.resource.package.of(&packages).ok_or(Refusal::BadEvent)?;
        self.take_in(incoming, package, false)
    }

    fn take_in(&mut self, incoming: &Incoming<'_>, package: &Package, reply: bool) -> Result<(), Refusal> {
        self.subscriptions.make_room(incoming.resource)?;
        let before = self.sphere(incoming.resource);
        let told = match (incoming.old_etag, incoming.lifetime) {
            (None, _) => self.add(incoming, package, reply)?,
            (Some(etag), Some(Seconds(0))) => self.remove(incoming, etag, reply)?,
            (Some(etag), _) => self.change(incoming, package, etag, reply)?,
        };
        let Some(NewState { news, sender }) = told else { return Ok(()) };
        // DIFFERS: the C module does so before it writes the publication, and then answers 500.
        let changed = self.sphere(incoming.resource) != before;
        let affected = if changed { self.decide_again(incoming.resource) } else { Vec::new() };
        self.fan_out(incoming.resource, &news, &sender);
        self.tell_of_decisions(incoming.resource, affected);
        Ok(())
    }

    /// Whether rules may ask for the sphere of a presentity (`enable_sphere_check`).
    pub(crate) fn has_spheres(&self, package: &Package) -> bool {
        self.host.config().spheres && package.family == Family::Presence && package.needs_auth
    }

    /// The sphere that a presentity published last, where rules may ask for it.
    pub fn sphere(&mut self, resource: Resource<'_>) -> Option<Vec<u8>> {
        let packages = self.host.packages();
        if !resource.package.of(&packages).is_some_and(|package| self.has_spheres(package)) {
            return None;
        }
        body::sphere(&self.publications.all(resource).ok()?.last()?.body)
    }

    fn add(&mut self, incoming: &Incoming<'_>, package: &Package, reply: bool) -> Told {
        let now = self.host.now().unix;
        let etag = match incoming.given_etag {
            Some(etag) => etag.to_vec(),
            None => EntityTag::first(self.host.random()).0,
        };
        let lifetime = self.granted(incoming.lifetime, package, incoming.body);
        if lifetime == Some(Seconds(0)) {
            // Over before it began: nothing to keep, nobody to tell.
            self.confirm(reply, Seconds(0), &etag);
            return Ok(None);
        }
        let publication = Publication {
            etag,
            body: incoming.body.to_vec(),
            sender: incoming.sender.unwrap_or_default().to_vec(),
            expires: end(now, lifetime),
            received: now,
            priority: self.host.priority(),
            // Those that are in no table need none.
            row_id: if self.publications.is_exclusive() { Vec::new() } else { self.host.row_id() },
        };
        // DIFFERS: the C module looks for the dialog first and inserts then, and a late "early" that comes without a tag
        // takes the place of "terminated".
        let about = if package.family == Family::Dialog { body::about(incoming.body) } else { None };
        let replace = incoming.replace || lifetime.is_none();
        let before = self.version_in_table(incoming.resource);
        self.publications.insert(incoming.resource, &publication, replace, about.as_ref())?;
        self.follow(incoming.resource, None, Some((&publication.etag, publication.expires)));
        self.confirm(reply, lifetime.unwrap_or_default(), &publication.etag);
        let sender = publication.sender.clone();
        let news = match before {
            // One that is about a dialog may have been put there with another document.
            Some(before) if about.is_none() => News::Written(publication.into(), before),
            _ => News::Unread,
        };
        Ok(Some(NewState { news, sender }))
    }

    fn remove(&mut self, incoming: &Incoming<'_>, etag: &[u8], reply: bool) -> Told {
        let gone = self.publications.remove(incoming.resource, etag)?;
        self.follow(incoming.resource, Some(etag), None);
        self.confirm(reply, Seconds(0), etag);
        let gone = self.taken_away(incoming.resource, gone);
        Ok(Some(NewState { news: News::Gone(gone), sender: incoming.sender.unwrap_or_default().to_vec() }))
    }

    fn change(&mut self, incoming: &Incoming<'_>, package: &Package, etag: &[u8], reply: bool) -> Told {
        let now = self.host.now().unix;
        let mut lifetime = incoming.lifetime;
        let mut body = (!incoming.body.is_empty()).then_some(incoming.body);
        if matches!(package.family, Family::Dialog | Family::SharedLine) {
            let old = self.publications.get(incoming.resource, etag)?.ok_or(Refusal::ConditionFailed)?;
            if package.family == Family::SharedLine && keeps_line(&old, incoming) {
                // Another appearance of the line has a dialog there: accepted, and not shown (draft-anil-sipping-bla).
                self.confirm(reply, lifetime.unwrap_or_default(), etag);
                return Ok(None);
            }
            // A late update is accepted, and not shown.
            body = body.filter(|new| package.family != Family::Dialog || !body::outlasts(&old.body, new));
            lifetime = self.granted(lifetime, package, body.unwrap_or(&old.body));
        }
        let about = if package.family == Family::Dialog { body.and_then(body::about) } else { None };
        let new_etag = if package.keeps_etag { etag.to_vec() } else { EntityTag::next(etag, self.host.random()).0 };
        let change = Change {
            etag: &new_etag,
            body,
            about: about.as_ref(),
            sender: incoming.sender,
            expires: end(now, lifetime),
            received: now,
            priority: self.host.priority(),
        };
        let before = self.version_in_table(incoming.resource);
        let is_new = self.publications.modify(incoming.resource, etag, &change)?;
        self.follow(incoming.resource, Some(etag), Some((&new_etag, change.expires)));
        self.confirm(reply, lifetime.unwrap_or_default(), &new_etag);
        // DIFFERS: the C module tells every watcher of a mere refresh; the state is the same (RFC 3903 6, step 6).
        Ok(is_new.then(|| {
            let sender = incoming.sender.unwrap_or_default().to_vec();
            let news = match (body, before) {
                // Who publishes a shared line may be known from before only.
                (Some(body), Some(before)) if package.family != Family::SharedLine => {
                    let (body, expires) = (body.to_vec(), change.expires);
                    News::Written(Shown { body, sender: sender.clone(), expires, received: now }, before)
                }
                _ => News::Unread,
            };
            NewState { news, sender }
        }))
    }

    /// The version before a publication is written to a table, where it counts all changes.
    fn version_in_table(&mut self, resource: Resource<'_>) -> Option<Version> {
        let counts_all = self.host.config().subs.in_memory() && !self.publications.is_exclusive();
        counts_all.then(|| self.subscriptions.version(resource))
    }

    /// A publication has another tag and another end: it goes with the connection that this came by (`expire_on_close`).
    fn follow(&mut self, resource: Resource<'_>, was: Option<&[u8]>, is: Option<(&[u8], Timestamp)>) {
        if !self.host.config().expire_on_close {
            return;
        }
        if let Some(was) = was {
            self.host.untie(&Tied::Publication(resource, was));
        }
        if let Some((is, until)) = is {
            self.host.tie(&Tied::Publication(resource, is), until);
        }
    }

    /// How long a publication with this document lasts: one that shows a confirmed dialog no longer than
    /// `dialog_max_age`. Its publisher is told so (RFC 3903 6, step 4: it may be less than was asked for), and one that is still
    /// there refreshes it in time.
    fn granted(&self, asked: Option<Seconds>, package: &Package, document: &[u8]) -> Option<Seconds> {
        let most = self.host.config().dialog_max_age;
        let is_bounded = most > Seconds(0) && matches!(package.family, Family::Dialog | Family::SharedLine);
        // Hard state has no end: nobody would refresh it.
        asked.map(|asked| if is_bounded && body::any_confirmed(document) { asked.min(most) } else { asked })
    }

    fn confirm(&mut self, reply: bool, lifetime: Seconds, etag: &[u8]) {
        if reply {
            let shown = lifetime.0.saturating_sub(self.host.config().expires_offset.0);
            self.host.reply((200, c"OK"), &render::publish_reply(shown, etag));
        }
    }
}

/// What only `rfc_strict` refuses: more than one entity-tag (RFC 3903 6, step 3), a document of another type (step 5).
fn check_form(request: &Publish<'_>, package: &Package) -> Result<(), Refusal> {
    if request.conditions > 1 || request.if_match.is_some_and(|tags| tags.contains(&b',')) {
        return Err(Refusal::InvalidRequest);
    }
    let given = request.content_type.unwrap_or_default();
    if !request.body.is_empty() && !media::is_same(given, &package.content_type) {
        return Err(Refusal::UnsupportedType(package.id));
    }
    Ok(())
}

fn end(now: Timestamp, lifetime: Option<Seconds>) -> Timestamp {
    lifetime.map_or(FOREVER, |lifetime| now + lifetime)
}

/// The end of hard state, which has none; -1 in the table.
pub const FOREVER: Timestamp = Timestamp(u32::MAX);

/// Whether a shared line keeps its document: it shows a dialog, the new one shows none, and comes from somebody else.
fn keeps_line(old: &Shown, incoming: &Incoming<'_>) -> bool {
    let has_dialog = |document: &[u8]| body::dialogs(document).is_ok_and(|d| !d.is_empty());
    let other = incoming.sender.is_some_and(|sender| sender != old.sender);
    other && !has_dialog(incoming.body) && has_dialog(&old.body)
}
