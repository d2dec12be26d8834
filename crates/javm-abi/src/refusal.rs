//! What makes the kernel refuse an operation, in words, for the reference and the documentation of guests.
//!
//! A refusal faults the instance that asked, with `Trap`, and changes nothing. What follows from the kind of an
//! operand is said once, by [`OperandKind::refusal`]; what only one operation refuses, by
//! [`GuestOp::refusals`]. The checks themselves are the dispatcher's. Source: capability machine, section 7.

use crate::ops::{GuestOp, OperandKind};

impl OperandKind {
    /// Every kind of operand.
    pub const ALL: [Self; 7] =
        [Self::Src, Self::Dst, Self::Place, Self::OptionalSrc, Self::Address, Self::Length, Self::Number];

    /// What the register holds, in a few words.
    #[must_use]
    pub const fn describe(self) -> &'static str {
        match self {
            Self::Src => "slot that is read",
            Self::Dst => "slot that is overwritten",
            Self::Place => "slot that may change",
            Self::OptionalSrc => "slot that is read, or 2^64 − 1",
            Self::Address => "address in memory",
            Self::Length => "number of bytes",
            Self::Number => "number",
        }
    }

    /// When an operation refuses such an operand, whatever the operation; empty: never for its kind alone.
    #[must_use]
    pub const fn refusal(self) -> &'static str {
        match self {
            Self::Src => "the register is no slot path, the path leads nowhere, the slot is empty",
            Self::Dst => {
                "the register is no slot path, the path leads nowhere, the slot is pinned or belongs to a \
                 paused call"
            }
            Self::Place => "as for a slot that is read and for one that is overwritten",
            Self::OptionalSrc => "as for a slot that is read, unless it is 2^64 − 1",
            Self::Address => {
                "the bytes (the entries of 8 bytes, for a list) are not all mapped, or not writable where the \
                 operation writes"
            }
            Self::Length | Self::Number => "",
        }
    }
}

impl GuestOp {
    /// What the operation refuses beyond what its operands' kinds say.
    #[must_use]
    pub const fn refusals(self) -> &'static [&'static str] {
        match self {
            Self::Reply | Self::GasLeft | Self::Emit | Self::MgmtCopy | Self::MgmtDrop => &[],
            Self::MgmtMove => &["one path is a prefix of the other"],
            Self::MgmtCnodeSwap => &["one path is a prefix of the other", "(an empty slot is not refused)"],
            Self::MgmtCnodeMint => &["k is above 16"],
            Self::MgmtKind => &["(an empty slot is not refused)"],
            Self::HostYield => &[
                "the marker is no Instance",
                "the marker is one of the kernel's own: OogMarker, StorageExhaustedMarker, Pager",
                "(a marker that nobody catches is no refusal: the yielder faults with code 5)",
            ],
            Self::SetImage => &[
                "the image is no Image",
                "mode 0, and the next pc is no instruction of the new code",
                "mode e + 1, and the image has no endpoint e, or slot 0 is not the cnode that it takes",
                "a slot that the new image pins holds something that the old one did not pin",
                "the new image's memory cannot be laid out over the instance's slots",
            ],
            Self::DeriveSpawn => &[
                "the image is no Image",
                "the cnode is no CNode, or has not 256 slots",
                "one of cnode and dst is a proper prefix of the other",
            ],
            Self::MakeImage => &[
                "the data is no Data, caps is no CNode",
                "the bytes are no encoded image, the image is not valid, or a slot of it names an empty index of caps",
            ],
            Self::HostSameType => &["an operand is neither Instance nor Type"],
            Self::HostTypeOf => &["the operand is no Instance"],
            Self::HostReadDataCap | Self::HostDataSize => &["the operand is no Data"],
            Self::HostMintDataCap => {
                &["quota is no Quota handle", "(a quota that cannot pay is no refusal: storage is exhausted)"]
            }
            Self::HostOpen => {
                &["the handle is neither a HostOpen nor the File of that id", "there is no such file"]
            }
            Self::HostSave => &[
                "the operand is no Data",
                "the handle is no HostSave",
                "quota is no Quota handle",
                "(a quota that cannot pay is no refusal: storage is exhausted)",
            ],
            Self::HostCall => &[
                "the operand is no Instance, or a paused one",
                "the path starts in slot 0, which travels with the call",
                "of a kernel-assisted instance: a slot argument is refused as a slot that is read",
                "(a call that does not start is no refusal: φ8 = 2, φ7 = 7 to 10)",
            ],
            Self::CallResume => &[
                "the slot holds no paused call or paused instance, or not the newest of this instance's",
                "the path starts in slot 0",
                "(the slot of a paused call reads empty and cannot be written; here it is what is meant)",
            ],
            Self::DropPaused => &[
                "the slot holds no paused call or paused instance, or not the newest of this instance's",
                "(the slot of a paused call reads empty and cannot be written; here it is what is meant)",
            ],
            Self::HostSubtype => &["ty is no Type", "a path of the list holds no Image"],
            Self::HostTypeEq => &["an operand is no Type"],
            Self::HostSameTypeAs => {
                &["comparer or comparee is neither Instance nor Type", "a path of the list holds no Image"]
            }
        }
    }
}
