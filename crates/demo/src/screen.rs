//! What is printed.

use testkit::phone::Traced;

/// The header fields that tell the story; Via, tags and the like are left out.
const TOLD: [&str; 8] =
    ["Event", "Expires", "SIP-If-Match", "SIP-ETag", "CSeq", "Subscription-State", "Content-Type", "Min-Expires"];

/// The head of a step.
pub fn title(number: usize, text: &str) {
    println!("\n{number}. {text}");
}

/// A step that was checked.
pub fn done(sentence: &str) {
    println!("   ok: {sentence}");
}

/// A packet between a phone and the server.
pub fn packet(user: &str, traced: &Traced) {
    let (from, to) = if traced.sent { (user, "server") } else { ("server", user) };
    println!("   {from} -> {to}");
    let message = &traced.message;
    let told = message.headers.iter().filter(|(name, _)| TOLD.iter().any(|t| t.eq_ignore_ascii_case(name)));
    println!("      {}", message.start);
    told.for_each(|(name, value)| println!("      {name}: {value}"));
    message.body.lines().for_each(|line| println!("      | {line}"));
}
