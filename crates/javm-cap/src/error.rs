//! What can go wrong, as typed values.
//!
//! Two audiences: [`CapError`] is for the host (a value is missing, an encoding is broken, an embedder
//! asked for something impossible); [`OpError`] says why an operation of a guest was refused, and becomes a
//! trap of that guest with these words in `last_fault`. A function that can meet both returns
//! [`OpFailure`]. Images have their own list, [`ImageError`].

use javm_abi::path::PathError;
use javm_abi::path::SlotPath;

use crate::hash::{CapHash, Hex};
use crate::image::ImageError;
use crate::kinds::Kind;
use crate::name::{CapRef, SlotIdx};
use crate::store::StoreError;

/// What the host did wrong, or what the values it was given lack.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CapError {
    /// A value is named but neither held nor in the store.
    #[error("the value {} is missing", Hex(.hash))]
    Missing {
        /// Its hash.
        hash: CapHash,
    },
    /// A reference names no value of this directory (any more).
    #[error("{reference:?} names no working value of this directory")]
    Dangling {
        /// The reference.
        reference: CapRef,
    },
    /// Working values contain themselves.
    #[error("the working value {reference:?} contains itself")]
    Cycle {
        /// A reference on the circle.
        reference: CapRef,
    },
    /// A value that names working values was to be hashed, proven or encoded.
    #[error("the value names working values: settle it first")]
    Unsettled,
    /// 32 zero bytes are an empty slot, not the name of a value.
    #[error("the all-zero hash names no value")]
    ZeroHash,
    /// A slot past the end of a cnode.
    #[error("slot {slot} of a cnode of {slots} slots")]
    SlotRange {
        /// The slot that was asked for.
        slot: SlotIdx,
        /// How many there are.
        slots: u32,
    },
    /// No cnode has `2^size_log` slots.
    #[error("a cnode of 2^{size_log} slots: the largest has 2^16")]
    CNodeSize {
        /// The size that was asked for.
        size_log: u8,
    },
    /// A value of another kind is needed here.
    #[error("a {expected} is needed, the value {} is a {found}", Hex(.hash))]
    WrongKind {
        /// The value.
        hash: CapHash,
        /// What is needed.
        expected: Kind,
        /// What it is.
        found: Kind,
    },
    /// Bytes that are not the canonical encoding of a value.
    #[error("byte {offset}: {reason}")]
    Malformed {
        /// Where, in bytes from the start.
        offset: usize,
        /// What is wrong.
        reason: &'static str,
    },
    /// Bytes from outside encode another value than the one that was asked for.
    #[error("the content of {} hashes to {}", Hex(.expected), Hex(.found))]
    HashMismatch {
        /// The hash that was asked for.
        expected: CapHash,
        /// The hash of what came.
        found: CapHash,
    },
    /// An image that is not valid.
    #[error("invalid image: {0}")]
    Image(#[from] ImageError),
    /// The store failed.
    #[error("the store failed: {0}")]
    Store(#[from] StoreError),
}

/// Why an operation of a guest is refused. The guest traps; nothing has changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OpError {
    /// A pinned slot was to be written, moved or dropped.
    #[error("slot {slot} is pinned by the image: it can only be read")]
    PinnedSlot {
        /// The root slot.
        slot: u8,
    },
    /// The source slot is empty.
    #[error("slot {path} is empty")]
    EmptySource {
        /// The path.
        path: SlotPath,
    },
    /// A value of the wrong kind.
    #[error("slot {path} holds a {found}, {} is needed", KindList(.expected))]
    WrongKind {
        /// The path.
        path: SlotPath,
        /// What would do.
        expected: &'static [Kind],
        /// What is there.
        found: Kind,
    },
    /// A register holds no slot path.
    #[error("{raw:#x} is no slot path: {reason}")]
    BadPath {
        /// The register.
        raw: u64,
        /// Why not.
        reason: PathError,
    },
    /// A path steps through something that is no cnode.
    #[error("slot {path}: step {step} goes through something that is no cnode")]
    NotACNode {
        /// The path.
        path: SlotPath,
        /// The step, counted from 1.
        step: usize,
    },
    /// A path names a slot past the end of its cnode.
    #[error("slot {path}: index {slot} is outside a cnode of {slots} slots")]
    SlotRange {
        /// The path.
        path: SlotPath,
        /// The index.
        slot: SlotIdx,
        /// How many slots the cnode has.
        slots: u32,
    },
    /// A move or exchange between a path and its own prefix.
    #[error("slots {a} and {b}: one lies inside the other")]
    PrefixMove {
        /// One path.
        a: SlotPath,
        /// The other.
        b: SlotPath,
    },
    /// A path touches the target of a paused call.
    #[error("slot {path} belongs to the paused call in slot {target}")]
    PausedTarget {
        /// The path that was used.
        path: SlotPath,
        /// Where the paused call sits.
        target: SlotPath,
    },
    /// Memory that is not mapped, or not writable.
    #[error("memory at {address:#x}, {length} bytes, is not accessible")]
    UnmappedMemory {
        /// First address.
        address: u64,
        /// How many bytes.
        length: u64,
    },
    /// No operation has this number.
    #[error("there is no operation {number}")]
    UnknownOperation {
        /// The number.
        number: u64,
    },
    /// The operation exists but not here, or not with these operands.
    #[error("not available: {reason}")]
    NotAvailable {
        /// Why.
        reason: &'static str,
    },
    /// A number that the operation does not take.
    #[error("{name} = {value} is out of range")]
    BadNumber {
        /// The operand.
        name: &'static str,
        /// What it holds.
        value: u64,
    },
    /// A cnode of another size is needed.
    #[error("slot {path} holds a cnode of 2^{found} slots, 2^{expected} are needed")]
    CNodeSize {
        /// The path.
        path: SlotPath,
        /// What is needed, as a power of two.
        expected: u8,
        /// What is there, as a power of two.
        found: u8,
    },
    /// An idle instance is needed.
    #[error("the instance in slot {path} is not idle: it can only be resumed or dropped")]
    NotIdle {
        /// The path.
        path: SlotPath,
    },
    /// A paused call is needed.
    #[error("slot {path} holds no paused call that can be resumed or dropped now")]
    NotPaused {
        /// The path.
        path: SlotPath,
    },
    /// A pinned slot of the new image meets content.
    #[error("slot {slot} is pinned by the new image but holds something")]
    PinnedCollision {
        /// The slot.
        slot: SlotIdx,
    },
    /// The new image has no instruction where the program would go on.
    #[error("the new image has no instruction at {pc}")]
    NotAnInstruction {
        /// The pc.
        pc: u64,
    },
    /// The image has no such endpoint.
    #[error("the image has no endpoint {endpoint}")]
    NoSuchEndpoint {
        /// The endpoint.
        endpoint: u64,
    },
    /// A handle of another resource, or none at all.
    #[error("slot {path} holds no {expected} handle")]
    NotAHandle {
        /// The path.
        path: SlotPath,
        /// The kernel image that is needed.
        expected: &'static str,
    },
    /// An image that is not valid.
    #[error("invalid image: {0}")]
    Image(#[from] ImageError),
}

/// Either a guest's mistake, or the host's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OpFailure {
    /// The guest traps.
    #[error(transparent)]
    Refused(#[from] OpError),
    /// The call ends in a host error.
    #[error(transparent)]
    Host(#[from] CapError),
}

/// "Instance or Type".
struct KindList<'a>(&'a [Kind]);

impl core::fmt::Display for KindList<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        self.0.iter().enumerate().try_for_each(|(i, kind)| {
            let link = if i == 0 { "" } else { " or " };
            write!(f, "{link}{kind}")
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words() {
        let path = SlotPath::root(7).step(3).expect("one step");
        let words = [
            (
                OpError::WrongKind { path, expected: &[Kind::Instance, Kind::Type], found: Kind::Data }
                    .to_string(),
                "slot 7/3 holds a Data, Instance or Type is needed",
            ),
            (
                OpError::BadPath { raw: 1 << 62, reason: PathError::HighBits }.to_string(),
                "0x4000000000000000 is no slot path: bits 62..64 of a slot path must be zero",
            ),
            (
                OpError::PinnedSlot { slot: 9 }.to_string(),
                "slot 9 is pinned by the image: it can only be read",
            ),
            (
                OpFailure::from(CapError::Missing { hash: [0xAB; 32] }).to_string(),
                &format!("the value {} is missing", "ab".repeat(32)),
            ),
            (
                CapError::Image(ImageError::SlotZero { field: "pinned_slots" }).to_string(),
                "invalid image: pinned_slots: slot 0 belongs to the caller",
            ),
        ];
        for (found, expected) in words {
            assert_eq!(found, expected);
        }
    }
}
