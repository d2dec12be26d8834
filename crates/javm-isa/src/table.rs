//! The instruction table: one row per instruction, nothing twice.
//!
//! A row reads `shape Variant name v07 v08 flow class "effect";`
//!
//! * `shape`: operands and their layout, see [`Shape`](crate::Shape);
//! * `v07`, `v08`: opcode in the Gray Paper 0.7 numbering and in 0.8, the canonical one; `none` where the
//!   numbering has no such instruction;
//! * `flow`: what it does to control flow, see [`Flow`](crate::Flow);
//! * `class`: its row in the pipeline cost model, see [`CostClass`](crate::CostClass).
//!
//! To add an instruction add a row, then follow the compiler: each backend's
//! [`OpVisitor`](crate::OpVisitor) gains one method, and one that lacks it does not compile.
//!
//! Source: Gray Paper appendix A.5. Operand names in the effects: A, B, D registers, X, Y immediates,
//! `m[a]` memory at a.

/// Calls the macro `$m` with every row of the table.
#[macro_export]
macro_rules! for_each_op {
    ($m:ident) => { $m! {
        none Trap trap 0 0 Trap Nop "panics";
        none Fallthrough fallthrough 1 1 Fallthrough Nop "ends a basic block";
        none Unlikely unlikely none 2 Next Unlikely "a hint for the cost model: what follows is seldom reached";
        none Ecall ecall none 3 Host Host "asks the host for the operation that A4 names";
        imm Ecalli ecalli 10 10 Host Host "asks the host for operation X";
        dst_imm64 LoadImm64 load_imm_64 20 20 Next LoadImm64 "A = X";
        imm_imm StoreImmU8 store_imm_u8 30 30 Store Store "m[X] = Y, 1 byte";
        imm_imm StoreImmU16 store_imm_u16 31 31 Store Store "m[X] = Y, 2 bytes";
        imm_imm StoreImmU32 store_imm_u32 32 32 Store Store "m[X] = Y, 4 bytes";
        imm_imm StoreImmU64 store_imm_u64 33 33 Store Store "m[X] = Y, 8 bytes";
        offset Jump jump 40 40 Jump Jump "goes to the target";
        src_imm JumpInd jump_ind 50 50 Indirect JumpInd "goes where the jump table sends A + X";
        dst_imm LoadImm load_imm 51 51 Next LoadImm "A = X";
        dst_imm LoadU8 load_u8 52 52 Load Load "A = m[X], 1 byte, zero-extended";
        dst_imm LoadI8 load_i8 53 53 Load Load "A = m[X], 1 byte, sign-extended";
        dst_imm LoadU16 load_u16 54 54 Load Load "A = m[X], 2 bytes, zero-extended";
        dst_imm LoadI16 load_i16 55 55 Load Load "A = m[X], 2 bytes, sign-extended";
        dst_imm LoadU32 load_u32 56 56 Load Load "A = m[X], 4 bytes, zero-extended";
        dst_imm LoadI32 load_i32 57 57 Load Load "A = m[X], 4 bytes, sign-extended";
        dst_imm LoadU64 load_u64 58 58 Load Load "A = m[X], 8 bytes";
        src_imm StoreU8 store_u8 59 59 Store Store "m[X] = A, 1 byte";
        src_imm StoreU16 store_u16 60 60 Store Store "m[X] = A, 2 bytes";
        src_imm StoreU32 store_u32 61 61 Store Store "m[X] = A, 4 bytes";
        src_imm StoreU64 store_u64 62 62 Store Store "m[X] = A, 8 bytes";
        src_imm_imm StoreImmIndU8 store_imm_ind_u8 70 70 Store Store "m[A + X] = Y, 1 byte";
        src_imm_imm StoreImmIndU16 store_imm_ind_u16 71 71 Store Store "m[A + X] = Y, 2 bytes";
        src_imm_imm StoreImmIndU32 store_imm_ind_u32 72 72 Store Store "m[A + X] = Y, 4 bytes";
        src_imm_imm StoreImmIndU64 store_imm_ind_u64 73 73 Store Store "m[A + X] = Y, 8 bytes";
        dst_imm_offset LoadImmJump load_imm_jump 80 80 Jump Jump "A = X, then goes to the target";
        src_imm_offset BranchEqImm branch_eq_imm 81 81 Branch Branch "goes to the target if A = X";
        src_imm_offset BranchNeImm branch_ne_imm 82 82 Branch Branch "goes to the target if A ≠ X";
        src_imm_offset BranchLtUImm branch_lt_u_imm 83 83 Branch Branch "goes to the target if A < X, unsigned";
        src_imm_offset BranchLeUImm branch_le_u_imm 84 84 Branch Branch "goes to the target if A ≤ X, unsigned";
        src_imm_offset BranchGeUImm branch_ge_u_imm 85 85 Branch Branch "goes to the target if A ≥ X, unsigned";
        src_imm_offset BranchGtUImm branch_gt_u_imm 86 86 Branch Branch "goes to the target if A > X, unsigned";
        src_imm_offset BranchLtSImm branch_lt_s_imm 87 87 Branch Branch "goes to the target if A < X, signed";
        src_imm_offset BranchLeSImm branch_le_s_imm 88 88 Branch Branch "goes to the target if A ≤ X, signed";
        src_imm_offset BranchGeSImm branch_ge_s_imm 89 89 Branch Branch "goes to the target if A ≥ X, signed";
        src_imm_offset BranchGtSImm branch_gt_s_imm 90 90 Branch Branch "goes to the target if A > X, signed";
        dst_src MoveReg move_reg 100 100 Next Move "D = A";
        dst_src CountSetBits64 count_set_bits_64 102 101 Next Bits "D = number of one bits of A";
        dst_src CountSetBits32 count_set_bits_32 103 102 Next Bits "D = number of one bits of A's low 32 bits";
        dst_src LeadingZeroBits64 leading_zero_bits_64 104 103 Next Bits "D = number of leading zero bits of A";
        dst_src LeadingZeroBits32 leading_zero_bits_32 105 104 Next Bits "D = number of leading zero bits of A's low 32 bits";
        dst_src TrailingZeroBits64 trailing_zero_bits_64 106 105 Next TrailingZeros "D = number of trailing zero bits of A";
        dst_src TrailingZeroBits32 trailing_zero_bits_32 107 106 Next TrailingZeros "D = number of trailing zero bits of A's low 32 bits";
        dst_src SignExtend8 sign_extend_8 108 107 Next Bits "D = A's low byte, sign-extended";
        dst_src SignExtend16 sign_extend_16 109 108 Next Bits "D = A's low 2 bytes, sign-extended";
        dst_src ZeroExtend16 zero_extend_16 110 109 Next Bits "D = A's low 2 bytes";
        dst_src ReverseBytes reverse_bytes 111 110 Next Alu64 "D = A with its bytes reversed";
        src_src_imm StoreIndU8 store_ind_u8 120 120 Store Store "m[B + X] = A, 1 byte";
        src_src_imm StoreIndU16 store_ind_u16 121 121 Store Store "m[B + X] = A, 2 bytes";
        src_src_imm StoreIndU32 store_ind_u32 122 122 Store Store "m[B + X] = A, 4 bytes";
        src_src_imm StoreIndU64 store_ind_u64 123 123 Store Store "m[B + X] = A, 8 bytes";
        dst_src_imm LoadIndU8 load_ind_u8 124 124 Load Load "A = m[B + X], 1 byte, zero-extended";
        dst_src_imm LoadIndI8 load_ind_i8 125 125 Load Load "A = m[B + X], 1 byte, sign-extended";
        dst_src_imm LoadIndU16 load_ind_u16 126 126 Load Load "A = m[B + X], 2 bytes, zero-extended";
        dst_src_imm LoadIndI16 load_ind_i16 127 127 Load Load "A = m[B + X], 2 bytes, sign-extended";
        dst_src_imm LoadIndU32 load_ind_u32 128 128 Load Load "A = m[B + X], 4 bytes, zero-extended";
        dst_src_imm LoadIndI32 load_ind_i32 129 129 Load Load "A = m[B + X], 4 bytes, sign-extended";
        dst_src_imm LoadIndU64 load_ind_u64 130 130 Load Load "A = m[B + X], 8 bytes";
        dst_src_imm AddImm32 add_imm_32 131 131 Next Alu32 "A = B + X, 32 bits";
        dst_src_imm AndImm and_imm 132 132 Next Alu64 "A = B and X";
        dst_src_imm XorImm xor_imm 133 133 Next Alu64 "A = B xor X";
        dst_src_imm OrImm or_imm 134 134 Next Alu64 "A = B or X";
        dst_src_imm MulImm32 mul_imm_32 135 135 Next Mul32 "A = B · X, 32 bits";
        dst_src_imm SetLtUImm set_lt_u_imm 136 136 Next Compare "A = B < X, unsigned";
        dst_src_imm SetLtSImm set_lt_s_imm 137 137 Next Compare "A = B < X, signed";
        dst_src_imm ShloLImm32 shlo_l_imm_32 138 138 Next Alu32 "A = B << X, 32 bits";
        dst_src_imm ShloRImm32 shlo_r_imm_32 139 139 Next Alu32 "A = B >> X, 32 bits, logical";
        dst_src_imm SharRImm32 shar_r_imm_32 140 140 Next Alu32 "A = B >> X, 32 bits, arithmetic";
        dst_src_imm NegAddImm32 neg_add_imm_32 141 141 Next NegAdd32 "A = X - B, 32 bits";
        dst_src_imm SetGtUImm set_gt_u_imm 142 142 Next Compare "A = B > X, unsigned";
        dst_src_imm SetGtSImm set_gt_s_imm 143 143 Next Compare "A = B > X, signed";
        dst_src_imm ShloLImmAlt32 shlo_l_imm_alt_32 144 144 Next ShiftAlt32 "A = X << B, 32 bits";
        dst_src_imm ShloRImmAlt32 shlo_r_imm_alt_32 145 145 Next ShiftAlt32 "A = X >> B, 32 bits, logical";
        dst_src_imm SharRImmAlt32 shar_r_imm_alt_32 146 146 Next ShiftAlt32 "A = X >> B, 32 bits, arithmetic";
        dst_src_imm CmovIzImm cmov_iz_imm 147 147 Next CmovImm "A = X if B = 0";
        dst_src_imm CmovNzImm cmov_nz_imm 148 148 Next CmovImm "A = X if B ≠ 0";
        dst_src_imm AddImm64 add_imm_64 149 149 Next Alu64 "A = B + X";
        dst_src_imm MulImm64 mul_imm_64 150 150 Next Mul64 "A = B · X";
        dst_src_imm ShloLImm64 shlo_l_imm_64 151 151 Next Alu64 "A = B << X";
        dst_src_imm ShloRImm64 shlo_r_imm_64 152 152 Next Alu64 "A = B >> X, logical";
        dst_src_imm SharRImm64 shar_r_imm_64 153 153 Next Alu64 "A = B >> X, arithmetic";
        dst_src_imm NegAddImm64 neg_add_imm_64 154 154 Next NegAdd64 "A = X - B";
        dst_src_imm ShloLImmAlt64 shlo_l_imm_alt_64 155 155 Next ShiftAlt64 "A = X << B";
        dst_src_imm ShloRImmAlt64 shlo_r_imm_alt_64 156 156 Next ShiftAlt64 "A = X >> B, logical";
        dst_src_imm SharRImmAlt64 shar_r_imm_alt_64 157 157 Next ShiftAlt64 "A = X >> B, arithmetic";
        dst_src_imm RotR64Imm rot_r_64_imm 158 158 Next Alu64 "A = B rotated right by X";
        dst_src_imm RotR64ImmAlt rot_r_64_imm_alt 159 159 Next ShiftAlt64 "A = X rotated right by B";
        dst_src_imm RotR32Imm rot_r_32_imm 160 160 Next Alu32 "A = B rotated right by X, 32 bits";
        dst_src_imm RotR32ImmAlt rot_r_32_imm_alt 161 161 Next ShiftAlt32 "A = X rotated right by B, 32 bits";
        src_src_offset BranchEq branch_eq 170 170 Branch Branch "goes to the target if A = B";
        src_src_offset BranchNe branch_ne 171 171 Branch Branch "goes to the target if A ≠ B";
        src_src_offset BranchLtU branch_lt_u 172 172 Branch Branch "goes to the target if A < B, unsigned";
        src_src_offset BranchLtS branch_lt_s 173 173 Branch Branch "goes to the target if A < B, signed";
        src_src_offset BranchGeU branch_ge_u 174 174 Branch Branch "goes to the target if A ≥ B, unsigned";
        src_src_offset BranchGeS branch_ge_s 175 175 Branch Branch "goes to the target if A ≥ B, signed";
        dst_src_imm_imm LoadImmJumpInd load_imm_jump_ind 180 180 Indirect JumpInd "goes where the jump table sends B + Y; A = X";
        dst_src_src Add32 add_32 190 190 Next Alu32 "D = A + B, 32 bits";
        dst_src_src Sub32 sub_32 191 191 Next Alu32 "D = A - B, 32 bits";
        dst_src_src Mul32 mul_32 192 192 Next Mul32 "D = A · B, 32 bits";
        dst_src_src DivU32 div_u_32 193 193 Next Div "D = A / B, 32 bits, unsigned";
        dst_src_src DivS32 div_s_32 194 194 Next Div "D = A / B, 32 bits, signed";
        dst_src_src RemU32 rem_u_32 195 195 Next Div "D = A mod B, 32 bits, unsigned";
        dst_src_src RemS32 rem_s_32 196 196 Next Div "D = A mod B, 32 bits, signed";
        dst_src_src ShloL32 shlo_l_32 197 197 Next Shift32 "D = A << B, 32 bits";
        dst_src_src ShloR32 shlo_r_32 198 198 Next Shift32 "D = A >> B, 32 bits, logical";
        dst_src_src SharR32 shar_r_32 199 199 Next Shift32 "D = A >> B, 32 bits, arithmetic";
        dst_src_src Add64 add_64 200 200 Next Alu64 "D = A + B";
        dst_src_src Sub64 sub_64 201 201 Next Alu64 "D = A - B";
        dst_src_src Mul64 mul_64 202 202 Next Mul64 "D = A · B";
        dst_src_src DivU64 div_u_64 203 203 Next Div "D = A / B, unsigned";
        dst_src_src DivS64 div_s_64 204 204 Next Div "D = A / B, signed";
        dst_src_src RemU64 rem_u_64 205 205 Next Div "D = A mod B, unsigned";
        dst_src_src RemS64 rem_s_64 206 206 Next Div "D = A mod B, signed";
        dst_src_src ShloL64 shlo_l_64 207 207 Next Shift64 "D = A << B";
        dst_src_src ShloR64 shlo_r_64 208 208 Next Shift64 "D = A >> B, logical";
        dst_src_src SharR64 shar_r_64 209 209 Next Shift64 "D = A >> B, arithmetic";
        dst_src_src And and 210 210 Next Alu64 "D = A and B";
        dst_src_src Xor xor 211 211 Next Alu64 "D = A xor B";
        dst_src_src Or or 212 212 Next Alu64 "D = A or B";
        dst_src_src MulUpperSS mul_upper_s_s 213 213 Next MulUpper "D = upper half of A · B, signed · signed";
        dst_src_src MulUpperUU mul_upper_u_u 214 214 Next MulUpper "D = upper half of A · B, unsigned · unsigned";
        dst_src_src MulUpperSU mul_upper_s_u 215 215 Next MulUpperSu "D = upper half of A · B, signed · unsigned";
        dst_src_src SetLtU set_lt_u 216 216 Next Compare "D = A < B, unsigned";
        dst_src_src SetLtS set_lt_s 217 217 Next Compare "D = A < B, signed";
        dst_src_src CmovIz cmov_iz 218 218 Next Cmov "D = A if B = 0";
        dst_src_src CmovNz cmov_nz 219 219 Next Cmov "D = A if B ≠ 0";
        dst_src_src RotL64 rot_l_64 220 220 Next Shift64 "D = A rotated left by B";
        dst_src_src RotL32 rot_l_32 221 221 Next Shift32 "D = A rotated left by B, 32 bits";
        dst_src_src RotR64 rot_r_64 222 222 Next Shift64 "D = A rotated right by B";
        dst_src_src RotR32 rot_r_32 223 223 Next Shift32 "D = A rotated right by B, 32 bits";
        dst_src_src AndInv and_inv 224 224 Next Inverted "D = A and not B";
        dst_src_src OrInv or_inv 225 225 Next Inverted "D = A or not B";
        dst_src_src Xnor xnor 226 226 Next Alu32 "D = not (A xor B)";
        dst_src_src Max max 227 227 Next MinMax "D = the larger of A and B, signed";
        dst_src_src MaxU max_u 228 228 Next MinMax "D = the larger of A and B, unsigned";
        dst_src_src Min min 229 229 Next MinMax "D = the smaller of A and B, signed";
        dst_src_src MinU min_u 230 230 Next MinMax "D = the smaller of A and B, unsigned";
    } };
}
