-- The same as probe.cfg, in Lua.

local function header(name)
    return KSR.pv.gete("$hdr(" .. name .. ")")
end

local calls = {
    pres_auth_status = function()
        return KSR.presence.pres_auth_status(header("A1"), header("A2"))
    end,
    pres_has_subscribers = function()
        return KSR.presence.pres_has_subscribers(header("A1"), header("A2"))
    end,
    pres_update_watchers = function()
        return KSR.presence.pres_update_watchers(header("A1"), header("A2"))
    end,
    pres_refresh_watchers = function()
        return KSR.presence.pres_refresh_watchers(header("A1"), header("A2"), tonumber(header("A3")))
    end,
    pres_refresh_watchers_file = function()
        return KSR.presence.pres_refresh_watchers_file(header("A1"), header("A2"), tonumber(header("A3")),
            header("A4"), header("A5"))
    end,
}

local function serve_publish()
    if KSR.textops.is_present_hf("Fixed") > 0 then
        return KSR.presence.handle_publish_uri("sip:fixed@test.local")
    elseif KSR.textops.is_present_hf("Sender") > 0 then
        return KSR.presence.handle_publish_uri(header("Sender"))
    end
    return KSR.presence.handle_publish()
end

local function serve_subscribe()
    if KSR.textops.is_present_hf("Fixed") > 0 then
        return KSR.presence.handle_subscribe_uri("sip:fixed@test.local")
    elseif KSR.textops.is_present_hf("Watcher") > 0 then
        return KSR.presence.handle_subscribe_uri(header("Watcher"))
    end
    return KSR.presence.handle_subscribe()
end

function ksr_request_route()
    local method = KSR.pv.get("$rm")
    if method == "OPTIONS" then
        KSR.sl.sl_send_reply(200, "OK")
        return
    end
    if method == "MESSAGE" then
        local result = calls[header("Function")]()
        KSR.hdr.append_to_reply("Result: " .. tostring(result) .. "\r\n")
        KSR.sl.sl_send_reply(200, "OK")
        return
    end
    if KSR.tm.t_newtran() < 0 then
        KSR.sl.sl_reply_error()
        return
    end
    local result = method == "PUBLISH" and serve_publish() or serve_subscribe()
    KSR.notice("script: " .. KSR.pv.get("$ci") .. " returned " .. tostring(result) .. "\n")
    KSR.tm.t_release()
end

function presence_event(name)
    KSR.notice("event: " .. name .. " " .. KSR.pv.gete("$subs(pres_uri)") .. " " .. KSR.pv.gete("$rm") .. " "
        .. tostring(KSR.pv.get("$notify_reply($rs)")) .. " " .. KSR.pv.gete("$notify_reply($hdr(CSeq))") .. "\n")
end

function local_request(name)
    if KSR.pv.gete("$tU") == "dropped" then
        KSR.set_drop()
    end
end
