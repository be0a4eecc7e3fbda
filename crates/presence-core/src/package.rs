//! Event packages, as the core sees them. Their functions are behind the host's traits.

use crate::event::{Event, Param};

/// Number of a package in the order of registration; the same in all processes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash, PartialOrd, Ord, Default)]
pub struct PackageId(pub u8);

/// What kind of state a package notifies.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// Published documents.
    Published,
    /// The watchers of another package (RFC 3857).
    WatcherInfo,
}

/// What Kamailio's parser calls the type of an event; the hybrid index of publications and the C interface use it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Family {
    /// `presence`.
    Presence,
    /// `dialog` without a line-sharing parameter.
    Dialog,
    /// `dialog;sla` or `dialog;ma`: bridged line appearance.
    SharedLine,
    /// Any other.
    Other,
}

/// A registered package.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Package {
    /// Its number.
    pub id: PackageId,
    /// Its name with the parameters that belong to it ("dialog;sla").
    pub name: Vec<u8>,
    /// Its kind.
    pub kind: Kind,
    /// Its family.
    pub family: Family,
    /// The type of its documents.
    pub content_type: Vec<u8>,
    /// Expires where a request has none.
    pub default_expires: u32,
    /// A change of a publication keeps the entity-tag.
    pub keeps_etag: bool,
    /// Watchers need an authorisation.
    pub needs_auth: bool,
    /// Several publications are combined into one document.
    pub aggregates: bool,
    /// Each watcher gets a document of its own (a version number in it, say).
    pub per_watcher: bool,
    /// The package that notifies about the watchers of this one, or the other way round.
    pub peer: Option<PackageId>,
}

impl Package {
    /// Whether a request with this Event header field is for this package: the same name, and all parameters that
    /// are part of the package's name. Other parameters belong to the subscription (RFC 6665 8.2.1).
    #[must_use]
    pub fn accepts(&self, event: &Event<'_>) -> bool {
        let (name, params) = match self.name.iter().position(|&b| b == b';') {
            Some(end) => (&self.name[..end], &self.name[end..]),
            None => (self.name.as_slice(), &[][..]),
        };
        // Names first: nearly all packages end here.
        name.eq_ignore_ascii_case(event.name)
            && (params.is_empty()
                || Event::parse(&self.name).is_ok_and(|own| own.params.iter().all(|p| has(&event.params, p))))
    }

    /// How many parameters its name has: the package with the most is the one that is meant.
    #[must_use]
    pub fn specificity(&self) -> usize {
        self.name.iter().filter(|&&b| b == b';').count()
    }

    /// Whether its state is the watchers of another package.
    #[must_use]
    pub fn is_winfo(&self) -> bool {
        self.kind == Kind::WatcherInfo
    }
}

impl PackageId {
    /// The package of this number; none for a number that none has.
    #[must_use]
    pub fn of(self, packages: &[Package]) -> Option<&Package> {
        packages.get(usize::from(self.0))
    }
}

/// The name of a package; empty for a number that none has.
#[must_use]
pub fn name_of(packages: &[Package], id: PackageId) -> &[u8] {
    id.of(packages).map(|p| p.name.as_slice()).unwrap_or_default()
}

/// The type of a package's documents; empty for a number that none has.
#[must_use]
pub fn type_of(packages: &[Package], id: PackageId) -> &[u8] {
    id.of(packages).map(|p| p.content_type.as_slice()).unwrap_or_default()
}

fn has(params: &[Param<'_>], wanted: &Param<'_>) -> bool {
    params.iter().any(|p| p.name.eq_ignore_ascii_case(wanted.name) && p.value == wanted.value)
}
