//! [`Asm`]: the x86-64 instructions that the lowering uses, written straight into code memory.
//!
//! An instruction is put together in a register and stored with one or two fixed-width writes, which is why
//! this is faster than a general assembler; `docs/recompiler.md` has the figures. Names follow the vendor
//! manuals, destination first. The caller makes room ([`Asm::reserve`]) before each guest instruction; what
//! does not fit is dropped, never written elsewhere.

use super::regs::{Host, TMP};

/// Whether an operation works on 64 or on 32 bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Width {
    W32 = 0,
    W64 = 1,
}
pub(super) use Width::{W32, W64};

/// The two-operand arithmetic that shares an encoding: the number of the group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Alu {
    Add = 0,
    Or = 1,
    And = 4,
    Sub = 5,
    Xor = 6,
    Cmp = 7,
}

/// Shifts by an immediate or by `cl`: the number of the group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shift {
    Rol = 0,
    Ror = 1,
    Shl = 4,
    Shr = 5,
    Sar = 7,
}

/// One-operand arithmetic: the number of the group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unary {
    Not = 2,
    Neg = 3,
    /// `rdx:rax` = `rax` · operand, signed.
    Imul = 5,
    /// `rax`, `rdx` = `rdx:rax` divided by the operand, unsigned.
    Div = 6,
    /// The same, signed.
    Idiv = 7,
}

/// Bit counting: the opcode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Count {
    Ones = 0xB8,
    TrailingZeros = 0xBC,
    LeadingZeros = 0xBD,
}

/// Conditions: the number in the opcode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cond {
    B = 2,
    Ae = 3,
    E = 4,
    Ne = 5,
    Be = 6,
    A = 7,
    L = 12,
    Ge = 13,
    Le = 14,
    G = 15,
}

impl Cond {
    /// The condition that holds where this one does not.
    pub(super) const fn inverted(self) -> Self {
        match self {
            Self::B => Self::Ae,
            Self::Ae => Self::B,
            Self::E => Self::Ne,
            Self::Ne => Self::E,
            Self::Be => Self::A,
            Self::A => Self::Be,
            Self::L => Self::Ge,
            Self::Ge => Self::L,
            Self::Le => Self::G,
            Self::G => Self::Le,
        }
    }
}

/// What a load does with what it reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Load {
    U8,
    I8,
    U16,
    I16,
    U32,
    I32,
    U64,
}

/// How much a store writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Store {
    U8,
    U16,
    U32,
    U64,
}

/// A vector register of 32 bytes, 0 to 7.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Vector(pub(super) u8);

/// A guest address: register plus constant, modulo 2^32.
#[derive(Clone, Copy, Debug)]
pub(super) struct Address {
    pub(super) base: Option<Host>,
    pub(super) disp: i32,
}

/// Where a 32-bit displacement is to be filled in: the position behind it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Patch(pub(super) u32);

/// Where an 8-bit displacement is to be filled in.
#[derive(Clone, Copy, Debug)]
pub(super) struct ShortPatch(u32);

/// The writer. Offsets are relative to where the region at hand begins.
#[derive(Debug, Default)]
pub(super) struct Asm {
    buf: Vec<u8>,
    /// Where the region begins.
    origin: usize,
    /// Where the next instruction goes.
    pos: usize,
}

const REX: u8 = 0x40;

/// What every guest access begins with: GS base, 32-bit addresses.
const GUEST: u64 = 0x6765;

const fn rex(w: Width, reg: u8, rm: u8) -> u8 {
    REX | (w as u8) << 3 | (reg >> 3) << 2 | rm >> 3
}

const fn modrm(reg: u8, rm: u8) -> u8 {
    0xC0 | (reg & 7) << 3 | rm & 7
}

impl Asm {
    /// Forgets everything but the memory.
    pub(super) fn clear(&mut self) {
        (self.origin, self.pos) = (0, 0);
    }

    /// Begins the next region, aligned as the loops in it want to be; gives where it begins in
    /// [`Asm::bytes`].
    pub(super) fn begin_region(&mut self, alignment: usize) -> usize {
        let gap = self.pos.wrapping_neg() % alignment;
        self.reserve(gap);
        self.skip(gap);
        self.origin = self.pos;
        self.origin
    }

    /// Writes code that was made before, as it is.
    pub(super) fn append(&mut self, code: &[u8]) {
        self.reserve(code.len());
        if let Some(to) = self.buf.get_mut(self.pos..self.pos + code.len()) {
            to.copy_from_slice(code);
        }
        self.pos += code.len();
    }

    /// Everything that was written, all regions.
    pub(super) fn bytes(&self) -> &[u8] {
        self.buf.get(..self.pos).unwrap_or_default()
    }

    /// Bytes of memory held.
    pub(super) fn capacity(&self) -> usize {
        self.buf.capacity()
    }

    /// Offset of the next instruction.
    pub(super) fn pos(&self) -> u32 {
        (self.pos - self.origin) as u32
    }

    /// Makes room for `n` more bytes.
    #[inline]
    pub(super) fn reserve(&mut self, n: usize) {
        if self.buf.len().saturating_sub(self.pos) < n {
            self.grow(n);
        }
    }

    #[cold]
    fn grow(&mut self, n: usize) {
        self.buf.resize((self.pos + n).max(2 * self.buf.len()), 0);
    }

    /// Skips bytes that are filled in later; what is not would trap.
    pub(super) fn skip(&mut self, n: usize) {
        if let Some(skipped) = self.buf.get_mut(self.pos..).and_then(|rest| rest.get_mut(..n)) {
            skipped.fill(0xCC);
        }
        self.pos += n;
    }

    /// Goes to an offset.
    pub(super) fn seek(&mut self, pos: u32) {
        self.pos = self.origin + pos as usize;
    }

    /// Writes the low `n` bytes of `v`. Up to 8 bytes are stored; the next instruction overwrites the rest.
    #[inline(always)]
    fn put(&mut self, v: u64, n: usize) {
        if let Some(to) = self.buf.get_mut(self.pos..).and_then(|b| b.first_chunk_mut()) {
            *to = v.to_le_bytes();
        }
        self.pos += n;
    }

    #[inline(always)]
    fn put32(&mut self, v: i32) {
        if let Some(to) = self.buf.get_mut(self.pos..).and_then(|b| b.first_chunk_mut()) {
            *to = v.to_le_bytes();
        }
        self.pos += 4;
    }

    /// A prefix that is left out when it says nothing, then `n` bytes.
    #[inline(always)]
    fn put_rex(&mut self, rex: u8, rest: u64, n: usize) {
        if rex == REX {
            self.put(rest, n);
        } else {
            self.put(rest << 8 | u64::from(rex), n + 1);
        }
    }

    /// `opcode /r` with two registers.
    #[inline(always)]
    fn rr(&mut self, w: Width, opcode: u8, reg: Host, rm: Host) {
        let (reg, rm) = (reg as u8, rm as u8);
        self.put_rex(rex(w, reg, rm), u64::from(opcode) | u64::from(modrm(reg, rm)) << 8, 2);
    }

    /// `0F opcode /r` with two registers.
    #[inline(always)]
    fn rr_0f(&mut self, w: Width, opcode: u8, reg: Host, rm: Host) {
        let (reg, rm) = (reg as u8, rm as u8);
        let rest = 0x0F | u64::from(opcode) << 8 | u64::from(modrm(reg, rm)) << 16;
        self.put_rex(rex(w, reg, rm), rest, 3);
    }

    /// `opcode /n` with one register.
    #[inline(always)]
    fn group(&mut self, w: Width, opcode: u8, n: u8, rm: Host) {
        let rm = rm as u8;
        self.put_rex(rex(w, 0, rm), u64::from(opcode) | u64::from(modrm(n, rm)) << 8, 2);
    }

    pub(super) fn mov(&mut self, w: Width, d: Host, s: Host) {
        self.rr(w, 0x8B, d, s);
    }

    /// d = the sign-extended low half of s.
    pub(super) fn movsxd(&mut self, d: Host, s: Host) {
        self.rr(W64, 0x63, d, s);
    }

    /// d = constant, in the shortest form. Leaves the flags.
    #[inline(always)]
    pub(super) fn mov_imm(&mut self, d: Host, v: u64) {
        let r = d as u8;
        if v >> 32 == 0 {
            self.put_rex(rex(W32, 0, r), u64::from(0xB8 | r & 7), 1);
            self.put32(v as i32);
        } else if v as i32 as i64 as u64 == v {
            self.group(W64, 0xC7, 0, d);
            self.put32(v as i32);
        } else {
            self.put(u64::from(rex(W64, 0, r)) | u64::from(0xB8 | r & 7) << 8, 2);
            self.put(v, 8);
        }
    }

    /// d = 0. Destroys the flags.
    pub(super) fn zero(&mut self, d: Host) {
        self.rr(W32, 0x33, d, d);
    }

    #[inline(always)]
    pub(super) fn alu(&mut self, w: Width, op: Alu, d: Host, s: Host) {
        self.rr(w, (op as u8) << 3 | 3, d, s);
    }

    #[inline(always)]
    pub(super) fn alu_imm(&mut self, w: Width, op: Alu, d: Host, imm: i32) {
        if let Ok(imm) = i8::try_from(imm) {
            self.group(w, 0x83, op as u8, d);
            self.put(u64::from(imm as u8), 1);
        } else {
            self.group(w, 0x81, op as u8, d);
            self.put32(imm);
        }
    }

    pub(super) fn test(&mut self, w: Width, a: Host, b: Host) {
        self.rr(w, 0x85, b, a);
    }

    pub(super) fn imul(&mut self, w: Width, d: Host, s: Host) {
        self.rr_0f(w, 0xAF, d, s);
    }

    pub(super) fn imul_imm(&mut self, w: Width, d: Host, s: Host, imm: i32) {
        if let Ok(imm) = i8::try_from(imm) {
            self.rr(w, 0x6B, d, s);
            self.put(u64::from(imm as u8), 1);
        } else {
            self.rr(w, 0x69, d, s);
            self.put32(imm);
        }
    }

    pub(super) fn unary(&mut self, w: Width, op: Unary, r: Host) {
        self.group(w, 0xF7, op as u8, r);
    }

    /// `rdx:rax` = `rax`, sign-extended.
    pub(super) fn cqo(&mut self, w: Width) {
        self.put_rex(rex(w, 0, 0), 0x99, 1);
    }

    pub(super) fn shift_imm(&mut self, w: Width, op: Shift, r: Host, n: u8) {
        self.group(w, 0xC1, op as u8, r);
        self.put(u64::from(n), 1);
    }

    /// Shifts by the low byte of `rcx`.
    pub(super) fn shift_cl(&mut self, w: Width, op: Shift, r: Host) {
        self.group(w, 0xD3, op as u8, r);
    }

    /// A three-operand instruction with the VEX prefix; `code` is its map (2: `0F 38`, 3: `0F 3A`), the prefix
    /// that it stands for, and the opcode.
    #[inline(always)]
    fn vex(&mut self, w: Width, code: (u8, u8, u8), reg: Host, v: Host, rm: Host) {
        let (map, prefix, opcode) = code;
        let (reg, v, rm) = (reg as u8, v as u8, rm as u8);
        // R, X and B are stored inverted.
        let byte1 = (!(reg >> 3) & 1) << 7 | 1 << 6 | (!(rm >> 3) & 1) << 5 | map;
        let byte2 = (w as u8) << 7 | (!v & 15) << 3 | prefix;
        self.put(u64::from_le_bytes([0xC4, byte1, byte2, opcode, modrm(reg, rm), 0, 0, 0]), 5);
    }

    /// d = s shifted by n, for `Shl`, `Shr` and `Sar`; leaves the flags.
    pub(super) fn shift_by(&mut self, w: Width, op: Shift, d: Host, s: Host, n: Host) {
        let prefix = match op {
            Shift::Shl => 1,
            Shift::Sar => 2,
            Shift::Shr | Shift::Rol | Shift::Ror => 3,
        };
        self.vex(w, (2, prefix, 0xF7), d, n, s);
    }

    /// d = s rotated right by a constant.
    pub(super) fn rorx(&mut self, w: Width, d: Host, s: Host, n: u8) {
        self.vex(w, (3, 3, 0xF0), d, Host::RAX, s);
        self.put(u64::from(n), 1);
    }

    /// d = b and not a.
    pub(super) fn andn(&mut self, w: Width, d: Host, a: Host, b: Host) {
        self.vex(w, (2, 0, 0xF2), d, a, b);
    }

    /// hi:lo = `rdx` · s, unsigned; hi when both are the same register.
    pub(super) fn mulx(&mut self, hi: Host, lo: Host, s: Host) {
        self.vex(W64, (2, 3, 0xF6), hi, lo, s);
    }

    pub(super) fn count(&mut self, w: Width, op: Count, d: Host, s: Host) {
        let (reg, rm) = (d as u8, s as u8);
        self.put(u64::from_le_bytes([0xF3, rex(w, reg, rm), 0x0F, op as u8, modrm(reg, rm), 0, 0, 0]), 5);
    }

    pub(super) fn bswap(&mut self, r: Host) {
        let r = r as u8;
        self.put(u64::from_le_bytes([rex(W64, 0, r), 0x0F, 0xC8 | r & 7, 0, 0, 0, 0, 0]), 3);
    }

    /// Sign- or zero-extends a byte (`0xBE`, `0xB6`) or two (`0xBF`, `0xB7`).
    fn extend(&mut self, w: Width, opcode: u8, d: Host, s: Host) {
        let (reg, rm) = (d as u8, s as u8);
        // Always with a prefix: without one, numbers 4 to 7 would mean other byte registers.
        let bytes = [rex(w, reg, rm), 0x0F, opcode, modrm(reg, rm), 0, 0, 0, 0];
        self.put(u64::from_le_bytes(bytes), 4);
    }

    pub(super) fn movsx8(&mut self, d: Host, s: Host) {
        self.extend(W64, 0xBE, d, s);
    }

    pub(super) fn movsx16(&mut self, d: Host, s: Host) {
        self.extend(W64, 0xBF, d, s);
    }

    pub(super) fn movzx8(&mut self, d: Host, s: Host) {
        self.extend(W32, 0xB6, d, s);
    }

    pub(super) fn movzx16(&mut self, d: Host, s: Host) {
        self.extend(W32, 0xB7, d, s);
    }

    /// The low byte of d = whether the condition holds.
    pub(super) fn setcc(&mut self, cond: Cond, d: Host) {
        let rm = d as u8;
        let bytes = [rex(W32, 0, rm), 0x0F, 0x90 | cond as u8, modrm(0, rm), 0, 0, 0, 0];
        self.put(u64::from_le_bytes(bytes), 4);
    }

    pub(super) fn cmov(&mut self, cond: Cond, d: Host, s: Host) {
        self.rr_0f(W64, 0x40 | cond as u8, d, s);
    }

    /// d = a + b.
    pub(super) fn lea_sum(&mut self, w: Width, d: Host, a: Host, b: Host) {
        // Bases rbp and r13 have no form without a displacement, and a sum of three parts takes the processor
        // twice as long.
        let needs_displacement = |r: Host| r as u8 & 7 == 5;
        let (a, b) = if needs_displacement(a) { (b, a) } else { (a, b) };
        let (reg, base, index) = (d as u8, a as u8, b as u8);
        let (mode, len) = if needs_displacement(a) { (0x44, 4) } else { (0x04, 3) };
        let rex = rex(w, reg, base) | (index >> 3) << 1;
        let rest =
            0x8D | u64::from(mode | (reg & 7) << 3) << 8 | u64::from((index & 7) << 3 | base & 7) << 16;
        self.put_rex(rex, rest, len);
    }

    /// d = a + (b << by), `by` at most 3.
    pub(super) fn lea_scaled(&mut self, d: Host, a: Host, b: Host, by: u8) {
        let (reg, base, index) = (d as u8, a as u8, b as u8);
        // Bases rbp and r13 have no form without a displacement.
        let (mode, len) = if base & 7 == 5 { (0x44, 4) } else { (0x04, 3) };
        let rex = rex(W64, reg, base) | (index >> 3) << 1;
        let sib = by << 6 | (index & 7) << 3 | base & 7;
        self.put_rex(rex, 0x8D | u64::from(mode | (reg & 7) << 3) << 8 | u64::from(sib) << 16, len);
    }

    /// d = minus the carry flag, which is kept.
    pub(super) fn borrow(&mut self, d: Host) {
        self.rr(W64, 0x1B, d, d);
    }

    /// d = b + constant.
    #[inline(always)]
    pub(super) fn lea(&mut self, w: Width, d: Host, b: Host, disp: i32) {
        let (reg, base) = (d as u8, b as u8);
        let rex = rex(w, reg, base);
        let short = i8::try_from(disp).is_ok();
        let mode = if short { 0x40 } else { 0x80 };
        let m = u64::from(mode | (reg & 7) << 3 | base & 7);
        if base & 7 == 4 {
            self.put_rex(rex, 0x8D | m << 8 | 0x24 << 16, 3);
        } else {
            self.put_rex(rex, 0x8D | m << 8, 2);
        }
        self.put32(disp);
        if short {
            self.pos -= 3;
        }
    }

    /// The memory operand of a guest access, behind `opcode` (`n` bytes): GS base, 32-bit addressing.
    ///
    /// The processor truncates the sum of register and displacement to 32 bits before it adds the base: the
    /// wrap at 2^32 and the sandbox are this one instruction.
    #[inline(always)]
    fn guest(&mut self, sixteen: bool, rex_bits: u8, opcode: u64, n: usize, reg: u8, at: Address) {
        let base = at.base.map_or(0, |b| b as u8);
        let rex = rex_bits | (reg >> 3) << 2 | base >> 3;
        // Prefixes: GS, 32-bit addresses, 16-bit operands where asked for, then REX.
        let (mut v, mut len) = (GUEST, 2);
        if sixteen {
            v |= 0x66 << 16;
            len = 3;
        }
        if rex != 0 {
            v |= u64::from(rex | REX) << (8 * len);
            len += 1;
        }
        v |= opcode << (8 * len);
        self.operand(v, len + n, reg, at);
    }

    /// The rest of a guest access behind `len` bytes `v`: what registers, and which constant.
    #[inline(always)]
    fn operand(&mut self, mut v: u64, mut len: usize, reg: u8, at: Address) {
        let base = at.base.map_or(0, |b| b as u8);
        let reg = (reg & 7) << 3;
        match at.base {
            // No base, no index: the form without SIB would be relative to the instruction.
            None => {
                v |= u64::from(0x04 | reg) << (8 * len) | 0x25 << (8 * len + 8);
                self.put(v, len + 2);
                self.put32(at.disp);
            }
            Some(_) => {
                let (mode, disp_len) = match at.disp {
                    0 if base & 7 != 5 => (0x00, 0),
                    -128..=127 => (0x40, 1),
                    _ => (0x80, 4),
                };
                v |= u64::from(mode | reg | base & 7) << (8 * len);
                len += 1;
                if base & 7 == 4 {
                    v |= 0x24 << (8 * len);
                    len += 1;
                }
                self.put(v, len);
                self.put32(at.disp);
                self.pos -= 4 - disp_len;
            }
        }
    }

    #[inline(always)]
    pub(super) fn load(&mut self, kind: Load, d: Host, at: Address) {
        const W: u8 = 8;
        let (rex, opcode, n) = match kind {
            Load::U8 => (0, 0xB60F, 2),
            Load::I8 => (W, 0xBE0F, 2),
            Load::U16 => (0, 0xB70F, 2),
            Load::I16 => (W, 0xBF0F, 2),
            Load::U32 => (0, 0x8B, 1),
            Load::I32 => (W, 0x63, 1),
            Load::U64 => (W, 0x8B, 1),
        };
        self.guest(false, rex, opcode, n, d as u8, at);
    }

    #[inline(always)]
    pub(super) fn store(&mut self, kind: Store, at: Address, s: Host) {
        let (sixteen, rex, opcode) = match kind {
            // A prefix always, so that numbers 4 to 7 mean the low bytes.
            Store::U8 => (false, REX, 0x88),
            Store::U16 => (true, 0, 0x89),
            Store::U32 => (false, 0, 0x89),
            Store::U64 => (false, 8, 0x89),
        };
        self.guest(sixteen, rex, opcode, 1, s as u8, at);
    }

    #[inline(always)]
    pub(super) fn store_imm(&mut self, kind: Store, at: Address, v: i32) {
        let (sixteen, rex, opcode) = match kind {
            Store::U8 => (false, 0, 0xC6),
            Store::U16 => (true, 0, 0xC7),
            Store::U32 => (false, 0, 0xC7),
            Store::U64 => (false, 8, 0xC7),
        };
        self.guest(sixteen, rex, opcode, 1, 0, at);
        match kind {
            Store::U8 => self.put(u64::from(v as u8), 1),
            Store::U16 => self.put(u64::from(v as u16), 2),
            Store::U32 | Store::U64 => self.put32(v),
        }
    }

    /// A guest access of 32 bytes; `code` is the prefix that the opcode has, and the opcode. `v` is one more register
    /// that is read.
    fn guest_vector(&mut self, code: (u8, u8), reg: Vector, v: Option<Vector>, at: Address) {
        let base = at.base.map_or(0, |b| b as u8);
        let bytes =
            [0xC4, 0xC1 | (!(base >> 3) & 1) << 5, (!v.map_or(0, |v| v.0) & 15) << 3 | 4 | code.0, code.1];
        self.operand(GUEST | u64::from(u32::from_le_bytes(bytes)) << 16, 6, reg.0, at);
    }

    pub(super) fn load_vector(&mut self, d: Vector, at: Address) {
        self.guest_vector((2, 0x6F), d, None, at);
    }

    pub(super) fn store_vector(&mut self, at: Address, s: Vector) {
        self.guest_vector((2, 0x7F), s, None, at);
    }

    /// Each byte of d = all ones where it is that of the memory, else zero.
    pub(super) fn same_bytes(&mut self, d: Vector, at: Address) {
        self.guest_vector((1, 0x74), d, Some(d), at);
    }

    /// The highest bits of the bytes of a vector.
    pub(super) fn mask_of_bytes(&mut self, d: Host, s: Vector) {
        let d = d as u8;
        let bytes = [0xC5, 0x7D | (!(d >> 3) & 1) << 7, 0xD7, modrm(d, s.0), 0, 0, 0, 0];
        self.put(u64::from_le_bytes(bytes), 4);
    }

    /// Every part of d, `width` bytes each, is the low part of s.
    pub(super) fn broadcast(&mut self, d: Vector, width: u32, s: Host) {
        let s = s as u8;
        let bytes = [0xC4, 0xC1 | (!(s >> 3) & 1) << 5, 0xF9, 0x6E, modrm(d.0, s), 0, 0, 0];
        self.put(u64::from_le_bytes(bytes), 5);
        let opcode = match width {
            1 => 0x78,
            2 => 0x79,
            4 => 0x58,
            _ => 0x59,
        };
        self.put(u64::from_le_bytes([0xC4, 0xE2, 0x7D, opcode, modrm(d.0, d.0), 0, 0, 0]), 5);
    }

    /// Tells the processor that the upper halves of vectors are not used; some are slower otherwise.
    pub(super) fn vzeroupper(&mut self) {
        self.put(0x77_F8C5, 3);
    }

    /// Writes a byte as it is.
    pub(super) fn write_nothing(&mut self, at: Address) {
        self.guest(false, 0, 0x80, 1, Alu::Or as u8, at);
        self.put(0, 1);
    }

    /// A slot of the frame as memory operand of `opcode /reg`.
    fn slot(&mut self, w: Width, opcode: u8, reg: u8, slot: i8) {
        let m = u64::from(0x44 | (reg & 7) << 3) << 8 | 0x24 << 16 | u64::from(slot as u8) << 24;
        self.put_rex(rex(w, reg, 0), u64::from(opcode) | m, 4);
    }

    pub(super) fn load_slot(&mut self, w: Width, d: Host, slot: i8) {
        self.slot(w, 0x8B, d as u8, slot);
    }

    pub(super) fn store_slot(&mut self, slot: i8, s: Host) {
        self.slot(W64, 0x89, s as u8, slot);
    }

    /// Stores the low half of s.
    pub(super) fn store_slot_32(&mut self, slot: i8, s: Host) {
        self.slot(W32, 0x89, s as u8, slot);
    }

    pub(super) fn store_slot_imm(&mut self, slot: i8, v: u32) {
        self.slot(W32, 0xC7, 0, slot);
        self.put32(v as i32);
    }

    /// d = d op a slot.
    pub(super) fn alu_slot(&mut self, op: Alu, d: Host, slot: i8) {
        self.slot(W64, (op as u8) << 3 | 3, d as u8, slot);
    }

    pub(super) fn unary_slot(&mut self, w: Width, op: Unary, slot: i8) {
        self.slot(w, 0xF7, op as u8, slot);
    }

    /// Jumps to the address in a slot.
    pub(super) fn jmp_slot(&mut self, slot: i8) {
        self.slot(W32, 0xFF, 4, slot);
    }

    /// Jumps to the address that is stored where the scratch register points.
    pub(super) fn jmp_at_tmp(&mut self) {
        self.put(0xFF | u64::from(4 << 3 | TMP as u8) << 8, 2);
    }

    /// Jumps to the address that is stored `4 * index + disp` bytes behind where the scratch register points.
    pub(super) fn jmp_at_tmp_indexed(&mut self, index: Host, disp: i32) {
        let index = index as u8;
        let sib = u64::from(2 << 6 | (index & 7) << 3 | TMP as u8) << 16;
        let (mode, len) = if disp == 0 { (0x00, 3) } else { (0x80, 3) };
        self.put_rex(REX | (index >> 3) << 1, 0xFF | u64::from(mode | 4 << 3 | 4u8) << 8 | sib, len);
        if disp != 0 {
            self.put32(disp);
        }
    }

    /// Jumps to the address in the scratch register.
    pub(super) fn jmp_tmp(&mut self) {
        self.group(W32, 0xFF, 4, TMP);
    }

    /// The scratch register = what is stored `disp` bytes behind where it points.
    pub(super) fn load_at_tmp(&mut self, disp: i32) {
        self.put(0x8B48 | u64::from(0x80 | (TMP as u8) << 3 | TMP as u8) << 16, 3);
        self.put32(disp);
    }

    pub(super) fn pop_tmp(&mut self) {
        self.put(u64::from(0x58 | TMP as u8), 1);
    }

    /// Jumps to an offset of the code.
    pub(super) fn jmp(&mut self, target: u32) {
        let distance = i64::from(target) - i64::from(self.pos());
        if let Ok(short) = i8::try_from(distance - 2) {
            self.put(0xEB | u64::from(short as u8) << 8, 2);
        } else {
            self.put(0xE9, 1);
            self.put32((distance - 5) as i32);
        }
    }

    /// Jumps to where [`Asm::bind`] says later.
    pub(super) fn jmp_later(&mut self) -> Patch {
        self.put(0xE9, 5);
        Patch(self.pos())
    }

    pub(super) fn jcc(&mut self, cond: Cond, target: u32) {
        let distance = i64::from(target) - i64::from(self.pos());
        if let Ok(short) = i8::try_from(distance - 2) {
            self.put(u64::from(0x70 | cond as u8) | u64::from(short as u8) << 8, 2);
        } else {
            self.jcc_far(cond, target);
        }
    }

    /// A conditional jump in the long form, wherever the target is.
    pub(super) fn jcc_far(&mut self, cond: Cond, target: u32) {
        let distance = i64::from(target) - i64::from(self.pos());
        self.put(0x0F | u64::from(0x80 | cond as u8) << 8, 2);
        self.put32((distance - 6) as i32);
    }

    pub(super) fn jcc_later(&mut self, cond: Cond) -> Patch {
        self.put(0x0F | u64::from(0x80 | cond as u8) << 8, 6);
        Patch(self.pos())
    }

    /// A conditional jump over a few bytes.
    pub(super) fn jcc_short(&mut self, cond: Cond) -> ShortPatch {
        self.put(u64::from(0x70 | cond as u8), 2);
        ShortPatch(self.pos())
    }

    pub(super) fn jmp_short(&mut self) -> ShortPatch {
        self.put(0xEB, 2);
        ShortPatch(self.pos())
    }

    /// Lets a short jump go here. It must be less than 128 bytes away.
    pub(super) fn bind_short(&mut self, patch: ShortPatch) {
        let distance = self.pos() - patch.0;
        debug_assert!(distance < 128);
        if let Some(byte) = self.buf.get_mut(self.origin + patch.0 as usize - 1) {
            *byte = distance as u8;
        }
    }

    /// Lets a jump go to an offset of the code.
    pub(super) fn bind(&mut self, patch: Patch, target: u32) {
        let distance = (i64::from(target) - i64::from(patch.0)) as i32;
        self.set32(patch.0 - 4, distance as u32);
    }

    /// Does nothing up to the next multiple of `alignment`, a power of two.
    pub(super) fn align(&mut self, alignment: usize) {
        // The recommended forms of 1 to 8 bytes.
        const NOPS: [u64; 8] =
            [0x90, 0x9066, 0x1F0F, 0x0040_1F0F, 0x0044_1F0F, 0x441F_0F66, 0x0080_1F0F, 0x0084_1F0F];
        let mut left = self.pos.wrapping_neg() & (alignment - 1);
        while left != 0 {
            let n = left.min(NOPS.len());
            self.put(NOPS[n - 1], n);
            left -= n;
        }
    }

    /// Overwrites 4 bytes.
    pub(super) fn set32(&mut self, at: u32, v: u32) {
        if let Some(to) = self.buf.get_mut(self.origin + at as usize..).and_then(|b| b.first_chunk_mut()) {
            *to = v.to_le_bytes();
        }
    }

    pub(super) fn call(&mut self, target: u32) {
        let distance = i64::from(target) - i64::from(self.pos());
        self.put(0xE8, 1);
        self.put32((distance - 5) as i32);
    }

    /// `sub r, imm32`, in the long form; gives the position of the constant.
    pub(super) fn sub_imm_later(&mut self, r: Host) -> u32 {
        self.group(W64, 0x81, Alu::Sub as u8, r);
        self.pos += 4;
        self.pos() - 4
    }
}
