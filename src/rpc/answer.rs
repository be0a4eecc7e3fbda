//! A list as an answer. The host keeps all of it until it is sent, so it has a limit.

use super::Fault;
use core::ffi::CStr;
use kamailio::pkg;
use kamailio::rpc::{Call, Struct};

/// Private memory that a list leaves to the process: what it reads next has to fit, too. Some RPC interfaces keep
/// the answer there (`ctl`: 8 KB for each entry, `binrpc_struct_max_body_size`).
const LEFT: usize = 512 << 10;
/// Bytes of the largest answer, as an interface keeps it that has memory without end (`jsonrpcs`).
const LARGEST: usize = 128 << 20;
/// Bytes that such an interface takes for a member besides the text itself.
const MEMBER: usize = 128;

const TOO_LARGE: &str = "The list does not fit into one answer: ask for a part of it (limit=number after=place)";

/// A list that is being answered.
pub struct List<'c> {
    call: &'c Call,
    limit: Option<u32>,
    count: u32,
    bytes: usize,
}

/// An entry that is being filled. Members that do not fit are told at its end.
pub struct Entry<'c> {
    members: Struct<'c>,
    bytes: usize,
    fits: bool,
}

impl<'c> List<'c> {
    /// A list of so many entries at most.
    pub fn new(call: &'c Call, limit: Option<u32>) -> Self {
        Self { call, limit, count: 0, bytes: 0 }
    }

    /// Whether it has as many entries as were asked for.
    pub fn is_full(&self) -> bool {
        self.limit.is_some_and(|limit| self.count >= limit)
    }

    /// Adds an entry.
    pub fn add(&mut self, fill: impl FnOnce(&mut Entry<'_>)) -> Result<(), Fault> {
        if pkg::available() < LEFT || self.bytes > LARGEST {
            return Err(TOO_LARGE.into());
        }
        let members = self.call.add_struct().ok_or("Internal error creating response")?;
        let mut entry = Entry { members, bytes: MEMBER, fits: true };
        fill(&mut entry);
        if !entry.fits {
            return Err("Internal error adding attributes".into());
        }
        self.bytes += entry.bytes;
        self.count += 1;
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
