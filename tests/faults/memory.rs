//! Shared memory runs out under real requests: what needs memory is put off, what is there stays, and when something
//! goes everything works again.

use crate::is_put_off;
use testkit::phone::{Dialog, pidf};
use testkit::{Kamailio, Phone};

/// Without transactions: they need more memory than the module does, and the host would refuse requests before it.
const ROUTES: &str = r#"
request_route {
    if (is_method("OPTIONS")) { sl_send_reply("200", "OK"); exit; }
    if (is_method("PUBLISH")) { handle_publish(); exit; }
    if (is_method("SUBSCRIBE")) { handle_subscribe(); exit; }
}
"#;

#[test]
fn without_shared_memory_requests_are_put_off_until_there_is_some() {
    let mut server = Kamailio::builder()
        .memory(12, 8)
        .debug(-1)
        .children(2)
        .packages(&["presence_xml"])
        .routes(ROUTES)
        // What ended is given back soon.
        .extra("modparam(\"tm\", \"wt_timer\", 200)")
        .start();
    let mut watcher = Phone::new("watcher", server.port);
    let mut dialog = watcher.subscribe("early", "presence", 600);
    watcher.notify();
    let mut client = Phone::new("client", server.port);
    let large = "n".repeat(6000);
    let (mut kept, mut put_off) = (Vec::new(), 0);
    while put_off < 50 {
        let user = format!("u{}", kept.len());
        let reply = client.publish_for(&user, "presence", None, Some(600), &pidf(&user, "open", &large));
        if is_put_off(&reply, &user) {
            put_off += 1;
        } else {
            kept.push((user, reply.header("SIP-ETag").expect("a tag").to_owned()));
        }
    }
    println!("{} publications fit", kept.len());
    assert!(kept.len() > 50, "hardly anything fits");
    // New watchers fit into what is left, until they do not either. (Their NOTIFYs may find no room.)
    let (mut watchers, mut put_off) = (0, 0);
    while put_off < 20 {
        let user = format!("v{}", watchers % 7);
        let reply = watcher.resubscribe(&mut Dialog::new(&user, "presence"), 600);
        if is_put_off(&reply, &user) {
            put_off += 1;
        } else {
            watchers += 1;
        }
        assert!(watchers < 100_000, "memory does not run out");
    }
    println!("and {watchers} watchers");
    assert!(server.is_running());
    // What ends gives its memory back.
    for (user, tag) in &kept {
        let reply = client.publish_for(user, "presence", Some(tag), Some(0), "");
        assert_eq!(reply.code(), 200, "{user}: {reply:?}");
    }
    // Everything works as before: the old watcher, and new ones.
    watcher.inbox.clear();
    assert_eq!(watcher.resubscribe(&mut dialog, 600).code(), 200);
    let reply = client.publish_for("early", "presence", None, Some(600), &pidf("early", "open", "again"));
    assert_eq!(reply.code(), 200, "{reply:?}");
    testkit::wait_for("the state", 5.0, || watcher.notify_within(1.0)?.body.contains("again").then_some(()));
    let again = kept.len() / 2;
    for (user, _) in &kept[..again] {
        let reply = client.publish_for(user, "presence", None, Some(600), &pidf(user, "open", &large));
        assert_eq!(reply.code(), 200, "{reply:?}");
    }
    // Every list is whole, and nothing was left behind.
    assert_eq!(server.status("parts_skipped"), 0);
    assert_eq!(server.status("publications"), again as i64 + 1);
    assert!(server.stop().success());
}
