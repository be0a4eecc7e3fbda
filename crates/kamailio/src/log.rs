//! The server's log. Levels and facilities are the host's; the line carries the module's name and the place.

use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use kamailio_shim as raw;
use std::ffi::CString;
use std::fmt::Arguments;
use std::sync::OnceLock;
use std::time::Duration;

/// How serious a line is (`debug` of kamailio.cfg decides what is written).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(i32)]
pub enum Level {
    /// The server cannot go on as configured.
    Critical = raw::L_CRIT2,
    /// Something failed; a request or a job was affected.
    Error = raw::L_ERR,
    /// Worth an operator's look.
    Warning = raw::L_WARN as i32,
    /// Unusual but fine.
    Notice = raw::L_NOTICE as i32,
    /// What happens, for those who asked.
    Info = raw::L_INFO as i32,
    /// For developers.
    Debug = raw::L_DBG as i32,
}

static MODULE: OnceLock<&'static str> = OnceLock::new();

/// Names the module in every line; called once, when the module is registered.
pub fn name_module(name: &'static str) {
    let _ = MODULE.set(name);
}

/// Whether a line of this level would be written: ask before formatting something long.
#[must_use]
pub fn enabled(level: i32) -> bool {
    // SAFETY: reads the server's debug level.
    unsafe { raw::ksr_log_enabled(level) != 0 }
}

/// Writes one line at `level` to `facility` (`None`: the server's own).
pub fn write_to(facility: Option<i32>, level: i32, place: &str, text: Arguments<'_>) {
    if !enabled(level) {
        return;
    }
    let text = text.to_string();
    let module = MODULE.get().copied().unwrap_or("rust");
    let prefix = CString::new(format!("{module} {place}: ")).unwrap_or_default();
    // SAFETY: prefix is terminated, text is given with its length; the host copies both while it formats (rule H1).
    unsafe {
        let facility = facility.unwrap_or_else(|| raw::ksr_default_facility());
        raw::ksr_log(
            facility,
            level,
            prefix.as_ptr(),
            text.as_ptr().cast(),
            i32::try_from(text.len()).unwrap_or(i32::MAX),
        );
    }
}

/// Writes one line at `level` to the server's facility.
pub fn write(level: Level, place: &str, text: Arguments<'_>) {
    write_to(None, level as i32, place, text);
}

/// The number of a syslog facility by its name ("LOG_LOCAL0"), as kamailio.cfg writes it.
#[must_use]
pub fn facility(name: &[u8]) -> Option<i32> {
    let name = CString::new(name).ok()?;
    // SAFETY: a terminated string that the host only compares.
    let number = unsafe { raw::str2facility(name.as_ptr().cast_mut()) };
    (number != -1).then_some(number)
}

/// For a line that peers could bring about as often as they like: each process writes it once in ten seconds.
#[derive(Debug)]
pub struct Seldom {
    /// Milliseconds of the steady clock from which on it may be written again.
    next: AtomicU64,
    skipped: AtomicU32,
}

/// How long a [`Seldom`] line is kept back after the last one.
const SELDOM: Duration = Duration::from_secs(10);

impl Seldom {
    /// Not written yet.
    #[must_use]
    #[allow(clippy::new_without_default)]
    pub const fn new() -> Self {
        Self { next: AtomicU64::new(0), skipped: AtomicU32::new(0) }
    }

    /// Whether to write it now, and how often it was not written since the last time.
    #[must_use]
    pub fn due(&self) -> Option<u32> {
        let now = crate::proc::steady_clock();
        let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        if millis(now) < self.next.load(Ordering::Relaxed) {
            self.skipped.fetch_add(1, Ordering::Relaxed);
            return None;
        }
        self.next.store(millis(now + SELDOM), Ordering::Relaxed);
        Some(self.skipped.swap(0, Ordering::Relaxed))
    }
}

/// One line of a level: `log!(Error, "cannot {what}")`.
#[macro_export]
macro_rules! log {
    ($level:ident, $($text:tt)+) => {
        $crate::log::write(
            $crate::log::Level::$level,
            concat!("[", file!(), ":", line!(), "]"),
            format_args!($($text)+),
        )
    };
}
