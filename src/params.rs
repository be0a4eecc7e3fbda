//! The module's parameters: one line each in [`params!`], and the check that turns them into a [`Config`].
//!
//! What the C module corrects in silence is corrected with a warning: a working configuration keeps working. What it
//! would misunderstand stops the start with a sentence that names the parameter, the value and what is allowed.

use core::ffi::{CStr, c_int, c_void};
use kamailio::log;
use kamailio::module::{Table, int_param, last_param, refused_param, text_param};
use kamailio::param::{Int, Text};
use kamailio::raw;
use kamailio::str::show;
use presence_core::config::{BelowMinimum, Config, PublMode, RetrieveOrder, SubsMode};
use presence_core::time::Seconds;
use presence_core::uri::UriMatch;
use std::sync::OnceLock;
use std::time::Duration;

/// Declares the cells, the host's table and the names for refusals, all from one list.
macro_rules! params {
    (
        ints { $($int:ident = $default:literal, $int_doc:literal;)+ }
        texts { $($text:ident = $text_default:expr, $text_doc:literal;)+ }
    ) => {
        /// The cells that the host fills.
        #[derive(Debug)]
        pub struct Params {
            $(#[doc = $int_doc] pub $int: Int,)+
            $(#[doc = $text_doc] pub $text: Text,)+
        }

        /// The values of kamailio.cfg.
        pub static PARAMS: Params = Params {
            $($int: Int::new($default),)+
            $($text: Text::new($text_default),)+
        };

        /// Every parameter's name and how it is explained.
        pub const DOCS: &[(&str, &str)] = &[
            $((stringify!($int), $int_doc),)+
            $((stringify!($text), $text_doc),)+
        ];

        const COUNT: usize = { [$(stringify!($int),)+ $(stringify!($text),)+].len() };

        /// The host's table. Each parameter has a second entry for a value of the wrong type.
        pub static TABLE: Table<raw::param_export_t, { 2 * COUNT + 1 }> = Table::new([
            $(int_param(name!($int), &PARAMS.$int), {
                unsafe extern "C" fn refuse(_: raw::modparam_t, value: *mut c_void) -> c_int {
                    refuse_text(stringify!($int), value)
                }
                refused_param(name!($int), raw::PARAM_STRING as raw::modparam_t, refuse)
            },)+
            $(text_param(name!($text), &PARAMS.$text), {
                unsafe extern "C" fn refuse(_: raw::modparam_t, value: *mut c_void) -> c_int {
                    refuse_int(stringify!($text), value as isize)
                }
                refused_param(name!($text), raw::PARAM_INT as raw::modparam_t, refuse)
            },)+
            last_param(),
        ]);
    };
}

macro_rules! name {
    ($name:ident) => {
        match CStr::from_bytes_with_nul(concat!(stringify!($name), "\0").as_bytes()) {
            Ok(name) => name,
            Err(_) => c"",
        }
    };
}

params! {
    ints {
        clean_period = 100, "seconds between sweeps of expired publications; 0 or less: no sweeps";
        cseq_offset = 0, "how far the CSeq of a SUBSCRIBE may lie behind the last one";
        db_update_period = 100, "seconds between sweeps of expired subscriptions, and between flushes in subs_db_mode 2; 0 or less: none";
        waitn_time = 5, "seconds within which a NOTIFY is sent that was kept back";
        notifier_poll_rate = 10, "times per second that a notifier process looks for NOTIFYs that wait";
        notifier_processes = 1, "processes that send NOTIFYs which wait, and those to the rest of many watchers; there is always one";
        force_delete = 0, "1: delete expired publications without telling the watchers";
        startup_mode = 1, "0: publications that expired while the server was down are loaded too";
        expires_offset = 0, "seconds that the Expires of a reply to PUBLISH is shorter than the publication lives";
        max_expires = 3600, "the longest Expires, in seconds";
        min_expires = 0, "the shortest Expires, in seconds; 0: any";
        min_expires_action = 1, "what to do about a shorter one: 1 refuse with 423, 2 use min_expires";
        subs_htable_size = 9, "2^n independently locked parts of the subscriptions in memory";
        pres_htable_size = 9, "kept for compatibility: publications share the parts of the subscriptions";
        subs_db_mode = 2, "where subscriptions are kept: 0 memory, 1 write-through, 2 write-back, 3 database only";
        publ_cache = 1, "where publications are kept: 0 database, 1 database with an index in memory, 2 memory";
        enable_sphere_check = 0, "1: remember the sphere of presence documents, for rules that ask for it";
        timeout_rm_subs = 1, "1: a NOTIFY that nobody answers ends the subscription";
        send_fast_notify = 1, "0: no NOTIFY right after a SUBSCRIBE for packages without watcher information";
        fetch_rows = 500, "rows that are read from the database at a time";
        db_table_lock_type = 1, "kept for compatibility: no table is locked, rows are compared as they are written";
        local_log_level = 2, "log level of the line about each NOTIFY";
        subs_remove_match = 0, "kept for compatibility: a subscription is always matched by its whole dialog";
        retrieve_order = 0, "order in which documents are combined: 0 by arrival, 1 by retrieve_order_by";
        sip_uri_match = 0, "comparison of URIs: 0 letter for letter, 1 whatever the case";
        enable_dmq = 0, "1: replicate over DMQ (not yet)";
        pres_subs_mode = 1, "0: $subs(...) is always $null";
        delete_same_subs = 0, "1: a new subscription replaces an older one with the same presentity and Call-ID";
        timer_mode = 1, "timer process that sweeps: 1 the secondary, 0 the main one";
        subs_respond_200 = 1, "0: answer 202 to SUBSCRIBE";
        enable_pres_dmq = 1, "replicate publications, with enable_dmq";
        enable_pres_sync_dmq = 1, "fetch publications at start, with enable_dmq";
        enable_subs_dmq = 0, "replicate subscriptions, with enable_dmq";
        enable_subs_sync_dmq = 1, "fetch subscriptions at start, with enable_dmq";
        skip_notify_dmq = 0, "1: no NOTIFY for replicated publications";
        notify_hold_time = 2000, "milliseconds after which the next NOTIFY of a dialog goes although the last one is not answered";
        db_wait_time = 4000, "milliseconds that a request waits for a database that is busy";
        notify_interval = 0, "milliseconds between two NOTIFYs about changes to one watcher, at least; 0: any";
        notify_fail_max = 0, "so many NOTIFYs that fail in a row end a subscription; 0: none do";
        rfc_strict = 0, "1: refuse what the RFCs refuse and the C module accepts";
        replace_subs = 0, "1: a new subscription replaces an older one of the same phone";
        max_subs_per_watcher = 0, "the most subscriptions of one watcher; 0: any number";
        max_subs_per_presentity = 0, "the most subscriptions to one presentity and package; 0: any number";
        expires_spread = 0, "percent by which the Expires of a subscription is shortened at most, at random";
        expire_on_close = 0, "1: what came over a connection ends when that is closed";
        dialog_max_age = 0, "seconds that a confirmed dialog is shown which nobody refreshes; 0: as long as its Expires says";
    }
    texts {
        db_url = None, "the database; not set: no database (needs publ_cache 2 and subs_db_mode 0), or else a library for other modules";
        presentity_table = Some("presentity"), "table of publications";
        active_watchers_table = Some("active_watchers"), "table of subscriptions";
        watchers_table = Some("watchers"), "table of watchers and their authorisation";
        server_address = None, "Contact in replies and NOTIFYs; not set: the receiving socket";
        event_callback = None, "function of a KEMI script that is called with the event presence:notify-reply; not set: none";
        local_log_facility = None, "syslog facility of the line about each NOTIFY; not set: the server's";
        notify_transport = Some("tm"), "how NOTIFYs are sent: tm, or direct (without transactions of tm, where nothing needs them)";
        xavp_cfg = None, "name of the xavp with `priority` and `delete_subscription`";
        retrieve_order_by = Some("priority"), "columns of presentity to order by, with retrieve_order 1";
        default_socket = None, "socket of replicated subscriptions, with enable_dmq";
        dmq_peer_id = Some("presence"), "name of the DMQ peer, with enable_dmq";
    }
}

/// Everything that was configured, checked.
#[derive(Debug)]
pub struct Settings {
    /// The core's part.
    pub core: Config,
    /// No database and not memory only: the module only lends its functions to others.
    pub library: bool,
    /// `db_url`.
    pub db_url: Option<&'static [u8]>,
    /// `presentity_table`.
    pub presentity_table: &'static [u8],
    /// `active_watchers_table`.
    pub active_watchers_table: &'static [u8],
    /// `watchers_table`.
    pub watchers_table: &'static [u8],
    /// `clean_period`; none: no sweeps.
    pub clean_period: Option<u32>,
    /// `db_update_period`; none: no sweeps.
    pub db_update_period: Option<u32>,
    /// `fetch_rows`.
    pub fetch_rows: usize,
    /// `timer_mode`.
    pub timer: kamailio::timer::Process,
    /// Level and facility of the line about each NOTIFY.
    pub notify_log: (i32, Option<i32>),
    /// `notify_transport` is "direct".
    pub direct: bool,
    /// `event_callback`.
    pub event_callback: Option<&'static [u8]>,
    /// `xavp_cfg`; empty for none.
    pub xavp: &'static [u8],
    /// Parts of the memory store.
    pub shards: usize,
    /// `pres_subs_mode`.
    pub subs_pv: bool,
    /// Processes that send NOTIFYs which wait: `notifier_processes`, but at least one.
    pub notifiers: u32,
    /// How often they look (`notifier_poll_rate`).
    pub poll_interval: Duration,
    /// `db_wait_time`.
    pub db_wait: Duration,
}

static SETTINGS: OnceLock<Settings> = OnceLock::new();

/// The checked settings. Only after [`check`] succeeded, which `mod_init` does first.
pub fn settings() -> &'static Settings {
    static LIBRARY: OnceLock<Settings> = OnceLock::new();
    SETTINGS.get().unwrap_or_else(|| LIBRARY.get_or_init(Settings::of_library))
}

/// Checks all parameters; false (and a sentence in the log) when the server must not start with them.
pub fn check() -> bool {
    match Settings::read() {
        Ok(settings) => SETTINGS.set(settings).is_ok(),
        Err(sentence) => {
            log!(Error, "{sentence}");
            false
        }
    }
}

fn refuse_text(name: &str, value: *mut c_void) -> c_int {
    kamailio::entry::guard("modparam", -1, || {
        // SAFETY: the host passes a terminated string to a PARAM_STRING function.
        let value = unsafe { CStr::from_ptr(value.cast()) };
        log!(
            Error,
            "modparam {name} is \"{}\": it must be a number without quotes ({})",
            show(value.to_bytes()),
            doc(name)
        );
        -1
    })
}

fn refuse_int(name: &str, value: isize) -> c_int {
    kamailio::entry::guard("modparam", -1, || {
        log!(Error, "modparam {name} is {value}: it must be a text in quotes ({})", doc(name));
        -1
    })
}

fn doc(name: &str) -> &'static str {
    DOCS.iter().find(|(n, _)| *n == name).map_or("", |(_, doc)| doc)
}

type Sentence = String;

/// A number within bounds, or the sentence that says what is allowed.
fn within(name: &str, value: i32, low: i32, high: i32) -> Result<u32, Sentence> {
    if (low..=high).contains(&value) {
        return Ok(value.unsigned_abs());
    }
    let allowed = if high == i32::MAX { format!("{low} or more") } else { format!("{low} to {high}") };
    Err(format!("modparam {name} is {value}: allowed is {allowed} ({})", doc(name)))
}

/// A number that the C module corrects: corrected too, and said.
fn corrected(name: &str, value: i32, holds: bool, instead: i32) -> i32 {
    if holds {
        return value;
    }
    log!(Warning, "modparam {name} is {value}: using {instead} ({})", doc(name));
    instead
}

/// A switch: 0 or 1; any other number counts as 1, as in the C module, and is said.
fn switch(name: &str, value: &Int) -> bool {
    corrected(name, value.get(), (0..=1).contains(&value.get()), 1) != 0
}

/// A table name as the drivers put it into their statements.
fn table(name: &str, value: &Text) -> Result<&'static [u8], Sentence> {
    let text = value.get().unwrap_or_default();
    let fine = text.len() <= 64 && text.iter().all(|&b| b.is_ascii_alphanumeric() || b"_.$-".contains(&b));
    if fine && !text.is_empty() {
        return Ok(text);
    }
    Err(format!(
        "modparam {name} is \"{}\": allowed are up to 64 letters, digits and _ . $ - ({})",
        show(text),
        doc(name)
    ))
}

/// The columns of an ORDER BY clause: it goes into a statement as it is.
fn order_columns(text: &[u8]) -> Result<Vec<u8>, Sentence> {
    let fine = |column: &[u8]| {
        let mut words = column.split(|b| b.is_ascii_whitespace()).filter(|w| !w.is_empty());
        let name = words.next().is_some_and(|w| w.iter().all(|&b| b.is_ascii_alphanumeric() || b == b'_'));
        let direction = words.next().is_none_or(|w| w.eq_ignore_ascii_case(b"asc") || w.eq_ignore_ascii_case(b"desc"));
        name && direction && words.next().is_none()
    };
    if text.split(|&b| b == b',').all(fine) {
        return Ok(text.to_vec());
    }
    Err(format!(
        "modparam retrieve_order_by is \"{}\": allowed are column names with ASC or DESC, separated by commas ({})",
        show(text),
        doc("retrieve_order_by")
    ))
}

impl Settings {
    /// What holds before anything was configured: no storage at all.
    fn of_library() -> Self {
        Self {
            core: Config { subs: SubsMode::Memory, publ: PublMode::Memory, ..Config::default() },
            library: true,
            db_url: None,
            presentity_table: b"presentity",
            active_watchers_table: b"active_watchers",
            watchers_table: b"watchers",
            clean_period: None,
            db_update_period: None,
            fetch_rows: 500,
            timer: kamailio::timer::Process::Secondary,
            notify_log: (2, None),
            direct: false,
            event_callback: None,
            xavp: b"",
            shards: 16,
            subs_pv: true,
            notifiers: 1,
            poll_interval: Duration::from_millis(100),
            db_wait: Duration::from_millis(4000),
        }
    }

    fn read() -> Result<Self, Sentence> {
        let p = &PARAMS;
        let core = read_core(p)?;
        let db_url = p.db_url.get();
        if p.enable_dmq.get() > 0 {
            return Err(format!(
                "modparam enable_dmq is {}: replication over DMQ is not there yet, allowed is 0",
                p.enable_dmq.get()
            ));
        }
        let library = db_url.is_none() && core.publ != PublMode::Memory;
        if !library && db_url.is_none() && core.subs != SubsMode::Memory {
            return Err(format!(
                "modparam subs_db_mode is {} and db_url is not set: set db_url, or subs_db_mode to 0",
                p.subs_db_mode.get()
            ));
        }
        let facility = match p.local_log_facility.get() {
            None => None,
            Some(name) => Some(kamailio::log::facility(name).ok_or_else(|| {
                format!(
                    "modparam local_log_facility is \"{}\": allowed are syslog facilities (LOG_LOCAL0 ...)",
                    show(name)
                )
            })?),
        };
        let n = p.notifier_processes.get();
        let notifiers = within("notifier_processes", corrected("notifier_processes", n, n >= 0, 0), 0, 64)?.max(1);
        let shards = p.subs_htable_size.get();
        let shards = corrected("subs_htable_size", shards, shards >= 1, 9);
        within(
            "pres_htable_size",
            corrected("pres_htable_size", p.pres_htable_size.get(), p.pres_htable_size.get() >= 1, 9),
            1,
            30,
        )?;
        Ok(Self {
            library,
            db_url,
            presentity_table: table("presentity_table", &p.presentity_table)?,
            active_watchers_table: table("active_watchers_table", &p.active_watchers_table)?,
            watchers_table: table("watchers_table", &p.watchers_table)?,
            clean_period: u32::try_from(p.clean_period.get()).ok().filter(|&s| s > 0),
            db_update_period: u32::try_from(p.db_update_period.get()).ok().filter(|&s| s > 0),
            fetch_rows: corrected("fetch_rows", p.fetch_rows.get(), p.fetch_rows.get() > 0, 500).unsigned_abs()
                as usize,
            timer: if switch("timer_mode", &p.timer_mode) {
                kamailio::timer::Process::Secondary
            } else {
                kamailio::timer::Process::Main
            },
            notify_log: (p.local_log_level.get(), facility),
            direct: match p.notify_transport.get().unwrap_or(b"tm") {
                b"tm" => false,
                b"direct" => true,
                other => {
                    return Err(format!("modparam notify_transport is \"{}\": allowed are tm and direct", show(other)));
                }
            },
            event_callback: p.event_callback.get().filter(|name| !name.is_empty()),
            xavp: p.xavp_cfg.get().unwrap_or_default(),
            shards: shard_count(within("subs_htable_size", shards, 1, 30)?),
            subs_pv: switch("pres_subs_mode", &p.pres_subs_mode),
            notifiers,
            poll_interval: {
                let n = p.notifier_poll_rate.get();
                Duration::from_secs(1)
                    / within("notifier_poll_rate", corrected("notifier_poll_rate", n, n > 0, 10), 1, 1000)?
            },
            db_wait: Duration::from_millis(within("db_wait_time", p.db_wait_time.get(), 1, 60_000)?.into()),
            core,
        })
    }
}

/// Parts of the store: as many as the C module has buckets, within what makes sense for locks (the tables behind
/// them grow by themselves).
fn shard_count(power: u32) -> usize {
    1 << power.clamp(4, 6)
}

fn read_core(p: &Params) -> Result<Config, Sentence> {
    let subs = match within("subs_db_mode", p.subs_db_mode.get(), 0, 3)? {
        0 => SubsMode::Memory,
        1 => SubsMode::WriteThrough,
        2 => SubsMode::WriteBack,
        _ => SubsMode::Database,
    };
    let publ = match within("publ_cache", p.publ_cache.get(), 0, 2)? {
        0 => PublMode::Database,
        1 => PublMode::Indexed,
        _ => PublMode::Memory,
    };
    let max = corrected("max_expires", p.max_expires.get(), p.max_expires.get() > 0, 3600);
    let min = within("min_expires", p.min_expires.get(), 0, i32::MAX)?;
    let min = corrected("min_expires", min as i32, min <= max.unsigned_abs(), max);
    let offset = corrected("expires_offset", p.expires_offset.get(), p.expires_offset.get() >= 0, 0);
    let address = p.server_address.get().unwrap_or_default();
    if !address.is_empty() && kamailio::uri::parse(address).is_none() {
        log!(Warning, "modparam server_address is \"{}\": this is no SIP URI", show(address));
    }
    Ok(Config {
        subs,
        publ,
        max_expires: Seconds(max.unsigned_abs()),
        min_expires: Seconds(min.unsigned_abs()),
        below_minimum: match within("min_expires_action", p.min_expires_action.get(), 1, 2)? {
            1 => BelowMinimum::Refuse,
            _ => BelowMinimum::Raise,
        },
        expires_offset: Seconds(offset.unsigned_abs()),
        cseq_offset: within("cseq_offset", p.cseq_offset.get(), 0, i32::MAX)?,
        server_address: address.to_vec(),
        uri_match: if switch("sip_uri_match", &p.sip_uri_match) {
            UriMatch::CaseInsensitive
        } else {
            UriMatch::CaseSensitive
        },
        fast_notify: switch("send_fast_notify", &p.send_fast_notify),
        remove_on_timeout: switch("timeout_rm_subs", &p.timeout_rm_subs),
        delete_without_notify: p.force_delete.get() > 0,
        hide_expired: switch("startup_mode", &p.startup_mode),
        spheres: switch("enable_sphere_check", &p.enable_sphere_check),
        order: if switch("retrieve_order", &p.retrieve_order) {
            RetrieveOrder::Columns(order_columns(p.retrieve_order_by.get().unwrap_or(b"priority"))?)
        } else {
            RetrieveOrder::ReceivedTime
        },
        replace_same_call: switch("delete_same_subs", &p.delete_same_subs),
        replace_same_phone: within("replace_subs", p.replace_subs.get(), 0, 1)? == 1,
        expires_spread: within("expires_spread", p.expires_spread.get(), 0, 50)?,
        expire_on_close: within("expire_on_close", p.expire_on_close.get(), 0, 1)? == 1,
        dialog_max_age: Seconds(within("dialog_max_age", p.dialog_max_age.get(), 0, i32::MAX)?),
        most_per_watcher: within("max_subs_per_watcher", p.max_subs_per_watcher.get(), 0, i32::MAX)?,
        most_per_presentity: within("max_subs_per_presentity", p.max_subs_per_presentity.get(), 0, i32::MAX)?,
        accepted_code: if switch("subs_respond_200", &p.subs_respond_200) { 200 } else { 202 },
        keep_back: {
            let n = p.waitn_time.get();
            u64::from(within("waitn_time", corrected("waitn_time", n, n > 0, 5), 1, 3600)?) * 1000
        },
        notify_hold: within("notify_hold_time", p.notify_hold_time.get(), 10, 32_000)?.into(),
        notify_interval: within("notify_interval", p.notify_interval.get(), 0, 600_000)?,
        fail_max: within("notify_fail_max", p.notify_fail_max.get(), 0, 100)? as u8,
        strict: within("rfc_strict", p.rfc_strict.get(), 0, 1)? == 1,
    })
}
