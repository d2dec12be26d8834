//! `javm inspect`: what a program is, without running it. Blobs of the microkernel are in `manifest.rs`.

pub(crate) mod manifest;

use std::{collections::BTreeSet, path::PathBuf};

use javm::publish::{RO_DATA_SLOT, RW_DATA_SLOT};
use javm_abi::GuestOp;
use javm_cap::CacheDirectory;
use javm_exec::Engine;
use javm_gas::{BlockCosts, GasModel};
use javm_isa::Code;
use javm_program::{Access, Format, Program, RegionKind};
use serde::Serialize;

use crate::{
    Exit,
    error::CliError,
    load::{self, path_name},
    options::{LoadOptions, required_number},
    show::{Fields, Output, Paint, Style, clean, count, grouped, hex},
    vms::{Session, Start, live::Live},
    world::endpoints,
};

/// What to look at.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Args {
    /// The program.
    program: PathBuf,
    /// List every basic block with its cost.
    #[arg(long)]
    blocks: bool,
    /// What a basic block costs: pipeline, per-instruction.
    #[arg(long, value_name = "MODEL", default_value_t = GasModel::Pipeline)]
    gas_model: GasModel,
    /// Run a manifest (operation 0), and draw what there is at the end.
    #[arg(long)]
    live: bool,
    /// With --live: stop after so many operations of the kernel; `run --trace` numbers them.
    #[arg(long, value_name = "N", requires = "live")]
    steps: Option<u64>,
    /// With --live: φ7, and numbers for φ10 to φ12.
    #[arg(long, value_name = "NUMBER", requires = "live", num_args = 1..=4)]
    with: Vec<String>,
    /// With --live: the most gas to spend.
    #[arg(long, value_name = "N", default_value = "10G", value_parser = crate::options::gas)]
    gas: u64,
    #[command(flatten)]
    load: LoadOptions,
}

#[derive(Serialize)]
struct Report {
    program: String,
    format: String,
    code_bytes: u32,
    instructions: usize,
    jump_table_entries: usize,
    /// Names and source lines are in the file.
    debug_info: bool,
    /// Bytes in front of a JAM program.
    metadata_bytes: usize,
    /// The name of the image that the program becomes.
    image: Option<String>,
    /// Why it becomes none.
    no_image: Option<String>,
    exports: Vec<Export>,
    imports: Vec<Import>,
    memory: Vec<Memory>,
    gas: Gas,
    /// With `--blocks`.
    blocks: Option<Vec<Block>>,
}

#[derive(Serialize)]
struct Export {
    /// Not of a flat program.
    endpoint: Option<u8>,
    name: String,
    pc: u32,
}

#[derive(Serialize)]
struct Import {
    /// The `ecalli` number in the file.
    number: u32,
    /// What the file calls it.
    symbol: Option<String>,
    /// The operation of the capability machine that it is, for programs that run as instances.
    operation: Option<&'static str>,
    /// Whether the code uses it.
    used: bool,
}

#[derive(Serialize)]
struct Memory {
    kind: String,
    start: u32,
    size: u32,
    writable: bool,
    /// What the file holds of it.
    content_bytes: usize,
    /// The root slot that it is laid out from, for programs that run as instances.
    slot: Option<u32>,
}

#[derive(Serialize)]
struct Gas {
    model: String,
    blocks: usize,
    /// The sum over all blocks.
    total: u64,
    min: u32,
    median: u32,
    max: u32,
    /// Where the block of that cost starts; the first, if there are several.
    max_pc: u32,
}

#[derive(Clone, Serialize)]
struct Block {
    pc: u32,
    instructions: usize,
    gas: u32,
}

pub(crate) fn run(args: &Args, out: &mut Output) -> Result<Exit, CliError> {
    let bytes = load::bytes(&args.program)?;
    if args.load.reads_manifest(&bytes) {
        return if args.live { live(args, &bytes, out) } else { manifest::run(args, &bytes, out) };
    }
    if args.live {
        return Err(CliError::NotHere(
            "--live: only a manifest is run on the microkernel; `javm pack` makes one",
        ));
    }
    let program = load::program_of(&args.program, &bytes, args.load)?;
    let as_instance = matches!(program.format(), Format::PolkaVm { .. } | Format::Elf);
    let image = as_instance.then(|| javm::publish(&mut CacheDirectory::new(), &program));
    let (image, no_image) = match image {
        None => (None, Some("a program of this format runs flat".to_owned())),
        Some(Ok(hash)) => (Some(hex(&hash)), None),
        Some(Err(error)) => (None, Some(clean(&error.to_string()))),
    };
    let blocks = blocks(program.code(), args.gas_model);
    let code = program.code();
    let report = Report {
        program: path_name(&args.program),
        format: program.format().to_string(),
        code_bytes: code.len(),
        instructions: blocks.iter().map(|b| b.instructions).sum(),
        jump_table_entries: code.jump_table().len(),
        debug_info: program.has_debug_info(),
        metadata_bytes: program.metadata().len(),
        exports: exports(&program, image.is_some()),
        imports: imports(&program, as_instance),
        memory: memory(&program, image.is_some()),
        gas: gas(&blocks, args.gas_model),
        blocks: args.blocks.then_some(blocks),
        image,
        no_image,
    };
    out.report(&report, text)?;
    Ok(Exit::Success)
}

/// Runs a manifest and draws what there is.
fn live(args: &Args, bytes: &[u8], out: &mut Output) -> Result<Exit, CliError> {
    let numbers = args.with.iter().map(|text| required_number(text)).collect::<Result<Vec<_>, _>>()?;
    let mut start = Start { gas: args.gas, ..Start::default() };
    if let Some((operation, rest)) = numbers.split_first() {
        (start.operation, start.numbers) = (*operation, rest.to_vec());
    }
    let mut session = Session::new(&args.program, bytes, &Engine::default(), &start)?;
    session.run(args.steps, false);
    out.report(&Live::of(&session.invocation), Live::text)?;
    Ok(Exit::Success)
}

fn blocks(code: &Code, model: GasModel) -> Vec<Block> {
    let mut blocks: Vec<Block> =
        BlockCosts::new(code, model).iter().map(|(pc, gas)| Block { pc, instructions: 0, gas }).collect();
    let mut current = 0;
    for (pc, _) in code.instructions(0) {
        while blocks.get(current + 1).is_some_and(|next| next.pc <= pc) {
            current += 1;
        }
        if let Some(block) = blocks.get_mut(current) {
            block.instructions += 1;
        }
    }
    blocks
}

fn gas(blocks: &[Block], model: GasModel) -> Gas {
    let mut costs: Vec<u32> = blocks.iter().map(|b| b.gas).collect();
    costs.sort_unstable();
    let at = |n: usize| costs.get(n).copied().unwrap_or_default();
    let max = at(costs.len().saturating_sub(1));
    Gas {
        model: model.to_string(),
        blocks: costs.len(),
        total: costs.iter().map(|c| u64::from(*c)).sum(),
        min: at(0),
        median: at(costs.len() / 2),
        max,
        max_pc: blocks.iter().find(|b| b.gas == max).map_or(0, |b| b.pc),
    }
}

fn exports(program: &Program, is_image: bool) -> Vec<Export> {
    if is_image {
        let all = endpoints(program).into_iter();
        let mut all: Vec<_> =
            all.map(|(index, name, pc)| Export { endpoint: Some(index), name, pc }).collect();
        all.sort_by_key(|e| e.endpoint);
        return all;
    }
    let name = |e: &javm_program::Export| clean(&e.name_lossy());
    program.exports().iter().map(|e| Export { endpoint: None, name: name(e), pc: e.pc }).collect()
}

fn imports(program: &Program, as_instance: bool) -> Vec<Import> {
    let used: BTreeSet<u32> = program.ecalli_numbers().into_iter().collect();
    let named = program.imports().iter().map(|i| i.number);
    let numbers: BTreeSet<u32> = used.iter().copied().chain(named).collect();
    let import = |number: u32| {
        let symbol = program.import_symbol(number).map(String::from_utf8_lossy);
        let operation = match &symbol {
            Some(name) => GuestOp::from_name(name),
            None => GuestOp::from_number(u64::from(number)),
        };
        Import {
            number,
            symbol: symbol.map(|s| clean(&s)),
            operation: operation.filter(|_| as_instance).map(GuestOp::name),
            used: used.contains(&number),
        }
    };
    numbers.into_iter().map(import).collect()
}

fn memory(program: &Program, is_image: bool) -> Vec<Memory> {
    let slot = |kind| match kind {
        RegionKind::RoData => Some(RO_DATA_SLOT.0),
        RegionKind::RwData | RegionKind::Heap => Some(RW_DATA_SLOT.0),
        _ => None,
    };
    let region = |r: &javm_program::Region| Memory {
        kind: r.kind.to_string(),
        start: r.start,
        size: r.size,
        writable: r.access == Access::ReadWrite,
        content_bytes: r.contents.len(),
        slot: slot(r.kind).filter(|_| is_image),
    };
    program.regions().iter().map(region).collect()
}

fn text(report: &Report, paint: Paint) -> String {
    let mut fields = Fields::new(paint);
    fields.add("program", format!("{}, {}", report.program, report.format));
    fields.maybe("image", report.image.as_ref().or(report.no_image.as_ref()));
    let (code, instructions) = (count(report.code_bytes, "byte"), count(report.instructions, "instruction"));
    fields.add("code", format!("{code}, {instructions}"));
    fields.add("jump table", count(report.jump_table_entries, "target"));
    fields.add("debug info", if report.debug_info { "names and source lines" } else { "none" });
    if report.metadata_bytes > 0 {
        fields.add("metadata", count(report.metadata_bytes, "byte"));
    }
    heading(&mut fields, paint, "exports", report.exports.is_empty());
    for Export { endpoint, name, pc } in &report.exports {
        let index = endpoint.map_or_else(|| "-".to_owned(), |n| n.to_string());
        fields.raw(&format!("  {index:>3}  {name:<32} at {pc}\n"));
    }
    heading(&mut fields, paint, "imports", report.imports.is_empty());
    for Import { number, symbol, operation, used } in &report.imports {
        let name = operation.or(symbol.as_deref()).unwrap_or("?");
        let unused = if *used { "" } else { "  (not used)" };
        fields.raw(&format!("  {number:>3}  {name}{unused}\n"));
    }
    heading(&mut fields, paint, "memory", report.memory.is_empty());
    fields.raw(&memory_map(&report.memory));
    let Gas { model, blocks, total, min, median, max, max_pc } = &report.gas;
    fields.raw("\n").add("gas", format!("{model}: {} cost {}", count(*blocks, "block"), grouped(*total)));
    fields.add("per block", format!("{min} to {max}, median {median}; the dearest starts at {max_pc}"));
    if let Some(blocks) = &report.blocks {
        block_table(&mut fields, paint, blocks);
    }
    fields.finish()
}

fn block_table(fields: &mut Fields, paint: Paint, blocks: &[Block]) {
    heading(fields, paint, "   offset  instructions       gas", false);
    for Block { pc, instructions, gas } in blocks {
        fields.raw(&format!("{pc:>9}  {instructions:>12}  {gas:>8}\n"));
    }
}

fn heading(fields: &mut Fields, paint: Paint, name: &str, none: bool) {
    let none = if none { ": none" } else { "" };
    fields.raw(&format!("\n{}\n", paint.text(Style::Heading, format!("{name}{none}"))));
}

/// The memory as a drawing, high addresses below.
fn memory_map(regions: &[Memory]) -> String {
    let mut out = String::new();
    let bar = "─".repeat(34);
    let mut end = None;
    for region in regions {
        let start = u64::from(region.start);
        if end.is_some_and(|end| end != start) {
            out.push_str(&format!("              {:>18}\n", "⋮"));
        }
        let access = if region.writable { "rw" } else { "r-" };
        let slot = region.slot.map_or_else(String::new, |slot| format!("   slot {slot}"));
        let content = if region.content_bytes > 0 {
            format!("   {} from the file", count(region.content_bytes, "byte"))
        } else {
            "   zeros".to_owned()
        };
        out.push_str(&format!("  {start:#010x}  ┌{bar}┐\n"));
        out.push_str(&format!(
            "              │ {:<18}{access}{:>12} │{content}{slot}\n",
            region.kind,
            size(region.size)
        ));
        end = Some(start + u64::from(region.size));
        out.push_str(&format!("  {:#010x}  └{bar}┘\n", start + u64::from(region.size)));
    }
    out
}

/// A size that is whole pages.
fn size(bytes: u32) -> String {
    if bytes.is_multiple_of(1 << 20) {
        format!("{} MiB", bytes >> 20)
    } else {
        format!("{} KiB", bytes >> 10)
    }
}
