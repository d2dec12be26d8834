//! Copying, filling and comparing blocks of memory.
#![no_std]
#![forbid(unsafe_code)]

use core::hint::black_box;
use javm_guest::{endpoint, exclusive};
use support::{Numbers, fold};

/// The largest block in bytes; larger requests fault.
pub const MAX_SIZE: usize = 256 * 1024;

struct Blocks {
    from: [u8; MAX_SIZE],
    to: [u8; MAX_SIZE],
}

exclusive! {
    static BLOCKS: Blocks = Blocks { from: [0; MAX_SIZE], to: [0; MAX_SIZE] };
}

fn with_blocks(size: u64, seed: u64, work: impl FnOnce(&mut [u8], &mut [u8]) -> u64) -> u64 {
    BLOCKS.with(|Blocks { from, to }| {
        let from = from.get_mut(..size as usize).expect("block too large");
        let to = &mut to[..size as usize];
        let mut stream = Numbers::new(seed);
        from.iter_mut().for_each(|byte| *byte = stream.next_u64() as u8);
        to.fill(0);
        work(from, to)
    })
}

fn checksum(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0, |checksum, byte| fold(checksum, u64::from(*byte)))
}

/// Copies a block of `size` bytes `n` times, each time after changing one byte of it; returns a checksum of
/// the last copy.
#[endpoint(0)]
pub fn copy(size: u64, n: u64, seed: u64) -> u64 {
    with_blocks(size, seed, |from, to| {
        for round in 0..n {
            if let Some(byte) = from.get_mut((round % size.max(1)) as usize) {
                *byte = byte.wrapping_add(1);
            }
            black_box(&mut *to).copy_from_slice(black_box(from));
        }
        checksum(to)
    })
}

/// Fills a block of `size` bytes `n` times, with one byte after the other from the seed on; returns a
/// checksum of the last one.
#[endpoint(1)]
pub fn fill(size: u64, n: u64, seed: u64) -> u64 {
    with_blocks(size, seed, |_, to| {
        (0..n).for_each(|round| black_box(&mut *to).fill(seed.wrapping_add(round) as u8));
        checksum(to)
    })
}

/// Compares two equal blocks of `size` bytes `n` times; returns how often they were equal.
#[endpoint(2)]
pub fn compare(size: u64, n: u64, seed: u64) -> u64 {
    with_blocks(size, seed, |from, to| {
        to.copy_from_slice(from);
        (0..n).filter(|_| black_box(&*from) == black_box(&*to)).count() as u64
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_what_they_should_be() {
        assert_eq!(fill(100, 3, 40), checksum(&[42; 100]));
        assert_eq!(compare(1000, 5, 1), 5);
        assert_eq!(copy(0, 5, 1), 0);
        assert_ne!(copy(64, 1, 1), copy(64, 2, 1));
        assert_eq!(copy(1001, 7, 3), 0xd840_abfa_a1a5_02b9);
    }

    #[test]
    #[should_panic(expected = "block too large")]
    fn a_larger_block_faults() {
        fill(MAX_SIZE as u64 + 1, 1, 0);
    }
}
