//! The core's surroundings, as Kamailio provides them.

use crate::abi::packages::{self, Rules};
use crate::abi::pv;
use crate::direct;
use crate::params::settings;
use crate::store::{self, database};
use kamailio::msg::Message;
use kamailio::request::{Request as Letter, Sent as Way};
use kamailio::tm;
use kamailio::{log, sl};
use presence_core::config::Config;
use presence_core::host::{Authorisation, Decision, Host, Notice, Request, Resource, Sent, Tied};
use presence_core::package::{Package, PackageId};
use presence_core::refusal::{self, Fault, Refusal};
use presence_core::render::{self, Transport};
use presence_core::subscription::Field;
use presence_core::time::{Millis, Now, Timestamp};
use presence_core::uri::push_sip_uri;
use presence_core::winfo::Watcher;
use std::rc::Rc;

/// 2015-01-01: `priority` counts seconds from here, so that it fits an integer column for long.
const PRIORITY_EPOCH: u32 = 1_420_070_400;

/// The surroundings for one input: a request, a reply, a tick of a timer.
#[derive(Debug)]
pub struct Surroundings<'m, 'r> {
    msg: Option<&'m mut Message<'r>>,
    /// When the input came: whatever it leads to counts from here, so that a NOTIFY never grants more than the reply.
    now: Now,
    packages: Rc<[Package]>,
    replied: bool,
    /// The rules of the presentity that is being told of: asked for once.
    rules: Option<(Vec<u8>, Rules)>,
}

impl<'m, 'r> Surroundings<'m, 'r> {
    /// For a request; or for something else, which nobody waits for.
    pub fn new(msg: Option<&'m mut Message<'r>>) -> Self {
        Self { msg, now: now(), packages: packages::all(), replied: false, rules: None }
    }

    /// Whether a final reply was sent.
    pub fn has_replied(&self) -> bool {
        self.replied
    }

    /// Sends the reply that a refusal is, unless somebody has replied already.
    pub fn refuse(&mut self, refusal: Refusal) {
        if self.replied {
            return;
        }
        let headers = refusal.headers(&self.packages);
        self.reply(refusal.status(), &headers);
    }

    fn rules(&mut self, resource: Resource<'_>) -> Result<Option<&Rules>, Fault> {
        let package = resource.package.of(&self.packages).ok_or(Fault::Package)?;
        if !package.needs_auth {
            return Ok(None);
        }
        if self.rules.as_ref().is_none_or(|(uri, _)| uri != resource.uri) {
            self.rules = Some((resource.uri.to_vec(), Rules::of(resource)?));
        }
        Ok(self.rules.as_ref().map(|(_, rules)| rules))
    }
}

/// Both clocks.
pub fn now() -> Now {
    let unix = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    let steady = kamailio::proc::steady_clock();
    Now {
        unix: Timestamp(u32::try_from(unix.as_secs()).unwrap_or(u32::MAX)),
        steady: Millis(u64::try_from(steady.as_millis()).unwrap_or(u64::MAX)),
    }
}

impl Host for Surroundings<'_, '_> {
    fn now(&self) -> Now {
        self.now
    }

    fn random(&mut self) -> u64 {
        kamailio::proc::random()
    }

    fn config(&self) -> &Config {
        &settings().core
    }

    fn packages(&self) -> Rc<[Package]> {
        Rc::clone(&self.packages)
    }

    fn reply(&mut self, (code, phrase): refusal::Status, headers: &[u8]) -> bool {
        let Some(msg) = self.msg.as_deref_mut() else { return true };
        self.replied = true;
        database::settle();
        database::answered();
        let sent = sl::reply(msg, code, phrase, headers);
        if !sent {
            log!(Error, "the reply {code} could not be sent");
        }
        sent
    }

    fn check_request(&mut self, package: PackageId, publish: bool) -> Result<(), Fault> {
        let Some(msg) = self.msg.as_deref_mut() else { return Ok(()) };
        let watch = sl::Watch::start();
        let outcome = packages::check_request(package, publish, msg);
        if outcome.is_err() {
            // DIFFERS: a package that refuses may have replied itself; the C module then sends a second final reply.
            self.replied |= watch.replied();
        }
        outcome
    }

    fn authorise(&mut self, request: &Request<'_>) -> Result<Authorisation, Fault> {
        crate::auth::authorise(&self.packages, request)
    }

    fn decide_again(&mut self, resource: Resource<'_>) -> Vec<Decision> {
        match Rules::of(resource) {
            Ok(rules) if rules.exist() => crate::auth::decide_again(resource, Some(rules)).0,
            _ => Vec::new(),
        }
    }

    fn aggregate(&mut self, resource: Resource<'_>, documents: &[&[u8]], gone: Option<usize>) -> Option<Vec<u8>> {
        packages::aggregate(resource, documents, gone)
    }

    fn waiting_watchers(&mut self, resource: Resource<'_>) -> Result<Vec<Watcher>, Fault> {
        crate::auth::waiting(&self.packages, resource)
    }

    fn send(&mut self, notice: &Notice, body: &[u8]) -> Sent {
        let subscription = &notice.subscription;
        let resource = Resource { uri: &subscription.presentity, package: subscription.package };
        let packages = Rc::clone(&self.packages);
        let Some(package) = subscription.package.of(&packages) else { return Sent::Failed };
        // Rules that cannot be read let nothing through.
        let rules = if body.is_empty() { Ok(None) } else { self.rules(resource) };
        let sent =
            rules.and_then(|rules| packages::adapt(subscription, body, rules, |body| send(notice, package, body)));
        sent.unwrap_or_else(|_| {
            log!(Error, "the document for a watcher of {} could not be made", kamailio::str::show(resource.uri));
            Sent::Failed
        })
    }

    fn tie(&mut self, what: &Tied<'_>, until: Timestamp) {
        let Some(ties) = store::ties() else { return };
        match self.msg.as_ref().and_then(|msg| msg.connection()) {
            Some(connection) => {
                if ties.tie(what, connection, until).is_err() {
                    log!(
                        Error,
                        "no shared memory to remember a connection: what came over it lasts as long as it was granted"
                    );
                    ties.untie(what);
                }
            }
            None => ties.untie(what),
        }
    }

    fn untie(&mut self, what: &Tied<'_>) {
        if let Some(ties) = store::ties() {
            ties.untie(what);
        }
    }

    fn row_id(&mut self) -> Vec<u8> {
        kamailio::proc::unique_id()
    }

    fn handed_over(&mut self) {
        crate::timers::wake();
    }

    fn priority(&mut self) -> i32 {
        if settings().xavp.is_empty() {
            return 0;
        }
        let now = self.now().unix.0.saturating_sub(PRIORITY_EPOCH);
        kamailio::xavp::int(settings().xavp, b"priority").unwrap_or_else(|| i32::try_from(now).unwrap_or(i32::MAX))
    }
}

/// Sends one NOTIFY.
fn send(notice: &Notice, package: &Package, body: &[u8]) -> Sent {
    let subscription = &notice.subscription;
    let (status, reason) = subscription.told_state(notice.left);
    let socket = subscription.text(Field::Socket);
    let mut headers = Vec::with_capacity(256);
    render::push_notify_headers(
        &mut headers,
        &render::Notify {
            event: &package.name,
            event_params: subscription.text(Field::EventParams),
            contact: subscription.text(Field::LocalContact),
            transport: Transport::of_socket(socket),
            status,
            reason,
            expires: notice.left.0,
            content_type: (!body.is_empty()).then_some(package.content_type.as_slice()),
        },
    );
    let (mut local, mut remote) = (Vec::with_capacity(64), Vec::with_capacity(64));
    push_sip_uri(&mut local, subscription.text(Field::ToUser), subscription.text(Field::ToDomain));
    push_sip_uri(&mut remote, subscription.text(Field::FromUser), subscription.text(Field::FromDomain));
    let dialog = subscription.texts.dialog();
    let letter = Letter {
        method: "NOTIFY",
        call_id: dialog.call_id,
        local_tag: dialog.to_tag,
        remote_tag: dialog.from_tag,
        local_uri: &local,
        remote_uri: &remote,
        target: subscription.text(Field::Contact),
        route_set: subscription.text(Field::RecordRoute),
        socket,
        cseq: subscription.local_cseq.wrapping_add(1),
        headers: &headers,
        body,
    };
    let told = |next_hop: &[u8]| {
        let (level, facility) = settings().notify_log;
        if log::enabled(level) {
            let show = kamailio::str::show;
            log::write_to(
                facility,
                level,
                "[notify]",
                format_args!(
                    "NOTIFY {} via {} on behalf of {} for event {} : {}",
                    show(&remote),
                    show(next_hop),
                    show(&local),
                    show(&package.name),
                    show(dialog.call_id)
                ),
            );
        }
    };
    let token = notice.token.0;
    let send = || direct::send(&letter, token, told).unwrap_or_else(|| tm::send(&letter, token, told));
    match pv::with_current(subscription, send) {
        Way::UnderWay => Sent::UnderWay,
        Way::Dropped => Sent::Dropped,
        Way::Failed => {
            log!(Error, "no memory to send a NOTIFY to {}", kamailio::str::show(subscription.text(Field::Contact)));
            Sent::Failed
        }
        Way::Unreachable => {
            let show = kamailio::str::show;
            log!(
                Error,
                "the NOTIFY for watcher sip:{}@{} of {} ({}) could not be sent to {}",
                show(subscription.text(Field::WatcherUser)),
                show(subscription.text(Field::WatcherDomain)),
                show(&subscription.presentity),
                show(&package.name),
                show(subscription.text(Field::Contact))
            );
            Sent::Unreachable
        }
    }
}
