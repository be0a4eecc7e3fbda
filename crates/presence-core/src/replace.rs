//! Which older subscriptions a new one takes the place of: `delete_same_subs` and `replace_subs`.
//!
//! The old one goes without a word. Who has opened another dialog for the same thing does not look at the old one any
//! more: a phone that was started again would not even know it, and a last NOTIFY would be sent to nobody for 32 s.

use crate::config::Config;
use crate::subscription::{Field, Texts, event_id};

impl Config {
    /// Whether any subscription takes the place of another one.
    #[must_use]
    pub fn replaces_any(&self) -> bool {
        self.replace_same_call || self.replace_same_phone
    }

    /// Whether a new subscription takes the place of an older one to the same resource.
    #[must_use]
    pub fn replaces<O: AsRef<[u8]>>(&self, new: &Texts, old: &Texts<O>) -> bool {
        self.replace_same_call && new.get(Field::CallId) == old.get(Field::CallId)
            || self.replace_same_phone && is_of_same_phone(new, old)
    }
}

/// Whether both are of one watcher's phone and for the same id: the phone is known by its instance if both have one
/// (RFC 5626 4.1), or else by its Contact.
fn is_of_same_phone<O: AsRef<[u8]>>(new: &Texts, old: &Texts<O>) -> bool {
    let same = |field| new.get(field) == old.get(field);
    let known = !new.get(Field::Instance).is_empty() && !old.get(Field::Instance).is_empty();
    same(Field::WatcherUser)
        && same(Field::WatcherDomain)
        && event_id(new.get(Field::EventParams)) == event_id(old.get(Field::EventParams))
        && same(if known { Field::Instance } else { Field::Contact })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(changes: &[(Field, &[u8])]) -> Texts {
        let usual = [
            (Field::CallId, &b"call"[..]),
            (Field::WatcherUser, b"bob"),
            (Field::WatcherDomain, b"h"),
            (Field::EventParams, b";id=1"),
            (Field::Contact, b"sip:bob@10.0.0.1"),
        ];
        Texts::pack(&usual).and_then(|texts| texts.with(changes)).expect("packs")
    }

    #[test]
    fn a_phone_is_known_by_its_instance_or_else_by_its_contact() {
        let config = Config { replace_same_phone: true, ..Config::default() };
        let usual = texts(&[]);
        let replaces = |new: &[(Field, &[u8])], old: &[(Field, &[u8])]| config.replaces(&texts(new), &texts(old));
        assert!(replaces(&[(Field::CallId, b"other")], &[]));
        for (field, other) in [
            (Field::WatcherUser, &b"carol"[..]),
            (Field::WatcherDomain, b"elsewhere"),
            (Field::EventParams, b";id=2"),
            (Field::EventParams, b""),
            (Field::Contact, b"sip:bob@10.0.0.2"),
        ] {
            assert!(!replaces(&[(field, other)], &[]), "{field:?}");
        }
        let (one, two) = ((Field::Instance, &b"<urn:uuid:1>"[..]), (Field::Instance, &b"<urn:uuid:2>"[..]));
        let moved = (Field::Contact, &b"sip:bob@10.0.0.2"[..]);
        assert!(replaces(&[one, moved], &[one]), "the same phone at another address");
        assert!(!replaces(&[one], &[two]), "another phone behind the same address");
        assert!(replaces(&[one], &[]), "whose instance is not known any more");
        assert!(!replaces(&[one, moved], &[]));
        assert!(!Config::default().replaces(&usual, &usual));
    }

    #[test]
    fn a_call_is_known_by_its_call_id_whoever_watches() {
        let config = Config { replace_same_call: true, ..Config::default() };
        assert!(config.replaces(&texts(&[]), &texts(&[(Field::WatcherUser, b"carol")])));
        assert!(!config.replaces(&texts(&[]), &texts(&[(Field::CallId, b"other")])));
    }
}
