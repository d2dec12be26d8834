//! The PVM instruction table and everything that follows from it without running code.
//!
//! * [`table`]: the one list of instructions; [`op`], [`shape`], [`visit`] are made from it;
//! * [`instr`]: one decoded instruction; [`encode`](Instruction::encode) writes it back;
//! * [`code`]: a checked program: bytes, bitmask, jump table, basic blocks;
//! * [`numbering`]: programs of other opcode numberings, rewritten to the canonical one;
//! * [`alu`]: the arithmetic, as pure functions that interpreter, recompiler and tests share;
//! * [`asm`], [`disasm`]: the text form.
//!
//! Canonical means the Gray Paper 0.8 numbering (PolkaVM's `JamV1`) plus opcode 3, `ecall`. Gas is in
//! `javm-gas`, file formats in `javm-program`, execution in `javm-exec`.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

#[expect(clippy::manual_checked_ops, reason = "division by zero has a result here, and it is no option")]
pub mod alu;
pub mod asm;
pub mod bits;
pub mod code;
pub mod disasm;
pub mod instr;
pub mod numbering;
pub mod op;
pub mod reg;
pub mod shape;
pub mod table;
pub mod visit;

pub use code::{Code, CodeError};
pub use instr::Instruction;
pub use numbering::{Numbering, NumberingError};
pub use op::{CostClass, Flow, Op};
pub use reg::Reg;
pub use shape::Shape;
pub use visit::OpVisitor;
