//! What is shown, step by step; each checks it.

use crate::Outcome;
use crate::stage::{Stage, publish, subscribe, told};
use testkit::phone::{Dialog, dialog_info, pidf};
use testkit::sqlite;

/// A step: its title and what happens.
type Step = (&'static str, fn(&mut Stage) -> Outcome);

/// All steps in their order; later ones need earlier ones.
pub const ALL: [Step; 7] = [
    ("Bob's and Carol's phones subscribe to Alice", subscription),
    ("Alice's client publishes that she is there", publication),
    ("Alice's client modifies what it has published", modification),
    ("The server restarts; Alice's client modifies what it published before", restart),
    ("Alice's client removes what it has published", removal),
    ("Busy lamp: Bob's phone watches Alice's line, which gets a call", busy_lamp),
    ("Message waiting: Bob's phone watches his mailbox, which gets a message", message_waiting),
];

fn subscription(stage: &mut Stage) -> Outcome {
    let [bobs, carols] = &mut stage.dialogs;
    let notifies = [subscribe(&mut stage.bob, bobs)?, subscribe(&mut stage.carol, carols)?];
    if notifies.iter().any(|notify| !notify.body.is_empty()) {
        return Err("nobody has published, and yet a first NOTIFY has a document".into());
    }
    stage.cseqs = notifies.map(|notify| notify.cseq());
    Ok("both subscriptions are active, and there is no document yet".into())
}

fn publication(stage: &mut Stage) -> Outcome {
    follow(stage, "in the office")?;
    Ok("Bob and Carol have the document".into())
}

fn modification(stage: &mut Stage) -> Outcome {
    let old = stage.etag.clone();
    follow(stage, "at lunch")?;
    if stage.etag == old {
        return Err("the entity-tag is still the old one".into());
    }
    Ok("both have the new document, and Alice's client a new entity-tag".into())
}

fn removal(stage: &mut Stage) -> Outcome {
    change(stage, "", "<basic>closed</basic>")?;
    let left = sqlite::run(&stage.server.database_file(), "SELECT etag FROM presentity WHERE username = 'alice'");
    if !left.is_empty() {
        return Err(format!("presentity still has {left:?}"));
    }
    Ok("both were told that she is closed, and the table of publications is empty".into())
}

/// Alice publishes a note, and both watchers get it.
fn follow(stage: &mut Stage, note: &str) -> Result<(), String> {
    change(stage, &pidf("alice", "open", note), &format!("<note>{note}</note>"))
}

/// Alice publishes a document (none: removes it), and both watchers get one with this text and the next CSeq.
fn change(stage: &mut Stage, document: &str, text: &str) -> Result<(), String> {
    let etag = Some(stage.etag.as_str()).filter(|e| !e.is_empty());
    stage.etag = publish(&mut stage.alice, "alice", "presence", etag, document)?;
    for (n, watcher) in [&mut stage.bob, &mut stage.carol].into_iter().enumerate() {
        let notify = told(watcher, "presence", text)?;
        if notify.header("Call-ID") != Some(&stage.dialogs[n].call_id) {
            return Err(format!("the NOTIFY to {} is not in the dialog of its subscription", watcher.user));
        }
        let last = stage.cseqs[n];
        if notify.cseq() <= last {
            return Err(format!("a NOTIFY to {} has CSeq {} after {last}", watcher.user, notify.cseq()));
        }
        stage.cseqs[n] = notify.cseq();
    }
    Ok(())
}

fn restart(stage: &mut Stage) -> Outcome {
    stage.stop()?;
    println!("   The server is stopped. Its database holds");
    let tables = [
        ("presentity_uri, from_user, event, status, local_cseq FROM active_watchers", 2),
        ("presentity_uri, watcher_username, event, status FROM watchers", 2),
        ("username, event, etag FROM presentity", 1),
    ];
    for (columns, expected) in tables {
        let rows = sqlite::run(&stage.server.database_file(), &format!("SELECT {columns}"));
        let table = columns.split(' ').next_back().unwrap_or_default();
        rows.iter().for_each(|row| println!("      {table}: {row}"));
        if rows.len() != expected {
            return Err(format!("{expected} rows should be in {table}, and there are {}", rows.len()));
        }
    }
    stage.server.try_start_again().map_err(|log| format!("the server did not start again:\n{log}"))?;
    println!("   The server is started again.");
    follow(stage, "back again")?;
    stage.cseqs[0] = subscribe(&mut stage.bob, &mut stage.dialogs[0])?.cseq();
    Ok("everything was restored: both have the document, and Bob's refresh is accepted".into())
}

fn busy_lamp(stage: &mut Stage) -> Outcome {
    subscribe(&mut stage.bob, &mut Dialog::new("alice", "dialog"))?;
    publish(&mut stage.calls, "alice", "dialog", None, &dialog_info("alice", "call-1", "confirmed"))?;
    told(&mut stage.bob, "dialog", "<state>confirmed</state>")?;
    Ok("the lamp is lit".into())
}

fn message_waiting(stage: &mut Stage) -> Outcome {
    subscribe(&mut stage.bob, &mut Dialog::new("bob", "message-summary"))?;
    let summary = "Messages-Waiting: yes\r\nVoice-Message: 1/0\r\n";
    publish(&mut stage.voicemail, "bob", "message-summary", None, summary)?;
    told(&mut stage.bob, "message-summary", summary)?;
    Ok("one new message".into())
}
