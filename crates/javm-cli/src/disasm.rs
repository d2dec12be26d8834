//! `javm disasm`: a program's instructions, block by block.

use std::{collections::BTreeMap, fmt::Write as _, path::PathBuf};

use javm_gas::{BlockCosts, GasModel};
use serde::Serialize;

use crate::{
    Exit,
    error::CliError,
    load::{self, path_name},
    options::LoadOptions,
    show::{Output, Paint, Style, clean, count, hex_bytes},
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
    out.report(&report, |report, paint| text(report, args.bytes, paint))?;
    Ok(Exit::Success)
}

fn text(report: &Report, bytes: bool, paint: Paint) -> String {
    let mut out = String::new();
    let size =
        format!("{}, {}", count(report.code_bytes, "byte"), count(report.instructions.len(), "instruction"));
    let head = format!("; {}, {}: {size} of code", report.program, report.format);
    // Writing to a string cannot fail.
    let _ = writeln!(out, "{}", paint.text(Style::Faint, head));
    if !report.jump_table.is_empty() {
        let targets: Vec<_> = report.jump_table.iter().map(|t| format!("@{t}")).collect();
        let _ = writeln!(out, "{}", paint.text(Style::Faint, format!("; jump table: {}", targets.join(" "))));
    }
    let mut last_source = None;
    for line in &report.instructions {
        if let Some(gas) = line.block_gas {
            let _ =
                writeln!(out, "\n{}", paint.text(Style::Faint, format!("; block at {}, {gas} gas", line.pc)));
        }
        for export in &line.exports {
            let _ = writeln!(out, "{}", paint.text(Style::Heading, format!("; export {export}")));
        }
        let source = line.file.as_ref().map(|file| (file, line.line));
        if source.is_some() && source != last_source {
            let at = line.line.map_or_else(String::new, |n| format!(":{n}"));
            let file = line.file.as_deref().unwrap_or_default();
            let _ = writeln!(out, "{}", paint.text(Style::Faint, format!("; {file}{at}")));
            last_source = source;
        }
        let encoded = if bytes { format!("{:<24}", line.bytes) } else { String::new() };
        let _ = writeln!(out, "{:>8}  {encoded}{}", line.pc, line.text);
    }
    out
}
