//! A flat program whose syscalls have arguments of every kind: six numbers, more in memory, a buffer that the host
//! fills, an address that leads nowhere, a symbol of 32 bytes.
#![no_std]
#![forbid(unsafe_code)]

use javm_guest::{exports, persistent, syscalls};

syscalls! {
    fn six(a: u64, b: u64, c: i64, d: u32, e: u8, more: &[u8; 16]) -> u64;
    fn fill(buffer: &mut [u8; 40], len: usize) -> u64;
    fn nowhere(address: u64) -> u64;
    fn a_symbol_of_32_bytes_is_the_most() -> u64;
}

exports! { numbers, buffers, strays, deep }

persistent! {
    static SUM: u64 = 1;
}

fn remember(value: u64) {
    SUM.set(SUM.get().wrapping_mul(31).wrapping_add(value));
}

fn numbers() {
    let more = *b"seven and eight!";
    remember(six(SUM.get(), u64::MAX, -3, 4, 5, &more));
    remember(a_symbol_of_32_bytes_is_the_most());
}

fn buffers() {
    let mut buffer = [1; 40];
    for round in 0..3 {
        remember(fill(&mut buffer, 8 * (round + 1)));
        remember(buffer.iter().fold(0, |sum: u64, byte| sum.rotate_left(5) ^ u64::from(*byte)));
    }
}

fn strays() {
    for address in [0, 1, 0xffff_ffff, 0x1_0000_0000, u64::MAX] {
        remember(nowhere(address));
    }
}

/// Calls itself until the stack is used up.
fn deep() {
    #[expect(unconditional_recursion, reason = "it is to run off the stack")]
    fn level(n: u64, below: &[u64; 16]) -> u64 {
        let mine = below.map(|word| word.wrapping_mul(n) ^ nowhere(n));
        level(n + 1, &mine) ^ mine[0]
    }
    remember(level(1, &[3; 16]));
}
