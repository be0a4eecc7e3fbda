//! Modules in C, built against the source tree of the host as `examples/c-module` shows it.

use std::path::{Path, PathBuf};
use std::process::Command;

/// Builds a module into a folder; panics with what the compiler says.
#[must_use]
pub fn build(source: &Path, folder: &Path) -> PathBuf {
    let root = crate::root();
    let tree = crate::kamailio::source();
    let setting = |name: &str, value: &Path| format!("{name}={}", value.display());
    let output = Command::new("make")
        .args(["-s", "-f"])
        .arg(root.join("examples/c-module/Makefile"))
        .args([setting("SOURCE", source), setting("OUT", folder), setting("KAMAILIO_SRC", &tree)])
        .env_remove("MAKEFLAGS")
        .env_remove("MAKELEVEL")
        .output()
        .expect("runs make");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{} does not compile:\n{said}", source.display());
    assert_eq!(said, "", "warnings about {}", source.display());
    folder.join(source.file_stem().expect("a file name")).with_extension("so")
}
