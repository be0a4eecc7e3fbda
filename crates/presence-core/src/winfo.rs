//! Watcher information documents (RFC 3858).

use crate::status::Status;
use quick_xml::escape::escape;
use std::fmt::Write as _;

/// Whether a document lists all watchers or only those that changed (RFC 3858 4.1).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Extent {
    /// All watchers.
    Full,
    /// Those that changed.
    Partial,
}

/// One watcher in a document.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Watcher {
    /// Unique among the watchers of the document.
    pub id: Vec<u8>,
    /// The watcher's URI.
    pub uri: Vec<u8>,
    /// Its state.
    pub status: Status,
}

impl Watcher {
    /// A watcher without a subscription, who waits for a decision: the id is made of the URI.
    #[must_use]
    pub fn waiting(uri: Vec<u8>) -> Self {
        Self { id: base64(&uri), uri, status: Status::Waiting }
    }
}

/// The document about the watchers of `resource` for `package`.
#[must_use]
pub fn document(version: u32, extent: Extent, resource: &[u8], package: &[u8], watchers: &[Watcher]) -> Vec<u8> {
    let state = match extent {
        Extent::Full => "full",
        Extent::Partial => "partial",
    };
    let mut out = String::with_capacity(256 + watchers.len() * 160);
    // Writing to a String cannot fail.
    let _ = write!(
        out,
        "<?xml version=\"1.0\"?>\n<watcherinfo xmlns=\"urn:ietf:params:xml:ns:watcherinfo\" version=\"{version}\" \
         state=\"{state}\">\n  <watcher-list resource=\"{}\" package=\"{}\"",
        xml_text(resource),
        xml_text(package)
    );
    if watchers.is_empty() {
        out.push_str("/>\n");
    } else {
        out.push_str(">\n");
        for watcher in watchers {
            let _ = writeln!(
                out,
                "    <watcher id=\"{}\" event=\"subscribe\" status=\"{}\">{}</watcher>",
                xml_text(&watcher.id),
                watcher.status.word(),
                xml_text(&watcher.uri)
            );
        }
        out.push_str("  </watcher-list>\n");
    }
    out.push_str("</watcherinfo>\n");
    out.into_bytes()
}

/// A text as it is written into a document, without what none may have, escaped or not (XML 1.0, 2.2): a URI may have it,
/// and its document has to be read all the same.
pub(crate) fn xml_text(bytes: &[u8]) -> String {
    let may_be =
        |c: char| !matches!(c, '\0'..='\u{8}' | '\u{b}' | '\u{c}' | '\u{e}'..='\u{1f}' | '\u{fffe}' | '\u{ffff}');
    let text = String::from_utf8_lossy(bytes);
    let text: String = text.chars().map(|c| if may_be(c) { c } else { char::REPLACEMENT_CHARACTER }).collect();
    escape(text).into_owned()
}

/// RFC 4648 4.
fn base64(bytes: &[u8]) -> Vec<u8> {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = Vec::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let group = chunk.iter().fold(0u32, |n, &b| n << 8 | u32::from(b)) << (8 * (3 - chunk.len()));
        for i in 0..4 {
            out.push(if i <= chunk.len() { DIGITS[(group >> (18 - 6 * i)) as usize & 63] } else { b'=' });
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_watches() {
        let doc = document(1, Extent::Full, b"sip:a@b", b"presence", &[]);
        assert_eq!(
            String::from_utf8_lossy(&doc),
            "<?xml version=\"1.0\"?>\n<watcherinfo xmlns=\"urn:ietf:params:xml:ns:watcherinfo\" version=\"1\" \
             state=\"full\">\n  <watcher-list resource=\"sip:a@b\" package=\"presence\"/>\n</watcherinfo>\n"
        );
    }

    #[test]
    fn a_watcher_of_any_length_and_letters_is_listed() {
        let uri = [b"sip:<&\"'>".to_vec(), vec![b'x'; 70_000]].concat();
        let doc = document(
            2,
            Extent::Partial,
            b"sip:a@b",
            b"presence",
            &[Watcher { id: b"c\"1".to_vec(), uri, status: Status::Pending }],
        );
        let doc = String::from_utf8(doc).expect("utf-8");
        assert!(doc.contains("state=\"partial\""));
        assert!(doc.contains(
            "<watcher id=\"c&quot;1\" event=\"subscribe\" status=\"pending\">sip:&lt;&amp;&quot;&apos;&gt;xxx"
        ));
    }

    #[test]
    fn what_no_document_may_have_is_replaced() {
        let watcher = Watcher {
            id: b"a\x01".to_vec(),
            uri: b"sip:\x00\x1b\xff\t\xef\xbf\xbf@h".to_vec(),
            status: Status::Active,
        };
        let doc = String::from_utf8(document(1, Extent::Full, b"sip:\x08@h", b"presence", &[watcher])).expect("utf-8");
        assert!(doc.contains("id=\"a\u{fffd}\"") && doc.contains("sip:\u{fffd}\u{fffd}\u{fffd}\t\u{fffd}@h"), "{doc}");
        assert!(doc.contains("resource=\"sip:\u{fffd}@h\""), "{doc}");
    }

    #[test]
    fn base64_pads() {
        for (plain, coded) in [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg==")] {
            assert_eq!(base64(plain.as_bytes()), coded.as_bytes());
        }
    }
}
