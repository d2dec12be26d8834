//! The recompiler: x86-64 code in one pass over each region of a program, when it is first entered.
//!
//! * [`compile`]: the pass; [`lower`]: one method per instruction; [`asm`]: the encoder; [`regs`]: the map;
//! * [`fuse`]: what an instruction finds in the flags;
//! * [`bulk`]: loops that copy, fill or compare memory;
//! * [`exits`]: how emitted code leaves; [`blocks`], [`region`]: from guest offsets to machine code and back;
//! * [`program`]: the regions of a program and how they find each other;
//! * [`disk`], [`stored`]: regions kept from one process to the next;
//! * [`publish`]: the one place where bytes become code (the only unsafe code of this crate);
//! * [`run`]: entering, answering host calls, resolving faults.
//!
//! The reference is the interpreter: at every exit status, registers, program counter, gas, flag and memory
//! are the same. What makes that simple: guest registers are in machine registers at every instruction
//! boundary, gas is taken at block entry only, and an instruction that can fault does so before it changes
//! anything. `docs/recompiler.md` tells the design and its figures.

mod asm;
mod blocks;
mod bulk;
mod compile;
mod disk;
mod exits;
mod fuse;
mod lower;
mod program;
mod publish;
mod region;
mod regs;
mod run;
mod stored;

pub use disk::CodeCacheError;
pub(crate) use disk::{Disk, Shelf};
pub(crate) use program::{Program, Resumption};
pub(crate) use run::run;
