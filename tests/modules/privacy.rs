//! Who may not see the state of a presentity never gets a byte of it, and the log keeps it to itself.

use crate::publish;
use crate::rules::{Rule, builder, ruleset, store_rules};
use std::collections::BTreeMap;
use std::time::Duration;
use testkit::phone::{Dialog, dialog_info, pidf};
use testkit::{Database, Kamailio, Phone};

/// How each watcher is handled; who is in no rule waits.
const HANDLED: [(&str, &str); 4] =
    [("bob", "allow"), ("carol", "confirm"), ("dave", "polite-block"), ("erin", "block")];
const IN_NO_RULE: &str = "frank";

fn rules(handled: &[(&str, &str)]) -> String {
    let all = "<pr:provide-services><pr:all-services/></pr:provide-services><pr:provide-persons><pr:all-persons/>\
               </pr:provide-persons><pr:provide-all-attributes/>";
    let rule = |(watcher, handling)| Rule { watcher, handling, transformations: all, ..Rule::default() };
    ruleset(&handled.iter().copied().map(rule).collect::<Vec<_>>())
}

/// The phones that watch alice, and what each was sent so far.
struct Watchers {
    phones: Vec<(Phone, Dialog)>,
    sent: BTreeMap<String, String>,
}

impl Watchers {
    fn subscribe(server: &Kamailio) -> Self {
        let users = HANDLED.into_iter().map(|(user, _)| user).chain([IN_NO_RULE]);
        let phones = users.map(|user| {
            let mut phone = Phone::new(user, server.port);
            phone.trace = Some(Vec::new());
            let dialog = phone.subscribe("alice", "presence", 600);
            phone.notify();
            (phone, dialog)
        });
        Self { phones: phones.collect(), sent: BTreeMap::new() }
    }

    /// Those with a dialog refresh it, and all ask for the state once more.
    fn ask_again(&mut self) {
        for (phone, dialog) in &mut self.phones {
            phone.resubscribe(dialog, 600);
            phone.subscribe("alice", "presence", 0);
        }
    }

    /// Waits until bob has this text, and takes what the others are sent meanwhile.
    fn wait_for(&mut self, secret: &str) {
        testkit::wait_for(&format!("{secret} at bob"), 10.0, || {
            for (phone, _) in &mut self.phones {
                phone.listen(Duration::from_millis(20));
                let text: String =
                    phone.trace.replace(Vec::new()).into_iter().flatten().map(|m| format!("{m:?}")).collect();
                self.sent.entry(phone.user.clone()).or_default().push_str(&text);
            }
            self.sent["bob"].contains(secret).then_some(())
        });
    }
}

#[test]
fn who_may_not_see_the_state_is_sent_nothing_of_it() {
    for (subs_db_mode, publ_cache) in [(0, 1), (1, 0), (1, 2), (2, 1), (3, 0)] {
        let builder = builder().param("subs_db_mode", subs_db_mode).param("publ_cache", publ_cache);
        let mut server = builder.start();
        store_rules(&server, "alice", &rules(&HANDLED));
        let mut alice = Phone::new("alice", server.port);
        let tag = publish(&mut alice, "presence", None, &pidf("alice", "open", "s3cret-initial"));
        let mut watchers = Watchers::subscribe(&server);
        watchers.wait_for("s3cret-initial");
        let tag = publish(&mut alice, "presence", Some(&tag), &pidf("alice", "open", "s3cret-changed"));
        watchers.wait_for("s3cret-changed");
        watchers.ask_again();
        assert_eq!(server.rpc(&["presence.refreshWatchers", "sip:alice@test.local", "presence", "1"]), "");
        publish(&mut alice, "presence", Some(&tag), &pidf("alice", "open", "s3cret-again"));
        watchers.wait_for("s3cret-again");
        // Who watches the watchers learns who they are, and not what they see.
        let mut curious = Phone::new("alice", server.port);
        curious.subscribe("alice", "presence.winfo", 600);
        assert!(!curious.notify().body.contains("s3cret"));
        if subs_db_mode > 0 {
            server.restart();
            publish(&mut alice, "presence", None, &pidf("alice", "open", "s3cret-later"));
            watchers.wait_for("s3cret-later");
        }
        // bob, too, may see nothing from now on.
        store_rules(&server, "alice", &rules(&[("bob", "polite-block"), ("dave", "allow")]));
        assert_eq!(server.rpc(&["presence.updateWatchers", "sip:alice@test.local", "presence"]), "");
        publish(&mut alice, "presence", None, &pidf("alice", "open", "s3cret-for-dave"));
        watchers.ask_again();
        for (phone, _) in &mut watchers.phones {
            phone.listen(Duration::from_millis(100));
            let is_dave = phone.user == "dave";
            let told: Vec<_> = phone.trace.take().into_iter().flatten().map(|traced| traced.message).collect();
            let knows = told.iter().any(|message| message.body.contains("s3cret-for-dave"));
            assert_eq!(
                knows, is_dave,
                "{} with subs_db_mode {subs_db_mode}, publ_cache {publ_cache}: {told:#?}",
                phone.user
            );
        }
        for (user, text) in watchers.sent.iter().filter(|(user, _)| *user != "bob") {
            assert!(text.contains("NOTIFY"), "{user} was sent nothing");
            assert!(
                !text.contains("s3cret"),
                "{user} with subs_db_mode {subs_db_mode}, publ_cache {publ_cache}: {text}"
            );
        }
    }
}

#[test]
fn the_log_shows_no_document_at_the_default_level() {
    for publ_cache in [0, 2] {
        let server = Kamailio::builder().database(Database::Sqlite("WAL")).param("publ_cache", publ_cache).start();
        let (mut alice, mut bob) = (Phone::new("alice", server.port), Phone::new("bob", server.port));
        bob.answer = Some(481);
        for (event, good) in [
            ("presence", pidf("alice", "open", "s3cret")),
            ("dialog", dialog_info("alice", "s3cret", "early")),
            ("message-summary", "Messages-Waiting: yes\r\nMessage-Account: sip:s3cret@test.local\r\n".to_owned()),
        ] {
            bob.subscribe("alice", event, 600);
            bob.notify();
            let tag = publish(&mut alice, event, None, &good);
            bob.subscribe("alice", event, 600);
            bob.notify();
            publish(&mut alice, event, Some(&tag), &good);
            // What is refused, and what nobody can read.
            let broken = ["<s3cret", "s3cret", "<presence>s3cret</dialog-info>", "<?xml s3cret"];
            for body in
                broken.map(str::to_owned).into_iter().chain([format!("{good}<s3cret>"), good.replace("<?", "s3cret")])
            {
                alice.publish(event, None, Some(600), &body);
            }
            alice.publish(event, Some("nobody's"), Some(600), &good);
        }
        // The package modules say what they like.
        let log = server.log();
        let own = log.lines().filter(|line| line.contains(": presence ["));
        let shown: Vec<_> = own.filter(|line| line.contains("s3cret")).collect();
        assert!(shown.is_empty(), "{shown:?}");
    }
}
