//! [`Flat`]: a program laid out on the engine, memory as it plans it, registers, entry points; arguments in
//! registers.
//!
//! What an `ecalli` means is the caller's handler's business. [`Virt`](crate::Virt) is built on it; so are
//! `javm run --flat` and the benches, which want the engine's [`Instance`] itself. Instances of the capability
//! machine are the crate `javm`'s.

use std::{collections::BTreeMap, sync::Arc, vec::Vec};

use javm_exec::{
    Access, Code, Engine, GasCounter, Instance, MapError, Memory, Module, NUM_REGS, PageSource, Reg,
};
use javm_program::{PAGE_SIZE, Program, Region, RegionKind};

/// A program that can be run flat any number of times.
#[derive(Clone, Debug)]
pub struct Flat {
    module: Module,
    exports: BTreeMap<Vec<u8>, u32>,
    registers: [u64; NUM_REGS],
    mappings: Vec<Mapping>,
}

/// A region, ready to be mapped into any number of memories.
#[derive(Clone)]
pub(crate) struct Mapping {
    pub(crate) kind: RegionKind,
    pub(crate) first: u32,
    pub(crate) count: u32,
    access: Access,
    source: Option<Arc<dyn PageSource>>,
}

impl core::fmt::Debug for Mapping {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let Self { kind, first, count, .. } = self;
        write!(f, "{kind}, pages {first}..{first}+{count}")
    }
}

impl Mapping {
    fn new(region: &Region) -> Self {
        let access = match region.access {
            javm_program::Access::ReadOnly => Access::ReadOnly,
            javm_program::Access::ReadWrite => Access::ReadWrite,
        };
        let source: Option<Arc<dyn PageSource>> = match &region.contents {
            contents if contents.is_empty() => None,
            contents => Some(Arc::new(contents.clone())),
        };
        let (first, count) = (region.start / PAGE_SIZE, region.size.div_ceil(PAGE_SIZE));
        Self { kind: region.kind, first, count, access, source }
    }

    pub(crate) fn map(&self, memory: &mut Memory) -> Result<(), MapError> {
        let source = self.source.as_ref().map(|source| (Arc::clone(source), 0));
        memory.map(self.first, self.count, self.access, source)
    }
}

/// Maps a region of a program, with its contents.
///
/// # Errors
/// [`MapError`] when something is mapped there already; nothing is mapped then.
pub fn map_region(memory: &mut Memory, region: &Region) -> Result<(), MapError> {
    Mapping::new(region).map(memory)
}

impl Flat {
    /// Takes a program in. It is priced and lowered when it first runs, as every [`Module`]. Of exports with one
    /// name the last counts.
    #[must_use]
    pub fn new(engine: &Engine, program: Program) -> Self {
        Self::of(program, |code| Module::new(engine, code))
    }

    /// The same with a module that is shared with everybody who brings the same program, and whose machine code is
    /// kept on disk if the engine has a place there ([`Engine::module`]).
    #[must_use]
    pub fn shared(engine: &Engine, program: Program) -> Self {
        Self::of(program, |code| {
            let key = javm_exec::module_key(&code);
            let Ok(module) = engine.module(key, || Ok::<_, core::convert::Infallible>(code));
            module
        })
    }

    fn of(program: Program, module: impl FnOnce(Code) -> Module) -> Self {
        Self {
            exports: program.exports().iter().map(|export| (export.name.clone(), export.pc)).collect(),
            registers: program.registers(),
            mappings: program.regions().iter().map(Mapping::new).collect(),
            module: module(program.into_code()),
        }
    }

    /// The module.
    #[must_use]
    pub const fn module(&self) -> &Module {
        &self.module
    }

    /// Code offset of the export with this name.
    #[must_use]
    pub fn export(&self, name: &[u8]) -> Option<u32> {
        self.exports.get(name).copied()
    }

    /// Names of the exports, ascending, with their code offsets.
    pub fn exports(&self) -> impl Iterator<Item = (&[u8], u32)> {
        self.exports.iter().map(|(name, pc)| (name.as_slice(), *pc))
    }

    /// The registers that a run starts with.
    #[must_use]
    pub const fn registers(&self) -> &[u64; NUM_REGS] {
        &self.registers
    }

    pub(crate) fn mappings(&self) -> &[Mapping] {
        &self.mappings
    }

    /// A fresh machine at `pc` with this much gas; the arguments are in A0 to A5, more than six are ignored.
    ///
    /// # Errors
    /// [`MapError`] when the regions of the program overlap, which no reader lets through.
    pub fn instance(&self, pc: u32, args: &[u64], gas: u64) -> Result<Instance, MapError> {
        let mut instance = Instance::new(&self.module);
        for mapping in &self.mappings {
            mapping.map(&mut instance.memory)?;
        }
        instance.regs.gpr = self.registers;
        instance.regs.pc = u64::from(pc);
        for (register, arg) in instance.regs.gpr[Reg::A0 as usize..].iter_mut().zip(args) {
            *register = *arg;
        }
        instance.gas = GasCounter::new(gas);
        Ok(instance)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use javm_exec::{Backend, Config, ExitOnEcall, ExitReason};
    use javm_isa::Code;

    #[test]
    fn code_without_memory_runs_with_its_arguments() {
        // add_64 a0, a0, a1; jump_ind ra, 0
        let code = Code::new(&[200, 0x87, 7, 50, 0], &[0b0_1001], &[]).unwrap();
        let engine = Engine::new(Config::new().backend(Backend::Interpreter)).unwrap();
        let flat = Flat::new(&engine, Program::from_code(code));
        let mut instance = flat.instance(0, &[40, 2], 1000).unwrap();
        instance.regs.set(Reg::RA, u64::from(javm_exec::HALT_ADDRESS));
        assert_eq!(instance.run(&mut ExitOnEcall), ExitReason::Halt);
        assert_eq!(instance.regs.get(Reg::A0), 42);
        assert_eq!(flat.export(b"main"), None);
    }
}
