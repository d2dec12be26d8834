//! Operand layouts: how the bytes behind an opcode are read, written and printed.
//!
//! Register operands are called a, b and d as in the Gray Paper; immediates x and y; `target` is an
//! absolute code offset, computed from the instruction's own. Source: Gray Paper appendix A.5.1 to A.5.13.

use crate::{instr::Instruction, op::Op, reg::Reg};

/// The layout of an instruction's operands, with the role of each register.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(non_camel_case_types, reason = "the names are those of the table's first column")]
pub enum Shape {
    /// No operands.
    none,
    /// x.
    imm,
    /// Writes a; 64-bit x.
    dst_imm64,
    /// x, y.
    imm_imm,
    /// target.
    offset,
    /// Writes a; x.
    dst_imm,
    /// Reads a; x.
    src_imm,
    /// Reads a; x, y.
    src_imm_imm,
    /// Writes a; x, target.
    dst_imm_offset,
    /// Reads a; x, target.
    src_imm_offset,
    /// Writes d, reads a.
    dst_src,
    /// Writes a, reads b; x.
    dst_src_imm,
    /// Reads a and b; x.
    src_src_imm,
    /// Reads a and b; target.
    src_src_offset,
    /// Writes a, reads b; x, y.
    dst_src_imm_imm,
    /// Writes d, reads a and b.
    dst_src_src,
}

/// The most bytes that an encoded instruction can have behind which the next one starts: opcode and 24.
pub const MAX_LENGTH: usize = 25;

/// Sign-extends the low `n` bytes of `v`; 0 bytes are zero.
const fn sx(v: u64, n: usize) -> u64 {
    if n == 0 {
        return 0;
    }
    let shift = 64 - 8 * n as u32;
    ((v << shift) as i64 >> shift) as u64
}

const fn min(a: usize, b: usize) -> usize {
    if a < b { a } else { b }
}

/// Reads the operands of `op` at code offset `pc`. `window` holds the bytes from `pc` on (zeros past the
/// end of the code), `skip` is the distance to the next instruction less one.
#[inline]
#[must_use]
pub fn read(op: Op, window: &[u8; 16], skip: usize, pc: u32) -> Instruction {
    let byte = |k: usize| window[k];
    let (lo, hi) = (Reg::clamped(byte(1) & 15), Reg::clamped(byte(1) >> 4));
    // At most 4 bytes from offset k <= 11, so the 8-byte read stays inside the window.
    let word = |k: usize| {
        let mut w = [0u8; 4];
        w.copy_from_slice(&window[k..k + 4]);
        u64::from(u32::from_le_bytes(w))
    };
    let imm = |k: usize, n: usize| sx(word(k), n);
    let target = |k: usize, n: usize| u64::from(pc).wrapping_add(sx(word(k), n));
    let mut i = Instruction { op, a: lo, b: hi, d: lo, x: 0, y: 0 };
    match op.shape() {
        Shape::none => {}
        Shape::imm => i.x = imm(1, min(4, skip)),
        Shape::dst_imm64 => i.x = word(2) | word(6) << 32,
        Shape::imm_imm => {
            let n = min(4, (byte(1) & 7) as usize);
            i.x = imm(2, n);
            i.y = imm(2 + n, min(4, skip.saturating_sub(n + 1)));
        }
        Shape::offset => i.y = target(1, min(4, skip)),
        Shape::dst_imm | Shape::src_imm => i.x = imm(2, min(4, skip.saturating_sub(1))),
        Shape::src_imm_imm => {
            let n = min(4, (byte(1) >> 4 & 7) as usize);
            i.x = imm(2, n);
            i.y = imm(2 + n, min(4, skip.saturating_sub(n + 1)));
        }
        Shape::dst_imm_offset | Shape::src_imm_offset => {
            let n = min(4, (byte(1) >> 4 & 7) as usize);
            i.x = imm(2, n);
            i.y = target(2 + n, min(4, skip.saturating_sub(n + 1)));
        }
        Shape::dst_src => i.a = hi,
        Shape::dst_src_imm | Shape::src_src_imm => i.x = imm(2, min(4, skip.saturating_sub(1))),
        Shape::src_src_offset => i.y = target(2, min(4, skip.saturating_sub(1))),
        Shape::dst_src_imm_imm => {
            let n = min(4, (byte(2) & 7) as usize);
            i.x = imm(3, n);
            i.y = imm(3 + n, min(4, skip.saturating_sub(n + 2)));
        }
        // The third register is the whole byte, clamped (Gray Paper A.5.13).
        Shape::dst_src_src => i.d = Reg::clamped(byte(2)),
    }
    i
}

/// How many bytes the sign-extended immediate `v` takes: 0 for zero, at most 4.
///
/// Immediates that decoding yields fit 4 bytes; of any other the low 4 bytes count.
#[must_use]
pub const fn imm_len(v: u64) -> usize {
    let v = v as i64;
    if v == 0 {
        0
    } else if v == v as i8 as i64 {
        1
    } else if v == v as i16 as i64 {
        2
    } else if v << 40 >> 40 == v {
        3
    } else {
        4
    }
}

/// Bytes of one encoded instruction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Encoded {
    bytes: [u8; 16],
    len: u8,
}

impl Encoded {
    const fn new(opcode: u8) -> Self {
        let mut bytes = [0; 16];
        bytes[0] = opcode;
        Self { bytes, len: 1 }
    }

    fn push(&mut self, byte: u8) {
        self.bytes[self.len as usize] = byte;
        self.len += 1;
    }

    fn push_imm(&mut self, v: u64, n: usize) {
        v.to_le_bytes()[..n].iter().for_each(|b| self.push(*b));
    }

    /// The bytes.
    #[must_use]
    pub fn as_slice(&self) -> &[u8] {
        &self.bytes[..self.len as usize]
    }
}

/// Writes `i` for code offset `pc`, every immediate as short as it can be.
///
/// The length must also tell the decoder how long the *last* immediate is, so trailing zero bytes are never
/// emitted and an instruction ends where its last immediate does.
#[must_use]
pub fn write(i: &Instruction, pc: u32) -> Encoded {
    write_with(i, pc, None)
}

/// As [`write`], with a fixed number of bytes (1..=4) for the code offset: an assembler that does not know
/// a label's distance yet sizes it this way.
#[must_use]
pub fn write_with(i: &Instruction, pc: u32, offset_len: Option<usize>) -> Encoded {
    let mut e = Encoded::new(i.op.opcode());
    let regs = |lo: Reg, hi: Reg| lo as u8 | (hi as u8) << 4;
    let offset = i.y.wrapping_sub(u64::from(pc));
    let offset_len = offset_len.unwrap_or_else(|| imm_len(offset));
    let (nx, ny) = (imm_len(i.x), imm_len(i.y));
    match i.op.shape() {
        Shape::none => {}
        Shape::imm => e.push_imm(i.x, nx),
        Shape::dst_imm64 => {
            e.push(i.a as u8);
            e.push_imm(i.x, 8);
        }
        Shape::imm_imm => {
            e.push(nx as u8);
            e.push_imm(i.x, nx);
            e.push_imm(i.y, ny);
        }
        Shape::offset => e.push_imm(offset, offset_len),
        Shape::dst_imm | Shape::src_imm => {
            e.push(i.a as u8);
            e.push_imm(i.x, nx);
        }
        Shape::src_imm_imm => {
            e.push(i.a as u8 | (nx as u8) << 4);
            e.push_imm(i.x, nx);
            e.push_imm(i.y, ny);
        }
        Shape::dst_imm_offset | Shape::src_imm_offset => {
            e.push(i.a as u8 | (nx as u8) << 4);
            e.push_imm(i.x, nx);
            e.push_imm(offset, offset_len);
        }
        Shape::dst_src => e.push(regs(i.d, i.a)),
        Shape::dst_src_imm | Shape::src_src_imm => {
            e.push(regs(i.a, i.b));
            e.push_imm(i.x, nx);
        }
        Shape::src_src_offset => {
            e.push(regs(i.a, i.b));
            e.push_imm(offset, offset_len);
        }
        Shape::dst_src_imm_imm => {
            e.push(regs(i.a, i.b));
            e.push(nx as u8);
            e.push_imm(i.x, nx);
            e.push_imm(i.y, ny);
        }
        Shape::dst_src_src => {
            e.push(regs(i.a, i.b));
            e.push(i.d as u8);
        }
    }
    e
}

impl Shape {
    /// Whether the last operand is a code offset.
    #[must_use]
    pub const fn has_target(self) -> bool {
        matches!(self, Self::offset | Self::dst_imm_offset | Self::src_imm_offset | Self::src_src_offset)
    }

    /// The operands in the order of the text form: for each, what it is.
    #[must_use]
    pub const fn operands(self) -> &'static [OperandRole] {
        use OperandRole::{A, B, D, Target, X, Y};
        match self {
            Self::none => &[],
            Self::imm => &[X],
            Self::dst_imm64 | Self::dst_imm | Self::src_imm => &[A, X],
            Self::imm_imm => &[X, Y],
            Self::offset => &[Target],
            Self::src_imm_imm => &[A, X, Y],
            Self::dst_imm_offset | Self::src_imm_offset => &[A, X, Target],
            Self::dst_src => &[D, A],
            Self::dst_src_imm | Self::src_src_imm => &[A, B, X],
            Self::src_src_offset => &[A, B, Target],
            Self::dst_src_imm_imm => &[A, B, X, Y],
            Self::dst_src_src => &[D, A, B],
        }
    }

    /// The register that the instruction writes, if it writes one.
    #[must_use]
    pub const fn destination(self) -> Option<OperandRole> {
        match self {
            Self::dst_imm64
            | Self::dst_imm
            | Self::dst_imm_offset
            | Self::dst_src_imm
            | Self::dst_src_imm_imm => Some(OperandRole::A),
            Self::dst_src | Self::dst_src_src => Some(OperandRole::D),
            Self::none
            | Self::imm
            | Self::imm_imm
            | Self::offset
            | Self::src_imm
            | Self::src_imm_imm
            | Self::src_imm_offset
            | Self::src_src_imm
            | Self::src_src_offset => None,
        }
    }

    /// The registers that the instruction reads, as the cost model counts them (a conditional move's old
    /// destination is not counted).
    #[must_use]
    pub const fn sources(self) -> &'static [OperandRole] {
        use OperandRole::{A, B};
        match self {
            Self::src_imm | Self::src_imm_imm | Self::src_imm_offset | Self::dst_src => &[A],
            Self::dst_src_imm | Self::dst_src_imm_imm => &[B],
            Self::src_src_imm | Self::src_src_offset | Self::dst_src_src => &[A, B],
            Self::none
            | Self::imm
            | Self::dst_imm64
            | Self::imm_imm
            | Self::offset
            | Self::dst_imm
            | Self::dst_imm_offset => &[],
        }
    }
}

/// One operand of a [`Shape`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum OperandRole {
    /// Register a.
    A,
    /// Register b.
    B,
    /// Register d.
    D,
    /// Immediate x.
    X,
    /// Immediate y.
    Y,
    /// A code offset, absolute.
    Target,
}
