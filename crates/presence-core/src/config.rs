//! What the operator configured, checked and in the core's own types.

use crate::refusal::Refusal;
use crate::time::Seconds;
use crate::uri::UriMatch;

/// Where subscriptions are kept (`subs_db_mode`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SubsMode {
    /// 0: in memory only.
    Memory,
    /// 1: in memory, and written to the database before the answer.
    WriteThrough,
    /// 2: in memory, and written to the database now and then.
    WriteBack,
    /// 3: in the database only.
    Database,
}

impl SubsMode {
    /// Whether subscriptions are found in memory.
    #[must_use]
    pub fn in_memory(self) -> bool {
        self != Self::Database
    }
}

/// Where publications are kept (`publ_cache`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PublMode {
    /// 0: in the database.
    Database,
    /// 1: in the database, with an index in memory of who has published what.
    Indexed,
    /// 2: in memory.
    Memory,
}

/// What to do about an Expires below the minimum (`min_expires_action`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum BelowMinimum {
    /// 423 with Min-Expires.
    Refuse,
    /// Use the minimum.
    Raise,
}

/// The order in which the documents of a presentity are combined (`retrieve_order`).
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum RetrieveOrder {
    /// By time of arrival.
    ReceivedTime,
    /// By the columns named in `retrieve_order_by`.
    Columns(Vec<u8>),
}

/// The checked configuration.
#[derive(Clone, PartialEq, Eq, Debug)]
#[allow(clippy::struct_excessive_bools)]
pub struct Config {
    /// `subs_db_mode`.
    pub subs: SubsMode,
    /// `publ_cache`.
    pub publ: PublMode,
    /// `max_expires`.
    pub max_expires: Seconds,
    /// `min_expires`; zero for none.
    pub min_expires: Seconds,
    /// `min_expires_action`.
    pub below_minimum: BelowMinimum,
    /// `expires_offset`.
    pub expires_offset: Seconds,
    /// `cseq_offset`.
    pub cseq_offset: u32,
    /// `server_address`; empty for the receiving socket's.
    pub server_address: Vec<u8>,
    /// `sip_uri_match`.
    pub uri_match: UriMatch,
    /// `send_fast_notify`.
    pub fast_notify: bool,
    /// `timeout_rm_subs`.
    pub remove_on_timeout: bool,
    /// `force_delete`.
    pub delete_without_notify: bool,
    /// `startup_mode` 1: publications that have expired are not shown.
    pub hide_expired: bool,
    /// `enable_sphere_check`.
    pub spheres: bool,
    /// `retrieve_order` and `retrieve_order_by`.
    pub order: RetrieveOrder,
    /// `delete_same_subs`.
    pub replace_same_call: bool,
    /// `subs_respond_200` 0: 202 to SUBSCRIBE.
    pub accepted_code: u16,
    /// `rfc_strict`: refuses what the RFCs refuse and the C module accepts.
    pub strict: bool,
    /// `notify_fail_max`: so many NOTIFYs that fail in a row end a subscription; 0: none do.
    pub fail_max: u8,
    /// `notify_interval`: how many milliseconds lie between two NOTIFYs about changes to one watcher at least.
    pub notify_interval: u32,
    /// After how many milliseconds without an answer the next NOTIFY of a dialog may go (RFC 3261's T1).
    pub notify_hold: u64,
    /// How many milliseconds a NOTIFY may be kept back that nothing stands in the way of (`waitn_time`).
    pub keep_back: u64,
}

impl Config {
    /// Expires of a subscription within the bounds; 0 stays 0. `most` stands in the place of `max_expires`.
    pub fn agreed_expires(&self, asked: Seconds, most: Seconds) -> Result<Seconds, Refusal> {
        let asked = asked.min(most);
        if asked == Seconds(0) || asked >= self.min_expires {
            return Ok(asked);
        }
        match self.below_minimum {
            BelowMinimum::Refuse => Err(Refusal::IntervalTooBrief(self.min_expires)),
            BelowMinimum::Raise => Ok(self.min_expires),
        }
    }

    /// Expires of a publication within the bounds; 0 stays 0. The minimum counts with `rfc_strict` (RFC 3903 6, step 4),
    /// and raises what the package has as its default: that was not asked for.
    pub fn published_expires(&self, asked: Option<Seconds>, default: Seconds) -> Result<Seconds, Refusal> {
        match asked {
            Some(asked) if self.strict => self.agreed_expires(asked, self.max_expires),
            None if self.strict => Ok(default.max(self.min_expires).min(self.max_expires)),
            _ => Ok(asked.unwrap_or(default).min(self.max_expires)),
        }
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            subs: SubsMode::WriteBack,
            publ: PublMode::Indexed,
            max_expires: Seconds(3600),
            min_expires: Seconds(0),
            below_minimum: BelowMinimum::Refuse,
            expires_offset: Seconds(0),
            cseq_offset: 0,
            server_address: Vec::new(),
            uri_match: UriMatch::CaseSensitive,
            fast_notify: true,
            remove_on_timeout: true,
            delete_without_notify: false,
            hide_expired: true,
            spheres: false,
            order: RetrieveOrder::ReceivedTime,
            replace_same_call: false,
            accepted_code: 200,
            strict: false,
            fail_max: 0,
            notify_interval: 0,
            notify_hold: 2000,
            keep_back: 5000,
        }
    }
}
