//! Documents. What a second reader takes for well-formed is read alike; what is written it can read.

use crate::parts;
use presence_core::body;
use presence_core::status::Status;
use presence_core::winfo::{self, Extent, Watcher};
use roxmltree::{Document, Node};

/// The deepest documents that are read.
const MAX_DEPTH: usize = 128;

/// A document that both readers can be asked about: UTF-8 without a DTD, not too deep.
fn second_reading(text: &[u8]) -> Option<Document<'_>> {
    let text = std::str::from_utf8(text).ok()?;
    let document = Document::parse(text).ok()?;
    let depth = |node: Node<'_, '_>| node.ancestors().filter(Node::is_element).count();
    document.descendants().filter(Node::is_element).all(|node| depth(node) <= MAX_DEPTH).then_some(document)
}

fn is_named(node: &Node<'_, '_>, name: &str) -> bool {
    node.is_element() && node.tag_name().name().eq_ignore_ascii_case(name)
}

/// Ends of lines as readers hand them on.
fn lines(text: &[u8]) -> String {
    String::from_utf8_lossy(text).replace("\r\n", "\n").replace('\r', "\n")
}

/// An attribute as it stands between its quotes, as readers hand it on.
fn attribute(raw: &[u8]) -> String {
    let flat = String::from_utf8_lossy(raw).replace("\r\n", " ").replace(['\r', '\n', '\t'], " ");
    quick_xml::escape::unescape(&flat).map(|text| text.into_owned()).unwrap_or(flat)
}

/// The dialogs of a document: id and state.
fn dialogs(document: &Document<'_>) -> Vec<(String, String)> {
    let dialogs = document.root_element().children().filter(|node| is_named(node, "dialog"));
    dialogs
        .map(|dialog| {
            let id = dialog.attributes().find(|a| a.name().eq_ignore_ascii_case("id")).map_or("", |a| a.value());
            let states = dialog.children().filter(|node| is_named(node, "state"));
            let texts = states.flat_map(|state| state.children().filter(Node::is_text));
            let state: String = texts.filter_map(|text| text.text()).collect();
            (id.to_owned(), lines(lines(state.as_bytes()).as_bytes().trim_ascii()))
        })
        .collect()
}

pub fn pidf(bytes: &[u8]) {
    let found = body::sphere(bytes);
    let Some(document) = second_reading(bytes) else { return };
    let sphere = document.descendants().find(|node| is_named(node, "sphere"));
    let text = sphere.map(|node| node.descendants().filter(Node::is_text).filter_map(|t| t.text()).collect::<String>());
    assert_eq!(found.map(|text| lines(&text)), text.map(|text| lines(text.as_bytes())), "{}", bytes.escape_ascii());
}

pub fn dialog_info(bytes: &[u8]) {
    // What is over outlasts itself, and nothing else does.
    let (about, over, confirmed) = (body::about(bytes), body::outlasts(bytes, bytes), body::any_confirmed(bytes));
    let ended = body::dialogs_over(bytes, bytes);
    assert!(!(over && confirmed), "a dialog is over or goes on");
    assert!(!over || ended.is_none(), "what is over is not ended again");
    let Some(document) = second_reading(bytes) else { return };
    let right = dialogs(&document);
    let found = body::dialogs(bytes).expect("well-formed");
    let found: Vec<_> = found.iter().map(|d| (attribute(&d.id), lines(&d.state))).collect();
    assert_eq!(found, right, "{}", bytes.escape_ascii());
    let is_over = |(_, state): &&(String, String)| state == "terminated";
    assert_eq!(over, !right.is_empty() && right.iter().filter(is_over).count() == right.len());
    assert_eq!(confirmed, right.iter().any(|(_, state)| state == "confirmed"));
    assert_eq!(about.is_some(), right.first().is_some_and(|(id, _)| !id.is_empty()));
    assert!(about.is_none_or(|about| about.is_over == over && attribute(&about.dialog.id) == right[0].0));
    // Each that was not over is, in a document that can be read.
    let going_on: Vec<_> =
        right.iter().filter(|d| !is_over(d)).map(|(id, _)| (id.clone(), "terminated".into())).collect();
    assert_eq!(ended.is_some(), !going_on.is_empty());
    if let Some(ended) = ended {
        let document = second_reading(&ended).unwrap_or_else(|| panic!("cannot be read: {}", ended.escape_ascii()));
        assert_eq!(dialogs(&document), going_on);
    }
    let empty = body::empty_dialog_info(bytes);
    assert!(second_reading(&empty).is_some_and(|document| dialogs(&document).is_empty()), "{}", empty.escape_ascii());
}

pub fn winfo(bytes: &[u8]) {
    let mut all = parts(bytes);
    let (resource, package) = (all.next().unwrap_or_default(), all.next().unwrap_or_default());
    let texts: Vec<_> = all.take(64).collect();
    let watchers: Vec<_> = texts
        .chunks(2)
        .map(|pair| match pair {
            [id, uri] => Watcher { id: id.to_vec(), uri: uri.to_vec(), status: Status::Active },
            _ => Watcher::waiting(pair[0].to_vec()),
        })
        .collect();
    let extent = if bytes.len() % 2 == 0 { Extent::Full } else { Extent::Partial };
    let written = winfo::document(7, extent, resource, package, &watchers);
    let document = second_reading(&written).unwrap_or_else(|| panic!("cannot be read: {}", written.escape_ascii()));
    let root = document.root_element();
    assert_eq!((root.tag_name().name(), root.attribute("version")), ("watcherinfo", Some("7")));
    assert_eq!(root.attribute("state"), Some(if extent == Extent::Full { "full" } else { "partial" }));
    let lists: Vec<_> = root.children().filter(Node::is_element).collect();
    assert_eq!(lists.len(), 1);
    let shown: Vec<_> = lists[0].children().filter(Node::is_element).collect();
    assert_eq!(shown.len(), watchers.len());
    for (node, watcher) in shown.iter().zip(&watchers) {
        assert_eq!(node.attribute("status"), Some(watcher.status.word()));
        assert!(node.attribute("id").is_some() && node.children().all(|child| child.is_text()));
        if watcher.uri.iter().all(|b| b.is_ascii_graphic()) {
            assert_eq!(node.text().unwrap_or_default().as_bytes(), watcher.uri);
        }
    }
}
