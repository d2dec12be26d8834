//! Programs run flat on the engine: memory as the program plans it, registers, an entry point, arguments in
//! registers. No kernel is around them: what an `ecalli` means is the caller's handler's business.
//!
//! Benches and `javm run` use it for programs that are no instances. Instances are `javm`'s.

use std::sync::Arc;

use javm_exec::{Access, Engine, GasCounter, Instance, MapError, Module, NUM_REGS, PageSource, Reg};
use javm_program::{Export, PAGE_SIZE, Program, Region};

/// A program that can be run flat any number of times.
pub struct Flat {
    module: Module,
    exports: Vec<Export>,
    registers: [u64; NUM_REGS],
    mappings: Vec<Mapping>,
}

struct Mapping {
    first: u32,
    count: u32,
    access: Access,
    source: Option<Arc<dyn PageSource>>,
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
        Self { first: region.start / PAGE_SIZE, count: region.size.div_ceil(PAGE_SIZE), access, source }
    }
}

impl Flat {
    /// Takes a program in. It is priced and lowered when it first runs, as every [`Module`].
    #[must_use]
    pub fn new(engine: &Engine, program: Program) -> Self {
        Self {
            exports: program.exports().to_vec(),
            registers: program.registers(),
            mappings: program.regions().iter().map(Mapping::new).collect(),
            module: Module::new(engine, program.into_code()),
        }
    }

    /// The module.
    #[must_use]
    pub fn module(&self) -> &Module {
        &self.module
    }

    /// Code offset of the first export with this name.
    #[must_use]
    pub fn export(&self, name: &[u8]) -> Option<u32> {
        self.exports.iter().find(|export| export.name == name).map(|export| export.pc)
    }

    /// A fresh machine at `pc` with this much gas; the arguments are in A0 to A5, more than six are ignored.
    ///
    /// # Errors
    /// [`MapError`] when the regions of the program overlap, which no reader lets through.
    pub fn instance(&self, pc: u32, args: &[u64], gas: u64) -> Result<Instance, MapError> {
        let mut instance = Instance::new(&self.module);
        for Mapping { first, count, access, source } in &self.mappings {
            let source = source.as_ref().map(|source| (Arc::clone(source), 0));
            instance.memory.map(*first, *count, *access, source)?;
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
