//! The bytes of documents on their way from publisher to watcher.

use crate::{publish, with, xmllint};
use testkit::phone::dialog_info;
use testkit::{Builder, Phone};

fn builder() -> Builder {
    let packages = [
        "presence_xml",
        "presence_mwi",
        "presence_dialoginfo",
        "presence_profile",
        "presence_reginfo",
        "presence_conference",
    ];
    with(&packages)
        .extra("modparam(\"presence_xml\", \"force_active\", 1)\nmodparam(\"presence_xml\", \"disable_bla\", 0)")
}

/// What a watcher gets of a document, with a subscription from before and with one from after.
fn received(event: &str, document: &str) -> [String; 2] {
    let server = builder().start();
    let (mut alice, mut bob) = (Phone::new("alice", server.port), Phone::new("bob", server.port));
    bob.subscribe("alice", event, 600);
    assert_eq!(bob.notify().body, "", "{event}");
    publish(&mut alice, event, None, document);
    let mut late = Phone::new("late", server.port);
    late.subscribe("alice", event, 600);
    [bob.notify().body, late.notify().body]
}

/// Letters, blanks and line ends that a parser would change.
const ODD: &str = "<?xml version='1.0'?>\r\n\r\n<thing  a = \"1\"\t>\r\n <!-- ä --> <b></b>&#65;</thing>\r\n\r\n";

#[test]
fn packages_without_functions_of_their_own_keep_every_byte() {
    for event in ["xcap-diff", "ua-profile", "reg"] {
        assert_eq!(received(event, ODD), [ODD; 2], "{event}");
    }
    let summary = "Messages-Waiting:  yes\r\nvoice-message : 2/8 (0/2)\r\n\r\nTo: <sip:alice@test.local>\r\n";
    assert_eq!(received("message-summary", summary), [summary; 2]);
}

const OPEN: &str = "<?xml version=\"1.0\" encoding=\"UTF-8\"?><presence xmlns=\"urn:ietf:params:xml:ns:pidf\" \
                    entity=\"sip:alice@test.local\"><tuple id='t1'><status><basic>open</basic></status>\
                    <note>caf\u{e9}</note></tuple></presence>";

/// presence_xml writes every document anew, also a single one: the document is the same, its layout libxml's.
#[test]
fn a_single_presence_document_is_laid_out_anew() {
    let written = xmllint(&["--format"], OPEN).expect("well-formed");
    assert_eq!(received("presence", OPEN), [written.as_str(); 2]);
}

#[test]
fn a_single_presence_document_in_that_layout_keeps_every_byte() {
    let written = xmllint(&["--format"], OPEN).expect("well-formed");
    assert_eq!(received("presence", &written), [written.as_str(); 2]);
}

/// presence_dialoginfo puts the dialogs into a document of its own.
#[test]
fn dialogs_keep_their_elements() {
    let dialog = "<dialog id=\"d1\" direction=\"recipient\"><state>early</state></dialog>";
    for body in received("dialog", &dialog_info("alice", "d1", "early")) {
        let flat = body.split('\n').map(str::trim).collect::<String>();
        assert!(flat.contains(dialog), "{body}");
        let root = crate::between(&body, "<dialog-info", ">");
        let (version, rest) = root.split_once(" state=").expect("a state");
        assert!(version.starts_with(" xmlns=\"urn:ietf:params:xml:ns:dialog-info\" version=\""), "{body}");
        assert_eq!(rest, "\"full\" entity=\"sip:alice@test.local\"");
    }
}
