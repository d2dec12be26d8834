//! `Cap::Type`: one lineage hash. It identifies, and never grants anything.

use crate::hash::{self, CapHash, Tag};

/// A lineage as a value of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TypeCap {
    /// The lineage (`image_hash_chain`) that the type stands for.
    pub lineage: CapHash,
}

impl TypeCap {
    /// The type of instances of this lineage.
    #[must_use]
    pub const fn new(lineage: CapHash) -> Self {
        Self { lineage }
    }

    /// The value's name.
    #[must_use]
    pub fn hash(&self) -> CapHash {
        hash::digest(Tag::Type, &[&self.lineage])
    }

    pub(crate) const fn hash_cost(&self) -> u64 {
        hash::cost(self.lineage.len() as u64)
    }
}
