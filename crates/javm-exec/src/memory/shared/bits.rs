//! [`Bits`]: a set of small numbers, one bit each, for ranges of them.

/// A set of the numbers below a length.
#[derive(Clone, Debug)]
pub(super) struct Bits {
    words: Box<[u64]>,
    len: u32,
    ones: u32,
}

/// The bits of word `word` that lie in `first..end`.
const fn mask(word: u32, first: u32, end: u32) -> u64 {
    let start = word * 64;
    let low = if first > start { u64::MAX << (first - start) } else { u64::MAX };
    let high = if end < start + 64 { !(u64::MAX << (end - start)) } else { u64::MAX };
    low & high
}

/// The words that `first..end` lies in; lengths are at most 2^20, so numbers of bits do not overflow.
const fn words(first: u32, end: u32) -> core::ops::Range<u32> {
    if first < end { first / 64..end.div_ceil(64) } else { 0..0 }
}

impl Bits {
    /// No numbers, all below `len`.
    pub(super) fn new(len: u32) -> Self {
        Self { words: vec![0; len.div_ceil(64) as usize].into(), len, ones: 0 }
    }

    pub(super) const fn len(&self) -> u32 {
        self.len
    }

    /// How many there are.
    pub(super) const fn ones(&self) -> u32 {
        self.ones
    }

    pub(super) fn contains(&self, n: u32) -> bool {
        n < self.len && self.words[n as usize / 64] >> (n % 64) & 1 != 0
    }

    /// Puts all of a range in, or takes it out; what lies behind the length does not matter.
    pub(super) fn set(&mut self, first: u32, end: u32, value: bool) {
        let end = end.min(self.len);
        for n in words(first, end) {
            let mask = mask(n, first, end);
            let word = &mut self.words[n as usize];
            let new = if value { *word | mask } else { *word & !mask };
            self.ones = self.ones + new.count_ones() - word.count_ones();
            *word = new;
        }
    }

    /// How many of a range there are.
    pub(super) fn count(&self, first: u32, end: u32) -> u32 {
        let end = end.min(self.len);
        words(first, end).map(|n| (self.words[n as usize] & mask(n, first, end)).count_ones()).sum()
    }

    /// Whether any of a range is there.
    pub(super) fn any(&self, first: u32, end: u32) -> bool {
        let end = end.min(self.len);
        words(first, end).any(|n| self.words[n as usize] & mask(n, first, end) != 0)
    }

    /// The first number at or behind `from` that is (not) there; the length when there is none.
    pub(super) fn find(&self, from: u32, value: bool) -> u32 {
        for n in words(from, self.len) {
            let word = if value { self.words[n as usize] } else { !self.words[n as usize] };
            let found = word & mask(n, from, self.len);
            if found != 0 {
                return n * 64 + found.trailing_zeros();
            }
        }
        self.len
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_as_one_by_one() {
        let mut bits = Bits::new(200);
        let mut plain = [false; 200];
        let mut seed = 1u32;
        for _ in 0..3000 {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let (first, end, value) = (seed >> 8 & 0xFF, seed >> 16 & 0xFF, seed >> 31 != 0);
            bits.set(first, end, value);
            (first..end.min(200)).for_each(|n| plain[n as usize] = value);
            assert_eq!(bits.ones() as usize, plain.iter().filter(|b| **b).count());
            let (a, b) = (seed >> 4 & 0xFF, seed >> 20 & 0xFF);
            let inside = (a..b.min(200)).filter(|n| plain[*n as usize]).count();
            assert_eq!((bits.count(a, b) as usize, bits.any(a, b)), (inside, inside != 0));
            let next = (a..200).find(|n| plain[*n as usize] == value).unwrap_or(200);
            assert_eq!(bits.find(a, value), next);
            assert_eq!(bits.contains(a), a < 200 && plain[a as usize]);
        }
    }
}
