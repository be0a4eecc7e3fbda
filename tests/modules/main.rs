//! The modules of the distribution that work with presence, unmodified: each does its main job, from packet to packet.
//! The same tests run against Kamailio's own module with `PRESENCE_SO=stock`.

mod bodies;
mod calls;
mod client;
mod conference;
mod default;
mod dialoginfo;
mod http;
mod lines;
mod mwi;
mod privacy;
mod rules;
mod sphere;
mod transformations;
mod web;
mod winfo;
mod xml;

use std::io::Write;
use std::process::{Command, Stdio};
use testkit::{Builder, Kamailio, Phone};

/// A server with these modules, and with one worker: a publication has been told of when the next request is served.
fn with(modules: &[&'static str]) -> Builder {
    Kamailio::builder().packages(modules).children(1)
}

/// Publishes a document for the phone's own user. It has to be accepted; the entity-tag.
fn publish(phone: &mut Phone, event: &str, etag: Option<&str>, body: &str) -> String {
    let reply = phone.publish(event, etag, Some(600), body);
    assert_eq!(reply.code(), 200, "{reply:?}");
    reply.header("SIP-ETag").expect("an entity-tag").to_owned()
}

/// Runs xmllint on a document: what it prints, or complains about.
fn xmllint(arguments: &[&str], document: &str) -> Result<String, String> {
    let mut command = Command::new("xmllint");
    let command = command.arg("--nonet").args(arguments).arg("-");
    let piped = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = piped.spawn().expect("runs xmllint");
    child.stdin.take().expect("a pipe").write_all(document.as_bytes()).expect("takes the document");
    let output = child.wait_with_output().expect("ends");
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    if output.status.success() { Ok(text(output.stdout)) } else { Err(text(output.stderr)) }
}

/// What stands between two marks.
fn between<'a>(text: &'a str, before: &str, after: &str) -> &'a str {
    let found = text.split_once(before).and_then(|(_, rest)| rest.split_once(after)).map(|(found, _)| found);
    found.unwrap_or_else(|| panic!("nothing between {before} and {after} in {text}"))
}
