//! SIP messages that are spoilt in a few places, the same ones for the same seed.

/// Values that take the place of a header's value, or of a part of one.
pub const NASTY: [&str; 36] = [
    "",
    " ",
    ";",
    "<",
    "<>",
    "\"",
    "<sip:>",
    "<sip:@>",
    "sip:",
    "sip:%00%ff@x",
    "<sip:a@[::1>",
    "tel:+1;x=\"",
    "<sip:a@b>;tag=",
    "<sip:a@b>;tag=;tag=x",
    "<sip:a@b>;;;tag==",
    "\"\\\" <sip:a@b>",
    "presence;;",
    "presence;id",
    "presence;id=",
    "presence;id=\"",
    "presence.winfo.winfo",
    "dialog;sla;ma",
    "dialog;id=\u{e9}",
    ".winfo",
    "message-summary;=;x",
    "-1",
    "4294967296",
    "99999999999999999999",
    "0x10",
    "00000000000000000001",
    "1 1",
    "*",
    "a.1.2.3.4.5",
    "application/pidf+xml;charset=\"",
    "multipart/related;boundary=",
    "<sip:a@127.0.0.1:99999;lr>, <sip:b",
];

/// A small generator of pseudo-random numbers (xorshift).
#[derive(Clone, Copy, Debug)]
pub struct Random(u64);

impl Random {
    /// The same numbers for the same seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(seed.max(1))
    }

    /// Any number but 0.
    pub fn number(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    /// A number below this one; 0 below 0 and 1.
    pub fn below(&mut self, n: usize) -> usize {
        usize::try_from(self.number() % n.max(1) as u64).unwrap_or(0)
    }

    /// True once in so many times.
    pub fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    /// True so many times in a hundred.
    pub fn percent(&mut self, share: usize) -> bool {
        self.below(100) < share
    }

    /// One of these.
    pub fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())]
    }
}

/// Spoils a message in one to four places; the first Via stays, so that every reply finds its way and its count.
#[must_use]
pub fn mutate(text: &str, random: &mut Random) -> Vec<u8> {
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or((text, ""));
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
        // The next one would be the first.
        1 if at == 0 => lines[at].clear(),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mutated_message_keeps_its_via_and_is_the_same_for_the_same_seed() {
        let message =
            "PUBLISH sip:a@b SIP/2.0\r\nVia: SIP/2.0/UDP h;branch=z\r\nEvent: presence\r\nExpires: 7\r\n\r\nbody";
        let run =
            |seed| (0..200).map(|_| seed).scan(Random::new(seed), |r, _| Some(mutate(message, r))).collect::<Vec<_>>();
        let mutated = run(7);
        assert_eq!(mutated, run(7));
        let via = b"\r\nVia: SIP/2.0/UDP h;branch=z\r\n";
        assert!(mutated.iter().all(|text| text.windows(via.len()).any(|w| w == via)));
        assert!(mutated.iter().filter(|text| text.as_slice() != message.as_bytes()).count() > 190);
    }
}
