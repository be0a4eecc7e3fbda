//! Nobody reaches a publication or a subscription of somebody else by guessing how it is named, not even where the
//! database takes letters or patterns for others.

use crate::{for_stock, server};
use std::collections::HashSet;
use testkit::phone::{Dialog, dialog_info, pidf};
use testkit::{Database, Phone};

crate::on_each_database! {
    a_publication_is_reached_by_its_tag_only,
    a_subscription_is_reached_in_its_dialog_only,
}

/// What somebody might try who knows nearly all of a name.
fn near(name: &str) -> Vec<String> {
    let cut = |n: usize| name[..name.len() - n].to_owned();
    let swapped = |c: char| if c.is_ascii_lowercase() { c.to_ascii_uppercase() } else { c.to_ascii_lowercase() };
    let all = [
        cut(1),
        cut(2),
        format!("{name}0"),
        format!("{}%", cut(1)),
        format!("{}_", cut(1)),
        "%".to_owned(),
        name.chars().map(swapped).collect(),
        format!("{name}'--"),
        format!("{}'%20OR%20'1", cut(1)),
    ];
    all.into_iter().filter(|guess| guess != name).collect()
}

fn a_publication_is_reached_by_its_tag_only(db: &Database) {
    for publ_cache in [0, 1, 2] {
        let server = server(db, publ_cache, 1).start();
        let (mut alice, mut mallory) = (Phone::new("alice", server.port), Phone::new("mallory", server.port));
        let published = |phone: &mut Phone, etag: Option<&str>, note: &str| {
            let reply = phone.publish("presence", etag, Some(600), &pidf("alice", "open", note));
            assert_eq!(reply.code(), 200, "{reply:?}");
            reply.header("SIP-ETag").expect("a tag").to_owned()
        };
        let tag = published(&mut alice, None, "mine");
        let (head, count) = tag.rsplit_once('.').expect("a counter");
        let next = format!("{head}.{}", count.parse::<u32>().expect("a number") + 1);
        for guess in near(&tag).into_iter().chain([next]) {
            for (expires, body) in
                [(600, pidf("alice", "closed", "not mine")), (600, String::new()), (0, String::new())]
            {
                let reply = mallory.publish_for("alice", "presence", Some(&guess), Some(expires), &body);
                assert_eq!(reply.code(), 412, "{tag} by {guess}: {reply:?}");
            }
        }
        // The tag counts for this presentity and this package only.
        let elsewhere = mallory.publish("presence", Some(&tag), Some(600), &pidf("mallory", "open", "x"));
        assert_eq!(elsewhere.code(), 412, "{elsewhere:?}");
        let elsewhere =
            mallory.publish_for("alice", "dialog", Some(&tag), Some(600), &dialog_info("alice", "d", "early"));
        assert_eq!(elsewhere.code(), 412, "{elsewhere:?}");
        let mut bob = Phone::new("bob", server.port);
        bob.subscribe("alice", "presence", 600);
        assert!(bob.notify().body.contains(">mine<"));
        published(&mut alice, Some(&tag), "mine still");
    }
}

/// 64 bits of each tag are drawn: none comes twice, and each bit is set in about a half of them.
#[test]
fn entity_tags_are_drawn() {
    let server = testkit::Kamailio::builder().start();
    let mut alice = Phone::new("alice", server.port);
    let mut etag: Option<String> = None;
    let mut drawn = HashSet::new();
    let mut set = [0; 64];
    for _ in 0..200 {
        // Of a new publication, and of each change of one.
        etag = ["first", "then"].into_iter().fold(None, |tag: Option<String>, note| {
            let reply = alice.publish("presence", tag.as_deref(), Some(600), &pidf("alice", "open", note));
            let tag = reply.header("SIP-ETag").expect("a tag").to_owned();
            let bits = u64::from_str_radix(tag.split('.').nth(1).expect("digits"), 16).expect("16 digits");
            assert!(drawn.insert(bits), "{tag} was drawn before");
            (0..64).for_each(|bit| set[bit] += usize::from(bits >> bit & 1 == 1));
            Some(tag)
        });
    }
    assert!(etag.is_some());
    // 400 draws: 200 of each bit, give or take ten; seven times that never happens.
    assert!(set.iter().all(|&times| (130..=270).contains(&times)), "{set:?}");
}

fn a_subscription_is_reached_in_its_dialog_only(db: &Database) {
    for subs_db_mode in 0..=3 {
        let server = for_stock(db, server(db, 0, subs_db_mode)).start();
        let (mut bob, mut mallory) = (Phone::new("bob", server.port), Phone::new("mallory", server.port));
        let mut dialog = bob.subscribe("alice", "presence", 600);
        bob.notify();
        let own = |part: fn(&mut Dialog) -> &mut String, guess: &str| {
            let mut tried = Dialog { cseq: 100, ..dialog.clone() };
            guess.clone_into(part(&mut tried));
            tried
        };
        let parts: [fn(&mut Dialog) -> &mut String; 3] = [|d| &mut d.call_id, |d| &mut d.to_tag, |d| &mut d.from_tag];
        for part in parts {
            let name = part(&mut dialog.clone()).clone();
            for guess in near(&name) {
                for expires in [600, 0] {
                    let reply = mallory.resubscribe(&mut own(part, &guess), expires);
                    assert_eq!(reply.code(), 481, "{guess} for {name}, subs_db_mode {subs_db_mode}: {reply:?}");
                }
            }
        }
        assert_eq!(
            mallory.publish_for("alice", "presence", None, Some(600), &pidf("alice", "open", "news")).code(),
            200
        );
        assert!(bob.notify().body.contains("news"));
        assert_eq!(mallory.notify_within(0.1), None);
        assert_eq!(bob.resubscribe(&mut dialog, 600).code() / 100, 2);
    }
}
