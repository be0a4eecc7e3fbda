//! SIP messages as texts.

/// A message, taken apart.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Message {
    /// The request or status line.
    pub start: String,
    /// Header fields in their order.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: String,
}

impl Message {
    /// Takes a datagram apart.
    #[must_use]
    pub fn parse(bytes: &[u8]) -> Self {
        let text = String::from_utf8_lossy(bytes);
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
        let mut lines = head.split("\r\n");
        let start = lines.next().unwrap_or_default().to_owned();
        let headers = lines
            .filter_map(|l| l.split_once(':'))
            .map(|(name, value)| (name.trim().to_owned(), value.trim().to_owned()))
            .collect();
        Self { start, headers, body: body.to_owned() }
    }

    /// The first header field with this name.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, v)| v.as_str())
    }

    /// The status code of a reply; 0 for a request.
    #[must_use]
    pub fn code(&self) -> u16 {
        self.start.strip_prefix("SIP/2.0 ").and_then(|s| s.get(..3)).and_then(|c| c.parse().ok()).unwrap_or(0)
    }

    /// The method of a request; empty for a reply.
    #[must_use]
    pub fn method(&self) -> &str {
        if self.code() > 0 { "" } else { self.start.split(' ').next().unwrap_or_default() }
    }

    /// The number in CSeq.
    #[must_use]
    pub fn cseq(&self) -> u32 {
        self.header("CSeq").and_then(|v| v.split(' ').next()).and_then(|n| n.parse().ok()).unwrap_or(0)
    }

    /// The tag in To.
    #[must_use]
    pub fn to_tag(&self) -> &str {
        tag(self.header("To").unwrap_or_default())
    }

    /// The Subscription-State header field.
    #[must_use]
    pub fn state(&self) -> &str {
        self.header("Subscription-State").unwrap_or_default()
    }
}

/// The tag in the value of From or To; empty without.
#[must_use]
pub fn tag(value: &str) -> &str {
    value.split(";tag=").nth(1).unwrap_or_default()
}
