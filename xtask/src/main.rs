//! `cargo xtask`: what the project does to itself, besides what `cargo` does.
//!
//! One module per subcommand; this file only tells them apart. All but `guests` needs nothing but a Rust
//! toolchain; everything runs in the repository's root, wherever it is called from.
#![forbid(unsafe_code)]

mod bless;
mod ci;
mod fuzz;
mod guests;
mod process;
mod source;
mod tidy;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// What the project does to itself.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Everything that must pass before a change goes in.
    Ci(ci::Options),
    /// Checks the rules that neither the compiler nor clippy knows.
    Tidy,
    /// Rewrites golden files from what the code does now; read the diff before you commit it.
    Bless(bless::Options),
    /// Builds the guest programs, from the registries alone, and writes their blobs.
    Guests(guests::Options),
    /// Runs fuzz targets for a while, with the compiler that is there.
    Fuzz(fuzz::Options),
    /// Builds programs of others that tests run, from their published source, into target/fixtures.
    Fixtures,
}

fn main() -> ExitCode {
    // While guests are built, cargo runs this program in place of the compiler.
    if let Some(code) = guests::wrapper::run_if_asked() {
        return code;
    }
    match Arguments::parse().command {
        Command::Ci(options) => code(ci::run(&options)),
        Command::Tidy => code(tidy::run()),
        Command::Bless(options) => code(bless::run(&options)),
        Command::Fixtures => code(guests::fixtures::run(process::root())),
        Command::Guests(options) => guests::run(process::root(), &options).unwrap_or_else(failed),
        Command::Fuzz(options) => code(fuzz::run(&options)),
    }
}

fn code<E: core::fmt::Display>(result: Result<(), E>) -> ExitCode {
    result.map_or_else(failed, |()| ExitCode::SUCCESS)
}

fn failed<E: core::fmt::Display>(error: E) -> ExitCode {
    eprintln!("error: {error}");
    ExitCode::FAILURE
}
