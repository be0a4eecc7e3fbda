//! Documents made to burst a parser, published to watchers: entities that expand or lead elsewhere, depth, breadth, names,
//! pieces. One final reply each, within seconds, and nothing of the server's files in any NOTIFY.

use crate::level::{Level, assert_serves, brief};
use crate::storm::finals;
use std::net::TcpListener;
use std::time::Duration;
use testkit::phone::Phone;
use testkit::{Database, Kamailio, Transport, Wire};

/// How long the answer to any document may take.
const PATIENCE: Duration = Duration::from_secs(60);
/// What all processes may spend on one document, its NOTIFYs included; and on 100,000 attributes, which is libxml2's.
const CEILING: (Duration, Duration) = (Duration::from_secs(3), Duration::from_secs(60));

/// Word by which the watchers would know the server's file.
const SECRET: &str = "the-servers-own-secret";

/// A document, around what makes it a bomb: `dtd` before the root, `attributes` in the first element of its own kind,
/// `inside` in its text.
fn wrap(event: &str, dtd: &str, attributes: &str, inside: &str) -> String {
    let head = format!("<?xml version=\"1.0\"?>{dtd}");
    match event {
        "presence" => format!(
            "{head}<presence xmlns=\"urn:ietf:params:xml:ns:pidf\" entity=\"sip:alice@test.local\"><tuple id=\"t\"{attributes}>\
             <status><basic>open</basic></status><note>{inside}</note></tuple></presence>"
        ),
        _ => format!(
            "{head}<dialog-info xmlns=\"urn:ietf:params:xml:ns:dialog-info\" version=\"0\" state=\"full\" \
             entity=\"sip:alice@test.local\"><dialog id=\"d\"{attributes}><state>{inside}</state></dialog></dialog-info>"
        ),
    }
}

/// Entities within entities: ten to the tenth of them.
fn laughs() -> String {
    let levels = (1..10).map(|n| format!("<!ENTITY l{n} \"{}\">", format!("&l{};", n - 1).repeat(10)));
    format!("<!DOCTYPE presence [<!ENTITY l0 \"lol\">{}]>", levels.collect::<String>())
}

/// Bombs by name; `scale` 1 fits into a datagram, 16 makes a megabyte.
pub fn bombs(event: &str, scale: usize, outside: &str) -> Vec<(&'static str, Vec<u8>)> {
    let n = 6000 * scale;
    // presence_xml and presence_dialoginfo have each document read by libxml2, which compares each attribute with each:
    // 100,000 of them, in `make hostile` only, take it seconds.
    let attributes = if crate::is_long() && scale > 1 { 100_000 } else { 6000 };
    let plain = |attributes: &str, inside: &str| wrap(event, "", attributes, inside);
    let mut all = vec![
        ("a billion laughs", wrap(event, &laughs(), "", "&l9;")),
        ("laughs in an attribute", wrap(event, &laughs(), " x=\"&l9;\"", "")),
        ("one long entity, often", {
            let dtd = format!("<!DOCTYPE presence [<!ENTITY a \"{}\">]>", "x".repeat(n));
            wrap(event, &dtd, "", &"&a;".repeat(n))
        }),
        ("an entity of itself", wrap(event, "<!DOCTYPE presence [<!ENTITY a \"&b;\"><!ENTITY b \"&a;\">]>", "", "&a;")),
        (
            "a file as an entity",
            wrap(event, &format!("<!DOCTYPE presence [<!ENTITY f SYSTEM \"{outside}\">]>"), "", "&f;"),
        ),
        ("a file as a DTD", wrap(event, &format!("<!DOCTYPE presence SYSTEM \"{outside}\">"), "", "x")),
        ("a parameter entity elsewhere", {
            wrap(event, &format!("<!DOCTYPE presence [<!ENTITY % p SYSTEM \"{outside}\"> %p;]>"), "", "x")
        }),
        ("depth", plain("", &format!("{}{}", "<a>".repeat(n), "</a>".repeat(n)))),
        ("depth that is never closed", plain("", &"<a>".repeat(2 * n))),
        ("attributes", plain(&(0..attributes).map(|i| format!(" a{i}=\"\"")).collect::<String>(), "")),
        ("one attribute, often", plain(&" a=\"\"".repeat(600), "")),
        ("namespaces", plain(&(0..attributes / 2).map(|i| format!(" xmlns:a{i}=\"u{i}\"")).collect::<String>(), "")),
        ("a huge name", plain("", &format!("<{0}></{0}>", "n".repeat(4 * n)))),
        ("a huge attribute", plain(&format!(" a=\"{}\"", "v".repeat(8 * n)), "")),
        ("a huge comment", plain("", &format!("<!--{}-->", "c".repeat(8 * n)))),
        ("a huge instruction", plain("", &format!("<?p {}?>", "c".repeat(8 * n)))),
        ("a huge CDATA section", plain("", &format!("<![CDATA[{}]]>", "<".repeat(8 * n)))),
        ("text in pieces", plain("", &"x<!---->".repeat(n))),
        ("character references", plain("", &"&#120;".repeat(n))),
        ("siblings", plain("", &"<a/>".repeat(2 * n))),
        ("an encoding that nobody has", plain("", "x").replacen("\"1.0\"", "\"1.0\" encoding=\"nobody-has-it\"", 1)),
    ];
    if event == "dialog" {
        let one = "<dialog id=\"d\"><state>confirmed</state></dialog>";
        all.push((
            "dialogs",
            plain("", "early").replacen("</dialog-info>", &(one.repeat(n / 6) + "</dialog-info>"), 1),
        ));
    }
    let mut all: Vec<_> = all.into_iter().map(|(name, text)| (name, text.into_bytes())).collect();
    let utf16 = wrap(event, "", "", &"x".repeat(n)).encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<_>>();
    all.push(("UTF-16", [b"\xff\xfe".to_vec(), utf16].concat()));
    all
}

/// A phone that talks to the server over TCP.
pub fn over_tcp(user: &str, server: &Kamailio) -> Phone {
    Phone::on(user, Wire::to(([127, 0, 0, 1], server.port).into(), Transport::Tcp).expect("a connection"))
}

/// Sends a PUBLISH for a user, with a body that need not be text. Its final replies.
pub fn publish(phone: &mut Phone, user: &str, event: &str, body: &[u8]) -> Vec<u16> {
    let text = phone.publish_request(user, event, None, Some(3), "x", &[]);
    let head =
        text.trim_end_matches("\r\n\r\nx").replace("Content-Length: 1", &format!("Content-Length: {}", body.len()));
    finals(phone, &[head.as_bytes(), b"\r\n\r\n", body].concat(), PATIENCE)
}

/// A server that takes a megabyte over TCP.
pub fn roomy(database: Database, mode: u8, cache: u8) -> testkit::Builder {
    brief()
        .database(database)
        .param("subs_db_mode", mode)
        .param("publ_cache", cache)
        .listen("LISTEN_TCP")
        .before("tcp_rd_buf_size=4194304\ntcp_conn_wq_max=16777216\ntcp_wq_max=67108864\n#!ifndef KAMAILIO_5\nmsg_recv_max_size=4194304\n#!endif")
}

fn survive(database: Database, mode: u8, cache: u8) {
    let is_stored = cache < 2;
    let mut server = roomy(database, mode, cache).start();
    let secret = server.dir.join("secret");
    std::fs::write(&secret, SECRET).expect("writes");
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.set_nonblocking(true).expect("a listener that does not wait");
    let elsewhere =
        [format!("file://{}", secret.display()), format!("http://{}/x", listener.local_addr().expect("an address"))];
    let (mut wrong, mut dearest, mut before) = (Vec::new(), (Duration::ZERO, String::new()), None);
    let mut count = 0;
    for round in 0..2 {
        for event in ["presence", "dialog"] {
            for (scale, place) in [(1, 0), (1, 1), (16, 0)] {
                // A database takes no document of a megabyte, and what is kept for one is there after the first.
                if scale > 1 && (round > 0 || is_stored) {
                    continue;
                }
                // Both are phones that are called often; each round begins with those of the last gone.
                let (mut watcher, mut publisher) = (over_tcp("bob", &server), over_tcp("alice", &server));
                let leads_there =
                    |(name, _): &(&str, Vec<u8>)| place == 0 || name.contains("file") || name.contains("elsewhere");
                for (name, body) in bombs(event, scale, &elsewhere[place]).into_iter().filter(leads_there) {
                    // Each is of its own: the documents of one presentity are combined.
                    let user = format!("u{count}");
                    watcher.subscribe(&user, event, 3);
                    watcher.notify();
                    let spent = loadgen::cpu::used(server.pid());
                    let codes = publish(&mut publisher, &user, event, &body);
                    let told = if codes == [200] { watcher.notify_within(5.0) } else { None };
                    let spent = loadgen::cpu::used(server.pid()).saturating_sub(spent);
                    let what = format!("{event}, {name}, {} bytes", body.len());
                    assert!(server.is_running(), "{what}: the server is down\n{}", server.log());
                    count += 1;
                    if spent > dearest.0 {
                        dearest = (spent, what.clone());
                    }
                    let is_libxml = crate::is_long() && matches!(name, "attributes" | "namespaces");
                    if spent > Duration::from_millis(300) {
                        println!("{what}: {codes:?}, {spent:?} of CPU");
                    }
                    if codes.len() != 1 || spent > if is_libxml { CEILING.1 } else { CEILING.0 } {
                        wrong.push(format!("{what}: {codes:?}, {spent:?} of CPU"));
                    }
                    let mut told = told.into_iter().chain(watcher.inbox.drain(..));
                    if told.any(|notify| notify.body.contains(SECRET)) {
                        wrong.push(format!("{what}: a NOTIFY tells of the server's file"));
                    }
                }
            }
        }
        match &before {
            None => before = Some(Level::settled(&server, None)),
            Some(before) => drop(Level::assert_back_at(before, 1 << 20, &server, None)),
        }
    }
    println!("{count} documents; the dearest: {:?} for {}", dearest.0, dearest.1);
    assert!(listener.accept().is_err(), "the server went to fetch an entity");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_serves(&mut server);
}

#[test]
fn xml_bombs_are_answered_once_and_soon_in_memory() {
    survive(Database::None, 0, 2);
}

#[test]
fn xml_bombs_are_answered_once_and_soon_with_sqlite() {
    survive(Database::Sqlite("wal"), 1, 1);
}
