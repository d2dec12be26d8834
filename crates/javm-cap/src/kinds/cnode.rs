//! `Cap::CNode`: a sparse table of `2^k` slots, `0 <= k <= 16`.
//!
//! Storage, and the argument of constructors. Only occupied slots take memory. A clone is one pointer; a
//! write copies the nodes on its path that are shared. Slots may name working values; such a cnode has no
//! hash until it is settled.

use crate::error::CapError;
use crate::hash::{self, CapHash, Tag};
use crate::name::{CapHashOrRef, SlotIdx};
use crate::tree::slots::SlotTree;

/// The largest cnode has `2^16` slots.
pub const MAX_SIZE_LOG: u8 = javm_abi::path::MAX_CNODE_LOG;

/// The root cnode of an instance has `2^8` slots.
pub const ROOT_SIZE_LOG: u8 = 8;

/// A table of slots.
#[derive(Clone, PartialEq, Eq)]
pub struct CNodeCap {
    slots: SlotTree,
}

impl CNodeCap {
    /// An empty cnode of `2^size_log` slots.
    ///
    /// # Errors
    /// [`CapError::CNodeSize`] if `size_log` is more than 16.
    pub const fn new(size_log: u8) -> Result<Self, CapError> {
        if size_log > MAX_SIZE_LOG {
            return Err(CapError::CNodeSize { size_log });
        }
        Ok(Self { slots: SlotTree::new(size_log) })
    }

    /// An empty root cnode: 256 slots.
    #[must_use]
    pub const fn new_root() -> Self {
        Self { slots: SlotTree::new(ROOT_SIZE_LOG) }
    }

    /// The size as a power of two, `0 ..= 16`.
    #[must_use]
    pub const fn size_log(&self) -> u8 {
        self.slots.depth()
    }

    /// How many slots there are.
    #[must_use]
    pub const fn slots(&self) -> u32 {
        1 << self.slots.depth()
    }

    /// How many slots are not empty.
    #[must_use]
    pub fn occupied(&self) -> u64 {
        self.slots.count()
    }

    pub(crate) const fn check(&self, slot: SlotIdx) -> Result<(), CapError> {
        if slot.0 < self.slots() { Ok(()) } else { Err(CapError::SlotRange { slot, slots: self.slots() }) }
    }

    /// Whether neither has changed since one was cloned from the other. Cheap; `false` does not mean that they
    /// differ.
    #[must_use]
    pub fn is_copy_of(&self, other: &Self) -> bool {
        self.slots.is_copy_of(&other.slots)
    }

    /// What the slot holds; `None` if it is empty or past the end.
    #[must_use]
    pub fn get(&self, slot: SlotIdx) -> Option<CapHashOrRef> {
        self.slots.get(u64::from(slot.0)).copied()
    }

    /// Fills or empties a slot, and returns what it held.
    ///
    /// # Errors
    /// [`CapError::SlotRange`] past the end; [`CapError::ZeroHash`] for the hash that stands for "empty".
    /// Nothing has changed then.
    pub fn set(
        &mut self,
        slot: SlotIdx,
        content: Option<CapHashOrRef>,
    ) -> Result<Option<CapHashOrRef>, CapError> {
        self.check(slot)?;
        if content == Some(CapHashOrRef::Hash([0; 32])) {
            return Err(CapError::ZeroHash);
        }
        Ok(self.slots.set(u64::from(slot.0), content))
    }

    /// Empties a slot and returns what it held.
    ///
    /// # Errors
    /// [`CapError::SlotRange`] past the end.
    pub fn take(&mut self, slot: SlotIdx) -> Result<Option<CapHashOrRef>, CapError> {
        self.set(slot, None)
    }

    /// The slots that are not empty, ascending.
    pub fn iter(&self) -> impl Iterator<Item = (SlotIdx, CapHashOrRef)> {
        self.slots.iter().map(|(index, name)| (SlotIdx(index as u32), *name))
    }

    /// The slots that name working values, ascending. Costs those, not the others.
    pub fn refs(&self) -> impl Iterator<Item = (SlotIdx, CapHashOrRef)> {
        self.slots.refs().map(|(index, name)| (SlotIdx(index as u32), *name))
    }

    /// Whether a slot names a working value.
    #[must_use]
    pub fn has_refs(&self) -> bool {
        self.slots.has_refs()
    }

    /// The name of a cnode without working values.
    pub(crate) fn digest(&self) -> CapHash {
        Self::hash_of(self.size_log(), &self.slots.root())
    }

    /// The name of a cnode of this size whose slot tree has this root.
    pub(crate) fn hash_of(size_log: u8, root: &CapHash) -> CapHash {
        hash::digest(Tag::CNode, &[&[size_log], root])
    }

    pub(crate) fn hash_cost(&self, limit: u64) -> u64 {
        1 + self.slots.cost(limit)
    }

    pub(crate) const fn tree(&self) -> &SlotTree {
        &self.slots
    }
}

impl core::fmt::Debug for CNodeCap {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "CNode(2^{})", self.size_log())?;
        f.debug_map().entries(self.iter().map(|(slot, name)| (slot.0, name))).finish()
    }
}
