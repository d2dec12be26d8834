//! Gives the crate a name of everything that decides what the recompiler emits, so that code which another
//! version left on disk is not taken for this one's: `JAVM_EXEC_SOURCES`, a hash of the sources of this crate
//! and of those below it.

use std::{
    env, fs,
    hash::{DefaultHasher, Hash as _, Hasher as _},
    io,
    path::{Path, PathBuf},
};

/// Folders, from this crate's.
const SOURCES: [&str; 4] = ["src", "../javm-gas/src", "../javm-isa/src", "../javm-sys/src"];

fn main() -> io::Result<()> {
    let root = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").unwrap_or_default());
    let mut hasher = DefaultHasher::new();
    for folder in SOURCES {
        println!("cargo:rerun-if-changed={folder}");
        for file in files(&root.join(folder))? {
            file.strip_prefix(&root).unwrap_or(&file).hash(&mut hasher);
            fs::read(&file)?.hash(&mut hasher);
        }
    }
    println!("cargo:rustc-env=JAVM_EXEC_SOURCES={:016x}", hasher.finish());
    Ok(())
}

/// The files in a folder and in those inside it, in order.
fn files(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let (mut found, mut folders) = (Vec::new(), vec![folder.to_owned()]);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder)? {
            let path = entry?.path();
            if path.is_dir() { folders.push(path) } else { found.push(path) }
        }
    }
    found.sort();
    Ok(found)
}
