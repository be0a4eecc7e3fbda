//! Pseudo-random choices, and values that break parsers.

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
pub struct Random(pub u64);

impl Random {
    /// The one that `HOSTILE_SEED` names; every run makes the same messages without it.
    pub fn from_env() -> Self {
        Self(crate::number("HOSTILE_SEED", 0x9E37_79B9_7F4A_7C15))
    }

    pub fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % n.max(1) as u64).unwrap_or(0)
    }

    pub fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    pub fn pick<'a, T: ?Sized>(&mut self, from: &[&'a T]) -> &'a T {
        from[self.below(from.len())]
    }
}
