//! What the script functions do. Return codes as the C module has them: 1 for success, -1 for failure.

use crate::abi::{packages, pv};
use crate::host::{self, Surroundings};
use crate::ingress;
use crate::params::settings;
use crate::store::{self, database};
use kamailio::log;
use kamailio::msg::Message;
use kamailio::str::{show, show_start};
use kamailio::uri::UserHost;
use presence_core::host::{Host as _, Publications, Resource, Subscriptions};
use presence_core::publish::Incoming;
use presence_core::refusal::{Cap, Refusal};
use presence_core::server::Server;
use presence_core::subscribe::Subscribe;
use presence_core::uri::sip_uri;

/// Runs one journey of the core, for a request or for nobody. Gives its result (none without a store), and whether a
/// final reply was sent.
pub fn with_server<R>(
    msg: Option<&mut Message<'_>>,
    run: impl FnOnce(&mut Server<'_, Surroundings<'_, '_>, dyn Subscriptions + '_, dyn Publications + '_>) -> R,
) -> (Option<R>, bool) {
    let _waits = msg.is_some().then(database::wait_for_one_answer);
    let mut host = Surroundings::new(msg);
    let result = store::with(host.now(), |subscriptions, publications| {
        run(&mut Server { host: &mut host, subscriptions, publications })
    });
    if result.is_none() {
        log!(Error, "there is no store: modparam db_url is not set, or the server is only starting");
    }
    (result, host.has_replied())
}

/// What the script gets for an outcome. A 412 counts as handled, as in the C module.
fn answer(outcome: Result<(), Refusal>, msg: &mut Message<'_>, replied: bool) -> i32 {
    let Err(refusal) = outcome else { return 1 };
    if !replied {
        Surroundings::new(Some(msg)).refuse(refusal);
    }
    if refusal == Refusal::ConditionFailed { 1 } else { -1 }
}

/// `handle_publish([sender_uri])`.
pub fn handle_publish(msg: &mut Message<'_>, sender: Option<&[u8]>) -> i32 {
    let sender = sender.map(<[u8]>::to_vec);
    let request = match ingress::publish(msg) {
        Ok(request) => request,
        Err(refusal) => return answer(Err(refusal), msg, false),
    };
    let request = presence_core::publish::Publish { sender: sender.as_deref(), ..request };
    if let Err(refusal) = store::widths::check_publish(&request) {
        return answer(Err(refusal), msg, false);
    }
    if sender.as_deref().is_some_and(|uri| kamailio::uri::parse(uri).is_none()) {
        return answer(Err(Refusal::BadRequest), msg, false);
    }
    let (outcome, replied) = with_server(Some(msg), |server| server.publish(&request));
    answer(outcome.unwrap_or(Err(Refusal::ServerError)), msg, replied)
}

/// `handle_subscribe()`; `watcher` is none for the one in From.
pub fn handle_subscribe(msg: &mut Message<'_>, watcher: Option<UserHost<'_>>) -> i32 {
    pv::remember(msg, None);
    let watcher = watcher.map(|w| (w.user.to_vec(), w.host.to_vec()));
    let watcher = watcher.as_ref().map(|(user, host)| UserHost { user, host });
    let mut texts = ingress::Texts::default();
    let request = match ingress::subscribe(msg, watcher, &settings().core.server_address, &mut texts) {
        Ok(request) => request,
        Err(refusal) => return answer(Err(refusal), msg, false),
    };
    if let Err(refusal) = store::widths::check_subscribe(&request) {
        return answer(Err(refusal), msg, false);
    }
    let (outcome, replied) = with_server(Some(msg), |server| server.subscribe(&request));
    let outcome = outcome.unwrap_or(Err(Refusal::ServerError));
    if let Err(Refusal::TooMany(cap)) = outcome {
        tell_of_cap(cap, &request);
    }
    let outcome = outcome.map(|subscription| pv::remember(msg, Some(subscription)));
    answer(outcome, msg, replied)
}

/// Says in the log that a watcher, or a presentity, has as many subscriptions as it may have.
fn tell_of_cap(cap: Cap, request: &Subscribe<'_>) {
    static LINES: [log::Seldom; 2] = [const { log::Seldom::new() }; 2];
    let asked = request.request_uri.unwrap_or(request.to);
    let (line, name, most, who) = match cap {
        Cap::Watcher => (&LINES[0], "max_subs_per_watcher", settings().core.most_per_watcher, request.watcher),
        Cap::Presentity => (&LINES[1], "max_subs_per_presentity", settings().core.most_per_presentity, asked),
    };
    if let Some(skipped) = line.due() {
        let who = sip_uri(who.user, who.host);
        log!(
            Warning,
            "a SUBSCRIBE is refused: {} has the {most} subscriptions that {name} allows ({skipped} more since the last line)",
            show_start(&who)
        );
    }
}

/// `handle_subscribe(watcher_uri)`.
pub fn handle_subscribe_uri(msg: &mut Message<'_>, watcher: &[u8]) -> i32 {
    match kamailio::uri::parse(watcher) {
        Some(watcher) => handle_subscribe(msg, Some(watcher)),
        None => {
            log!(Error, "handle_subscribe: the watcher \"{}\" is no URI", show(watcher));
            -1
        }
    }
}

/// `pres_auth_status(watcher_uri, presentity_uri)`: 1 active, 2 pending, 3 terminated, 4 waiting, 5 politely blocked.
pub fn auth_status(watcher: &[u8], presentity: &[u8]) -> i32 {
    crate::auth::status_of(watcher, presentity)
}

/// What a function is about; none, with a sentence in the log, if there is no such package.
fn resource<'a>(function: &str, presentity: &'a [u8], event: &[u8]) -> Option<Resource<'a>> {
    let package = packages::by_name(event);
    if package.is_none() {
        log!(Error, "{function}: there is no package \"{}\"", show_start(event));
    }
    package.map(|package| Resource { uri: presentity, package })
}

/// `pres_has_subscribers(presentity_uri, event)`.
pub fn has_subscribers(presentity: &[u8], event: &[u8]) -> i32 {
    let Some(resource) = resource("pres_has_subscribers", presentity, event) else { return -1 };
    let watchers = store::with(host::now(), |subscriptions, _| subscriptions.watchers(resource));
    if watchers.is_some_and(|w| w.is_ok_and(|w| !w.is_empty())) { 1 } else { -1 }
}

/// `pres_update_watchers(presentity_uri, event)`: the rules changed.
pub fn update_watchers(presentity: &[u8], event: &[u8]) -> i32 {
    let Some(resource) = resource("pres_update_watchers", presentity, event) else { return -1 };
    if crate::auth::update(resource, None).is_ok() { 1 } else { -1 }
}

/// `pres_refresh_watchers(presentity_uri, event, type[, file_uri, file_name])`: 0 the rules changed, 1 the state in
/// the table, 2 the hard state in a file.
pub fn refresh_watchers(presentity: &[u8], event: &[u8], kind: i32, file: Option<(&[u8], &[u8])>) -> i32 {
    let Some(resource) = resource("pres_refresh_watchers", presentity, event) else { return -1 };
    let done = match (kind, file) {
        (0, _) => crate::auth::update(resource, None).is_ok(),
        (2, Some((uri, name))) => put_hard_state(resource, uri, name),
        (2, None) => false,
        _ => true,
    };
    if !done {
        return -1;
    }
    if kind != 0 && with_server(None, |server| server.refresh(presentity, resource.package)).0.is_none() {
        -1
    } else {
        1
    }
}

/// Takes the hard state of a presentity from its package, or takes it away.
fn put_hard_state(resource: Resource<'_>, file_uri: &[u8], file_name: &[u8]) -> bool {
    log!(Info, "hard state {} ({}) of {} changed", show(file_name), show(file_uri), show(resource.uri));
    let Some(uri) = kamailio::uri::parse(resource.uri) else { return false };
    let uri = sip_uri(uri.user, uri.host);
    let resource = Resource { uri: &uri, package: resource.package };
    let Ok(document) = packages::hard_state(resource, file_uri) else { return false };
    let incoming = Incoming {
        resource,
        old_etag: document.is_none().then_some(file_name),
        given_etag: Some(file_name),
        body: document.as_deref().unwrap_or_default(),
        sender: None,
        lifetime: if document.is_some() { None } else { Some(presence_core::time::Seconds(0)) },
        replace: true,
    };
    if document.is_some() && presence_core::body::dialogs(incoming.body).is_err() {
        log!(Error, "the hard state of {} is not well-formed", show(resource.uri));
        return false;
    }
    with_server(None, |server| server.put(&incoming)).0.is_some_and(|outcome| outcome.is_ok())
}

/// The sphere that a presentity published last (`enable_sphere_check`).
pub fn sphere(uri: &[u8]) -> Option<Vec<u8>> {
    let package = packages::by_name(b"presence")?;
    with_server(None, |server| server.sphere(Resource { uri, package })).0.flatten()
}
