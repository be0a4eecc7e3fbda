//! Which process this is. The server forks without exec: what `mod_init` made, every process has.

use kamailio_shim as raw;
use std::cell::RefCell;

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

/// Forgets what a script has left in the variables of a message that is done with (AVPs, xavps), as the host does after
/// each message that it receives; for processes that receive none.
pub fn forget_message() {
    // SAFETY: frees lists of this process that nobody else holds.
    unsafe { raw::ksr_msg_env_reset() }
}

/// A clock that never jumps, the same in all processes.
#[must_use]
pub fn steady_clock() -> std::time::Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: writes the structure; this clock exists on every Linux.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut time) };
    std::time::Duration::new(time.tv_sec.unsigned_abs(), time.tv_nsec as u32)
}

/// What this process draws from the system's generator at a time, and its part of the texts that are unique.
struct Supply {
    /// The process that it belongs to: a child does not use up what it inherited.
    pid: i32,
    bytes: [u8; 256],
    used: usize,
    prefix: Vec<u8>,
    count: u32,
}

thread_local! {
    static SUPPLY: RefCell<Supply> =
        const { RefCell::new(Supply { pid: 0, bytes: [0; 256], used: 256, prefix: Vec::new(), count: 0 }) };
}

impl Supply {
    /// This process's own supply.
    fn own(&mut self) -> &mut Self {
        if self.pid != pid() {
            (self.pid, self.used, self.count) = (pid(), self.bytes.len(), 0);
            self.prefix = format!("pres-{:x}-{:016x}-", steady_clock().as_secs(), self.random()).into_bytes();
        }
        self
    }

    fn random(&mut self) -> u64 {
        let mut number = [0; 8];
        if self.used + number.len() > self.bytes.len() {
            // SAFETY: writes at most so many bytes; for up to 256 the call neither blocks (after boot) nor returns less.
            let got = unsafe { libc::getrandom(self.bytes.as_mut_ptr().cast(), self.bytes.len(), 0) };
            debug_assert_eq!(got, self.bytes.len() as isize);
            self.used = 0;
        }
        let drawn = &mut self.bytes[self.used..self.used + number.len()];
        number.swap_with_slice(drawn);
        self.used += number.len();
        u64::from_ne_bytes(number)
    }
}

/// 64 bits from the system's generator, which nobody can guess.
#[must_use]
pub fn random() -> u64 {
    SUPPLY.with_borrow_mut(|supply| supply.own().random())
}

/// A text that is unique over processes, restarts and servers, in the host's own shape (`ruid`). Those of one process
/// follow each other, which an index of a table likes better than random ones.
#[must_use]
pub fn unique_id() -> Vec<u8> {
    SUPPLY.with_borrow_mut(|supply| {
        let supply = supply.own();
        supply.count = supply.count.wrapping_add(1);
        let mut text = Vec::with_capacity(48);
        text.extend_from_slice(&supply.prefix);
        let mut digits = [0; 8];
        // It fails for a place of another length only.
        let _ = hex::encode_to_slice(supply.count.to_be_bytes(), &mut digits);
        text.extend_from_slice(&digits);
        text
    })
}
