//! `Cap::Data`: bytes, trailing zeros stripped.
//!
//! Canonical: `"Hello\0\0"` and `"Hello"` are one value; who needs the length stores it. Past the end there
//! are zeros. The content is a page tree, so a Data of which a few pages differ from another's shares the
//! rest with it, in memory and in hashing.

use crate::hash::{self, CapHash, Tag};
use crate::tree::pages::PageTree;
use javm_abi::reg::PAGE_SIZE;

/// Bytes as a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DataCap {
    /// Invariant: as deep as the content is long.
    tree: PageTree,
}

impl Default for DataCap {
    fn default() -> Self {
        Self { tree: PageTree::new(0) }
    }
}

impl DataCap {
    /// A Data of these bytes, trailing zeros stripped.
    #[must_use]
    pub fn new(bytes: &[u8]) -> Self {
        Self::default().with_pages((0..).zip(bytes.chunks(PAGE_SIZE)))
    }

    /// This Data with other pages: `(index, bytes)`, the bytes zero padded to 4,096. The result is stripped
    /// anew: writing zeros at the end shortens it, writing past the end makes it longer. Costs the given
    /// pages, not the others; hashes nothing. An index of `2^51` or more is left out: lengths end at `2^63`.
    #[must_use]
    pub fn with_pages<'a>(&self, pages: impl IntoIterator<Item = (u64, &'a [u8])>) -> Self {
        let mut tree = self.tree.clone();
        for (index, bytes) in pages {
            tree.make_room(index.saturating_add(1));
            tree.set_page(index, bytes);
        }
        Self::from_tree(tree)
    }

    /// The Data with the content of a page tree.
    #[must_use]
    pub fn from_tree(mut tree: PageTree) -> Self {
        tree.resize(tree.content_len().div_ceil(PAGE_SIZE as u64));
        Self { tree }
    }

    /// Stripped length in bytes.
    #[must_use]
    pub fn content_len(&self) -> u64 {
        self.tree.content_len()
    }

    /// All bytes, stripped. As large as the Data is long, also where it is sparse.
    #[must_use]
    pub fn to_vec(&self) -> Vec<u8> {
        let mut bytes = vec![0; usize::try_from(self.content_len()).unwrap_or(usize::MAX)];
        self.read(0, &mut bytes);
        bytes
    }

    /// Fills `buf` from `offset` on, with zeros past the end, and returns how many of its bytes came from the
    /// Data.
    pub fn read(&self, offset: u64, buf: &mut [u8]) -> usize {
        self.tree.read(offset, buf);
        let left = self.content_len().saturating_sub(offset);
        usize::try_from(left).unwrap_or(usize::MAX).min(buf.len())
    }

    /// Page `index` without trailing zeros; `None` where it is zero or past the end.
    #[must_use]
    pub fn page(&self, index: u64) -> Option<&[u8]> {
        self.tree.page(index)
    }

    /// The pages that are not zero, ascending: index and bytes without trailing zeros.
    pub fn pages(&self) -> impl Iterator<Item = (u64, &[u8])> {
        self.tree.pages()
    }

    /// The page tree.
    #[must_use]
    pub const fn tree(&self) -> &PageTree {
        &self.tree
    }

    /// The value's name.
    #[must_use]
    pub fn hash(&self) -> CapHash {
        Self::hash_of(self.content_len(), &self.tree.root())
    }

    /// The name of a Data of this length whose page tree has this root.
    pub(crate) fn hash_of(length: u64, root: &CapHash) -> CapHash {
        hash::digest(Tag::Data, &[&length.to_le_bytes(), root])
    }

    pub(crate) fn hash_cost(&self, limit: u64) -> u64 {
        1 + self.tree.hash_cost(limit)
    }

    pub(crate) const fn take_fresh(&mut self) -> u64 {
        self.tree.take_fresh()
    }
}
