//! The C interface (`bind_presence`, `presence_api_t`) from a compiled C caller, `tests/abi/caller.c`. The same tests
//! run against Kamailio's own module with `PRESENCE_SO=stock`.

mod early;
mod exports;
mod interface;
mod memcheck;
mod packages;
mod readme;
mod rules;
mod tables;

use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use testkit::{Builder, Kamailio};

/// A C module of this folder, built once.
fn module(name: &str, built: &'static OnceLock<PathBuf>) -> &'static Path {
    built.get_or_init(|| {
        let source = testkit::root().join("tests/abi").join(name);
        testkit::cmodule::build(&source, Path::new(env!("CARGO_TARGET_TMPDIR")))
    })
}

/// The caller.
fn caller() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    module("caller.c", &BUILT)
}

fn builder() -> Builder {
    Kamailio::builder().extra(&format!("loadmodule \"{}\"", caller().display()))
}

/// The answer of a command, without the spaces around it.
fn ask(server: &Kamailio, arguments: &[&str]) -> String {
    server.rpc(arguments).trim().to_owned()
}

/// What the calls at the start returned: "name=value" words.
fn started(server: &Kamailio) -> Vec<String> {
    ask(server, &["caller.started"]).split_whitespace().map(str::to_owned).collect()
}
