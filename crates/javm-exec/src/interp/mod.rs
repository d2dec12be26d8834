//! The interpreter: portable, without unsafe code, the reference for every other backend.
//!
//! A program is lowered once (`lower`) to an array of 20-byte operations in which every immediate is
//! decoded, and every jump target and jump-table entry is the number of an operation. `run` is one loop over
//! that array: operations of a block follow each other, a block's end picks the next block, and gas is taken
//! there, once per block. Nothing is looked up by code offset while running. Instructions that often follow each
//! other are one operation (`ops`).
//!
//! Source: Gray Paper 0.8 appendix A; gas rules in section A.2 there (block charging, gas-charged flag).

mod lower;
mod ops;
mod run;

use javm_gas::GasModel;
use javm_isa::Code;

use crate::{
    EcallHandler, ExitReason, GasCounter, Regs,
    memory::{CopyingMemory, GuestAccess},
};
use ops::IOp;

/// The registers, gas and flag that a run works on.
#[derive(Debug)]
pub struct Machine<'a> {
    /// Registers and program counter.
    pub regs: &'a mut Regs,
    /// Gas left.
    pub gas: &'a mut GasCounter,
    /// Whether the block at the program counter is paid.
    pub gas_charged: &'a mut bool,
}

/// A lowered program.
#[derive(Debug)]
pub struct Interpreter {
    ops: Box<[IOp]>,
    /// Code offset of each operation, ascending: an [`IOp::Enter`] has that of the instruction behind it. The
    /// last is the code's length.
    pcs: Box<[u32]>,
    /// Where each block starts: the number of its [`IOp::Enter`]. The last is the end of the code.
    starts: Box<[u32]>,
    /// The same for each jump-table entry; a number that no operation has where no block starts.
    jump_table: Box<[u32]>,
    /// Immediates that do not fit an operation.
    wide: Box<[u64]>,
}

impl Interpreter {
    /// Prices and lowers a program; time and memory linear in its length.
    #[must_use]
    pub fn new(code: &Code, model: GasModel) -> Self {
        lower::lower(code, model)
    }

    /// Bytes of memory.
    pub(crate) fn size(&self) -> usize {
        let Self { ops, pcs, starts, jump_table, wide } = self;
        size_of_val(&**ops)
            + size_of_val(&**pcs)
            + size_of_val(&**starts)
            + size_of_val(&**jump_table)
            + size_of_val(&**wide)
    }

    /// Runs until something ends it.
    pub fn run<H: EcallHandler>(
        &self,
        machine: Machine<'_>,
        memory: &mut CopyingMemory,
        handler: &mut H,
    ) -> ExitReason {
        self.run_on(machine, memory, handler)
    }

    /// Executes one instruction; `None` when the machine can go on.
    pub fn step<H: EcallHandler>(
        &self,
        machine: Machine<'_>,
        memory: &mut CopyingMemory,
        handler: &mut H,
    ) -> Option<ExitReason> {
        self.step_on(machine, memory, handler)
    }

    /// As [`Interpreter::run`], on any memory.
    pub(crate) fn run_on<M: GuestAccess, H: EcallHandler>(
        &self,
        machine: Machine<'_>,
        memory: &mut M,
        handler: &mut H,
    ) -> ExitReason {
        run::execute::<false, _, H>(self, machine, memory, handler).unwrap_or(ExitReason::Panic)
    }

    /// As [`Interpreter::step`], on any memory.
    pub(crate) fn step_on<M: GuestAccess, H: EcallHandler>(
        &self,
        machine: Machine<'_>,
        memory: &mut M,
        handler: &mut H,
    ) -> Option<ExitReason> {
        run::execute::<true, _, H>(self, machine, memory, handler)
    }
}
