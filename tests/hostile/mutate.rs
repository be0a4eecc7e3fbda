//! Messages that are spoiled.

use crate::random::{NASTY, Random};

/// Spoils a message in one to four places; the first Via stays, so that every reply finds its way and its count.
pub fn mutate(text: &str, random: &mut Random) -> Vec<u8> {
    let (head, body) = text.split_once("\r\n\r\n").expect("a whole message");
    let mut lines: Vec<String> = head.split("\r\n").map(str::to_owned).collect();
    let mut body = body.as_bytes().to_vec();
    for _ in 0..=random.below(4) {
        let at = if random.one_in(12) { 0 } else { 2 + random.below(lines.len().saturating_sub(2)) };
        if at < lines.len() {
            spoil(&mut lines, at, &mut body, random);
        }
    }
    // Half of them keep a length that fits, or the server drops too many before they reach the module.
    if random.one_in(2) {
        lines.retain(|l| !l.starts_with("Content-Length:"));
        lines.push(format!("Content-Length: {}", body.len()));
    }
    let mut out = lines.join("\r\n").into_bytes();
    out.extend(b"\r\n\r\n");
    out.extend(body);
    out
}

/// Spoils one line, or the body.
fn spoil(lines: &mut Vec<String>, at: usize, body: &mut Vec<u8>, random: &mut Random) {
    let line = lines[at].clone();
    let (name, value) = line.split_once(": ").unwrap_or((&line, ""));
    match random.below(11) {
        0 => lines[at] = format!("{name}: {}", random.pick(&NASTY)),
        1 => drop(lines.remove(at)),
        2 => lines.push(line),
        3 => lines[at] = format!("{name}: {value}{}", random.pick(&NASTY)),
        4 => lines[at] = format!("{name}: {value}, {}", random.pick(&NASTY)),
        5 => lines[at] = line.chars().take(random.below(line.len())).collect(),
        6 => lines[at] = format!("{name}: {}{value}", "x".repeat(random.below(4000))),
        7 => {
            let mut bytes = line.into_bytes();
            let place = random.below(bytes.len());
            if let Some(byte) = bytes.get_mut(place) {
                *byte = b'!' + u8::try_from(random.below(94)).unwrap_or(0);
            }
            lines[at] = String::from_utf8_lossy(&bytes).into_owned();
        }
        8 if !body.is_empty() => body.truncate(random.below(body.len())),
        9 if !body.is_empty() => {
            let place = random.below(body.len());
            body[place] = u8::try_from(random.below(256)).unwrap_or(0);
        }
        _ => {
            let place = random.below(body.len() + 1);
            body.splice(place..place, random.pick(&NASTY).bytes());
        }
    }
}

/// A tag, or a Call-ID, that is nearly the one that is meant.
pub fn near(tag: &str, random: &mut Random) -> String {
    match random.below(6) {
        0 => String::new(),
        1 => tag.to_ascii_uppercase(),
        2 => tag.chars().take(tag.len().saturating_sub(1)).collect(),
        3 => format!("{tag}0"),
        4 => tag.chars().rev().collect(),
        _ => "x".repeat(random.below(3000)),
    }
}

/// What a CSeq counts that is not the next one.
pub fn count(cseq: u32, random: &mut Random) -> String {
    match random.below(6) {
        0 => cseq.to_string(),
        1 => cseq.saturating_sub(1).to_string(),
        2 => "0".into(),
        3 => u32::MAX.to_string(),
        4 => format!("-{cseq}"),
        _ => random.pick(&NASTY).to_owned(),
    }
}
