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

/// How a shape's operands are read, as numbers that [`read`] computes with instead of branching: programs
/// mix the shapes so that a branch on them is predicted badly. The first four bytes, opcode included, are
/// the head; the bytes from the first immediate to the next instruction are the tail.
#[derive(Clone, Copy)]
struct Layout {
    /// Offset of the first immediate, 1..=3.
    first: u8,
    /// Whether x has 8 bytes, all of them meant.
    wide: bool,
    /// Length of x, otherwise: bits of the head, or the tail's. One of the masks is 0.
    x_length_at: u8,
    x_length_mask: u8,
    x_tail_mask: u8,
    /// The most bytes of y, which takes what x leaves of the tail.
    y_max: u8,
    /// Whether y counts from the instruction's own offset.
    relative: bool,
    /// Bit of the head at which a starts.
    a_at: u8,
    /// Bit of the head at which d starts, and the bits that it has.
    d_at: u8,
    d_mask: u8,
}

impl Shape {
    const fn layout(self) -> Layout {
        const NONE: Layout = Layout {
            first: 2,
            wide: false,
            x_length_at: 0,
            x_length_mask: 0,
            x_tail_mask: 0,
            y_max: 0,
            relative: false,
            a_at: 8,
            d_at: 8,
            d_mask: 15,
        };
        /// x is the tail.
        const TAIL: Layout = Layout { x_tail_mask: u8::MAX, ..NONE };
        /// x has the length that the head tells, y is the rest.
        const TWO: Layout = Layout { x_length_mask: 7, y_max: 4, ..NONE };
        match self {
            Self::none => NONE,
            Self::imm => Layout { first: 1, ..TAIL },
            Self::dst_imm64 => Layout { wide: true, ..NONE },
            Self::imm_imm => Layout { x_length_at: 8, ..TWO },
            Self::offset => Layout { first: 1, y_max: 4, relative: true, ..NONE },
            Self::dst_imm | Self::src_imm | Self::dst_src_imm | Self::src_src_imm => TAIL,
            Self::src_imm_imm => Layout { x_length_at: 12, ..TWO },
            Self::dst_imm_offset | Self::src_imm_offset => Layout { x_length_at: 12, relative: true, ..TWO },
            Self::dst_src => Layout { a_at: 12, ..NONE },
            Self::src_src_offset => Layout { y_max: 4, relative: true, ..NONE },
            Self::dst_src_imm_imm => Layout { first: 3, x_length_at: 16, ..TWO },
            // The third register is the whole byte, clamped (Gray Paper A.5.13).
            Self::dst_src_src => Layout { d_at: 16, d_mask: u8::MAX, ..NONE },
        }
    }
}

/// [`Shape::layout`] by opcode.
static LAYOUTS: [Layout; 256] = {
    let mut table = [Shape::none.layout(); 256];
    let mut n = 0;
    while n < Op::ALL.len() {
        table[Op::ALL[n].opcode() as usize] = Op::ALL[n].shape().layout();
        n += 1;
    }
    table
};

/// Sign-extends the low `n` bytes of `v`, 0..=4; 0 bytes are zero.
#[inline]
pub(crate) const fn sx(v: u64, n: u32) -> u64 {
    const SIGNS: [u64; 8] = [0, 1 << 7, 1 << 15, 1 << 23, 1 << 31, 0, 0, 0];
    const MASKS: [u64; 8] = [0, 0xFF, 0xFFFF, 0xFF_FFFF, 0xFFFF_FFFF, 0, 0, 0];
    let (sign, mask) = (SIGNS[n as usize & 7], MASKS[n as usize & 7]);
    ((v & mask) ^ sign).wrapping_sub(sign)
}

/// Reads the operands of `op` at code offset `pc`. `window` holds the bytes from `pc` on (zeros past the
/// end of the code), `skip` is the distance to the next instruction less one.
#[inline]
#[must_use]
pub fn read(op: Op, window: &[u8; 16], skip: usize, pc: u32) -> Instruction {
    let layout = &LAYOUTS[op as usize];
    let first = usize::from(layout.first & 3);
    let head = u32::from_le_bytes(*window.first_chunk().unwrap_or(&[0; 4]));
    let tail = u64::from_le_bytes(*window[first..].first_chunk().unwrap_or(&[0; 8]));
    let tail_len = (skip as u32 + 1).saturating_sub(u32::from(layout.first));
    let x_len = head >> layout.x_length_at & u32::from(layout.x_length_mask)
        | tail_len & u32::from(layout.x_tail_mask);
    let x_len = x_len.min(4);
    let y_len = tail_len.saturating_sub(x_len).min(u32::from(layout.y_max));
    let base = if layout.relative { u64::from(pc) } else { 0 };
    Instruction {
        op,
        a: Reg::clamped((head >> layout.a_at) as u8 & 15),
        b: Reg::clamped((head >> 12) as u8 & 15),
        d: Reg::clamped((head >> layout.d_at) as u8 & layout.d_mask),
        x: if layout.wide { tail } else { sx(tail, x_len) },
        y: base.wrapping_add(sx(tail >> (8 * x_len), y_len)),
    }
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

/// As [`write()`], with a fixed number of bytes, 0..=4, for the code offset: an assembler that does not know
/// a label's distance yet sizes it this way.
#[must_use]
pub fn write_with(i: &Instruction, pc: u32, offset_len: Option<usize>) -> Encoded {
    let mut e = Encoded::new(i.op.opcode());
    let regs = |lo: Reg, hi: Reg| lo as u8 | (hi as u8) << 4;
    let offset = i.y.wrapping_sub(u64::from(pc));
    let offset_len = offset_len.map_or_else(|| imm_len(offset), |len| len.min(4));
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
