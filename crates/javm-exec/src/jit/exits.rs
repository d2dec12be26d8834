//! How emitted code leaves: the kinds of exit, the stubs at the head of each region, and those that all programs
//! share.
//!
//! A stub stores the kind and jumps through the frame's `exit` slot; the scratch register says more.

use javm_sys::frame;

use super::{
    asm::{Alu, Asm, Cond, Shift, W32, W64},
    regs::TMP,
};
use crate::HALT_ADDRESS;

/// What an exit's `kind` means, and what its argument is. The kind is in the low bits; at a call of the host the
/// number of the region is above.
pub(super) mod kind {
    /// Argument: the offset of the `trap`.
    pub(in super::super) const TRAP: u32 = 1;
    /// Argument: the offset of the instruction that panics.
    pub(in super::super) const PANIC: u32 = 2;
    /// Argument: the offset of the jump.
    pub(in super::super) const HALT: u32 = 3;
    /// Argument: the number of the call site in its region.
    pub(in super::super) const ECALL: u32 = 4;
    /// Argument: the address behind the block's entry in the table of out-of-gas calls.
    pub(in super::super) const OUT_OF_GAS: u32 = 5;
    /// Argument: the offset of the block that is gone to, whose place in the table is empty.
    pub(in super::super) const NO_BLOCK: u32 = 6;
    /// The entry of the table that an indirect jump goes through is used for the first time. Argument: the offset of
    /// the jump; where the jump changed the register that it goes by, the address that it goes to is in the upper
    /// half.
    pub(in super::super) const NO_TARGET: u32 = 8;

    /// How many bits the kind has.
    pub(in super::super) const BITS: u32 = 4;
    const _: () = assert!(javm_sys::frame::KIND_FAULT % (1 << BITS) == 7);
}

/// Behind the offset of an indirect jump in the frame: the address that it goes to, where that is not in a register.
const ADDRESS: i8 = frame::PC + 4;

/// Writes a stub.
fn stub(asm: &mut Asm, kind: u32) -> u32 {
    let at = asm.pos();
    asm.store_slot_imm(frame::KIND, kind);
    asm.jmp_slot(frame::EXIT);
    at
}

/// Offsets of a region's stubs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Stubs {
    pub(super) trap: u32,
    pub(super) panic: u32,
    pub(super) ecall: u32,
    pub(super) no_block: u32,
    /// Called, so that the return address tells which block it was.
    out_of_gas: u32,
    /// Where an indirect jump ends whose address, all 64 bits of it rotated right by one in the scratch register, is
    /// past the table; the jump's offset is in the frame.
    pub(super) outside_table: u32,
    /// Where one goes whose address is in the scratch register, 32 bits of it; the jump's offset is in the frame.
    pub(super) indirect: u32,
    /// The out-of-gas calls, one per block.
    pub(super) calls: u32,
}

/// Length of a `call`.
const CALL_LEN: u32 = 5;

impl Stubs {
    /// Room that the stubs of a region with so many blocks want.
    pub(super) const fn room(blocks: u32) -> usize {
        512 + blocks as usize * CALL_LEN as usize
    }

    /// Writes the stubs, and leaves room for an out-of-gas call for each block.
    pub(super) fn emit(asm: &mut Asm, region: u32, blocks: u32, table_len: u32) -> Self {
        let trap = stub(asm, kind::TRAP);
        let panic = stub(asm, kind::PANIC);
        let halt = stub(asm, kind::HALT);
        let ecall = stub(asm, kind::ECALL | region << kind::BITS);
        let no_block = stub(asm, kind::NO_BLOCK);
        let out_of_gas = asm.pos();
        asm.pop_tmp();
        stub(asm, kind::OUT_OF_GAS);
        let outside_table = asm.pos();
        asm.shift_imm(W64, Shift::Rol, TMP, 1);
        let indirect = asm.pos();
        asm.store_slot_32(ADDRESS, TMP);
        asm.shift_imm(W32, Shift::Ror, TMP, 1);
        asm.alu_imm(W32, Alu::Cmp, TMP, table_len as i32);
        let outside = asm.jcc_short(Cond::Ae);
        asm.shift_imm(W32, Shift::Shl, TMP, 3);
        asm.alu_slot(Alu::Add, TMP, frame::TABLE);
        asm.jmp_at_tmp();
        asm.bind_short(outside);
        asm.alu_imm(W32, Alu::Cmp, TMP, HALT_ADDRESS.rotate_right(1) as i32);
        asm.load_slot(W32, TMP, frame::PC);
        asm.jcc(Cond::E, halt);
        asm.jmp(panic);
        let calls = asm.pos();
        // Writing the last of them touches a few bytes behind it.
        asm.skip((blocks * CALL_LEN) as usize + 8);
        Self { trap, panic, ecall, no_block, out_of_gas, outside_table, indirect, calls }
    }

    /// Writes the out-of-gas call of a block and gives its offset.
    pub(super) fn emit_call(&self, asm: &mut Asm, block: u32) -> u32 {
        let back = asm.pos();
        let at = self.calls + block * CALL_LEN;
        asm.seek(at);
        asm.call(self.out_of_gas);
        asm.seek(back);
        at
    }
}

/// The block of a region whose out-of-gas call, of those that begin at `calls`, returns to this offset.
pub(super) const fn block_of_call(calls: u32, return_offset: u32) -> u32 {
    (return_offset - calls) / CALL_LEN - 1
}

/// Offsets of the stubs that all programs share: what the table for indirect jumps is filled with at first.
#[derive(Clone, Copy, Debug)]
pub(super) struct SharedStubs {
    /// For entries that are no target: panics.
    pub(super) bad_target: u32,
    /// For those that are: asks where it is.
    pub(super) no_target: u32,
}

impl SharedStubs {
    pub(super) fn emit(asm: &mut Asm) -> Self {
        asm.reserve(Stubs::room(0));
        let no_target = asm.pos();
        asm.load_slot(W64, TMP, frame::PC);
        stub(asm, kind::NO_TARGET);
        let bad_target = asm.pos();
        asm.load_slot(W32, TMP, frame::PC);
        stub(asm, kind::PANIC);
        Self { bad_target, no_target }
    }
}
