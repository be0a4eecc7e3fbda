//! Tables of subscriptions that a module keeps for itself (`tests/abi/book.h`), and their rows in its database.

use crate::{ask, builder};
use testkit::{Kamailio, Phone, sqlite, wait_for};

/// The flags of a record (`modules/pua/hash.h`).
const WRITTEN: i32 = 1;
const CHANGED: i32 = 2;
const NEW: i32 = 4;

/// A server whose caller keeps its table in this table of a database of its own.
fn start(table: &str) -> (Kamailio, std::path::PathBuf) {
    start_with(table, |builder| builder)
}

fn start_with(table: &str, more: impl FnOnce(testkit::Builder) -> testkit::Builder) -> (Kamailio, std::path::PathBuf) {
    let name = format!("presence-test-book-{}-{}", std::process::id(), testkit::phone::unique());
    let folder = std::path::Path::new("/dev/shm").join(name);
    std::fs::create_dir_all(&folder).expect("a folder");
    let file = folder.join("db.sqlite");
    sqlite::create(&file, "WAL");
    let params = format!(
        "modparam(\"caller\", \"db_url\", \"sqlite:///{}\")\nmodparam(\"caller\", \"table\", \"{table}\")",
        file.display()
    );
    (more(builder().before("loadmodule \"db_sqlite.so\"").extra(&params)).start(), file)
}

fn clean(server: Kamailio, file: &std::path::Path) {
    drop(server);
    let _ = file.parent().map(std::fs::remove_dir_all);
}

fn enter(server: &Kamailio, call: &str, contact: &str, expires: i32, flag: i32) {
    let (contact, expires, flag) = (format!("s:{contact}"), expires.to_string(), flag.to_string());
    assert_eq!(ask(server, &["caller.enter", call, &contact, &expires, &flag]), "0");
}

fn change(server: &Kamailio, call: &str, contact: &str, expires: i32) -> String {
    ask(server, &["caller.change", call, &format!("s:{contact}"), &expires.to_string()])
}

fn flush(server: &Kamailio, no_lock: bool, answer: i32) -> String {
    ask(server, &["caller.flush", &i32::from(no_lock).to_string(), &answer.to_string()])
}

fn walk(server: &Kamailio) -> Vec<String> {
    ask(server, &["caller.walk"]).lines().map(|line| line.trim().to_owned()).filter(|l| !l.is_empty()).collect()
}

/// The record of a call.
fn record(server: &Kamailio, call: &str) -> String {
    let all = walk(server);
    all.iter()
        .find(|line| line.starts_with(&format!("{call} ")))
        .unwrap_or_else(|| panic!("no {call} in {all:?}"))
        .clone()
}

/// Rows follow the flags; what has expired is told, and its row is deleted.
fn follows_the_flags(table: &str) {
    let (server, file) = start(table);
    let rows = |columns: &str| sqlite::run(&file, &format!("SELECT {columns} FROM {table} ORDER BY callid"));
    enter(&server, "call-a", "sip:a@here", 600, NEW);
    enter(&server, "call-b", "sip:b@here", 600, 0);
    assert_eq!(flush(&server, false, 0), "expired=0");
    // Only what is marked as new is written.
    assert_eq!(
        rows(
            "callid, to_tag, from_tag, presentity_uri, to_user, watcher_username, from_user, event, contact, \
              local_contact, socket_info, status, version, updated, expires - strftime('%s', 'now') > 590"
        ),
        ["call-a|to-1|from-1|sip:list@test.local|list|bob|bob|memo|sip:a@here|sip:server@test.local|\
          udp:127.0.0.1:5060|1|1|-1|1"]
    );
    assert!(record(&server, "call-a").contains(&format!("flag={WRITTEN} ")));

    // A SUBSCRIBE in the dialog marks the record; the next flush writes it.
    assert_eq!(change(&server, "call-a", "sip:a@there", 900), format!("0 cseq=0 version=1 flag={WRITTEN}"));
    assert!(record(&server, "call-a").contains(&format!("flag={CHANGED} ")));
    assert_eq!(flush(&server, false, 0), "expired=0");
    assert_eq!(rows("contact, remote_cseq, expires - strftime('%s', 'now') > 890"), ["sip:a@there|42|1"]);
    // A NOTIFY counts on.
    assert_eq!(change(&server, "call-a", "sip:a@there", 0), format!("0 cseq=1 version=2 flag={WRITTEN}"));
    assert_eq!(flush(&server, false, 0), "expired=0");
    assert_eq!(rows("local_cseq, version, remote_cseq"), ["1|2|42"]);

    // What has expired is told to the owner, whatever that answers, and its row is deleted.
    enter(&server, "call-c", "sip:c@here", 0, 0);
    sqlite::run(&file, &format!("UPDATE {table} SET expires = 5"));
    let told = |no_lock| {
        wait_for("the end of a subscription", 5.0, || {
            let answer = flush(&server, no_lock, 1);
            (walk(&server).len() == 2).then_some(answer)
        })
    };
    assert_eq!(told(false), "expired=1");
    assert_eq!(server.log_lines("expired call-c at sip:c@here").len(), 1);
    assert!(rows("callid").is_empty());
    assert_eq!(walk(&server).len(), 2);
    // On the way down nobody is told.
    enter(&server, "call-d", "sip:d@here", 0, 0);
    assert_eq!(told(true), "expired=0");

    assert_eq!(ask(&server, &["caller.leave", "call-a"]), "2");
    assert_eq!(ask(&server, &["caller.leave", "call-a"]), "-1");
    assert_eq!(change(&server, "call-a", "sip:a@here", 60).split(' ').next(), Some("-1"));
    clean(server, &file);
}

#[test]
fn rows_of_active_watchers_follow_the_flags() {
    follows_the_flags("active_watchers");
}

/// Kamailio's own module fails here: it writes `updated_winfo` and `user_agent`, which `rls_watchers` does not have.
#[test]
fn rows_of_rls_watchers_follow_the_flags() {
    follows_the_flags("rls_watchers");
}

#[test]
fn what_could_not_be_written_stays_marked() {
    let (server, file) = start("active_watchers");
    for n in 0..100 {
        enter(&server, &format!("call-{n}"), "sip:a@here", 600, NEW);
    }
    sqlite::run(&file, "ALTER TABLE active_watchers RENAME TO away");
    assert_eq!(flush(&server, false, 0), "expired=0");
    assert!(!server.log_lines("ERROR").is_empty());
    assert!(walk(&server).iter().all(|line| line.contains(&format!("flag={NEW} "))), "{:?}", walk(&server));
    sqlite::run(&file, "ALTER TABLE away RENAME TO active_watchers");
    assert_eq!(flush(&server, false, 0), "expired=0");
    assert_eq!(sqlite::number(&file, "SELECT count(*) FROM active_watchers"), 100);
    clean(server, &file);
}

#[test]
fn a_record_that_grows_and_shrinks_keeps_its_texts() {
    let (server, file) = start("active_watchers");
    enter(&server, "call-a", "sip:a@here", 600, 0);
    for contact in ["sip:a-longer-one@somewhere.else.test:5070;transport=udp", "sip:a@b", "sip:a@h", "sip:again@here"] {
        assert!(change(&server, "call-a", contact, 600).starts_with("0 "));
        let line = record(&server, "call-a");
        assert!(line.starts_with(&format!("call-a {contact} ")) && !line.contains("not found"), "{line}");
    }
    clean(server, &file);
}

#[test]
fn a_subscription_of_the_same_call_replaces_the_older_one_if_that_is_wanted() {
    let (server, file) = start_with("active_watchers", |builder| builder.param("delete_same_subs", 1));
    enter(&server, "call-a", "sip:a@here", 600, 0);
    enter(&server, "call-a", "sip:b@here", 600, 0);
    assert_eq!(walk(&server).len(), 1);
    assert!(record(&server, "call-a").contains("sip:b@here"));
    clean(server, &file);
}

/// Each MESSAGE keeps a worker busy with records of its own in the lists that all share.
const CHURN: &str = r#"
request_route {
    if (is_method("OPTIONS")) { sl_send_reply("200", "OK"); exit; }
    if (caller_churn()) sl_send_reply("200", "OK"); else sl_send_reply("500", "Failed");
}
"#;

#[test]
fn many_processes_may_use_a_table_and_nothing_is_left() {
    let (mut server, file) = start_with("active_watchers", |builder| {
        // All dialogs have the same To tag: the C module otherwise takes the first that it finds.
        builder.children(4).routes(CHURN).param("subs_remove_match", 1)
    });
    let round = |server: &Kamailio| {
        let mut phones: Vec<Phone> = (0..4).map(|n| Phone::new(&format!("phone{n}"), server.port)).collect();
        std::thread::scope(|scope| {
            let busy: Vec<_> = phones
                .iter_mut()
                .map(|phone| {
                    let uri = phone.uri_of("list");
                    let call = testkit::phone::unique();
                    let request = phone.request("MESSAGE", &uri, &uri, &uri, ("tag", ""), &call, 1, &[], "");
                    scope.spawn(move || phone.ask(&request).code())
                })
                .collect();
            while !busy.iter().all(|b| b.is_finished()) {
                assert_eq!(flush(server, false, 0), "expired=0");
                assert!(walk(server).iter().all(|line| !line.contains("not found")));
            }
            for answer in busy {
                assert_eq!(answer.join().expect("an answer"), 200);
            }
        });
        // A request that was sent again may keep a worker busy for a moment longer.
        wait_for("empty lists", 5.0, || walk(server).is_empty().then_some(()));
    };
    round(&server);
    let before = server.shm_used();
    round(&server);
    let more = server.shm_used() - before;
    assert!(more < 1024, "{more} bytes of shared memory");
    assert!(server.is_running());
    clean(server, &file);
}
