//! [`ExitReason`]: why a run ended.

/// Why a run ended. All of these are the guest's doing; none is an error of the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ExitReason {
    /// A jump to the halt address (or, in a personality above, a reply).
    Halt,
    /// The `trap` instruction, or an operation that a kernel above the engine refused.
    Trap,
    /// Every other panic: a jump that may not land there, an access to the low 64 KiB, running off the code.
    Panic,
    /// The next basic block, or an operation's price, cannot be paid. Nothing of it was done.
    OutOfGas,
    /// An access to a page that is not mapped or not writable; the number is the page's base address.
    /// Nothing of the access was done; resuming repeats the instruction.
    PageFault(u32),
    /// An `ecalli` that the handler left to the caller of [`run`](crate::Instance::run): its immediate.
    HostCall(u32),
    /// An `ecall` that the handler left to the caller of [`run`](crate::Instance::run).
    Ecall,
}

impl core::fmt::Display for ExitReason {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Halt => f.write_str("halt"),
            Self::Trap => f.write_str("trap"),
            Self::Panic => f.write_str("panic"),
            Self::OutOfGas => f.write_str("out of gas"),
            Self::PageFault(address) => write!(f, "page fault at {address:#x}"),
            Self::HostCall(n) => write!(f, "host call {n}"),
            Self::Ecall => f.write_str("ecall"),
        }
    }
}
