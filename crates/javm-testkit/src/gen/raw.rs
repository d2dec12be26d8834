//! Any valid code: random opcodes with random bytes behind them.

use std::sync::Arc;

use javm_exec::NUM_REGS;
use javm_isa::{Code, Flow, Instruction, Op, Shape};

use super::{Case, Mapping, Options, contents, gas, priced_otherwise};
use crate::{builder::Builder, rng::Rng, spell::Dialect};

/// A program of random instructions with random operand bytes of any length, which mostly ends soon.
#[must_use]
pub fn raw(seed: u64, options: &Options) -> Case {
    let mut rng = Rng::new(seed ^ 0x7261_7700);
    let mut builder = Builder::new();
    let len = rng.between(1, 60);
    let common = options.dialect == Dialect::Common;
    while (builder.instruction_starts().len() as u64) < len {
        let op = *rng.one_of(Op::ALL);
        // A branch hardly ever hits a block here, and PolkaVM panics at one that does not even untaken.
        if op == Op::Ecall && !options.ecall
            || op == Op::Trap && !rng.one_in(4)
            || op.flow() == Flow::Branch && common
        {
            continue;
        }
        if common && priced_otherwise(op) && !builder.at_block_start() {
            builder.push(&Instruction::new(Op::Fallthrough));
        }
        // PolkaVM reads an instruction of 25 bytes near the end of the code otherwise.
        let longest = if common { 23 } else { 24 };
        let operands = if rng.one_in(8) { rng.below(longest + 1) } else { rng.below(7) };
        let mut bytes = vec![op.opcode()];
        // Small bytes make small offsets, which hit something.
        bytes.extend(
            (0..operands).map(|_| if rng.one_in(2) { rng.bits() as u8 } else { rng.below(16) as u8 }),
        );
        if common && op.shape() == Shape::dst_src_src {
            // The third register's byte is the instruction's own, and only its low half is used.
            bytes.resize(bytes.len().max(3), 0);
            bytes[2] &= 15;
        }
        builder.raw(&bytes);
    }
    if common {
        builder.push(&Instruction::new(Op::Trap));
    }
    for _ in 0..rng.below(6) {
        let starts = builder.instruction_starts();
        let offset = if rng.one_in(4) { rng.bits() as u32 } else { *rng.one_of(starts) };
        builder.table_offset(offset);
    }
    let starts = builder.instruction_starts().to_vec();
    let code: Code = match builder.code() {
        Ok(code) => code,
        Err(error) => panic!("seed {seed}: {error}"),
    };
    let pc = if rng.one_in(2) { 0 } else { u64::from(*rng.one_of(&starts)) };
    let mut regs = [0; NUM_REGS];
    regs.fill_with(|| if rng.one_in(3) { 0x2_0000 + rng.below(0x2000) } else { rng.interesting() });
    let mut memory =
        vec![Mapping { first: 0x20, count: 2, writable: true, contents: contents(&mut rng, 0x1800) }];
    if !common {
        // The first and the last page, so that addresses near zero mean something, from both sides.
        for (first, one_in) in [(0, 2), (0xF_FFFF, 2)] {
            if rng.one_in(one_in) {
                let writable = !rng.one_in(4);
                memory.push(Mapping { first, count: 1, writable, contents: contents(&mut rng, 64) });
            }
        }
    }
    Case { seed, code: Arc::new(code), pc, regs, gas: gas(&mut rng), memory, dialect: options.dialect }
}
