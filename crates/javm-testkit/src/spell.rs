//! The many ways in which one instruction can be written: longer immediates than needed, bits that nobody
//! looks at, several numbers for the last register, bytes behind the operands.

use javm_isa::{Instruction, Reg, Shape, shape::imm_len};

use crate::rng::Rng;

/// Bytes of one instruction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spelling {
    /// Opcode and operands.
    pub bytes: Vec<u8>,
    /// Position and width of a code offset, which is zero here: it depends on where the instruction goes.
    pub offset: Option<(usize, usize)>,
}

/// What a spelling may do that PolkaVM reads otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// Everything that the Gray Paper has a meaning for.
    GrayPaper,
    /// Only what PolkaVM gives the same meaning.
    Common,
}

/// The usual spelling, with 4 bytes for an offset.
#[must_use]
pub fn plain(i: &Instruction) -> Spelling {
    Writer { rng: None, dialect: Dialect::Common }.spell(i)
}

/// A random spelling.
#[must_use]
pub fn random(i: &Instruction, rng: &mut Rng, dialect: Dialect) -> Spelling {
    Writer { rng: Some(rng), dialect }.spell(i)
}

struct Writer<'a> {
    rng: Option<&'a mut Rng>,
    dialect: Dialect,
}

impl Writer<'_> {
    fn chance(&mut self, n: u64) -> bool {
        self.rng.as_mut().is_some_and(|rng| rng.one_in(n))
    }

    fn below(&mut self, n: u64) -> u64 {
        self.rng.as_mut().map_or(0, |rng| rng.below(n))
    }

    /// Bits that nobody reads.
    fn idle(&mut self, mask: u8) -> u8 {
        if self.chance(4) { self.below(256) as u8 & mask } else { 0 }
    }

    /// The number of a register, one of four for the last.
    fn reg(&mut self, r: Reg) -> u8 {
        match r {
            Reg::A5 => 12 + self.below(4) as u8,
            _ => r as u8,
        }
    }

    /// Two registers in one byte.
    fn regs(&mut self, low: Reg, high: Reg) -> u8 {
        self.reg(low) | self.reg(high) << 4
    }

    /// How many bytes an immediate gets.
    fn width(&mut self, v: u64) -> usize {
        let least = imm_len(v);
        if self.chance(4) { least + self.below(5 - least as u64) as usize } else { least }
    }

    /// How many bytes an offset gets; 2 are enough for the programs that are generated.
    fn offset_width(&mut self) -> usize {
        if self.rng.is_some() { 2 + self.below(3) as usize } else { 4 }
    }

    /// The length field of an immediate: 5, 6 and 7 mean 4 too.
    fn length(&mut self, n: usize) -> u8 {
        if n == 4 { 4 + self.below(4) as u8 } else { n as u8 }
    }

    fn spell(mut self, i: &Instruction) -> Spelling {
        let mut bytes = vec![i.op.opcode()];
        let mut offset = None;
        let nx = self.width(i.x);
        // Width of the last immediate, which ends where the instruction does; 4 where there is none.
        let mut last = 4;
        let shape = i.op.shape();
        match shape {
            Shape::none => {}
            Shape::imm => last = nx,
            Shape::dst_imm64 => {
                bytes.push(self.reg(i.a) | self.idle(0xF0));
                bytes.extend(i.x.to_le_bytes());
            }
            Shape::imm_imm => bytes.push(self.length(nx) | self.idle(0xF8)),
            Shape::offset => {}
            Shape::dst_imm | Shape::src_imm => {
                bytes.push(self.reg(i.a) | self.idle(0xF0));
                last = nx;
            }
            Shape::src_imm_imm | Shape::dst_imm_offset | Shape::src_imm_offset => {
                bytes.push(self.reg(i.a) | self.length(nx) << 4 | self.idle(0x80));
            }
            Shape::dst_src => bytes.push(self.regs(i.d, i.a)),
            Shape::dst_src_imm | Shape::src_src_imm => {
                bytes.push(self.regs(i.a, i.b));
                last = nx;
            }
            Shape::src_src_offset => bytes.push(self.regs(i.a, i.b)),
            Shape::dst_src_imm_imm => {
                bytes.push(self.regs(i.a, i.b));
                bytes.push(self.length(nx) | self.idle(0xF8));
            }
            Shape::dst_src_src => {
                bytes.push(self.regs(i.a, i.b));
                let whole_byte = i.d == Reg::A5 && self.dialect == Dialect::GrayPaper && self.chance(4);
                bytes.push(if whole_byte { 12 + self.below(244) as u8 } else { self.reg(i.d) });
            }
        }
        if has_x(shape) {
            bytes.extend(&i.x.to_le_bytes()[..nx]);
        }
        if shape.has_target() {
            last = self.offset_width();
            offset = Some((bytes.len(), last));
            bytes.resize(bytes.len() + last, 0);
        } else if has_y(shape) {
            last = self.width(i.y);
            bytes.extend(&i.y.to_le_bytes()[..last]);
        }
        if last == 4 && self.chance(16) {
            // Nobody reads these, but the next instruction must be found behind them.
            for _ in 0..self.below(8) {
                bytes.push(self.below(256) as u8);
            }
        }
        Spelling { bytes, offset }
    }
}

/// Whether the shape has a first immediate of up to 4 bytes.
const fn has_x(shape: Shape) -> bool {
    !matches!(
        shape,
        Shape::none
            | Shape::dst_imm64
            | Shape::offset
            | Shape::dst_src
            | Shape::src_src_offset
            | Shape::dst_src_src
    )
}

/// Whether the shape has a second immediate that is no offset.
const fn has_y(shape: Shape) -> bool {
    matches!(shape, Shape::imm_imm | Shape::src_imm_imm | Shape::dst_src_imm_imm)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::builder::Builder;
    use javm_isa::Op;

    #[test]
    fn every_spelling_reads_back() {
        let mut rng = Rng::new(1);
        let mut longest = 0;
        for round in 0..300 {
            for op in Op::ALL {
                let mut i = Instruction::new(*op);
                for r in [&mut i.a, &mut i.b, &mut i.d] {
                    *r = *rng.one_of(&Reg::ALL);
                }
                i.x = if op.shape() == Shape::dst_imm64 {
                    rng.interesting()
                } else {
                    rng.interesting() as i32 as u64
                };
                i.y = if op.shape().has_target() { 0 } else { rng.interesting() as i32 as u64 };
                let spelling = if round == 0 { plain(&i) } else { random(&i, &mut rng, Dialect::GrayPaper) };
                longest = longest.max(spelling.bytes.len());
                let mut builder = Builder::new();
                builder.spelled(&spelling, None);
                builder.push(&Instruction::new(Op::Trap));
                let code = builder.code().unwrap();
                assert_eq!(code.instruction(0), Some(i), "{:?}", spelling.bytes);
                assert_eq!(code.next_pc(0) as usize, spelling.bytes.len());
            }
        }
        assert!(longest > 16, "{longest}");
    }
}
