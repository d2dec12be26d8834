//! [`PageTree`]: bytes in pages of 4,096, hashed page by page.
//!
//! Data, the anonymous memory of an instance and the ephemeral pages of a pause are all page trees. The
//! leaf `i` is the page at byte `4096 * i`; pages that are zero are not kept, and of the others only the
//! bytes up to the last one that is not zero. A page remembers its hash, also in other trees.
//!
//! Not here: what a length means, and where it is hashed (`kinds`).

use std::sync::Arc;
use std::sync::OnceLock;

use javm_abi::reg::PAGE_SIZE;

use super::{Leaf, Leaves, Tree};
use crate::hash::{self, CapHash, HEIGHTS, PAGE_COST, Tag};

const PAGE: u64 = PAGE_SIZE as u64;

/// A page that is not zero: its bytes without trailing zeros, and its hash once somebody asked.
#[derive(Clone)]
pub(crate) struct Page {
    bytes: Arc<[u8]>,
    hash: OnceLock<CapHash>,
}

impl PartialEq for Page {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.bytes, &other.bytes) || self.bytes == other.bytes
    }
}

/// How many bytes are left when trailing zeros are stripped.
pub(crate) fn stripped_len(bytes: &[u8]) -> usize {
    // Whole words first: most of what is stripped is empty space.
    let mut len = bytes.len();
    while len >= 16 && bytes[len - 16..len] == [0; 16] {
        len -= 16;
    }
    while len > 0 && bytes[len - 1] == 0 {
        len -= 1;
    }
    len
}

impl Page {
    /// The page with these bytes; `None` if they are all zero. Bytes past a page are not looked at.
    fn new(bytes: &[u8]) -> Option<Self> {
        let bytes = &bytes[..bytes.len().min(PAGE_SIZE)];
        let len = stripped_len(bytes);
        (len > 0).then(|| Self { bytes: bytes[..len].into(), hash: OnceLock::new() })
    }
}

impl Leaf for Page {
    fn zeros() -> &'static [CapHash; HEIGHTS] {
        &hash::ZERO_PAGES
    }

    fn is_ref(&self) -> bool {
        false
    }

    fn hash_all(leaves: &[Self]) {
        let unknown: Vec<&Self> = leaves.iter().filter(|page| page.hash.get().is_none()).collect();
        // A digest needs the padding; as many pages at a time as the processor hashes side by side.
        for group in unknown.chunks(4) {
            let mut padded = vec![0; group.len() * PAGE_SIZE];
            for (page, room) in group.iter().zip(padded.chunks_mut(PAGE_SIZE)) {
                room[..page.bytes.len()].copy_from_slice(&page.bytes);
            }
            let inputs: Vec<&[u8]> = padded.chunks(PAGE_SIZE).collect();
            hash::digest_each(Tag::Page, &inputs, |i, digest| {
                group[i].hash.get_or_init(|| digest);
            });
        }
    }

    fn name(&self) -> CapHash {
        *self.hash.get_or_init(|| hash::page(&self.bytes))
    }

    fn cost(&self) -> u64 {
        if self.hash.get().is_some() { 0 } else { PAGE_COST }
    }
}

/// A sparse, persistent sequence of pages with a hash.
///
/// A clone costs one pointer; a write costs the page and the nodes on its way; [`PageTree::root`] hashes
/// what changed since it was last asked.
#[derive(Clone)]
pub struct PageTree {
    tree: Tree<Page>,
    /// Bytes put in since a directory last counted them.
    fresh: u64,
}

/// The deepest page tree: `2^63` bytes, so that every length fits a `u64`.
pub(crate) const MAX_DEPTH: u8 = 51;

/// Depth of a tree with room for this many pages: `ceil(log2(max(pages, 1)))`.
#[must_use]
pub const fn depth_for(pages: u64) -> u8 {
    if pages <= 1 { 0 } else { (u64::BITS - (pages - 1).leading_zeros()) as u8 }
}

impl PageTree {
    /// Zeros, with room for `pages` pages: the depth is [`depth_for`] that many.
    #[must_use]
    pub const fn new(pages: u64) -> Self {
        Self::with_depth(depth_for(pages))
    }

    /// Zeros, `2^depth` pages of them. Depths above 51 (`2^63` bytes) are taken as 51.
    #[must_use]
    pub const fn with_depth(depth: u8) -> Self {
        Self { tree: Tree::new(if depth > MAX_DEPTH { MAX_DEPTH } else { depth }), fresh: 0 }
    }

    /// Depth of the hashed tree.
    #[must_use]
    pub const fn depth(&self) -> u8 {
        self.tree.depth()
    }

    /// Page `index` without its trailing zeros, at most 4,096 bytes; `None` if all of it is zero or the
    /// tree has no such page.
    #[must_use]
    pub fn page(&self, index: u64) -> Option<&[u8]> {
        self.tree.get(index).map(|page| &*page.bytes)
    }

    /// Replaces page `index` by `bytes`, zero padded. Bytes past 4,096 are not looked at. Returns whether the
    /// tree has such a page; if not, nothing changes.
    pub fn set_page(&mut self, index: u64, bytes: &[u8]) -> bool {
        if !self.tree.in_range(index) {
            return false;
        }
        let page = Page::new(bytes);
        self.fresh += page.as_ref().map_or(0, |page| page.bytes.len() as u64 + 64);
        self.tree.set(index, page);
        true
    }

    /// Overwrites bytes from `offset` on. What lies past the last page of the tree is dropped.
    pub fn write(&mut self, offset: u64, bytes: &[u8]) {
        let mut done = 0;
        while done < bytes.len() {
            let Some(at) = offset.checked_add(done as u64) else { return };
            let (index, within) = (at / PAGE, (at % PAGE) as usize);
            let len = (PAGE_SIZE - within).min(bytes.len() - done);
            let part = &bytes[done..done + len];
            if len == PAGE_SIZE {
                self.set_page(index, part);
            } else {
                let mut page = [0; PAGE_SIZE];
                let old = self.page(index).unwrap_or_default();
                page[..old.len()].copy_from_slice(old);
                page[within..within + len].copy_from_slice(part);
                self.set_page(index, &page);
            }
            done += len;
        }
    }

    /// Fills `buf` from `offset` on; zeros where there is nothing.
    pub fn read(&self, offset: u64, buf: &mut [u8]) {
        buf.fill(0);
        let mut done = 0;
        while done < buf.len() {
            let Some(at) = offset.checked_add(done as u64) else { return };
            let (index, within) = (at / PAGE, (at % PAGE) as usize);
            let len = (PAGE_SIZE - within).min(buf.len() - done);
            if let Some(held) = self.page(index).and_then(|page| page.get(within..)) {
                let held = &held[..held.len().min(len)];
                buf[done..done + held.len()].copy_from_slice(held);
            }
            done += len;
        }
    }

    /// Changes the depth to that for `pages` pages. Pages from `pages` on become zero.
    pub fn resize(&mut self, pages: u64) {
        while let Some((index, _)) = self.tree.last()
            && index >= pages
        {
            self.tree.set(index, None);
        }
        self.tree.set_depth(depth_for(pages).min(MAX_DEPTH));
    }

    /// Makes the tree deep enough for `pages` pages; never less deep.
    pub(crate) fn make_room(&mut self, pages: u64) {
        let depth = depth_for(pages).min(MAX_DEPTH);
        if depth > self.tree.depth() {
            self.tree.set_depth(depth);
        }
    }

    /// Bytes up to the last that is not zero.
    #[must_use]
    pub fn content_len(&self) -> u64 {
        self.tree.last().map_or(0, |(index, page)| index * PAGE + page.bytes.len() as u64)
    }

    /// How many pages are not zero.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.tree.count()
    }

    /// The pages that are not zero, ascending: index and bytes without trailing zeros.
    pub fn pages(&self) -> impl Iterator<Item = (u64, &[u8])> {
        let leaves: Leaves<'_, Page> = self.tree.iter();
        leaves.map(|(index, page)| (index, &*page.bytes))
    }

    /// The root of the tree. Hashes the pages that changed since it was last asked, and the nodes above them.
    #[must_use]
    pub fn root(&self) -> CapHash {
        self.tree.root()
    }

    /// How many BLAKE2b compressions [`PageTree::root`] would take now; stops counting past `limit`.
    #[must_use]
    pub fn hash_cost(&self, limit: u64) -> u64 {
        self.tree.cost(limit)
    }

    /// The hashes beside the way from page `index` to the root, lowest first.
    pub(crate) fn siblings(&self, index: u64) -> Vec<CapHash> {
        self.tree.siblings(index)
    }

    /// Bytes put in since the last [`PageTree::take_fresh`].
    pub(crate) const fn fresh(&self) -> u64 {
        self.fresh
    }

    /// Bytes put in since the last call of this.
    pub(crate) const fn take_fresh(&mut self) -> u64 {
        std::mem::replace(&mut self.fresh, 0)
    }
}

/// Same depth, same bytes.
impl PartialEq for PageTree {
    fn eq(&self, other: &Self) -> bool {
        self.tree == other.tree
    }
}

impl Eq for PageTree {}

impl core::fmt::Debug for PageTree {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "PageTree(depth {}, {} pages, {} bytes)", self.depth(), self.count(), self.content_len())
    }
}
