//! Inclusion proofs: that a page belongs to a Data, that a slot of a CNode holds a name.
//!
//! A proof is what the verifier does not know: the length or size beside the root, and the hashes beside
//! the way from the leaf up. Which leaf, and what it holds, is the statement; the verifier brings it. So a
//! proof is O(log n) bytes, needs no value to be checked, and no change of a byte of it, of the statement
//! or of the hash goes unnoticed.
//!
//! Not here: partial values for witnesses.

use super::pages::depth_for;
use crate::error::CapError;
use crate::hash::{self, CapHash};
use crate::kinds::cnode::{CNodeCap, MAX_SIZE_LOG};
use crate::kinds::data::DataCap;
use crate::name::SlotIdx;
use javm_abi::reg::PAGE_SIZE;

/// Proof that a Data of a known hash has a certain page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PageProof {
    /// Stripped length of the Data in bytes.
    length: u64,
    siblings: Vec<CapHash>,
}

/// Proof that a slot of a CNode of a known hash holds a certain name, or nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SlotProof {
    size_log: u8,
    siblings: Vec<CapHash>,
}

/// The root above `leaf`, the `index`-th of its tree.
fn climb(leaf: CapHash, index: u64, siblings: &[CapHash]) -> CapHash {
    siblings.iter().enumerate().fold(leaf, |below, (height, beside)| {
        if index >> height & 1 == 0 { hash::node(&below, beside) } else { hash::node(beside, &below) }
    })
}

fn read_siblings(bytes: &[u8], depth: u8) -> Result<Vec<CapHash>, CapError> {
    if bytes.len() != usize::from(depth) * size_of::<CapHash>() {
        return Err(CapError::Malformed { offset: bytes.len(), reason: "the proof has a wrong length" });
    }
    Ok(bytes.as_chunks().0.to_vec())
}

/// Pages of a Data of this length.
const fn pages_of(length: u64) -> u64 {
    length.div_ceil(PAGE_SIZE as u64)
}

impl PageProof {
    /// The proof for page `index`; `None` if the Data has no such page. Pages are counted over the stripped
    /// length, at least one.
    #[must_use]
    pub fn new(data: &DataCap, index: u64) -> Option<Self> {
        (index < pages_of(data.content_len()).max(1))
            .then(|| Self { length: data.content_len(), siblings: data.tree().siblings(index) })
    }

    /// Whether page `index` of the Data named `data` is `page`, zero padded to 4,096 bytes. Longer pages are
    /// never right.
    #[must_use]
    pub fn verify(&self, data: &CapHash, index: u64, page: &[u8]) -> bool {
        let depth = depth_for(pages_of(self.length));
        page.len() <= PAGE_SIZE
            && index < pages_of(self.length).max(1)
            && self.siblings.len() == usize::from(depth)
            && DataCap::hash_of(self.length, &climb(hash::page(page), index, &self.siblings)) == *data
    }

    /// The proof as bytes: u64 length of the Data, then the hashes beside the way, lowest first.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        [&self.length.to_le_bytes()[..], self.siblings.as_flattened()].concat()
    }

    /// Reads what [`PageProof::to_bytes`] wrote.
    ///
    /// # Errors
    /// [`CapError::Malformed`] if the length is not the one for this Data.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, CapError> {
        let Some((length, rest)) = bytes.split_first_chunk() else {
            return Err(CapError::Malformed { offset: bytes.len(), reason: "the proof is too short" });
        };
        let length = u64::from_le_bytes(*length);
        Ok(Self { length, siblings: read_siblings(rest, depth_for(pages_of(length)))? })
    }
}

impl SlotProof {
    /// The proof for a slot, empty or not.
    ///
    /// # Errors
    /// [`CapError::SlotRange`] if there is no such slot, [`CapError::Unsettled`] if the cnode names working
    /// values.
    pub fn new(cnode: &CNodeCap, slot: SlotIdx) -> Result<Self, CapError> {
        cnode.check(slot)?;
        if cnode.has_refs() {
            return Err(CapError::Unsettled);
        }
        Ok(Self { size_log: cnode.size_log(), siblings: cnode.tree().siblings(u64::from(slot.0)) })
    }

    /// Whether the slot of the CNode named `cnode` holds the value named `content` (`None`: is empty).
    #[must_use]
    pub fn verify(&self, cnode: &CapHash, slot: SlotIdx, content: Option<&CapHash>) -> bool {
        let leaf = content.copied().unwrap_or_default();
        u64::from(slot.0) >> self.size_log == 0
            && self.siblings.len() == usize::from(self.size_log)
            && CNodeCap::hash_of(self.size_log, &climb(leaf, u64::from(slot.0), &self.siblings)) == *cnode
    }

    /// The proof as bytes: u8 k, then the hashes beside the way, lowest first.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        [&[self.size_log][..], self.siblings.as_flattened()].concat()
    }

    /// Reads what [`SlotProof::to_bytes`] wrote.
    ///
    /// # Errors
    /// [`CapError::Malformed`] if the length is not the one for a cnode of this size.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, CapError> {
        match bytes.split_first() {
            Some((size_log, rest)) if *size_log <= MAX_SIZE_LOG => {
                Ok(Self { size_log: *size_log, siblings: read_siblings(rest, *size_log)? })
            }
            _ => Err(CapError::Malformed { offset: 0, reason: "no cnode has this size" }),
        }
    }
}
