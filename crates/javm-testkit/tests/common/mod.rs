//! PolkaVM's interpreter as a machine that can be driven.

use javm_exec::{ExitReason, NUM_REGS, PAGE_SIZE, Reg};
use javm_isa::Code;
use javm_testkit::{
    drive::{Digest, Machine},
    r#gen::Case,
};
use polkavm::{
    BackendKind, CacheModel, Config, CostModelKind, Engine, GasMeteringKind, InterruptKind, MemoryProtection,
    Module, ModuleConfig, ProgramBlob, ProgramCounter, ProgramParts, RawInstance,
};
use polkavm_common::program::InstructionSetKind;

/// An engine that only interprets, with paging.
pub(crate) fn engine() -> Engine {
    let mut config = Config::new();
    config.set_backend(Some(BackendKind::Interpreter));
    config.set_allow_dynamic_paging(true);
    Engine::new(&config).unwrap()
}

/// The program as PolkaVM takes it: its container has a bare blob inside.
pub(crate) fn blob(code: &Code) -> ProgramBlob {
    let mut parts = ProgramParts::empty(InstructionSetKind::JamV1);
    parts.code_and_jump_table = javm_program::bare::to_blob(code).into();
    ProgramBlob::from_parts(parts).unwrap()
}

/// A machine of PolkaVM's interpreter.
pub(crate) struct PolkaMachine {
    instance: RawInstance,
    /// Mapped pages, ascending: it does not list them itself.
    pages: Vec<u32>,
    pc: Option<u64>,
}

impl PolkaMachine {
    pub(crate) fn new(engine: &Engine, case: &Case) -> Self {
        let mut config = ModuleConfig::new();
        config.set_page_size(PAGE_SIZE as u32);
        config.set_gas_metering(Some(GasMeteringKind::Sync));
        config.set_dynamic_paging(true);
        config.set_cost_model(Some(CostModelKind::Full(CacheModel::L2Hit)));
        let module = Module::from_blob(engine, &config, blob(&case.code)).unwrap();
        let mut instance = module.instantiate().unwrap();
        let mut pages = Vec::new();
        for mapping in &case.memory {
            let (address, len) = (mapping.first * PAGE_SIZE as u32, mapping.count * PAGE_SIZE as u32);
            instance.zero_memory_with_memory_protection(address, len, MemoryProtection::ReadWrite).unwrap();
            instance.write_memory(address, &mapping.contents).unwrap();
            if !mapping.writable {
                instance.protect_memory(address, len).unwrap();
            }
            pages.extend(mapping.first..mapping.first + mapping.count);
        }
        pages.sort_unstable();
        for (reg, value) in polkavm::Reg::ALL.into_iter().zip(case.regs) {
            instance.set_reg(reg, value);
        }
        instance.set_gas(case.gas as i64);
        instance.set_next_program_counter(ProgramCounter(case.pc as u32));
        Self { instance, pages, pc: None }
    }
}

impl Machine for PolkaMachine {
    fn run(&mut self) -> ExitReason {
        let interrupt = self.instance.run().unwrap();
        self.pc = self.instance.program_counter().map(|pc| pc.0.into());
        match interrupt {
            InterruptKind::Finished => ExitReason::Halt,
            InterruptKind::Trap => ExitReason::Panic,
            InterruptKind::Ecalli(n) => ExitReason::HostCall(n),
            InterruptKind::Segfault(fault) => ExitReason::PageFault(fault.page_address),
            InterruptKind::NotEnoughGas => {
                // Where it could not even start it only knows where it would.
                self.pc = self.pc.or(self.instance.next_program_counter().map(|pc| pc.0.into()));
                ExitReason::OutOfGas
            }
            InterruptKind::Step => unreachable!("it was not asked to step"),
        }
    }

    fn pc(&self) -> Option<u64> {
        self.pc
    }

    fn regs(&self) -> [u64; NUM_REGS] {
        polkavm::Reg::ALL.map(|reg| self.instance.reg(reg))
    }

    fn set_reg(&mut self, reg: Reg, value: u64) {
        self.instance.set_reg(polkavm::Reg::ALL[reg as usize], value);
    }

    fn gas(&self) -> u64 {
        u64::try_from(self.instance.gas()).unwrap()
    }

    fn set_gas(&mut self, gas: u64) {
        self.instance.set_gas(gas as i64);
    }

    fn gas_charged(&self) -> Option<bool> {
        None
    }

    fn skip_call(&mut self) {
        // It stands behind the call already.
    }

    fn give_page(&mut self, page: u32, writable: bool) {
        let (address, len) = (page * PAGE_SIZE as u32, PAGE_SIZE as u32);
        match self.pages.binary_search(&page) {
            Ok(_) => self.instance.unprotect_memory(address, len).unwrap(),
            Err(at) => {
                let access = if writable { MemoryProtection::ReadWrite } else { MemoryProtection::Read };
                self.instance.zero_memory_with_memory_protection(address, len, access).unwrap();
                self.pages.insert(at, page);
            }
        }
    }

    fn memory(&mut self) -> Digest {
        let mut digest = Digest::default();
        let mut bytes = [0; PAGE_SIZE];
        for page in &self.pages {
            self.instance.read_memory_into(page * PAGE_SIZE as u32, &mut bytes).unwrap();
            digest.add(*page, &bytes);
        }
        digest
    }
}
