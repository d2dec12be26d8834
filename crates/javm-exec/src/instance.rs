//! [`Instance`]: one run of a module.

use javm_isa::Instruction;
use javm_sys::Session;

use crate::{
    EcallHandler, ExitReason, GasCounter, Memory, Module, Regs, interp::Machine, jit, jit::Resumption,
};

/// A machine: a module with registers, gas and memory of its own.
///
/// All state is public: a host may set it between runs, and the next run goes on from what it finds.
#[derive(Debug)]
pub struct Instance {
    /// The program.
    pub module: Module,
    /// Registers and program counter. The counter may be any instruction's offset; anywhere else the next
    /// run panics without a charge.
    pub regs: Regs,
    /// Gas left.
    pub gas: GasCounter,
    /// Whether the basic block at the program counter is paid (Gray Paper 0.8: the gas-charged flag). Part
    /// of a paused machine's state: `false` at first entry and at a block that could not be paid, `true`
    /// at every other exit.
    pub gas_charged: bool,
    /// The memory.
    pub memory: Memory,
    /// Where the last host call that ended a run is gone on behind, so that it need not be looked for. No state:
    /// what does not fit the program and the counter is not used.
    resumption: Resumption,
}

/// What a trace hook sees: the machine before one instruction.
#[derive(Clone, Copy, Debug)]
pub struct Step<'a> {
    /// Offset of the instruction.
    pub pc: u32,
    /// The instruction.
    pub instruction: Instruction,
    /// Registers before it.
    pub regs: &'a Regs,
    /// Gas left before it; the block's cost is not yet taken where the instruction starts one.
    pub gas: u64,
}

impl Instance {
    /// A machine at offset 0 with zero registers, no gas and empty memory.
    #[must_use]
    pub fn new(module: &Module) -> Self {
        Self {
            module: module.clone(),
            regs: Regs::default(),
            gas: GasCounter::default(),
            gas_charged: false,
            memory: module.engine().memory(),
            resumption: Resumption::default(),
        }
    }

    /// Runs until something ends it. Running again resumes: a page fault and out of gas repeat what could
    /// not be done, a host call that ended the run is asked again unless [`Instance::skip_ecall`] was called.
    pub fn run(&mut self, handler: &mut impl EcallHandler) -> ExitReason {
        let Self { module, regs, gas, gas_charged, memory, resumption } = self;
        if let Memory::Window(window) = memory
            && let Some(program) = module.recompiled()
            && let Some(session) = Session::new()
        {
            let machine = Machine { regs, gas, gas_charged };
            let entering = (&session, resumption);
            if let Some(reason) = jit::run(program, module.code(), machine, window, handler, entering) {
                return reason;
            }
        }
        let machine = Machine { regs, gas, gas_charged };
        match memory {
            Memory::Copying(memory) => module.interpreter().run_on(machine, memory, handler),
            Memory::Window(memory) => module.interpreter().run_on(machine, memory, handler),
        }
    }

    /// Executes one instruction; `None` when the machine can go on. The sum of steps equals a run.
    pub fn step(&mut self, handler: &mut impl EcallHandler) -> Option<ExitReason> {
        let Self { module, regs, gas, gas_charged, memory, .. } = self;
        let machine = Machine { regs, gas, gas_charged };
        match memory {
            Memory::Copying(memory) => module.interpreter().step_on(machine, memory, handler),
            Memory::Window(memory) => module.interpreter().step_on(machine, memory, handler),
        }
    }

    /// As [`Instance::run`], calling `hook` before each instruction.
    pub fn run_traced(
        &mut self,
        handler: &mut impl EcallHandler,
        hook: &mut dyn FnMut(&Step<'_>),
    ) -> ExitReason {
        loop {
            let pc = u32::try_from(self.regs.pc).unwrap_or(u32::MAX);
            if let Some(instruction) = self.module.code().instruction(pc) {
                hook(&Step { pc, instruction, regs: &self.regs, gas: self.gas.remaining() });
            }
            if let Some(reason) = self.step(handler) {
                return reason;
            }
        }
    }

    /// Moves the program counter behind the host call that ended the last run, as if it had been answered.
    pub fn skip_ecall(&mut self) {
        let pc = u32::try_from(self.regs.pc).unwrap_or(u32::MAX);
        self.regs.pc = u64::from(self.module.code().next_pc(pc));
    }
}
