//! The server: requests in, replies and NOTIFYs out. Its journeys are one file each: [`crate::subscribe`],
//! [`crate::publish`], [`crate::notify`], [`crate::expire`].

use crate::event::Event;
use crate::host::{Host, Publications, Resource, Subscriptions};
use crate::package::Package;
use crate::refusal::Refusal;

/// The surroundings, the book of subscriptions and the shelf of publications, together for one input.
#[derive(Debug)]
pub struct Server<'s, H, S: ?Sized, P: ?Sized> {
    /// The surroundings.
    pub host: &'s mut H,
    /// The subscriptions.
    pub subscriptions: &'s mut S,
    /// The publications.
    pub publications: &'s mut P,
}

impl<H: Host, S: Subscriptions + ?Sized, P: Publications + ?Sized> Server<'_, H, S, P> {
    /// The resource that is about the watchers of this one.
    pub(crate) fn watcher_info<'r>(&self, watched: Resource<'r>) -> Option<Resource<'r>> {
        let packages = self.host.packages();
        let package = watched.package.of(&packages).filter(|p| !p.is_winfo())?.peer?;
        Some(Resource { uri: watched.uri, package })
    }
}

/// The package that a request with this Event header field is for: of those that accept it the most specific.
pub fn find_package<'p, 'e>(
    packages: &'p [Package],
    event: Option<&'e [u8]>,
) -> Result<(&'p Package, Event<'e>), Refusal> {
    let text = event.filter(|text| !text.trim_ascii().is_empty()).ok_or(Refusal::BadEvent)?;
    let event = Event::parse(text).map_err(|_| Refusal::BadRequest)?;
    let package = packages.iter().filter(|p| p.accepts(&event)).max_by_key(|p| p.specificity());
    Ok((package.ok_or(Refusal::BadEvent)?, event))
}

/// The names of all packages, for Allow-Events: the last registered first, as the C module lists them.
#[must_use]
pub fn allow_events(packages: &[Package]) -> Vec<u8> {
    let names: Vec<&[u8]> = packages.iter().rev().map(|p| p.name.as_slice()).collect();
    names.join(&b", "[..])
}
