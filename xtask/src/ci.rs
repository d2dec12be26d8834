//! `ci`: everything that must pass before a change goes in, cheapest first.

use std::time::Instant;

use crate::{
    guests,
    process::{self, Failure},
    tidy,
};

/// What to run besides the usual.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Also rebuild the guest programs and compare them with the checked-in blobs. This and the fixtures download
    /// the guests' toolchain; without this option a machine that cannot have it goes without the fixtures.
    #[arg(long)]
    guests: bool,
}

type Step = (&'static str, fn() -> Result<(), Failure>);

const STEPS: &[Step] = &[
    ("tidy", tidy::run),
    ("format", || cargo(&["fmt", "--all", "--check"])),
    ("clippy", || cargo(&["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"])),
    ("test", || cargo(&["test", "--workspace"])),
    ("portable: test", portable),
    ("portable: other platforms", other_platforms),
    ("substrate: clippy", || {
        cargo(&[
            "clippy",
            "-p",
            "javm-virt",
            "--features",
            "substrate",
            "--all-targets",
            "--",
            "-D",
            "warnings",
        ])
    }),
    ("substrate: fixtures", fixtures),
    ("substrate: test", substrate),
    ("guests: format", || in_guests(&["fmt", "--all", "--check"])),
    ("guests: test on the host", || in_guests(&["test", "--workspace"])),
];

const GUEST_BLOBS: [Step; 2] = [
    ("guests: blobs", || cargo(&["xtask", "guests", "--check"])),
    // Again where they were left out before: now they must be there.
    ("guests: fixtures", || Ok(guests::fixtures::run(process::root())?)),
];

pub(crate) fn run(options: &Options) -> Result<(), Failure> {
    let start = Instant::now();
    for (name, step) in STEPS.iter().chain(options.guests.then_some(&GUEST_BLOBS).into_iter().flatten()) {
        println!("── {name}");
        let start = Instant::now();
        step()?;
        println!("── {name}: passed in {:.1} s\n", start.elapsed().as_secs_f64());
    }
    println!("everything passed in {:.1} s", start.elapsed().as_secs_f64());
    Ok(())
}

fn cargo(args: &[&str]) -> Result<(), Failure> {
    process::run(process::cargo(args))
}

/// Tests the engine as it is built where there is no recompiler.
fn portable() -> Result<(), Failure> {
    let mut command =
        process::cargo(&["test", "--target-dir", "target/portable", "-p", "javm-sys", "-p", "javm-exec"]);
    command.env("RUSTFLAGS", "--cfg javm_portable");
    process::run(command)
}

/// Checks what embedders use for those other platforms whose standard library is installed.
fn other_platforms() -> Result<(), Failure> {
    for target in ["aarch64-unknown-linux-gnu", "aarch64-apple-darwin", "x86_64-pc-windows-msvc"] {
        let rustc = std::process::Command::new("rustc")
            .args(["--print", "target-libdir", "--target", target])
            .output();
        let installed =
            rustc.is_ok_and(|out| std::path::Path::new(String::from_utf8_lossy(&out.stdout).trim()).is_dir());
        if installed {
            cargo(&["check", "-p", "javm", "-p", "javm-cli", "--target", target])?;
        } else {
            println!("left out: the standard library of {target} is not installed");
        }
    }
    Ok(())
}

/// Builds the fixtures where the guests' toolchain is to be had.
fn fixtures() -> Result<(), Failure> {
    match guests::fixtures::run(process::root()) {
        Err(error @ (guests::Error::Tool { .. } | guests::Error::Download { .. })) => {
            println!("left out: {error}");
            Ok(())
        }
        result => Ok(result?),
    }
}

/// Tests the feature, whose dependencies nothing else needs; with the fixtures if there are any.
fn substrate() -> Result<(), Failure> {
    let mut command = process::cargo(&["test", "-p", "javm-virt", "--features", "substrate"]);
    let folder = guests::fixtures::folder(process::root());
    if guests::fixtures::are_there(&folder) {
        command.env("JAVM_FIXTURES", folder);
    }
    process::run(command)
}

/// As [`cargo`], in the guests' own workspace.
fn in_guests(args: &[&str]) -> Result<(), Failure> {
    let mut command = process::cargo(args);
    command.current_dir(process::root().join("guests"));
    process::run(command)
}
