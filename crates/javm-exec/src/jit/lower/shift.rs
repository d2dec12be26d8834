//! Shifts and rotations. Counts are taken modulo the width by the processor, as the guest wants.

use javm_isa::Reg;
use javm_sys::frame;

use crate::jit::{
    asm::{Shift, W32, W64, Width},
    compile::Compiler,
    fuse::Shifted,
    regs::{Host, TMP, host},
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
                if w == W64 && op == Shift::Shl && n <= 3 {
                    let start = self.asm.pos();
                    self.fusion.leave_shift(Shifted { d: a, a: b, by: n, start });
                }
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
        self.asm.mov(W64, TMP, host(a));
        self.rotate_scratch(w, op, d, b);
    }

    /// d = the scratch register rotated by b. The count has to be in `rcx`, which holds a guest register.
    fn rotate_scratch(&mut self, w: Width, op: Shift, d: Reg, b: Reg) {
        let (d, b) = (host(d), host(b));
        let saved = b != Host::RCX && d != Host::RCX;
        if saved {
            self.asm.store_slot(frame::SPILL, Host::RCX);
        }
        if b != Host::RCX {
            self.asm.mov(W32, Host::RCX, b);
        }
        self.asm.shift_cl(w, op, TMP);
        match w {
            W32 => self.asm.movsxd(d, TMP),
            W64 => self.asm.mov(W64, d, TMP),
        }
        if saved {
            self.asm.load_slot(W64, Host::RCX, frame::SPILL);
        }
    }

    pub(super) fn rotate_imm(&mut self, w: Width, a: Reg, b: Reg, x: u64) {
        self.asm.rorx(w, host(a), host(b), count(w, x));
        self.finish(w, host(a));
    }

    /// a = x rotated right by b.
    pub(super) fn rotate_of_imm(&mut self, w: Width, a: Reg, b: Reg, x: u64) {
        self.asm.mov_imm(TMP, x);
        self.rotate_scratch(w, Shift::Ror, a, b);
    }
}
