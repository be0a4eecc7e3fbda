//! The host's `str` (pointer and length) and Rust's slices.

use kamailio_shim as raw;

/// The host's string type: borrowed, not terminated.
pub type Str = raw::str_;

/// The bytes of a host string; empty for a null pointer or a length below one.
///
/// # Safety
/// `s.s` is null or points to `s.len` readable bytes that live and stay unchanged for `'a` (rule H1).
#[must_use]
pub unsafe fn bytes<'a>(s: &Str) -> &'a [u8] {
    if s.s.is_null() || s.len <= 0 {
        return &[];
    }
    // SAFETY: not null, length positive; the rest is the caller's promise.
    unsafe { core::slice::from_raw_parts(s.s.cast::<u8>(), s.len as usize) }
}

/// A host string over `bytes`. The host must not keep it longer than `bytes` live, nor write to it.
#[must_use]
pub fn borrow(bytes: &[u8]) -> Str {
    Str { s: bytes.as_ptr().cast_mut().cast(), len: i32::try_from(bytes.len()).unwrap_or(i32::MAX) }
}

/// No string: null and 0.
#[must_use]
pub const fn none() -> Str {
    Str { s: core::ptr::null_mut(), len: 0 }
}

/// A host string over a literal.
#[must_use]
pub const fn literal(text: &'static str) -> Str {
    Str { s: text.as_ptr().cast_mut().cast(), len: text.len() as i32 }
}

/// A `str` for a literal behind which a zero stands, for those who do not look at the length.
#[must_use]
pub const fn terminated(text: &'static core::ffi::CStr) -> Str {
    Str { s: text.as_ptr().cast_mut(), len: text.to_bytes().len() as i32 }
}

/// Bytes for a log line or an error text: whatever is not UTF-8 is replaced.
#[must_use]
pub fn show(bytes: &[u8]) -> std::borrow::Cow<'_, str> {
    String::from_utf8_lossy(bytes)
}

/// The host's hash of two texts, whatever their case.
#[must_use]
pub fn hash_whatever_case(a: &[u8], b: &[u8]) -> u32 {
    let (a, b) = (borrow(a), borrow(b));
    // SAFETY: reads both texts.
    unsafe { raw::ksr_hash_case(&raw const a, &raw const b) }
}

/// The beginning of a text that may be of any length, for a log line or an error text.
#[must_use]
pub fn show_start(bytes: &[u8]) -> std::borrow::Cow<'_, str> {
    show(&bytes[..bytes.len().min(64)])
}
