//! The machine code of a round, and the way into it.
//!
//! In front of the loop's head, where only falling into the loop leads, it is looked whether a round's turns are left;
//! the rounds are at the end of the region. Back from them it goes to the head, or behind the loop if no turn is left.
//! Registers and gas change when everything of a round is done that could fault.

use javm_isa::Reg;

use super::{Body, Bulk, Place, Read};
use crate::{
    PAGE_SIZE,
    jit::{
        asm::{Address, Alu, Asm, Cond, Patch, Vector, W32, W64},
        regs::{GAS, TMP, host},
    },
};

/// Bytes of a vector.
const VECTOR: u32 = 32;
const FIRST: Vector = Vector(0);
const SECOND: Vector = Vector(1);

impl Bulk {
    /// The most bytes of machine code that the rounds take, or the way to them.
    pub(in crate::jit) const MAX: usize = 512;

    /// By how much what is left of the loop shrinks in a round.
    fn shrinks(&self) -> i32 {
        // At most 64 turns of at most 12 steps.
        self.bound.step.abs() * self.turns() as i32
    }

    /// The scratch register = how far it is to the end, unless it is past it.
    fn left(&self, asm: &mut Asm) {
        let moving = Some(self.bound.moving);
        let (high, low) =
            if self.bound.step > 0 { (self.bound.end, moving) } else { (moving, self.bound.end) };
        match high {
            Some(high) => asm.mov(W64, TMP, host(high)),
            None => asm.zero(TMP),
        }
        if let Some(low) = low {
            asm.alu(W64, Alu::Sub, TMP, host(low));
        }
    }

    /// Writes what stands in front of the loop's head. The jump that is given goes to the rounds.
    pub(in crate::jit) fn emit_way(&self, asm: &mut Asm) -> Patch {
        self.left(asm);
        let past = self.bound.ordered.then(|| asm.jcc_short(Cond::B));
        asm.alu_imm(W64, Alu::Cmp, TMP, self.shrinks());
        let rounds = asm.jcc_later(Cond::Ae);
        if let Some(past) = past {
            asm.bind_short(past);
        }
        rounds
    }

    /// Writes the rounds: where they begin, and a jump that goes behind the loop. `head` is where the loop's head is,
    /// a round costs `cost`.
    pub(in crate::jit) fn emit_rounds(&self, asm: &mut Asm, head: u32, cost: i32) -> (u32, Patch) {
        let leave = asm.pos();
        asm.vzeroupper();
        asm.jmp(head);
        let entry = asm.pos();
        match self.body {
            Body::Copy { read, to } => {
                let overlap = self.round() as i32 - 1;
                asm.lea(W32, TMP, host(to.base), to.disp.wrapping_sub(read.from.disp).wrapping_add(overlap));
                asm.alu(W32, Alu::Sub, TMP, host(read.from.base));
                // A page may have two addresses, so it is the places in pages that must not be near each other; at the
                // same place, bytes are copied to themselves at worst.
                asm.alu_imm(W32, Alu::And, TMP, PAGE_SIZE as i32 - 1);
                asm.alu_imm(W32, Alu::Cmp, TMP, overlap);
                let same = asm.jcc_short(Cond::E);
                asm.alu_imm(W32, Alu::Cmp, TMP, 2 * overlap + 1);
                asm.jcc(Cond::B, head);
                asm.bind_short(same);
            }
            Body::Fill { value, .. } => asm.broadcast(FIRST, self.width, host(value)),
            Body::Compare { .. } => {}
        }
        let again = asm.pos();
        asm.alu_imm(W64, Alu::Cmp, GAS, cost);
        asm.jcc(Cond::B, leave);
        self.emit_memory(asm, leave);
        for (reg, step) in Reg::ALL.into_iter().zip(self.steps) {
            if step != 0 {
                asm.alu_imm(W64, Alu::Add, host(reg), step * self.turns() as i32);
            }
        }
        asm.alu_imm(W64, Alu::Sub, GAS, cost);
        // Never past the end: as much was left.
        self.left(asm);
        asm.alu_imm(W64, Alu::Cmp, TMP, self.shrinks());
        asm.jcc(Cond::Ae, again);
        asm.test(W64, TMP, TMP);
        asm.jcc(Cond::Ne, leave);
        asm.vzeroupper();
        (entry, asm.jmp_later())
    }

    /// Writes what a round does with memory, and the values that its last turn leaves in registers; goes to `leave`
    /// where nothing of it has happened yet.
    fn emit_memory(&self, asm: &mut Asm, leave: u32) {
        match self.body {
            Body::Copy { read, to } => {
                asm.load_vector(FIRST, self.address(read.from, 0));
                asm.load_vector(SECOND, self.address(read.from, VECTOR));
                self.emit_probe(asm, to);
                asm.store_vector(self.address(to, 0), FIRST);
                asm.store_vector(self.address(to, VECTOR), SECOND);
                self.emit_read(asm, read);
            }
            Body::Fill { to, .. } => {
                self.emit_probe(asm, to);
                asm.store_vector(self.address(to, 0), FIRST);
                asm.store_vector(self.address(to, VECTOR), FIRST);
            }
            Body::Compare { left, right } => {
                asm.load_vector(FIRST, self.address(left.from, 0));
                asm.same_bytes(FIRST, self.address(right.from, 0));
                asm.mask_of_bytes(TMP, FIRST);
                asm.alu_imm(W32, Alu::Cmp, TMP, -1);
                asm.jcc(Cond::Ne, leave);
                self.emit_read(asm, left);
                self.emit_read(asm, right);
            }
        }
    }

    /// Makes sure that the stores of a round are done all or not at all, where they are to two pages: a store of many
    /// bytes that faults may have written some (Intel's manual, volume 3, 9.1.1).
    fn emit_probe(&self, asm: &mut Asm, to: Place) {
        let highest = self.address(to, self.round() - 1);
        asm.lea(W32, TMP, host(to.base), highest.disp);
        asm.alu_imm(W32, Alu::And, TMP, PAGE_SIZE as i32 - 1);
        asm.alu_imm(W32, Alu::Cmp, TMP, self.round() as i32 - 1);
        let one_page = asm.jcc_short(Cond::Ae);
        asm.write_nothing(self.address(to, 0));
        asm.write_nothing(highest);
        asm.bind_short(one_page);
    }

    /// The load of the round's last turn.
    fn emit_read(&self, asm: &mut Asm, read: Read) {
        let Place { base, .. } = read.from;
        asm.load(read.kind, host(read.value), Address { base: Some(host(base)), disp: self.last(read.from) });
    }

    /// So many bytes above the lowest of a round.
    fn address(&self, place: Place, above: u32) -> Address {
        Address { base: Some(host(place.base)), disp: self.lowest(place).wrapping_add(above as i32) }
    }
}
