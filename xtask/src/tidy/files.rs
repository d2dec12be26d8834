//! Rules about single files.

use std::{
    fs,
    path::{Path, PathBuf},
};

use crate::{
    process::{Failure, root},
    source::{code_only, has_word},
};

/// The longest line of Rust, in characters: code is formatted to 110, what the formatter cannot break (literals,
/// comments) gets some room.
const MAX_LINE: usize = 130;

/// Where unsafe code may be: files, and folders with everything in them.
const UNSAFE_ROOMS: &[&str] = &[
    "crates/javm-sys/",
    "crates/javm-exec/src/jit/publish.rs",
    "guests/javm-guest/",
    // Its tests quote code that the macros refuse.
    "guests/javm-guest-macros/",
];

/// Tables: a row is a line, however long.
const TABLES: &[&str] =
    &["crates/javm-isa/src/table.rs", "crates/javm-abi/src/ops.rs", "crates/javm-exec/src/interp/ops.rs"];

/// Macros of unfinished work.
const UNFINISHED: &[&str] = &["todo", "unimplemented", "dbg"];

/// What is no part of the repository's text: folders, and in a linked work tree the file `.git`.
const SKIPPED: &[&str] = &["target", ".git", "node_modules", "corpus", "artifacts"];

/// Larger files are data, not text.
const MAX_TEXT: usize = 4 << 20;

pub(super) fn check() -> Result<Vec<String>, Failure> {
    let mut broken = Vec::new();
    for path in files()? {
        let name = path.strip_prefix(root()).unwrap_or(&path).to_string_lossy().replace('\\', "/");
        let text = match read(&path)? {
            None => continue,
            Some(Content::Text(text)) => text,
            Some(Content::Data(bytes)) => {
                check_data(&name, &bytes, &mut broken);
                continue;
            }
        };
        check_paths(&name, &text, &mut broken);
        if name.ends_with(".rs") {
            check_rust(&name, &text, &mut broken);
        }
    }
    Ok(broken)
}

/// Every file of the repository, in order of its path.
fn files() -> Result<Vec<PathBuf>, Failure> {
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source| Failure::File { path, source }
    };
    let mut found = Vec::new();
    let mut folders = vec![root().to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).map_err(failed(&folder))? {
            let entry = entry.map_err(failed(&folder))?;
            let kind = entry.file_type().map_err(failed(&entry.path()))?;
            if SKIPPED.iter().any(|s| entry.file_name() == *s) {
                continue;
            }
            if kind.is_dir() {
                folders.push(entry.path());
            } else if kind.is_file() {
                found.push(entry.path());
            }
        }
    }
    found.sort();
    Ok(found)
}

/// What a file holds.
enum Content {
    Text(String),
    /// Something else than text, or too much of it.
    Data(Vec<u8>),
}

/// Reads a file; `None` when it is gone since it was listed.
fn read(path: &Path) -> Result<Option<Content>, Failure> {
    match fs::read(path) {
        Ok(bytes) if bytes.len() > MAX_TEXT => Ok(Some(Content::Data(bytes))),
        Ok(bytes) => Ok(Some(match String::from_utf8(bytes) {
            Ok(text) => Content::Text(text),
            Err(error) => Content::Data(error.into_bytes()),
        })),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(Failure::File { path: path.to_owned(), source }),
    }
}

/// How paths of a machine begin. Put together here so that this file does not have them.
fn machine_folders() -> [String; 4] {
    ["work", "root", "home", "Users"].map(|folder| format!("/{folder}/"))
}

/// No path of a machine.
fn check_paths(name: &str, text: &str, broken: &mut Vec<String>) {
    let folders = machine_folders();
    for (n, line) in text.lines().enumerate() {
        for folder in &folders {
            // A path starts where no other path goes on: a folder inside another may have any name.
            let starts =
                |at: usize| !line[..at].ends_with(|c: char| c.is_alphanumeric() || "._-/~*}>".contains(c));
            if line.match_indices(folder.as_str()).any(|(at, _)| starts(at)) {
                broken.push(format!("{name}:{}: a path of a machine ({folder})", n + 1));
            }
        }
    }
}

/// No path of a machine in what was built on one. Names stand there behind bytes that can be anything.
fn check_data(name: &str, bytes: &[u8], broken: &mut Vec<String>) {
    for folder in machine_folders() {
        if let Some(at) = bytes.windows(folder.len()).position(|w| w == folder.as_bytes()) {
            broken.push(format!("{name}: a path of a machine ({folder}) at byte {at}"));
        }
    }
}

fn check_rust(name: &str, text: &str, broken: &mut Vec<String>) {
    if !text.starts_with("//!") {
        broken.push(format!("{name}:1: the file does not open with `//!`"));
    }
    for (n, line) in text.lines().enumerate() {
        let length = line.chars().count();
        let row = line.starts_with("//! |") || TABLES.contains(&name);
        if length > MAX_LINE && !row {
            broken.push(format!("{name}:{}: {length} characters, more than {MAX_LINE}", n + 1));
        }
    }
    let unsafe_room = UNSAFE_ROOMS.iter().any(|room| name.starts_with(room));
    for (n, line) in code_only(text).lines().enumerate() {
        if !unsafe_room && has_word(line, "unsafe", "") {
            broken.push(format!("{name}:{}: unsafe code outside its rooms", n + 1));
        }
        for word in UNFINISHED.iter().filter(|word| has_word(line, word, "!")) {
            broken.push(format!("{name}:{}: `{word}!`", n + 1));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn broken(name: &str, text: &str) -> Vec<String> {
        let mut broken = Vec::new();
        check_paths(name, text, &mut broken);
        check_rust(name, text, &mut broken);
        broken
    }

    #[test]
    fn rules_bite() {
        assert_eq!(broken("a.rs", "//! A.\nfn f() {}\n"), [""; 0]);
        assert_eq!(broken("a.rs", "fn f() {}"), ["a.rs:1: the file does not open with `//!`"]);
        let long = format!("//! {}", "x".repeat(127));
        assert_eq!(broken("a.rs", &long), ["a.rs:1: 131 characters, more than 130"]);
        assert_eq!(broken("a.rs", "//! unsafe\nunsafe {}"), ["a.rs:2: unsafe code outside its rooms"]);
        assert_eq!(broken("crates/javm-sys/src/a.rs", "//! A.\nunsafe {}"), [""; 0]);
        assert_eq!(broken("a.rs", &format!("//! A.\n{}!(x)", UNFINISHED[2])), ["a.rs:2: `dbg!`"]);
        let path = ["", "work", "x"].join("/");
        assert_eq!(broken("a.rs", &format!("//! {path}")).len(), 1);
        assert_eq!(broken("a.rs", &format!("//! the{path}")), [""; 0]);
        let mut found = Vec::new();
        check_data("a.blob", &[b"\xFFX", path.as_bytes()].concat(), &mut found);
        assert_eq!(found, [format!("a.blob: a path of a machine ({}) at byte 2", &path[..6])]);
    }
}
