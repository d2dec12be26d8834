//! Arithmetic, bits, comparisons and moves.

use javm_isa::Reg;

use crate::jit::{
    asm::{Alu, Cond, Count, Unary, W32, W64, Width},
    compile::Compiler,
    fuse::Fact,
    regs::{Host, TMP, host},
};

impl Compiler<'_> {
    /// The last step of a 32-bit operation: its result is sign-extended.
    pub(super) fn finish(&mut self, w: Width, d: Host) {
        if w == W32 {
            self.asm.movsxd(d, d);
        }
    }

    pub(super) fn constant(&mut self, a: Reg, x: u64) {
        if x == 0 {
            self.asm.zero(host(a));
        } else {
            self.asm.mov_imm(host(a), x);
        }
    }

    pub(super) fn copy(&mut self, d: Reg, a: Reg) {
        if d != a {
            self.asm.mov(W64, host(d), host(a));
        }
    }

    pub(super) fn count(&mut self, w: Width, op: Count, d: Reg, a: Reg) {
        self.asm.count(w, op, host(d), host(a));
    }

    pub(super) fn sign_extend_byte(&mut self, d: Reg, a: Reg) {
        self.asm.movsx8(host(d), host(a));
    }

    pub(super) fn sign_extend_two_bytes(&mut self, d: Reg, a: Reg) {
        self.asm.movsx16(host(d), host(a));
    }

    pub(super) fn zero_extend_two_bytes(&mut self, d: Reg, a: Reg) {
        self.asm.movzx16(host(d), host(a));
    }

    pub(super) fn swap_bytes(&mut self, d: Reg, a: Reg) {
        self.copy(d, a);
        self.asm.bswap(host(d));
    }

    /// d = a op b where the order of operands does not matter.
    fn commutative(&mut self, w: Width, op: Alu, d: Reg, a: Reg, b: Reg) {
        if d == b {
            self.asm.alu(w, op, host(d), host(a));
        } else {
            self.copy(d, a);
            self.asm.alu(w, op, host(d), host(b));
        }
    }

    pub(super) fn bitwise(&mut self, op: Alu, d: Reg, a: Reg, b: Reg) {
        self.commutative(W64, op, d, a, b);
    }

    pub(super) fn add(&mut self, w: Width, d: Reg, a: Reg, b: Reg) {
        if w == W64 && self.scaled_add(d, a, b) {
            return;
        }
        if d == a || d == b {
            self.commutative(w, Alu::Add, d, a, b);
            // The sum is below either part where it was too large.
            let than = if d == a { b } else { a };
            if w == W64 && than != d {
                self.fusion.leave(Fact::Carry { sum: d, than });
            }
        } else {
            self.asm.lea_sum(w, host(d), host(a), host(b));
        }
        self.finish(w, host(d));
    }

    /// d = a + b where one of them was shifted by the instruction before, for nothing else.
    fn scaled_add(&mut self, d: Reg, a: Reg, b: Reg) -> bool {
        let Some(shifted) = self.fusion.shifted().filter(|s| s.d == d && (a == d) != (b == d)) else {
            return false;
        };
        let other = if a == d { b } else { a };
        self.asm.seek(shifted.start);
        self.asm.lea_scaled(host(d), host(other), host(shifted.a), shifted.by);
        self.merged(shifted.start, d, other);
        true
    }

    pub(super) fn add_imm(&mut self, w: Width, a: Reg, b: Reg, x: u64) {
        let (a, b, x) = (host(a), host(b), x as i32);
        match (w, x) {
            (W32, 0) => return self.asm.movsxd(a, b),
            (W64, 0) => {
                return if a != b {
                    self.asm.mov(W64, a, b)
                };
            }
            _ if a == b => self.asm.alu_imm(w, Alu::Add, a, x),
            _ => self.asm.lea(w, a, b, x),
        }
        self.finish(w, a);
    }

    pub(super) fn sub(&mut self, w: Width, d: Reg, a: Reg, b: Reg) {
        if d == b && d != a {
            self.asm.unary(w, Unary::Neg, host(d));
            self.asm.alu(w, Alu::Add, host(d), host(a));
        } else {
            self.copy(d, a);
            self.asm.alu(w, Alu::Sub, host(d), host(b));
        }
        self.finish(w, host(d));
    }

    /// a = x - b.
    pub(super) fn sub_from_imm(&mut self, w: Width, a: Reg, b: Reg, x: u64) {
        let (ha, hb) = (host(a), host(b));
        if a == b || x == 0 {
            self.copy(a, b);
            self.asm.unary(w, Unary::Neg, ha);
            if x != 0 {
                self.asm.alu_imm(w, Alu::Add, ha, x as i32);
            }
        } else {
            self.asm.mov_imm(ha, x);
            self.asm.alu(w, Alu::Sub, ha, hb);
        }
        self.finish(w, ha);
    }

    pub(super) fn bitwise_imm(&mut self, op: Alu, a: Reg, b: Reg, x: u64) {
        self.copy(a, b);
        if op == Alu::Xor && x == u64::MAX {
            self.asm.unary(W64, Unary::Not, host(a));
        } else if x != 0 {
            self.asm.alu_imm(W64, op, host(a), x as i32);
        }
    }

    pub(super) fn and_imm(&mut self, a: Reg, b: Reg, x: u64) {
        let (ha, hb) = (host(a), host(b));
        match x {
            0 => self.asm.zero(ha),
            0xFF => self.asm.movzx8(ha, hb),
            0xFFFF => self.asm.movzx16(ha, hb),
            u64::MAX => self.copy(a, b),
            // Non-negative: 32 bits say it all, and the upper half becomes zero.
            _ if x >> 31 == 0 => {
                if a != b {
                    self.asm.mov(W32, ha, hb);
                }
                self.asm.alu_imm(W32, Alu::And, ha, x as i32);
            }
            _ => {
                self.copy(a, b);
                self.asm.alu_imm(W64, Alu::And, ha, x as i32);
            }
        }
    }

    pub(super) fn and_inverted(&mut self, d: Reg, a: Reg, b: Reg) {
        self.asm.andn(W64, host(d), host(b), host(a));
    }

    pub(super) fn or_inverted(&mut self, d: Reg, a: Reg, b: Reg) {
        let not_b = if d == a { TMP } else { host(d) };
        if not_b != host(b) {
            self.asm.mov(W64, not_b, host(b));
        }
        self.asm.unary(W64, Unary::Not, not_b);
        let other = if d == a { TMP } else { host(a) };
        self.asm.alu(W64, Alu::Or, host(d), other);
    }

    pub(super) fn xnor(&mut self, d: Reg, a: Reg, b: Reg) {
        self.commutative(W64, Alu::Xor, d, a, b);
        self.asm.unary(W64, Unary::Not, host(d));
    }

    /// Sets the flags as `a - x` does.
    pub(super) fn compare_imm(&mut self, cond: Cond, a: Reg, x: u64) {
        if x == 0 && matches!(cond, Cond::E | Cond::Ne | Cond::L | Cond::Ge) {
            self.asm.test(W64, host(a), host(a));
        } else {
            self.asm.alu_imm(W64, Alu::Cmp, host(a), x as i32);
        }
    }

    /// d = whether the flags say so.
    fn set_from_flags(&mut self, cond: Cond, d: Reg) {
        self.asm.setcc(cond, host(d));
        self.asm.movzx8(host(d), host(d));
    }

    pub(super) fn set(&mut self, cond: Cond, d: Reg, a: Reg, b: Reg) {
        self.fusion.leave(Fact::Set { reg: d, cond });
        if cond == Cond::B && self.rely_on_carry(a, b) {
            // Minus the carry, then the carry; the flag is the same again.
            self.asm.borrow(host(d));
            self.asm.unary(W64, Unary::Neg, host(d));
        } else if d == a || d == b {
            self.asm.alu(W64, Alu::Cmp, host(a), host(b));
            self.set_from_flags(cond, d);
        } else {
            self.asm.zero(host(d));
            self.asm.alu(W64, Alu::Cmp, host(a), host(b));
            self.asm.setcc(cond, host(d));
        }
    }

    pub(super) fn set_imm(&mut self, cond: Cond, a: Reg, b: Reg, x: u64) {
        self.fusion.leave(Fact::Set { reg: a, cond });
        if a == b {
            self.compare_imm(cond, b, x);
            self.set_from_flags(cond, a);
        } else {
            self.asm.zero(host(a));
            self.compare_imm(cond, b, x);
            self.asm.setcc(cond, host(a));
        }
    }

    /// The condition to look for where a register is zero (`E`) or is not (`Ne`).
    pub(super) fn compare_zero(&mut self, cond: Cond, a: Reg) -> Cond {
        match self.rely_on_set(a) {
            Some(set) if cond == Cond::Ne => set,
            Some(set) => set.inverted(),
            None => {
                self.asm.test(W64, host(a), host(a));
                cond
            }
        }
    }

    pub(super) fn cmov(&mut self, cond: Cond, d: Reg, a: Reg, b: Reg) {
        let cond = self.compare_zero(cond, b);
        self.asm.cmov(cond, host(d), host(a));
    }

    pub(super) fn cmov_imm(&mut self, cond: Cond, a: Reg, b: Reg, x: u64) {
        self.asm.mov_imm(TMP, x);
        let cond = self.compare_zero(cond, b);
        self.asm.cmov(cond, host(a), TMP);
    }

    /// d = b if a `cond` b, else a: maximum and minimum, by the condition.
    pub(super) fn select(&mut self, cond: Cond, d: Reg, a: Reg, b: Reg) {
        if d == b {
            self.asm.alu(W64, Alu::Cmp, host(b), host(a));
            // Seen from b the condition is the same: a replaces b where b `cond` a.
            self.asm.cmov(cond, host(d), host(a));
        } else {
            self.copy(d, a);
            self.asm.alu(W64, Alu::Cmp, host(d), host(b));
            self.asm.cmov(cond, host(d), host(b));
        }
    }
}
