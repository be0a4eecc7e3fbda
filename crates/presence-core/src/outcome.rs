//! What the answer to a NOTIFY says of its subscription (RFC 6665 4.2.2, RFC 5057 5.1).

use crate::time::Seconds;

/// A final answer to a NOTIFY.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Answer {
    /// Its status code; 408 also where none came.
    pub code: u16,
    /// Its Retry-After.
    pub retry_after: Option<Seconds>,
}

impl Answer {
    /// An answer without Retry-After.
    #[must_use]
    pub const fn of(code: u16) -> Self {
        Self { code, retry_after: None }
    }

    /// Whether the watcher has got the NOTIFY.
    #[must_use]
    pub const fn is_success(self) -> bool {
        self.code >= 200 && self.code < 300
    }

    /// Whether it ends the subscription at once. With Retry-After the watcher is only busy, unless it says that there is
    /// no such subscription or nobody of that name.
    #[must_use]
    pub const fn ends(self) -> bool {
        // DIFFERS: with the C module 404 and 481 do, and it does not look at Retry-After.
        match self.code {
            404 | 481 => true,
            405 | 410 | 416 | 480 | 482..=485 | 489 | 501 | 603 | 604 => self.retry_after.is_none(),
            _ => false,
        }
    }
}

/// The shortest and the longest time after which a NOTIFY is tried again because of a Retry-After.
const RETRY: (Seconds, Seconds) = (Seconds(1), Seconds(60));

/// After how many milliseconds a NOTIFY is tried again.
#[must_use]
pub fn patience(retry_after: Seconds) -> u32 {
    retry_after.clamp(RETRY.0, RETRY.1).0 * 1000
}

/// The Retry-After of a message as it was received (RFC 3261 20.33): its seconds; comment and parameters do not matter.
#[must_use]
pub fn retry_after(message: &[u8]) -> Option<Seconds> {
    let lines = message.split(|&b| b == b'\n').map(<[u8]>::trim_ascii_end);
    let value = lines.take_while(|line| !line.is_empty()).find_map(|line| {
        let colon = line.iter().position(|&b| b == b':')?;
        line[..colon].trim_ascii().eq_ignore_ascii_case(b"Retry-After").then(|| line[colon + 1..].trim_ascii())
    })?;
    let digits = value.iter().take_while(|b| b.is_ascii_digit());
    let number = digits.fold(None, |number: Option<u32>, digit| {
        Some(number.unwrap_or(0).saturating_mul(10).saturating_add(u32::from(digit - b'0')))
    });
    number.map(Seconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_seconds_of_retry_after_are_found_and_bounded() {
        let of = |text: &str| retry_after(format!("SIP/2.0 503 Busy\r\nVia: x\r\n{text}\r\n\r\n").as_bytes());
        assert_eq!(of("Retry-After: 7"), Some(Seconds(7)));
        assert_eq!(of("retry-after :18000;duration=3600"), Some(Seconds(18_000)));
        assert_eq!(of("Retry-After: 120 (I'm in a meeting)"), Some(Seconds(120)));
        assert_eq!(of("Retry-After: 99999999999999999999"), Some(Seconds(u32::MAX)));
        assert_eq!(of("Retry-After: soon"), None);
        assert_eq!(of("X-Retry-After: 7"), None);
        assert_eq!(of("\r\nRetry-After: 7"), None, "in the body");
        assert_eq!(retry_after(b""), None);
        assert_eq!(
            [0, 1, 7, 60, 61, u32::MAX].map(|s| patience(Seconds(s))),
            [1000, 1000, 7000, 60_000, 60_000, 60_000]
        );
    }

    #[test]
    fn a_watcher_who_is_only_busy_is_not_gone() {
        let with = |code, retry_after| Answer { code, retry_after }.ends();
        for code in [404, 405, 410, 416, 480, 481, 482, 483, 484, 485, 489, 501, 603, 604] {
            assert!(with(code, None), "{code}");
            assert_eq!(with(code, Some(Seconds(5))), matches!(code, 404 | 481), "{code} with Retry-After");
        }
        for code in [200, 202, 299, 300, 302, 400, 401, 403, 407, 408, 486, 488, 491, 500, 503, 504, 600, 606] {
            assert!(!with(code, None), "{code}");
        }
    }
}
