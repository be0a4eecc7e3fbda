//! One case on its own server: three ends that send requests, take what comes and answer NOTIFYs.

use crate::names::Names;
use crate::request::Request;
use crate::setup::SetUp;
use crate::trace::{End, Entry, Trace};
use std::io;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant};
use testkit::{Kamailio, Message};

/// A final reply comes within this time, unless the server has stopped.
const PATIENCE: Duration = Duration::from_secs(5);

/// The stage on which a case is played.
#[derive(Debug)]
pub struct Scene {
    /// The case, and the user name of its presentity.
    pub name: &'static str,
    /// The set-up of the server.
    pub set_up: SetUp,
    /// The code with which NOTIFYs are answered; none: not at all.
    pub answer: Option<u16>,
    /// PUBLISH requests so far.
    pub publications: u32,
    /// Requests so far.
    pub requests: u32,
    server: Kamailio,
    sockets: [UdpSocket; 3],
    names: Names,
    start: Instant,
    trace: Trace,
    /// The last final reply, and who got it.
    reply: Option<(End, Message)>,
    /// Time between requests and their replies.
    asking: Duration,
    /// Top Via of each NOTIFY that was answered: a repetition gets its answer again and is no news.
    answered: Vec<String>,
}

impl Scene {
    /// Binds the ends.
    pub fn new(name: &'static str, set_up: SetUp, server: Kamailio) -> io::Result<Self> {
        let sockets = [end()?, end()?, end()?];
        let mut ports = [0; 3];
        for (port, socket) in ports.iter_mut().zip(&sockets) {
            *port = socket.local_addr()?.port();
        }
        let names = Names::new(server.port, ports);
        Ok(Self {
            name,
            set_up,
            answer: Some(200),
            publications: 0,
            requests: 0,
            server,
            sockets,
            names,
            start: Instant::now(),
            trace: Trace::default(),
            reply: None,
            asking: Duration::ZERO,
            answered: Vec::new(),
        })
    }

    /// The address of an end.
    pub fn address(&self, end: End) -> String {
        self.socket(end).local_addr().map_or_else(|e| e.to_string(), |a| a.to_string())
    }

    /// The server's port.
    pub fn server_port(&self) -> u16 {
        self.server.port
    }

    /// A PUBLISH of the presentity's document.
    pub fn publish(&mut self) -> Request<'_> {
        Request::publish(self)
    }

    /// A SUBSCRIBE to the presentity.
    pub fn subscribe(&mut self, end: End) -> Request<'_> {
        Request::subscribe(self, end)
    }

    /// Sends a request, takes its final reply and whatever comes until the wire is quiet.
    pub fn ask(&mut self, end: End, request: &str) -> Option<Message> {
        self.reply = None;
        self.send(end, request);
        let asked = Instant::now();
        let patience = asked + PATIENCE;
        let mut quiet_since = asked;
        while self.server.is_running() && Instant::now() < patience {
            let is_answered = self.reply.as_ref().is_some_and(|(e, _)| *e == end);
            if self.receive() {
                quiet_since = Instant::now();
            } else if is_answered && quiet_since.elapsed() >= self.set_up.quiet() {
                break;
            }
        }
        self.asking += asked.elapsed();
        self.reply.take().map(|(_, reply)| reply)
    }

    /// Whether the case was played as fast as its recording needs: on a busy machine a notifier comes round in between.
    pub fn is_in_time(&self) -> bool {
        self.set_up.in_one_go().is_none_or(|time| self.asking < time)
    }

    /// Takes what comes for some time.
    pub fn listen(&mut self, seconds: f64) {
        let end = Instant::now() + Duration::from_secs_f64(seconds);
        while Instant::now() < end && self.server.is_running() {
            self.receive();
        }
    }

    /// Takes what comes until nothing more is expected.
    pub fn settle(&mut self) {
        let mut quiet_since = Instant::now();
        while quiet_since.elapsed() < self.set_up.settled() && self.server.is_running() {
            if self.receive() {
                quiet_since = Instant::now();
            }
        }
    }

    /// Begins just after the notifier has come round, which the NOTIFY of a fetch shows. Nothing of it goes into the
    /// trace.
    pub fn tune_in(&mut self) {
        self.subscribe(End::W1).uri("sip:nobody@test.local").expires("0").branch("probe").send();
        let end = Instant::now() + PATIENCE;
        while self.answered.is_empty() && self.server.is_running() && Instant::now() < end {
            self.receive();
        }
        // The notifier still has to delete the dialog of the fetch.
        std::thread::sleep(Duration::from_millis(50));
        self.trace = Trace::default();
        self.requests = 0;
        self.asking = Duration::ZERO;
        self.names.forget();
        self.start = Instant::now();
    }

    /// What was seen, and whether the server still serves. A server that is to stop is given `grace` to do so.
    pub fn end(mut self, grace: Duration) -> (Trace, bool) {
        let end = Instant::now() + grace;
        let mut serves = self.serves();
        while serves && Instant::now() < end {
            std::thread::sleep(Duration::from_millis(50));
            serves = self.serves();
        }
        (self.trace, serves)
    }

    /// Whether an OPTIONS is answered. A server whose worker has died may be a while in stopping, but serves no more.
    fn serves(&mut self) -> bool {
        let trace = self.trace.clone();
        self.requests += 1;
        let request = Request::options(self).text();
        let reply = self.ask(End::Pub, &request);
        self.trace = trace;
        reply.is_some()
    }

    fn socket(&self, end: End) -> &UdpSocket {
        &self.sockets[end as usize]
    }

    fn send(&mut self, end: End, text: &str) {
        self.log(end, true, text);
        let server = SocketAddr::from((Ipv4Addr::LOCALHOST, self.server.port));
        // A server that has stopped is seen by `is_running`.
        let _ = self.socket(end).send_to(text.as_bytes(), server);
    }

    fn log(&mut self, end: End, sent: bool, text: &str) {
        let seconds = self.start.elapsed().as_secs_f64();
        let text = self.names.replace(end, sent, text);
        self.trace.0.push(Entry { seconds, sent, end, text });
    }

    /// Takes at most one message from each end; whether there was any. Waits a moment if not.
    fn receive(&mut self) -> bool {
        let mut buffer = [0; 65_536];
        let mut any = false;
        for end in End::ALL {
            if let Ok((length, _)) = self.socket(end).recv_from(&mut buffer) {
                self.take(end, &String::from_utf8_lossy(&buffer[..length]));
                any = true;
            }
        }
        if !any {
            std::thread::sleep(Duration::from_millis(2));
        }
        any
    }

    fn take(&mut self, end: End, text: &str) {
        let message = Message::parse(text.as_bytes());
        let via = message.header("Via").unwrap_or_default().to_owned();
        if message.code() > 0 {
            self.log(end, false, text);
            if message.code() >= 200 {
                self.reply = Some((end, message));
            }
            return;
        }
        let is_repeated = self.answered.contains(&via);
        if !is_repeated {
            self.log(end, false, text);
        }
        let Some(code) = self.answer else { return };
        self.answered.push(via);
        let answer = answer(code, text);
        if is_repeated {
            let server = SocketAddr::from((Ipv4Addr::LOCALHOST, self.server.port));
            let _ = self.socket(end).send_to(answer.as_bytes(), server);
        } else {
            self.send(end, &answer);
        }
    }
}

fn end() -> io::Result<UdpSocket> {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

/// The final reply to a NOTIFY.
fn answer(code: u16, notify: &str) -> String {
    let mut text = format!("SIP/2.0 {code} X\r\n");
    let head = notify.split("\r\n\r\n").next().unwrap_or_default();
    for line in head.split("\r\n") {
        if ["Via:", "From:", "To:", "Call-ID:", "CSeq:"].iter().any(|name| line.starts_with(name)) {
            text.push_str(line);
            text.push_str("\r\n");
        }
    }
    text.push_str("Content-Length: 0\r\n\r\n");
    text
}
