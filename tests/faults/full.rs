//! The disk is full: the kernel refuses to let the files grow (RLIMIT_FSIZE), and later has room again.

use crate::whole::is_whole;
use crate::{MODES, SQLITE, is_put_off, server};
use std::fs;
use std::process::Command;
use testkit::phone::{Dialog, pidf};
use testkit::{Kamailio, Phone};

/// How far the files of the server's processes may grow.
fn limit(server: &Kamailio, bytes: &str) {
    for pid in server.pids() {
        let mut prlimit = Command::new("prlimit");
        prlimit.arg(format!("--pid={pid}")).arg(format!("--fsize={bytes}:unlimited"));
        assert!(prlimit.status().expect("runs prlimit").success(), "{prlimit:?}");
    }
}

fn largest_file(server: &Kamailio) -> u64 {
    let file = server.database_file();
    let length = |end: &str| fs::metadata(format!("{}{end}", file.display())).map_or(0, |m| m.len());
    length("").max(length("-wal"))
}

#[test]
fn a_full_disk_puts_writers_off_until_there_is_room() {
    for (publ, subs) in MODES {
        let what = format!("publ_cache {publ}, subs_db_mode {subs}");
        // Otherwise a write beyond the limit ends the process.
        let mut server = server(&SQLITE, publ, subs).under("env --ignore-signal=XFSZ").start();
        let mut alice = Phone::new("alice", server.port);
        let mut bob = Phone::new("bob", server.port);
        let mut dialogs = vec![bob.subscribe("alice", "presence", 600)];
        let reply = alice.publish("presence", None, Some(600), &pidf("alice", "open", "before"));
        let mut etag = reply.header("SIP-ETag").expect("a tag").to_owned();
        limit(&server, &largest_file(&server).to_string());
        let mut put_off = [0; 2];
        for round in 0..20 {
            // Long: the file would have to grow.
            let body = pidf("alice", "open", &format!("{round}{}", "x".repeat(3000)));
            let reply = alice.publish("presence", Some(&etag), Some(600), &body);
            put_off[0] += u32::from(is_put_off(&reply, &what));
            if let Some(tag) = reply.header("SIP-ETag") {
                etag = tag.to_owned();
            }
            let mut dialog = Dialog::new("alice", "presence");
            let reply = bob.resubscribe(&mut dialog, 600);
            if is_put_off(&reply, &what) {
                put_off[1] += 1;
            } else {
                dialog.to_tag = reply.to_tag().to_owned();
                dialogs.push(dialog);
            }
        }
        println!("{what}: {put_off:?} of 20 requests were put off");
        assert_eq!(put_off.map(|n| n > 0), [publ != 2, subs != 2], "{what}: {put_off:?}");
        limit(&server, "unlimited");
        let reply = alice.publish("presence", Some(&etag), Some(600), &pidf("alice", "open", "afterwards"));
        assert_eq!(reply.code(), 200, "{what}: {reply:?}");
        for dialog in &mut dialogs {
            assert_eq!(bob.resubscribe(dialog, 600).code(), 200, "{what}: {dialog:?}");
        }
        let _ = server.rpc(&["presence.cleanup"]);
        assert_eq!(is_whole(&server, false, &what), dialogs.len(), "{what}");
        assert_eq!(server.tables().run("PRAGMA integrity_check"), ["ok"], "{what}");
        assert!(server.is_running(), "{what}");
    }
}
