//! Drivers without SQL: what works with them, and what is refused when the server starts.

use crate::modes::serve;
use crate::restart::Pair;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use testkit::phone::pidf;
use testkit::{Builder, Kamailio, Phone};

/// A server with another driver than testkit knows.
fn server(driver: &str, more: &str, url: &str, publ: u8, subs: u8) -> Builder {
    let quoted = format!("\"{url}\"");
    Kamailio::builder()
        .before(&format!("loadmodule \"{driver}.so\"\n{more}"))
        .param("db_url", &quoted)
        .extra(&format!("modparam(\"presence_xml\", \"db_url\", {quoted})"))
        .param("publ_cache", publ)
        .param("subs_db_mode", subs)
}

/// A copy of the tables as Debian ships them, gone when dropped.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let folder = Path::new("/dev/shm").join(format!("presence-test-{}-{name}", std::process::id()));
        let tables = testkit::kamailio::schemas().join("dbtext/kamailio");
        let copied = Command::new("cp").arg("-r").arg(tables).arg(&folder).status();
        assert!(copied.expect("runs cp").success());
        Self(folder)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[test]
fn text_files_serve_in_every_mode_and_outlive_the_server() {
    for publ in 0..=2 {
        for subs in 1..=3 {
            let what = format!("db_text, publ_cache {publ}, subs_db_mode {subs}");
            let folder = Folder::new(&format!("text{publ}{subs}"));
            // Without this the driver cannot load a table again that has an empty text in it.
            let empty = "modparam(\"db_text\", \"emptystring\", 1)";
            let mut server = server("db_text", empty, &format!("text://{}", folder.0.display()), publ, subs).start();
            serve(&server, &what);
            if publ < 2 {
                let mut pair = Pair::meet(&server);
                pair.go_on();
                server.restart();
                pair.go_on();
                pair.part();
            }
            assert!(server.stop().success(), "{what}");
            let errors: Vec<String> =
                server.log_lines("ERROR").into_iter().filter(|l| l.contains("presence")).collect();
            assert!(errors.is_empty(), "{what}: {errors:?}");
        }
    }
}

/// A Redis of the test's own.
struct Redis(Child, u16);

impl Redis {
    fn start() -> Self {
        let port = testkit::place::free_port();
        let mut server = Command::new("redis-server");
        server.args(["--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--port", &port.to_string()]);
        let child = server.stdout(Stdio::null()).spawn().expect("runs redis-server");
        testkit::wait_for("Redis answers", 10.0, || std::net::TcpStream::connect(("127.0.0.1", port)).ok());
        Self(child, port)
    }

    fn server(&self, publ: u8, subs: u8) -> Builder {
        let keys = [
            "version=entry:table_name",
            "presentity=entry:ruid&user:username,domain,event",
            "active_watchers=entry:callid,to_tag,from_tag&expires:expires",
            "watchers=entry:presentity_uri,watcher_username,watcher_domain,event&time:inserted_time",
        ];
        let keys = keys.map(|k| format!("modparam(\"db_redis\", \"keys\", \"{k}\")")).join("\n");
        server("db_redis", &keys, &format!("redis://127.0.0.1:{}/0", self.1), publ, subs)
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The version of the tables, which Kamailio's own script for Redis would put there.
fn with_versions(redis: &Redis) {
    for (table, version) in [("presentity", "5"), ("active_watchers", "12"), ("watchers", "3")] {
        let mut set = Command::new("redis-cli");
        set.args(["-p", &redis.1.to_string(), "HSET", &format!("version:entry::{table}"), "table_version", version]);
        assert!(set.stdout(Stdio::null()).status().expect("runs redis-cli").success());
    }
}

#[test]
fn redis_keeps_subscriptions_beside_publications_in_memory() {
    for subs in [1, 2] {
        let what = format!("db_redis, subs_db_mode {subs}");
        let redis = Redis::start();
        with_versions(&redis);
        let mut server = redis.server(2, subs).start();
        serve(&server, &what);
        let mut bob = Phone::new("bob", server.port);
        let mut dialog = bob.subscribe("alice", "presence", 600);
        let first = bob.notify();
        bob.listen(std::time::Duration::from_millis(50));
        server.restart();
        let mut alice = Phone::new("alice", server.port);
        assert_eq!(alice.publish("presence", None, Some(600), &pidf("alice", "open", "again")).code(), 200, "{what}");
        let told = bob.notify();
        assert!(told.body.contains("again") && told.cseq() > first.cseq(), "{what}: {told:?}");
        assert_eq!(bob.resubscribe(&mut dialog, 0).code(), 200, "{what}");
        assert!(bob.notify().state().starts_with("terminated"), "{what}");
        bob.listen(std::time::Duration::from_millis(50));
        server.restart();
        assert_eq!(bob.resubscribe(&mut dialog, 600).code(), 481, "{what}: an ended subscription came back");
        assert!(server.stop().success(), "{what}");
    }
}

#[test]
fn what_redis_cannot_do_is_refused_with_a_sentence() {
    let redis = Redis::start();
    with_versions(&redis);
    for (publ, subs, named) in [(0, 1, "publ_cache is 0"), (1, 2, "publ_cache is 1"), (2, 3, "subs_db_mode is 3")] {
        let log = redis.server(publ, subs).try_start().err().unwrap_or_else(|| panic!("{publ}, {subs}: it started"));
        let said = log.lines().any(|line| line.contains(&format!("modparam {named}")) && line.contains("db_redis"));
        assert!(said, "publ_cache {publ}, subs_db_mode {subs}:\n{log}");
    }
}
