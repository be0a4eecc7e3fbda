//! Presence documents that carry a version, so that a watcher can say how new its state is.

/// Clients that may publish for one presentity.
pub const CLIENTS: usize = 2;

/// The version of each client's document; none of a client that has published nothing.
pub type State = [Option<u32>; CLIENTS];

/// What stands before the version in the document of each client.
const OPEN: [&[u8]; CLIENTS] = [b"<note>v", b"<note>w"];

/// A presence document (RFC 3863, RFC 4479, RFC 4480) of the size that phones send.
#[must_use]
pub fn document(presentity: u32, client: usize, version: u32) -> String {
    // One letter for each client: the tuples have names of their own, and all documents the same size.
    let letter = ["t", "u"][client];
    let note = String::from_utf8_lossy(OPEN[client]);
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\r\n<presence xmlns=\"urn:ietf:params:xml:ns:pidf\" \
         xmlns:dm=\"urn:ietf:params:xml:ns:pidf:data-model\" xmlns:rpid=\"urn:ietf:params:xml:ns:pidf:rpid\" \
         entity=\"sip:p{presentity}@test.local\"><tuple id=\"{letter}{presentity}\"><status><basic>open</basic></status>\
         {note}{version}</note></tuple><dm:person id=\"a{presentity}\"><rpid:activities><rpid:away/></rpid:activities>\
         <dm:note>away</dm:note></dm:person></presence>\r\n"
    )
}

/// The versions in a document that the server made of ours.
#[must_use]
pub fn state_in(body: &[u8]) -> State {
    OPEN.map(|open| version_behind(open, body))
}

fn version_behind(open: &[u8], body: &[u8]) -> Option<u32> {
    let start = body.windows(open.len()).position(|w| w == open)? + open.len();
    let digits = &body[start..];
    let length = digits.iter().position(|b| !b.is_ascii_digit())?;
    std::str::from_utf8(&digits[..length]).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_read_back() {
        assert_eq!(state_in(document(7, 0, 42).as_bytes()), [Some(42), None]);
        let both = document(7, 1, 3) + &document(7, 0, 4);
        assert_eq!(state_in(both.as_bytes()), [Some(4), Some(3)]);
        assert_eq!(state_in(b"<note>away</note>"), [None; 2]);
        assert_eq!(state_in(b"<note>v"), [None; 2]);
    }
}
