//! The Event header field (RFC 6665 8.2.1): a package name and parameters.

/// A parameter of an Event header field; without a value the value is empty.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Param<'a> {
    /// Its name.
    pub name: &'a [u8],
    /// Its value.
    pub value: &'a [u8],
}

impl Param<'_> {
    /// `;name` or `;name=value`.
    pub fn push(&self, out: &mut Vec<u8>) {
        out.push(b';');
        out.extend_from_slice(self.name);
        if !self.value.is_empty() {
            out.push(b'=');
            out.extend_from_slice(self.value);
        }
    }
}

/// A parsed Event header field.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Event<'a> {
    /// The package, with its template ("presence.winfo").
    pub name: &'a [u8],
    /// Everything from the first semicolon on, as received and without white space around; empty if there is nothing.
    pub params_text: &'a [u8],
    /// The parameters in their order.
    pub params: Vec<Param<'a>>,
}

/// The text is no Event header field.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Malformed;

/// How many parameters one header field may have.
pub const MAX_PARAMS: usize = 32;

impl<'a> Event<'a> {
    /// Parses the body of the header field.
    pub fn parse(text: &'a [u8]) -> Result<Self, Malformed> {
        let text = text.trim_ascii();
        let name_end = text.iter().position(|&b| !is_token(b)).unwrap_or(text.len());
        let (name, rest) = text.split_at(name_end);
        if name.is_empty() {
            return Err(Malformed);
        }
        let params_text = rest.trim_ascii();
        let mut params = Vec::new();
        let mut rest = params_text;
        while !rest.is_empty() {
            if params.len() == MAX_PARAMS {
                return Err(Malformed);
            }
            let (param, after) = parse_param(rest)?;
            params.push(param);
            rest = after;
        }
        Ok(Self { name, params_text, params })
    }

    /// The value of a parameter, by its name in whatever case.
    #[must_use]
    pub fn param(&self, name: &[u8]) -> Option<&'a [u8]> {
        self.params.iter().find(|p| p.name.eq_ignore_ascii_case(name)).map(|p| p.value)
    }

    /// The `id` parameter; empty if there is none.
    #[must_use]
    pub fn id(&self) -> &'a [u8] {
        self.param(b"id").unwrap_or_default()
    }
}

/// `;name[=value]` at the start of `text`, and what follows.
fn parse_param(text: &[u8]) -> Result<(Param<'_>, &[u8]), Malformed> {
    let text = text.strip_prefix(b";").ok_or(Malformed)?.trim_ascii_start();
    let end = text.iter().position(|&b| !is_token(b)).unwrap_or(text.len());
    let (name, rest) = text.split_at(end);
    if name.is_empty() {
        return Err(Malformed);
    }
    let rest = rest.trim_ascii_start();
    let Some(rest) = rest.strip_prefix(b"=") else { return Ok((Param { name, value: b"" }, rest)) };
    let rest = rest.trim_ascii_start();
    let end = if rest.first() == Some(&b'"') { quoted_len(rest)? } else { value_len(rest) };
    let (value, rest) = rest.split_at(end);
    Ok((Param { name, value }, rest.trim_ascii_start()))
}

/// Length of a quoted string with its quotes.
fn quoted_len(text: &[u8]) -> Result<usize, Malformed> {
    let mut escaped = false;
    for (i, &b) in text.iter().enumerate().skip(1) {
        match b {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => return Ok(i + 1),
            b'\r' | b'\n' => return Err(Malformed),
            _ => {}
        }
    }
    Err(Malformed)
}

/// Length of an unquoted value: a token, or a host (RFC 3261 `gen-value`).
fn value_len(text: &[u8]) -> usize {
    text.iter().position(|&b| !(is_token(b) || matches!(b, b':' | b'[' | b']' | b'@'))).unwrap_or(text.len())
}

/// RFC 3261 25.1 `token`.
const fn is_token(b: u8) -> bool {
    b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'!' | b'%' | b'*' | b'_' | b'+' | b'`' | b'\'' | b'~')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn params(text: &[u8]) -> Vec<(&[u8], &[u8])> {
        Event::parse(text).expect("parses").params.iter().map(|p| (p.name, p.value)).collect()
    }

    #[test]
    fn name_and_parameters_are_taken_apart() {
        assert_eq!(Event::parse(b"presence").expect("parses").name, b"presence");
        assert_eq!(params(b" dialog ; sla ;id=7"), [(&b"sla"[..], &b""[..]), (b"id", b"7")]);
        assert_eq!(
            params(b"dialog;call-id=a@b.c;from-tag=\"x;y\""),
            [(&b"call-id"[..], &b"a@b.c"[..]), (b"from-tag", b"\"x;y\"")]
        );
    }

    #[test]
    fn an_empty_value_is_a_value() {
        assert_eq!(params(b"presence;id="), [(&b"id"[..], &b""[..])]);
    }

    #[test]
    fn what_is_no_event_is_refused() {
        for text in
            [&b""[..], b";id=1", b"presence;;=;id", b"presence;=x", b"presence x", b"presence;a=\"x", b"pre sence"]
        {
            assert_eq!(Event::parse(text), Err(Malformed), "{}", String::from_utf8_lossy(text));
        }
    }

    #[test]
    fn too_many_parameters_are_refused() {
        let text = [b"presence".to_vec(), b";a".repeat(MAX_PARAMS + 1)].concat();
        assert_eq!(Event::parse(&text), Err(Malformed));
    }
}
