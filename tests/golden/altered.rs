//! The suite itself: what is altered is found. A comparison that finds nothing would pass every module.

use crate::compare::{self, Difference};
use crate::differences;
use crate::setup::SetUp;
use crate::trace::{End, Entry, Trace};
use crate::{Expected, cases, compare_one};
use std::collections::BTreeSet;
use std::error::Error;
use std::fs;
use testkit::Module;

type Outcome = Result<(), Box<dyn Error>>;

fn recorded(set_up: SetUp, case: &str) -> Result<Trace, Box<dyn Error>> {
    Ok(set_up.recorded(case)?.ok_or(format!("{case} is not recorded"))?)
}

/// The recording with the first `from` of the text in it replaced.
fn altered(trace: &Trace, from: &str, to: &str) -> Result<Trace, Box<dyn Error>> {
    let text = trace.to_string();
    assert!(text.contains(from), "nothing to alter: {from}");
    Ok(Trace::parse(&text.replacen(from, to, 1))?)
}

fn fields(found: &[Difference]) -> Vec<&str> {
    found.iter().map(|d| d.field.as_str()).collect()
}

#[test]
fn every_altered_field_is_found() -> Outcome {
    let trace = recorded(SetUp::Sqlite, "p12_modify")?;
    let alterations = [
        ("SIP/2.0 200 OK", "SIP/2.0 202 OK", "w1 reply 1 status"),
        ("Expires: 3600\r\nContact: <sip:127", "Expires: 3599\r\nContact: <sip:127", "w1 reply 1 Expires"),
        ("SIP-ETag: {etag 1}", "SIP-ETag: {etag 9}", "pub reply 1 SIP-ETag"),
        ("CSeq: 3 NOTIFY", "CSeq: 4 NOTIFY", "w1 NOTIFY 2 CSeq"),
        ("NOTIFY sip:w1@", "NOTIFY sip:w3@", "w1 NOTIFY 1 Request-URI"),
        ("Subscription-State: active", "Subscription-State: pending", "w1 NOTIFY 1 Subscription-State"),
        (
            "Subscription-State: active;expires=3600",
            "Subscription-State: active;expires=3500",
            "w1 NOTIFY 1 Subscription-State",
        ),
        ("Event: presence\r\nContact: <sip:127", "Event: presence;id=1\r\nContact: <sip:127", "w1 NOTIFY 1 Event"),
        ("\n      <basic>closed</basic>", "\n      <basic>open</basic>", "w1 NOTIFY 3 body"),
        (
            "Content-Type: application/pidf+xml\r\n\r\n<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n",
            "\r\n<?xml version=\"1.0\"?>\n",
            "w1 NOTIFY 2 Content-Type",
        ),
    ];
    assert_eq!(compare::exact(&trace, &trace), []);
    for (from, to, field) in alterations {
        let found = compare::exact(&altered(&trace, from, to)?, &trace);
        assert!(fields(&found).contains(&field), "{from} -> {to}: {found:?}");
    }
    Ok(())
}

#[test]
fn a_message_too_few_or_too_many_or_late_or_out_of_order_is_found() -> Outcome {
    let trace = recorded(SetUp::Sqlite, "p12_modify")?;
    let notify = trace.0.iter().rposition(|e| !e.sent).ok_or("no message of the server")?;
    let mut shorter = trace.clone();
    let mut taken = shorter.0.remove(notify);
    assert_eq!(fields(&compare::exact(&shorter, &trace)), ["w1 NOTIFY 3"]);
    assert_eq!(fields(&compare::exact(&trace, &shorter)), ["w1 NOTIFY 3"]);
    taken.seconds += 60.0;
    let mut late = shorter.clone();
    late.0.insert(notify, taken.clone());
    assert_eq!(fields(&compare::exact(&trace, &late)), ["w1 NOTIFY 3 time"]);
    let mut early = shorter;
    early.0.insert(0, taken);
    assert!(fields(&compare::exact(&trace, &early)).contains(&"w1 NOTIFY 1 CSeq"));
    let mut swapped = trace.clone();
    let own = |entry: &&Entry| !entry.sent && entry.end == End::W1;
    let first = trace.0.iter().position(|e| own(&e)).ok_or("no message for w1")?;
    let second = trace.0.iter().skip(first + 1).position(|e| own(&e)).ok_or("one message for w1")? + first + 1;
    swapped.0.swap(first, second);
    assert_eq!(fields(&compare::exact(&trace, &swapped)), ["w1 order"]);
    Ok(())
}

#[test]
fn an_altered_outcome_is_found_where_notifies_are_buffered() -> Outcome {
    let trace = recorded(SetUp::DbOnly, "p12_modify")?;
    assert_eq!(compare::settled(&trace, &trace), []);
    let body = altered(&trace, "\n      <basic>closed</basic>", "\n      <basic>open</basic>")?;
    assert_eq!(fields(&compare::settled(&body, &trace)), ["last w1 NOTIFY body"]);
    let reply = altered(&trace, "SIP/2.0 200 OK", "SIP/2.0 500 OK")?;
    assert_eq!(fields(&compare::settled(&reply, &trace)), ["w1 reply 1 status"]);
    let mut backward = trace.clone();
    let mut last = trace.0.iter().rfind(|e| !e.sent).ok_or("no message of the server")?.clone();
    last.text = last.text.replace("CSeq: 2 NOTIFY", "CSeq: 1 NOTIFY");
    backward.0.push(last);
    assert_eq!(fields(&compare::settled(&trace, &backward)), ["w1 NOTIFY CSeq"]);
    Ok(())
}

#[test]
fn an_altered_recording_is_found_on_a_server() -> Outcome {
    let case = cases::all().find(|c| c.name == "p12_modify").ok_or("no such case")?;
    let trace = recorded(SetUp::Memory, case.name)?;
    let module = Module::from_env();
    let as_recorded = Expected { case, trace: trace.clone(), stops: false };
    assert_eq!(compare_one(SetUp::Memory, &as_recorded, &module)?, []);
    let trace = altered(&trace, "\n      <basic>closed</basic>", "\n      <basic>ajar</basic>")?;
    let found = compare_one(SetUp::Memory, &Expected { trace, ..as_recorded }, &module)?;
    assert_eq!(fields(&found), ["w1 NOTIFY 3 body"]);
    Ok(())
}

#[test]
fn a_row_that_explains_nothing_is_found() -> Result<(), String> {
    let table = |row: &str| format!("## Differences from the stock module\n\n| case |\n|---|\n{row}\n");
    let rows = differences::rows(&table("| p01 | memory | pub reply 1 status | `500 X` | `400 Y` | a reason |"))?;
    let seen = |field: &str| {
        vec![("p01", vec![Difference { field: field.into(), stock: "500 X".into(), here: "400 Y".into() }])]
    };
    let explain = |set_up, field| differences::explain(&rows, set_up, &seen(field));
    assert_eq!(explain(SetUp::Memory, "pub reply 1 status"), (1, vec![]));
    assert_eq!(
        explain(SetUp::Memory, "pub reply 2 status").1.len(),
        2,
        "a difference without a row, and a row without"
    );
    assert_eq!(explain(SetUp::Sqlite, "pub reply 1 status").1.len(), 1, "the row is for another set-up");
    assert_eq!(differences::explain(&rows, SetUp::Memory, &[]).1.len(), 1, "the case was not played");
    for bad in [
        "| p01 | memory | f | `a` | `b` | |",
        "| p01 | memory | f | `a` | `a` | a reason |",
        "| p01 | any | f | `a` | `b` | a reason |",
        "| p01 | memory | f | `a` | a reason |",
    ] {
        assert!(differences::rows(&table(bad)).is_err(), "{bad}");
    }
    assert!(differences::rows("# README").is_err());
    Ok(())
}

#[test]
fn every_recording_is_of_a_case_and_keeps_its_text() -> Outcome {
    let known: BTreeSet<String> = cases::all().map(|c| c.name.to_owned()).collect();
    assert_eq!(known.len(), 88);
    for set_up in SetUp::ALL {
        let mut found = BTreeSet::new();
        for file in fs::read_dir(set_up.recordings())? {
            let path = file?.path();
            let name = path.file_stem().map(|s| s.to_string_lossy().into_owned()).unwrap_or_default();
            assert_eq!(recorded(set_up, &name)?.to_string(), fs::read_to_string(&path)?, "{}", path.display());
            found.insert(name);
        }
        assert!(found.is_subset(&known), "{:?}", found.difference(&known));
        match set_up {
            SetUp::Memory => assert_eq!(known.difference(&found).count(), crate::STOCK_STOPS.len()),
            SetUp::Sqlite => assert_eq!(found, known),
            SetUp::DbOnly => assert_eq!(found.len(), 29),
        }
    }
    Ok(())
}
