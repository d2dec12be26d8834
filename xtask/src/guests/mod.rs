//! `cargo xtask guests`: from `guests/programs` to `guests/blobs` and `guests/wasm`, bit for bit the same
//! everywhere.
//!
//! * `toolchain.rs`: a compiler of one fixed version, downloaded and unpacked under `target`;
//! * `compile.rs`: the programs, by cargo, to ELF files and WebAssembly modules in which no path of the machine
//!   appears;
//! * `wrapper.rs`: what keeps the folder out of symbol names;
//! * `link.rs`: ELF files to PolkaVM blobs, and what can be said about one;
//! * `fixtures.rs`: programs of others, built in the same way from their published source, for tests.
//!
//! Everything that decides bytes is pinned: the compiler, `guests/Cargo.lock`, and the linker's version in
//! the workspace manifest.

mod compile;
mod error;
pub(crate) mod fixtures;
mod link;
mod toolchain;
pub(crate) mod wrapper;

use compile::Target;
use error::Context as _;
pub(crate) use error::Error;
use link::{Exports, InstructionSet};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Programs that are built for every instruction set: the samples of the loaders. The others are JamV1 only.
const FOR_EVERY_SET: [&str; 6] = ["bank", "counter", "fib", "hashes", "ledger", "sieve"];

/// What the names of flat programs start with, which have exports in place of endpoints.
const FLAT_PREFIX: &str = "virt_";

/// Programs that are built for WebAssembly too: the kernels that `javm-bench-compare` runs on other engines.
const FOR_WASM: [&str; 11] = [
    "ecrecover",
    "ed25519",
    "fib",
    "hashes",
    "hostcall",
    "json",
    "matmul",
    "memops",
    "minivm",
    "sieve",
    "sort",
];

/// Files by name.
type Files = BTreeMap<String, Vec<u8>>;

/// Options of `cargo xtask guests`.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Only say whether the blobs in guests/blobs are what their sources give; exit code 1 if not.
    #[arg(long)]
    check: bool,
    /// Build these programs only; the default is all of guests/programs.
    #[arg(conflicts_with = "check")]
    programs: Vec<String>,
}

/// Builds the programs and writes, or compares, their blobs.
pub(crate) fn run(root: &Path, options: &Options) -> Result<ExitCode, Error> {
    let programs = programs(root, &options.programs)?;
    let toolchain = toolchain::prepare(&root.join("target/guest-toolchain"))?;
    let (mut blobs, mut modules) = (Files::new(), Files::new());
    for (position, program) in programs.iter().enumerate() {
        println!("[{}/{}] {program}", position + 1, programs.len());
        let it = compile::Crate {
            folder: &root.join("guests"),
            manifest: &root.join("guests/programs").join(program).join("Cargo.toml"),
            name: program,
            output: &root.join("target/guests"),
            locked: options.check,
            cfg: &[],
        };
        let elf = compile::compile(root, &toolchain, &it, Target::Machine)?;
        let exports = if program.starts_with(FLAT_PREFIX) { Exports::Any } else { Exports::Endpoints };
        for set in InstructionSet::ALL {
            if set == InstructionSet::JamV1 || FOR_EVERY_SET.contains(&program.as_str()) {
                let linked = link::link(program, set, exports, &elf)?;
                println!("      {linked}");
                blobs.insert(linked.file_name, linked.blob);
            }
        }
        if FOR_WASM.contains(&program.as_str()) {
            let module = compile::compile(root, &toolchain, &it, Target::Wasm)?;
            println!("      {program}.wasm: {} bytes", module.len());
            modules.insert(format!("{program}.wasm"), module);
        }
    }
    let folders = [("guests/blobs", blobs), ("guests/wasm", modules)];
    if options.check { check(root, &folders) } else { write(root, &folders) }
}

/// The names of the programs to build: those asked for, or every folder of guests/programs.
fn programs(root: &Path, wanted: &[String]) -> Result<Vec<String>, Error> {
    let all = file_names(&root.join("guests/programs"))?;
    match wanted.iter().find(|name| !all.contains(name)) {
        Some(name) => Err(Error::UnknownProgram { name: name.clone(), all }),
        None if wanted.is_empty() => Ok(all),
        None => Ok(wanted.to_vec()),
    }
}

fn write(root: &Path, folders: &[(&str, Files)]) -> Result<ExitCode, Error> {
    for (name, files) in folders {
        let folder = root.join(name);
        fs::create_dir_all(&folder).at(&folder)?;
        for (name, contents) in files {
            let path = folder.join(name);
            fs::write(&path, contents).at(&path)?;
        }
        let total: usize = files.values().map(Vec::len).sum();
        println!("{} files, {total} bytes, in {name}", files.len());
    }
    Ok(ExitCode::SUCCESS)
}

/// Compares what was built with the files, in both directions.
fn check(root: &Path, folders: &[(&str, Files)]) -> Result<ExitCode, Error> {
    let mut problems = Vec::new();
    for (folder_name, files) in folders {
        let folder = root.join(folder_name);
        for (name, contents) in files {
            let path = folder.join(name);
            if !path.exists() {
                problems.push(format!("{folder_name}/{name}: is not checked in"));
            } else if fs::read(&path).at(&path)? != *contents {
                problems.push(format!("{folder_name}/{name}: differs from what its source gives"));
            }
        }
        for name in file_names(&folder)? {
            if !files.contains_key(&name) {
                problems.push(format!("{folder_name}/{name}: no program gives this file"));
            }
        }
    }
    for problem in &problems {
        println!("{problem}");
    }
    if problems.is_empty() {
        let count: usize = folders.iter().map(|(_, files)| files.len()).sum();
        println!("all {count} files are what their sources give");
        Ok(ExitCode::SUCCESS)
    } else {
        println!("rebuild with: cargo xtask guests");
        Ok(ExitCode::FAILURE)
    }
}

/// The names in a folder, sorted.
fn file_names(folder: &Path) -> Result<Vec<String>, Error> {
    let entries: Vec<_> = fs::read_dir(folder).and_then(Iterator::collect).at(folder)?;
    let mut names: Vec<String> =
        entries.iter().map(|entry: &fs::DirEntry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    Ok(names)
}

/// Where cargo and rustc of this machine keep sources, by the environment that cargo sets or its default.
fn cargo_home() -> Option<PathBuf> {
    std::env::var_os("CARGO_HOME")
        .map(PathBuf::from)
        .or_else(|| std::env::home_dir().map(|home| home.join(".cargo")))
}
