//! Random instructions for the tests and the timing of the cost models; the seed is the whole input.

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

    pub(crate) fn one_of<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.below(from.len())]
    }

    /// A register; of the first `n` only, so that instructions depend on each other.
    fn register(&mut self, n: usize) -> Reg {
        Reg::ALL[self.below(n)]
    }
}

/// A program under construction.
#[derive(Default)]
pub(crate) struct Program {
    pub(crate) bytes: Vec<u8>,
    pub(crate) mask: Vec<u8>,
}

impl Program {
    pub(crate) fn push(&mut self, i: &Instruction) {
        for (n, byte) in i.encode(self.bytes.len() as u32).as_slice().iter().enumerate() {
            let at = self.bytes.len();
            if at.is_multiple_of(8) {
                self.mask.push(0);
            }
            if n == 0 {
                self.mask[at / 8] |= 1 << (at % 8);
            }
            self.bytes.push(*byte);
        }
    }

    pub(crate) fn code(&self) -> Code {
        Code::new(&self.bytes, &self.mask, &[]).unwrap()
    }
}

/// An instruction with random operands out of the first `registers` registers.
pub(crate) fn instruction(rng: &mut Rng, op: Op, registers: usize, at: usize) -> Instruction {
    let imm = |rng: &mut Rng| (rng.bits() as i32 >> rng.below(32)) as u64;
    let mut i = Instruction::new(op);
    i.a = rng.register(registers);
    i.b = rng.register(registers);
    i.d = rng.register(registers);
    i.x = imm(rng);
    // Targets near by, some before the code.
    i.y = if op.shape().has_target() { (at + rng.below(100)) as u64 } else { imm(rng) };
    if rng.below(2) == 0 && op.shape().has_target() {
        i.y = i.y.wrapping_sub(100);
    }
    i
}
