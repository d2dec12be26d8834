//! The five kinds of values, and [`Cap`], which is any of them.
//!
//! Each kind has a file that tells what it holds, how it is hashed and what its parts may be. Values are
//! immutable where they are shared: a clone is a few pointers, and changing a clone never shows elsewhere.
//! No kind owns another value, it only names it; so dropping a value never recurses.

pub(crate) mod cnode;
pub(crate) mod data;
pub mod image;
pub(crate) mod instance;
pub(crate) mod type_;

use crate::error::CapError;
use crate::hash::CapHash;
use crate::name::{CapHashOrRef, SlotIdx};
use cnode::CNodeCap;
use data::DataCap;
use image::{Image, ImageCap};
use instance::{InstanceCap, Memory, Status};
use javm_abi::reg::NUM_REGS;
use type_::TypeCap;

/// A capability value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cap {
    /// State that can be invoked.
    Instance(InstanceCap),
    /// A program.
    Image(ImageCap),
    /// Bytes.
    Data(DataCap),
    /// A table of slots.
    CNode(CNodeCap),
    /// A lineage, for comparing.
    Type(TypeCap),
}

/// What a value is. The numbers are those of `MGMT_KIND`, where 0 is an empty slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Kind {
    /// [`Cap::Instance`].
    Instance = 1,
    /// [`Cap::Image`].
    Image = 2,
    /// [`Cap::Data`].
    Data = 3,
    /// [`Cap::CNode`].
    CNode = 4,
    /// [`Cap::Type`].
    Type = 5,
}

impl Kind {
    /// The number that `MGMT_KIND` gives: 1 to 5.
    #[must_use]
    pub const fn number(self) -> u8 {
        self as u8
    }
}

impl core::fmt::Display for Kind {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            Self::Instance => "Instance",
            Self::Image => "Image",
            Self::Data => "Data",
            Self::CNode => "CNode",
            Self::Type => "Type",
        })
    }
}

impl Cap {
    /// A Data of these bytes, trailing zeros stripped.
    #[must_use]
    pub fn data_inline(bytes: &[u8]) -> Self {
        Self::Data(DataCap::new(bytes))
    }

    /// An empty cnode of `2^size_log` slots.
    ///
    /// # Errors
    /// [`CapError::CNodeSize`] if `size_log` is more than 16.
    pub fn empty_cnode(size_log: u8) -> Result<Self, CapError> {
        CNodeCap::new(size_log).map(Self::CNode)
    }

    /// The image with more pinned and initial slots, validated. That pinned values are Data or images is
    /// checked where values are at hand: [`CacheDirectory::put_cap`](crate::CacheDirectory::put_cap).
    ///
    /// # Errors
    /// [`CapError::Image`] where the image is not valid, or a slot is given twice: in both lists, or here and
    /// in the image's own maps.
    pub fn image_with_slots(
        image: &Image,
        pinned: &[(SlotIdx, CapHash)],
        initial: &[(SlotIdx, CapHash)],
    ) -> Result<Self, CapError> {
        let mut image = image.clone();
        for (map, more, field) in [
            (&mut image.pinned_slots, pinned, "pinned_slots"),
            (&mut image.initial_slots, initial, "initial_slots"),
        ] {
            for (slot, hash) in more {
                if map.insert(*slot, *hash).is_some() {
                    return Err(image::ImageError::DuplicateSlot { field, slot: *slot }.into());
                }
            }
        }
        Ok(Self::Image(ImageCap::new(image)?))
    }

    /// An idle instance with saved registers and anonymous memory `[0, mem_size)` holding the overlays
    /// `(start, bytes)`; later overlays win over earlier ones.
    ///
    /// An overlay, or the part of it, past `mem_size` is clipped: there is no memory to hold it.
    /// `gas_remaining` is not kept, because no value carries spendable gas (section 8).
    #[must_use]
    #[expect(clippy::too_many_arguments, reason = "a public name of the specification, section 11")]
    pub fn instance_with_overlays(
        image_hash_chain: CapHash,
        image_hash: CapHash,
        root_cnode: CapHash,
        rw_overlays: &[(u32, &[u8])],
        mem_size: u32,
        regs: [u64; NUM_REGS],
        pc: u64,
        gas_remaining: u64,
    ) -> Self {
        let _ = gas_remaining;
        let mut memory = Memory::new(mem_size);
        for (start, bytes) in rw_overlays {
            memory.overlay(*start, bytes);
        }
        let mut instance = InstanceCap::new(image_hash_chain, image_hash, root_cnode.into());
        instance.set_status(Status::Idle { regs, pc });
        instance.set_memory(memory);
        Self::Instance(instance)
    }

    /// What the value is.
    #[must_use]
    pub const fn kind(&self) -> Kind {
        match self {
            Self::Instance(_) => Kind::Instance,
            Self::Image(_) => Kind::Image,
            Self::Data(_) => Kind::Data,
            Self::CNode(_) => Kind::CNode,
            Self::Type(_) => Kind::Type,
        }
    }

    /// The value's name. Costs what changed since it, or the value it was made from, was last hashed.
    ///
    /// # Errors
    /// [`CapError::Unsettled`] if the value names working values.
    pub fn hash(&self) -> Result<CapHash, CapError> {
        if self.has_refs() {
            return Err(CapError::Unsettled);
        }
        Ok(match self {
            Self::Instance(instance) => instance.digest(),
            Self::Image(image) => image.hash(),
            Self::Data(data) => data.hash(),
            Self::CNode(cnode) => cnode.digest(),
            Self::Type(ty) => ty.hash(),
        })
    }

    /// How many BLAKE2b compressions [`Cap::hash`] would take now, working values that it names apart. Stops
    /// counting past `limit`.
    #[must_use]
    pub fn hash_cost(&self, limit: u64) -> u64 {
        match self {
            Self::Instance(instance) => instance.hash_cost(limit),
            Self::Image(image) => image.hash_cost(),
            Self::Data(data) => data.hash_cost(limit),
            Self::CNode(cnode) => cnode.hash_cost(limit),
            Self::Type(ty) => ty.hash_cost(),
        }
    }

    /// Whether the value names working values.
    #[must_use]
    pub fn has_refs(&self) -> bool {
        match self {
            Self::Instance(instance) => instance.has_refs(),
            Self::CNode(cnode) => cnode.has_refs(),
            Self::Image(_) | Self::Data(_) | Self::Type(_) => false,
        }
    }

    /// Shows `visit` every value that this one names: the slots of a cnode, the image, the root cnode and the
    /// marker of an instance, the pinned and initial slots of an image. Lineages are not names of values.
    pub fn for_each_child(&self, mut visit: impl FnMut(CapHashOrRef)) {
        match self {
            Self::Instance(instance) => instance.children().for_each(visit),
            Self::Image(image) => image.children().for_each(|hash| visit(hash.into())),
            Self::CNode(cnode) => cnode.iter().for_each(|(_, name)| visit(name)),
            Self::Data(_) | Self::Type(_) => {}
        }
    }
}

impl From<InstanceCap> for Cap {
    fn from(instance: InstanceCap) -> Self {
        Self::Instance(instance)
    }
}

impl From<ImageCap> for Cap {
    fn from(image: ImageCap) -> Self {
        Self::Image(image)
    }
}

impl From<DataCap> for Cap {
    fn from(data: DataCap) -> Self {
        Self::Data(data)
    }
}

impl From<CNodeCap> for Cap {
    fn from(cnode: CNodeCap) -> Self {
        Self::CNode(cnode)
    }
}

impl From<TypeCap> for Cap {
    fn from(ty: TypeCap) -> Self {
        Self::Type(ty)
    }
}

// Every nested call makes a few values; the rare parts of an instance live behind one pointer.
const _: () = assert!(size_of::<Cap>() <= 128);
