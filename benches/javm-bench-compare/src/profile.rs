//! [`print`]: where the time of each kernel goes. A run is counted block by block by the interpreter; of the blocks
//! that run most, each instruction is shown beside the machine code that `javm-recompiler` and
//! `polkavm-linux-full` make of it.
//!
//! Counts are of the program and the same everywhere; nothing here depends on time.

use std::collections::BTreeMap;

use iced_x86::{Decoder, DecoderOptions, Formatter, IntelFormatter};
use javm_exec::{Backend, Config, Engine, Module};
use javm_program::Program;
use javm_virt::Flat;
use polkavm::ProgramCounter;

use crate::{
    kernels::{Kernel, Subject},
    rival::{GAS, RivalError},
    rivals::ours::Answers,
};

/// Prints the profile of each kernel: so many of its hottest blocks, so many instructions of each.
pub(crate) fn print(
    subjects: &[Subject],
    kernels: &[Kernel],
    scale: f64,
    shown: (usize, usize),
) -> Result<(), RivalError> {
    let engine = Engine::new(Config::new().backend(Backend::Recompiler))?;
    for kernel in kernels {
        let subject = &subjects[kernel.subject];
        let flat = Flat::new(&engine, Program::load(&subject.blob)?);
        let counts = count(&flat, kernel, &kernel.cold_args(scale))?;
        let theirs = Theirs::new(subject)?;
        print_kernel(kernel.name, flat.module(), &theirs, &counts, shown);
    }
    Ok(())
}

/// How often each block is entered, by where it begins.
fn count(flat: &Flat, kernel: &Kernel, args: &[u64]) -> Result<BTreeMap<u32, u64>, RivalError> {
    let pc = flat.export(kernel.export.as_bytes()).ok_or(RivalError::NoExport(kernel.export))?;
    let mut instance = flat.instance(pc, args, GAS)?;
    let mut counts: BTreeMap<u32, u64> = BTreeMap::new();
    let mut handler = Answers::new();
    let code = flat.module().code();
    loop {
        if code.is_block_start(instance.regs.pc) {
            *counts.entry(instance.regs.pc as u32).or_default() += 1;
        }
        if let Some(exit) = instance.step(&mut handler) {
            return handler.ended(exit).map(|()| counts);
        }
    }
}

/// A program as PolkaVM compiles it.
struct Theirs(polkavm::Module);

impl Theirs {
    fn new(subject: &Subject) -> Result<Self, RivalError> {
        let mut config = polkavm::Config::new();
        config
            .set_backend(Some(polkavm::BackendKind::Compiler))
            .set_sandbox(Some(polkavm::SandboxKind::Linux))
            .set_allow_experimental(true);
        let engine = polkavm::Engine::new(&config)?;
        let mut config = polkavm::ModuleConfig::new();
        config
            .set_gas_metering(Some(polkavm::GasMeteringKind::Sync))
            .set_cost_model(Some(polkavm::CostModelKind::Full(polkavm::CacheModel::L2Hit)));
        let blob = polkavm::ProgramBlob::parse(subject.blob.as_ref().into())?;
        Ok(Self(polkavm::Module::from_blob(&engine, &config, blob)?))
    }

    fn machine_code_at(&self, pc: u32) -> &[u8] {
        let find = || {
            let offsets = self.0.program_counter_to_machine_code_offset()?;
            let n = offsets.binary_search_by_key(&ProgramCounter(pc), |(pc, _)| *pc).ok()?;
            self.0.machine_code()?.get(offsets.get(n)?.1 as usize..offsets.get(n + 1)?.1 as usize)
        };
        find().unwrap_or_default()
    }
}

/// One line for each machine instruction.
fn disassemble(code: &[u8]) -> Vec<String> {
    let mut formatter = IntelFormatter::new();
    let decoder = Decoder::with_ip(64, code, 0, DecoderOptions::NONE);
    let line = |instruction| {
        let mut text = String::new();
        formatter.format(&instruction, &mut text);
        text
    };
    decoder.into_iter().map(line).collect()
}

fn print_kernel(
    name: &str,
    module: &Module,
    theirs: &Theirs,
    counts: &BTreeMap<u32, u64>,
    (shown, of_each): (usize, usize),
) {
    let code = module.code();
    let length = |start: u32| {
        let instructions = code.instructions(start);
        1 + instructions.take_while(|(_, instruction)| !instruction.op.is_terminator()).count() as u64
    };
    let mut blocks: Vec<(u64, u64, u32)> =
        counts.iter().map(|(start, count)| (count * length(*start), *count, *start)).collect();
    let all: u64 = blocks.iter().map(|(weight, ..)| weight).sum();
    println!("# {name}: {all} instructions in {} blocks\n", blocks.len());
    blocks.sort_unstable_by_key(|(weight, _, start)| (core::cmp::Reverse(*weight), *start));
    for (weight, count, start) in blocks.into_iter().take(shown) {
        let share = weight as f64 * 100.0 / all as f64;
        println!(
            "## {share:.1} %: {count} times, block at {start}, gas {}\n",
            module.block_cost(start.into())
        );
        println!("{:46} {:46} polkavm-linux-full", "guest", "javm-recompiler");
        let mut totals = [(0, 0); 2];
        for (n, (pc, instruction)) in code.instructions(start).take(length(start) as usize).enumerate() {
            let codes = [module.machine_code_at(pc).unwrap_or_default(), theirs.machine_code_at(pc)];
            let [ours, their] = codes.map(disassemble);
            for (total, (code, lines)) in totals.iter_mut().zip(codes.iter().zip([&ours, &their])) {
                *total = (total.0 + lines.len(), total.1 + code.len());
            }
            if n >= of_each {
                continue;
            }
            let guest = format!("{pc:6} {instruction}");
            for n in 0..ours.len().max(their.len()).max(1) {
                let at = |lines: &[String]| lines.get(n).cloned().unwrap_or_default();
                let guest = if n == 0 { guest.as_str() } else { "" };
                println!("{}", format!("{guest:46} {:46} {}", at(&ours), at(&their)).trim_end());
            }
        }
        let [ours, their] = totals.map(|(lines, bytes)| format!("{lines} instructions, {bytes} bytes"));
        println!("{:46} {ours:46} {their}\n", format!("{} instructions", length(start)));
    }
}
