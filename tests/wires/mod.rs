//! Sockets of many phones, none of which is ever waited for alone.

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::sockopt;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::time::{Duration, Instant};

/// What arrives while this process waits for a processor must find room.
const BUFFER: usize = 64 << 20;
/// Messages that are taken from one socket before the next one has its turn.
const TURN: usize = 64;

enum Carrier {
    Udp(UdpSocket),
    /// None: cut.
    Tcp(Option<TcpStream>),
}

/// A socket to the server.
pub struct Wire {
    carrier: Carrier,
    server: SocketAddr,
    /// Its own address, as the server sees it.
    pub own: SocketAddr,
    /// Of a message that has not come as a whole, or could not be sent as a whole.
    input: Vec<u8>,
    output: Vec<u8>,
}

impl Wire {
    pub fn udp(server: SocketAddr) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
        socket.connect(server).expect("a way to the server");
        socket.set_nonblocking(true).expect("a socket that does not wait");
        if sockopt::set_socket_recv_buffer_size_force(&socket, BUFFER).is_err() {
            sockopt::set_socket_recv_buffer_size(&socket, BUFFER).expect("room");
        }
        let own = socket.local_addr().expect("an address");
        Self { carrier: Carrier::Udp(socket), server, own, input: Vec::new(), output: Vec::new() }
    }

    pub fn tcp(server: SocketAddr) -> Self {
        let carrier = Carrier::Tcp(None);
        let mut wire = Self { carrier, server, own: server, input: Vec::new(), output: Vec::new() };
        wire.connect();
        wire
    }

    pub fn is_tcp(&self) -> bool {
        matches!(self.carrier, Carrier::Tcp(_))
    }

    /// Whether something can be sent.
    pub fn is_up(&self) -> bool {
        !matches!(self.carrier, Carrier::Tcp(None))
    }

    /// Closes a connection.
    pub fn cut(&mut self) {
        if let Carrier::Tcp(stream) = &mut self.carrier {
            *stream = None;
            self.input.clear();
            self.output.clear();
        }
    }

    /// A new connection, where there is none.
    pub fn connect(&mut self) {
        let Carrier::Tcp(stream @ None) = &mut self.carrier else { return };
        let Ok(fresh) = TcpStream::connect_timeout(&self.server, Duration::from_secs(1)) else { return };
        let ready = fresh.set_nodelay(true).and_then(|()| fresh.set_nonblocking(true));
        if let (Ok(()), Ok(own)) = (ready, fresh.local_addr()) {
            self.own = own;
            *stream = Some(fresh);
        }
    }

    /// Sends; what cannot leave is like what got lost on the way.
    pub fn send(&mut self, message: &[u8]) {
        match &self.carrier {
            Carrier::Udp(socket) => drop(socket.send(message)),
            Carrier::Tcp(None) => {}
            Carrier::Tcp(Some(_)) => {
                self.output.extend_from_slice(message);
                self.flush();
            }
        }
    }

    fn flush(&mut self) {
        let Carrier::Tcp(Some(stream)) = &mut self.carrier else { return };
        while !self.output.is_empty() {
            match stream.write(&self.output) {
                Ok(0) => return self.cut(),
                Ok(length) => drop(self.output.drain(..length)),
                Err(e) if e.kind() == ErrorKind::WouldBlock => return,
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(_) => return self.cut(),
            }
        }
    }

    /// Takes what has come, some of it. True if a connection has ended meanwhile.
    pub fn receive(&mut self, buffer: &mut [u8], messages: &mut Vec<Vec<u8>>) -> bool {
        match &mut self.carrier {
            Carrier::Udp(socket) => {
                for _ in 0..TURN {
                    match socket.recv(buffer) {
                        Ok(length) => messages.push(buffer[..length].to_vec()),
                        // Refused: an earlier datagram found no server.
                        Err(e) if matches!(e.kind(), ErrorKind::Interrupted | ErrorKind::ConnectionRefused) => {}
                        Err(_) => break,
                    }
                }
                false
            }
            Carrier::Tcp(None) => false,
            Carrier::Tcp(Some(stream)) => {
                let ended = match stream.read(buffer) {
                    Ok(0) => true,
                    Ok(length) => {
                        self.input.extend_from_slice(&buffer[..length]);
                        false
                    }
                    Err(e) => !matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted),
                };
                self.cut_up(messages);
                self.flush();
                if ended {
                    self.cut();
                }
                ended
            }
        }
    }

    /// Whole messages out of the stream.
    fn cut_up(&mut self, messages: &mut Vec<Vec<u8>>) {
        let mut at = 0;
        loop {
            let rest = &self.input[at..];
            let blank = rest.iter().take_while(|b| b.is_ascii_whitespace()).count();
            let rest = &rest[blank..];
            let Some(head) = rest.windows(4).position(|w| w == b"\r\n\r\n").map(|end| end + 4) else { break };
            let length = testkit::Message::parse(&rest[..head]).header("Content-Length").and_then(|l| l.parse().ok());
            let end = head + length.unwrap_or(0);
            if rest.len() < end {
                break;
            }
            messages.push(rest[..end].to_vec());
            at += blank + end;
        }
        self.input.drain(..at);
    }
}

/// Waits until something has come, or for so long. Gives the places of the sockets that have something.
pub fn wait(wires: &[Wire], time: Duration) -> Vec<usize> {
    let mut places = Vec::with_capacity(wires.len());
    let mut fds = Vec::with_capacity(wires.len());
    for (place, wire) in wires.iter().enumerate() {
        let fd = match &wire.carrier {
            Carrier::Udp(socket) => PollFd::new(socket, PollFlags::IN),
            Carrier::Tcp(Some(stream)) => PollFd::new(stream, PollFlags::IN),
            Carrier::Tcp(None) => continue,
        };
        places.push(place);
        fds.push(fd);
    }
    let time = Timespec { tv_sec: 0, tv_nsec: time.subsec_nanos().into() };
    let start = Instant::now();
    if poll(&mut fds, Some(&time)).is_err() && start.elapsed() < Duration::from_millis(1) {
        std::thread::yield_now();
    }
    let ready = fds.iter().map(|fd| !fd.revents().is_empty());
    places.into_iter().zip(ready).filter_map(|(place, ready)| ready.then_some(place)).collect()
}
