//! Arguments `name=value` behind those that the C module knows: which entries of a list are meant.

use super::Fault;
use crate::abi::packages;
use kamailio::rpc::Call;
use kamailio::str::show_start;
use presence_core::package::PackageId;
use presence_core::store::listing::Place;
use presence_core::uri::split_sip_uri;

/// A filter's name, as an operator writes it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Name {
    /// `watcher=sip:user@host`, with or without `sip:`.
    Watcher,
    /// `event=package`.
    Event,
    /// `callid=text`.
    CallId,
    /// `limit=number`: so many entries at most.
    Limit,
    /// `after=place`: go on behind the entry with this `place`.
    After,
}

const NAMES: [(&[u8], Name); 5] = [
    (b"watcher", Name::Watcher),
    (b"event", Name::Event),
    (b"callid", Name::CallId),
    (b"limit", Name::Limit),
    (b"after", Name::After),
];

/// What was asked for.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Filters {
    /// User and host of the watcher.
    pub watcher: Option<(Vec<u8>, Vec<u8>)>,
    /// The package.
    pub package: Option<PackageId>,
    /// The Call-ID.
    pub call_id: Option<Vec<u8>>,
    /// The largest number of entries.
    pub limit: Option<u32>,
    /// The place to go on behind.
    pub after: Place,
}

impl Filters {
    /// Reads all arguments that are left, behind one that was read already; of the filters only those that this list
    /// `knows`.
    pub fn read(call: &Call, first: Option<Vec<u8>>, knows: &[Name]) -> Result<Self, Fault> {
        let mut filters = Self::default();
        for argument in first.into_iter().chain(core::iter::from_fn(|| call.word())) {
            let mut parts = argument.splitn(2, |&b| b == b'=');
            let name = parts.next().unwrap_or_default();
            let known = NAMES.iter().find(|(text, _)| *text == name).map(|(_, name)| *name);
            let (Some(known), Some(value)) = (known.filter(|known| knows.contains(known)), parts.next()) else {
                return Err(format!("Unknown filter: {}", show_start(&argument)).into());
            };
            filters.set(known, value).ok_or_else(|| format!("Bad value of a filter: {}", show_start(&argument)))?;
        }
        // What is no word may still be something: an interface takes anything for a number.
        if call.number().is_some() {
            return Err("Unknown filter".into());
        }
        Ok(filters)
    }

    fn set(&mut self, name: Name, value: &[u8]) -> Option<()> {
        match name {
            Name::Watcher => {
                let (user, host) = split_sip_uri(value);
                self.watcher = Some((user.to_vec(), Some(host).filter(|h| !h.is_empty())?.to_vec()));
            }
            Name::Event => self.package = Some(packages::by_name(value)?),
            Name::CallId => self.call_id = Some(Some(value).filter(|v| !v.is_empty())?.to_vec()),
            Name::Limit => self.limit = Some(number(value).filter(|&n| n > 0)?),
            Name::After => self.after = number(value)?,
        }
        Some(())
    }
}

fn number(value: &[u8]) -> Option<u32> {
    core::str::from_utf8(value).ok()?.parse::<i32>().ok()?.try_into().ok()
}
