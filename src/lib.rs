//! `presence.so`: the presence server module of Kamailio, in Rust.
//!
//! The adapter between the host (crate `kamailio`) and the core (crate `presence-core`): parameters, script
//! functions, RPC, pseudo-variables and the C interface on one side; where things are stored, on the other.

// A request must not stop the server.
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod abi;
mod auth;
mod commands;
mod completion;
mod direct;
mod host;
mod ingress;
mod params;
mod restore;
mod rpc;
mod store;
mod timers;

use kamailio::proc::Rank;
use kamailio::{log, sl, tm};

kamailio::module! {
    name: "presence",
    commands: abi::commands::COMMANDS.address(),
    params: params::TABLE.address(),
    pvs: abi::pv::TABLE.address(),
    register: register,
    init: init,
    child_init: child_init,
    destroy: destroy,
    response: direct::answered,
}

fn register() {
    kamailio::kemi::register(&abi::commands::KEMI);
}

/// After kamailio.cfg was read: checks the parameters, makes the shared state. One sentence in the log says why not.
fn init() -> bool {
    if !params::check() {
        return false;
    }
    if !kamailio::rpc::register(&abi::rpc::TABLE) {
        log!(Error, "the RPC commands could not be registered");
        return false;
    }
    rpc::status::begin();
    if params::settings().library {
        log!(Info, "modparam db_url is not set: a library for other modules");
        // For extract_sdialog_info, which needs the tag of the reply.
        return !sl::is_loaded() || sl::bind();
    }
    if !sl::bind() {
        log!(Error, "module sl is not loaded before presence");
        return false;
    }
    if !tm::bind() {
        log!(Error, "module tm is not loaded before presence");
        return false;
    }
    completion::register();
    if !store::create() || !direct::create() || !timers::register() {
        return false;
    }
    match params::settings().db_url {
        Some(url) if store::needs_database() => store::database::bind(url),
        _ => true,
    }
}

/// In each process, after it was forked; and once before, in the first one.
fn child_init(rank: Rank) -> bool {
    if params::settings().library {
        return true;
    }
    match rank {
        Rank::Init => {
            kamailio::heap::leave_holes();
            !store::needs_database() || restore::restore()
        }
        Rank::Main => timers::fork(),
        Rank::TcpMain => true,
        _ => !store::needs_database() || store::database::open(),
    }
}

fn destroy() {
    if !params::settings().library {
        timers::last_flush();
    }
}
