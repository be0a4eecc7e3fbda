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
