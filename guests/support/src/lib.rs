//! What several guest programs share: patterned input, a generator of numbers, checksums, and ([`payment`])
//! what two programs say to each other.
//!
//! Nothing of the machine is here; results must never change, because benchmarks and tests hold them.
#![no_std]
#![forbid(unsafe_code)]

pub mod payment;

/// Fills a buffer with the pattern that the hash kernels digest: byte `i` is `31 i + 7`, modulo 256.
pub fn fill_pattern(buffer: &mut [u8]) {
    for (i, byte) in buffer.iter_mut().enumerate() {
        *byte = (i as u8).wrapping_mul(31).wrapping_add(7);
    }
}

/// The first eight bytes of a digest as a big endian number.
///
/// # Panics
/// When there are fewer than eight.
#[must_use]
pub fn first8(digest: &[u8]) -> u64 {
    u64::from_be_bytes(*digest.first_chunk().expect("a digest has eight bytes"))
}

/// Takes one more number into a checksum; the order counts.
#[must_use]
pub fn fold(checksum: u64, value: u64) -> u64 {
    (checksum ^ value).wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(29)
}

/// A stream of numbers that follows from its seed (xorshift64).
#[derive(Clone, Debug)]
pub struct Numbers(u64);

impl Numbers {
    /// The stream of a seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        // The generator's one fixed point is zero.
        Self(seed ^ 0x9E37_79B9_7F4A_7C15 | 1)
    }

    /// The next number.
    pub fn next_u64(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_and_streams_are_fixed() {
        let mut buffer = [0; 10];
        fill_pattern(&mut buffer);
        assert_eq!(buffer[..3], [7, 38, 69]);
        assert_eq!(first8(&buffer), 0x0726_4564_83a2_c1e0);
        let mut numbers = Numbers::new(0);
        assert_ne!(numbers.next_u64(), numbers.next_u64());
        assert_ne!(fold(fold(0, 1), 2), fold(fold(0, 2), 1));
    }
}
