//! A bytecode interpreter inside the machine: dispatch and branches that depend on data.
//!
//! Eight registers, instructions of three bytes (operation, two operands), jumps to an instruction's number.
//! The program that it runs sums, over a range of starting values, how long their Collatz sequences are.
#![no_std]
#![forbid(unsafe_code)]

use javm_guest::endpoint;
use support::{Numbers, fold};

/// What an instruction does with its operands `a` and `b`, registers unless said otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Op {
    /// Ends; the result is register `a`.
    Halt,
    /// `a = ` the number `b`.
    Set,
    /// `a = b`.
    Copy,
    /// `a += b`, modulo 2^64.
    Add,
    /// `a *= b`, modulo 2^64.
    Mul,
    /// `a >>= ` the number `b`.
    Shr,
    /// `a &= ` the number `b`.
    And,
    /// `a = 1` if `a == b`, else 0.
    Equal,
    /// Goes on at instruction number `b` if `a` is zero.
    JumpIfZero,
    /// Goes on at instruction number `b`.
    Jump,
}

impl Op {
    const ALL: [Self; 10] = [
        Self::Halt,
        Self::Set,
        Self::Copy,
        Self::Add,
        Self::Mul,
        Self::Shr,
        Self::And,
        Self::Equal,
        Self::JumpIfZero,
        Self::Jump,
    ];
}

/// One instruction of the inner machine.
pub type Instruction = [u8; 3];

const fn i(op: Op, a: u8, b: u8) -> Instruction {
    [op as u8, a, b]
}

/// In: r0 = first value, r1 = one past the last. Out: the summed lengths.
const COLLATZ: &[Instruction] = &[
    i(Op::Set, 2, 0),         //  0  sum
    i(Op::Set, 6, 1),         //  1  one
    i(Op::Set, 7, 3),         //  2  three
    i(Op::Copy, 3, 0),        //  3  next value: all done?
    i(Op::Equal, 3, 1),       //  4
    i(Op::JumpIfZero, 3, 7),  //  5
    i(Op::Halt, 2, 0),        //  6
    i(Op::Copy, 4, 0),        //  7  x = value
    i(Op::Copy, 5, 4),        //  8  step: x = 1?
    i(Op::Equal, 5, 6),       //  9
    i(Op::JumpIfZero, 5, 13), // 10
    i(Op::Add, 0, 6),         // 11
    i(Op::Jump, 0, 3),        // 12
    i(Op::Add, 2, 6),         // 13  one step more
    i(Op::Copy, 5, 4),        // 14
    i(Op::And, 5, 1),         // 15  odd?
    i(Op::JumpIfZero, 5, 20), // 16
    i(Op::Mul, 4, 7),         // 17
    i(Op::Add, 4, 6),         // 18
    i(Op::Jump, 0, 8),        // 19
    i(Op::Shr, 4, 1),         // 20
    i(Op::Jump, 0, 8),        // 21
];

/// Runs a program and returns its result, or `None` when it leaves its code, names a register that is not
/// there or an operation that is none, or takes more than `fuel` instructions.
pub fn run(program: &[Instruction], mut registers: [u64; 8], fuel: u64) -> Option<u64> {
    let mut next = 0;
    for _ in 0..fuel {
        let [op, a, b] = *program.get(next)?;
        next += 1;
        let (a, number, other) = (usize::from(a), u64::from(b), usize::from(b));
        let value = *registers.get(a)?;
        let result = match Op::ALL.get(usize::from(op))? {
            Op::Halt => return Some(value),
            Op::Set => number,
            Op::Copy => *registers.get(other)?,
            Op::Add => value.wrapping_add(*registers.get(other)?),
            Op::Mul => value.wrapping_mul(*registers.get(other)?),
            Op::Shr => value >> (number % 64),
            Op::And => value & number,
            Op::Equal => u64::from(value == *registers.get(other)?),
            Op::JumpIfZero => {
                if value == 0 {
                    next = other;
                }
                continue;
            }
            Op::Jump => {
                next = other;
                continue;
            }
        };
        registers[a] = result;
    }
    None
}

/// Sums the lengths of the Collatz sequences of the values from `first` on, `count` of them. Faults when
/// `first` is 0.
#[endpoint(0)]
pub fn collatz(first: u64, count: u64) -> u64 {
    assert!(first > 0, "0 never gets to 1");
    let end = first.checked_add(count).expect("range too long");
    run(COLLATZ, [first, end, 0, 0, 0, 0, 0, 0], u64::MAX).expect("the program ends")
}

/// Runs `n` pseudo-random programs of 32 instructions, each for at most 1,000 steps; returns a checksum of
/// their results.
#[endpoint(1)]
pub fn random_programs(n: u64, seed: u64) -> u64 {
    let mut stream = Numbers::new(seed);
    (0..n).fold(0, |checksum, _| {
        let program = [[0; 3]; 32].map(|_: Instruction| {
            let [op, a, b, ..] = (stream.next_u64() >> 8).to_le_bytes();
            [op % 10, a % 8, b % 32 % if op % 10 < 8 { 8 } else { 32 }]
        });
        let registers = [0; 8].map(|_: u64| stream.next_u64());
        fold(checksum, run(&program, registers, 1000).unwrap_or(u64::MAX))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn collatz_as_everybody_counts() {
        let length = |mut x: u64| {
            let mut steps = 0;
            while x != 1 {
                x = if x % 2 == 1 { 3 * x + 1 } else { x / 2 };
                steps += 1;
            }
            steps
        };
        assert_eq!(collatz(27, 1), 111);
        assert_eq!(collatz(1, 1000), (1..=1000).map(length).sum::<u64>());
    }

    #[test]
    fn bad_programs_end() {
        assert_eq!(run(&[i(Op::Jump, 0, 0)], [0; 8], 100), None);
        assert_eq!(run(&[i(Op::Copy, 0, 9)], [0; 8], 100), None);
        assert_eq!(run(&[[10, 0, 0]], [0; 8], 100), None);
        assert_eq!(run(&[], [0; 8], 100), None);
        assert_eq!(random_programs(100, 1), 0x2de0_1f92_db80_c27d);
        assert_ne!(random_programs(100, 1), random_programs(100, 2));
    }
}
