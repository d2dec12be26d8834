//! [`BlockIndex`]: from a code offset to the number of its basic block, in constant time.

use javm_isa::Code;

/// The basic-block starts as bits, with the number of starts before each 64 offsets.
#[derive(Debug)]
pub(super) struct BlockIndex {
    words: Box<[(u64, u32)]>,
    count: u32,
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
        Self { words: words.into(), count }
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
}
