//! The embedder's one seam, and the images that the kernel answers for itself.

use javm_cap::CapHash;
use javm_exec::{GasCounter, Mem, Regs};

/// Names of the images that the kernel recognises by hash: resources as instances (capability machine,
/// section 9).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum KernelImage {
    /// Lists the markers that an instance handles.
    YieldCatcher,
    /// A handle of a gas meter.
    Gas,
    /// A handle of a storage quota.
    Quota,
    /// Sets a gas meter.
    SetGasMeter,
    /// Sets a storage quota.
    SetStorageQuota,
    /// Makes gas handles.
    MintGas,
    /// Makes quota handles.
    MintQuota,
    /// Makes empty catchers.
    CreateYieldCatcher,
    /// A handle of a file.
    File,
    /// The right to open files.
    HostOpen,
    /// The right to save files.
    HostSave,
    /// The marker of "out of gas".
    OogMarker,
    /// The marker of "storage exhausted".
    StorageExhaustedMarker,
    /// The marker of a page fault.
    Pager,
}

impl KernelImage {
    /// Every kernel image.
    pub const ALL: [Self; 14] = [
        Self::YieldCatcher,
        Self::Gas,
        Self::Quota,
        Self::SetGasMeter,
        Self::SetStorageQuota,
        Self::MintGas,
        Self::MintQuota,
        Self::CreateYieldCatcher,
        Self::File,
        Self::HostOpen,
        Self::HostSave,
        Self::OogMarker,
        Self::StorageExhaustedMarker,
        Self::Pager,
    ];

    /// The variant's name, which is what its hash is made of.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::YieldCatcher => "YieldCatcher",
            Self::Gas => "Gas",
            Self::Quota => "Quota",
            Self::SetGasMeter => "SetGasMeter",
            Self::SetStorageQuota => "SetStorageQuota",
            Self::MintGas => "MintGas",
            Self::MintQuota => "MintQuota",
            Self::CreateYieldCatcher => "CreateYieldCatcher",
            Self::File => "File",
            Self::HostOpen => "HostOpen",
            Self::HostSave => "HostSave",
            Self::OogMarker => "OogMarker",
            Self::StorageExhaustedMarker => "StorageExhaustedMarker",
            Self::Pager => "Pager",
        }
    }

    /// The kernel image with this hash.
    #[must_use]
    pub fn from_hash(hash: &CapHash) -> Option<Self> {
        let name = javm_cap::hash::kernel_image(hash)?;
        Self::ALL.into_iter().find(|image| image.name() == name)
    }
}

/// The hash by which the kernel recognises an image of its own: no image value exists for it.
#[must_use]
pub fn kernel_image_hash(image: KernelImage) -> CapHash {
    javm_cap::kernel_image_hash(image.name())
}

/// A chain-defined operation as the embedder sees it.
#[derive(Debug)]
#[non_exhaustive]
pub struct UserCall<'a> {
    /// The operation's number, 64 or larger.
    pub number: u32,
    /// The registers; operands in φ7 … φ12, results go there too.
    pub regs: &'a mut Regs,
    /// Gas left, after the fixed price of such an operation.
    pub gas: &'a mut GasCounter,
}

/// What a chain-defined operation comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum UserCallResult {
    /// Done: the guest goes on.
    Done,
    /// Refused: the guest traps.
    Refused,
    /// Its price cannot be paid: out of gas at the operation, nothing done.
    OutOfGas,
}

/// What an embedder brings: everything that is not a value.
///
/// Each method has a default, so that an embedder writes those that it needs.
pub trait KernelAssist {
    /// Answers operations from 64 on. Must be deterministic: the same registers, memory and state of the
    /// embedder give the same answer. The default knows none.
    fn user_call(&mut self, call: UserCall<'_>, memory: &mut dyn Mem) -> UserCallResult {
        let _ = (call, memory);
        UserCallResult::Refused
    }
}

/// The default: in this process, nothing chain-defined.
#[derive(Clone, Debug, Default)]
pub struct InProcessKernelAssist;

impl InProcessKernelAssist {
    /// The default assistance.
    #[must_use]
    pub const fn new() -> Self {
        Self
    }
}

impl KernelAssist for InProcessKernelAssist {}
