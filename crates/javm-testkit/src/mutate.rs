//! [`mutate`]: damages bytes the way that finds bugs in readers.

use crate::rng::Rng;

/// Lengths and counts that readers trip over, written little-endian in 1, 2, 4 or 8 bytes.
const NUMBERS: [u64; 16] = [
    0,
    1,
    0x7F,
    0x80,
    0xFF,
    0x100,
    0x7FFF,
    0x8000,
    0xFFFF,
    0x1_0000,
    0x7FFF_FFFF,
    0x8000_0000,
    0xFFFF_FFFF,
    0x1_0000_0000,
    i64::MAX as u64,
    u64::MAX,
];

/// The longest piece that one change copies, inserts or removes.
const MAX_PIECE: u64 = 64;

/// Changes `bytes` in one to four places: flips a bit, sets a byte, writes an interesting number, inserts,
/// removes or copies a piece, or cuts the end off. `other` is where spliced pieces come from, for example a
/// second valid input; it may be empty. The result is at most 256 bytes longer.
pub fn mutate(rng: &mut Rng, bytes: &mut Vec<u8>, other: &[u8]) {
    for _ in 0..rng.between(1, 4) {
        change(rng, bytes, other);
    }
}

/// A random piece of `bytes`: where it starts and ends.
fn piece(rng: &mut Rng, bytes: &[u8]) -> core::ops::Range<usize> {
    let start = rng.index(bytes.len() + 1);
    let most = (bytes.len() - start).min(MAX_PIECE as usize);
    start..start + rng.index(most + 1)
}

fn change(rng: &mut Rng, bytes: &mut Vec<u8>, other: &[u8]) {
    let at = rng.index(bytes.len());
    match rng.below(9) {
        0 if !bytes.is_empty() => bytes[at] ^= 1 << rng.below(8),
        1 if !bytes.is_empty() => bytes[at] = rng.bits() as u8,
        2 | 3 if !bytes.is_empty() => {
            let number = rng.one_of(&NUMBERS).to_le_bytes();
            let width = (*rng.one_of(&[1, 2, 4, 8])).min(bytes.len() - at);
            bytes[at..at + width].copy_from_slice(&number[..width]);
        }
        4 => {
            let new: Vec<u8> = (0..rng.between(1, 8)).map(|_| rng.bits() as u8).collect();
            bytes.splice(at..at, new);
        }
        5 => {
            let gone = piece(rng, bytes);
            bytes.drain(gone);
        }
        6 => {
            let from = piece(rng, bytes);
            let copied = bytes[from].to_vec();
            bytes.splice(at..at, copied);
        }
        7 => {
            let (from, over) = (piece(rng, other), piece(rng, bytes));
            bytes.splice(over, other[from].iter().copied());
        }
        8 => bytes.truncate(at),
        // A change that needs a byte where there is none.
        _ => bytes.push(rng.bits() as u8),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_length_survives_and_the_same_seed_gives_the_same_bytes() {
        let mut changed = 0;
        for seed in 0..5_000 {
            let original: Vec<u8> = (0..seed as u8 % 40).collect();
            let run = |mut bytes| {
                mutate(&mut Rng::new(seed), &mut bytes, b"the other input");
                bytes
            };
            let result = run(original.clone());
            assert!(result.len() <= original.len() + 256);
            assert_eq!(result, run(original.clone()));
            changed += usize::from(result != original);
        }
        assert!(changed > 4_500, "{changed} of 5000 changed");
    }
}
