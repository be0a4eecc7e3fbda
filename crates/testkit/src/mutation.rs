//! SIP messages that are spoilt in a few places, the same ones for the same seed.

/// A small generator of pseudo-random numbers (SplitMix64).
#[derive(Clone, Copy, Debug)]
pub struct Random(u64);

impl Random {
    /// The same numbers for the same seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// Any number.
    pub fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below this one; 0 below 0 and 1.
    pub fn below(&mut self, n: usize) -> usize {
        usize::try_from(self.number() % n.max(1) as u64).unwrap_or(0)
    }

    /// True so many times in a hundred.
    pub fn percent(&mut self, share: usize) -> bool {
        self.below(100) < share
    }

    /// One of these.
    pub fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.below(from.len())]
    }
}

/// What breaks parsers, in the place of a header's value or of a part of one.
const NASTY: [&str; 24] = [
    "",
    ";",
    "<>",
    "\"",
    "<sip:@>",
    "sip:%00%ff@x",
    "<sip:a@[::1>",
    "tel:+1;x=\"",
    "<sip:a@b>;tag=;tag=x",
    "\"\\\" <sip:a@b>",
    "presence;id=\"",
    "presence.winfo.winfo",
    "dialog;sla;ma",
    ".winfo",
    "-1",
    "4294967296",
    "99999999999999999999",
    "1 1",
    "*",
    "a.1.2.3.4.5",
    "application/pidf+xml;charset=\"",
    "multipart/related;boundary=",
    "<sip:a@127.0.0.1:99999;lr>, <sip:b",
    "<a xmlns:=\"&x;\">",
];

/// Spoils a message in one to four places. The line behind the first one (Via) stays, so that replies find their way.
#[must_use]
pub fn spoil(message: &str, random: &mut Random) -> Vec<u8> {
    let (head, body) = message.split_once("\r\n\r\n").unwrap_or((message, ""));
    let mut lines: Vec<Vec<u8>> = head.split("\r\n").map(|line| line.as_bytes().to_vec()).collect();
    let mut body = body.as_bytes().to_vec();
    for _ in 0..=random.below(3) {
        if random.percent(30) && !body.is_empty() {
            spoil_piece(&mut body, random);
            continue;
        }
        let at = if random.percent(8) { 0 } else { 2 + random.below(lines.len().saturating_sub(2)) };
        let Some(line) = lines.get_mut(at) else { continue };
        match random.below(8) {
            0 => drop(lines.remove(at)),
            1 => {
                let twice = line.clone();
                lines.push(twice);
            }
            2 | 3 => {
                line.truncate(line.iter().position(|&b| b == b':').map_or(0, |colon| colon + 1));
                line.extend_from_slice(random.pick(&NASTY).as_bytes());
            }
            4 => line.extend(std::iter::repeat_n(b'x', random.below(4000))),
            _ => spoil_piece(line, random),
        }
    }
    // Half of them keep a length that fits, or the server drops too many before they reach a module.
    if random.percent(50) {
        lines.retain(|line| !line.starts_with(b"Content-Length:"));
        lines.push(format!("Content-Length: {}", body.len()).into_bytes());
    }
    let mut out = lines.join(&b"\r\n"[..]);
    out.extend_from_slice(b"\r\n\r\n");
    out.extend_from_slice(&body);
    out
}

fn spoil_piece(piece: &mut Vec<u8>, random: &mut Random) {
    let place = random.below(piece.len() + 1);
    match random.below(4) {
        0 => piece.truncate(place),
        1 => drop(piece.splice(place..place, random.pick(&NASTY).bytes())),
        // No line break: it would be another line.
        _ => {
            if let Some(byte) = piece.get_mut(place) {
                *byte = b' ' + u8::try_from(random.below(224)).unwrap_or(0);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spoilt_message_keeps_its_via_and_is_the_same_for_the_same_seed() {
        let message =
            "PUBLISH sip:a@b SIP/2.0\r\nVia: SIP/2.0/UDP h;branch=z\r\nEvent: presence\r\nExpires: 7\r\n\r\nbody";
        let run =
            |seed| (0..200).map(|_| seed).scan(Random::new(seed), |r, _| Some(spoil(message, r))).collect::<Vec<_>>();
        let spoilt = run(7);
        assert_eq!(spoilt, run(7));
        let via = b"\r\nVia: SIP/2.0/UDP h;branch=z\r\n";
        assert!(spoilt.iter().all(|text| text.windows(via.len()).any(|w| w == via)));
        assert!(spoilt.iter().filter(|text| text.as_slice() != message.as_bytes()).count() > 190);
    }
}
