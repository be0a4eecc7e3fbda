//! Names and numbers that are nearly right.

use testkit::mutation::{NASTY, Random};

/// A tag, or a Call-ID, that is nearly the one that is meant.
pub fn near(tag: &str, random: &mut Random) -> String {
    match random.below(6) {
        0 => String::new(),
        1 => tag.to_ascii_uppercase(),
        2 => tag.chars().take(tag.len().saturating_sub(1)).collect(),
        3 => format!("{tag}0"),
        4 => tag.chars().rev().collect(),
        _ => "x".repeat(random.below(3000)),
    }
}

/// What a CSeq counts that is not the next one.
pub fn count(cseq: u32, random: &mut Random) -> String {
    match random.below(6) {
        0 => cseq.to_string(),
        1 => cseq.saturating_sub(1).to_string(),
        2 => "0".into(),
        3 => u32::MAX.to_string(),
        4 => format!("-{cseq}"),
        _ => random.pick(&NASTY).to_owned(),
    }
}
