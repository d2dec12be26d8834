//! [`ZeroPages`]: memory from the allocator.

use crate::words::WORDS;

/// Words, all zero at first.
pub(crate) struct ZeroPages(Box<[u32; WORDS]>);

impl ZeroPages {
    pub(crate) fn new() -> Self {
        let words = vec![0; WORDS].into_boxed_slice();
        Self(words.try_into().unwrap_or_else(|_| unreachable!("the length is WORDS")))
    }

    #[inline(always)]
    pub(crate) const fn words(&self) -> &[u32; WORDS] {
        &self.0
    }

    #[inline(always)]
    pub(crate) const fn words_mut(&mut self) -> &mut [u32; WORDS] {
        &mut self.0
    }
}
