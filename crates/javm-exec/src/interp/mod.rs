//! The interpreter: portable, without unsafe code, the reference for every other backend.
//!
//! A program is lowered once ([`lower`]) to an array of 12-byte operations in which every immediate is
//! decoded, every jump target is a block number and every jump-table entry is resolved. [`run`] is one loop
//! over that array: operations of a block follow each other, a block's end picks the next block, and gas is
//! taken there, once per block. Nothing is looked up by code offset while running.
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

/// A basic block: what it costs and which of its operations is executed first: not an `unlikely`, which does
/// nothing.
#[derive(Clone, Copy, Debug)]
struct Block {
    cost: u32,
    first: u32,
}

/// A lowered program.
#[derive(Debug)]
pub struct Interpreter {
    ops: Box<[IOp]>,
    /// Code offset of each operation, ascending; the last is the code's length.
    pcs: Box<[u32]>,
    /// Basic blocks in order; the last is the end of the code, which panics.
    blocks: Box<[Block]>,
    /// Operation that each block starts with.
    starts: Box<[u32]>,
    /// Block number of each jump-table entry, or one that no block has.
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

    /// Runs until something ends it.
    pub fn run<H: EcallHandler>(
        &self,
        machine: Machine<'_>,
        memory: &mut CopyingMemory,
        handler: &mut H,
    ) -> ExitReason {
        run::execute::<false, _, H>(self, machine, memory, handler).unwrap_or(ExitReason::Panic)
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

    /// Executes one instruction; `None` when the machine can go on.
    pub fn step<H: EcallHandler>(
        &self,
        machine: Machine<'_>,
        memory: &mut CopyingMemory,
        handler: &mut H,
    ) -> Option<ExitReason> {
        run::execute::<true, _, H>(self, machine, memory, handler)
    }
}
