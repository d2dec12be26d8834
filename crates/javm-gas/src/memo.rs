//! [`Memo`]: the costs of blocks that were priced before, for those that come again.
//!
//! The cost of a block follows from its steps alone, and compiled programs repeat themselves: of the instructions of a
//! large one a sixth are in blocks that were there before. What is kept is bounded, and forgotten as a whole when it is
//! full. A hash only tells where to look: steps are compared.

use alloc::{boxed::Box, vec, vec::Vec};

use crate::step::Step;

/// How many steps are kept: half a megabyte of them.
const STEPS: usize = 1 << 16;

/// How many blocks are known at most, in sets of four, which are a line of the cache. The number of sets is a power of two.
const SETS: usize = 1 << 10;
const WAYS: usize = 4;

/// An odd number without pattern.
const FACTOR: u64 = 0x9E37_79B9_7F4A_7C15;

/// A block that was priced.
#[derive(Clone, Copy, Debug, Default)]
#[repr(align(16))]
struct Known {
    /// Bits of the hash that do not tell the place.
    tag: u32,
    /// Where its steps are, and how many; none for a place that is free.
    start: u32,
    len: u32,
    cost: u32,
}

/// The blocks that were priced last.
#[derive(Clone, Debug)]
pub(crate) struct Memo {
    steps: Vec<Step>,
    /// By hash.
    known: Box<[[Known; WAYS]]>,
}

impl Memo {
    pub(crate) fn new() -> Self {
        Self { steps: Vec::new(), known: vec![[Known::default(); WAYS]; SETS].into() }
    }

    /// The hash of a block. Four sums, because one would wait for itself at every step.
    pub(crate) fn hash(steps: &[Step]) -> u64 {
        let mut sums = [0u64; 4];
        let mix = |sum: &mut u64, step: &Step| *sum = (sum.rotate_left(5) ^ step.bits()).wrapping_mul(FACTOR);
        let (whole, rest) = steps.as_chunks::<4>();
        for four in whole {
            sums.iter_mut().zip(four).for_each(|(sum, step)| mix(sum, step));
        }
        sums.iter_mut().zip(rest).for_each(|(sum, step)| mix(sum, step));
        sums.iter().fold(steps.len() as u64, |hash, sum| (hash.rotate_left(29) ^ sum).wrapping_mul(FACTOR))
    }

    /// The cost of a block: what it was the last time, or what `price` says.
    #[inline]
    pub(crate) fn cost(&mut self, steps: &[Step], price: impl FnOnce() -> u32) -> u32 {
        let hash = Self::hash(steps);
        for known in &self.known[set(hash)] {
            if known.tag == hash as u32 && self.kept(known) == Some(steps) {
                return known.cost;
            }
        }
        let cost = price();
        self.keep(hash, steps, cost);
        cost
    }

    /// The steps of a block; `None` where there is none.
    fn kept(&self, known: &Known) -> Option<&[Step]> {
        self.steps.get(known.start as usize..)?.get(..known.len as usize).filter(|steps| !steps.is_empty())
    }

    /// Takes note of the cost of a block.
    fn keep(&mut self, hash: u64, steps: &[Step], cost: u32) {
        if self.steps.len() + steps.len() > STEPS {
            self.steps.clear();
            self.known.fill([Known::default(); WAYS]);
        }
        let (start, len) = (self.steps.len() as u32, steps.len() as u32);
        let known = &mut self.known[set(hash)];
        // One that is free, or any.
        let way = known.iter().position(|known| known.len == 0).unwrap_or(start as usize % WAYS);
        known[way] = Known { tag: hash as u32, start, len, cost };
        self.steps.extend_from_slice(steps);
    }
}

/// The set that a block with this hash is in: the highest bits, into which all steps went.
const fn set(hash: u64) -> usize {
    (hash >> (u64::BITS - SETS.trailing_zeros())) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_told_apart_and_forgotten() {
        let mut memo = Memo::new();
        let (one, two) = ([Step::TRAP; 3], [Step::TRAP; 4]);
        assert_eq!((memo.cost(&one, || 11), memo.cost(&two, || 12)), (11, 12));
        assert_eq!((memo.cost(&one, || unreachable!()), memo.cost(&two, || unreachable!())), (11, 12));
        // Others with the same hash: they are compared, and drive it out when there are many.
        let hash = Memo::hash(&one);
        memo.keep(hash, &two, 13);
        assert_eq!(memo.cost(&one, || unreachable!()), 11);
        (0..8).for_each(|n| memo.keep(hash, &[Step::TRAP; 9][..5 + n % 4], 13));
        assert_eq!(memo.cost(&one, || 14), 14);
        for n in 0..STEPS as u64 {
            memo.keep(n << 40, &two, 1);
            assert!(memo.steps.len() <= STEPS);
        }
        assert_eq!(memo.cost(&one, || 15), 15);
    }
}
