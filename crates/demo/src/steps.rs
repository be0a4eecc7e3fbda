//! What is shown, step by step; each checks it.

use crate::Outcome;
use crate::stage::{Stage, publish, subscribe, told};
use testkit::phone::{Dialog, dialog_info, pidf};
use testkit::sqlite;

/// A step: its title and what happens.
type Step = (&'static str, fn(&mut Stage) -> Outcome);

/// All steps in their order; later ones need earlier ones.
pub const ALL: [Step; 6] = [
    ("Bob's phone subscribes to Alice", subscription),
    ("Alice's client publishes that she is there", publication),
    ("Alice's client modifies what it has published", modification),
    ("The server restarts; Alice's client modifies what it published before", restart),
    ("Busy lamp: Bob's phone watches Alice's line, which gets a call", busy_lamp),
    ("Message waiting: Bob's phone watches his mailbox, which gets a message", message_waiting),
];

fn subscription(stage: &mut Stage) -> Outcome {
    let notify = subscribe(&mut stage.bob, &mut stage.dialog)?;
    if !notify.body.is_empty() {
        return Err("nobody has published, and yet the first NOTIFY has a document".into());
    }
    stage.cseq = notify.cseq();
    Ok("the subscription is active, and there is no document yet".into())
}

fn publication(stage: &mut Stage) -> Outcome {
    follow(stage, "in the office")?;
    Ok("Bob has the document".into())
}

fn modification(stage: &mut Stage) -> Outcome {
    let old = stage.etag.clone();
    follow(stage, "at lunch")?;
    if stage.etag == old {
        return Err("the entity-tag is still the old one".into());
    }
    Ok("Bob has the new document, and Alice's client a new entity-tag".into())
}

/// Alice publishes a note, and Bob gets it with the next CSeq of his dialog.
fn follow(stage: &mut Stage, note: &str) -> Result<(), String> {
    let etag = Some(stage.etag.as_str()).filter(|e| !e.is_empty());
    stage.etag = publish(&mut stage.alice, "alice", "presence", etag, &pidf("alice", "open", note))?;
    let notify = told(&mut stage.bob, "presence", &format!("<note>{note}</note>"))?;
    if notify.header("Call-ID") != Some(&stage.dialog.call_id) {
        return Err("the NOTIFY is not in the dialog of Bob's subscription".into());
    }
    if notify.cseq() <= stage.cseq {
        return Err(format!("the NOTIFY has CSeq {} after {}: a phone refuses it", notify.cseq(), stage.cseq));
    }
    stage.cseq = notify.cseq();
    Ok(())
}

fn restart(stage: &mut Stage) -> Outcome {
    let status = stage.server.try_stop()?;
    if !status.success() {
        return Err(format!("the server ended with {status}"));
    }
    println!("   The server is stopped. Its database holds");
    let columns =
        ["presentity_uri, event, status, local_cseq FROM active_watchers", "username, event, etag FROM presentity"];
    for columns in columns {
        let rows = sqlite::run(&stage.server.database_file(), &format!("SELECT {columns}"));
        let table = columns.split(' ').next_back().unwrap_or_default();
        rows.iter().for_each(|row| println!("      {table}: {row}"));
        if rows.len() != 1 {
            return Err(format!("there should be one row in {table}, and there are {}", rows.len()));
        }
    }
    stage.server.try_start_again().map_err(|log| format!("the server did not start again:\n{log}"))?;
    println!("   The server is started again.");
    follow(stage, "back again")?;
    subscribe(&mut stage.bob, &mut stage.dialog)?;
    Ok("subscription and publication were restored: Bob has the document, and his refresh is accepted".into())
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
