//! The table of RPC commands.

use crate::rpc::{self, CODE, Outcome, presentities, status, sync, watchers};
use core::ffi::{CStr, c_char, c_void};
use core::ptr::null;
use kamailio::entry::guard;
use kamailio::module::Table;
use kamailio::raw;
use kamailio::rpc::{Call, command, last_command};

/// Declares the host's table: name, what it answers with, body and explanation.
macro_rules! commands {
    ($($name:ident $answer:ident $function:ident => $body:expr, $doc:literal;)+) => {
        $(
            unsafe extern "C" fn $function(rpc: *mut raw::rpc_t, context: *mut c_void) {
                guard(stringify!($function), (), || {
                    // SAFETY: the host's own pointers of the call in progress.
                    let call = unsafe { Call::new(rpc, context) };
                    let body: fn(&Call) -> Outcome = $body;
                    if let Err(sentence) = body(&call) {
                        call.fault(CODE, &sentence);
                    }
                });
            }
        )+

        const COUNT: usize = { [$(stringify!($name),)+].len() };

        /// The commands.
        pub static TABLE: Table<raw::rpc_export_t, { COUNT + 1 }> = Table::new([
            $({
                static DOC: Table<*const c_char, 2> = Table::new([text(concat!($doc, "\0")).as_ptr(), null()]);
                let name = text(concat!("presence.", stringify!($name), "\0"));
                command(name, $function, &DOC, matches!(Answer::$answer, Answer::List))
            },)+
            last_command(),
        ]);
    };
}

/// What a command answers with.
enum Answer {
    One,
    List,
}

const fn text(text: &'static str) -> &'static CStr {
    match CStr::from_bytes_with_nul(text.as_bytes()) {
        Ok(text) => text,
        Err(_) => c"",
    }
}

commands! {
    cleanup One cleanup => rpc::cleanup, "Removes what has expired from memory and from the three tables.";
    refreshWatchers One refresh_watchers => rpc::refresh_watchers, "Tells the watchers of a presentity again.";
    updateWatchers One update_watchers => rpc::update_watchers, "Decides again about the watchers of a presentity.";
    presentity_list List presentity_list => presentities::list, "Lists publications: [full].";
    presentity_show List presentity_show => presentities::show,
        "Lists the publications of a presentity: basic|full user|* domain|*.";
    watcher_list List watcher_list => watchers::list,
        "Lists subscriptions: basic|full presentity|* [watcher=uri] [event=package] [callid=text].";
    publish_cache_sync One publish_cache_sync => sync::run, "Counts the publications in the table again.";
    status One show_status => status::show, "What there is, how much is waiting, and how the database does: [check].";
}
