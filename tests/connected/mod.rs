//! A server that listens with UDP, TCP, TLS and WebSocket, for the tests whose phones have connections.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use testkit::{Builder, Kamailio, Phone, Transport, Wire};

/// The script of a presence server that answers to where a request came from.
pub const ROUTES: &str = r#"
request_route {
    if (is_method("OPTIONS")) { sl_send_reply("200", "OK"); exit; }
    force_rport();
    t_newtran();
    if (is_method("PUBLISH")) { handle_publish(); t_release(); exit; }
    handle_subscribe();
    t_release();
}
"#;

/// The same, for phones whose Contact does not say where they are (browsers): NOTIFYs find their connection.
pub fn with_alias() -> String {
    ROUTES.replace("handle_subscribe", "set_contact_alias();\n    handle_subscribe")
}

/// A server that listens with every transport.
pub struct Server {
    /// The server; with the port for TCP and UDP.
    pub kamailio: Kamailio,
    tls_port: u16,
}

impl Server {
    /// The server with these routes.
    pub fn of(builder: Builder, routes: &str) -> Self {
        let identity = identity().display();
        let tls_port = testkit::kamailio::free_port();
        let modules = format!(
            "tcp_accept_no_cl=yes\nloadmodule \"tls.so\"\nloadmodule \"xhttp.so\"\nloadmodule \"websocket.so\"\n\
             loadmodule \"nathelper.so\"\nloadmodule \"siputils.so\"\nmodparam(\"tls\", \"private_key\", \"{identity}\")\n\
             modparam(\"tls\", \"certificate\", \"{identity}\")\nmodparam(\"tls\", \"tls_method\", \"TLSv1.2+\")"
        );
        let builder = builder.listen("LISTEN_TCP").listen(&format!("tls:127.0.0.1:{tls_port}")).before(&modules);
        let kamailio = builder.routes(&format!("{routes}\n{HANDSHAKE}")).start();
        Self { kamailio, tls_port }
    }

    /// A phone with a connection of its own.
    pub fn phone(&self, user: &str, transport: Transport) -> Phone {
        let port = if transport == Transport::Tls { self.tls_port } else { self.kamailio.port };
        let wire = Wire::to(([127, 0, 0, 1], port).into(), transport);
        Phone::on(user, wire.unwrap_or_else(|e| panic!("{transport:?}: {e}")))
    }
}

const HANDSHAKE: &str = r#"
event_route[xhttp:request] {
    set_reply_no_connect();
    if ($hdr(Upgrade) =~ "websocket" && ws_handle_handshake()) exit;
    xhttp_reply("404", "Not Found", "", "");
}
"#;

/// A file with a key and a certificate signed by itself, made once.
fn identity() -> &'static Path {
    static MADE: OnceLock<PathBuf> = OnceLock::new();
    MADE.get_or_init(|| {
        let made = rcgen::generate_simple_self_signed(["test.local".to_owned()]).expect("a certificate");
        let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join("identity.pem");
        // Tests in other processes do the same: the first one's file stays, because servers read it twice.
        let own = file.with_extension(std::process::id().to_string());
        std::fs::write(&own, made.key_pair.serialize_pem() + &made.cert.pem()).expect("writes");
        let _ = std::fs::hard_link(&own, &file);
        std::fs::remove_file(&own).expect("removes");
        assert!(file.exists(), "{} cannot be made", file.display());
        file
    })
}
