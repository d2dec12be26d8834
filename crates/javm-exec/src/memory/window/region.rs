//! What a [`WindowMemory`](super::WindowMemory) is made of: regions, how far each is laid out, sets of pages.

use std::sync::Arc;

use javm_sys::Rights;

use crate::memory::{Access, PAGE_COUNT, PageSource};

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

/// Pages with the same rights and one source.
#[derive(Clone)]
pub(super) struct Region {
    pub(super) first: u32,
    pub(super) count: u32,
    pub(super) access: Access,
    pub(super) source: Option<(Arc<dyn PageSource>, u32)>,
    pub(super) backing: Backing,
    /// Whether it could be written at some time.
    pub(super) writable_once: bool,
}

impl Region {
    pub(super) const fn end(&self) -> u32 {
        self.first + self.count
    }

    /// What a page holds before anybody writes it; `None` is zeros.
    pub(super) fn original(&self, page: u32) -> Option<&[u8]> {
        let (source, first) = self.source.as_ref()?;
        source.page(first.wrapping_add(page - self.first))
    }

    /// The part of the region that lies in `first..end`, which must not be empty.
    pub(super) fn cut(&self, first: u32, end: u32) -> Self {
        let source = self.source.as_ref().map(|(s, p)| (Arc::clone(s), p.wrapping_add(first - self.first)));
        Self { first, count: end - first, source, ..self.clone() }
    }
}

/// The region that a page lies in.
pub(super) fn find(regions: &[Region], page: u32) -> Option<usize> {
    let next = regions.partition_point(|r| r.first <= page);
    next.checked_sub(1).filter(|at| page < regions[*at].end())
}

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
