# The same as probe.cfg, in Python.
import KSR


def mod_init():
    return Script()


def header(name):
    return KSR.pv.gete("$hdr(" + name + ")")


def call(name):
    if name == "pres_auth_status":
        return KSR.presence.pres_auth_status(header("A1"), header("A2"))
    if name == "pres_has_subscribers":
        return KSR.presence.pres_has_subscribers(header("A1"), header("A2"))
    if name == "pres_update_watchers":
        return KSR.presence.pres_update_watchers(header("A1"), header("A2"))
    if name == "pres_refresh_watchers":
        return KSR.presence.pres_refresh_watchers(header("A1"), header("A2"), int(header("A3")))
    return KSR.presence.pres_refresh_watchers_file(
        header("A1"), header("A2"), int(header("A3")), header("A4"), header("A5"))


def serve_publish():
    if KSR.textops.is_present_hf("Fixed") > 0:
        return KSR.presence.handle_publish_uri("sip:fixed@test.local")
    if KSR.textops.is_present_hf("Sender") > 0:
        return KSR.presence.handle_publish_uri(header("Sender"))
    return KSR.presence.handle_publish()


def serve_subscribe():
    if KSR.textops.is_present_hf("Fixed") > 0:
        return KSR.presence.handle_subscribe_uri("sip:fixed@test.local")
    if KSR.textops.is_present_hf("Watcher") > 0:
        return KSR.presence.handle_subscribe_uri(header("Watcher"))
    return KSR.presence.handle_subscribe()


class Script:
    def child_init(self, rank):
        return 0

    def ksr_request_route(self, msg):
        method = KSR.pv.get("$rm")
        if method == "OPTIONS":
            KSR.sl.sl_send_reply(200, "OK")
            return 1
        if method == "MESSAGE":
            result = call(header("Function"))
            KSR.hdr.append_to_reply("Result: %d\r\n" % result)
            KSR.sl.sl_send_reply(200, "OK")
            return 1
        if KSR.tm.t_newtran() < 0:
            KSR.sl.sl_reply_error()
            return 1
        result = serve_publish() if method == "PUBLISH" else serve_subscribe()
        KSR.notice("script: %s returned %d\n" % (KSR.pv.get("$ci"), result))
        KSR.tm.t_release()
        return 1

    def ksr_reply_route(self, msg):
        return 1

    def presence_event(self, msg, name):
        KSR.notice("event: %s %s %s %s %s\n" % (
            name, KSR.pv.gete("$subs(pres_uri)"), KSR.pv.gete("$rm"), KSR.pv.get("$notify_reply($rs)"),
            KSR.pv.gete("$notify_reply($hdr(CSeq))")))
        return 1

    def local_request(self, msg, name):
        if KSR.pv.gete("$tU") == "dropped":
            KSR.set_drop()
        return 1
