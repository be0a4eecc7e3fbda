//! Kamailio's own default configuration, `etc/kamailio.cfg`, unchanged: it finds the module under its usual name.

use crate::calls::{MODULES, Office};
use crate::client::register;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use testkit::phone::pidf;
use testkit::{Builder, Database, Kamailio, Module, Phone, sqlite};

/// Kamailio's modules, with the tested one in the place of `presence.so`.
fn modules(folder: &Path) -> PathBuf {
    let modules = folder.join("modules");
    std::fs::create_dir_all(&modules).expect("a folder");
    for entry in std::fs::read_dir(testkit::kamailio::modules()).expect("the modules") {
        let entry = entry.expect("a module");
        if entry.file_name() != "presence.so" {
            symlink(entry.path(), modules.join(entry.file_name())).expect("a link");
        }
    }
    symlink(Module::from_env().path(), modules.join("presence.so")).expect("a link");
    modules
}

/// A folder that is removed with this.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("default-{}", testkit::phone::unique()));
        std::fs::create_dir_all(&path).expect("a folder");
        Self(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Starts a configuration file with presence and SQLite. The file chooses neither place nor driver: they come by the
/// command line.
fn start(folder: &Folder, file: &Path) -> Kamailio {
    let (database, port) = (folder.0.join("kamailio.sqlite"), testkit::kamailio::free_port());
    sqlite::create(&database, "WAL");
    let builder: Builder = Kamailio::builder().modules(modules(&folder.0)).file(file).port(port);
    builder
        .define("WITH_PRESENCE", "yes")
        .define("DBURL", &format!("\"sqlite:///{}\"", database.display()))
        .argument("--loadmodule=db_sqlite.so")
        .argument("-l")
        .argument(&format!("udp:127.0.0.1:{port}"))
        .database(Database::SqliteFile(database))
        .start()
}

fn phone(user: &str, server: &Kamailio) -> Phone {
    let mut phone = Phone::new(user, server.port);
    phone.domain = format!("127.0.0.1:{}", server.port);
    phone
}

#[test]
fn the_default_configuration_serves_presence() {
    let folder = Folder::new();
    let mut server = start(&folder, &testkit::kamailio::source().join("etc/kamailio.cfg"));
    let (mut alice, mut bob) = (phone("alice", &server), phone("bob", &server));
    register(&mut alice, "alice", 1, 600);
    register(&mut bob, "bob", 1, 600);
    let mut dialog = bob.subscribe("alice", "presence", 600);
    assert_eq!(bob.notify().body, "");
    let reply = alice.publish("presence", None, Some(600), &pidf("alice", "open", "here"));
    assert_eq!(reply.code(), 200, "{reply:?}");
    assert!(bob.notify().body.contains("<note>here</note>"));
    assert_eq!(bob.resubscribe(&mut dialog, 600).code(), 200);
    assert!(bob.notify().state().starts_with("active"));
    assert_eq!(bob.resubscribe(&mut dialog, 0).code(), 200);
    assert!(bob.notify().state().starts_with("terminated"));
    assert_eq!(sqlite::number(&server.database_file(), "SELECT count(*) FROM presentity"), 1);
    assert!(server.stop().success());
}

/// The publications of both ends of a call come at once, to two of eight workers: with SQLite, the C module refuses one of
/// them where the file is busy.
#[test]
fn with_busy_lamps_appended_it_shows_calls() {
    let folder = Folder::new();
    let default = testkit::kamailio::source().join("etc/kamailio.cfg");
    // The default configuration sets flag 1 for calls that are accounted.
    let file = format!(
        "include_file \"{}\"\nloadmodule \"presence_dialoginfo.so\"\nloadmodule \"pua.so\"\n\
         modparam(\"pua\", \"db_url\", DBURL)\n{MODULES}\nmodparam(\"dialog\", \"dlg_flag\", 1)\n",
        default.display()
    );
    let path = folder.0.join("kamailio.cfg");
    std::fs::write(&path, file).expect("writes");
    let server = start(&folder, &path);
    Office::of(&server, &format!("127.0.0.1:{}", server.port)).calls();
}
