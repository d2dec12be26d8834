//! Names: slots, references to working values, and "a hash or a reference".
//!
//! All of them are small and `Copy`: a slot is read through a shared borrow of the value that holds it.
//! What a [`CapRef`] means is the business of the directory that made it.

use crate::hash::CapHash;

/// An index into one cnode, `0 ..= 65535`. Larger numbers exist as values of this type, but no cnode has
/// such a slot, and every operation says so.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SlotIdx(
    /// The index.
    pub u32,
);

impl core::fmt::Display for SlotIdx {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "{}", self.0)
    }
}

impl From<u8> for SlotIdx {
    fn from(slot: u8) -> Self {
        Self(u32::from(slot))
    }
}

/// A working value: it lives in the one [`CacheDirectory`](crate::CacheDirectory) that made the reference
/// and has no hash yet.
///
/// A reference to a value that has left the directory names nothing; it never comes to name another value,
/// because a place that is used again gets a new generation.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct CapRef {
    pub(crate) index: u32,
    pub(crate) generation: u32,
}

impl core::fmt::Debug for CapRef {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "CapRef({}.{})", self.index, self.generation)
    }
}

/// What a slot holds when it is not empty: the name of a settled value, or a working value.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub enum CapHashOrRef {
    /// A settled value. Its content need not be at hand.
    Hash(CapHash),
    /// A working value of one directory.
    Ref(CapRef),
}

impl CapHashOrRef {
    /// The hash, when this names a settled value.
    #[must_use]
    pub const fn as_hash(&self) -> Option<&CapHash> {
        match self {
            Self::Hash(hash) => Some(hash),
            Self::Ref(_) => None,
        }
    }

    /// Whether this names a working value.
    #[must_use]
    pub const fn is_ref(&self) -> bool {
        matches!(self, Self::Ref(_))
    }
}

impl From<CapHash> for CapHashOrRef {
    fn from(hash: CapHash) -> Self {
        Self::Hash(hash)
    }
}

impl From<CapRef> for CapHashOrRef {
    fn from(reference: CapRef) -> Self {
        Self::Ref(reference)
    }
}

impl core::fmt::Debug for CapHashOrRef {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Hash(hash) => write!(f, "Hash({})", crate::hash::Hex(hash)),
            Self::Ref(reference) => write!(f, "{reference:?}"),
        }
    }
}
