//! Kamailio's own default configuration, `etc/kamailio.cfg`, unchanged, or with busy lamps: it finds the module under its usual name.

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

/// A configuration file with presence that listens at a port which it does not choose itself.
fn at_a_port(folder: &Folder, file: &Path) -> Builder {
    let port = testkit::kamailio::free_port();
    let builder = Kamailio::builder().modules(modules(&folder.0)).file(file).port(port);
    builder.define("WITH_PRESENCE", "yes").argument("-l").argument(&format!("udp:127.0.0.1:{port}"))
}

/// With SQLite, whose driver is no choice of the file.
fn with_sqlite(folder: &Folder, file: &Path) -> Kamailio {
    let database = folder.0.join("kamailio.sqlite");
    sqlite::create(&database, "WAL");
    let url = format!("\"sqlite:///{}\"", database.display());
    let builder = at_a_port(folder, file).define("DBURL", &url).argument("--loadmodule=db_sqlite.so");
    builder.database(Database::SqliteFile(database)).start()
}

/// With MariaDB, as the file has it.
fn with_mariadb(folder: &Folder, file: &Path) -> Kamailio {
    let tables = Database::MariaDb.tables(&folder.0).expect("a MariaDB").expect("its tables");
    let builder = at_a_port(folder, file).define("WITH_MYSQL", "yes").define("DBURL", &format!("\"{}\"", tables.url()));
    builder.database(Database::At(tables)).start()
}

fn default_file() -> PathBuf {
    testkit::kamailio::source().join("etc/kamailio.cfg")
}

/// The default configuration with busy lamps: the modules, and one line where it marks the calls that it would account.
fn with_lamps(folder: &Folder) -> PathBuf {
    let mut file = std::fs::read_to_string(default_file()).expect("the default configuration");
    let modules = format!(
        "loadmodule \"presence_dialoginfo.so\"\nloadmodule \"pua.so\"\nmodparam(\"pua\", \"db_url\", DBURL)\n{MODULES}\n"
    );
    for (here, there) in [
        ("\nrequest_route {\n", format!("\n{modules}request_route {{\n")),
        ("setflag(FLT_ACC); # do accounting\n", "setflag(FLT_ACC);\ndlg_manage();\n".to_owned()),
    ] {
        assert!(file.contains(here), "the default configuration has no {here}");
        file = file.replace(here, &there);
    }
    let path = folder.0.join("kamailio.cfg");
    std::fs::write(&path, file).expect("writes");
    path
}

fn phone(user: &str, server: &Kamailio) -> Phone {
    let mut phone = Phone::new(user, server.port);
    phone.domain = format!("127.0.0.1:{}", server.port);
    phone
}

/// Phones register, one watches the other to the end.
fn serves_presence(server: &Kamailio) {
    let (mut alice, mut bob) = (phone("alice", server), phone("bob", server));
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
}

fn shows_calls(server: &Kamailio) {
    Office::of(server, &format!("127.0.0.1:{}", server.port)).calls();
}

const PUBLICATIONS: &str = "SELECT count(*) FROM presentity";

#[test]
fn it_serves_presence_with_sqlite() {
    let folder = Folder::new();
    let mut server = with_sqlite(&folder, &default_file());
    serves_presence(&server);
    assert_eq!(sqlite::number(&server.database_file(), PUBLICATIONS), 1);
    assert!(server.stop().success());
}

#[test]
fn it_serves_presence_with_mariadb() {
    let folder = Folder::new();
    let mut server = with_mariadb(&folder, &default_file());
    serves_presence(&server);
    assert_eq!(server.tables().number(PUBLICATIONS), 1);
    assert!(server.stop().success());
}

/// The publications of both ends of a call come at once, to two of eight workers: the C module refuses one of them where
/// SQLite's file is busy.
#[test]
fn it_shows_calls_with_sqlite_once_busy_lamps_are_appended() {
    let folder = Folder::new();
    shows_calls(&with_sqlite(&folder, &with_lamps(&folder)));
}

#[test]
fn it_shows_calls_with_mariadb_once_busy_lamps_are_appended() {
    let folder = Folder::new();
    shows_calls(&with_mariadb(&folder, &with_lamps(&folder)));
}
