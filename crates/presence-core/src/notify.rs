//! NOTIFY: who is told what, and what follows from the answer (RFC 6665 4.2.2).

use crate::body::empty_dialog_info;
use crate::host::{
    Content, Decision, Due, Host, Landing, Line, Notice, Postponed, Publications, Request, Resource, Sent, Shown,
    Subscriptions, Token, Version,
};
use crate::outcome::{self, Answer};
use crate::package::{Family, Package, PackageId, name_of};
use crate::refusal::{Exhausted, Fault};
use crate::server::Server;
use crate::status::Status;
use crate::subscription::{Field, Subscription, Texts};
use crate::time::{Seconds, Timestamp};
use crate::winfo::{self, Extent, Watcher};

/// How many NOTIFYs of one dialog may fail to leave, one after the other, before the rest is left to the timer.
const UNSENT_IN_A_ROW: usize = 4;

/// After how many changes or dialogs in a row that cannot be told, because something cannot be read or written, the rest is
/// left for later.
const UNTOLD_IN_A_ROW: usize = 4;

/// Watchers whom a worker tells of a change, which takes a few milliseconds; the others are told by somebody else, so that it
/// can take the next request.
const BY_WORKER: usize = 128;
/// Watchers whom somebody else tells before it looks at what else there is to do.
const AT_A_TIME: usize = 512;

/// A document, and the version of the state that it shows at least.
struct Document {
    version: Version,
    body: Option<Vec<u8>>,
}

/// What is known of a change before it is told.
pub(crate) enum News {
    /// Nothing: the state has to be read.
    Unread,
    /// This publication was taken away: it is shown as gone.
    Gone(Shown),
    /// This one was written, and the version was that before.
    Written(Shown, Version),
}

/// The document that was read last, for others who are told of the same state.
struct LastRead {
    uri: Vec<u8>,
    package: PackageId,
    saw_before: bool,
    document: Document,
}

/// What is known of the watchers, for watcher information documents.
struct WatcherList {
    changed: Option<Watcher>,
    all: Option<Vec<Watcher>>,
}

impl<H: Host, S: Subscriptions + ?Sized, P: Publications + ?Sized> Server<'_, H, S, P> {
    /// Sends the NOTIFY that is owed to a subscription, if it still is and none is under way.
    pub fn tell(&mut self, token: Token, resource: Resource<'_>) {
        // Logged by the shelf or the book. The NOTIFY stays owed: the timer tries again.
        let _ = self.tell_one_of_many(token, resource, &mut None);
    }

    fn tell_one_of_many(
        &mut self,
        token: Token,
        resource: Resource<'_>,
        last: &mut Option<LastRead>,
    ) -> Result<(), Fault> {
        for _ in 0..UNSENT_IN_A_ROW {
            let Some(due) = self.subscriptions.due(token) else { return Ok(()) };
            let none;
            let document = if due.sees_state {
                self.document_again(resource, &due, last)?
            } else {
                none = Document { version: self.subscriptions.version(resource), body: None };
                &none
            };
            // None any more, or one about a newer version than the document's.
            let Some(notice) = self.subscriptions.owed(token, document.version, due.last_cseq)? else { continue };
            let mut watchers = WatcherList { changed: None, all: None };
            if !self.send(&notice, document.body.as_deref(), &mut watchers) {
                break;
            }
        }
        Ok(())
    }

    /// The state of a resource changed: tells everybody. What fails is tried again later.
    pub(crate) fn fan_out(&mut self, resource: Resource<'_>, news: &News, except: &[u8]) {
        if self.try_fan_out(resource, news, except).is_err() {
            self.subscriptions.postpone(resource);
        }
    }

    fn try_fan_out(&mut self, resource: Resource<'_>, news: &News, except: &[u8]) -> Result<(), Fault> {
        if self.subscriptions.changed(resource)?.is_none() {
            return Ok(());
        }
        let document = |server: &mut Self| match news {
            News::Gone(gone) => server.document_after(resource, gone),
            News::Written(written, before) => server.document_with(resource, written, *before),
            News::Unread => server.document(resource, b"", false),
        };
        // One who is not told is named with the request.
        let most = if except.is_empty() { BY_WORKER } else { usize::MAX };
        let has_read = self.tell_all(resource, document, except, None, most)?;
        if let (false, News::Gone(gone)) = (has_read, news) {
            // Those who have a NOTIFY on its way see the removal with the next one.
            self.document_after(resource, gone)?;
        }
        Ok(())
    }

    /// Tells of changes that could not be told when they came, or not to all, until a few in a row cannot be told again.
    /// False if nothing is left for now.
    pub fn tell_postponed(&mut self, budget: usize) -> bool {
        let mut failures = 0;
        for _ in 0..budget {
            let Some(Postponed { uri, package, is_rest }) = self.subscriptions.postponed() else { return false };
            let resource = Resource { uri: &uri, package };
            let told = if is_rest {
                // The version is the same, and so is the document.
                let document = |server: &mut Self| server.document(resource, b"", true);
                self.tell_all(resource, document, b"", None, AT_A_TIME).map(drop)
            } else {
                self.try_fan_out(resource, &News::Unread, b"")
            };
            if told.is_ok() {
                failures = 0;
                continue;
            }
            self.subscriptions.postpone(resource);
            failures += 1;
            if failures == UNTOLD_IN_A_ROW {
                return false;
            }
        }
        true
    }

    /// The watchers of a resource are about to change: makes room, so that those who watch them can be told.
    pub(crate) fn make_room_to_tell_of_watcher(&mut self, watched: Resource<'_>) -> Result<(), Exhausted> {
        self.watcher_info(watched).map_or(Ok(()), |resource| self.subscriptions.make_room(resource))
    }

    /// The watchers of a resource changed: tells those who watch them. `changed` is the one that did; none for one
    /// that left.
    pub(crate) fn tell_of_watcher(&mut self, watched: Resource<'_>, changed: Option<&Subscription>) {
        let Some(resource) = self.watcher_info(watched) else { return };
        let told = match self.subscriptions.changed(resource) {
            Ok(Some(version)) => {
                let no_state = |_: &mut Self| Ok(Document { version, body: None });
                self.tell_all(resource, no_state, b"", changed.map(Watcher::of), usize::MAX).map(drop)
            }
            Ok(None) => Ok(()),
            Err(fault) => Err(fault),
        };
        if told.is_err() {
            self.subscriptions.postpone(resource);
        }
    }

    /// Tells those who stand in line, or `most` of them and hands the rest over. Whether the state had to be read for that.
    fn tell_all(
        &mut self,
        resource: Resource<'_>,
        mut read: impl FnMut(&mut Self) -> Result<Document, Fault>,
        except: &[u8],
        changed: Option<Watcher>,
        most: usize,
    ) -> Result<bool, Fault> {
        let mut watchers = WatcherList { changed, all: None };
        let mut told = 0;
        let mut document: Option<Document> = None;
        let mut batch = Vec::new();
        loop {
            let line = self.subscriptions.line_up(resource, except)?;
            let known = match document.take() {
                known if line == Line::Nobody => return Ok(known.is_some()),
                Some(known) if line == Line::InMemory => known,
                // Whoever brings a newer version tells the rest of those who watch.
                Some(known) => Document { version: known.version, ..read(self)? },
                None => read(self)?,
            };
            batch.clear();
            self.subscriptions.claim(resource, known.version, except, &mut batch)?;
            if batch.is_empty() && line == Line::InMemory {
                return Ok(true);
            }
            told += batch.len();
            for notice in batch.drain(..) {
                if self.send(&notice, known.body.as_deref(), &mut watchers) {
                    self.tell(notice.token, resource);
                }
            }
            if told >= most && line == Line::InMemory && self.subscriptions.hand_over(resource) {
                self.host.handed_over();
                return Ok(true);
            }
            document = Some(known);
        }
    }

    /// Sends one NOTIFY. True if it did not leave and another one is due in its dialog.
    fn send(&mut self, notice: &Notice, state: Option<&[u8]>, watchers: &mut WatcherList) -> bool {
        let subscription = &notice.subscription;
        let resource = Resource { uri: &subscription.presentity, package: subscription.package };
        let list;
        let body = match notice.content {
            Content::Nothing => &[][..],
            Content::State => state.unwrap_or_default(),
            Content::Watchers(extent) => {
                match self.watcher_document(resource, subscription.version, extent, watchers) {
                    Ok(document) => {
                        list = document;
                        &list[..]
                    }
                    Err(_) => &[],
                }
            }
        };
        match self.host.send(notice, body) {
            Sent::UnderWay => false,
            Sent::Dropped => self.subscriptions.landed(notice.token, Landing::Dropped).unwrap_or(false),
            Sent::Failed => self.subscriptions.landed(notice.token, Landing::Failed).unwrap_or(false),
            Sent::Unreachable => {
                let landing = self.unsent(notice);
                self.subscriptions.landed(notice.token, landing).unwrap_or(false)
            }
        }
    }

    /// What follows when there is no way to the watcher: with `notify_fail_max` that counts as an answer that refuses it.
    fn unsent(&mut self, notice: &Notice) -> Landing {
        if self.host.config().fail_max == 0 || notice.left == Seconds(0) {
            return Landing::Failed;
        }
        if let Some(after) = self.after_failure(notice.token) {
            return Landing::Again(None, after);
        }
        let subscription = &notice.subscription;
        let watched = Resource { uri: &subscription.presentity, package: subscription.package };
        if self.subscriptions.forget(subscription.texts.dialog()).unwrap_or(false) {
            // This may be in the middle of telling others: those who watch the watchers are told when that is over.
            if let Some(resource) = self.watcher_info(watched) {
                self.subscriptions.postpone(resource);
            }
        }
        Landing::Dropped
    }

    /// A NOTIFY failed (`notify_fail_max`): after how many milliseconds it is tried again, the longer the more have in a
    /// row. None if these are too many.
    fn after_failure(&mut self, token: Token) -> Option<u32> {
        let failures = self.subscriptions.failed(token);
        let config = self.host.config();
        let first = u32::try_from(config.notify_hold).unwrap_or(u32::MAX);
        (failures < config.fail_max).then(|| first.saturating_mul(1 << failures.saturating_sub(1).min(4)))
    }

    fn watcher_document(
        &mut self,
        resource: Resource<'_>,
        version: u32,
        extent: Extent,
        list: &mut WatcherList,
    ) -> Result<Vec<u8>, Fault> {
        let packages = self.host.packages();
        let package = resource.package.of(&packages).and_then(|p| p.peer).ok_or(Fault::Package)?;
        let watched = Resource { uri: resource.uri, package };
        let package = name_of(&packages, package);
        if let (Extent::Partial, Some(changed)) = (extent, &list.changed) {
            return Ok(winfo::document(version, extent, resource.uri, package, core::slice::from_ref(changed)));
        }
        if list.all.is_none() {
            let mut all = self.subscriptions.watchers(watched)?;
            for waiting in self.host.waiting_watchers(watched)? {
                if !all.iter().any(|w| w.uri == waiting.uri) {
                    all.push(waiting);
                }
            }
            list.all = Some(all);
        }
        let all = list.all.as_deref().unwrap_or_default();
        Ok(winfo::document(version, Extent::Full, resource.uri, package, all))
    }

    /// The document for a watcher: the one that was read last if it fits. Not with the table alone, where the state has
    /// to be read after the watcher's row, and not for shared lines, where each watcher has another one.
    fn document_again<'l>(
        &mut self,
        resource: Resource<'_>,
        due: &Due,
        last: &'l mut Option<LastRead>,
    ) -> Result<&'l Document, Fault> {
        let version = self.subscriptions.version(resource);
        let fits = |known: &LastRead| {
            let same = known.uri == resource.uri && known.package == resource.package;
            same && known.saw_before == due.saw_before && known.document.version == version
        };
        let one_for_all = self.host.config().subs.in_memory()
            && resource.package.of(&self.host.packages()).is_some_and(|p| p.family != Family::SharedLine);
        let known = match last.take().filter(|known| one_for_all && fits(known)) {
            Some(known) => known,
            None => LastRead {
                uri: resource.uri.to_vec(),
                package: resource.package,
                saw_before: due.saw_before,
                document: self.document(resource, &due.contact, due.saw_before)?,
            },
        };
        Ok(&last.insert(known).document)
    }

    /// The document of a resource as it stands. `transitional`: or, while the version stands, the one that those are
    /// told who saw what was before. `contact` matters to shared lines: a watcher is not shown its own state.
    fn document(&mut self, resource: Resource<'_>, contact: &[u8], transitional: bool) -> Result<Document, Fault> {
        let version = self.subscriptions.version(resource);
        let packages = self.host.packages();
        let package = resource.package.of(&packages).filter(|p| !p.is_winfo());
        let Some(package @ &Package { aggregates, .. }) = package else { return Ok(Document { version, body: None }) };
        if aggregates {
            let steady = !transitional;
            if let Some(body) = self.subscriptions.cached(resource, version, steady) {
                return Ok(Document { version, body: Some(body) });
            }
        }
        let publications = self.publications.all(resource)?;
        let body = self.combine(resource, package, &publications, contact);
        if let (true, true, Some(body)) = (aggregates, self.publications.is_exclusive(), &body) {
            let until = publications.iter().map(|p| p.expires).min().unwrap_or(Timestamp(u32::MAX));
            self.subscriptions.cache(resource, version, Some(until), body);
        }
        Ok(Document { version, body })
    }

    /// The document after this publication was written. It is not read again if it is the only one, and this was the only
    /// change since the version was `before`: whoever writes later has a higher version, and brings that.
    fn document_with(&mut self, resource: Resource<'_>, written: &Shown, before: Version) -> Result<Document, Fault> {
        let version = self.subscriptions.version(resource);
        let packages = self.host.packages();
        match resource.package.of(&packages) {
            Some(package) if version == before.next() && self.publications.is_only(resource) => {
                let body = self.combine(resource, package, core::slice::from_ref(written), b"");
                Ok(Document { version, body })
            }
            _ => self.document(resource, b"", false),
        }
    }

    /// What a resource with these publications shows to a watcher with this Contact.
    fn combine(
        &mut self,
        resource: Resource<'_>,
        package: &Package,
        publications: &[Shown],
        contact: &[u8],
    ) -> Option<Vec<u8>> {
        if package.aggregates {
            return self.aggregate(resource, publications, None);
        }
        let is_line = package.family == Family::SharedLine;
        match publications.last() {
            Some(last) if is_line && is_own(&last.sender, contact) => Some(empty_dialog_info(resource.uri)),
            Some(last) => Some(last.body.clone()),
            // What is said of a line that had a call which nobody ended.
            None if is_line && self.host.config().ends_dialogs() => Some(empty_dialog_info(resource.uri)),
            None => None,
        }
    }

    /// The document for those who saw a publication that was just removed: it is shown as gone.
    fn document_after(&mut self, resource: Resource<'_>, gone: &Shown) -> Result<Document, Fault> {
        if !resource.package.of(&self.host.packages()).is_some_and(|p| p.aggregates) {
            return self.document(resource, b"", false);
        }
        let version = self.subscriptions.version(resource);
        let mut publications = self.publications.all(resource)?;
        let place = publications.partition_point(|p| p.received < gone.received);
        publications.insert(place, gone.clone());
        let body = self.aggregate(resource, &publications, Some(place));
        if let Some(body) = &body {
            self.subscriptions.cache(resource, version, None, body);
        }
        Ok(Document { version, body })
    }

    fn aggregate(&mut self, resource: Resource<'_>, of: &[Shown], gone: Option<usize>) -> Option<Vec<u8>> {
        let documents: Vec<&[u8]> = of.iter().map(|p| p.body.as_slice()).collect();
        self.host.aggregate(resource, &documents, gone)
    }

    /// A NOTIFY was answered, or nobody did (408). `give_up`: the script wants the subscription removed.
    pub fn completed(&mut self, token: Token, answer: Answer, give_up: bool) {
        let Some(subscription) = self.subscriptions.of_token(token) else { return };
        let resource = Resource { uri: &subscription.presentity, package: subscription.package };
        let config = self.host.config();
        let counts = config.fail_max > 0 && !answer.is_success();
        let silent = answer.code == 408 && config.remove_on_timeout && subscription.status != Status::Terminated;
        let mut over = give_up || answer.ends() || silent && !counts;
        let mut again = if answer.is_success() { None } else { answer.retry_after.map(outcome::patience) };
        if counts && !over {
            match self.after_failure(token) {
                Some(after) => again = again.or(Some(after)),
                None => over = true,
            }
        }
        if over && self.subscriptions.forget(subscription.texts.dialog()).unwrap_or(false) {
            // DIFFERS: the C module does not tell the watchers of watchers (RFC 3857 4.7.1).
            self.tell_of_watcher(resource, None);
        }
        let landing = match again {
            Some(after) if !over => Landing::Again(Some(answer.code), after),
            _ => Landing::Answered(answer.code),
        };
        if self.subscriptions.landed(token, landing).unwrap_or(false) {
            self.tell(token, resource);
        }
    }

    /// Goes on with dialogs whose last NOTIFY was not answered in time (`notify_hold_time`).
    pub fn go_on_with_overdue(&mut self, budget: usize) {
        let (mut last, mut failures) = (None, 0);
        for token in self.subscriptions.overdue(budget) {
            let Some(subscription) = self.subscriptions.of_token(token) else { continue };
            let resource = Resource { uri: &subscription.presentity, package: subscription.package };
            let told = self.tell_one_of_many(token, resource, &mut last);
            failures = if told.is_ok() { 0 } else { failures + 1 };
            if failures == UNTOLD_IN_A_ROW {
                // Whoever is left is overdue again a little later.
                return;
            }
        }
    }

    /// The document of a resource, as a watcher with this Contact would get it.
    pub fn show(&mut self, resource: Resource<'_>, contact: &[u8]) -> Result<Option<Vec<u8>>, Fault> {
        Ok(self.document(resource, contact, false)?.body)
    }

    /// A watcher's authorisation changed: tells it, and those who watch the watchers.
    pub fn authorisation_changed(&mut self, resource: Resource<'_>, decision: &Decision) {
        let affected = self.apply(resource, decision);
        self.tell_of_decisions(resource, affected);
    }

    /// Asks the rules of a presentity again about its watchers. Gives the subscriptions that are affected, who are still
    /// to be told: with a new state, if there is one.
    pub(crate) fn decide_again(&mut self, resource: Resource<'_>) -> Vec<Token> {
        let decisions = self.host.decide_again(resource);
        decisions.iter().flat_map(|decision| self.apply(resource, decision)).collect()
    }

    /// The subscriptions that a decision affects.
    fn apply(&mut self, resource: Resource<'_>, decision: &Decision) -> Vec<Token> {
        let Decision { watcher_user, watcher_domain, authorisation } = decision;
        let Ok(texts) = Texts::pack(&[]) else { return Vec::new() };
        let request = Request { resource, watcher_user, watcher_domain, texts: &texts };
        self.subscriptions.set_status(&request, authorisation).unwrap_or_default()
    }

    /// Tells subscriptions whose authorisation changed, unless they were told since, and those who watch the watchers.
    pub(crate) fn tell_of_decisions(&mut self, resource: Resource<'_>, affected: Vec<Token>) {
        for token in affected {
            let subscription = self.subscriptions.of_token(token);
            self.tell(token, resource);
            self.tell_of_watcher(resource, subscription.as_ref());
        }
    }

    /// Tells everybody again: the state was changed behind the server's back (`pres_refresh_watchers`).
    pub fn refresh(&mut self, uri: &[u8], package: PackageId) {
        self.fan_out(Resource { uri, package }, &News::Unread, b"");
    }
}

/// Whether a shared line's last publication came from this watcher.
fn is_own(sender: &[u8], contact: &[u8]) -> bool {
    !sender.is_empty() && sender == contact
}

impl Watcher {
    /// The watcher of a subscription.
    #[must_use]
    pub fn of(subscription: &Subscription) -> Self {
        Self {
            id: subscription.text(Field::CallId).to_vec(),
            uri: crate::uri::sip_uri(subscription.text(Field::WatcherUser), subscription.text(Field::WatcherDomain)),
            status: subscription.status,
        }
    }
}
