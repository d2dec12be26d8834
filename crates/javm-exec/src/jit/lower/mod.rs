//! One line per instruction: what machine code it becomes. The helpers are in the files below.
//!
//! Rules: an instruction may use [`TMP`](super::regs::TMP), the flags and the frame's spill slot. None of
//! them means anything between instructions, but for flags that [`fuse`](super::fuse) knows about. What can fault
//! comes before anything that the guest could see.

mod alu;
mod branch;
mod memory;
mod muldiv;
mod shift;

use javm_isa::{OpVisitor, Reg};

use super::{
    asm::{Alu, Cond, Count, Load, Shift, Store, W32, W64},
    compile::Compiler,
};
use crate::EcallKind;
use muldiv::Division;

/// `compiler; (operands) => { name: what to call; … }`: one visitor method per name.
macro_rules! ops {
    ($c:ident; $($params:tt => { $($name:ident: $body:expr;)* })*) => {
        impl OpVisitor for Compiler<'_> {
            type Out = ();
            $($(ops!(@ $c $params $name $body);)*)*
        }
    };
    (@ $c:ident ($($p:ident: $t:ty),*) $name:ident $body:expr) => {
        #[inline]
        fn $name(&mut self, $($p: $t),*) {
            let $c = self;
            $body;
        }
    };
}

ops! { c;
    () => {
        trap: c.exit_with_pc(c.pc, c.stubs.trap);
        fallthrough: c.nothing();
        unlikely: c.nothing();
        ecall: c.call_host(EcallKind::Ecall);
    }
    (x: u64) => {
        ecalli: c.call_host(EcallKind::Ecalli(x as u32));
        jump: c.goto(x);
    }
    (a: Reg, x: u64) => {
        load_imm: c.constant(a, x);
        load_imm_64: c.constant(a, x);
        load_u8: c.load(Load::U8, a, None, x);
        load_i8: c.load(Load::I8, a, None, x);
        load_u16: c.load(Load::U16, a, None, x);
        load_i16: c.load(Load::I16, a, None, x);
        load_u32: c.load(Load::U32, a, None, x);
        load_i32: c.load(Load::I32, a, None, x);
        load_u64: c.load(Load::U64, a, None, x);
        store_u8: c.store(Store::U8, a, None, x);
        store_u16: c.store(Store::U16, a, None, x);
        store_u32: c.store(Store::U32, a, None, x);
        store_u64: c.store(Store::U64, a, None, x);
        jump_ind: c.jump_indirect(None, a, x);
    }
    (x: u64, y: u64) => {
        store_imm_u8: c.store_imm(Store::U8, None, x, y);
        store_imm_u16: c.store_imm(Store::U16, None, x, y);
        store_imm_u32: c.store_imm(Store::U32, None, x, y);
        store_imm_u64: c.store_imm(Store::U64, None, x, y);
    }
    (a: Reg, x: u64, y: u64) => {
        store_imm_ind_u8: c.store_imm(Store::U8, Some(a), x, y);
        store_imm_ind_u16: c.store_imm(Store::U16, Some(a), x, y);
        store_imm_ind_u32: c.store_imm(Store::U32, Some(a), x, y);
        store_imm_ind_u64: c.store_imm(Store::U64, Some(a), x, y);
        load_imm_jump: { c.constant(a, x); c.goto(y) };
        branch_eq_imm: c.branch_imm(Cond::E, a, x, y);
        branch_ne_imm: c.branch_imm(Cond::Ne, a, x, y);
        branch_lt_u_imm: c.branch_imm(Cond::B, a, x, y);
        branch_le_u_imm: c.branch_imm(Cond::Be, a, x, y);
        branch_ge_u_imm: c.branch_imm(Cond::Ae, a, x, y);
        branch_gt_u_imm: c.branch_imm(Cond::A, a, x, y);
        branch_lt_s_imm: c.branch_imm(Cond::L, a, x, y);
        branch_le_s_imm: c.branch_imm(Cond::Le, a, x, y);
        branch_ge_s_imm: c.branch_imm(Cond::Ge, a, x, y);
        branch_gt_s_imm: c.branch_imm(Cond::G, a, x, y);
    }
    (d: Reg, a: Reg) => {
        move_reg: c.copy(d, a);
        count_set_bits_64: c.count(W64, Count::Ones, d, a);
        count_set_bits_32: c.count(W32, Count::Ones, d, a);
        leading_zero_bits_64: c.count(W64, Count::LeadingZeros, d, a);
        leading_zero_bits_32: c.count(W32, Count::LeadingZeros, d, a);
        trailing_zero_bits_64: c.count(W64, Count::TrailingZeros, d, a);
        trailing_zero_bits_32: c.count(W32, Count::TrailingZeros, d, a);
        sign_extend_8: c.sign_extend_byte(d, a);
        sign_extend_16: c.sign_extend_two_bytes(d, a);
        zero_extend_16: c.zero_extend_two_bytes(d, a);
        reverse_bytes: c.swap_bytes(d, a);
    }
    (a: Reg, b: Reg, x: u64) => {
        store_ind_u8: c.store(Store::U8, a, Some(b), x);
        store_ind_u16: c.store(Store::U16, a, Some(b), x);
        store_ind_u32: c.store(Store::U32, a, Some(b), x);
        store_ind_u64: c.store(Store::U64, a, Some(b), x);
        load_ind_u8: c.load(Load::U8, a, Some(b), x);
        load_ind_i8: c.load(Load::I8, a, Some(b), x);
        load_ind_u16: c.load(Load::U16, a, Some(b), x);
        load_ind_i16: c.load(Load::I16, a, Some(b), x);
        load_ind_u32: c.load(Load::U32, a, Some(b), x);
        load_ind_i32: c.load(Load::I32, a, Some(b), x);
        load_ind_u64: c.load(Load::U64, a, Some(b), x);
        add_imm_32: c.add_imm(W32, a, b, x);
        add_imm_64: c.add_imm(W64, a, b, x);
        and_imm: c.and_imm(a, b, x);
        xor_imm: c.bitwise_imm(Alu::Xor, a, b, x);
        or_imm: c.bitwise_imm(Alu::Or, a, b, x);
        mul_imm_32: c.mul_imm(W32, a, b, x);
        mul_imm_64: c.mul_imm(W64, a, b, x);
        neg_add_imm_32: c.sub_from_imm(W32, a, b, x);
        neg_add_imm_64: c.sub_from_imm(W64, a, b, x);
        set_lt_u_imm: c.set_imm(Cond::B, a, b, x);
        set_lt_s_imm: c.set_imm(Cond::L, a, b, x);
        set_gt_u_imm: c.set_imm(Cond::A, a, b, x);
        set_gt_s_imm: c.set_imm(Cond::G, a, b, x);
        cmov_iz_imm: c.cmov_imm(Cond::E, a, b, x);
        cmov_nz_imm: c.cmov_imm(Cond::Ne, a, b, x);
        shlo_l_imm_32: c.shift_imm(W32, Shift::Shl, a, b, x);
        shlo_r_imm_32: c.shift_imm(W32, Shift::Shr, a, b, x);
        shar_r_imm_32: c.shift_imm(W32, Shift::Sar, a, b, x);
        shlo_l_imm_64: c.shift_imm(W64, Shift::Shl, a, b, x);
        shlo_r_imm_64: c.shift_imm(W64, Shift::Shr, a, b, x);
        shar_r_imm_64: c.shift_imm(W64, Shift::Sar, a, b, x);
        rot_r_32_imm: c.rotate_imm(W32, a, b, x);
        rot_r_64_imm: c.rotate_imm(W64, a, b, x);
        shlo_l_imm_alt_32: c.shift_of_imm(W32, Shift::Shl, a, b, x);
        shlo_r_imm_alt_32: c.shift_of_imm(W32, Shift::Shr, a, b, x);
        shar_r_imm_alt_32: c.shift_of_imm(W32, Shift::Sar, a, b, x);
        shlo_l_imm_alt_64: c.shift_of_imm(W64, Shift::Shl, a, b, x);
        shlo_r_imm_alt_64: c.shift_of_imm(W64, Shift::Shr, a, b, x);
        shar_r_imm_alt_64: c.shift_of_imm(W64, Shift::Sar, a, b, x);
        rot_r_32_imm_alt: c.rotate_of_imm(W32, a, b, x);
        rot_r_64_imm_alt: c.rotate_of_imm(W64, a, b, x);
        branch_eq: c.branch(Cond::E, a, b, x);
        branch_ne: c.branch(Cond::Ne, a, b, x);
        branch_lt_u: c.branch(Cond::B, a, b, x);
        branch_lt_s: c.branch(Cond::L, a, b, x);
        branch_ge_u: c.branch(Cond::Ae, a, b, x);
        branch_ge_s: c.branch(Cond::Ge, a, b, x);
    }
    (a: Reg, b: Reg, x: u64, y: u64) => {
        load_imm_jump_ind: c.jump_indirect(Some((a, x)), b, y);
    }
    (d: Reg, a: Reg, b: Reg) => {
        add_32: c.add(W32, d, a, b);
        add_64: c.add(W64, d, a, b);
        sub_32: c.sub(W32, d, a, b);
        sub_64: c.sub(W64, d, a, b);
        mul_32: c.mul(W32, d, a, b);
        mul_64: c.mul(W64, d, a, b);
        div_u_32: c.divide(W32, Division::QUOTIENT, d, a, b);
        div_s_32: c.divide(W32, Division::QUOTIENT_SIGNED, d, a, b);
        rem_u_32: c.divide(W32, Division::REMAINDER, d, a, b);
        rem_s_32: c.divide(W32, Division::REMAINDER_SIGNED, d, a, b);
        div_u_64: c.divide(W64, Division::QUOTIENT, d, a, b);
        div_s_64: c.divide(W64, Division::QUOTIENT_SIGNED, d, a, b);
        rem_u_64: c.divide(W64, Division::REMAINDER, d, a, b);
        rem_s_64: c.divide(W64, Division::REMAINDER_SIGNED, d, a, b);
        mul_upper_u_u: c.mul_upper(d, a, b);
        mul_upper_s_s: c.mul_upper_signed(d, a, b);
        mul_upper_s_u: c.mul_upper_signed_unsigned(d, a, b);
        shlo_l_32: c.shift(W32, Shift::Shl, d, a, b);
        shlo_r_32: c.shift(W32, Shift::Shr, d, a, b);
        shar_r_32: c.shift(W32, Shift::Sar, d, a, b);
        shlo_l_64: c.shift(W64, Shift::Shl, d, a, b);
        shlo_r_64: c.shift(W64, Shift::Shr, d, a, b);
        shar_r_64: c.shift(W64, Shift::Sar, d, a, b);
        rot_l_32: c.rotate(W32, Shift::Rol, d, a, b);
        rot_r_32: c.rotate(W32, Shift::Ror, d, a, b);
        rot_l_64: c.rotate(W64, Shift::Rol, d, a, b);
        rot_r_64: c.rotate(W64, Shift::Ror, d, a, b);
        and: c.bitwise(Alu::And, d, a, b);
        xor: c.bitwise(Alu::Xor, d, a, b);
        or: c.bitwise(Alu::Or, d, a, b);
        and_inv: c.and_inverted(d, a, b);
        or_inv: c.or_inverted(d, a, b);
        xnor: c.xnor(d, a, b);
        set_lt_u: c.set(Cond::B, d, a, b);
        set_lt_s: c.set(Cond::L, d, a, b);
        cmov_iz: c.cmov(Cond::E, d, a, b);
        cmov_nz: c.cmov(Cond::Ne, d, a, b);
        max: c.select(Cond::L, d, a, b);
        max_u: c.select(Cond::B, d, a, b);
        min: c.select(Cond::G, d, a, b);
        min_u: c.select(Cond::A, d, a, b);
    }
}
