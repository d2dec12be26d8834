//! `javm inspect` of a manifest blob: its capabilities and the code among them.

use std::fmt::Write as _;

use javm_abi::microkernel::CapRef;
use javm_gas::GasModel;
use javm_program::{Access, Manifest, ManifestCap, ManifestKind, PAGE_SIZE, ProgramError};
use serde::Serialize;

use super::{Args, Block, Gas, Memory, blocks, gas, heading, memory_map};
use crate::{
    Exit,
    error::CliError,
    load::path_name,
    show::{Fields, Output, Paint, Style, count, grouped},
};

#[derive(Serialize)]
struct Report {
    program: String,
    format: &'static str,
    memory_pages: u32,
    invoke_slot: u8,
    caps: Vec<Cap>,
    codes: Vec<CodeReport>,
    /// With `--blocks`: those of the code that starts.
    blocks: Option<Vec<Block>>,
}

/// A capability that a blob starts with.
#[derive(Serialize)]
pub(crate) struct Cap {
    slot: u8,
    kind: &'static str,
    /// Of data.
    base_page: Option<u32>,
    /// Of data.
    page_count: Option<u32>,
    /// Of data.
    access: Option<&'static str>,
    content_bytes: usize,
}

/// The code of a capability.
#[derive(Serialize)]
struct CodeReport {
    slot: u8,
    code_bytes: u32,
    instructions: usize,
    jump_table_entries: usize,
    /// What it names in `ecalli`: capability references, 0 for REPLY.
    ecalli: Vec<u32>,
    /// Whether it has `ecall`.
    ecall: bool,
    gas: Gas,
}

impl Cap {
    /// What an entry says.
    pub(crate) fn of(cap: &ManifestCap<'_>) -> Self {
        let data = cap.kind == ManifestKind::Data;
        Self {
            slot: cap.slot,
            kind: if data { "DATA" } else { "CODE" },
            base_page: data.then_some(cap.base_page),
            page_count: data.then_some(cap.page_count),
            access: data.then(|| access(cap.access)),
            content_bytes: cap.contents.len(),
        }
    }
}

/// An access in the words of descriptions.
pub(crate) const fn access(access: Access) -> &'static str {
    match access {
        Access::ReadOnly => "ro",
        Access::ReadWrite => "rw",
    }
}

pub(super) fn run(args: &Args, bytes: &[u8], out: &mut Output) -> Result<Exit, CliError> {
    let name = path_name(&args.program);
    let report = report(&name, bytes, args).map_err(|source| CliError::Program { name, source })?;
    out.report(&report, text)?;
    Ok(Exit::Success)
}

fn report(name: &str, bytes: &[u8], args: &Args) -> Result<Report, ProgramError> {
    let manifest = Manifest::read(bytes)?;
    let invoked = manifest.invoked_code()?;
    let codes = manifest.caps.iter().filter(|c| c.kind == ManifestKind::Code);
    let codes = codes.map(|cap| code_report(cap, args.gas_model)).collect::<Result<_, _>>()?;
    Ok(Report {
        program: name.to_owned(),
        format: "capability manifest",
        memory_pages: manifest.memory_pages,
        invoke_slot: manifest.invoke_slot,
        caps: manifest.caps.iter().map(Cap::of).collect(),
        codes,
        blocks: args.blocks.then(|| blocks(&invoked, args.gas_model)),
    })
}

fn code_report(cap: &ManifestCap<'_>, model: GasModel) -> Result<CodeReport, ProgramError> {
    let code = cap.code()?;
    let blocks = blocks(&code, model);
    let ecall = code.instructions(0).any(|(_, i)| i.op == javm_isa::Op::Ecall);
    Ok(CodeReport {
        slot: cap.slot,
        code_bytes: code.len(),
        instructions: blocks.iter().map(|b| b.instructions).sum(),
        jump_table_entries: code.jump_table().len(),
        ecall,
        gas: gas(&blocks, model),
        ecalli: javm_program::Program::from_code(code).ecalli_numbers(),
    })
}

fn text(report: &Report, paint: Paint) -> String {
    let mut fields = Fields::new(paint);
    fields.add("program", format!("{}, {}", report.program, report.format));
    fields.add("memory", count(report.memory_pages, "page"));
    fields.raw("\n").raw(&table(&report.caps, report.invoke_slot, paint));
    for code in &report.codes {
        heading(&mut fields, paint, &format!("code in slot {}", code.slot), false);
        let (bytes, instructions) = (count(code.code_bytes, "byte"), count(code.instructions, "instruction"));
        let targets = count(code.jump_table_entries, "target");
        fields.raw(&format!("  {bytes}, {instructions}, jump table of {targets}\n"));
        fields.raw(&format!("  calls {}\n", calls(code)));
        let Gas { model, blocks, total, min, median, max, max_pc } = &code.gas;
        fields.raw(&format!("  {model}: {} cost {}, ", count(*blocks, "block"), grouped(*total)));
        fields.raw(&format!("{min} to {max}, median {median}; the dearest starts at {max_pc}\n"));
    }
    let memory = memory(&report.caps);
    heading(&mut fields, paint, "memory of the first machine", memory.is_empty());
    fields.raw(&memory_map(&memory));
    if let Some(blocks) = &report.blocks {
        super::block_table(&mut fields, paint, blocks);
    }
    fields.finish()
}

/// What a code asks of the kernel, in words.
fn calls(code: &CodeReport) -> String {
    let mut calls: Vec<String> = code.ecalli.iter().map(|n| reference(*n)).collect();
    if code.ecall {
        calls.push("the operation in φ11".to_owned());
    }
    if calls.is_empty() { "nothing".to_owned() } else { calls.join(", ") }
}

/// What an `ecalli` calls.
fn reference(number: u32) -> String {
    match number {
        0 => "REPLY".to_owned(),
        _ => crate::vms::reference(CapRef(number)),
    }
}

/// The capabilities, one a line.
pub(crate) fn table(caps: &[Cap], invoke_slot: u8, paint: Paint) -> String {
    let mut out = paint.text(Style::Heading, "slot  capability  pages       access   bytes");
    out.push('\n');
    for Cap { slot, kind, base_page, page_count, access, content_bytes } in caps {
        let pages = match (base_page, page_count) {
            (Some(base), Some(0)) => format!("{base:#x}, none"),
            (Some(base), Some(n)) => format!("{base:#x}+{n}"),
            _ => "-".to_owned(),
        };
        let access = access.unwrap_or("-");
        let starts = if *kind == "CODE" && *slot == invoke_slot { "   starts" } else { "" };
        let bytes = grouped(*content_bytes as u64);
        let _ = writeln!(out, "{slot:>4}  {kind:<10}  {pages:<12}{access:<6}{bytes:>8}{starts}");
    }
    out
}

/// The data that is mapped, by ascending address; what reaches past the address space is left out.
fn memory(caps: &[Cap]) -> Vec<Memory> {
    let mut memory: Vec<Memory> = caps
        .iter()
        .filter_map(|cap| {
            let (base, pages) = (cap.base_page?, cap.page_count?);
            let size = pages.checked_mul(PAGE_SIZE).filter(|size| *size > 0)?;
            (u64::from(base) + u64::from(pages) <= 1 << 20).then(|| Memory {
                kind: format!("DATA {}", cap.slot),
                start: base * PAGE_SIZE,
                size,
                writable: cap.access == Some("rw"),
                content_bytes: cap.content_bytes,
                slot: None,
            })
        })
        .collect();
    memory.sort_by_key(|m| m.start);
    memory
}
