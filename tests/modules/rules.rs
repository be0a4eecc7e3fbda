//! presence_xml with rules: the integrated XCAP server's table says who may watch, and what follows when that changes.

use crate::publish;
use testkit::phone::{Dialog, pidf};
use testkit::{Builder, Database, Kamailio, Message, Phone, sqlite};

/// A server whose watchers are subject to the rules in the table `xcap`.
pub fn builder() -> Builder {
    let parameters = "modparam(\"presence_xml\", \"force_active\", 0)\n\
                      modparam(\"presence_xml\", \"integrated_xcap_server\", 1)";
    crate::with(&["presence_xml"]).extra(parameters).database(Database::Sqlite("WAL"))
}

/// A document with one rule per watcher of test.local: its user, the conditions beside its identity, the actions and
/// the transformations.
pub fn ruleset(rules: &[Rule<'_>]) -> String {
    let rules: String = rules.iter().map(Rule::text).collect();
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<cr:ruleset xmlns=\"urn:ietf:params:xml:ns:pres-rules\" \
         xmlns:pr=\"urn:ietf:params:xml:ns:pres-rules\" xmlns:cr=\"urn:ietf:params:xml:ns:common-policy\">{rules}\
         </cr:ruleset>"
    )
}

/// What a presentity wants for one watcher.
#[derive(Clone, Copy, Default)]
pub struct Rule<'a> {
    pub watcher: &'a str,
    pub handling: &'a str,
    pub condition: &'a str,
    pub transformations: &'a str,
}

impl Rule<'_> {
    fn text(&self) -> String {
        let Self { watcher, handling, condition, transformations } = self;
        format!(
            "<cr:rule id=\"{watcher}-{handling}\"><cr:conditions>{condition}<cr:identity>\
             <cr:one id=\"sip:{watcher}@test.local\"/></cr:identity></cr:conditions><cr:actions>\
             <pr:sub-handling>{handling}</pr:sub-handling></cr:actions><cr:transformations>{transformations}\
             </cr:transformations></cr:rule>"
        )
    }
}

/// One watcher, handled like this.
pub fn one(watcher: &str, handling: &str) -> String {
    ruleset(&[Rule { watcher, handling, transformations: ALL, ..Rule::default() }])
}

const ALL: &str = "<pr:provide-services><pr:all-services/></pr:provide-services><pr:provide-persons><pr:all-persons/>\
                   </pr:provide-persons><pr:provide-all-attributes/>";

const PRES_RULES: u32 = 2;
const PIDF_MANIPULATION: u32 = 16;

/// Puts a document of a user into the table.
fn store(server: &Kamailio, user: &str, kind: u32, document: &str) {
    let uri = document_uri(user, kind);
    let statement = format!(
        "DELETE FROM xcap WHERE doc_uri = '{uri}'; INSERT INTO xcap (username, domain, doc, doc_type, etag, source, \
         doc_uri, port) VALUES ('{user}', 'test.local', '{document}', {kind}, 'e1', 0, '{uri}', 0)"
    );
    sqlite::run(&server.database_file(), &statement);
}

fn document_uri(user: &str, kind: u32) -> String {
    format!("/xcap-root/{kind}/users/sip:{user}@test.local/index")
}

/// The rules of a user.
pub fn store_rules(server: &Kamailio, user: &str, document: &str) {
    store(server, user, PRES_RULES, document);
}

/// A server on which alice has published, with her rules; and bob, who has just subscribed: his NOTIFY.
fn bob_watches(rules: &str) -> (Kamailio, Phone, Message) {
    bob_watches_at(builder(), rules)
}

fn bob_watches_at(builder: Builder, rules: &str) -> (Kamailio, Phone, Message) {
    let server = builder.start();
    store_rules(&server, "alice", rules);
    publish(&mut Phone::new("alice", server.port), "presence", None, &pidf("alice", "open", "here"));
    let mut bob = Phone::new("bob", server.port);
    bob.subscribe("alice", "presence", 600);
    let notify = bob.notify();
    (server, bob, notify)
}

#[test]
fn allowed_watchers_see_the_state() {
    let (_server, _bob, notify) = bob_watches(&one("bob", "allow"));
    assert!(notify.state().starts_with("active;expires="), "{notify:?}");
    assert!(notify.body.contains("<note>here</note>"), "{notify:?}");
}

#[test]
fn watchers_to_be_confirmed_wait_without_state() {
    let (_server, _bob, notify) = bob_watches(&one("bob", "confirm"));
    assert!(notify.state().starts_with("pending;expires="), "{notify:?}");
    assert_eq!(notify.body, "");
}

#[test]
fn politely_blocked_watchers_do_not_notice_and_see_nothing() {
    let (server, mut bob, notify) = bob_watches(&one("bob", "polite-block"));
    assert!(notify.state().starts_with("active;expires="), "{notify:?}");
    assert_eq!(notify.body, "");
    publish(&mut Phone::new("alice", server.port), "presence", None, &pidf("alice", "closed", "there"));
    assert!(bob.notify_within(1.0).is_none_or(|notify| notify.body.is_empty()));
}

#[test]
fn blocked_watchers_are_told_so() {
    let (_server, _bob, notify) = bob_watches(&one("bob", "block"));
    assert_eq!(notify.state(), "terminated;reason=rejected");
    assert_eq!(notify.body, "");
}

#[test]
fn watchers_whom_no_rule_names_wait() {
    let (_server, _bob, notify) = bob_watches(&one("carol", "allow"));
    assert!(notify.state().starts_with("pending"), "{notify:?}");
}

/// Both commands that say that rules have changed.
const CHANGED: [&[&str]; 2] = [
    &["presence.updateWatchers", "sip:alice@test.local", "presence"],
    &["presence.refreshWatchers", "sip:alice@test.local", "presence", "0"],
];

#[test]
fn a_waiting_watcher_is_told_that_it_is_allowed_now() {
    for command in CHANGED {
        let (server, mut bob, notify) = bob_watches(&one("bob", "confirm"));
        assert!(notify.state().starts_with("pending"), "{notify:?}");
        store_rules(&server, "alice", &one("bob", "allow"));
        assert_eq!(server.rpc(command), "");
        let notify = bob.notify();
        assert!(notify.state().starts_with("active;expires="), "{command:?}: {notify:?}");
        assert!(notify.body.contains("<note>here</note>"), "{command:?}: {notify:?}");
    }
}

#[test]
fn a_watcher_is_told_that_it_is_blocked_now() {
    for command in CHANGED {
        let (server, mut bob, notify) = bob_watches(&one("bob", "allow"));
        assert!(notify.state().starts_with("active"), "{notify:?}");
        store_rules(&server, "alice", &one("bob", "block"));
        assert_eq!(server.rpc(command), "");
        let notify = bob.notify();
        assert_eq!(notify.state(), "terminated;reason=rejected", "{command:?}: {notify:?}");
        assert_eq!(notify.body, "");
        publish(&mut Phone::new("alice", server.port), "presence", None, &pidf("alice", "closed", "there"));
        assert_eq!(bob.notify_within(0.5), None);
    }
}

#[test]
fn decisions_are_told_wherever_subscriptions_and_publications_are() {
    for (subs_db_mode, publ_cache) in [(1, 0), (1, 2), (2, 1), (3, 0), (3, 1)] {
        let builder = builder().param("subs_db_mode", subs_db_mode).param("publ_cache", publ_cache);
        let (server, mut bob, notify) = bob_watches_at(builder, &one("bob", "confirm"));
        let told = |bob: &mut Phone, state: &str| {
            let fits = |notify: &Message| notify.state().starts_with(state);
            let what = format!("{state} with subs_db_mode {subs_db_mode} and publ_cache {publ_cache}");
            testkit::wait_for(&what, 5.0, || bob.notify_within(0.1).filter(fits))
        };
        assert!(notify.state().starts_with("pending"), "{notify:?}");
        store_rules(&server, "alice", &one("bob", "allow"));
        assert_eq!(server.rpc(CHANGED[0]), "");
        assert!(told(&mut bob, "active").body.contains("<note>here</note>"));
        store_rules(&server, "alice", &one("bob", "block"));
        assert_eq!(server.rpc(CHANGED[0]), "");
        assert_eq!(told(&mut bob, "terminated").state(), "terminated;reason=rejected");
        testkit::wait_for("an empty table", 5.0, || {
            (sqlite::number(&server.database_file(), "SELECT count(*) FROM active_watchers") == 0).then_some(())
        });
    }
}

#[test]
fn a_watcher_whose_rule_was_removed_is_on_probation() {
    let (server, mut bob, _) = bob_watches(&one("bob", "allow"));
    store_rules(&server, "alice", &one("carol", "allow"));
    assert_eq!(server.rpc(CHANGED[0]), "");
    assert_eq!(bob.notify().state(), "terminated;reason=probation");
}

#[test]
fn the_reason_for_that_may_be_another_one() {
    let builder = builder().extra("modparam(\"presence_xml\", \"xcapauth_userdel_reason\", \"noresource\")");
    let (server, mut bob, _) = bob_watches_at(builder, &one("bob", "allow"));
    store_rules(&server, "alice", &one("carol", "allow"));
    assert_eq!(server.rpc(CHANGED[0]), "");
    assert_eq!(bob.notify().state(), "terminated;reason=noresource");
}

/// The C module does not tell the watchers of watchers of a decision (RFC 3857 4.7.1): alice hears nothing.
#[test]
fn who_watches_the_watchers_sees_a_decision() {
    let (server, _bob, _) = bob_watches(&one("bob", "confirm"));
    let mut alice = Phone::new("alice", server.port);
    alice.subscribe("alice", "presence.winfo", 600);
    assert!(alice.notify().body.contains("status=\"pending\""));
    store_rules(&server, "alice", &one("bob", "allow"));
    assert_eq!(server.rpc(CHANGED[0]), "");
    let body = alice.notify().body;
    assert!(body.contains("status=\"active\"") && body.contains("sip:bob@test.local"), "{body}");
}

/// The C module needs a database with REPLACE for that, which SQLite's driver does not offer: the command fails.
#[test]
fn hard_state_from_a_file_is_published_for_the_presentity() {
    let (server, mut bob, _) = bob_watches(&one("bob", "allow"));
    store(&server, "alice", PIDF_MANIPULATION, &pidf("alice", "closed", "on vacation"));
    let file = document_uri("alice", PIDF_MANIPULATION);
    let command = ["presence.refreshWatchers", "sip:alice@test.local", "presence", "2", &file, "index"];
    assert_eq!(server.rpc(&command), "");
    assert!(bob.notify().body.contains("<note>on vacation</note>"));
    let mut carol = Phone::new("carol", server.port);
    store_rules(&server, "alice", &one("carol", "allow"));
    carol.subscribe("alice", "presence", 600);
    assert!(carol.notify().body.contains("<note>on vacation</note>"));
}

const ROUTES: &str = r#"
request_route {
    if (is_method("PUBLISH")) { t_newtran(); handle_publish(); t_release(); exit; }
    pres_auth_status("$fu", "$tu");
    $var(status) = $rc;
    append_to_reply("Status: $var(status)\r\n");
    sl_send_reply("200", "OK");
}
"#;

#[test]
fn the_script_asks_what_the_rules_say_of_a_watcher() {
    let server = builder().routes(ROUTES).start();
    let mut bob = Phone::new("bob", server.port);
    let handlings = [("allow", "1"), ("confirm", "2"), ("block", "3"), ("polite-block", "5")];
    for (handling, status) in handlings {
        store_rules(&server, "alice", &one("bob", handling));
        let request = bob.subscribe_request(&Dialog { cseq: 1, ..Dialog::new("alice", "presence") }, Some(60), &[]);
        assert_eq!(bob.ask(&request).header("Status"), Some(status), "{handling}");
    }
}
