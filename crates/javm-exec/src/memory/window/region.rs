//! What a [`WindowMemory`](super::WindowMemory) is made of: regions, how far each is laid out, sets of pages.

use javm_sys::Rights;

use crate::memory::{Access, PAGE_COUNT, regions};

/// How a region is laid out in the window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Backing {
    /// Not at all so far: inaccessible.
    None,
    /// Completely: every page may have been touched.
    Copied,
    /// Completely; untouched pages need no memory, and the system knows which were touched.
    Zero,
    /// Page by page: those whose bit is set in `filled`.
    Filled,
}

/// What the window knows of a region.
#[derive(Clone, Copy)]
pub(super) struct Laid {
    pub(super) backing: Backing,
    /// Whether it could be written at some time.
    pub(super) writable_once: bool,
}

/// A region of a memory in a window.
pub(super) type Region = regions::Region<Laid>;

pub(super) const fn rights(access: Access) -> Rights {
    match access {
        Access::ReadOnly => Rights::Read,
        Access::ReadWrite => Rights::ReadWrite,
    }
}

/// Pages that one part of a [`Pages`] tells of.
const PART: u32 = 64 * 64;

/// A set of pages, one bit each. Only parts in which a page was set take memory.
pub(super) struct Pages([Option<Box<[u64; 64]>>; (PAGE_COUNT / PART) as usize]);

impl Pages {
    pub(super) const fn new() -> Self {
        Self([const { None }; _])
    }

    /// The part that a page lies in, its word there, and its bit.
    const fn place(page: u32) -> (usize, usize, u64) {
        ((page / PART) as usize, (page % PART / 64) as usize, 1 << (page % 64))
    }

    pub(super) fn contains(&self, page: u32) -> bool {
        let (part, word, bit) = Self::place(page);
        matches!(self.0.get(part), Some(Some(words)) if words[word] & bit != 0)
    }

    pub(super) fn insert(&mut self, page: u32) {
        let (part, word, bit) = Self::place(page);
        if let Some(words) = self.0.get_mut(part) {
            words.get_or_insert_with(|| Box::new([0; 64]))[word] |= bit;
        }
    }

    pub(super) fn remove(&mut self, first: u32, end: u32) {
        let mut page = first;
        while page < end {
            let (part, word, bit) = Self::place(page);
            let next = page - page % PART + PART;
            match self.0.get_mut(part) {
                Some(Some(words)) => {
                    words[word] &= !bit;
                    page += 1;
                }
                // Nothing is set in all of the part.
                _ => page = next,
            }
        }
    }
}
