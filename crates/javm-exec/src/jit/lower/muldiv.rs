//! Multiplication and division.
//!
//! The processor divides `rdx:rax`, both of which are guest registers: they are put into the frame's spill
//! slots meanwhile. Divisors that the processor would fault on never reach it.

use javm_isa::Reg;
use javm_sys::frame;

use crate::jit::{
    asm::{Alu, Cond, Shift, Unary, W32, W64, Width},
    compile::Compiler,
    regs::{Host, TMP, host},
};

/// What is wanted of a division.
#[derive(Clone, Copy, Debug)]
pub(super) struct Division {
    signed: bool,
    remainder: bool,
}

impl Division {
    pub(super) const QUOTIENT: Self = Self { signed: false, remainder: false };
    pub(super) const QUOTIENT_SIGNED: Self = Self { signed: true, remainder: false };
    pub(super) const REMAINDER: Self = Self { signed: false, remainder: true };
    pub(super) const REMAINDER_SIGNED: Self = Self { signed: true, remainder: true };
}

impl Compiler<'_> {
    pub(super) fn mul(&mut self, w: Width, d: Reg, a: Reg, b: Reg) {
        if d == b {
            self.asm.imul(w, host(d), host(a));
        } else {
            self.copy(d, a);
            self.asm.imul(w, host(d), host(b));
        }
        self.finish(w, host(d));
    }

    pub(super) fn mul_imm(&mut self, w: Width, a: Reg, b: Reg, x: u64) {
        self.asm.imul_imm(w, host(a), host(b), x as i32);
        self.finish(w, host(a));
    }

    /// Saves `rax` and `rdx`, but for one that is about to be written anyway.
    fn spill(&mut self, d: Host) {
        for (r, slot) in [(Host::RAX, frame::SPILL[0]), (Host::RDX, frame::SPILL[1])] {
            if r != d {
                self.asm.store_slot(slot, r);
            }
        }
    }

    /// Puts `rax` and `rdx` back, and `rcx` into d.
    fn unspill(&mut self, d: Host) {
        for (r, slot) in [(Host::RAX, frame::SPILL[0]), (Host::RDX, frame::SPILL[1])] {
            if r != d {
                self.asm.load_slot(W64, r, slot);
            }
        }
        self.asm.mov(W64, d, TMP);
    }

    pub(super) fn divide(&mut self, w: Width, op: Division, d: Reg, a: Reg, b: Reg) {
        let (d, a, b) = (host(d), host(a), host(b));
        self.asm.mov(w, TMP, b);
        self.asm.test(w, TMP, TMP);
        let zero = self.asm.jcc_short(Cond::E);
        let minus_one = op.signed.then(|| {
            self.asm.alu_imm(w, Alu::Cmp, TMP, -1);
            self.asm.jcc_short(Cond::E)
        });

        self.spill(d);
        if a != Host::RAX {
            self.asm.mov(w, Host::RAX, a);
        }
        if op.signed {
            self.asm.cqo(w);
            self.asm.unary(w, Unary::Idiv, TMP);
        } else {
            self.asm.zero(Host::RDX);
            self.asm.unary(w, Unary::Div, TMP);
        }
        let result = if op.remainder { Host::RDX } else { Host::RAX };
        match w {
            W32 => self.asm.movsxd(TMP, result),
            W64 => self.asm.mov(W64, TMP, result),
        }
        self.unspill(d);
        let done = self.asm.jmp_short();

        // By zero: all ones; the remainder is the dividend.
        self.asm.bind_short(zero);
        if op.remainder {
            self.move_extended(w, d, a);
        } else {
            self.asm.mov_imm(d, u64::MAX);
        }
        if let Some(minus_one) = minus_one {
            // By minus one: the negated dividend, which wraps as it should; no remainder.
            let over = self.asm.jmp_short();
            self.asm.bind_short(minus_one);
            if op.remainder {
                self.asm.zero(d);
            } else {
                if d != a {
                    self.asm.mov(w, d, a);
                }
                self.asm.unary(w, Unary::Neg, d);
                self.finish(w, d);
            }
            self.asm.bind_short(over);
        }
        self.asm.bind_short(done);
    }

    fn move_extended(&mut self, w: Width, d: Host, a: Host) {
        match w {
            W32 => self.asm.movsxd(d, a),
            W64 if d != a => self.asm.mov(W64, d, a),
            W64 => {}
        }
    }

    /// `mulx` multiplies by `rdx`.
    pub(super) fn mul_upper(&mut self, d: Reg, a: Reg, b: Reg) {
        let (d, a, b) = (host(d), host(a), host(b));
        match (a, b) {
            (Host::RDX, other) | (other, Host::RDX) => self.asm.mulx(d, d, other),
            _ => {
                if d != Host::RDX {
                    self.asm.mov(W64, TMP, Host::RDX);
                }
                self.asm.mov(W64, Host::RDX, a);
                self.asm.mulx(d, d, b);
                if d != Host::RDX {
                    self.asm.mov(W64, Host::RDX, TMP);
                }
            }
        }
    }

    pub(super) fn mul_upper_signed(&mut self, d: Reg, a: Reg, b: Reg) {
        let (d, a, b) = (host(d), host(a), host(b));
        self.asm.mov(W64, TMP, b);
        self.spill(d);
        if a != Host::RAX {
            self.asm.mov(W64, Host::RAX, a);
        }
        self.asm.unary(W64, Unary::Imul, TMP);
        self.asm.mov(W64, TMP, Host::RDX);
        self.unspill(d);
    }

    /// The unsigned product, less b where a is negative.
    pub(super) fn mul_upper_signed_unsigned(&mut self, d: Reg, a: Reg, b: Reg) {
        let (d, a, b) = (host(d), host(a), host(b));
        self.asm.mov(W64, TMP, b);
        self.spill(d);
        if a != Host::RDX {
            self.asm.mov(W64, Host::RDX, a);
        }
        self.asm.mov(W64, Host::RAX, Host::RDX);
        self.asm.shift_imm(W64, Shift::Sar, Host::RAX, 63);
        self.asm.alu(W64, Alu::And, Host::RAX, TMP);
        self.asm.mulx(TMP, Host::RDX, TMP);
        self.asm.alu(W64, Alu::Sub, TMP, Host::RAX);
        self.unspill(d);
    }
}
