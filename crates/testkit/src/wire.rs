//! What carries a phone's messages: a UDP socket, or a connection over TCP, TLS or WebSocket (RFC 7118).

use std::cell::RefCell;
use std::fmt;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long a connection may take to be made.
const PATIENCE: Duration = Duration::from_secs(5);

/// A transport of SIP.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Transport {
    /// Datagrams.
    Udp,
    /// A connection.
    Tcp,
    /// A connection with TLS; any certificate is taken.
    Tls,
    /// A WebSocket without TLS.
    Ws,
}

impl Transport {
    /// As in Via.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Udp => "UDP",
            Self::Tcp => "TCP",
            Self::Tls => "TLS",
            Self::Ws => "WS",
        }
    }

    /// The parameter of a URI that is reached over it; empty for the default.
    #[must_use]
    pub fn parameter(self) -> &'static str {
        match self {
            Self::Udp => "",
            Self::Tcp => ";transport=tcp",
            Self::Tls => ";transport=tls",
            Self::Ws => ";transport=ws",
        }
    }
}

/// A phone's way to the server.
#[derive(Debug)]
pub enum Wire {
    /// A socket, and the server's address.
    Udp(UdpSocket, SocketAddr),
    /// A connection.
    Connection(RefCell<Connection>),
}

impl Wire {
    /// A socket that talks to this address, from the address that leads there.
    pub fn udp(server: SocketAddr) -> io::Result<Self> {
        let way = UdpSocket::bind(if server.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" })?;
        way.connect(server)?;
        Ok(Self::Udp(UdpSocket::bind((way.local_addr()?.ip(), 0))?, server))
    }

    /// A way to this address over a transport.
    pub fn to(server: SocketAddr, transport: Transport) -> io::Result<Self> {
        if transport == Transport::Udp {
            return Self::udp(server);
        }
        let socket = TcpStream::connect_timeout(&server, PATIENCE)?;
        socket.set_nodelay(true)?;
        socket.set_read_timeout(Some(PATIENCE))?;
        let local = socket.local_addr()?;
        let carrier = match transport {
            Transport::Tls => tls(socket)?,
            Transport::Ws => web_socket(socket, server)?,
            _ => Carrier::Tcp(socket),
        };
        Ok(Self::Connection(RefCell::new(Connection { transport, local, carrier, pending: Vec::new() })))
    }

    /// Its transport.
    #[must_use]
    pub fn transport(&self) -> Transport {
        match self {
            Self::Udp(..) => Transport::Udp,
            Self::Connection(connection) => connection.borrow().transport,
        }
    }

    /// Its own address.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        match self {
            Self::Udp(socket, _) => socket.local_addr().expect("an address"),
            Self::Connection(connection) => connection.borrow().local,
        }
    }

    /// Sends a message to the server; a datagram, if it is given, to another address.
    pub fn send(&self, message: &[u8], to: Option<SocketAddr>) -> io::Result<()> {
        match self {
            Self::Udp(socket, server) => socket.send_to(message, to.unwrap_or(*server)).map(drop),
            Self::Connection(connection) => connection.borrow_mut().carrier.send(message),
        }
    }

    /// The next message within `wait`, and where a datagram came from.
    pub fn receive(&self, wait: Duration) -> Option<(Vec<u8>, Option<SocketAddr>)> {
        match self {
            Self::Udp(socket, _) => {
                let mut buffer = [0; 65_536];
                socket.set_read_timeout(Some(wait)).expect("a timeout");
                let (length, source) = socket.recv_from(&mut buffer).ok()?;
                Some((buffer[..length].to_vec(), Some(source)))
            }
            Self::Connection(connection) => Some((connection.borrow_mut().receive(wait)?, None)),
        }
    }
}

/// A connection to the server.
pub struct Connection {
    transport: Transport,
    local: SocketAddr,
    carrier: Carrier,
    /// Bytes of messages that are not complete, or were not asked for yet.
    pending: Vec<u8>,
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} from {}", self.transport, self.local)
    }
}

impl Connection {
    fn receive(&mut self, wait: Duration) -> Option<Vec<u8>> {
        let end = Instant::now() + wait;
        loop {
            // Empty lines between messages keep a connection alive.
            let blank = self.pending.iter().take_while(|b| b.is_ascii_whitespace()).count();
            self.pending.drain(..blank);
            if let Some(length) = message_length(&self.pending) {
                return Some(self.pending.drain(..length).collect());
            }
            let left = end.checked_duration_since(Instant::now()).filter(|left| !left.is_zero())?;
            self.carrier.receive(left, &mut self.pending).ok()?;
        }
    }
}

/// How long the message at the beginning is, if all of it is there.
fn message_length(bytes: &[u8]) -> Option<usize> {
    let head = bytes.windows(4).position(|w| w == b"\r\n\r\n")? + 4;
    let body = crate::Message::parse(&bytes[..head]).header("Content-Length")?.parse::<usize>().ok()?;
    (bytes.len() >= head + body).then_some(head + body)
}

enum Carrier {
    Tcp(TcpStream),
    Tls(Box<rustls::StreamOwned<rustls::ClientConnection, TcpStream>>),
    Ws(Box<tungstenite::WebSocket<TcpStream>>),
}

impl Carrier {
    fn send(&mut self, message: &[u8]) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => stream.write_all(message),
            Self::Tls(stream) => stream.write_all(message).and_then(|()| stream.flush()),
            Self::Ws(socket) => {
                let text = String::from_utf8_lossy(message).into_owned();
                socket.send(tungstenite::Message::text(text)).map_err(io::Error::other)
            }
        }
    }

    /// Adds what comes within `wait`.
    fn receive(&mut self, wait: Duration, to: &mut Vec<u8>) -> io::Result<()> {
        self.socket().set_read_timeout(Some(wait))?;
        let mut buffer = [0; 16_384];
        let length = match self {
            Self::Tcp(stream) => stream.read(&mut buffer)?,
            Self::Tls(stream) => stream.read(&mut buffer)?,
            Self::Ws(socket) => {
                let message = socket.read().map_err(io::Error::other)?;
                to.extend_from_slice(&message.into_data());
                return Ok(());
            }
        };
        to.extend_from_slice(&buffer[..length]);
        if length == 0 { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(()) }
    }

    fn socket(&self) -> &TcpStream {
        match self {
            Self::Tcp(stream) => stream,
            Self::Tls(stream) => &stream.sock,
            Self::Ws(socket) => socket.get_ref(),
        }
    }
}

fn tls(socket: TcpStream) -> io::Result<Carrier> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(AnyCertificate(provider)))
        .with_no_client_auth();
    let name = rustls::pki_types::ServerName::try_from("test.local").map_err(io::Error::other)?;
    let client = rustls::ClientConnection::new(Arc::new(config), name).map_err(io::Error::other)?;
    let mut stream = rustls::StreamOwned::new(client, socket);
    while stream.conn.is_handshaking() {
        stream.conn.complete_io(&mut stream.sock)?;
    }
    Ok(Carrier::Tls(Box::new(stream)))
}

fn web_socket(socket: TcpStream, server: SocketAddr) -> io::Result<Carrier> {
    use tungstenite::client::IntoClientRequest;
    let mut request = format!("ws://{server}/").into_client_request().map_err(io::Error::other)?;
    let sip = tungstenite::http::HeaderValue::from_static("sip");
    request.headers_mut().insert("Sec-WebSocket-Protocol", sip);
    let (socket, _) = tungstenite::client(request, socket).map_err(|e| io::Error::other(e.to_string()))?;
    Ok(Carrier::Ws(Box::new(socket)))
}

/// The server's certificate is made for the test and signed by nobody.
#[derive(Debug)]
struct AnyCertificate(Arc<rustls::crypto::CryptoProvider>);

impl rustls::client::danger::ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _: &rustls::pki_types::CertificateDer<'_>,
        _: &[rustls::pki_types::CertificateDer<'_>],
        _: &rustls::pki_types::ServerName<'_>,
        _: &[u8],
        _: rustls::pki_types::UnixTime,
    ) -> Result<rustls::client::danger::ServerCertVerified, rustls::Error> {
        Ok(rustls::client::danger::ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &rustls::pki_types::CertificateDer<'_>,
        signed: &rustls::DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &rustls::pki_types::CertificateDer<'_>,
        signed: &rustls::DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<rustls::SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
