//! NOTIFY: its answers, the order of NOTIFYs, publications and subscriptions that expire.

use super::{Case, case};
use crate::trace::End::{W1, W2};

pub const CASES: &[Case] = &[
    case("n01_answer_481", |s| {
        let etag = s.publish().send().etag;
        s.answer = Some(481);
        let tag = s.subscribe(W1).send().tag;
        s.answer = Some(200);
        s.listen(0.2);
        s.publish().etag(&etag).closed().send();
        s.subscribe(W1).dialog(&tag, 2).send();
    }),
    case("n02_no_answer", |s| {
        let etag = s.publish().send().etag;
        s.answer = None;
        let tag = s.subscribe(W1).send().tag;
        s.listen(5.0);
        s.answer = Some(200);
        s.publish().etag(&etag).closed().send();
        s.subscribe(W1).dialog(&tag, 2).send();
    }),
    case("n03_answer_500", |s| {
        let etag = s.publish().send().etag;
        s.answer = Some(500);
        s.subscribe(W1).send();
        s.answer = Some(200);
        s.publish().etag(&etag).closed().send();
    }),
    case("n04_answer_404", |s| {
        let etag = s.publish().send().etag;
        s.answer = Some(404);
        s.subscribe(W1).send();
        s.answer = Some(200);
        s.listen(0.2);
        s.publish().etag(&etag).closed().send();
    }),
    case("n05_answer_408", |s| {
        let etag = s.publish().send().etag;
        s.answer = Some(408);
        s.subscribe(W1).send();
        if s.set_up.is_buffered() {
            s.settle();
        }
        s.answer = Some(200);
        s.listen(0.2);
        s.publish().etag(&etag).closed().send();
    }),
    case("n06_publication_expires", |s| {
        s.subscribe(W1).send();
        s.publish().expires("12").send();
        s.listen(23.0);
    }),
    case("n07_subscription_expires", |s| {
        s.publish().send();
        s.subscribe(W2).event("presence.winfo").send();
        s.subscribe(W1).expires("12").send();
        s.listen(23.0);
    }),
    case("n08_full_sequence", |s| {
        s.subscribe(W2).event("presence.winfo").send();
        let tag = s.subscribe(W1).send().tag;
        let etag = s.publish().send().etag;
        let etag = s.publish().etag(&etag).closed().send().etag;
        s.publish().etag(&etag).expires("0").no_body().send();
        s.subscribe(W1).dialog(&tag, 2).expires("0").send();
    }),
    case("n09_winfo_481", |s| {
        s.subscribe(W2).event("presence.winfo").send();
        s.answer = Some(481);
        s.subscribe(W1).send();
        s.answer = Some(200);
    }),
    case("n10_two_watchers", |s| {
        s.subscribe(W1).send();
        s.subscribe(W2).send();
        s.publish().send();
    }),
    case("n11_two_pub_one_expires", |s| {
        s.subscribe(W1).send();
        s.publish().expires("12").send();
        s.publish().closed_elsewhere().send();
        s.listen(23.0);
    }),
];
