//! [`Words`]: a large table of numbers, zero at first, that takes memory where it is written. [`zeros`]: a smaller one
//! for several threads.
//!
//! An ordinary allocation of zeros may be memory that was used before and has to be cleared: then a table costs its
//! whole size at once, and a program that needs a thousand of them gigabytes. This one comes from the system.

use core::ops::{Deref, DerefMut};
use std::sync::atomic::AtomicU64;

use crate::os::ZeroPages;

/// How many words there are: one for each page of a guest's memory.
pub const WORDS: usize = crate::PAGE_COUNT as usize;

/// A table of [`WORDS`] numbers.
pub struct Words(ZeroPages);

impl Words {
    /// All zero.
    #[must_use]
    pub fn new() -> Self {
        Self(ZeroPages::new())
    }
}

/// Zeros, without their memory being touched where the allocator gets them from the system.
#[must_use]
pub fn zeros(len: usize) -> Box<[AtomicU64]> {
    let zeros = Box::into_raw(vec![0u64; len].into_boxed_slice());
    // SAFETY: the two types have the same size, alignment and values, and the box is ours.
    unsafe { Box::from_raw(zeros as *mut [AtomicU64]) }
}

impl Default for Words {
    fn default() -> Self {
        Self::new()
    }
}

impl Deref for Words {
    type Target = [u32; WORDS];

    #[inline(always)]
    fn deref(&self) -> &[u32; WORDS] {
        self.0.words()
    }
}

impl DerefMut for Words {
    #[inline(always)]
    fn deref_mut(&mut self) -> &mut [u32; WORDS] {
        self.0.words_mut()
    }
}

impl core::fmt::Debug for Words {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Words")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bytes of memory that the process has, as the system says.
    #[cfg(all(target_os = "linux", target_arch = "x86_64", not(javm_portable)))]
    fn resident() -> usize {
        let pages = std::fs::read_to_string("/proc/self/statm").unwrap();
        pages.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * crate::PAGE_SIZE
    }

    #[test]
    fn a_table_holds_what_is_written_and_is_zero_elsewhere() {
        let mut words = Words::new();
        words[7] = 1;
        words[WORDS - 1] = u32::MAX;
        assert_eq!((words[6], words[7], words[WORDS - 1]), (0, 1, u32::MAX));
        assert!(words.iter().filter(|word| **word != 0).count() == 2);
        // One that comes where another was is zero again.
        for _ in 0..20 {
            let mut words = Words::new();
            assert!(words[7] == 0 && words[WORDS - 1] == 0);
            words[7] = 1;
        }
        let there = std::thread::spawn(move || words[7]);
        assert_eq!(there.join().unwrap(), 1);
    }

    #[cfg(all(target_os = "linux", target_arch = "x86_64", not(javm_portable)))]
    #[test]
    fn many_tables_cost_what_is_written() {
        let before = resident();
        for _ in 0..2 {
            let mut tables: Vec<Words> = (0..500).map(|_| Words::new()).collect();
            tables.iter_mut().enumerate().for_each(|(n, table)| table[n * 1000] = 1);
            // Of 2 GiB, a page each.
            assert!(resident().saturating_sub(before) < 200 << 20);
        }
    }
}
