//! `javm asm`: text to a bare program blob.

use std::{collections::BTreeMap, path::PathBuf};

use javm_isa::asm::assemble;
use serde::Serialize;

use crate::{
    Exit,
    error::CliError,
    load::{self, path_name},
    show::{Fields, Output, Paint, count},
};

/// What to assemble.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Args {
    /// The text: an instruction a line, as `javm disasm` prints them.
    file: PathBuf,
    /// Where the blob goes.
    #[arg(short, long, value_name = "OUT")]
    output: PathBuf,
}

#[derive(Serialize)]
struct Report {
    file: String,
    output: String,
    blob_bytes: usize,
    code_bytes: u32,
    instructions: usize,
    jump_table_entries: usize,
    /// Names of `.export` and their code offsets. A bare blob does not hold them.
    exports: Vec<Export>,
    labels: BTreeMap<String, u32>,
}

#[derive(Serialize)]
struct Export {
    name: String,
    pc: u32,
}

pub(crate) fn run(args: &Args, out: &mut Output) -> Result<Exit, CliError> {
    let text = String::from_utf8(load::bytes(&args.file)?)
        .map_err(|_| CliError::NotText { path: args.file.clone() })?;
    let assembled = assemble(&text).map_err(|source| CliError::Asm { path: args.file.clone(), source })?;
    let code = assembled.code().map_err(|source| CliError::AsmCode { path: args.file.clone(), source })?;
    let blob = javm_program::bare::to_blob(&code);
    load::write(&args.output, &blob)?;
    let report = Report {
        file: path_name(&args.file),
        output: path_name(&args.output),
        blob_bytes: blob.len(),
        code_bytes: code.len(),
        instructions: code.instructions(0).count(),
        jump_table_entries: code.jump_table().len(),
        exports: assembled.exports.into_iter().map(|(name, pc)| Export { name, pc }).collect(),
        labels: assembled.labels,
    };
    out.report(&report, text_report)?;
    Ok(Exit::Success)
}

fn text_report(report: &Report, paint: Paint) -> String {
    let mut fields = Fields::new(paint);
    fields.add("blob", format!("{}, {}", report.output, count(report.blob_bytes, "byte")));
    let instructions = count(report.instructions, "instruction");
    fields.add("code", format!("{}, {instructions}", count(report.code_bytes, "byte")));
    fields.add("jump table", count(report.jump_table_entries, "target"));
    for Export { name, pc } in &report.exports {
        fields.add("export", format!("{} at {pc}", crate::show::clean(name)));
    }
    fields.finish()
}
