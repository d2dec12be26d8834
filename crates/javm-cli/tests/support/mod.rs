//! Running the command, scratch folders, golden files: what the tests of this crate share.
#![allow(dead_code, reason = "each test file uses its part")]

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::atomic::{AtomicU32, Ordering},
};

/// What a run of the command showed.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Ran {
    /// Standard output, if the command ended with this code.
    #[track_caller]
    pub(crate) fn with_code(&self, code: i32) -> &str {
        assert_eq!(self.code, Some(code), "{self:#?}");
        &self.out
    }

    /// Standard output as JSON, if the command ended with this code.
    #[track_caller]
    pub(crate) fn json(&self, code: i32) -> serde_json::Value {
        serde_json::from_str(self.with_code(code)).unwrap_or_else(|e| panic!("{e}: {self:#?}"))
    }
}

/// Runs `javm` with these words.
pub(crate) fn javm<S: AsRef<std::ffi::OsStr>>(words: &[S]) -> Ran {
    let mut command = Command::new(env!("CARGO_BIN_EXE_javm"));
    let output = command.args(words).stdin(Stdio::null()).output().unwrap();
    Ran {
        code: output.status.code(),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
    }
}

/// The words of a command line, cut at blanks.
pub(crate) fn line(text: &str) -> Ran {
    javm(&text.split_whitespace().collect::<Vec<_>>())
}

/// The repository's root.
pub(crate) fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
}

/// The path of a checked-in guest.
pub(crate) fn guest(name: &str) -> String {
    root().join("guests/blobs").join(format!("{name}.polkavm")).to_str().unwrap().to_owned()
}

/// A folder of its own, removed at the end.
pub(crate) struct Scratch(PathBuf);

impl Scratch {
    pub(crate) fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let n = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("javm-cli-{}-{n}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    /// The path of a file in it.
    pub(crate) fn path(&self, name: &str) -> String {
        self.0.join(name).to_str().unwrap().to_owned()
    }

    /// Writes a file; its path.
    pub(crate) fn file(&self, name: &str, bytes: &[u8]) -> String {
        let path = self.path(name);
        fs::write(&path, bytes).unwrap();
        path
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What cannot be removed stays in the system's folder for such things.
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Compares with a golden file, or writes it when `JAVM_BLESS=1` is set. The repository's path, which
/// differs from machine to machine, is left out, and so are lines that tell a time.
#[track_caller]
pub(crate) fn golden(name: &str, found: &str) {
    let path = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden")).join(name);
    let here = root().to_str().unwrap();
    let kept = found.lines().filter(|l| !l.starts_with("time ") && !l.contains("\"wall_time_ns\""));
    let found: String = kept.map(|l| l.replace(here, "JAVM") + "\n").collect();
    if std::env::var_os("JAVM_BLESS").is_some_and(|v| v == "1") {
        fs::write(&path, found).unwrap();
        return;
    }
    let wanted = fs::read_to_string(&path).unwrap_or_else(|e| panic!("{name}: {e}; JAVM_BLESS=1 writes it"));
    let difference = wanted.lines().zip(found.lines()).position(|(a, b)| a != b);
    let at = difference.unwrap_or(wanted.lines().count().min(found.lines().count()));
    assert!(wanted == found, "{name} differs from line {} on; found:\n{found}", at + 1);
}

/// A golden file as it is.
pub(crate) fn golden_text(name: &str) -> String {
    fs::read_to_string(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden")).join(name)).unwrap()
}

/// Adds its two arguments and returns the sum.
pub(crate) const ADD: &[u8] = &[0, 0, 5, 200, 0x87, 7, 50, 0, 0b1001];
/// Asks for host call 5 and returns what it got.
pub(crate) const HOST_CALL: &[u8] = &[0, 0, 4, 10, 5, 50, 0, 0b101];
/// Jumps to itself.
pub(crate) const FOREVER: &[u8] = &[0, 0, 2, 40, 0, 1];
/// Reads a byte at 0x20000, where nothing is.
pub(crate) const PAGE_FAULT: &[u8] = &[0, 0, 6, 52, 7, 0, 0, 2, 0, 0b10_0001];

/// A JAM program that returns its arguments.
pub(crate) fn echo() -> Vec<u8> {
    let code = [0, 0, 2, 50, 0, 1];
    [&[0; 11][..], &[code.len() as u8, 0, 0, 0], &code].concat()
}
