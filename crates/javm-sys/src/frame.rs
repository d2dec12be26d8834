//! [`Frame`]: what the stack pointer points to while emitted code runs, and where its slots are.
//!
//! Declared once: the offsets that emitted code and the entry stub use come from the struct.

use core::mem::offset_of;

/// The `kind` of an exit that the fault handler made.
pub const KIND_FAULT: u32 = 0xFA17;

/// The slots. Emitted code reads `exit` and `table`, and owns `kind`, `pc` and `spill`.
#[repr(C)]
#[derive(Debug)]
pub struct Frame {
    pub(crate) exit: usize,
    pub(crate) table: usize,
    pub(crate) kind: u64,
    pub(crate) pc: u64,
    pub(crate) spill: u64,
    pub(crate) argument: u64,
    pub(crate) gpr: usize,
    pub(crate) gas: usize,
}

const fn small(offset: usize) -> i8 {
    assert!(offset < 120);
    offset as i8
}

/// Where to jump to leave.
pub const EXIT: i8 = small(offset_of!(Frame, exit));
/// Base address of the table of indirect jumps.
pub const TABLE: i8 = small(offset_of!(Frame, table));
/// What kind of exit it is (32 bits).
pub const KIND: i8 = small(offset_of!(Frame, kind));
/// A slot for the emitter: an offset of guest code in the lower half, an address in the upper one.
pub const PC: i8 = small(offset_of!(Frame, pc));
/// A slot for a register that an operation needs for itself.
pub const SPILL: i8 = small(offset_of!(Frame, spill));
