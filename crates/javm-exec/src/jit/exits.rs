//! How emitted code leaves: the kinds of exit, and the stubs at the head of each program.
//!
//! A stub stores the kind and jumps through the frame's `exit` slot; the scratch register says more.

use javm_sys::frame;

use super::{
    asm::{Alu, Asm, Cond, W32},
    regs::TMP,
};
use crate::HALT_ADDRESS;

/// What an exit's `kind` means, and what its argument is.
pub(super) mod kind {
    /// Argument: the offset of the `trap`.
    pub(in super::super) const TRAP: u32 = 1;
    /// Argument: the offset of the instruction that panics.
    pub(in super::super) const PANIC: u32 = 2;
    /// Argument: the offset of the jump.
    pub(in super::super) const HALT: u32 = 3;
    /// Argument: the number of the call site.
    pub(in super::super) const ECALL: u32 = 4;
    /// Argument: the address behind the block's entry in the table of out-of-gas calls.
    pub(in super::super) const OUT_OF_GAS: u32 = 5;
}

/// Offsets of the stubs.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stubs {
    pub(super) trap: u32,
    pub(super) panic: u32,
    pub(super) ecall: u32,
    /// Called, so that the return address tells which block it was.
    out_of_gas: u32,
    /// Where an indirect jump ends whose rotated address `rcx` is past the table; the jump's offset is in the
    /// frame.
    pub(super) outside_table: u32,
    /// Where the entries of the table point that are no target.
    pub(super) bad_entry: u32,
    /// The out-of-gas calls, one per block.
    pub(super) calls: u32,
}

/// Length of a `call`.
const CALL_LEN: u32 = 5;

impl Stubs {
    /// Writes the stubs, and an out-of-gas call for each block.
    pub(super) fn emit(asm: &mut Asm<'_>, blocks: u32) -> Self {
        let stub = |asm: &mut Asm<'_>, kind: u32| {
            let at = asm.pos();
            asm.store_slot_imm(frame::KIND, kind);
            asm.jmp_slot(frame::EXIT);
            at
        };
        let trap = stub(asm, kind::TRAP);
        let panic = stub(asm, kind::PANIC);
        let halt = stub(asm, kind::HALT);
        let ecall = stub(asm, kind::ECALL);
        let out_of_gas = asm.pos();
        asm.pop_rcx();
        stub(asm, kind::OUT_OF_GAS);
        let outside_table = asm.pos();
        asm.alu_imm(W32, Alu::Cmp, TMP, HALT_ADDRESS.rotate_right(1) as i32);
        asm.load_slot(W32, TMP, frame::PC);
        asm.jcc(Cond::E, halt);
        asm.jmp(panic);
        let bad_entry = asm.pos();
        asm.load_slot(W32, TMP, frame::PC);
        asm.jmp(panic);
        let calls = asm.pos();
        // Writing the last of them touches a few bytes behind it.
        asm.skip((blocks * CALL_LEN) as usize + 8);
        Self { trap, panic, ecall, out_of_gas, outside_table, bad_entry, calls }
    }

    /// Writes the out-of-gas call of a block and gives its offset.
    pub(super) fn emit_call(&self, asm: &mut Asm<'_>, block: u32) -> u32 {
        let back = asm.pos();
        let at = self.calls + block * CALL_LEN;
        asm.seek(at);
        asm.call(self.out_of_gas);
        asm.seek(back);
        at
    }

    /// The block whose call returns to this offset.
    pub(super) const fn block_of_call(&self, return_offset: u32) -> u32 {
        (return_offset - self.calls) / CALL_LEN - 1
    }
}
