//! pua_dialoginfo: the calls that pass through the server, shown as busy lamps.

use crate::client::{SERVE, client, register, shown};
use crate::{between, with};
use testkit::{Database, Kamailio, Message, Phone};

pub const MODULES: &str = "loadmodule \"dialog.so\"\nloadmodule \"pua_dialoginfo.so\"\n\
                           modparam(\"dialog\", \"enable_stats\", 0)";

const ROUTES: &str = r#"
request_route {
    route(PRESENCE);
    if (is_method("REGISTER")) { save("location"); exit; }
    if (has_totag()) {
        loose_route();
        if (is_method("ACK") && !t_check_trans()) { t_relay(); exit; }
        t_relay();
        exit;
    }
    if (is_method("CANCEL")) { t_relay(); exit; }
    record_route();
    dlg_manage();
    if (!lookup("location")) { sl_send_reply("404", "Not here"); exit; }
    t_relay();
}
"#;

/// A call, as its caller holds it.
pub struct Call {
    call_id: String,
    to: String,
    invite: String,
    routes: Vec<String>,
    target: String,
    to_tag: String,
}

impl Call {
    /// The caller sends an INVITE; the callee gets it.
    pub fn start(caller: &mut Phone, callee: &mut Phone) -> (Self, Message) {
        let (uri, from) = (caller.uri_of(&callee.user), caller.uri_of(&caller.user));
        let call_id = testkit::phone::unique();
        let headers = [format!("Contact: <{}>", caller.contact())];
        let invite = caller.request("INVITE", &uri, &from, &uri, ("from", ""), &call_id, 1, &headers, "");
        caller.send_raw(invite.as_bytes());
        let received = callee.request_of("INVITE");
        let call = Self { call_id, to: uri, invite, routes: vec![], target: String::new(), to_tag: String::new() };
        (call, received)
    }

    /// The callee answers with this code; the caller takes the reply and, if it is final, acknowledges it.
    pub fn answered(&mut self, caller: &mut Phone, callee: &mut Phone, invite: &Message, code: u16) {
        let contact = format!("Contact: <{}>", callee.contact());
        callee.reply(invite, code, "callee", &[contact]);
        let reply = caller.stray(|m| m.code() == code && m.header("Call-ID") == Some(&self.call_id));
        let reply = reply.unwrap_or_else(|| panic!("no {code} within 5 s"));
        self.to_tag = reply.to_tag().to_owned();
        self.target = reply.header("Contact").map(|c| between(c, "<", ">").to_owned()).unwrap_or_default();
        let routes = reply.headers.iter().filter(|(name, _)| name.eq_ignore_ascii_case("Record-Route"));
        self.routes = routes.rev().map(|(_, value)| format!("Route: {value}")).collect();
        if code == 200 {
            let ack = self.request(caller, "ACK", 1);
            caller.send_raw(ack.as_bytes());
            callee.request_of("ACK");
        }
    }

    fn request(&self, caller: &Phone, method: &str, cseq: u32) -> String {
        let from = caller.uri_of(&caller.user);
        let tags = ("from", self.to_tag.as_str());
        caller.request(method, &self.target, &from, &self.to, tags, &self.call_id, cseq, &self.routes, "")
    }

    /// The caller hangs up.
    pub fn hung_up(&self, caller: &mut Phone, callee: &mut Phone) {
        let bye = self.request(caller, "BYE", 2);
        caller.send_raw(bye.as_bytes());
        let received = callee.request_of("BYE");
        callee.reply(&received, 200, "", &[]);
        caller.stray(|m| m.code() == 200 && m.header("CSeq") == Some("2 BYE")).expect("a reply to BYE");
    }

    /// The caller gives up before an answer.
    pub fn cancelled(&self, caller: &mut Phone, callee: &mut Phone, invite: &Message) {
        let head = self.invite.replace("INVITE sip:", "CANCEL sip:").replace("1 INVITE", "1 CANCEL");
        caller.send_raw(head.as_bytes());
        let received = callee.request_of("CANCEL");
        callee.reply(&received, 200, "", &[]);
        callee.reply(invite, 487, "callee", &[]);
        caller.stray(|m| m.code() == 487).expect("487");
    }
}

/// Phones that are registered, and lamps that watch them.
pub struct Office {
    pub caller: Phone,
    pub callee: Phone,
    pub at_caller: Phone,
    pub at_callee: Phone,
}

impl Office {
    pub fn of(server: &Kamailio, domain: &str) -> Self {
        let phone = |user: &str| {
            let mut phone = Phone::new(user, server.port);
            domain.clone_into(&mut phone.domain);
            phone
        };
        let (mut caller, mut callee) = (phone("caller"), phone("callee"));
        let (mut at_caller, mut at_callee) = (phone("lamp1"), phone("lamp2"));
        register(&mut caller, "caller", 1, 600);
        register(&mut callee, "callee", 1, 600);
        at_caller.subscribe("caller", "dialog", 600);
        at_callee.subscribe("callee", "dialog", 600);
        at_caller.notify();
        at_callee.notify();
        Self { caller, callee, at_caller, at_callee }
    }

    pub fn lamps_show(&mut self, state: &str) {
        let state = format!("<state>{state}</state>");
        let body = shown(&mut self.at_caller, &state);
        assert!(body.contains("direction=\"initiator\""), "{body}");
        let body = shown(&mut self.at_callee, &state);
        assert!(body.contains("direction=\"recipient\""), "{body}");
    }

    /// A call from beginning to end, with what the lamps show.
    pub fn calls(&mut self) {
        let (mut call, invite) = Call::start(&mut self.caller, &mut self.callee);
        call.answered(&mut self.caller, &mut self.callee, &invite, 180);
        self.lamps_show("early");
        call.answered(&mut self.caller, &mut self.callee, &invite, 200);
        self.lamps_show("confirmed");
        call.hung_up(&mut self.caller, &mut self.callee);
        self.lamps_show("terminated");
    }
}

#[test]
fn the_lamps_of_both_ends_follow_a_call() {
    let server = client(&["presence_dialoginfo"], MODULES, &format!("{SERVE}{ROUTES}")).start();
    let mut office = Office::of(&server, "test.local");
    office.calls();
    office.calls();
}

#[test]
fn the_lamps_go_out_when_the_caller_gives_up() {
    let server = client(&["presence_dialoginfo"], MODULES, &format!("{SERVE}{ROUTES}")).start();
    let mut office = Office::of(&server, "test.local");
    let (mut call, invite) = Call::start(&mut office.caller, &mut office.callee);
    call.answered(&mut office.caller, &mut office.callee, &invite, 180);
    office.lamps_show("early");
    call.cancelled(&mut office.caller, &mut office.callee, &invite);
    office.lamps_show("terminated");
}

#[test]
fn the_lamps_follow_calls_without_a_database_of_subscriptions() {
    // pua keeps its own table; presence is in memory.
    let modules = format!(
        "loadmodule \"siputils.so\"\nloadmodule \"usrloc.so\"\nloadmodule \"registrar.so\"\nloadmodule \"pua.so\"\n\
         modparam(\"pua\", \"db_url\", DB_URL)\nmodparam(\"pua\", \"outbound_proxy\", SERVER)\n{MODULES}"
    );
    let server = with(&["presence_dialoginfo"]).before("alias=\"test.local\"").database(Database::Sqlite("WAL"));
    let server = server.param("publ_cache", 2).param("subs_db_mode", 0).extra(&modules);
    let server = server.routes(&format!("{SERVE}{ROUTES}")).start();
    Office::of(&server, "test.local").calls();
}
