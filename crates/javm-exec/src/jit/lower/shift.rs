//! Shifts and rotations. Counts are taken modulo the width by the processor, as the guest wants.

use javm_isa::Reg;

use crate::jit::{
    asm::{Shift, W32, W64, Width},
    compile::Compiler,
    regs::{TMP, host},
};

/// A count as the processor would take it.
const fn count(w: Width, x: u64) -> u8 {
    (x & if matches!(w, W64) { 63 } else { 31 }) as u8
}

impl Compiler<'_> {
    pub(super) fn shift(&mut self, w: Width, op: Shift, d: Reg, a: Reg, b: Reg) {
        self.asm.shift_by(w, op, host(d), host(a), host(b));
        self.finish(w, host(d));
    }

    pub(super) fn shift_imm(&mut self, w: Width, op: Shift, a: Reg, b: Reg, x: u64) {
        match (w, count(w, x)) {
            (W32, 0) => self.asm.movsxd(host(a), host(b)),
            (W64, 0) => self.copy(a, b),
            (_, n) => {
                self.copy(a, b);
                self.asm.shift_imm(w, op, host(a), n);
                self.finish(w, host(a));
            }
        }
    }

    /// a = x shifted by b.
    pub(super) fn shift_of_imm(&mut self, w: Width, op: Shift, a: Reg, b: Reg, x: u64) {
        self.asm.mov_imm(TMP, x);
        self.asm.shift_by(w, op, host(a), TMP, host(b));
        self.finish(w, host(a));
    }

    pub(super) fn rotate(&mut self, w: Width, op: Shift, d: Reg, a: Reg, b: Reg) {
        // The count goes to `rcx` first, so that d may be the same register as b.
        self.asm.mov(W32, TMP, host(b));
        self.copy(d, a);
        self.asm.shift_cl(w, op, host(d));
        self.finish(w, host(d));
    }

    pub(super) fn rotate_imm(&mut self, w: Width, a: Reg, b: Reg, x: u64) {
        self.asm.rorx(w, host(a), host(b), count(w, x));
        self.finish(w, host(a));
    }

    /// a = x rotated right by b.
    pub(super) fn rotate_of_imm(&mut self, w: Width, a: Reg, b: Reg, x: u64) {
        self.asm.mov(W32, TMP, host(b));
        self.asm.mov_imm(host(a), x);
        self.asm.shift_cl(w, Shift::Ror, host(a));
        self.finish(w, host(a));
    }
}
