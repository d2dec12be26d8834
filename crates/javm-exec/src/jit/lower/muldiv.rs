//! Multiplication and division.
//!
//! The processor divides `rdx:rax`. The first is the scratch register; the second holds a guest register, which
//! is put into the frame's spill slot meanwhile. Divisors that the processor would fault on never reach it.

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

    /// Saves `rax`, unless it is about to be written anyway.
    fn spill(&mut self, d: Host) {
        if d != Host::RAX {
            self.asm.store_slot(frame::SPILL, Host::RAX);
        }
    }

    /// Puts `rax` back.
    fn unspill(&mut self, d: Host) {
        if d != Host::RAX {
            self.asm.load_slot(W64, Host::RAX, frame::SPILL);
        }
    }

    pub(super) fn divide(&mut self, w: Width, op: Division, d: Reg, a: Reg, b: Reg) {
        let (d, a, b) = (host(d), host(a), host(b));
        self.asm.test(w, b, b);
        let zero = self.asm.jcc_short(Cond::E);
        let minus_one = op.signed.then(|| {
            self.asm.alu_imm(w, Alu::Cmp, b, -1);
            self.asm.jcc_short(Cond::E)
        });

        // A divisor in `rax` is taken from where that is saved.
        self.spill(if b == Host::RAX { TMP } else { d });
        self.move_to(Host::RAX, a);
        if op.signed {
            self.asm.cqo(w);
        } else {
            self.asm.zero(Host::RDX);
        }
        let divide = if op.signed { Unary::Idiv } else { Unary::Div };
        match b {
            Host::RAX => self.asm.unary_slot(w, divide, frame::SPILL),
            _ => self.asm.unary(w, divide, b),
        }
        self.move_extended(w, d, if op.remainder { Host::RDX } else { Host::RAX });
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

    /// d = a, both registers of the machine.
    fn move_to(&mut self, d: Host, a: Host) {
        if d != a {
            self.asm.mov(W64, d, a);
        }
    }

    fn move_extended(&mut self, w: Width, d: Host, a: Host) {
        match w {
            W32 => self.asm.movsxd(d, a),
            W64 => self.move_to(d, a),
        }
    }

    /// `mulx` multiplies by `rdx`, the scratch register.
    pub(super) fn mul_upper(&mut self, d: Reg, a: Reg, b: Reg) {
        self.asm.mov(W64, Host::RDX, host(a));
        self.asm.mulx(host(d), host(d), host(b));
    }

    pub(super) fn mul_upper_signed(&mut self, d: Reg, a: Reg, b: Reg) {
        let (d, a, b) = (host(d), host(a), host(b));
        let (a, b) = if b == Host::RAX { (b, a) } else { (a, b) };
        self.spill(d);
        self.move_to(Host::RAX, a);
        self.asm.unary(W64, Unary::Imul, b);
        self.asm.mov(W64, d, Host::RDX);
        self.unspill(d);
    }

    /// The unsigned product, less b where a is negative.
    pub(super) fn mul_upper_signed_unsigned(&mut self, d: Reg, a: Reg, b: Reg) {
        let (d, a, b) = (host(d), host(a), host(b));
        self.asm.mov(W64, TMP, a);
        self.asm.shift_imm(W64, Shift::Sar, TMP, 63);
        self.asm.alu(W64, Alu::And, TMP, b);
        self.asm.store_slot(frame::SPILL, TMP);
        self.asm.mov(W64, Host::RDX, a);
        self.asm.mulx(d, d, b);
        self.asm.alu_slot(Alu::Sub, d, frame::SPILL);
    }
}
