//! [`VmError`]: what the host did wrong, or what the values it was given lack.
//!
//! Nothing that a guest does ends here; see [`fault`](crate::fault) for that.

use javm_cap::{CapError, CapHash, Kind};

use crate::fault::NotStarted;

/// Why a call could not be made or finished. The stack is empty afterwards, and no value was changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum VmError {
    /// A value is missing, malformed, or of another kind than the one that names it says.
    #[error(transparent)]
    Cap(#[from] CapError),
    /// Only instances can be invoked.
    #[error("only an instance can be invoked, this is a {found}")]
    NotAnInstance {
        /// What it is.
        found: Kind,
    },
    /// The instance is paused or waiting: it can be resumed, not invoked.
    #[error("the instance is not idle")]
    NotIdle,
    /// The kernel answers for this instance; it cannot be invoked from outside.
    #[error("kernel-assisted instances are called by guests only")]
    KernelAssisted {
        /// Its image.
        image: CapHash,
    },
    /// A call is under way on this stack.
    #[error("the stack is not empty: a paused call is on it")]
    Busy,
    /// An instance's root cnode must have 256 slots.
    #[error("the root cnode of an instance has 256 slots, this one has 2^{size_log}")]
    RootSize {
        /// The size that was found, as a power of two.
        size_log: u8,
    },
    /// The root cnode of an instance must be a cnode.
    #[error("the root cnode of an instance is a {found}")]
    RootKind {
        /// What it is.
        found: Kind,
    },
    /// There is no paused call to go on with, to drop or to take off.
    #[error("no call is paused")]
    NotPaused,
    /// A paused value that no machine can have made.
    #[error("the paused value cannot be restored: {why}")]
    Malformed {
        /// What is wrong with it.
        why: NotStarted,
    },
    /// A paused instance has more pending events than a value can hold.
    #[error("too many events are pending")]
    TooManyEvents,
}
