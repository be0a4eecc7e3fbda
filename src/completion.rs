//! A NOTIFY was answered, or nobody did.

use crate::abi::pv;
use crate::commands::with_server;
use crate::host::now;
use crate::params::settings;
use crate::store;
use kamailio::log;
use kamailio::request::Completed;
use kamailio::route::EventRoute;
use kamailio::str::show;
use kamailio::tm;
use kamailio::xavp;
use presence_core::host::Token;
use presence_core::outcome::{self, Answer};
use std::sync::OnceLock;

static ROUTE: OnceLock<Option<EventRoute>> = OnceLock::new();

/// Says who is told; in `mod_init`.
pub fn register() {
    let callback = settings().event_callback;
    let route = EventRoute::find(c"presence:notify-reply", callback);
    if let (None, Some(name)) = (route, callback) {
        log!(Warning, "modparam event_callback is \"{}\": no KEMI script is loaded (cfgengine)", show(name));
    }
    let _ = ROUTE.set(route);
    tm::on_completed(completed);
}

/// A NOTIFY was answered; in whatever process.
pub fn completed(done: &Completed<'_>) {
    let token = Token(done.token);
    run_route(token, done);
    let give_up = xavp::int(settings().xavp, b"delete_subscription").is_some_and(|value| value != 0);
    let retry_after = (done.code >= 300).then(|| outcome::retry_after(done.reply_text())).flatten();
    with_server(None, |server| server.completed(token, Answer { code: done.code, retry_after }, give_up));
}

/// `event_route[presence:notify-reply]` or `event_callback`, over the NOTIFY as it was sent.
fn run_route(token: Token, done: &Completed<'_>) {
    let Some(route) = ROUTE.get().copied().flatten() else { return };
    let Some(subscription) = store::with(now(), |subscriptions, _| subscriptions.of_token(token)).flatten() else {
        return;
    };
    let reply = if done.code == 408 || done.reply.is_null() { pv::no_answer() } else { done.reply };
    pv::with_current(&subscription, || pv::with_reply(reply, || route.run_over(done.request)));
}
