//! Kamailio's JSON-RPC interface (module jsonrpcs): a FIFO for answers of any size, a datagram socket for requests of
//! up to 64 KB.

use crate::Kamailio;
use serde_json::{Value, json};
use std::fs::{self, OpenOptions};
use std::io::{ErrorKind, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// O_NONBLOCK on Linux.
const NONBLOCK: i32 = 0o4000;

static NEXT: AtomicU32 = AtomicU32::new(1);

/// The lines of kamailio.cfg.
pub(crate) fn config(dir: &Path) -> String {
    let dir = dir.display();
    let lines = [
        "loadmodule \"jsonrpcs.so\"".to_owned(),
        format!("modparam(\"jsonrpcs\", \"fifo_name\", \"{dir}/json.fifo\")"),
        format!("modparam(\"jsonrpcs\", \"fifo_reply_dir\", \"{dir}/\")"),
        format!("modparam(\"jsonrpcs\", \"dgram_socket\", \"{dir}/json.sock\")"),
        "modparam(\"jsonrpcs\", \"pretty_format\", 0)\n".to_owned(),
    ];
    lines.join("\n")
}

/// What a command answered: its result, or its fault's code and sentence.
pub type Answer = Result<Value, (i64, String)>;

fn answer(text: &str) -> Answer {
    let all: Value = serde_json::from_str(text).unwrap_or_else(|e| panic!("no JSON ({e}): {text:.200}"));
    match all.get("error") {
        Some(error) => {
            Err((error["code"].as_i64().unwrap_or(0), error["message"].as_str().unwrap_or_default().to_owned()))
        }
        None => Ok(all["result"].clone()),
    }
}

impl Kamailio {
    /// Calls a command over the FIFO. Requests of up to 8 KB, answers of any size.
    pub fn json(&self, method: &str, params: &Value) -> Answer {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("reply-{number}");
        let path = self.dir.join(&name);
        let made = Command::new("mkfifo").arg(&path).status().expect("runs mkfifo");
        assert!(made.success(), "mkfifo {}", path.display());
        // Opened before the request is sent, and without waiting for the server: it does not wait for a reader.
        let mut reply = OpenOptions::new().read(true).custom_flags(NONBLOCK).open(&path).expect("opens the reply");
        let request = json!({
            "jsonrpc": "2.0", "method": method, "params": params, "reply_name": name, "id": number
        });
        // The whole request in one write: it is read as one.
        fs::write(self.dir.join("json.fifo"), request.to_string()).expect("the FIFO takes a request");
        let mut text = Vec::new();
        crate::wait_for("an answer over the FIFO", PATIENCE.as_secs_f64(), || {
            loop {
                let mut part = [0; 1 << 16];
                match reply.read(&mut part) {
                    // Nobody has opened the other end yet, or the answer is whole.
                    Ok(0) => return (!text.is_empty()).then_some(()),
                    Ok(len) => text.extend_from_slice(&part[..len]),
                    Err(_) => return None,
                }
            }
        });
        let _ = fs::remove_file(&path);
        answer(&String::from_utf8_lossy(&text))
    }

    /// Calls a command over the datagram socket. Requests and answers of up to 64 KB.
    pub fn json_datagram(&self, method: &str, params: &Value) -> Answer {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let own = self.dir.join(format!("client-{number}.sock"));
        let socket = UnixDatagram::bind(&own).expect("a socket");
        socket.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        let request = json!({ "jsonrpc": "2.0", "method": method, "params": params, "id": number }).to_string();
        socket.send_to(request.as_bytes(), self.dir.join("json.sock")).expect("the socket takes a request");
        let mut buffer = vec![0; 1 << 18];
        let len = loop {
            match socket.recv(&mut buffer) {
                // A process that was stopped for a moment.
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                received => break received.expect("an answer over the socket"),
            }
        };
        let _ = fs::remove_file(&own);
        answer(&String::from_utf8_lossy(&buffer[..len]))
    }
}
