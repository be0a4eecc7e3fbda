//! PUBLISH (RFC 3903).

use super::{Case, case};
use crate::request::pidf;
use crate::trace::End::W1;

const MALFORMED: &str = "<presence><tuple></presence>";

pub const CASES: &[Case] = &[
    case("p01_no_event", |s| {
        s.publish().no_event().send();
    }),
    case("p02_unknown_event", |s| {
        s.publish().event("foo").send();
    }),
    case("p03_wrong_etag", |s| {
        s.publish().etag("a.1.2.3.4").send();
    }),
    case("p04_expires_below_min", |s| {
        s.publish().expires("5").send();
    }),
    case("p05_no_body_initial", |s| {
        s.publish().no_body().send();
    }),
    case("p06_big_body_60k", |s| {
        let note = format!("<note>{}</note>", "x".repeat(60_000));
        let body = pidf(s.name, "open", "t1", &note);
        s.publish().body(&body).send();
    }),
    case("p07_malformed_xml", |s| {
        s.publish().body(MALFORMED).send();
    }),
    case("p07b_malformed_then_subscribe", |s| {
        s.publish().body(MALFORMED).send();
        s.subscribe(W1).send();
    }),
    case("p08_missing_expires", |s| {
        s.publish().no_expires().send();
    }),
    case("p09_expires0_initial", |s| {
        s.publish().expires("0").send();
    }),
    case("p10_remove", |s| {
        s.subscribe(W1).send();
        let etag = s.publish().send().etag;
        s.publish().etag(&etag).expires("0").no_body().send();
        s.publish().etag(&etag).no_body().send();
    }),
    case("p10b_remove_with_body", |s| {
        s.subscribe(W1).send();
        let etag = s.publish().send().etag;
        s.publish().etag(&etag).expires("0").send();
    }),
    case("p11_refresh_nobody", |s| {
        s.subscribe(W1).send();
        let etag = s.publish().send().etag;
        s.publish().etag(&etag).no_body().send();
    }),
    case("p11b_refresh_then_fetch", |s| {
        let etag = s.publish().send().etag;
        s.publish().etag(&etag).no_body().send();
        s.subscribe(W1).expires("0").send();
    }),
    case("p12_modify", |s| {
        s.subscribe(W1).send();
        let etag = s.publish().send().etag;
        s.publish().etag(&etag).closed().send();
    }),
    case("p12b_same_body", |s| {
        s.subscribe(W1).send();
        let etag = s.publish().send().etag;
        s.publish().etag(&etag).send();
    }),
    case("p13_no_content_length", |s| {
        s.publish().no_length().send();
    }),
    case("p14_bad_expires", |s| {
        s.publish().expires("abc").send();
    }),
    case("p15_ruri_no_user", |s| {
        s.publish().uri("sip:test.local").send();
    }),
    case("p16_event_params", |s| {
        s.publish().event("presence;foo=bar;id=3").send();
    }),
    case("p17_no_content_type", |s| {
        s.publish().no_content_type().send();
    }),
    case("p18_wrong_content_type", |s| {
        s.publish().content_type("text/plain").body("hello").send();
    }),
    case("p19_huge_expires", |s| {
        s.publish().expires("4294967295").send();
    }),
    case("p20_negative_expires", |s| {
        s.publish().expires("-1").send();
    }),
    case("p21_retransmit", |s| {
        s.publish().branch("rtR").call_id("p21x").send();
        s.publish().branch("rtR").call_id("p21x").send();
    }),
    case("p22_two_publishers", |s| {
        s.subscribe(W1).send();
        s.publish().send();
        s.publish().closed_elsewhere().send();
    }),
    case("p23_stale_etag", |s| {
        let etag = s.publish().send().etag;
        s.publish().etag(&etag).closed().send();
        s.publish().etag(&etag).send();
    }),
    case("p24_etag_quoted_lws", |s| {
        let etag = s.publish().send().etag;
        s.publish().etag(&format!("\"{etag}\"")).send();
    }),
    case("p25_no_from_tag", |s| {
        s.publish().no_from_tag().send();
    }),
    case("p26_publish_winfo", |s| {
        s.publish().event("presence.winfo").send();
    }),
    case("p27_tel_uri", |s| {
        s.publish().uri("tel:+15551234").send();
    }),
    case("p28_sips_port_params", |s| {
        let uri = format!("sips:{}@test.local:{};transport=tcp", s.name, s.server_port());
        s.publish().uri(&uri).send();
        s.subscribe(W1).send();
    }),
    case("p29_user_case", |s| {
        s.publish().send();
        let uri = format!("sip:{}@TEST.local", s.name.to_uppercase());
        s.subscribe(W1).presentity(&uri).send();
    }),
    case("p30_etag_other_user", |s| {
        let etag = s.publish().send().etag;
        s.publish().etag(&etag).uri("sip:someoneelse@test.local").send();
    }),
    case("p31_quote_in_user", |s| {
        s.publish().uri("sip:a'b@test.local").send();
        s.subscribe(W1).presentity("sip:a'b@test.local").send();
    }),
    case("p32_escaped_user", |s| {
        s.publish().uri("sip:a%40b@test.local").send();
        s.subscribe(W1).presentity("sip:a%40b@test.local").send();
    }),
    case("p33_long_etag", |s| {
        s.publish().etag(&format!("a.{}", "9".repeat(300))).send();
    }),
    case("p34_body_longer_than_cl", |s| {
        s.publish().call_id("p34_body_longer_than_cl-pub").expires("60").length(20).send();
    }),
    case("p35_event_caps", |s| {
        s.publish().event("Presence").send();
    }),
    case("p36_no_user_empty", |s| {
        s.publish().uri("sip:@test.local").send();
    }),
];
