//! `bless`: golden files are rewritten from what the code does now.
//!
//! Tests that compare with a golden file write it instead when `JAVM_BLESS=1` is set; nothing else differs.

use crate::process::{self, Failure};

/// Which tests to run.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Only the golden files of this crate.
    #[arg(short, long)]
    package: Option<String>,
}

pub(crate) fn run(options: &Options) -> Result<(), Failure> {
    let mut command = process::cargo(&["test"]);
    match &options.package {
        Some(package) => command.args(["--package", package]),
        None => command.arg("--workspace"),
    };
    command.env("JAVM_BLESS", "1");
    process::run(command)
}
