//! RPC commands.

use crate::commands;
use core::ffi::{c_char, c_void};
use core::ptr::null;
use kamailio::entry::guard;
use kamailio::module::Table;
use kamailio::raw;
use kamailio::rpc::{Call, Function, command, last_command};

/// Runs a command's body with its call.
macro_rules! commands {
    ($($name:ident => $body:expr;)+) => {
        $(
            unsafe extern "C" fn $name(rpc: *mut raw::rpc_t, context: *mut c_void) {
                guard(stringify!($name), (), || {
                    // SAFETY: the host's own pointers of the call in progress.
                    let call = unsafe { Call::new(rpc, context) };
                    let body: fn(&Call) = $body;
                    body(&call);
                });
            }
        )+
    };
}

commands! {
    cleanup => |call| {
        crate::timers::sweep_all();
        call.line("Reload OK");
    };
    refresh_watchers => commands::rpc_refresh;
    update_watchers => commands::rpc_update;
    show_status => status;
}

/// What there is in memory, in numbers; bytes in memory of the records' texts and documents, and of the tables.
fn status(call: &Call) {
    let Some(census) = crate::store::shared().map(|store| store.census()) else {
        return call.fault(500, "The store is not there");
    };
    let census = match census {
        Ok(census) => census,
        Err(broken) => return call.fault(500, broken),
    };
    let Some(answer) = call.add_struct() else { return };
    let texts = kamailio::shm::Pool::in_use().saturating_sub(census.structures);
    for (name, number) in [
        (c"subscriptions", census.subscriptions),
        (c"publications", census.publications),
        (c"resources", census.resources),
        (c"notifies_waiting", census.queued),
        (c"notifies_elsewhere", census.guests),
        (c"subscriptions_leaving", census.leaving),
        (c"rows_behind", census.rows_behind),
        (c"rows_to_delete", census.gone),
        (c"text_bytes", texts),
        (c"table_bytes", census.structures),
        (c"parts_skipped", census.skipped),
    ] {
        answer.text(name, number.to_string().as_bytes());
    }
}

static STATUS: Table<*const c_char, 2> = doc(c"What there is in memory, in numbers.");
static CLEANUP: Table<*const c_char, 2> = doc(c"Removes what has expired from memory and from the three tables.");
static REFRESH: Table<*const c_char, 2> = doc(c"Tells the watchers of a presentity again.");
static UPDATE: Table<*const c_char, 2> = doc(c"Decides again about the watchers of a presentity.");

const fn doc(text: &'static core::ffi::CStr) -> Table<*const c_char, 2> {
    Table::new([text.as_ptr(), null()])
}

const fn entry(
    name: &'static core::ffi::CStr,
    function: Function,
    doc: &'static Table<*const c_char, 2>,
    list: bool,
) -> raw::rpc_export_t {
    command(name, function, doc, list)
}

/// The commands.
pub static TABLE: Table<raw::rpc_export_t, 5> = Table::new([
    entry(c"presence.cleanup", cleanup, &CLEANUP, false),
    entry(c"presence.refreshWatchers", refresh_watchers, &REFRESH, false),
    entry(c"presence.updateWatchers", update_watchers, &UPDATE, false),
    entry(c"presence.status", show_status, &STATUS, false),
    last_command(),
]);
