//! The command `javm`.
//!
//! One module per subcommand (`run/`, `disasm.rs`, `inspect/`, `asm.rs`, `pack.rs`, `conform.rs`, `play/`); what they
//! share is in `options.rs` (arguments), `load.rs` (files in), `world.rs` (a machine with its values), `vms/` (runs of the
//! microkernel),
//! `fault.rs` and `show.rs` (results out), `state.rs` (values in a file), `error.rs`.
//!
//! Every subcommand makes a report, a struct that is printed as text or, with `--json`, as its fields:
//! `docs/cli.md` lists them. Nothing that a file contains makes the command panic, and nothing from a file
//! reaches a terminal unescaped. Exit codes: 0 halt or success, 1 fault or failed check, 2 usage or a file
//! that cannot be used, 3 pause.
#![forbid(unsafe_code)]

mod asm;
mod conform;
mod disasm;
mod error;
mod fault;
mod inspect;
mod load;
mod options;
mod pack;
mod play;
mod run;
mod show;
mod state;
mod vms;
mod world;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use error::CliError;
use show::{Color, Output};

/// How a command that did its work ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Exit {
    /// A halt, or nothing to complain of.
    Success = 0,
    /// A fault, a failed vector, an expectation that was not met.
    Failure = 1,
    /// A pause.
    Paused = 3,
}

/// The exit code of a command that could not do its work; clap uses the same.
const USAGE: u8 = 2;

/// A deterministic, gas-metered sandbox for PVM programs.
#[derive(Parser)]
#[command(name = "javm", version, max_term_width = 100)]
struct Cli {
    /// Print a JSON object (docs/cli.md lists the keys) instead of text.
    #[arg(long, global = true)]
    json: bool,
    /// When to use colour.
    #[arg(long, global = true, value_enum, value_name = "WHEN", default_value_t = Color::Auto)]
    color: Color,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run a program: as an instance of the capability machine, on the microkernel, or flat on the engine.
    Run(run::Args),
    /// Print a program's instructions.
    Disasm(disasm::Args),
    /// Say what a program is: exports, imports, memory, image, block costs.
    Inspect(inspect::Args),
    /// Assemble text to a bare program blob.
    Asm(asm::Args),
    /// Pack a program for the capability microkernel, with the capabilities that it starts with.
    Pack(pack::Args),
    /// Run conformance vectors.
    Conform(conform::Args),
    /// Play a scenario: a story of calls with what is expected of them.
    Play(play::Args),
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let mut out = Output::new(cli.json, cli.color);
    let result = match &cli.command {
        Command::Run(args) => run::run(args, &mut out),
        Command::Disasm(args) => disasm::run(args, &mut out),
        Command::Inspect(args) => inspect::run(args, &mut out),
        Command::Asm(args) => asm::run(args, &mut out),
        Command::Pack(args) => pack::run(args, &mut out),
        Command::Conform(args) => conform::run(args, &mut out),
        Command::Play(args) => play::run(args, &mut out),
    };
    match result {
        Ok(exit) => ExitCode::from(exit as u8),
        // Whoever read the output has seen enough.
        Err(CliError::Output(error)) if error.kind() == std::io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => {
            out.error(&error);
            ExitCode::from(USAGE)
        }
    }
}
