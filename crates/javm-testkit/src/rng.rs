//! [`Rng`]: random numbers that are the same everywhere, for ever.

/// A random number generator (SplitMix64). The seed is the whole input of whatever is generated with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rng(u64);

impl Rng {
    /// A generator with this seed. Seeds next to each other give sequences that have nothing in common.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// 64 random bits.
    pub const fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let z = (self.0 ^ self.0 >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ z >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ z >> 31
    }

    /// A number below `n`; 0 for 0.
    pub const fn below(&mut self, n: u64) -> u64 {
        // The high half of a product: no division, and the bias is far below what a test could notice.
        ((self.bits() as u128 * n as u128) >> 64) as u64
    }

    /// A length or index below `n`; 0 for 0.
    pub const fn index(&mut self, n: usize) -> usize {
        self.below(n as u64) as usize
    }

    /// A number in `low..=high`, which must be in this order.
    pub const fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.below(high - low + 1)
    }

    /// True once in `n` times.
    pub const fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }

    /// One of `from`.
    ///
    /// # Panics
    /// Where there is nothing to choose from.
    pub const fn one_of<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.index(from.len())]
    }

    /// A number of the kinds that break things: small, at the edges of widths, with few bits, or any.
    pub fn interesting(&mut self) -> u64 {
        let bit = 1u64 << self.below(64);
        match self.below(8) {
            0 => self.below(4),
            1 => self.below(4).wrapping_neg(),
            2 => bit.wrapping_sub(self.below(2)),
            3 => bit.wrapping_neg().wrapping_add(self.below(2)),
            4 => (i32::MIN as i64 as u64).wrapping_add(self.below(4)).wrapping_sub(2),
            5 => (i64::MIN as u64).wrapping_add(self.below(4)).wrapping_sub(2),
            6 => u64::from(self.bits() as u32),
            _ => self.bits(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Everything that is generated hangs on this sequence; the figures are SplitMix64's own.
    #[test]
    fn the_sequence_is_fixed() {
        let mut rng = Rng::new(0);
        assert_eq!(
            [rng.bits(), rng.bits(), rng.bits()],
            [0xE220_A839_7B1D_CDAF, 0x6E78_9E6A_A1B9_65F4, 0x06C4_5D18_8009_454F]
        );
    }

    #[test]
    fn numbers_stay_in_their_range_and_reach_its_ends() {
        let mut rng = Rng::new(1);
        let drawn: std::collections::BTreeSet<u64> = (0..1_000).map(|_| rng.between(3, 6)).collect();
        assert_eq!(drawn.into_iter().collect::<Vec<_>>(), [3, 4, 5, 6]);
        assert_eq!(rng.below(0), 0);
        assert_eq!(rng.between(u64::MAX, u64::MAX), u64::MAX);
    }
}
