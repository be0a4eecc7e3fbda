//! Chooses the inputs of `states` that are kept: from two folders those, the shortest first, each of which reaches
//! something of the core that those before it did not. Leaves them in the second folder.

use fakehost::reached::Reached;
use fuzz_targets::states;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

fn files(folder: &Path) -> io::Result<Vec<PathBuf>> {
    fs::read_dir(folder)?.map(|entry| entry.map(|entry| entry.path())).collect()
}

fn main() -> io::Result<()> {
    let folders: Vec<PathBuf> = std::env::args_os().skip(1).map(PathBuf::from).collect();
    let [from, to] = folders.as_slice() else { return Err(io::Error::other("usage: choose FOLDER KEPT")) };
    let mut all = Vec::new();
    for path in files(from)?.into_iter().chain(files(to)?) {
        all.push((fs::read(&path)?, path));
    }
    all.sort_by_key(|(bytes, _)| bytes.len());
    let mut reached = Reached::default();
    let count = |reached: &Reached| {
        reached.subscriptions().reached + reached.publications().reached + reached.answers().reached
    };
    let mut chosen = Vec::new();
    for (bytes, path) in all {
        let before = count(&reached);
        reached.merge(&states(&bytes));
        if count(&reached) > before {
            chosen.push((bytes, path));
        }
    }
    for path in files(to)? {
        fs::remove_file(path)?;
    }
    for (bytes, path) in &chosen {
        fs::write(to.join(path.file_name().unwrap_or_default()), bytes)?;
    }
    println!("{} inputs chosen", chosen.len());
    Ok(())
}
