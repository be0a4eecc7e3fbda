//! Every kind of operation.

use super::kind::Role::{Boss, Watcher};
use super::kind::{
    Command, Dialog, Document, Flaw, Kind, astray, command, end, fetch, go_on, initial, modify, open, refresh, refused,
    remove, unfit, wait,
};

const PRESENCE: &str = "presence";
const WINFO: &str = "presence.winfo";
const UNKNOWN: &str = "nothing";
/// So soon something runs out, in seconds.
const SOON: u32 = 1;

pub fn all() -> Vec<Kind> {
    let publications = [PRESENCE, "dialog", "message-summary"].into_iter().flat_map(publications);
    let subscriptions = [PRESENCE, WINFO].into_iter().flat_map(subscriptions);
    let refused = [refused_publishes(), refused_subscribes(), refused_strictly()].into_iter().flatten();
    publications.chain(subscriptions).chain(refused).chain(failures()).chain(commands()).collect()
}

fn publications(event: &'static str) -> [Kind; 4] {
    let named = |what: &str| format!("PUBLISH {event}: {what}");
    [
        Kind::new(named("initial, remove"), [initial(event), remove(event)]),
        Kind::new(named("modify, watched"), [modify(event).tells(Watcher)]).between(
            [open(Watcher, event), initial(event).tells(Watcher)],
            [remove(event).tells(Watcher), end(Watcher, event)],
        ),
        Kind::new(named("refresh"), [refresh(event)]).between([initial(event)], [remove(event)]),
        Kind::new(named("runs out, watched"), [initial(event).expires(SOON).tells(Watcher), wait().tells(Watcher)])
            .between([open(Watcher, event)], [end(Watcher, event)])
            .slow(),
    ]
}

fn subscriptions(event: &'static str) -> Vec<Kind> {
    let named = |what: &str| format!("SUBSCRIBE {event}: {what}");
    let mut kinds = vec![
        Kind::new(named("initial, end"), [open(Watcher, event), end(Watcher, event)]),
        Kind::new(named("refresh"), [go_on(Watcher, event)]).between([open(Watcher, event)], [end(Watcher, event)]),
        Kind::new(named("fetch"), [fetch(Watcher, event)]),
        Kind::new(named("runs out"), [open(Watcher, event).expires(SOON), wait().ends(Watcher)]).slow(),
    ];
    if event == WINFO {
        let beneath = [open(Watcher, PRESENCE).tells(Boss), end(Watcher, PRESENCE).tells(Boss)];
        kinds.push(Kind::new(named("watchers come and go"), beneath).between([open(Boss, event)], [end(Boss, event)]));
    }
    kinds
}

fn refused_publishes() -> Vec<Kind> {
    vec![
        Kind::new("PUBLISH modify, unknown tag", [astray(PRESENCE, 3600)]),
        Kind::new("PUBLISH remove, unknown tag", [astray(PRESENCE, 0)]),
        Kind::new("PUBLISH for no known package", [initial(UNKNOWN).answered(489)]),
        Kind::new("PUBLISH without Event", [initial("").answered(489)]),
        Kind::new("PUBLISH malformed XML", [unfit(PRESENCE, Document::Malformed).answered(415)]),
    ]
}

fn refused_subscribes() -> Vec<Kind> {
    let late =
        |code| Kind::new(format!("SUBSCRIBE old CSeq: {code}"), [refused(PRESENCE, Dialog::Late, Flaw::None, code)]);
    let alive =
        |kind: Kind| kind.between([open(Watcher, PRESENCE), go_on(Watcher, PRESENCE)], [end(Watcher, PRESENCE)]);
    vec![
        Kind::new("SUBSCRIBE in an unknown dialog", [refused(PRESENCE, Dialog::Unknown, Flaw::None, 481)]),
        Kind::new("SUBSCRIBE for no known package", [refused(UNKNOWN, Dialog::New, Flaw::None, 489)]),
        Kind::new("SUBSCRIBE bad Contact", [refused(PRESENCE, Dialog::New, Flaw::Contact, 400)]),
        alive(late(400)),
        alive(late(500).strict()),
    ]
}

/// What only `rfc_strict` and `min_expires` refuse.
fn refused_strictly() -> Vec<Kind> {
    let brief = refused(PRESENCE, Dialog::New, Flaw::None, 423).expires(30);
    [
        Kind::new("PUBLISH of another type", [unfit(PRESENCE, Document::Mistyped).answered(415)]),
        Kind::new("PUBLISH too brief", [initial(PRESENCE).expires(30).answered(423)]),
        Kind::new("SUBSCRIBE too brief", [brief]),
        Kind::new("SUBSCRIBE accepts nothing", [refused(PRESENCE, Dialog::New, Flaw::Accept, 406)]),
    ]
    .into_iter()
    .map(Kind::strict)
    .collect()
}

fn failures() -> Vec<Kind> {
    let whole = [open(Watcher, PRESENCE), end(Watcher, PRESENCE)];
    vec![
        Kind::new("NOTIFY answered 481", [open(Watcher, PRESENCE)]).notifies_answered(Some(481)),
        Kind::new("NOTIFY answered 500", whole).notifies_answered(Some(500)),
        Kind::new("NOTIFY not answered", [open(Watcher, PRESENCE)]).notifies_answered(None).strict(),
    ]
}

fn commands() -> Vec<Kind> {
    [
        ("refreshWatchers, state", command(Command::Refresh(1)).tells(Watcher)),
        // The package has no rules (`force_active`), so there is nothing to decide again.
        ("refreshWatchers, rules", command(Command::Refresh(0)).answered(500)),
        ("updateWatchers", command(Command::Update).answered(500)),
        ("cleanup", command(Command::Cleanup)),
        ("watcher_list", command(Command::Watchers)),
        ("presentity_show", command(Command::Publications)),
        ("presentity_list", command(Command::Some)),
    ]
    .into_iter()
    .map(|(name, step)| {
        let before = [initial(PRESENCE), open(Watcher, PRESENCE)];
        let after = [end(Watcher, PRESENCE), remove(PRESENCE)];
        Kind::new(format!("RPC {name}"), [step]).between(before, after).commanded()
    })
    .collect()
}
