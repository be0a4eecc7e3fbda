//! Which process this is. The server forks without exec: what `mod_init` made, every process has.

use kamailio_shim as raw;

/// The rank with which a process is initialised.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Rank {
    /// Before any process is forked, after every module was initialised.
    Init,
    /// The main process, which forks the others and reaps them.
    Main,
    /// The process that accepts TCP connections.
    TcpMain,
    /// A timer process, the host's or one of ours.
    Timer,
    /// An RPC listener (ctl, jsonrpcs ...).
    Rpc,
    /// A process that receives SIP messages, with its number.
    Worker(i32),
    /// Another one.
    Other(i32),
}

impl From<i32> for Rank {
    fn from(rank: i32) -> Self {
        match rank {
            r if r == raw::PROC_INIT => Self::Init,
            r if r == raw::PROC_MAIN as i32 => Self::Main,
            r if r == raw::PROC_TCP_MAIN => Self::TcpMain,
            r if r == raw::PROC_TIMER => Self::Timer,
            r if r == raw::PROC_RPC => Self::Rpc,
            worker if worker > 0 => Self::Worker(worker),
            other => Self::Other(other),
        }
    }
}

/// The process id, as the host knows it.
#[must_use]
pub fn pid() -> i32 {
    // SAFETY: reads the host's process table.
    unsafe { raw::my_pid() }
}

/// The index of this process in the host's process table.
#[must_use]
pub fn index() -> i32 {
    // SAFETY: written by the host once, before any code of this process runs.
    unsafe { raw::process_no }
}

/// A clock that never jumps, the same in all processes.
#[must_use]
pub fn steady_clock() -> std::time::Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: writes the structure; this clock exists on every Linux.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut time) };
    std::time::Duration::new(time.tv_sec.unsigned_abs(), time.tv_nsec as u32)
}

/// 64 bits from the system's generator, which nobody can guess.
#[must_use]
pub fn random() -> u64 {
    let mut bytes = [0u8; 8];
    // SAFETY: writes at most 8 bytes; for so few the call neither blocks (after boot) nor returns less.
    let got = unsafe { libc::getrandom(bytes.as_mut_ptr().cast(), bytes.len(), 0) };
    debug_assert_eq!(got, 8);
    u64::from_ne_bytes(bytes)
}

/// A text that is unique over processes, restarts and servers, in the host's own shape (`ruid`).
#[must_use]
pub fn unique_id() -> Vec<u8> {
    format!("pres-{:x}-{:x}-{:016x}", steady_clock().as_secs(), pid(), random()).into_bytes()
}
