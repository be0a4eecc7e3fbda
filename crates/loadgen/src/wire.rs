//! One UDP socket to the server.

use rustix::net::sockopt;
use std::io::{self, ErrorKind};
use std::net::{SocketAddr, UdpSocket};
use std::time::Duration;

/// How long a look for a datagram takes at most.
pub const TICK: Duration = Duration::from_millis(5);
/// Socket buffers: a fan-out to 100,000 watchers fits, so that what is lost was lost by the server.
const BUFFER: usize = 256 << 20;

/// A socket that is connected to the server.
#[derive(Debug)]
pub struct Wire {
    socket: UdpSocket,
    /// Its own address, as the server sees it.
    pub own: SocketAddr,
    /// The server's.
    pub server: SocketAddr,
}

impl Wire {
    /// Opens a socket towards a server.
    pub fn open(server: SocketAddr) -> io::Result<Self> {
        let any: SocketAddr = if server.is_ipv4() { ([0, 0, 0, 0], 0).into() } else { ([0u16; 8], 0).into() };
        let socket = UdpSocket::bind(any)?;
        socket.connect(server)?;
        socket.set_read_timeout(Some(TICK))?;
        // Without the right to exceed the system's limit, up to the limit.
        if sockopt::set_socket_recv_buffer_size_force(&socket, BUFFER).is_err() {
            sockopt::set_socket_recv_buffer_size(&socket, BUFFER)?;
        }
        sockopt::set_socket_send_buffer_size(&socket, BUFFER)?;
        Ok(Self { own: socket.local_addr()?, server, socket })
    }

    /// Sends a datagram. One that cannot leave is like one that got lost: it is sent again.
    pub fn send(&self, datagram: &[u8]) {
        let _ = self.socket.send(datagram);
    }

    /// The next datagram; none if none came within a [`TICK`].
    pub fn receive(&self, buffer: &mut [u8]) -> Option<usize> {
        loop {
            match self.socket.recv(buffer) {
                Ok(length) => return Some(length),
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                // Refused: the server is not there (yet, or any more).
                Err(e) if e.kind() == ErrorKind::ConnectionRefused => return None,
                Err(_) => return None,
            }
        }
    }
}
