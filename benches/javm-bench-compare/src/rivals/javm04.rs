//! The published `javm` 0.4 crate's recompiler.
//!
//! It has no compiled modules: a machine is made from code and compiles it. So a warm run is timed from
//! entering a machine that was made before to the end, without making or dropping it, which favours it. Its
//! programs are numbered differently (Gray Paper 0.7 with `unlikely` and `ecall`) and its memory is one
//! stretch from address 0 up to a bound that each access is compared with; a program keeps its own addresses
//! under a bound above all of them.

use std::time::{Duration, Instant};

use javm_isa::{Code, Op, reg::NUM_REGS};
use javm_program::{Program, Region, RegionKind};
use javm04::{ExitReason, RecompiledPvm, program::DataLayout};

use crate::{
    kernels::{Kernel, Subject},
    rival::{Class, Compiled, GAS, Host, Rival, RivalError},
};

/// The engine.
pub(crate) struct Javm04;

impl Rival for Javm04 {
    fn name(&self) -> &str {
        "javm04"
    }

    fn class(&self) -> Class {
        Class::Recompiler
    }

    fn compiles(&self) -> bool {
        true
    }

    fn prepare(&self, subject: &Subject) -> Result<Box<dyn Compiled>, RivalError> {
        let mut loaded = Loaded { program: Program::load(&subject.blob)?, machine: None };
        loaded.machine = Some(loaded.machine()?);
        Ok(Box::new(loaded))
    }
}

struct Loaded {
    program: Program,
    /// Made by `prepare`, used by the first run.
    machine: Option<RecompiledPvm>,
}

/// Code and bitmask, a byte per code byte, as the crate wants them.
fn renumbered(code: &Code) -> (Vec<u8>, Vec<u8>) {
    let mut bytes = code.bytes().to_vec();
    let mut starts = vec![0; bytes.len()];
    for (pc, instruction) in code.instructions(0) {
        starts[pc as usize] = 1;
        bytes[pc as usize] = match instruction.op {
            op @ (Op::Unlikely | Op::Ecall) => op.opcode(),
            op => op.opcode_07().unwrap_or(op.opcode()),
        };
    }
    (bytes, starts)
}

impl Loaded {
    fn machine(&self) -> Result<RecompiledPvm, RivalError> {
        let data = |kind| -> (u32, Vec<u8>) {
            let region = self.program.regions().iter().find(|region: &&Region| region.kind == kind);
            region.map_or((0, Vec::new()), |region| (region.start, region.contents.clone()))
        };
        let (ro_start, ro_data) = data(RegionKind::RoData);
        let (rw_start, rw_data) = data(RegionKind::RwData);
        // What its table of page rights covers, a byte per page: everything below the bound.
        let mem_size = javm_exec::HALT_ADDRESS;
        let (code, bitmask) = renumbered(self.program.code());
        let mut machine = RecompiledPvm::new(
            code,
            bitmask,
            self.program.code().jump_table().to_vec(),
            self.program.registers(),
            GAS,
            Some(DataLayout {
                mem_size,
                arg_start: 0,
                arg_data: Vec::new(),
                ro_start,
                ro_data,
                rw_start,
                rw_data,
            }),
        )
        .map_err(|error| RivalError::Javm04(error.into()))?;
        machine.set_heap_top(javm_exec::HALT_ADDRESS);
        Ok(machine)
    }
}

impl Compiled for Loaded {
    fn run_fresh(&mut self, kernel: &Kernel, args: &[u64]) -> Result<(u64, Duration), RivalError> {
        let export = self.program.export(kernel.export.as_bytes());
        let pc = export.ok_or(RivalError::NoExport(kernel.export))?.pc;
        let mut machine = match self.machine.take() {
            Some(machine) => machine,
            None => self.machine()?,
        };
        let mut host = Host::new();
        let start = Instant::now();
        for (register, arg) in (7..NUM_REGS).zip(args) {
            machine.set_register(register, *arg);
        }
        machine.set_pc(pc);
        loop {
            match machine.run() {
                ExitReason::Halt => break,
                ExitReason::HostCall(number) => machine.set_register(7, host.answer(number)?),
                other => return Err(RivalError::Ended(format!("{other:?}").into())),
            }
        }
        Ok((machine.registers()[7], start.elapsed()))
    }
}
