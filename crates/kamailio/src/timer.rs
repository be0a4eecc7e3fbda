//! Timers in the host's own timer processes, and processes of the module's own.

use core::ffi::{c_int, c_uint, c_void};
use kamailio_shim as raw;
use std::ffi::CString;

/// Which of the host's timer processes runs a job (`timer_mode`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Process {
    /// The main timer process, which also runs the transactions' retransmissions.
    Main,
    /// The secondary timer process.
    Secondary,
}

/// A job: called in a timer process, through a guard.
pub type Job = fn();

unsafe extern "C" fn run(_ticks: c_uint, job: *mut c_void) {
    crate::entry::guard("timer", (), || {
        // SAFETY: `job` is what `register` or `fork_forever` passed: a function pointer in disguise.
        let job = unsafe { core::mem::transmute::<*mut c_void, Job>(job) };
        job();
    });
}

/// Registers a job every `seconds`; only in `mod_init`. False when the host refuses.
#[must_use]
pub fn register(process: Process, job: Job, seconds: u32) -> bool {
    // SAFETY: the function stays for the life of the process; the parameter is a function pointer, not memory.
    unsafe {
        match process {
            Process::Main => raw::register_timer(Some(run), job as *mut c_void, seconds) >= 0,
            Process::Secondary => raw::sr_wtimer_add(Some(run), job as *mut c_void, seconds as c_int) >= 0,
        }
    }
}

/// Announces `count` processes of the module's own; only in `mod_init`.
#[must_use]
pub fn announce_processes(count: i32) -> bool {
    // SAFETY: counts in the host's process table, before the fork; one set of file descriptors each.
    unsafe {
        if raw::register_procs(count) < 0 {
            return false;
        }
        raw::cfg_register_child(count);
        true
    }
}

/// Forks an announced process that calls the job again and again, which waits by itself; only in `child_init` of the main
/// process.
#[must_use]
pub fn fork_forever(name: &str, job: Job) -> bool {
    let Ok(name) = CString::new(name) else { return false };
    let text = name.as_ptr().cast_mut();
    // SAFETY: as in `register`; the host copies the name, and the new process stays in this call. It looks for changes of
    // the host's settings, and sleeps for a microsecond, before each call.
    unsafe { raw::fork_basic_utimer(raw::PROC_TIMER, text, 1, Some(run), job as *mut c_void, 1) >= 0 }
}
