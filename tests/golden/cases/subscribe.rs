//! SUBSCRIBE (RFC 6665, RFC 3856, RFC 3857).

use super::{Case, case};
use crate::trace::End::{W1, W2};

pub const CASES: &[Case] = &[
    case("s01_unknown_event", |s| {
        s.subscribe(W1).event("foo").send();
    }),
    case("s02_no_event", |s| {
        s.subscribe(W1).no_event().send();
    }),
    case("s03_in_dialog_unknown", |s| {
        s.subscribe(W1).dialog("deadbeef", 1).send();
    }),
    case("s04_fetch_no_state", |s| {
        s.subscribe(W1).expires("0").send();
    }),
    case("s05_fetch_with_state", |s| {
        s.publish().send();
        s.subscribe(W1).expires("0").send();
    }),
    case("s06_no_contact", |s| {
        s.subscribe(W1).no_contact().send();
    }),
    case("s07_event_id", |s| {
        s.publish().send();
        s.subscribe(W1).event("presence;id=77").send();
    }),
    case("s07b_event_id_empty", |s| {
        s.subscribe(W1).event("presence;id=").send();
    }),
    case("s07c_event_bad_param", |s| {
        s.subscribe(W1).event("presence;;=;id").send();
    }),
    case("s08_lower_cseq", |s| {
        let tag = s.subscribe(W1).cseq(10).send().tag;
        s.subscribe(W1).dialog(&tag, 5).send();
    }),
    case("s09_equal_cseq", |s| {
        let tag = s.subscribe(W1).cseq(10).send().tag;
        s.subscribe(W1).dialog(&tag, 10).send();
    }),
    case("s10_missing_expires", |s| {
        s.subscribe(W1).no_expires().send();
    }),
    case("s11_below_min", |s| {
        s.subscribe(W1).expires("5").send();
    }),
    case("s12_contact_star", |s| {
        s.subscribe(W1).contact("*").send();
    }),
    case("s13_no_from_tag", |s| {
        s.subscribe(W1).no_from_tag().send();
    }),
    case("s14_record_route", |s| {
        let [first, second] = [s.address(W1), s.address(W2)];
        let first = format!("Record-Route: <sip:{first};lr;x=1>");
        let second = format!("Record-Route: <sip:{second};lr>");
        s.subscribe(W1).header(&first).header(&second).send();
    }),
    case("s15_refresh", |s| {
        s.publish().send();
        let tag = s.subscribe(W1).send().tag;
        s.subscribe(W1).dialog(&tag, 2).send();
    }),
    case("s16_unsubscribe", |s| {
        s.publish().send();
        let tag = s.subscribe(W1).send().tag;
        s.subscribe(W1).dialog(&tag, 2).expires("0").send();
    }),
    case("s17_after_unsubscribe", |s| {
        let tag = s.subscribe(W1).send().tag;
        s.subscribe(W1).dialog(&tag, 2).expires("0").send();
        s.subscribe(W1).dialog(&tag, 3).send();
    }),
    case("s18_winfo_empty", |s| {
        s.subscribe(W1).event("presence.winfo").send();
    }),
    case("s19_winfo_sequence", |s| {
        s.subscribe(W2).event("presence.winfo").send();
        let tag = s.subscribe(W1).send().tag;
        s.subscribe(W1).dialog(&tag, 2).send();
        s.subscribe(W1).dialog(&tag, 3).expires("0").send();
    }),
    case("s20_tel_ruri", |s| {
        s.subscribe(W1).presentity("tel:+15551234").send();
    }),
    case("s21_accept_unsupported", |s| {
        s.subscribe(W1).header("Accept: text/foo").send();
    }),
    case("s22_huge_expires", |s| {
        s.subscribe(W1).expires("4294967295").send();
    }),
    case("s23_same_dialog_two_ids", |s| {
        s.publish().send();
        let tag = s.subscribe(W1).event("presence;id=1").send().tag;
        s.subscribe(W1).event("presence;id=2").dialog(&tag, 2).send();
    }),
    case("s24_contact_change", |s| {
        s.publish().send();
        let tag = s.subscribe(W1).send().tag;
        let contact = format!("<sip:new@{}>", s.address(W2));
        s.subscribe(W1).dialog(&tag, 2).contact(&contact).send();
    }),
    case("s25_ruri_no_user", |s| {
        s.subscribe(W1).uri("sip:test.local").send();
    }),
    case("s26_contact_bare", |s| {
        let contact = format!("sip:w1@{};foo=bar;expires=3", s.address(W1));
        s.subscribe(W1).contact(&contact).send();
    }),
    case("s27_retransmit", |s| {
        s.subscribe(W1).branch("rsR").send();
        s.subscribe(W1).branch("rsR").send();
    }),
    case("s28_negative_expires", |s| {
        s.subscribe(W1).expires("-5").send();
    }),
    case("s29_body_in_subscribe", |s| {
        s.subscribe(W1).content_type("application/simple-filter+xml").body("<filter-set/>").send();
    }),
    case("s30_ruri_differs_to", |s| {
        s.publish().send();
        let tag = s.subscribe(W1).to("<sip:alias@test.local>").send().tag;
        s.subscribe(W1).dialog(&tag, 2).to("<sip:alias@test.local>").send();
    }),
    case("s31_contact_unroutable", |s| {
        s.publish().send();
        s.subscribe(W1).contact("<sip:w1@nohost.invalid>").send();
    }),
    case("s32_contact_garbage", |s| {
        s.subscribe(W1).contact("<foo>").send();
    }),
    case("s33_winfo_on_winfo", |s| {
        s.subscribe(W1).event("presence.winfo.winfo").send();
    }),
    case("s34_new_sub_same_callid", |s| {
        s.subscribe(W1).send();
        s.subscribe(W1).cseq(2).send();
    }),
    case("s35_in_dialog_other_event", |s| {
        let tag = s.subscribe(W1).send().tag;
        s.subscribe(W1).dialog(&tag, 2).event("presence.winfo").send();
    }),
];
