//! Trees of slots: the leaf is the name that a slot holds, 32 zero bytes where it is empty.
//!
//! The tree itself is [`Tree`]; which indices exist and what a guest may do with
//! them is told in `kinds/cnode.rs`.

use super::{Leaf, Tree};
use crate::hash::{self, CapHash, HEIGHTS};
use crate::name::CapHashOrRef;

/// The slots of a cnode.
pub(crate) type SlotTree = Tree<CapHashOrRef>;

impl Leaf for CapHashOrRef {
    fn zeros() -> &'static [CapHash; HEIGHTS] {
        &hash::ZERO_SLOTS
    }

    fn is_ref(&self) -> bool {
        Self::is_ref(self)
    }

    fn hash_all(_: &[Self]) {}

    fn name(&self) -> CapHash {
        self.as_hash().copied().unwrap_or_default()
    }

    fn cost(&self) -> u64 {
        0
    }
}
