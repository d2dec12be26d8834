//! `cargo xtask fixtures`: programs of others that tests run, built from their published source.
//!
//! Nothing of them is checked in. Their crates want toolchains of their own when they are dependencies, so only
//! their source is taken, from the registry, and compiled as the guests are.

use super::compile::{Crate, Target, compile};
use super::error::{Context as _, Error};
use super::link::{Exports, InstructionSet, link};
use super::{cargo_home, file_names, toolchain};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The program that Substrate's virtualization tests drive.
const CRATE: &str = "sp-virtualization-test-fixture";
const VERSION: &str = "0.4.0";
/// What its source is compiled under, and what it needs then.
const CFG: &str = "substrate_runtime";
const DEPENDENCY: &str = "polkavm-derive = \"=0.35.0\"";

/// The folder of the fixtures.
pub(crate) fn folder(root: &Path) -> PathBuf {
    root.join("target/fixtures")
}

/// Whether the fixtures were built.
pub(crate) fn are_there(folder: &Path) -> bool {
    folder.join(format!("{CRATE}.polkavm")).exists()
}

/// Builds the fixtures into their folder.
pub(crate) fn run(root: &Path) -> Result<(), Error> {
    let toolchain = toolchain::prepare(&root.join("target/guest-toolchain"))?;
    let folder = folder(root);
    let source = source(&folder.join("fetch"))?;
    let build = folder.join("build");
    let library = source.join("src/lib.rs").display().to_string().replace('\\', "\\\\");
    let manifest = package(
        &build,
        &format!(
            "[lib]\npath = \"{library}\"\n[dependencies]\n{DEPENDENCY}\n\
             [lints.rust]\nunexpected_cfgs = \"allow\"\nunused_attributes = \"allow\"\n\
             [profile.release]\nlto = \"fat\"\npanic = \"abort\"\ncodegen-units = 1\n"
        ),
    )?;
    let it = Crate {
        folder: &build,
        manifest: &manifest,
        name: "fixture",
        output: &root.join("target/guests"),
        locked: false,
        cfg: &[CFG],
    };
    let elf = compile(root, &toolchain, &it, Target::Machine)?;
    let linked = link(CRATE, InstructionSet::JamV1, Exports::Any, &elf)?;
    let path = folder.join(&linked.file_name);
    fs::write(&path, &linked.blob).at(&path)?;
    println!("{linked}");
    Ok(())
}

/// The source of the fixture, downloaded if it is not there.
fn source(folder: &Path) -> Result<PathBuf, Error> {
    let manifest = package(folder, &format!("[dependencies]\n{CRATE} = \"={VERSION}\"\n"))?;
    let library = folder.join("src/lib.rs");
    fs::create_dir_all(folder.join("src")).at(folder)?;
    fs::write(&library, "").at(&library)?;
    let mut cargo = Command::new("cargo");
    cargo
        .args(["fetch", "--quiet", "--target", "x86_64-unknown-linux-gnu", "--manifest-path"])
        .arg(manifest)
        // Under this, the crate does not want the builder of its own toolchain.
        .env("RUSTFLAGS", format!("--cfg={CFG}"))
        .env_remove("CARGO_ENCODED_RUSTFLAGS");
    toolchain::run(&mut cargo, &format!("fetching {CRATE}"))?;
    let sources = cargo_home().unwrap_or_default().join("registry/src");
    let of = |registry| sources.join(registry).join(format!("{CRATE}-{VERSION}"));
    let found = file_names(&sources)?.into_iter().map(of).find(|path| path.exists());
    found.ok_or(Error::NoSource { package: CRATE, path: sources })
}

/// Writes the manifest of a package that belongs to no workspace.
fn package(folder: &Path, rest: &str) -> Result<PathBuf, Error> {
    fs::create_dir_all(folder).at(folder)?;
    let manifest = folder.join("Cargo.toml");
    let text = format!(
        "[package]\nname = \"fixture\"\nversion = \"0.0.0\"\nedition = \"2021\"\n[workspace]\n{rest}"
    );
    fs::write(&manifest, text).at(&manifest)?;
    Ok(manifest)
}
