//! The recompiler: x86-64 code for a whole program in one pass.
//!
//! * [`compile`]: the pass; [`lower`]: one method per instruction; [`asm`]: the encoder; [`regs`]: the map;
//! * [`exits`]: how emitted code leaves; [`blocks`], [`program`]: from guest offsets to machine code and back;
//! * [`publish`]: the one place where bytes become code (the only unsafe code of this crate);
//! * [`run`]: entering, answering host calls, resolving faults.
//!
//! The reference is the interpreter: at every exit status, registers, program counter, gas, flag and memory
//! are the same. What makes that simple: guest registers are in machine registers at every instruction
//! boundary, gas is taken at block entry only, and an instruction that can fault does so before it changes
//! anything. `docs/recompiler.md` tells the design and its figures.

mod asm;
mod blocks;
mod compile;
mod exits;
mod lower;
mod program;
mod publish;
mod regs;
mod run;

pub(crate) use compile::compile;
pub(crate) use program::Program;
pub(crate) use run::run;
