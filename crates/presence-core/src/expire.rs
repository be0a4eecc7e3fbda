//! What runs out: bounded steps, called by a timer.

use crate::body;
use crate::host::{Expired, Host, Publications, Resource, Shown, Subscriptions, Tied};
use crate::notify::News;
use crate::package::{Family, Package, PackageId};
use crate::server::Server;

/// How many records one step takes.
pub const STEP: usize = 64;

impl<H: Host, S: Subscriptions + ?Sized, P: Publications + ?Sized> Server<'_, H, S, P> {
    /// Ends a few subscriptions that ran out. False when there are none left.
    pub fn expire_subscriptions(&mut self) -> bool {
        let Ok(over) = self.subscriptions.expire(STEP) else { return false };
        for (token, subscription) in &over {
            let resource = Resource { uri: &subscription.presentity, package: subscription.package };
            self.tell(*token, resource);
            // DIFFERS: the C module does not tell the watchers of watchers (RFC 3857 4.7.1).
            self.tell_of_watcher(resource, None);
        }
        over.len() == STEP
    }

    /// Removes a few publications that ran out and tells those who watch. False when there are none left.
    pub fn expire_publications(&mut self) -> bool {
        let packages = self.host.packages();
        let reaps = self.host.config().ends_dialogs();
        let has_calls = |package: PackageId| reaps && is_of_dialogs(&packages, package);
        let subscriptions = &mut self.subscriptions;
        let mut ready = |resource: Resource<'_>| subscriptions.make_room(resource).is_ok();
        let Ok(over) = self.publications.expire(STEP, &has_calls, &mut ready) else { return false };
        for Expired { uri, package, shown } in &over {
            // A lamp goes out where its dialog is said to be over, and not where nothing is said any more.
            let gone = shown.as_ref().and_then(|shown| dialogs_over(shown, uri));
            self.tell_of_loss(Resource { uri, package: *package }, gone.map_or(News::Unread, News::Gone));
        }
        over.len() == STEP
    }

    /// The connection is gone that something came by (`expire_on_close`). What cannot be ended now runs out by itself.
    pub fn cut(&mut self, what: &Tied<'_>) {
        match *what {
            Tied::Subscription(dialog) => {
                let Ok(Some(known)) = self.subscriptions.find(dialog) else { return };
                // Without a NOTIFY: there is no way to the phone any more.
                if self.subscriptions.forget(dialog).unwrap_or(false) {
                    self.tell_of_watcher(Resource { uri: &known.presentity, package: known.package }, None);
                }
            }
            Tied::Publication(resource, etag) => {
                let Ok(shown) = self.publications.remove(resource, etag) else { return };
                let gone = self.taken_away(resource, shown);
                self.tell_of_loss(resource, News::Gone(gone));
            }
        }
    }

    /// What is shown of a publication that was taken away: that its dialogs are over. (Of other packages the package
    /// itself makes something of the document.)
    // DIFFERS: with the C module `presence_dialoginfo` shows the document once more as it was, and the lamp stays on.
    pub(crate) fn taken_away(&self, resource: Resource<'_>, shown: Shown) -> Shown {
        let is_of_dialogs = is_of_dialogs(&self.host.packages(), resource.package);
        let over = if is_of_dialogs { dialogs_over(&shown, resource.uri) } else { None };
        over.unwrap_or(shown)
    }

    /// A publication is gone that its publisher did not take away.
    fn tell_of_loss(&mut self, resource: Resource<'_>, news: News) {
        let packages = self.host.packages();
        let has_spheres = resource.package.of(&packages).is_some_and(|p| self.has_spheres(p));
        let affected = if has_spheres { self.decide_again(resource) } else { Vec::new() };
        if !self.host.config().delete_without_notify {
            self.fan_out(resource, &news, b"");
        }
        self.tell_of_decisions(resource, affected);
    }
}

fn is_of_dialogs(packages: &[Package], package: PackageId) -> bool {
    package.of(packages).is_some_and(|p| p.family == Family::Dialog)
}

/// The same publication, saying of its dialogs that they are over. None if they were.
fn dialogs_over(shown: &Shown, uri: &[u8]) -> Option<Shown> {
    Some(Shown { body: body::dialogs_over(&shown.body, uri)?, ..shown.clone() })
}
