//! Header fields.

use crate::parts;
use presence_core::etag::{self, EntityTag};
use presence_core::event::{Event, MAX_PARAMS};
use presence_core::media;
use presence_core::outcome::{Answer, patience, retry_after};
use presence_core::subscription::event_id;
use presence_core::time::Seconds;
use presence_core::uri::{sip_uri, split_sip_uri};

fn is_token(text: &[u8]) -> bool {
    !text.is_empty() && text.iter().all(|b| b.is_ascii_alphanumeric() || b"-.!%*_+`'~".contains(b))
}

/// A value is a string in quotes, with whatever within, or has nothing that ends it.
fn is_value(text: &[u8]) -> bool {
    if text.first() != Some(&b'"') {
        return !text.iter().any(|b| b" \t\r\n;,=\"<>".contains(b));
    }
    let mut inner = text[1..].iter();
    while let Some(byte) = inner.next() {
        match byte {
            b'\\' => drop(inner.next()),
            b'"' => return inner.next().is_none(),
            b'\r' | b'\n' => return false,
            _ => {}
        }
    }
    false
}

pub fn event(bytes: &[u8]) {
    let padded = [b" \t", bytes, b"  "].concat();
    let Ok(event) = Event::parse(bytes) else {
        assert!(Event::parse(&padded).is_err(), "white space makes an event of none");
        return;
    };
    assert_eq!(Event::parse(&padded).as_ref(), Ok(&event), "white space around says nothing");
    assert!(is_token(event.name), "{event:?}");
    assert!(event.params.len() <= MAX_PARAMS && event.params.iter().all(|p| is_token(p.name) && is_value(p.value)));
    // As it is said again in NOTIFYs and in the column.
    let mut params = Vec::new();
    event.params.iter().for_each(|param| param.push(&mut params));
    let written = [event.name, &params].concat();
    let again = Event::parse(&written).expect("what was written is read");
    assert_eq!((again.name, &again.params), (event.name, &event.params));
    assert_eq!(event_id(&params), event.id(), "the id of {}", written.escape_ascii());
}

/// The parts of a text, by hand.
fn split(text: &[u8], at: u8) -> Vec<Vec<u8>> {
    let mut all = vec![Vec::new()];
    let (mut quoted, mut place) = (false, 0);
    while let Some(&byte) = text.get(place) {
        if byte == at && !quoted {
            all.push(Vec::new());
        } else {
            all.last_mut().expect("a part").push(byte);
        }
        if byte == b'\\' && quoted {
            place += 1;
            all.last_mut().expect("a part").extend(text.get(place));
        } else if byte == b'"' {
            quoted = !quoted;
        }
        place += 1;
    }
    all
}

fn type_of(text: &[u8]) -> Option<(Vec<u8>, Vec<u8>)> {
    let text = text.to_ascii_lowercase();
    let name = &text[..text.iter().position(|b| *b == b';').unwrap_or(text.len())];
    let slash = name.iter().position(|b| *b == b'/')?;
    let (kind, subtype) = (name[..slash].trim_ascii(), name[slash + 1..].trim_ascii());
    (!kind.is_empty() && !subtype.is_empty()).then(|| (kind.to_vec(), subtype.to_vec()))
}

/// RFC 3261 20.1, by hand: the closest range decides, and of several the friendlier.
fn lets_through(accept: &[u8], own: &(Vec<u8>, Vec<u8>)) -> bool {
    let mut best = [None; 3];
    for range in split(accept, b',') {
        let Some((kind, subtype)) = type_of(&range) else { continue };
        let rank = match (kind.as_slice(), subtype.as_slice()) {
            (b"*", b"*") => 0,
            (kind, b"*") if kind == own.0 => 1,
            (kind, subtype) if subtype != b"*" && kind == own.0 && subtype == own.1 => 2,
            _ => continue,
        };
        let refused = split(&range, b';').iter().skip(1).any(|param| {
            let text = String::from_utf8_lossy(param).into_owned();
            let Some((name, value)) = text.split_once('=') else { return false };
            let (name, value) = (name.trim_matches(is_space), value.trim_matches(is_space));
            name.eq_ignore_ascii_case("q") && value.starts_with('0') && value.bytes().all(|b| b == b'0' || b == b'.')
        });
        best[rank] = Some(best[rank].unwrap_or(false) || !refused);
    }
    best.into_iter().rev().flatten().next().unwrap_or(false)
}

fn is_space(c: char) -> bool {
    c.is_ascii_whitespace()
}

pub fn accept(bytes: &[u8]) {
    let mut all = parts(bytes);
    let (accept, content_type) = (all.next().unwrap_or_default(), all.next().unwrap_or(b"application/pidf+xml"));
    let right = match type_of(content_type) {
        Some(own) if own.0 != b"multipart" => lets_through(accept, &own),
        _ => true,
    };
    assert_eq!(media::accepts(accept, content_type), right, "{}", bytes.escape_ascii());
    assert!(media::is_same(content_type, content_type) || type_of(content_type).is_none());
    assert_eq!(
        media::is_same(accept, content_type),
        match (type_of(accept), type_of(content_type)) {
            (given, Some(own)) => given == Some(own),
            (_, None) => true,
        }
    );
}

pub fn etag(bytes: &[u8]) {
    let given = etag::from_header(bytes);
    assert!(!given.first().is_some_and(u8::is_ascii_whitespace) && !given.last().is_some_and(u8::is_ascii_whitespace));
    assert_eq!(etag::from_header(given), given);
    let random = bytes.iter().fold(7u64, |n, b| n.wrapping_mul(31).wrapping_add(u64::from(*b)));
    let next = EntityTag::next(given, random);
    let text = std::str::from_utf8(next.as_bytes()).expect("letters");
    assert!(text.len() <= etag::MAX_LEN);
    let [a, digits, count] = text.split('.').collect::<Vec<_>>()[..] else { panic!("{text} has three parts") };
    assert_eq!((a, u64::from_str_radix(digits, 16), digits.len()), ("a", Ok(random), 16));
    let last = String::from_utf8_lossy(given).rsplit_once('.').and_then(|(_, n)| n.parse::<u32>().ok());
    assert_eq!(
        count.parse::<u32>().ok(),
        Some(last.map_or(0, |n| n.wrapping_add(1))),
        "after {}",
        given.escape_ascii()
    );
    let after = EntityTag::next(next.as_bytes(), random);
    assert!(
        String::from_utf8_lossy(after.as_bytes()).ends_with(&format!(".{}", last.map_or(1, |n| n.wrapping_add(2))))
    );
}

pub fn answer(bytes: &[u8]) {
    let found = retry_after(bytes);
    // By hand: the first header field of that name, whatever its case, before the empty line.
    let mut right = None;
    let mut rest = bytes;
    while !rest.is_empty() {
        let end = rest.iter().position(|b| *b == b'\n').unwrap_or(rest.len());
        let line = rest[..end].trim_ascii_end();
        rest = rest.get(end + 1..).unwrap_or_default();
        if line.is_empty() {
            break;
        }
        let Some(colon) = line.iter().position(|b| *b == b':') else { continue };
        if line[..colon].trim_ascii().eq_ignore_ascii_case(b"retry-after") {
            let digits: String = line[colon + 1..]
                .trim_ascii()
                .iter()
                .map(|b| char::from(*b))
                .take_while(char::is_ascii_digit)
                .collect();
            let number = if digits.len() > 20 { Ok(u128::MAX) } else { digits.parse::<u128>() };
            right = number.ok().map(|n| Seconds(u32::try_from(n).unwrap_or(u32::MAX)));
            if digits.len() > 20 && digits.bytes().all(|b| b == b'0') {
                right = Some(Seconds(0));
            } else if digits.len() > 20 {
                right = found;
            }
            break;
        }
    }
    assert_eq!(found, right, "{}", bytes.escape_ascii());
    let code = bytes.iter().filter(|b| b.is_ascii_digit()).take(3).fold(0, |n, b| n * 10 + u16::from(b - b'0'));
    let answer = Answer { code, retry_after: found };
    assert!(!(answer.is_success() && answer.ends()), "a success ends nothing");
    assert!(matches!(code, 404 | 481) || found.is_none() || !answer.ends(), "who is busy comes back");
    assert!((1000..=60_000).contains(&patience(found.unwrap_or_default())));
}

pub fn uri(bytes: &[u8]) {
    let mut all = parts(bytes);
    let (user, host) = (all.next().unwrap_or_default(), all.next().unwrap_or_default());
    if !host.contains(&b'@') {
        assert_eq!(split_sip_uri(&sip_uri(user, host)), (user, host), "{}", bytes.escape_ascii());
    }
    let (user, host) = split_sip_uri(bytes);
    assert!(!host.contains(&b'@'), "the last @ parts them");
    if bytes.starts_with(b"sip:") && !user.is_empty() {
        assert_eq!(sip_uri(user, host), bytes);
    }
}
