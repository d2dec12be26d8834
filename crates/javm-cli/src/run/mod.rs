//! `javm run`: one call of a program.
//!
//! PolkaVM programs and ELF files run as instances of the capability machine (`instance.rs`); bare blobs and JAM
//! programs, which say nothing of endpoints or of what their host calls mean, run flat on the engine (`flat.rs`),
//! with a script for a host if there is one (`syscalls.rs`). Both make one [`report::RunReport`]. Manifests run on
//! the microkernel (`invocation.rs`).

mod flat;
mod instance;
mod invocation;
mod report;
mod syscalls;

use std::path::PathBuf;

use javm_program::Format;

use crate::{
    Exit,
    error::CliError,
    load,
    options::{self, EngineOptions, LoadOptions, required_number},
    show::Output,
};

/// What to run, and how.
#[derive(Clone, Debug, clap::Args)]
#[command(allow_negative_numbers = true)]
pub(crate) struct Args {
    /// The program: PolkaVM container, ELF, manifest, bare blob or JAM program.
    program: PathBuf,
    /// Where to enter: an export's name (NAME, or NAME@N) or endpoint index. Flat: an export or a code
    /// offset. A manifest: the operation, φ7.
    endpoint: Option<String>,
    /// Arguments: numbers (decimal, 0x…, negative) go into registers from a0 on (a manifest: from a3 on), @FILE goes into
    /// slot 0.
    args: Vec<String>,
    /// The most gas to spend; k, M and G stand for thousands, millions and billions.
    #[arg(long, value_name = "N", default_value = "10G", value_parser = options::gas)]
    gas: u64,
    /// A file whose contents the program finds in slot 0; for a JAM program, its arguments.
    #[arg(long, value_name = "FILE")]
    input: Option<PathBuf>,
    /// A file for the Data that the program leaves in slot 0; for a JAM program, for its output.
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Fill a root slot: with the first instance of a program, the value of a state file, or else the file's
    /// contents (`N=data:FILE`: in any case).
    #[arg(long = "slot", value_name = "N=FILE")]
    slots: Vec<String>,
    /// Keep the instance in this file: taken from there if it exists, written there when the call halts.
    #[arg(long, value_name = "FILE")]
    state: Option<PathBuf>,
    /// Run flat on the engine: no slots, every host call answers WHAT.
    #[arg(long)]
    flat: bool,
    /// Run flat with a host that prints each syscall and answers it as this TOML file says, or as the lines
    /// of standard input do if it is `-`.
    #[arg(long, value_name = "SCRIPT")]
    syscalls: Option<PathBuf>,
    /// Print every instruction with the registers before it (flat runs), or every operation of the kernel (manifests), to
    /// standard error.
    #[arg(long)]
    trace: bool,
    #[command(flatten)]
    engine: EngineOptions,
    #[command(flatten)]
    load: LoadOptions,
}

impl Args {
    /// Numbers for registers, at most `limit`, and the file for slot 0.
    fn arguments(&self, limit: usize) -> Result<(Vec<u64>, Option<PathBuf>), CliError> {
        let (mut numbers, mut input) = (Vec::new(), self.input.clone());
        for text in &self.args {
            match load::at_file(text) {
                Some(_) if input.is_some() => return Err(CliError::TwoInputs),
                Some(file) => input = Some(file),
                None => numbers.push(required_number(text)?),
            }
        }
        if numbers.len() > limit {
            return Err(CliError::TooManyArguments { given: numbers.len(), limit });
        }
        Ok((numbers, input))
    }
}

pub(crate) fn run(args: &Args, out: &mut Output) -> Result<Exit, CliError> {
    let bytes = load::bytes(&args.program)?;
    if args.load.reads_manifest(&bytes) && !args.flat && args.syscalls.is_none() {
        return invocation::run(args, &bytes, out);
    }
    let program = load::program_of(&args.program, &bytes, args.load)?;
    let flat = match program.format() {
        Format::PolkaVm { .. } | Format::Elf => args.flat || args.syscalls.is_some(),
        _ => true,
    };
    let report =
        if flat { flat::run(args, &program, out.is_json())? } else { instance::run(args, &program)? };
    out.report(&report, report::RunReport::text)?;
    Ok(report.exit())
}
