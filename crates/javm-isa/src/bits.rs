//! A packed set of code offsets: the instruction bitmask and the set of basic-block starts.

use alloc::{vec, vec::Vec};

/// A set of numbers below a fixed length, one bit each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BitSet {
    words: Vec<u64>,
    len: u32,
}

impl BitSet {
    /// The empty set of numbers below `len`.
    #[must_use]
    pub fn new(len: u32) -> Self {
        // One word more than needed, so that a 25-bit look-ahead never leaves the vector.
        Self { words: vec![0; len as usize / 64 + 2], len }
    }

    /// Reads a packed bitmask, least significant bit first; bits at and past `len` are ignored, bytes that
    /// are missing count as zero.
    #[must_use]
    pub fn from_packed(packed: &[u8], len: u32) -> Self {
        let mut words = Vec::with_capacity(len as usize / 64 + 2);
        let packed = &packed[..packed.len().min(len.div_ceil(8) as usize)];
        let (whole, rest) = packed.as_chunks();
        words.extend(whole.iter().map(|bytes| u64::from_le_bytes(*bytes)));
        words.push(rest.iter().rev().fold(0, |word, byte| word << 8 | u64::from(*byte)));
        words.resize(len as usize / 64 + 2, 0);
        let mut set = Self { words, len };
        let last = len as usize / 64;
        set.words[last] &= (1u64 << (len % 64)) - 1;
        set
    }

    /// The packed form of `len.div_ceil(8)` bytes, padding bits zero.
    #[must_use]
    pub fn to_packed(&self) -> Vec<u8> {
        let mut bytes: Vec<u8> = self.words.iter().flat_map(|w| w.to_le_bytes()).collect();
        bytes.truncate(self.len.div_ceil(8) as usize);
        bytes
    }

    /// Whether `i` is in the set; never for `i` at or past the length.
    #[inline]
    #[must_use]
    pub fn contains(&self, i: u32) -> bool {
        self.words.get(i as usize / 64).is_some_and(|w| w >> (i % 64) & 1 != 0)
    }

    /// Adds `i`. Numbers at or past the length are ignored.
    pub fn insert(&mut self, i: u32) {
        if i < self.len {
            self.words[i as usize / 64] |= 1 << (i % 64);
        }
    }

    /// The members as words of 64 bits, ascending; nothing at and past the length.
    pub(crate) fn words(&self) -> &[u64] {
        &self.words
    }

    /// As [`Self::words`], to be filled in; nothing may be put at or past the length.
    pub(crate) fn words_mut(&mut self) -> &mut [u64] {
        &mut self.words
    }

    /// The numbers below which the set's members lie.
    #[must_use]
    pub const fn bound(&self) -> u32 {
        self.len
    }

    /// How many numbers are in the set.
    #[must_use]
    pub fn count(&self) -> usize {
        self.words.iter().map(|w| w.count_ones() as usize).sum()
    }

    /// How many numbers behind `i` are absent before the first member, at most 24; numbers at and past the
    /// length count as present (Gray Paper: `skip`).
    #[inline]
    #[must_use]
    pub fn skip(&self, i: u32) -> u32 {
        let Some(from) = i.checked_add(1) else { return 0 };
        let ahead = match self.words.get(from as usize / 64..).and_then(|words| words.first_chunk()) {
            // Two shifts, because one by 64 is none.
            Some([low, high]) => low >> (from % 64) | high << 1 << (63 - from % 64),
            None => 0,
        };
        (ahead | 1 << 24).trailing_zeros().min(self.len.saturating_sub(from))
    }

    /// The largest member at or below `i`.
    #[must_use]
    pub fn at_or_below(&self, i: u32) -> Option<u32> {
        if self.len == 0 {
            return None;
        }
        let i = i.min(self.len - 1);
        let mut word = i as usize / 64;
        let mut bits = self.words[word] & (u64::MAX >> (63 - i % 64));
        loop {
            if bits != 0 {
                return Some(word as u32 * 64 + 63 - bits.leading_zeros());
            }
            word = word.checked_sub(1)?;
            bits = self.words[word];
        }
    }

    /// The members in ascending order.
    pub fn iter(&self) -> impl Iterator<Item = u32> + '_ {
        self.words.iter().enumerate().flat_map(|(n, word)| {
            let mut rest = *word;
            core::iter::from_fn(move || {
                let bit = (rest != 0).then(|| rest.trailing_zeros())?;
                rest &= rest - 1;
                Some(n as u32 * 64 + bit)
            })
        })
    }
}
