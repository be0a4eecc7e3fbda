//! Scripts that call a function of presence and tell what it returned (`tests/scripts/`).

use std::path::Path;
use testkit::phone::unique;
use testkit::{Builder, Database, Kamailio, Message, Phone, sqlite, wait_for};

/// Watchers need the presentity's permission, by rules in the table `xcap`.
pub const ASK_FIRST: &str = r#"modparam("presence_xml", "force_active", 0)
modparam("presence_xml", "integrated_xcap_server", 1)"#;

/// The domain of everybody.
pub fn uri(user: &str) -> String {
    format!("sip:{user}@test.local")
}

/// A server over a new SQLite file. One worker and no notifier: the stock module loses writes when two processes meet
/// at the file.
pub fn with_tables() -> Builder {
    Kamailio::builder().database(Database::Sqlite("wal")).children(1).param("notifier_processes", 0)
}

/// Routes that tell, in the language of kamailio.cfg.
pub fn routes() -> String {
    include_str!("../scripts/probe.cfg").to_owned()
}

/// Calls a function; what it returned.
pub fn call(phone: &mut Phone, function: &str, arguments: &[&str]) -> i32 {
    let reply = ask(phone, function, arguments).unwrap_or_else(|| panic!("{function}{arguments:?} is not answered"));
    result(&reply).unwrap_or_else(|| panic!("{function}{arguments:?}: {reply:?}"))
}

/// Calls a function; the reply, or none if the script ended before that.
pub fn ask(phone: &mut Phone, function: &str, arguments: &[&str]) -> Option<Message> {
    let mut headers = vec![format!("Function: {function}")];
    headers.extend(arguments.iter().enumerate().map(|(at, argument)| format!("A{}: {argument}", at + 1)));
    let (server, from) = (phone.uri_of("server"), phone.uri_of(&phone.user));
    let request = phone.request(
        "MESSAGE",
        &server,
        &from,
        &server,
        ("probe", ""),
        &format!("probe-{}", unique()),
        1,
        &headers,
        "",
    );
    phone.try_ask(&request)
}

/// The number in a reply.
pub fn result(reply: &Message) -> Option<i32> {
    reply.header("Result").and_then(|number| number.parse().ok())
}

/// What `handle_publish` or `handle_subscribe` returned for the request with this Call-ID.
pub fn returned(server: &Kamailio, call_id: &str) -> i32 {
    let mark = format!("script: {call_id} returned ");
    wait_for(&mark, 5.0, || {
        let line = server.log_lines(&mark).pop()?;
        line.split(&mark).nth(1).and_then(|number| number.trim().parse().ok())
    })
}

/// Sends a request that somebody else wrote, waits for the reply; its code, and what the function returned.
pub fn serve(server: &Kamailio, phone: &mut Phone, request: &str) -> (u16, i32) {
    let call_id = Message::parse(request.as_bytes()).header("Call-ID").expect("a Call-ID").to_owned();
    (phone.ask(request).code(), returned(server, &call_id))
}

/// Rules of a presentity: one for each watcher, with what is done about it (`allow`, `block`, `polite-block`,
/// `confirm`). They take the place of older ones.
pub fn set_rules(file: &Path, user: &str, rules: &[(&str, &str)]) {
    let rules: String = rules
        .iter()
        .map(|(watcher, action)| {
            format!(
                "<rule id=\"{watcher}\"><conditions><identity><one id=\"{}\"/></identity></conditions>\
                 <actions><pr:sub-handling>{action}</pr:sub-handling></actions><transformations/></rule>",
                uri(watcher)
            )
        })
        .collect();
    let document = format!(
        "<?xml version=\"1.0\"?><ruleset xmlns=\"urn:ietf:params:xml:ns:common-policy\" \
         xmlns:pr=\"urn:ietf:params:xml:ns:pres-rules\" xmlns:cr=\"urn:ietf:params:xml:ns:common-policy\">{rules}</ruleset>"
    );
    put_document(file, user, 2, &format!("/rules/{user}"), &document);
}

/// A document in the table `xcap`: of type 2 are rules, of type 16 is a hard state.
pub fn put_document(file: &Path, user: &str, kind: u8, path: &str, document: &str) {
    sqlite::run(
        file,
        &format!(
            "INSERT OR REPLACE INTO xcap (username, domain, doc, doc_type, etag, source, doc_uri, port) \
             VALUES ('{user}', 'test.local', CAST('{document}' AS BLOB), {kind}, 'e', 1, '{path}', 0)"
        ),
    );
}
