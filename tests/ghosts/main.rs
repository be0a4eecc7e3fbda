//! What keeps subscriptions and dialogs from staying that nobody is behind any more, on a real Kamailio: a phone that
//! was started again, limits, Expires that are spread, calls that nobody ends, connections that are closed. Kamailio's own module has none of these
//! parameters and does not start with them.

mod age;
mod caps;
mod close;
#[path = "../connected/mod.rs"]
mod connected;
mod copies;
mod replace;
mod spread;

use testkit::phone::{Dialog, pidf};
use testkit::{Builder, Database, Kamailio, Message, Phone};

/// Every `subs_db_mode`.
const MODES: [u8; 4] = [0, 1, 2, 3];

/// A server in this `subs_db_mode`, with SQLite where it needs a database. Nothing is swept or flushed unless it is
/// asked for (`presence.cleanup`).
fn builder(subs: u8) -> Builder {
    let builder = Kamailio::builder().param("subs_db_mode", subs).param("publ_cache", 2);
    let builder = builder.param("clean_period", 0).param("db_update_period", 600);
    if subs == 0 { builder } else { builder.database(Database::Sqlite("wal")) }
}

/// Asks for a new dialog; `contact` is what follows the Contact URI. The reply, and the dialog if it is a 2xx.
fn asks(phone: &mut Phone, presentity: &str, event: &str, contact: &str) -> (Message, Dialog) {
    let mut dialog = Dialog { cseq: 1, ..Dialog::new(presentity, event) };
    let plain = format!("Contact: <{}>", phone.contact());
    let request = phone.subscribe_request(&dialog, Some(600), &[]).replace(&plain, &format!("{plain}{contact}"));
    let reply = phone.ask(&request);
    dialog.to_tag = reply.to_tag().to_owned();
    (reply, dialog)
}

/// Opens a dialog and takes its first NOTIFY.
fn opens(phone: &mut Phone, presentity: &str, event: &str, contact: &str) -> Dialog {
    let (reply, dialog) = asks(phone, presentity, event, contact);
    assert_eq!(reply.code(), 200, "{reply:?}");
    let notify = phone.notify();
    assert_eq!(notify.header("Call-ID"), Some(dialog.call_id.as_str()));
    dialog
}

/// Publishes a note for a presentity.
fn publishes(server: &Kamailio, presentity: &str, note: &str) {
    let mut phone = Phone::new(presentity, server.port);
    let reply = phone.publish("presence", None, Some(600), &pidf(presentity, "open", note));
    assert_eq!(reply.code(), 200, "{reply:?}");
}

/// The Call-IDs of the dialogs that are told of a change; none is told any more when a server that was asked something
/// has answered, and some time has passed.
fn told(phone: &mut Phone, what: &str) -> Vec<String> {
    let mut calls = Vec::new();
    let mut wait = 5.0;
    while let Some(notify) = phone.notify_within(wait) {
        assert!(notify.body.contains(what), "{notify:?}");
        calls.push(notify.header("Call-ID").unwrap_or_default().to_owned());
        wait = 0.3;
    }
    calls
}
