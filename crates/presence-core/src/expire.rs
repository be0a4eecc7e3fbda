//! What runs out: bounded steps, called by a timer.

use crate::body;
use crate::host::{Expired, Host, Publications, Resource, Shown, Subscriptions};
use crate::package::{Family, PackageId};
use crate::server::Server;
use crate::time::Seconds;

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
        let reaps = self.host.config().dialog_max_age > Seconds(0);
        let has_calls = |package: PackageId| {
            reaps && packages.get(usize::from(package.0)).is_some_and(|p| p.family == Family::Dialog)
        };
        let Ok(over) = self.publications.expire(STEP, &has_calls) else { return false };
        for Expired { uri, package, shown } in &over {
            let resource = Resource { uri, package: *package };
            // A lamp goes out where its dialog is said to be over, and not where nothing is said any more.
            let over = |shown: &Shown| Some(Shown { body: body::dialogs_over(&shown.body, uri)?, ..shown.clone() });
            let gone = shown.as_ref().and_then(over);
            let has_spheres = packages.get(usize::from(package.0)).is_some_and(|p| self.has_spheres(p));
            let affected = if has_spheres { self.decide_again(resource) } else { Vec::new() };
            if !self.host.config().delete_without_notify {
                self.fan_out(resource, gone.as_ref(), b"");
            }
            self.tell_of_decisions(resource, affected);
        }
        over.len() == STEP
    }
}
