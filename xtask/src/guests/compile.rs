//! Programs to ELF files and to WebAssembly modules, by cargo with the guest compiler, in a way that leaves no
//! trace of where it ran.

use super::error::{Context as _, Error};
use super::toolchain::{Toolchain, run};
use super::{cargo_home, wrapper};
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What a program is compiled for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    /// The machine: an ELF file for the PolkaVM linker.
    Machine,
    /// Engines that the machine is compared with: a WebAssembly module, which needs no other linker.
    Wasm,
}

/// A library crate to compile.
pub(crate) struct Crate<'a> {
    /// Where cargo runs, with its settings.
    pub(crate) folder: &'a Path,
    pub(crate) manifest: &'a Path,
    /// The crate's name, which its file has.
    pub(crate) name: &'a str,
    /// Where cargo puts what it makes.
    pub(crate) output: &'a Path,
    /// Refuses to touch the lock file, which a new program otherwise enters.
    pub(crate) locked: bool,
    /// What the code is told by `cfg`.
    pub(crate) cfg: &'a [&'a str],
}

/// Compiles one crate; the bytes of its file.
pub(crate) fn compile(
    root: &Path,
    toolchain: &Toolchain,
    it: &Crate<'_>,
    target: Target,
) -> Result<Vec<u8>, Error> {
    let mut cargo = Command::new("cargo");
    cargo
        .current_dir(it.folder)
        .args(["rustc", "--quiet"])
        .args(it.locked.then_some("--locked"))
        .args(["--release", "--lib", "--manifest-path"])
        .arg(it.manifest)
        .args(["-Zjson-target-spec", "-Zbuild-std=core,alloc", "--target-dir"])
        .arg(it.output)
        .env("RUSTC", &toolchain.rustc)
        // Opens the unstable options above on a stable cargo and compiler.
        .env("RUSTC_BOOTSTRAP", "1")
        .env("CARGO_TARGET_RISCV64EMAC_UNKNOWN_NONE_POLKAVM_LINKER", &toolchain.linker)
        .env("CARGO_TARGET_WASM32V1_NONE_LINKER", &toolchain.linker)
        // Settings of the machine or of an outer cargo must not reach the compiler.
        .env_remove("RUSTFLAGS")
        .env_remove("RUSTC_WORKSPACE_WRAPPER")
        .env_remove("CARGO_TARGET_DIR");
    for (variable, _) in std::env::vars_os() {
        if variable.to_string_lossy().starts_with("CARGO_PROFILE_") {
            cargo.env_remove(variable);
        }
    }
    let mut flags = flags(root, toolchain, it.cfg)?;
    let file = match target {
        Target::Machine => {
            // The target knows executables only; a program has exports in place of a `main`.
            cargo.args(["--crate-type", "bin", "--target"]).arg(&toolchain.target);
            // With relaxation, rust-lld leaves the relocations of debug sections empty, and lines get lost.
            cargo.args(["--", "-Zcrate-attr=no_main", "-Clink-arg=--no-relax"]);
            it.output.join("riscv64emac-unknown-none-polkavm/release").join(it.name)
        }
        Target::Wasm => {
            // The features that the compiler takes for granted where there is a standard library.
            flags.push("\x1f-Ctarget-feature=+bulk-memory,+multivalue,+nontrapping-fptoint");
            flags.push(",+reference-types,+sign-ext");
            cargo.args(["--crate-type", "cdylib", "--target", "wasm32v1-none"]);
            cargo.env("CARGO_PROFILE_RELEASE_DEBUG", "false").args(["--", "-Cstrip=symbols"]);
            it.output.join("wasm32v1-none/release").join(format!("{}.wasm", it.name))
        }
    };
    cargo.env("CARGO_ENCODED_RUSTFLAGS", flags);
    wrapper::install(&mut cargo)?;
    run(&mut cargo, &format!("compiling {}", it.name))?;
    fs::read(&file).at(&file)
}

/// Compiler flags, in cargo's encoding, that replace every folder of this machine by a fixed name, and others.
fn flags(root: &Path, toolchain: &Toolchain, cfg: &[&str]) -> Result<OsString, Error> {
    let mut names: Vec<(PathBuf, &str)> = Vec::new();
    // Absolute names: a relative one would be joined to the folder that cargo runs in.
    // Of several prefixes that fit, the last one counts: the more special ones come later.
    names.push((root.to_owned(), "/javm"));
    names.extend(toolchain.library_sources.iter().map(|folder| (folder.clone(), "/rust")));
    if let Some(sources) = cargo_home().map(|home| home.join("registry/src")).filter(|path| path.exists()) {
        for registry in super::file_names(&sources)? {
            names.push((sources.join(registry), "/crates"));
        }
    }
    let mut flags = OsString::new();
    for (folder, name) in names {
        if !flags.is_empty() {
            flags.push("\x1f");
        }
        flags.push("--remap-path-prefix=");
        flags.push(folder);
        flags.push("=");
        flags.push(name);
    }
    for name in cfg {
        flags.push("\x1f--cfg=");
        flags.push(name);
    }
    Ok(flags)
}
