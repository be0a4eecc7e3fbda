//! Presence documents that carry a version, so that a watcher can say how new its state is.

const OPEN: &[u8] = b"<note>v";

/// A presence document (RFC 3863, RFC 4479, RFC 4480) of the size that phones send.
#[must_use]
pub fn document(presentity: u32, version: u32) -> String {
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\r\n<presence xmlns=\"urn:ietf:params:xml:ns:pidf\" \
         xmlns:dm=\"urn:ietf:params:xml:ns:pidf:data-model\" xmlns:rpid=\"urn:ietf:params:xml:ns:pidf:rpid\" \
         entity=\"sip:p{presentity}@test.local\"><tuple id=\"t{presentity}\"><status><basic>open</basic></status>\
         <note>v{version}</note></tuple><dm:person id=\"a{presentity}\"><rpid:activities><rpid:away/></rpid:activities>\
         <dm:note>away</dm:note></dm:person></presence>\r\n"
    )
}

/// The version in a document that the server made of ours.
#[must_use]
pub fn version_of(body: &[u8]) -> Option<u32> {
    let start = body.windows(OPEN.len()).position(|w| w == OPEN)? + OPEN.len();
    let digits = &body[start..];
    let length = digits.iter().position(|b| !b.is_ascii_digit())?;
    std::str::from_utf8(&digits[..length]).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_read_back() {
        assert_eq!(version_of(document(7, 42).as_bytes()), Some(42));
        assert_eq!(version_of(b"<note>away</note>"), None);
        assert_eq!(version_of(b"<note>v"), None);
    }
}
