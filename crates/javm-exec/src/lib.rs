//! The engine: runs PVM code over registers, paged memory and gas, and hands every `ecall` and `ecalli` to
//! an [`EcallHandler`]. What the calls mean is not known here.
//!
//! ```text
//! Config ─▶ Engine ─▶ Module (checked code, block costs)  ─▶ Instance (registers, gas, memory) ─▶ run
//! ```
//!
//! * [`Config`], [`Engine`]: choices, shared caches and pools; an engine is cheap to clone.
//! * [`Module`]: one program, priced and lowered once, shared by instances and threads; by a key
//!   ([`Engine::module`]) also by those who do not know of each other, and by processes one after the other.
//! * [`Instance`]: one run of it. [`Instance::run`] goes on until an [`ExitReason`]; the instance is then
//!   exactly at the instruction that the reason names and can be looked at, changed and resumed.
//! * [`Memory`] and [`memory`]: 2^32 bytes in pages of 4,096, mapped from lazily copied sources.
//! * [`interp`]: the interpreter, the reference for every other backend; `jit`: the recompiler.
//!
//! Gas is computed by `javm-gas`, once per basic block; here it is only subtracted. Rules: Gray Paper 0.8
//! appendix A, with the low 64 KiB rule as [`memory`] says.
// One file, `jit/publish.rs`, allows it.
#![deny(unsafe_code)]
// The operation enum is built row by row from the instruction table.
#![recursion_limit = "256"]

mod cache;
mod config;
mod ecall;
mod engine;
mod exit;
mod gas;
mod instance;
pub mod interp;
mod jit;
pub mod memory;
mod module;

pub use cache::{Lru, module_key};
pub use config::{Backend, Config, ConfigError};
pub use ecall::{EcallHandler, EcallKind, EcallResult, ExitOnEcall};
pub use engine::Engine;
pub use exit::ExitReason;
pub use gas::GasCounter;
pub use instance::{Instance, Step};
pub use interp::Interpreter;
pub use javm_gas::GasModel;
pub use javm_isa::{Code, CodeError, Reg};
pub use jit::CodeCacheError;
pub use memory::{
    Access, CopyingMemory, Fault, MapError, Mem, Memory, PAGE_SIZE, Page, PageSource, WindowMemory,
};
pub use module::Module;

/// How many registers a machine has.
pub const NUM_REGS: usize = javm_isa::reg::NUM_REGS;

/// The address whose dynamic jump halts the machine: `2^32 - 2^16` (Gray Paper A.1).
pub const HALT_ADDRESS: u32 = 0xFFFF_0000;

/// Registers and program counter of a machine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Regs {
    /// Offset into the code. At an exit: the instruction that caused it; at the start of the block for out
    /// of gas.
    pub pc: u64,
    /// φ0 … φ12.
    pub gpr: [u64; NUM_REGS],
}

impl Regs {
    /// The value of a register.
    #[must_use]
    pub const fn get(&self, reg: Reg) -> u64 {
        self.gpr[reg as usize]
    }

    /// Sets a register.
    pub const fn set(&mut self, reg: Reg, value: u64) {
        self.gpr[reg as usize] = value;
    }
}

/// Unpacks a bitmask, least significant bit first, to one byte (0 or 1) per code byte. Bits that `packed`
/// does not have are 0.
#[must_use]
pub fn unpack_bitmask(packed: &[u8], code_len: usize) -> Vec<u8> {
    (0..code_len).map(|i| packed.get(i / 8).map_or(0, |b| b >> (i % 8) & 1)).collect()
}
