//! Branches, jumps and calls of the host.

use javm_isa::Reg;
use javm_sys::frame;

use crate::{
    EcallKind,
    jit::{
        asm::{Alu, Cond, Shift, W32, W64},
        compile::Compiler,
        region::Site,
        regs::{TMP, host},
    },
};

impl Compiler<'_> {
    /// The code goes on by itself; what the next block costs is taken there.
    pub(super) fn nothing(&mut self) {}

    pub(super) fn branch(&mut self, cond: Cond, a: Reg, b: Reg, target: u64) {
        self.asm.alu(W64, Alu::Cmp, host(a), host(b));
        self.goto_if(cond, target);
    }

    pub(super) fn branch_imm(&mut self, cond: Cond, a: Reg, x: u64, target: u64) {
        let cond = if x == 0 && matches!(cond, Cond::E | Cond::Ne) {
            self.compare_zero(cond, a)
        } else {
            self.compare_imm(cond, a, x);
            cond
        };
        self.goto_if(cond, target);
    }

    /// Goes where the jump table sends base + y, after A = X.
    ///
    /// The address is 2 (n + 1) for entry n. Rotated right by one it is n + 1, or a number past every table if
    /// it was odd; entry 0 of our table stands for address 0. So one comparison tells the good ones, and the
    /// halt address is looked for among the others only. Nothing that the jump waits for comes from the
    /// comparison: the table is indexed with the address itself, in steps of two.
    pub(super) fn jump_indirect(&mut self, constant: Option<(Reg, u64)>, base: Reg, y: u64) {
        let disp = (y as i32).checked_mul(4);
        if let (Some(disp), false) = (disp, constant.is_some_and(|(a, _)| a == base)) {
            if let Some((a, x)) = constant {
                self.constant(a, x);
            }
            self.asm.store_slot_imm(frame::PC, self.pc);
            // All 64 bits: addresses above 2^32, which mean the same as below, are no common sight.
            if y == 0 {
                self.asm.rorx(W64, TMP, host(base), 1);
            } else {
                self.asm.lea(W64, TMP, host(base), y as i32);
                self.asm.shift_imm(W64, Shift::Ror, TMP, 1);
            }
            self.asm.alu_imm(W64, Alu::Cmp, TMP, self.table_len as i32);
            self.asm.jcc(Cond::Ae, self.stubs.outside_table);
            self.asm.load_slot(W64, TMP, frame::TABLE);
            self.asm.jmp_at_tmp_indexed(host(base), disp);
        } else {
            self.asm.lea(W32, TMP, host(base), y as i32);
            if let Some((a, x)) = constant {
                self.constant(a, x);
            }
            self.asm.store_slot_imm(frame::PC, self.pc);
            self.asm.jmp(self.stubs.indirect);
        }
    }

    pub(super) fn call_host(&mut self, kind: EcallKind) {
        self.asm.mov_imm(TMP, self.sites.len() as u64);
        self.asm.jmp(self.stubs.ecall);
        self.sites.push(Site { pc: self.pc, next: self.asm.pos(), kind });
    }
}
