//! HTTP over TCP, as far as the tests need it.

use crate::between;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;
use testkit::Kamailio;

/// What a server answered.
pub struct Answer {
    pub code: u16,
    pub head: String,
    pub body: String,
}

/// One request, over a connection of its own that the server closes.
pub fn request(server: &Kamailio, method: &str, path: &str, body: &str) -> Answer {
    let mut connection = TcpStream::connect(("127.0.0.1", server.port)).expect("connects");
    connection.set_read_timeout(Some(Duration::from_secs(5))).expect("a timeout");
    let request = format!(
        "{method} {path} HTTP/1.1\r\nHost: 127.0.0.1:{}\r\nContent-Length: {}\r\n\r\n{body}",
        server.port,
        body.len()
    );
    connection.write_all(request.as_bytes()).expect("sends");
    let mut answer = Vec::new();
    while !is_complete(&answer) {
        let mut buffer = [0; 8192];
        let length = connection.read(&mut buffer).expect("an answer");
        assert!(length > 0, "the connection ended in {}", String::from_utf8_lossy(&answer));
        answer.extend_from_slice(&buffer[..length]);
    }
    let answer = String::from_utf8(answer).expect("a text");
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
    let code = between(head, "HTTP/1.1 ", " ").parse().expect("a status");
    Answer { code, head: head.to_owned(), body: body.to_owned() }
}

fn is_complete(answer: &[u8]) -> bool {
    let Some(head) = answer.windows(4).position(|w| w == b"\r\n\r\n") else { return false };
    let length = testkit::Message::parse(answer).header("Content-Length").and_then(|n| n.parse::<usize>().ok());
    answer.len() >= head + 4 + length.unwrap_or(0)
}
