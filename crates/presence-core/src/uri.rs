//! URIs as the tables hold them.

/// How URIs are compared (`sip_uri_match`).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum UriMatch {
    /// Letter for letter.
    #[default]
    CaseSensitive,
    /// Whatever the case of letters.
    CaseInsensitive,
}

impl UriMatch {
    /// Whether two URIs name the same.
    #[must_use]
    pub fn same(self, a: &[u8], b: &[u8]) -> bool {
        match self {
            Self::CaseSensitive => a == b,
            Self::CaseInsensitive => a.eq_ignore_ascii_case(b),
        }
    }
}

/// `sip:user@host`, or `sip:host` without a user: the form in which presentities and watchers are stored, whatever
/// scheme, port and parameters the request had.
#[must_use]
pub fn sip_uri(user: &[u8], host: &[u8]) -> Vec<u8> {
    let mut uri = Vec::with_capacity(5 + user.len() + host.len());
    push_sip_uri(&mut uri, user, host);
    uri
}

/// As [`sip_uri`], into a buffer.
pub fn push_sip_uri(out: &mut Vec<u8>, user: &[u8], host: &[u8]) {
    out.extend_from_slice(b"sip:");
    if !user.is_empty() {
        out.extend_from_slice(user);
        out.push(b'@');
    }
    out.extend_from_slice(host);
}

/// User and host of a URI in the stored form.
#[must_use]
pub fn split_sip_uri(uri: &[u8]) -> (&[u8], &[u8]) {
    let rest = uri.strip_prefix(b"sip:").unwrap_or(uri);
    match rest.iter().rposition(|&b| b == b'@') {
        Some(at) => (&rest[..at], &rest[at + 1..]),
        None => (b"", rest),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn user_and_host_make_a_uri_and_come_back() {
        for (user, host, uri) in
            [(&b"a"[..], &b"x.y"[..], &b"sip:a@x.y"[..]), (b"", b"x.y", b"sip:x.y"), (b"a%40b", b"h", b"sip:a%40b@h")]
        {
            assert_eq!(sip_uri(user, host), uri);
            assert_eq!(split_sip_uri(uri), (user, host));
        }
    }
}
