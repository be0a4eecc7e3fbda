//! What the RPC commands do. Every fault has the code 500, as in the C module.

mod answer;
mod filters;
pub mod presentities;
pub mod status;
pub mod sync;
pub mod watchers;

use crate::params::settings;
use kamailio::rpc::Call;
use std::borrow::Cow;

/// The code of every fault.
pub const CODE: i32 = 500;

/// The sentence of a fault.
pub type Fault = Cow<'static, str>;

/// How a command ends.
pub type Outcome = Result<(), Fault>;

const NOT_ENOUGH: Fault = Cow::Borrowed("Not enough parameters");
const NO_SUCH_MODE: Fault = Cow::Borrowed("Unknown output mode");
const EMPTY_URI: Fault = Cow::Borrowed("Empty presentity URI");

/// Commands about what the module keeps: a library keeps nothing.
fn check_not_library() -> Outcome {
    if settings().library {
        // DIFFERS: the C module answers as if there were nothing, or goes through tables that it never made.
        return Err("A library keeps no subscriptions and no publications: db_url is not set".into());
    }
    Ok(())
}

/// `presence.cleanup`.
pub fn cleanup(call: &Call) -> Outcome {
    check_not_library()?;
    crate::timers::sweep_all();
    call.line("Reload OK");
    Ok(())
}

/// A presentity and an event, as two commands take them.
struct Watched {
    uri: Vec<u8>,
    event: Vec<u8>,
}

impl Watched {
    fn read(call: &Call) -> Result<Self, Fault> {
        let (Some(uri), Some(event)) = (call.text(), call.text()) else { return Err(NOT_ENOUGH) };
        Ok(Self { uri, event })
    }

    fn check(&self) -> Outcome {
        if self.uri.is_empty() {
            return Err(EMPTY_URI);
        }
        if self.event.is_empty() {
            return Err("Empty event parameter".into());
        }
        Ok(())
    }
}

/// `presence.refreshWatchers uri event type [file_uri file_name]`.
pub fn refresh_watchers(call: &Call) -> Outcome {
    let watched = Watched::read(call)?;
    let kind = call.number().ok_or(NOT_ENOUGH)?;
    watched.check()?;
    let file = if kind == 2 { Some(file(call)?) } else { None };
    check_not_library()?;
    let file = file.as_ref().map(|(uri, name)| (uri.as_slice(), name.as_slice()));
    if crate::commands::refresh_watchers(&watched.uri, &watched.event, kind, file) != 1 {
        return Err("Execution failed".into());
    }
    Ok(())
}

/// The file with a hard state: its URI and its name.
fn file(call: &Call) -> Result<(Vec<u8>, Vec<u8>), Fault> {
    let file = call.text().zip(call.text()).ok_or("No file uri or name parameters")?;
    if file.0.is_empty() {
        return Err("Empty file uri parameter".into());
    }
    if file.1.is_empty() {
        return Err("Empty file name parameter".into());
    }
    Ok(file)
}

/// `presence.updateWatchers uri event`.
pub fn update_watchers(call: &Call) -> Outcome {
    let watched = Watched::read(call)?;
    watched.check()?;
    check_not_library()?;
    if crate::commands::update_watchers(&watched.uri, &watched.event) != 1 {
        return Err("Processing error".into());
    }
    Ok(())
}

/// How much of each entry a list shows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Detail {
    Basic,
    Full,
}

impl Detail {
    fn of(mode: &[u8]) -> Result<Self, Fault> {
        match mode {
            b"basic" => Ok(Self::Basic),
            b"full" => Ok(Self::Full),
            _ => Err(NO_SUCH_MODE),
        }
    }
}
