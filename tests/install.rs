//! `scripts/swap.sh` (`make install`, `make uninstall`) on a copy of Kamailio's module folder.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use testkit::kamailio::{modules, stock};
use testkit::phone::pidf;
use testkit::{Builder, Kamailio, Module, Phone};

/// A module folder of its own, removed when dropped.
struct Folder(PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// What a run of the script said, and whether it succeeded.
struct Said {
    done: bool,
    text: String,
}

impl Folder {
    /// A folder with this presence.so, if any.
    fn new(name: &str, presence: Option<&[u8]>) -> Self {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("modules-{name}"));
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder).expect("a folder");
        let folder = Self(folder);
        if let Some(presence) = presence {
            folder.write("presence.so", presence);
        }
        folder
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    fn write(&self, name: &str, content: &[u8]) {
        fs::write(self.path(name), content).expect("writes");
    }

    fn read(&self, name: &str) -> Option<Vec<u8>> {
        fs::read(self.path(name)).ok()
    }

    /// Everything that is in it.
    fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(&self.0).expect("a folder").flatten();
        let mut names: Vec<String> = entries.map(|e| e.file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        names
    }

    fn swap(&self, action: &str, so: &Path) -> Said {
        let script = testkit::root().join("scripts/swap.sh");
        let output = Command::new("sh").arg(script).arg(action).arg(so).arg(&self.0).output().expect("runs sh");
        let text = [output.stdout, output.stderr].concat();
        Said { done: output.status.success(), text: String::from_utf8_lossy(&text).into_owned() }
    }

    /// Runs the script, which must succeed.
    fn install(&self, so: &Path) -> String {
        let said = self.swap("install", so);
        assert!(said.done, "{}", said.text);
        said.text
    }

    fn uninstall(&self) -> String {
        let said = self.swap("uninstall", Path::new("unused.so"));
        assert!(said.done, "{}", said.text);
        said.text
    }
}

/// This project's module, whatever module the other tests run with.
fn ours() -> PathBuf {
    match Module::from_env() {
        Module::Stock => testkit::root().join("target/release/presence.so"),
        ours @ Module::Ours(_) => ours.path(),
    }
}

fn content(so: &Path) -> Vec<u8> {
    fs::read(so).unwrap_or_else(|e| panic!("{}: {e}: run make build", so.display()))
}

const STOCK: &[u8] = b"Kamailio's own";
const NEWER: &[u8] = b"Kamailio's own, newer";

#[test]
fn the_stock_module_is_kept_and_comes_back() {
    let folder = Folder::new("back", Some(STOCK));
    fs::set_permissions(folder.path("presence.so"), fs::Permissions::from_mode(0o640)).expect("a mode");
    folder.install(&ours());
    assert_eq!(folder.read("presence.so"), Some(content(&ours())));
    assert_eq!(fs::metadata(folder.path("presence.so")).expect("there").permissions().mode() & 0o777, 0o644);
    assert_eq!(folder.read("presence.so.stock").as_deref(), Some(STOCK));
    folder.uninstall();
    assert_eq!(folder.read("presence.so").as_deref(), Some(STOCK));
    assert_eq!(fs::metadata(folder.path("presence.so")).expect("there").permissions().mode() & 0o777, 0o640);
    assert_eq!(folder.names(), ["presence.so"]);
}

#[test]
fn a_second_install_keeps_the_stock_module() {
    let folder = Folder::new("second", Some(STOCK));
    folder.install(&ours());
    assert!(folder.install(&ours()).contains("already"));
    // Another build of ours, over the first one.
    let other = folder.path("other.so");
    folder.write("other.so", &[content(&ours()), b"other".to_vec()].concat());
    folder.install(&other);
    assert_eq!(folder.read("presence.so"), folder.read("other.so"));
    assert_eq!(folder.read("presence.so.stock").as_deref(), Some(STOCK));
    assert_eq!(folder.names(), ["other.so", "presence.so", "presence.so.stock"]);
}

#[test]
fn after_an_upgrade_of_the_package_the_newer_stock_module_is_kept() {
    let folder = Folder::new("upgrade", Some(STOCK));
    folder.install(&ours());
    folder.write("presence.so", NEWER);
    assert!(folder.install(&ours()).contains("upgrade"));
    assert_eq!(folder.read("presence.so.stock").as_deref(), Some(NEWER));
    folder.uninstall();
    assert_eq!(folder.read("presence.so").as_deref(), Some(NEWER));
}

#[test]
fn uninstall_after_an_upgrade_of_the_package_leaves_the_newer_one() {
    let folder = Folder::new("upgraded", Some(STOCK));
    folder.install(&ours());
    folder.write("presence.so", NEWER);
    assert!(folder.uninstall().contains("already"));
    assert_eq!(folder.read("presence.so").as_deref(), Some(NEWER));
    assert_eq!(folder.names(), ["presence.so"]);
    folder.uninstall();
}

#[test]
fn an_install_goes_on_where_the_package_was_removed() {
    let folder = Folder::new("removed", Some(STOCK));
    folder.install(&ours());
    fs::remove_file(folder.path("presence.so")).expect("removes");
    folder.install(&ours());
    assert_eq!(folder.read("presence.so.stock").as_deref(), Some(STOCK));
    fs::remove_file(folder.path("presence.so")).expect("removes");
    folder.uninstall();
    assert_eq!(folder.read("presence.so").as_deref(), Some(STOCK));
}

#[test]
fn errors_are_sentences_and_touch_nothing() {
    let empty = Folder::new("empty", None);
    let full = Folder::new("full", Some(STOCK));
    let missing = Folder(full.path("nowhere"));
    let stock = full.path("presence.so");
    let cases = [
        ("install", &empty, ours(), "no presence.so"),
        ("install", &missing, ours(), "no folder"),
        ("install", &full, full.path("none.so"), "make build"),
        ("install", &full, stock.clone(), "not this project's module"),
        ("remove", &full, ours(), "usage"),
        ("uninstall", &empty, ours(), "reinstall the package"),
    ];
    for (action, folder, so, sentence) in cases {
        let said = folder.swap(action, &so);
        assert!(
            !said.done && said.text.starts_with("error: ") && said.text.contains(sentence),
            "{action}: {}",
            said.text
        );
    }
    assert_eq!(empty.names(), [""; 0]);
    assert_eq!(full.names(), ["presence.so"]);
    assert_eq!(full.read("presence.so").as_deref(), Some(STOCK));
}

#[test]
fn without_a_kept_file_the_way_back_is_named_and_ours_stays() {
    let folder = Folder::new("alone", Some(&content(&ours())));
    assert!(folder.install(&ours()).contains("reinstall the package"));
    let said = folder.swap("uninstall", &ours());
    assert!(!said.done && said.text.contains("reinstall the package"), "{}", said.text);
    assert_eq!(folder.read("presence.so"), Some(content(&ours())));
}

/// The server that loads `presence.so` from the folder, by its name.
fn server(folder: &Folder) -> Builder {
    Kamailio::builder().modules(&folder.0).module(Module::Ours("presence.so".into()))
}

fn serves(server: &Kamailio) {
    let (mut alice, mut bob) = (Phone::new("alice", server.port), Phone::new("bob", server.port));
    bob.subscribe("alice", "presence", 600);
    bob.notify();
    assert_eq!(alice.publish("presence", None, Some(600), &pidf("alice", "open", "here")).code(), 200);
    assert!(bob.notify().body.contains("<note>here</note>"));
}

/// The presence.so that the server's processes have mapped.
fn mapped(server: &Kamailio) -> Vec<u8> {
    let maps = fs::read_to_string(format!("/proc/{}/maps", server.pid())).expect("a running server");
    let path = maps.lines().filter_map(|l| l.split_whitespace().nth(5)).find(|p| p.ends_with("/presence.so"));
    content(Path::new(path.unwrap_or_else(|| panic!("no presence.so in\n{maps}"))))
}

#[test]
fn kamailio_loads_what_is_installed_and_the_stock_module_after_that() {
    let folder = Folder::new("real", None);
    for entry in fs::read_dir(modules()).expect("Kamailio's modules").flatten() {
        symlink(entry.path(), folder.path(&entry.file_name().to_string_lossy())).expect("a link");
    }
    // The module itself is a file, as the package brings it.
    let _ = fs::remove_file(folder.path("presence.so.stock"));
    fs::remove_file(folder.path("presence.so")).expect("a link");
    let stock = content(&stock());
    folder.write("presence.so", &stock);
    for (step, expected) in [("install", content(&ours())), ("uninstall", stock)] {
        let said = folder.swap(step, &ours());
        assert!(said.done, "{}", said.text);
        let server = server(&folder).start();
        assert!(mapped(&server) == expected, "after {step} another presence.so is loaded");
        serves(&server);
    }
}
