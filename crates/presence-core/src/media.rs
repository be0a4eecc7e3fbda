//! Media types: what an Accept header field lets through, and what a document is (RFC 3261 20.1, 20.15).

/// A type and a subtype, as in `application/pidf+xml`; parameters are not looked at.
#[derive(Clone, Copy, Debug)]
struct Media<'a> {
    kind: &'a [u8],
    subtype: &'a [u8],
}

impl<'a> Media<'a> {
    /// From a header field or one range of it; none if it names no type.
    fn parse(text: &'a [u8]) -> Option<Self> {
        let name = text.split(|&b| b == b';').next()?;
        let slash = name.iter().position(|&b| b == b'/')?;
        let (kind, subtype) = (name[..slash].trim_ascii(), name[slash + 1..].trim_ascii());
        (!kind.is_empty() && !subtype.is_empty()).then_some(Self { kind, subtype })
    }

    fn is(self, other: Self) -> bool {
        self.kind.eq_ignore_ascii_case(other.kind) && self.subtype.eq_ignore_ascii_case(other.subtype)
    }

    /// How closely this range names a type: 0 by `*/*`, 1 by `type/*`, 2 by the whole name; none if it does not.
    fn closeness(self, to: Self) -> Option<u8> {
        match (self.kind, self.subtype) {
            (b"*", b"*") => Some(0),
            (kind, b"*") => kind.eq_ignore_ascii_case(to.kind).then_some(1),
            _ => self.is(to).then_some(2),
        }
    }
}

/// Whether an Accept header field (several of them joined by commas) lets documents of this type through. Of the ranges
/// that name it the closest one decides; `q=0` means not acceptable. A multipart type, or a text that is no type, says
/// nothing of what is inside: it is let through.
#[must_use]
pub fn accepts(accept: &[u8], content_type: &[u8]) -> bool {
    let Some(own) = Media::parse(content_type).filter(|own| !own.kind.eq_ignore_ascii_case(b"multipart")) else {
        return true;
    };
    let ranges = split_outside_quotes(accept, b',');
    let named = ranges.filter_map(|range| Some((Media::parse(range)?.closeness(own)?, !is_refused(range))));
    named.max().is_some_and(|(_, acceptable)| acceptable)
}

/// Whether a document of this Content-Type is of the package's type, parameters aside.
#[must_use]
pub fn is_same(content_type: &[u8], of_package: &[u8]) -> bool {
    match (Media::parse(content_type), Media::parse(of_package)) {
        (Some(given), Some(own)) => given.is(own),
        (None, Some(_)) => false,
        (_, None) => true,
    }
}

/// Whether a range has `q=0` (0, 0.0, 0.00 or 0.000).
fn is_refused(range: &[u8]) -> bool {
    split_outside_quotes(range, b';').skip(1).any(|param| {
        let mut halves = param.splitn(2, |&b| b == b'=').map(<[u8]>::trim_ascii);
        let is_q = halves.next().is_some_and(|name| name.eq_ignore_ascii_case(b"q"));
        is_q && halves.next().is_some_and(|q| q.starts_with(b"0") && q.iter().all(|b| matches!(b, b'0' | b'.')))
    })
}

/// The parts of a text between separators, those within quoted strings aside.
pub(crate) fn split_outside_quotes(text: &[u8], separator: u8) -> impl Iterator<Item = &[u8]> {
    let (mut quoted, mut escaped) = (false, false);
    text.split(move |&b| {
        match b {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            _ => return !quoted && b == separator,
        }
        false
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const PIDF: &[u8] = b"application/pidf+xml";

    #[test]
    fn the_closest_range_decides() {
        for accept in [
            &b"application/pidf+xml"[..],
            b"*/*",
            b"application/*",
            b"Application/PIDF+XML;q=0.5",
            b"text/plain, application/pidf+xml",
            b"application/pidf+xml ; charset=\"a,b;q=0\" ; q=1",
            b"*/*;q=0, application/*;q=0.0, application/pidf+xml",
            b"application/pidf+xml;q=0, application/pidf+xml;q=0.1",
            b"application / pidf+xml",
        ] {
            assert!(accepts(accept, PIDF), "{}", String::from_utf8_lossy(accept));
        }
        for accept in [
            &b"application/foo"[..],
            b"",
            b" , ,",
            b"text/*",
            b"*",
            b"pidf+xml",
            b"application/pidf+xml;q=0",
            b"application/pidf+xml;q=0.000, */*",
            b"text/plain;x=\"application/pidf+xml, */*\"",
        ] {
            assert!(!accepts(accept, PIDF), "{}", String::from_utf8_lossy(accept));
        }
    }

    #[test]
    fn what_says_nothing_of_its_parts_is_let_through() {
        assert!(accepts(b"application/foo", b"multipart/related;type=\"application/rlmi+xml\""));
        assert!(accepts(b"application/foo", b"anything"));
    }

    #[test]
    fn a_content_type_is_compared_without_case_and_parameters() {
        assert!(is_same(b"Application/Pidf+XML; charset=UTF-8", PIDF));
        assert!(!is_same(b"text/plain", PIDF));
        assert!(!is_same(b"nonsense", PIDF));
        assert!(!is_same(b"", PIDF));
    }
}
