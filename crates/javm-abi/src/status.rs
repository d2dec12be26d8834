//! Results of a call as the caller's registers show them: φ8 the status, φ7 the detail (capability
//! machine, section 6).

/// φ8 after a call: the callee halted; φ7 is its value and its slot holds its new value.
pub const OK: u64 = 0;
/// φ8 after a call: something below yielded to the caller; φ7 is 1 + the marker's position in the catcher.
pub const PAUSED: u64 = 1;
/// φ8 after a call: the callee faulted; φ7 is a [`FaultCode`] and its slot holds its value from before.
pub const FAULTED: u64 = 2;

/// Why a call faulted, as φ7 of the caller shows it when φ8 is [`FAULTED`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
#[non_exhaustive]
pub enum FaultCode {
    /// The `trap` instruction, or an operation that the kernel refused.
    Trap = 1,
    /// Any other panic of the machine: a bad jump, the low 64 KiB, running off the code.
    Panic = 2,
    /// The gas that could pay for the callee ran out and nobody caught it.
    OutOfGas = 3,
    /// An access to an inaccessible page, and no pager.
    PageFault = 4,
    /// A yield whose marker nobody catches.
    UnhandledMarker = 5,
    /// The storage quota could not pay for the commit, and nobody caught it.
    StorageExhausted = 6,
    /// The call would exceed the depth limit; the callee did not start.
    Depth = 7,
    /// The callee's memory cannot be laid out (a source larger than its mapping, a wrong slot 0); the
    /// callee did not start.
    Layout = 8,
    /// The callee has no such endpoint; the callee did not start.
    NoSuchEndpoint = 9,
    /// The kernel-assisted instance refused the call; nothing changed.
    Refused = 10,
}

impl FaultCode {
    /// Every code, in order of its number.
    pub const ALL: [Self; 10] = [
        Self::Trap,
        Self::Panic,
        Self::OutOfGas,
        Self::PageFault,
        Self::UnhandledMarker,
        Self::StorageExhausted,
        Self::Depth,
        Self::Layout,
        Self::NoSuchEndpoint,
        Self::Refused,
    ];

    /// The number that φ7 shows.
    #[must_use]
    pub const fn number(self) -> u64 {
        self as u64
    }

    /// The code with this number, if there is one.
    #[must_use]
    pub const fn from_number(n: u64) -> Option<Self> {
        if n >= 1 && n <= 10 { Some(Self::ALL[(n - 1) as usize]) } else { None }
    }
}

/// Host-call result "no such call": what a flat program without a host gets in φ7 (Gray Paper, appendix B).
pub const WHAT: u64 = u64::MAX - 1;
