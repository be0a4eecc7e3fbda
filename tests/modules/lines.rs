//! pua_bla with presence_xml's package `dialog;sla`: phones that share a line (draft-anil-sipping-bla-03).

use crate::client::{SERVE, client, register};
use testkit::phone::dialog_info;
use testkit::{Kamailio, Message, Phone};

const MODULES: &str = "modparam(\"presence_xml\", \"disable_bla\", 0)\nmodparam(\"presence_xml\", \"force_active\", 1)\n\
                       loadmodule \"pua_bla.so\"\nmodparam(\"pua_bla\", \"server_address\", SERVER)\n\
                       modparam(\"pua_bla\", \"default_domain\", \"test.local\")\n\
                       modparam(\"pua_bla\", \"header_name\", \"Sender\")";

const ROUTES: &str = r#"
request_route {
    route(PRESENCE);
    if (is_method("REGISTER")) { bla_set_flag(); save("location"); exit; }
    if (is_method("NOTIFY")) {
        if (bla_handle_notify()) sl_send_reply("200", "OK"); else sl_send_reply("481", "No such line");
    }
}
"#;

/// A phone of the line: registered, watched by the server, and watching the line.
struct Appearance {
    phone: Phone,
    /// The server's SUBSCRIBE.
    subscribe: Message,
    cseq: u32,
}

impl Appearance {
    fn new(server: &Kamailio) -> Self {
        let mut phone = Phone::new("line", server.port);
        register(&mut phone, &testkit::phone::unique(), 1, 600);
        let subscribe = phone.request_of("SUBSCRIBE");
        assert_eq!(subscribe.header("Event"), Some("dialog;sla"));
        phone.reply(&subscribe, 200, "own", &[format!("Contact: <{}>", phone.contact()), "Expires: 600".into()]);
        Self { phone, subscribe, cseq: 0 }
    }

    /// Tells the server about a call of its own; the code of the answer.
    fn tells(&mut self, state: &str) -> u16 {
        self.cseq += 1;
        let field = |name: &str| self.subscribe.header(name).unwrap_or_default().to_owned();
        let uri = |value: &str| crate::between(value, "<", ">").to_owned();
        let (from, to) = (field("To"), field("From"));
        let headers = [
            "Event: dialog;sla".to_owned(),
            "Subscription-State: active;expires=600".to_owned(),
            format!("Contact: <{}>", self.phone.contact()),
            "Content-Type: application/dialog-info+xml".to_owned(),
        ];
        let request = self.phone.request(
            "NOTIFY",
            &uri(&field("Contact")),
            &uri(&from),
            &uri(&to),
            ("own", testkit::sip::tag(&to)),
            &field("Call-ID"),
            self.cseq,
            &headers,
            &dialog_info("line", "d1", state),
        );
        self.phone.ask(&request).code()
    }
}

#[test]
fn what_one_phone_of_a_line_does_the_others_see() {
    let server = client(&["presence_xml"], MODULES, &format!("{SERVE}{ROUTES}")).start();
    let (mut desk, mut mobile) = (Appearance::new(&server), Appearance::new(&server));
    mobile.phone.subscribe("line", "dialog;sla", 600);
    mobile.phone.notify();
    desk.phone.subscribe("line", "dialog;sla", 600);
    desk.phone.notify();
    for state in ["trying", "confirmed", "terminated"] {
        let code = testkit::wait_for("the line's subscription at the server", 5.0, || {
            Some(desk.tells(state)).filter(|code| *code == 200)
        });
        assert_eq!(code, 200);
        let notify = mobile.phone.notify();
        assert_eq!(notify.header("Event"), Some("dialog;sla"));
        assert!(notify.body.contains(&format!("<state>{state}</state>")), "{notify:?}");
    }
}
