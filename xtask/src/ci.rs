//! `ci`: everything that must pass before a change goes in, cheapest first.

use std::time::Instant;

use crate::{
    process::{self, Failure},
    tidy,
};

/// What to run besides the usual.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Also rebuild the guest programs and compare them with the checked-in blobs: downloads and builds the
    /// guests' toolchain.
    #[arg(long)]
    guests: bool,
}

type Step = (&'static str, fn() -> Result<(), Failure>);

const STEPS: &[Step] = &[
    ("tidy", tidy::run),
    ("format", || cargo(&["fmt", "--all", "--check"])),
    ("clippy", || cargo(&["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"])),
    ("test", || cargo(&["test", "--workspace"])),
    ("guests: format", || guests(&["fmt", "--all", "--check"])),
    ("guests: test on the host", || guests(&["test", "--workspace"])),
];

const GUEST_BLOBS: Step = ("guests: blobs", || cargo(&["xtask", "guests", "--check"]));

pub(crate) fn run(options: &Options) -> Result<(), Failure> {
    let start = Instant::now();
    for (name, step) in STEPS.iter().chain(options.guests.then_some(&GUEST_BLOBS)) {
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

/// As [`cargo`], in the guests' own workspace.
fn guests(args: &[&str]) -> Result<(), Failure> {
    let mut command = process::cargo(args);
    command.current_dir(process::root().join("guests"));
    process::run(command)
}
