//! What the server itself reads in published documents: the dialogs of a dialog-info document (RFC 4235), the sphere
//! of a presence document (RFC 4480 3.11). Everything else passes through as it is.

use quick_xml::Reader;
use quick_xml::escape::resolve_predefined_entity;
use quick_xml::events::{BytesRef, BytesStart, Event as Xml};

/// A `dialog` element.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Dialog {
    /// Its `id`; empty if there is none.
    pub id: Vec<u8>,
    /// Its `local-tag`; empty if there is none.
    pub local_tag: Vec<u8>,
    /// Its `remote-tag`; empty if there is none.
    pub remote_tag: Vec<u8>,
    /// The text of its `state` element.
    pub state: Vec<u8>,
}

impl Dialog {
    /// Whether both may be one dialog: a tag that one of them does not have yet is any tag. The branches of a forked call
    /// have one id in what many servers publish, and differ in a tag (RFC 4235 4.1.2).
    #[must_use]
    pub fn may_be(&self, other: &Self) -> bool {
        let fits = |a: &[u8], b: &[u8]| a.is_empty() || b.is_empty() || a == b;
        self.id == other.id && fits(&self.local_tag, &other.local_tag) && fits(&self.remote_tag, &other.remote_tag)
    }

    fn is_over(&self) -> bool {
        self.state == b"terminated"
    }
}

/// The document is not well-formed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Malformed;

/// How deep elements may be nested.
const MAX_DEPTH: usize = 128;

/// The dialogs right below the root element, in their order.
pub fn dialogs(document: &[u8]) -> Result<Vec<Dialog>, Malformed> {
    let mut found: Vec<Dialog> = Vec::new();
    let mut in_dialog = false;
    walk(document, |path, what| {
        match (path, what) {
            ([_, name], Piece::Open(attributes)) => {
                in_dialog = name.eq_ignore_ascii_case(b"dialog");
                if in_dialog {
                    found.push(Dialog {
                        id: attributes(b"id"),
                        local_tag: attributes(b"local-tag"),
                        remote_tag: attributes(b"remote-tag"),
                        state: Vec::new(),
                    });
                }
            }
            ([_, _, name], Piece::Text(text)) if in_dialog && name.eq_ignore_ascii_case(b"state") => {
                if let Some(dialog) = found.last_mut() {
                    dialog.state.extend_from_slice(text);
                }
            }
            _ => {}
        }
        true
    })?;
    found.iter_mut().for_each(|dialog| dialog.state = dialog.state.trim_ascii().to_vec());
    Ok(found)
}

/// What a dialog-info document is about.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct About {
    /// Its first dialog.
    pub dialog: Dialog,
    /// All its dialogs are over.
    pub is_over: bool,
}

/// What a dialog-info document is about; none without a dialog that has an id.
#[must_use]
pub fn about(document: &[u8]) -> Option<About> {
    let all = dialogs(document).ok()?;
    let is_over = are_over(&all);
    let dialog = all.into_iter().next().filter(|first| !first.id.is_empty())?;
    Some(About { dialog, is_over })
}

fn are_over(dialogs: &[Dialog]) -> bool {
    !dialogs.is_empty() && dialogs.iter().all(Dialog::is_over)
}

/// Whether a publication goes on showing its document when a new one comes for it. What is over stays over, until the
/// new document has another dialog; and two who talk on one branch of a forked call are not hidden by the end of
/// another branch.
#[must_use]
pub fn outlasts(old: &[u8], new: &[u8]) -> bool {
    let (Ok(old), Ok(new)) = (dialogs(old), dialogs(new)) else { return false };
    if are_over(&old) {
        return new.iter().all(|dialog| old.iter().any(|other| dialog.may_be(other)));
    }
    let is_other_branch = |dialog: &Dialog, other: &Dialog| dialog.id == other.id && !dialog.may_be(other);
    let mut talking = old.iter().filter(|dialog| dialog.state == b"confirmed");
    are_over(&new) && talking.any(|dialog| new.iter().all(|other| is_other_branch(dialog, other)))
}

/// Whether a dialog of the document is confirmed: two are talking.
#[must_use]
pub fn any_confirmed(document: &[u8]) -> bool {
    dialogs(document).is_ok_and(|dialogs| dialogs.iter().any(|d| d.state == b"confirmed"))
}

/// The document that says of the dialogs of another one that they are over (RFC 4235 3.7.1). None if all were.
#[must_use]
pub fn dialogs_over(document: &[u8], entity: &[u8]) -> Option<Vec<u8>> {
    let dialogs = dialogs(document).ok()?.into_iter().filter(|d| !d.is_over());
    let over: String = dialogs
        .map(|d| {
            // As it stood between quotes.
            let id = String::from_utf8_lossy(&d.id).replace('"', "&quot;");
            format!("<dialog id=\"{id}\"><state>terminated</state></dialog>\n")
        })
        .collect();
    (!over.is_empty()).then(|| dialog_info(entity, &over))
}

/// The text within the first `rpid:sphere` element.
#[must_use]
pub fn sphere(document: &[u8]) -> Option<Vec<u8>> {
    let mut found: Option<(usize, Vec<u8>)> = None;
    walk(document, |path, what| {
        match (&mut found, what) {
            (None, Piece::Open(_)) if path.last().is_some_and(|name| name.eq_ignore_ascii_case(b"sphere")) => {
                found = Some((path.len(), Vec::new()));
            }
            (Some((_, sphere)), Piece::Text(text)) => sphere.extend_from_slice(text),
            (Some((depth, _)), Piece::Close) => return path.len() > *depth,
            _ => {}
        }
        true
    })
    .ok()?;
    found.map(|(_, sphere)| sphere)
}

enum Piece<'a> {
    Open(&'a dyn Fn(&[u8]) -> Vec<u8>),
    Text(&'a [u8]),
    Close,
}

/// Walks a document; `visit` gets the local names from the root down and what is there, and says whether to go on.
fn walk(document: &[u8], mut visit: impl FnMut(&[Vec<u8>], Piece<'_>) -> bool) -> Result<(), Malformed> {
    let mut reader = Reader::from_reader(document);
    reader.config_mut().check_end_names = true;
    let mut path: Vec<Vec<u8>> = Vec::new();
    let mut roots = 0;
    loop {
        match reader.read_event().map_err(|_| Malformed)? {
            Xml::Start(e) => {
                roots += usize::from(path.is_empty());
                path.push(e.local_name().as_ref().to_vec());
                if path.len() > MAX_DEPTH || roots > 1 {
                    return Err(Malformed);
                }
                if !visit(&path, Piece::Open(&|name| attribute(&e, name))) {
                    return Ok(());
                }
            }
            Xml::Empty(e) => {
                roots += usize::from(path.is_empty());
                path.push(e.local_name().as_ref().to_vec());
                let go_on = visit(&path, Piece::Open(&|name| attribute(&e, name))) && visit(&path, Piece::Close);
                path.pop();
                if !go_on {
                    return Ok(());
                }
            }
            Xml::End(_) => {
                let go_on = visit(&path, Piece::Close);
                path.pop().ok_or(Malformed)?;
                if !go_on {
                    return Ok(());
                }
            }
            Xml::Text(text) if !visit(&path, Piece::Text(&text)) => return Ok(()),
            Xml::CData(text) if !visit(&path, Piece::Text(&text)) => return Ok(()),
            Xml::GeneralRef(name) if !visit(&path, Piece::Text(&resolved(&name)?)) => return Ok(()),
            Xml::Eof if path.is_empty() && roots == 1 => return Ok(()),
            Xml::Eof => return Err(Malformed),
            _ => {}
        }
    }
}

/// What a reference stands for. What a document defines itself stays what it is: entities may be a whole tree of others.
fn resolved(reference: &BytesRef<'_>) -> Result<Vec<u8>, Malformed> {
    let letter = reference.resolve_char_ref().map_err(|_| Malformed)?;
    if let Some(letter) = letter {
        return Ok(letter.to_string().into_bytes());
    }
    let name = core::str::from_utf8(reference).map_err(|_| Malformed)?;
    let predefined = resolve_predefined_entity(name).map(|text| text.as_bytes().to_vec());
    Ok(predefined.unwrap_or_else(|| format!("&{name};").into_bytes()))
}

/// An attribute as it stands between its quotes; empty if there is none. That no attribute is there twice has been seen
/// to before, and is not here: the reader compares each with each.
fn attribute(element: &BytesStart<'_>, name: &[u8]) -> Vec<u8> {
    let mut all = element.attributes();
    let mut named = all.with_checks(false).flatten().filter(|a| a.key.as_namespace_binding().is_none());
    let found = named.find(|a| a.key.local_name().as_ref().eq_ignore_ascii_case(name));
    found.map(|a| a.value.into_owned()).unwrap_or_default()
}

/// The document for a line whose state was published by the watcher itself (draft-anil-sipping-bla 5.2): no dialogs.
#[must_use]
pub fn empty_dialog_info(entity: &[u8]) -> Vec<u8> {
    dialog_info(entity, "")
}

/// A dialog-info document with these elements.
fn dialog_info(entity: &[u8], dialogs: &str) -> Vec<u8> {
    let entity = crate::winfo::xml_text(entity);
    let start = format!(
        "<?xml version=\"1.0\"?>\n<dialog-info xmlns=\"urn:ietf:params:xml:ns:dialog-info\" version=\"1\" \
         state=\"full\" entity=\"{entity}\""
    );
    let rest = if dialogs.is_empty() { "/>\n".into() } else { format!(">\n{dialogs}</dialog-info>\n") };
    (start + &rest).into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn info(dialogs: &str) -> Vec<u8> {
        format!("<?xml version=\"1.0\"?><dialog-info version=\"0\" state=\"full\" entity=\"sip:a@b\">{dialogs}</dialog-info>")
            .into_bytes()
    }

    #[test]
    fn dialogs_are_found_with_id_and_state() {
        let doc = info(
            "<dialog xmlns:id='u' id=\"d1\"><state>terminated</state></dialog> <x:dialog id='d2'><state event='e'> confirmed </state><local><state>no</state></local></x:dialog><dialog/>",
        );
        let found = dialogs(&doc).expect("well-formed");
        let pairs: Vec<_> = found.iter().map(|d| (&d.id[..], &d.state[..])).collect();
        assert_eq!(pairs, [(&b"d1"[..], &b"terminated"[..]), (b"d2", b"confirmed"), (b"", b"")]);
        assert!(!are_over(&found));
    }

    #[test]
    fn over_means_all_of_them() {
        let of = |id: &str, state: &str| format!("<dialog id=\"{id}\"><state>{state}</state></dialog>");
        let is_over = |dialogs: &str| about(&info(dialogs)).map(|about| (about.dialog.id, about.is_over));
        assert_eq!(is_over(&of("a", "terminated")), Some((b"a".to_vec(), true)));
        assert_eq!(is_over(&(of("a", "terminated") + &of("b", "early"))), Some((b"a".to_vec(), false)));
        assert_eq!(about(&info("<dialog><state>terminated</state></dialog>")), None);
        assert_eq!(about(&info("")), None);
    }

    #[test]
    fn what_is_not_over_is_said_to_be() {
        let dialogs_of = |id: &str, state: &str| format!("<dialog id={id}><state>{state}</state></dialog>");
        let doc = info(&(dialogs_of("'a&amp;\"b'", "confirmed") + &dialogs_of("'c'", "terminated")));
        let over = dialogs_over(&doc, b"sip:a@b").expect("one was not");
        assert!(are_over(&dialogs(&over).expect("well-formed")), "{}", String::from_utf8_lossy(&over));
        assert_eq!(dialogs(&over).expect("well-formed")[0].id, b"a&amp;&quot;b");
        assert_eq!(dialogs(&over).expect("well-formed").len(), 1);
        assert_eq!(dialogs_over(&info(&dialogs_of("'c'", "terminated")), b"sip:a@b"), None);
        assert_eq!(dialogs_over(&info(""), b"sip:a@b"), None);
        assert_eq!(dialogs_over(b"not xml", b"sip:a@b"), None);
    }

    #[test]
    fn branches_of_a_call_differ_in_a_tag() {
        let dialog = |id: &[u8], local: &[u8], remote: &[u8]| Dialog {
            id: id.to_vec(),
            local_tag: local.to_vec(),
            remote_tag: remote.to_vec(),
            state: Vec::new(),
        };
        let (branch, unknown) = (dialog(b"a", b"l", b"r"), dialog(b"a", b"", b""));
        assert!(branch.may_be(&branch) && branch.may_be(&unknown) && unknown.may_be(&branch));
        assert!(branch.may_be(&dialog(b"a", b"l", b"")));
        for other in
            [dialog(b"a", b"l", b"q"), dialog(b"a", b"k", b"r"), dialog(b"a", b"k", b""), dialog(b"b", b"", b"")]
        {
            assert!(!branch.may_be(&other), "{other:?}");
        }
    }

    #[test]
    fn what_is_over_and_who_talks_outlasts_other_branches() {
        let of = |id: &str, tag: &str, state: &str| {
            info(&format!("<dialog id=\"{id}\" remote-tag=\"{tag}\"><state>{state}</state></dialog>"))
        };
        for (old, new, expected) in [
            (of("a", "", "terminated"), of("a", "", "early"), true),
            (of("a", "r", "terminated"), of("a", "", "early"), true),
            (of("a", "r", "terminated"), of("a", "r", "confirmed"), true),
            (of("a", "r", "terminated"), of("a", "q", "confirmed"), false),
            (of("a", "", "terminated"), of("b", "", "early"), false),
            (of("a", "r", "confirmed"), of("a", "q", "terminated"), true),
            (of("a", "r", "confirmed"), of("a", "r", "terminated"), false),
            (of("a", "r", "confirmed"), of("a", "", "terminated"), false),
            (of("a", "r", "confirmed"), of("b", "q", "terminated"), false),
            (of("a", "r", "early"), of("a", "q", "terminated"), false),
            (of("a", "r", "confirmed"), info(""), false),
            (of("a", "r", "terminated"), info(""), true),
            (of("a", "r", "terminated"), b"not xml".to_vec(), false),
        ] {
            let text = |document: &[u8]| String::from_utf8_lossy(document).into_owned();
            assert_eq!(outlasts(&old, &new), expected, "{} {}", text(&old), text(&new));
        }
    }

    #[test]
    fn confirmed_means_any_of_them() {
        let dialog = |state: &str| format!("<dialog id=\"{state}\"><state>{state}</state></dialog>");
        assert!(any_confirmed(&info(&(dialog("early") + &dialog("confirmed") + &dialog("terminated")))));
        assert!(!any_confirmed(&info(&(dialog("early") + &dialog("terminated")))));
        assert!(!any_confirmed(&info("")));
        assert!(!any_confirmed(b"confirmed"));
    }

    #[test]
    fn what_is_not_well_formed_is_refused() {
        for text in ["", "x", "<a>", "<a></b>", "<a/><b/>", "<a><b></a></b>"] {
            assert_eq!(dialogs(text.as_bytes()), Err(Malformed), "{text}");
        }
        let deep = [b"<a>".repeat(MAX_DEPTH + 1), b"</a>".repeat(MAX_DEPTH + 1)].concat();
        assert_eq!(dialogs(&deep), Err(Malformed));
    }

    #[test]
    fn the_first_sphere_is_taken() {
        let doc = b"<presence xmlns:r='u'><dm:person><r:sphere>work</r:sphere><r:sphere>home</r:sphere></dm:person></presence>";
        assert_eq!(sphere(doc), Some(b"work".to_vec()));
        assert_eq!(sphere(b"<presence/>"), None);
        assert_eq!(sphere(b"<p><s:sphere><s:work/></s:sphere><s:sphere>home</s:sphere></p>"), Some(Vec::new()));
    }

    #[test]
    fn references_to_letters_are_read() {
        assert_eq!(sphere(b"<p><sphere>R&amp;D &#x201C;x&#34;</sphere></p>"), Some("R&D \u{201c}x\"".into()));
        let over =
            dialogs(&info("<dialog id='a'><state> term<!-- -->inate&#100; </state></dialog>")).expect("well-formed");
        assert!(are_over(&over), "{over:?}");
        assert_eq!(sphere(b"<p><sphere>&own;</sphere></p>"), Some(b"&own;".to_vec()));
        assert_eq!(sphere(b"<p><sphere>&#xffffffff;</sphere></p>"), None);
    }

    #[test]
    fn hundred_thousand_attributes_are_read_in_one_go() {
        let read = |count: usize| {
            let attributes: String = (0..count).map(|n| format!(" a{n}='x'")).collect();
            let document = info(&format!("<dialog{attributes} id='d'/>"));
            let start = std::time::Instant::now();
            assert_eq!(dialogs(&document).expect("well-formed")[0].id, b"d");
            start.elapsed()
        };
        let (few, many) = (read(10_000), read(100_000));
        // Each with each would take a hundred times as long.
        assert!(many < few.max(std::time::Duration::from_millis(2)) * 50, "{few:?}, {many:?}");
    }
}
