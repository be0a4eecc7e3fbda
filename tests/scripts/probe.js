// The same as probe.cfg, in JavaScript.

function header(name) {
    return KSR.pv.gete("$hdr(" + name + ")");
}

function call(name) {
    switch (name) {
    case "pres_auth_status":
        return KSR.presence.pres_auth_status(header("A1"), header("A2"));
    case "pres_has_subscribers":
        return KSR.presence.pres_has_subscribers(header("A1"), header("A2"));
    case "pres_update_watchers":
        return KSR.presence.pres_update_watchers(header("A1"), header("A2"));
    case "pres_refresh_watchers":
        return KSR.presence.pres_refresh_watchers(header("A1"), header("A2"), parseInt(header("A3")));
    case "pres_refresh_watchers_file":
        return KSR.presence.pres_refresh_watchers_file(header("A1"), header("A2"), parseInt(header("A3")),
            header("A4"), header("A5"));
    }
}

function servePublish() {
    if (KSR.textops.is_present_hf("Fixed") > 0)
        return KSR.presence.handle_publish_uri("sip:fixed@test.local");
    if (KSR.textops.is_present_hf("Sender") > 0)
        return KSR.presence.handle_publish_uri(header("Sender"));
    return KSR.presence.handle_publish();
}

function serveSubscribe() {
    if (KSR.textops.is_present_hf("Fixed") > 0)
        return KSR.presence.handle_subscribe_uri("sip:fixed@test.local");
    if (KSR.textops.is_present_hf("Watcher") > 0)
        return KSR.presence.handle_subscribe_uri(header("Watcher"));
    return KSR.presence.handle_subscribe();
}

function ksr_request_route() {
    var method = KSR.pv.get("$rm");
    if (method == "OPTIONS") {
        KSR.sl.sl_send_reply(200, "OK");
        return;
    }
    if (method == "MESSAGE") {
        var answer = call(header("Function"));
        KSR.hdr.append_to_reply("Result: " + answer + "\r\n");
        KSR.sl.sl_send_reply(200, "OK");
        return;
    }
    if (KSR.tm.t_newtran() < 0) {
        KSR.sl.sl_reply_error();
        return;
    }
    var result = method == "PUBLISH" ? servePublish() : serveSubscribe();
    KSR.notice("script: " + KSR.pv.get("$ci") + " returned " + result + "\n");
    KSR.tm.t_release();
}

function presence_event(name) {
    KSR.notice("event: " + name + " " + KSR.pv.gete("$subs(pres_uri)") + " " + KSR.pv.gete("$rm") + " "
        + KSR.pv.get("$notify_reply($rs)") + " " + KSR.pv.gete("$notify_reply($hdr(CSeq))") + "\n");
}

function local_request(name) {
    if (KSR.pv.gete("$tU") == "dropped")
        KSR.set_drop();
}
