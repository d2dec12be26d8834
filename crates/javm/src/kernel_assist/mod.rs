//! The embedder's one seam, and the images that the kernel answers for itself.

use std::{collections::BTreeMap, sync::OnceLock};

use javm_cap::{
    CNodeCap, CacheDirectory, Cap, CapError, CapHash, CapHashOrRef, InstanceCap, Memory, SlotIdx, lineage,
};
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

/// The canonical instance of a kernel image that has no state: markers, rights. Its lineage is genesis, its
/// table empty.
///
/// # Errors
/// Never in practice: the table of 256 empty slots is always valid.
pub fn kernel_instance(cache: &mut CacheDirectory, image: KernelImage) -> Result<CapHash, CapError> {
    put_kernel_instance(cache, image, None)
}

/// A handle: an instance of a kernel image whose memory starts with an id.
///
/// # Errors
/// Never in practice: the table of 256 empty slots is always valid.
pub fn kernel_handle(cache: &mut CacheDirectory, image: KernelImage, id: u64) -> Result<CapHash, CapError> {
    put_kernel_instance(cache, image, Some(id))
}

/// A catcher that lists these markers, in this order.
///
/// # Errors
/// [`CapError::SlotRange`] for more than 255 markers.
pub fn kernel_catcher(cache: &mut CacheDirectory, markers: &[CapHash]) -> Result<CapHash, CapError> {
    let mut table = CNodeCap::new_root();
    for (slot, marker) in (1..).zip(markers) {
        table.set(SlotIdx(slot), Some(CapHashOrRef::Hash(*marker)))?;
    }
    let root = cache.put_cap(&Cap::CNode(table))?;
    let image = kernel_image_hash(KernelImage::YieldCatcher);
    cache.put_cap(&Cap::Instance(InstanceCap::new(lineage::genesis(image), image, root.into())))
}

fn put_kernel_instance(
    cache: &mut CacheDirectory,
    image: KernelImage,
    id: Option<u64>,
) -> Result<CapHash, CapError> {
    let root = cache.put_cap(&Cap::CNode(CNodeCap::new_root()))?;
    let mut instance = bare_instance(image, id);
    instance.root_cnode = root.into();
    cache.put_cap(&Cap::Instance(instance))
}

/// A kernel instance whose table has yet to be set.
fn bare_instance(image: KernelImage, id: Option<u64>) -> InstanceCap {
    let hash = kernel_image_hash(image);
    let mut instance = InstanceCap::new(lineage::genesis(hash), hash, CapHashOrRef::Hash([0; 32]));
    if let Some(id) = id {
        let mut memory = Memory::new(8);
        memory.overlay(0, &id.to_le_bytes());
        instance.set_memory(memory);
    }
    instance
}

/// The same handle as a working value: nothing is hashed.
pub(crate) fn working_handle(
    cache: &mut CacheDirectory,
    image: KernelImage,
    id: Option<u64>,
) -> CapHashOrRef {
    let mut instance = bare_instance(image, id);
    instance.root_cnode = CapHashOrRef::Ref(cache.insert_working(Cap::CNode(CNodeCap::new_root())));
    CapHashOrRef::Ref(cache.insert_working(Cap::Instance(instance)))
}

/// The hash of the canonical instance of a marker.
#[must_use]
pub fn marker_hash(image: KernelImage) -> CapHash {
    static MARKERS: OnceLock<[(KernelImage, CapHash); 3]> = OnceLock::new();
    let markers = MARKERS.get_or_init(|| {
        [KernelImage::OogMarker, KernelImage::StorageExhaustedMarker, KernelImage::Pager].map(|image| {
            let mut scratch = CacheDirectory::new();
            (image, kernel_instance(&mut scratch, image).unwrap_or_default())
        })
    });
    markers.iter().find(|(of, _)| *of == image).map_or([0; 32], |(_, hash)| *hash)
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
    OutOfGas {
        /// The price, beyond the fixed one of such an operation.
        price: u64,
    },
}

/// What saving a file comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SaveResult {
    /// Saved under this id.
    Saved(u64),
    /// The quota cannot pay; nothing changed.
    QuotaExhausted,
}

/// What an embedder brings: everything that is not a value.
///
/// All of it must be deterministic: the same calls in the same order give the same answers. Meter 0 is the
/// root pool, which the machine keeps itself; these methods are never asked about it.
///
/// What is done through these methods stands, also when the call that asked for it faults or is dropped: a
/// fault takes back values, and these are none. An embedder that wants a whole invocation to be all or nothing
/// keeps a copy of its tables. (`docs/capability-machine.md`, "What a fault does not take back".)
pub trait KernelAssist {
    /// Balance of a gas meter; 0 for one that nobody set.
    fn gas_meter(&self, id: u64) -> u64;

    /// Sets a gas meter and returns its previous balance.
    fn set_gas_meter(&mut self, id: u64, value: u64) -> u64;

    /// What is left of a storage quota in bytes; 0 for one that nobody set.
    fn quota(&self, id: u64) -> u64;

    /// Sets a storage quota and returns what was left of it.
    fn set_quota(&mut self, id: u64, value: u64) -> u64;

    /// The content of a file; `None` if there is no such file.
    fn open_file(&mut self, id: u64) -> Option<CapHash>;

    /// Saves a Data, `size` bytes stripped, as a file, debiting `quota` (`None`: storage is free). All or
    /// nothing.
    fn save_file(&mut self, content: CapHash, size: u64, quota: Option<u64>) -> SaveResult;

    /// Whether the embedder handles a yield of this marker that nobody on the stack catches. The default
    /// handles none.
    fn catches_at_root(&self, marker: &CapHash) -> bool {
        let _ = marker;
        false
    }

    /// Answers operations from 64 on. The default knows none.
    fn user_call(&mut self, call: UserCall<'_>, memory: &mut dyn Mem) -> UserCallResult {
        let _ = (call, memory);
        UserCallResult::Refused
    }
}

/// The default, in memory: meters, quotas and files in this process, and the markers that the embedder said
/// it handles.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct InProcessKernelAssist {
    meters: BTreeMap<u64, u64>,
    quotas: BTreeMap<u64, u64>,
    files: BTreeMap<u64, CapHash>,
    root_markers: Vec<CapHash>,
}

impl InProcessKernelAssist {
    /// Nothing: no gas in any meter, no storage in any quota, no files, no markers.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Says that the embedder handles yields of this marker: a call that yields it, with nobody on the stack
    /// to catch it, ends in [`CallResult::Paused`](crate::CallResult::Paused).
    pub fn catch_at_root(&mut self, marker: CapHash) {
        if !self.root_markers.contains(&marker) {
            self.root_markers.push(marker);
        }
    }

    /// The files, by id.
    #[must_use]
    pub const fn files(&self) -> &BTreeMap<u64, CapHash> {
        &self.files
    }
}

impl KernelAssist for InProcessKernelAssist {
    fn gas_meter(&self, id: u64) -> u64 {
        self.meters.get(&id).copied().unwrap_or(0)
    }

    fn set_gas_meter(&mut self, id: u64, value: u64) -> u64 {
        self.meters.insert(id, value).unwrap_or(0)
    }

    fn quota(&self, id: u64) -> u64 {
        self.quotas.get(&id).copied().unwrap_or(0)
    }

    fn set_quota(&mut self, id: u64, value: u64) -> u64 {
        self.quotas.insert(id, value).unwrap_or(0)
    }

    fn open_file(&mut self, id: u64) -> Option<CapHash> {
        self.files.get(&id).copied()
    }

    fn save_file(&mut self, content: CapHash, size: u64, quota: Option<u64>) -> SaveResult {
        if let Some(quota) = quota {
            let Some(left) = self.quota(quota).checked_sub(size) else { return SaveResult::QuotaExhausted };
            self.set_quota(quota, left);
        }
        let id = self.files.last_key_value().map_or(0, |(id, _)| id + 1);
        self.files.insert(id, content);
        SaveResult::Saved(id)
    }

    fn catches_at_root(&self, marker: &CapHash) -> bool {
        self.root_markers.contains(marker)
    }
}
