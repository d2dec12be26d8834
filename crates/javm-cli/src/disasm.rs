//! `javm disasm`: a program's instructions, block by block, as text that assembles to the same program.

use std::{collections::BTreeMap, path::PathBuf};

use javm_gas::{BlockCosts, GasModel};
use javm_isa::{
    Instruction,
    disasm::{Options, disassemble},
};
use javm_program::Program;
use serde::Serialize;

use crate::{
    Exit,
    error::CliError,
    load::{self, path_name},
    options::LoadOptions,
    show::{Output, clean, count, hex_bytes},
};

/// What to disassemble, and how.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Args {
    /// The program.
    program: PathBuf,
    /// Show the bytes of each instruction.
    #[arg(long)]
    bytes: bool,
    /// Show source lines where the program has them.
    #[arg(long)]
    source: bool,
    /// What a basic block costs: pipeline, per-instruction.
    #[arg(long, value_name = "MODEL", default_value_t = GasModel::Pipeline)]
    gas_model: GasModel,
    #[command(flatten)]
    load: LoadOptions,
}

#[derive(Serialize)]
struct Report {
    program: String,
    format: String,
    code_bytes: u32,
    gas_model: String,
    jump_table: Vec<u32>,
    instructions: Vec<Line>,
}

#[derive(Serialize)]
struct Line {
    pc: u32,
    bytes: String,
    text: String,
    /// The cost of the basic block that starts here.
    block_gas: Option<u32>,
    /// Exports that enter here.
    exports: Vec<String>,
    file: Option<String>,
    line: Option<u32>,
}

pub(crate) fn run(args: &Args, out: &mut Output) -> Result<Exit, CliError> {
    let program = load::program(&args.program, args.load)?;
    let code = program.code();
    let costs = BlockCosts::new(code, args.gas_model);
    let mut exports: BTreeMap<u32, Vec<String>> = BTreeMap::new();
    for export in program.exports() {
        exports.entry(export.pc).or_default().push(clean(&export.name_lossy()));
    }
    let with_source = args.source || out.is_json();
    let instructions = code.instructions(0).map(|(pc, instruction)| {
        let source = if with_source { program.source_location(pc) } else { None };
        Line {
            pc,
            bytes: hex_bytes(&code.bytes()[pc as usize..code.next_pc(pc).min(code.len()) as usize]),
            text: instruction.to_string(),
            block_gas: costs.cost(pc),
            exports: exports.remove(&pc).unwrap_or_default(),
            file: source.and_then(|s| s.file.map(clean)),
            line: source.and_then(|s| s.line),
        }
    });
    let report = Report {
        program: path_name(&args.program),
        format: program.format().to_string(),
        code_bytes: code.len(),
        gas_model: args.gas_model.to_string(),
        jump_table: code.jump_table().to_vec(),
        instructions: instructions.collect(),
    };
    out.report(&report, |report, _| text(report, &program, args.bytes))?;
    Ok(Exit::Success)
}

/// The text that `javm asm` takes; everything else that is known is in comments.
fn text(report: &Report, program: &Program, bytes: bool) -> String {
    let size =
        format!("{}, {}", count(report.code_bytes, "byte"), count(report.instructions.len(), "instruction"));
    let mut out = format!("; {}, {}: {size} of code\n\n", report.program, report.format);
    let at = |pc: u32| report.instructions.binary_search_by_key(&pc, |line| line.pc).ok();
    let block_note = |pc: u32| {
        let gas = report.instructions[at(pc)?].block_gas?;
        Some(format!("{gas} gas"))
    };
    let note = |pc: u32, _: &Instruction| {
        let at = at(pc)?;
        let line = &report.instructions[at];
        let mut notes: Vec<String> = line.exports.iter().map(|name| format!("export {name}")).collect();
        let source = |line: &Line| line.file.clone().map(|file| (file, line.line));
        let before = at.checked_sub(1).and_then(|at| source(&report.instructions[at]));
        if let Some((file, number)) = source(line).filter(|place| before.as_ref() != Some(place)) {
            notes.push(number.map_or_else(|| file.clone(), |number| format!("{file}:{number}")));
        }
        (!notes.is_empty()).then(|| notes.join(", "))
    };
    let options = Options { offsets: true, bytes, block_note: Some(&block_note), note: Some(&note) };
    // Writing to a string cannot fail.
    let _ = disassemble(program.code(), &mut out, &options);
    out
}
