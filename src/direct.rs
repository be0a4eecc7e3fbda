//! NOTIFYs without the host's transactions (`notify_transport` "direct"): sent with the host's own function for sending,
//! repeated and given up as RFC 3261 17.1.2 has it, their replies known by their branch.
//!
//! What only the transaction module can do stays with it: names that have to be resolved, strict routes, scripts that
//! look at each request of ours.

use crate::completion::completed;
use crate::host;
use crate::params::settings;
use crate::store::SharedFlights;
use allocator_api2::boxed::Box;
use kamailio::direct::{Destination, Prepared, prepare};
use kamailio::log;
use kamailio::msg::Message;
use kamailio::request::{Completed, Request, Sent};
use kamailio::shm::Pool;
use presence_core::dialog::DialogId;
use presence_core::host::Token;
use presence_core::store::{Flight, Flights, Number};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// How often somebody looks what is due.
const TICK: Duration = Duration::from_millis(20);

/// A branch of ours: RFC 3261's beginning and this, a random number of this run, the number of the flight.
const OURS: &str = "z9hG4bKpresence-";

struct Direct {
    flights: SharedFlights,
    /// A branch whose number is still to be written.
    branch: Vec<u8>,
    /// It was said that some NOTIFYs go through tm nevertheless.
    said: Box<AtomicBool, Pool>,
}

impl Direct {
    /// Where in a branch the number begins.
    fn number_at(&self) -> usize {
        self.branch.len() - Number::LEN
    }
}

static DIRECT: OnceLock<Direct> = OnceLock::new();

/// Makes what is needed, if it is wanted and nobody would miss the transactions; in `mod_init`.
pub fn create() -> bool {
    if !settings().direct {
        return true;
    }
    if let Some(why) = kamailio::direct::obstacle() {
        log!(Warning, "modparam notify_transport is \"direct\", but {why}: all NOTIFYs go through tm");
        return true;
    }
    let made =
        Flights::new(kamailio::proc::random(), Pool).ok().zip(Box::try_new_in(AtomicBool::new(false), Pool).ok());
    let Some((flights, said)) = made else {
        log!(Error, "no shared memory for NOTIFYs: start the server with more (-m)");
        return false;
    };
    let run = kamailio::proc::random();
    let branch = format!("{OURS}{run:016x}.{}", "0".repeat(Number::LEN)).into_bytes();
    DIRECT.set(Direct { flights, branch, said }).is_ok()
}

/// Processes that are needed for it.
pub fn processes() -> u32 {
    DIRECT.get().map_or(0, |_| 1)
}

/// NOTIFYs under way.
pub fn under_way() -> u32 {
    DIRECT.get().map_or(0, |direct| direct.flights.count())
}

/// Bytes of shared memory that it holds beside messages.
pub fn bytes() -> usize {
    DIRECT.get().map_or(0, |direct| direct.flights.bytes() + size_of::<AtomicBool>())
}

/// Sends a request, if that is possible without tm. `told` gets the next hop.
pub fn send(request: &Request<'_>, token: u64, told: impl FnOnce(&[u8])) -> Option<Sent> {
    let direct = DIRECT.get()?;
    let Some(Prepared { mut message, branch_at, to, next_hop }) = prepare(request, &direct.branch) else {
        if !direct.said.swap(true, Ordering::Relaxed) {
            let show = kamailio::str::show;
            log!(Info, "the NOTIFY to {} goes through tm, as others may: no address in numbers", show(request.target));
        }
        return None;
    };
    let dialog = DialogId { call_id: request.call_id, to_tag: request.local_tag, from_tag: request.remote_tag };
    let flight = Flight {
        to,
        is_reliable: to.is_reliable(),
        token: Token(token),
        digest: direct.flights.digest(dialog, request.cseq),
    };
    if direct.flights.begin(&mut message, branch_at + direct.number_at(), flight, host::now().steady).is_err() {
        return Some(Sent::Failed);
    }
    // What cannot be sent now is tried again and given up like what gets lost, as tm does it.
    to.send(&message);
    told(&next_hop);
    Some(Sent::UnderWay)
}

/// A reply came. Whether it is for a request of ours: then nobody else has to see it.
pub fn answered(msg: &mut Message<'_>) -> bool {
    let Some(direct) = DIRECT.get() else { return false };
    let Some((ours, number)) = msg.branch().split_at_checked(direct.number_at()) else { return false };
    if !direct.branch.starts_with(ours) {
        return false;
    }
    let code = msg.status();
    let flight = Number::read(number).zip(digest_of(direct, msg));
    match flight {
        None => log!(Info, "a reply {code} with a branch of ours was thrown away: it answers no NOTIFY"),
        Some((number, digest)) if code < 200 => direct.flights.proceed(number, digest, host::now().steady),
        Some((number, digest)) => {
            // None: it came again.
            if let Some((token, message)) = direct.flights.end(number, digest) {
                let request = message.as_deref().unwrap_or_default();
                completed(&Completed { token: token.0, code, request, reply: msg.as_ptr() });
            }
        }
    }
    true
}

fn digest_of(direct: &Direct, msg: &mut Message<'_>) -> Option<u64> {
    if !msg.parse_headers() {
        return None;
    }
    let cseq = std::str::from_utf8(msg.cseq_number()?).ok()?.parse().ok()?;
    let dialog = DialogId { call_id: msg.call_id()?, to_tag: msg.from()?.tag, from_tag: msg.to()?.tag };
    Some(direct.flights.digest(dialog, cseq))
}

/// The work of the process for it: sends again what is not answered, and gives up what nobody answers.
pub fn look_after() {
    std::thread::sleep(TICK);
    let Some(direct) = DIRECT.get() else { return };
    let over = |token: Token, request: &[u8]| {
        completed(&Completed { token: token.0, code: 408, request, reply: std::ptr::null_mut() });
        kamailio::proc::forget_message();
    };
    direct.flights.tick(host::now().steady, Destination::send, over);
}
