//! [`BlockIndex`]: from a code offset to the number of its basic block and of its region, in constant time.
//!
//! Regions are what is compiled at once: the blocks that begin in a stretch of [`REGION`] bytes of code, with all
//! that belongs to them. A region can be empty, where a block is longer than that.

use core::ops::Range;

use javm_isa::Code;

/// Bytes of code per region; a multiple of 64.
pub(super) const REGION: u32 = 4096;

/// The basic-block starts as bits, with the number of starts before each 64 offsets.
#[derive(Debug)]
pub(super) struct BlockIndex {
    words: Box<[(u64, u32)]>,
    count: u32,
    /// Length of the code.
    len: u32,
}

impl BlockIndex {
    pub(super) fn new(code: &Code) -> Self {
        let mut words = vec![(0u64, 0u32); code.len() as usize / 64 + 1];
        for start in code.block_starts() {
            words[start as usize / 64].0 |= 1 << (start % 64);
        }
        let mut count = 0;
        for (bits, before) in &mut words {
            *before = count;
            count += bits.count_ones();
        }
        Self { words: words.into(), count, len: code.len() }
    }

    /// How many blocks there are.
    pub(super) const fn count(&self) -> u32 {
        self.count
    }

    /// Number of the block that starts at `pc`, if one does.
    #[inline]
    pub(super) fn starting_at(&self, pc: u64) -> Option<u32> {
        let (bits, before) = self.words.get(usize::try_from(pc / 64).ok()?)?;
        let bit = pc % 64;
        (bits >> bit & 1 != 0).then(|| before + (bits & ((1 << bit) - 1)).count_ones())
    }

    /// Number of the block that an offset of the code lies in.
    pub(super) fn containing(&self, pc: u32) -> u32 {
        let (bits, before) = self.words.get(pc as usize / 64).copied().unwrap_or((0, self.count));
        (before + (bits & (u64::MAX >> (63 - pc % 64))).count_ones()).saturating_sub(1)
    }

    /// Where the next block behind an offset starts, if that is within some 200 bytes.
    pub(super) fn next_near(&self, pc: u32) -> Option<u32> {
        let from = pc as usize + 1;
        let mut mask = u64::MAX << (from % 64);
        for (n, (bits, _)) in self.words.iter().enumerate().skip(from / 64).take(4) {
            if bits & mask != 0 {
                return Some(n as u32 * 64 + (bits & mask).trailing_zeros());
            }
            mask = u64::MAX;
        }
        None
    }

    /// How many regions there are.
    pub(super) const fn regions(&self) -> u32 {
        self.len.div_ceil(REGION)
    }

    /// How many blocks start before a region does.
    fn blocks_before(&self, region: u32) -> u32 {
        let word = u64::from(region) * u64::from(REGION / 64);
        self.words.get(word as usize).map_or(self.count, |(_, before)| *before)
    }

    /// The blocks of a region.
    pub(super) fn blocks_of(&self, region: u32) -> Range<u32> {
        self.blocks_before(region)..self.blocks_before(region + 1)
    }

    /// The region of the block that an offset of the code lies in.
    pub(super) fn region_of(&self, pc: u32) -> u32 {
        let block = self.containing(pc);
        let (mut low, mut high) = (0, pc / REGION);
        if self.blocks_before(high) <= block {
            return high;
        }
        // The block started in an earlier one: the last that has no more than these blocks before it.
        while low + 1 < high {
            let middle = low.midpoint(high);
            if self.blocks_before(middle) <= block {
                low = middle;
            } else {
                high = middle;
            }
        }
        low
    }

    /// Where the first block starts that does at `from` or behind; the end of the code if none does.
    fn next_start(&self, from: u32) -> u32 {
        let first = from as usize / 64;
        let mut mask = u64::MAX << (from % 64);
        for (n, (bits, _)) in self.words.iter().enumerate().skip(first) {
            let bits = bits & mask;
            if bits != 0 {
                return n as u32 * 64 + bits.trailing_zeros();
            }
            mask = u64::MAX;
        }
        self.len
    }

    /// The code that a region's blocks take; empty where it has none. Looks at as much of the index as the
    /// region has code.
    pub(super) fn range_of(&self, region: u32) -> Range<u32> {
        let from = region.saturating_mul(REGION);
        if self.blocks_of(region).is_empty() {
            return from..from;
        }
        self.next_start(from)..self.next_start(from.saturating_add(REGION).min(self.len))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_offset_has_the_region_of_its_block() {
        // A move, 9,000 bytes without an end, then many blocks of one byte.
        let mut bytes = vec![100; 9_000];
        let mut marks = vec![0b0101_0101u8; 9_000 / 8];
        bytes.resize(13_000, 1);
        marks.resize(13_000 / 8, 0xFF);
        let code = Code::new(&bytes, &marks, &[]).unwrap();
        let index = BlockIndex::new(&code);
        assert_eq!(index.regions(), 4);
        let mut next = 0;
        for region in 0..index.regions() {
            let range = index.range_of(region);
            assert!(range.is_empty() || range.start == next);
            next = if range.is_empty() { next } else { range.end };
            for pc in range.clone() {
                assert_eq!(index.region_of(pc), region);
            }
            let starts = code.block_starts().filter(|start| range.contains(start)).count();
            assert_eq!(index.blocks_of(region).len(), starts);
        }
        assert_eq!(next, code.len());
        assert!(index.range_of(1).is_empty());
    }
}
