//! A list as an answer. The host keeps all of it until it is sent (on the C heap, not in its pools), so it has a limit.

use super::Outcome;
use core::ffi::CStr;
use kamailio::rpc::{Call, Struct};
use presence_core::refusal::Fault as StorageFault;
use presence_core::store::listing::{Page, Place};

/// Bytes of the largest answer, as `jsonrpcs` keeps it; `ctl` has a limit of its own, of some 16,000 entries.
const LARGEST: usize = 64 << 20;
/// Bytes that it takes for a member besides the text itself.
const MEMBER: usize = 96;

const TOO_LARGE: &str = "The list does not fit into one answer: ask for a part of it (limit=number after=place)";

/// A list that is being answered.
pub struct List<'c> {
    call: &'c Call,
    left: Option<u32>,
    bytes: usize,
}

/// An entry that is being filled. Members that do not fit are told at its end.
pub struct Entry<'c> {
    members: Struct<'c>,
    bytes: usize,
    fits: bool,
}

impl<'c> List<'c> {
    /// Answers with all that `page` gives from a place on, or with `limit` entries of it.
    pub fn answer<T>(
        call: &'c Call,
        (after, limit): (Place, Option<u32>),
        page: impl Fn(Place) -> Result<Page<T>, StorageFault>,
        fill: impl Fn(&mut Entry<'_>, &T),
    ) -> Outcome {
        let mut list = Self { call, left: limit, bytes: 0 };
        let mut next = Some(after);
        while let Some(after) = next.filter(|_| list.left != Some(0)) {
            let page = page(after).map_err(|_| "The database does not answer")?;
            for record in &page.entries {
                if list.left == Some(0) {
                    break;
                }
                list.add(|entry| fill(entry, record))?;
            }
            next = page.next;
        }
        Ok(())
    }

    fn add(&mut self, fill: impl FnOnce(&mut Entry<'_>)) -> Outcome {
        if self.bytes > LARGEST {
            return Err(TOO_LARGE.into());
        }
        let members = self.call.add_struct().ok_or("Internal error creating response")?;
        let mut entry = Entry { members, bytes: MEMBER, fits: true };
        fill(&mut entry);
        if !entry.fits {
            return Err("Internal error adding attributes".into());
        }
        self.bytes += entry.bytes;
        self.left = self.left.map(|left| left - 1);
        Ok(())
    }
}

impl Entry<'_> {
    /// Adds a text.
    pub fn text(&mut self, name: &CStr, value: &[u8]) {
        self.bytes += MEMBER + value.len();
        self.fits &= self.members.text(name, value);
    }

    /// Adds a signed number.
    pub fn int(&mut self, name: &CStr, value: i32) {
        self.bytes += MEMBER;
        self.fits &= self.members.int(name, value);
    }

    /// Adds an unsigned number.
    pub fn uint(&mut self, name: &CStr, value: u32) {
        self.bytes += MEMBER;
        self.fits &= self.members.uint(name, value);
    }
}
