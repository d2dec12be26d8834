//! Random instructions and programs; the seed is the whole input.

use javm_isa::{Code, Instruction, Op, Reg};

/// A random number generator (SplitMix64): small, and the same everywhere.
pub(crate) struct Rng(pub(crate) u64);

impl Rng {
    pub(crate) fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let z = (self.0 ^ self.0 >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ z >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ z >> 31
    }

    /// A number below `n`.
    pub(crate) fn below(&mut self, n: usize) -> usize {
        (self.bits() % n as u64) as usize
    }

    pub(crate) fn op(&mut self) -> Op {
        Op::ALL[self.below(Op::ALL.len())]
    }

    pub(crate) fn reg(&mut self) -> Reg {
        Reg::ALL[self.below(Reg::ALL.len())]
    }

    /// Any value of 32 bits with sign, small ones, powers of two and their neighbours more often.
    pub(crate) fn imm(&mut self) -> u64 {
        let v = match self.below(4) {
            0 => 0,
            1 => (1i64 << self.below(32)) - 1 + self.below(3) as i64 - 1,
            _ => self.bits() as i64 >> (32 + self.below(32)),
        };
        let v = if self.below(2) == 0 { v } else { v.wrapping_neg() };
        v as i32 as u64
    }

    /// `op` at code offset `pc` with any operands that it can have.
    pub(crate) fn instruction(&mut self, op: Op, pc: u32) -> Instruction {
        let mut i = Instruction::new(op);
        (i.a, i.b, i.d) = (self.reg(), self.reg(), self.reg());
        let wide = op == Op::LoadImm64;
        i.x = if wide { self.bits() >> self.below(64) } else { self.imm() };
        i.y = self.imm();
        if op.shape().has_target() {
            i.y = i.y.wrapping_add(u64::from(pc));
        }
        i
    }

    pub(crate) fn bytes(&mut self, n: usize) -> Vec<u8> {
        (0..n).map(|_| self.bits() as u8).collect()
    }
}

/// A program in parts.
#[derive(Clone, Debug, Default)]
pub(crate) struct Program {
    pub(crate) code: Vec<u8>,
    pub(crate) mask: Vec<u8>,
    pub(crate) jump_table: Vec<u32>,
}

impl Program {
    /// Appends an instruction with these bytes.
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        let at = self.code.len();
        self.code.extend_from_slice(bytes);
        self.mask.resize(self.code.len().div_ceil(8), 0);
        self.mask[at / 8] |= 1 << (at % 8);
    }

    pub(crate) fn code(&self) -> Code {
        Code::new(&self.code, &self.mask, &self.jump_table).unwrap()
    }

    /// A valid program: some instructions encoded as they should be, some with any bytes and any length.
    pub(crate) fn valid(rng: &mut Rng) -> Self {
        let mut program = Self::default();
        let odd = rng.below(3);
        for _ in 0..1 + rng.below(40) {
            let op = rng.op();
            if rng.below(2) < odd {
                let mut bytes = vec![op.opcode()];
                let len = if rng.below(4) == 0 { rng.below(25) } else { rng.below(8) };
                bytes.extend(rng.bytes(len));
                program.push(&bytes);
            } else {
                let pc = program.code.len() as u32;
                program.push(rng.instruction(op, pc).encode(pc).as_slice());
            }
        }
        for _ in 0..rng.below(20) {
            let near = rng.below(program.code.len()) as u32;
            program.jump_table.push(if rng.below(9) == 0 { rng.bits() as u32 } else { near });
        }
        program
    }
}
