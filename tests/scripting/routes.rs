//! In which routes the functions can be called: refused elsewhere when the configuration is read.

use crate::probe::{ASK_FIRST, call, set_rules, with_tables};
use testkit::phone::pidf;
use testkit::{Kamailio, Phone, wait_for};

/// For `request_route` and the routes that it calls only.
const REQUEST_ONLY: [&str; 5] = [
    "handle_publish()",
    "handle_publish(\"sip:a@b\")",
    "handle_subscribe()",
    "handle_subscribe(\"sip:a@b\")",
    "pres_auth_status(\"sip:a@b\", \"sip:c@d\")",
];

/// For every route.
const ANYWHERE: [&str; 4] = [
    "pres_has_subscribers(\"sip:a@b\", \"presence\")",
    "pres_update_watchers(\"sip:a@b\", \"presence\")",
    "pres_refresh_watchers(\"sip:a@b\", \"presence\", 1)",
    "pres_refresh_watchers(\"sip:a@b\", \"presence\", 2, \"/file\", \"name\")",
];

/// Routes over something else than a request that came in.
const OTHERS: [&str; 5] =
    ["onreply_route[OTHER]", "reply_route", "failure_route[OTHER]", "branch_route[OTHER]", "onsend_route"];

/// Event routes: for the parser they are request routes.
const EVENTS: [&str; 4] = [
    "event_route[tm:local-request]",
    "event_route[presence:notify-reply]",
    "event_route[tm:branch-failure:other]",
    "event_route[core:worker-one-init]",
];

const OPTIONS: &str = "if (is_method(\"OPTIONS\")) { sl_send_reply(\"200\", \"OK\"); exit; }";

/// Statements in one block.
fn block(calls: &[&str]) -> String {
    format!("{{ if ($ml == 1) {{ {}; }} }}", calls.join("; "))
}

#[test]
fn request_routes_and_event_routes_take_every_function() {
    let all = block(&[&REQUEST_ONLY[..], &ANYWHERE].concat());
    let events: Vec<String> = EVENTS.iter().map(|route| format!("{route} {all}")).collect();
    let routes = format!("request_route {{ {OPTIONS} route(OTHER); }}\nroute[OTHER] {all}\n{}", events.join("\n"));
    let mut server = Kamailio::builder().routes(&routes).start();
    assert!(server.is_running());
}

#[test]
fn every_route_takes_the_functions_for_every_route() {
    let others: Vec<String> = OTHERS.iter().map(|route| format!("{route} {}", block(&ANYWHERE))).collect();
    let routes = format!("request_route {{ {OPTIONS} }}\n{}", others.join("\n"));
    let mut server = Kamailio::builder().routes(&routes).start();
    assert!(server.is_running());
}

#[test]
fn other_routes_refuse_the_functions_for_requests() {
    for route in OTHERS {
        for call in REQUEST_ONLY {
            let routes = format!("request_route {{ {OPTIONS} }}\n{route} {}", block(&[call]));
            let started = Kamailio::builder().routes(&routes).try_start();
            let log = started.err().unwrap_or_else(|| panic!("{call} was accepted in {route}"));
            let name = call.split('(').next().unwrap_or_default();
            let says =
                |line: &str| line.contains(name) && (line.contains("misused") || line.contains("cannot be used"));
            assert!(log.lines().any(says), "{call} in {route}: no sentence in\n{log}");
        }
    }
}

#[test]
fn a_wrong_number_of_parameters_stops_the_start() {
    for call in [
        "handle_publish(\"sip:a@b\", \"x\")",
        "handle_subscribe(\"sip:a@b\", \"x\")",
        "pres_auth_status(\"sip:a@b\")",
        "pres_has_subscribers(\"sip:a@b\")",
        "pres_update_watchers(\"sip:a@b\")",
        "pres_refresh_watchers(\"sip:a@b\", \"presence\")",
        "pres_refresh_watchers(\"sip:a@b\", \"presence\", 2, \"/file\")",
    ] {
        let routes = format!("request_route {{ {call}; }}");
        assert!(Kamailio::builder().routes(&routes).try_start().is_err(), "{call}");
    }
}

#[test]
fn the_functions_for_requests_do_no_harm_over_a_notify() {
    let calls = "handle_publish(); handle_subscribe(); handle_publish(\"sip:a@b\"); handle_subscribe(\"sip:a@b\"); \
                 pres_auth_status(\"sip:a@b\", \"sip:c@d\"); xlog(\"L_NOTICE\", \"event: $rm $rc\\n\");";
    let routes = format!(
        "{}\nevent_route[tm:local-request] {{ {calls} }}\nevent_route[presence:notify-reply] {{ {calls} }}",
        testkit::kamailio::ROUTES
    );
    let mut server = Kamailio::builder().routes(&routes).start();
    let (mut alice, mut bob) = (Phone::new("alice", server.port), Phone::new("bob", server.port));
    let mut dialog = bob.subscribe("alice", "presence", 600);
    bob.notify();
    assert_eq!(alice.publish("presence", None, Some(600), &pidf("alice", "open", "here")).code(), 200);
    assert!(bob.notify().body.contains("here"));
    assert_eq!(bob.resubscribe(&mut dialog, 0).code(), 200);
    assert!(bob.notify().state().starts_with("terminated"));
    wait_for("both routes", 5.0, || (server.log_lines("event: NOTIFY 2").len() >= 4).then_some(()));
    assert!(server.is_running());
    // The stock module stops answering.
    assert_eq!(server.log_lines("panic"), Vec::<String>::new());
}

/// Calls the functions in every kind of route that runs, and writes down what they returned.
fn everywhere() -> String {
    let tell = |place: &str, refresh: bool| {
        let uri = "\"sip:alice@test.local\", \"presence\"";
        let refresh =
            if refresh { format!("pres_refresh_watchers({uri}, 1)") } else { format!("pres_has_subscribers({uri})") };
        format!(
            "pres_has_subscribers({uri}); $var(a) = $rc; pres_update_watchers({uri}); $var(b) = $rc; {refresh}; \
             xlog(\"L_NOTICE\", \"route: {place} $var(a) $var(b) $rc\\n\");"
        )
    };
    format!(
        r#"
request_route {{
    {OPTIONS}
    if (is_method("MESSAGE")) {{
        # It comes by twice: the second time it is the phone.
        if ($rU == "phone") {{ sl_send_reply("486", "Busy"); exit; }}
        $ru = "sip:phone@127.0.0.1:" + $Rp;
        t_on_branch("OUT");
        t_on_reply("BACK");
        t_on_failure("BUSY");
        {request}
        t_relay();
        exit;
    }}
    if (!t_newtran()) {{ sl_reply_error(); exit; }}
    if (is_method("PUBLISH")) handle_publish(); else handle_subscribe();
    t_release();
}}
branch_route[OUT] {{ {branch} }}
onreply_route[BACK] {{ {onreply} }}
failure_route[BUSY] {{
    {failure}
    append_to_reply("Result: 1\r\n");
    t_reply("200", "OK");
}}
event_route[tm:local-request] {{ {local} }}
event_route[presence:notify-reply] {{ {answered} }}
onsend_route {{ {onsend} }}
route[TICK] {{ {tick} }}
"#,
        request = tell("request", true),
        branch = tell("branch", true),
        onreply = tell("onreply", true),
        failure = tell("failure", true),
        // A NOTIFY about a NOTIFY would never end.
        local = tell("local", false),
        answered = tell("answered", false),
        onsend = tell("onsend", true),
        tick = tell("tick", true),
    )
}

#[test]
fn the_functions_for_every_route_work_there() {
    let timer = "loadmodule \"rtimer.so\"\nmodparam(\"rtimer\", \"timer\", \"name=t;interval=1;mode=1;\")\n\
                 modparam(\"rtimer\", \"exec\", \"timer=t;route=TICK\")";
    let server = with_tables().extra(ASK_FIRST).extra(timer).routes(&everywhere()).start();
    set_rules(&server.database_file(), "alice", &[("bob", "allow")]);
    let mut bob = Phone::new("bob", server.port);
    bob.subscribe("alice", "presence", 600);
    let first = bob.notify().cseq();
    assert_eq!(call(&mut bob, "any", &[]), 1);
    for place in ["request", "branch", "onsend", "onreply", "failure", "local", "answered", "tick"] {
        let done = format!("route: {place} 1 1 1");
        wait_for(&done, 5.0, || (!server.log_lines(&done).is_empty()).then_some(()));
    }
    // The refreshes are told, in order.
    let mut last = first;
    wait_for("NOTIFYs", 5.0, || {
        let notify = bob.notify();
        // On a busy machine one may be sent again.
        assert!(notify.cseq() >= last, "CSeq {} after {last}", notify.cseq());
        last = notify.cseq();
        (last >= first + 3).then_some(())
    });
    for sign in ["CRITICAL", "BUG:"] {
        assert_eq!(server.log_lines(sign), Vec::<String>::new());
    }
}
