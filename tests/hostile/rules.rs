//! The same documents as rules in the table `xcap`, and rules of a shape that nobody means.

use crate::bombs::bombs;
use crate::level::{Level, assert_serves};
use std::time::Duration;
use testkit::phone::Dialog;
use testkit::{Database, Phone, sqlite};

/// What all processes may spend on a SUBSCRIBE under such rules.
const CEILING: Duration = Duration::from_secs(3);

/// Rules with this for conditions, or with this before and after.
fn ruleset(dtd: &str, inside: &str) -> String {
    format!(
        "<?xml version=\"1.0\"?>{dtd}<ruleset xmlns=\"urn:ietf:params:xml:ns:common-policy\" \
         xmlns:pr=\"urn:ietf:params:xml:ns:pres-rules\"><rule id=\"r\">{inside}</rule></ruleset>"
    )
}

/// Rules that are not well-formed, not rules, or more than anybody has.
fn shapes() -> Vec<Vec<u8>> {
    let n = 20_000;
    let one = |conditions: &str, actions: &str| {
        let inside = format!("<conditions>{conditions}</conditions><actions>{actions}</actions><transformations/>");
        ruleset("", &inside).into_bytes()
    };
    let action = "<pr:sub-handling>allow</pr:sub-handling>";
    vec![
        Vec::new(),
        b"x".to_vec(),
        ruleset("", "").into_bytes(),
        one("<identity/>", ""),
        one("<identity><one/></identity>", action),
        one("<identity><one id=\"\"/></identity>", action),
        one("<identity><many><except/></many></identity>", action),
        one("<identity><many domain=\"\"/></identity>", "<pr:sub-handling/>"),
        one("<identity><one id=\"sip:bob@test.local\"/></identity>", "<pr:sub-handling>nonsense</pr:sub-handling>"),
        one("<validity><from>never</from><until/></validity>", action),
        one("<sphere/>", action),
        one(&"<identity><one id=\"sip:x@y\"/></identity>".repeat(n), action),
        one(&format!("<identity>{}</identity>", "<one id=\"sip:x@y\"/>".repeat(n)), action),
        one("<identity><one id=\"sip:bob@test.local\"/></identity>", &action.repeat(n)),
        ruleset("", "").replace("<rule id=\"r\"></rule>", &"<rule id=\"r\"/>".repeat(n)).into_bytes(),
    ]
}

#[test]
fn rules_of_any_shape_decide_or_are_refused() {
    let parameters = "modparam(\"presence_xml\", \"force_active\", 0)\n\
                      modparam(\"presence_xml\", \"integrated_xcap_server\", 1)";
    let brief = crate::level::brief().database(Database::Sqlite("wal")).param("publ_cache", 0).param("subs_db_mode", 1);
    let mut server = brief.extra(parameters).start();
    let file = server.database_file();
    let documents = [bombs("presence", 1, "file:///etc/hostname"), bombs("presence", 8, "file:///etc/hostname")];
    let bombs = documents.into_iter().flatten().map(|(_, body)| body);
    let all: Vec<Vec<u8>> = shapes().into_iter().chain(bombs).collect();
    let mut statements = String::from("BEGIN;");
    for (n, rules) in all.iter().enumerate() {
        let hex: String = rules.iter().map(|b| format!("{b:02x}")).collect();
        statements += &format!(
            "INSERT INTO xcap (username, domain, doc, doc_type, etag, source, doc_uri, port) \
             VALUES ('u{n}', 'test.local', X'{hex}', 2, 'e', 0, '/rules/{n}', 0);"
        );
    }
    let script = server.dir.join("rules.sql");
    std::fs::write(&script, statements + "COMMIT;").expect("writes");
    sqlite::run(&file, &format!(".read {}", script.display()));
    let mut phone = Phone::new("bob", server.port);
    let (mut wrong, mut before, mut dearest) = (Vec::new(), None, Duration::ZERO);
    let mut codes = std::collections::BTreeMap::<u16, u32>::new();
    for _ in 0..2 {
        for (n, rules) in all.iter().enumerate() {
            let dialog = Dialog { cseq: 1, ..Dialog::new(&format!("u{n}"), "presence") };
            let spent = loadgen::cpu::used(server.pid());
            let request = phone.subscribe_request(&dialog, Some(3), &[]);
            let reply = phone.try_ask(&request);
            let spent = loadgen::cpu::used(server.pid()).saturating_sub(spent);
            dearest = dearest.max(spent);
            let code = reply.map_or(0, |reply| reply.code());
            *codes.entry(code).or_default() += 1;
            assert!(server.is_running(), "rules {n}: the server is down\n{}", server.log());
            if code == 0 || spent > CEILING {
                let start: String = String::from_utf8_lossy(rules).chars().take(120).collect();
                wrong.push(format!("rules {n} ({} bytes): {code}, {spent:?}: {start}", rules.len()));
            }
            if phone.strays.drain(..).any(|m| m.code() >= 200) {
                wrong.push(format!("rules {n}: a second final reply"));
            }
        }
        phone.listen(Duration::from_millis(50));
        phone.inbox.clear();
        match &before {
            None => before = Some(Level::settled(&server, Some(&mut phone))),
            Some(before) => drop(Level::assert_back_at(before, 1 << 20, &server, Some(&mut phone))),
        }
    }
    println!("{} rules, each twice: {codes:?}; the dearest {dearest:?}", all.len());
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    sqlite::run(&file, "DELETE FROM watchers; DELETE FROM xcap");
    let allow = ruleset(
        "",
        "<conditions><identity><one id=\"sip:bob@test.local\"/></identity></conditions><actions><pr:sub-handling>allow\
         </pr:sub-handling></actions>",
    );
    sqlite::run(
        &file,
        &format!(
            "INSERT INTO xcap (username, domain, doc, doc_type, etag, source, doc_uri, port) \
             VALUES ('erin', 'test.local', CAST('{allow}' AS BLOB), 2, 'e', 0, '/rules/erin', 0)"
        ),
    );
    assert_serves(&mut server);
}
