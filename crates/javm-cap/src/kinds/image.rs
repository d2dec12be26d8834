//! `Cap::Image`: a program, and what makes it a valid one.
//!
//! [`Image`] is the plain struct that programs fill in; [`ImageCap`] is the value: checked, normalised
//! (bitmask cut to the code and its padding cleared), hashed once. Its bytes are in `encode/image.rs`.
//!
//! Where section 4 is silent:
//! * a mapping starts at a page boundary; its size is any number of bytes from 1 on and is rounded up to
//!   whole pages for everything that follows (access, disjointness, what a source may be long);
//! * only slot 0 itself is no mapping source; a path into a cnode that sits in slot 0 is one;
//! * names of slots in `gas_slots`, `quota_slots` and `yield_marker_slot` must be root slots; a slot may be
//!   listed twice and may be pinned, which only means that it never pays;
//! * the kinds of pinned values are checked against the values that are at hand ([`ImageCap::check_pinned`]);
//!   of a missing one, the kind shows when it is read;
//! * the canonical encoding is at most [`MAX_ENCODED_LEN`] bytes.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use javm_abi::path::{PathError, SlotPath};
use javm_abi::reg::{NUM_REGS, PAGE_SIZE};
use javm_isa::code::{Code, CodeError};

use super::Kind;
use super::cnode::{MAX_SIZE_LOG, ROOT_SIZE_LOG};
use super::data::DataCap;
use crate::encode::image as wire;
use crate::hash::{self, CapHash, Tag};
use crate::name::SlotIdx;

/// The longest canonical encoding of an image in bytes: 128 MiB, which is more than the largest code with its
/// bitmask and the largest jump table need.
pub const MAX_ENCODED_LEN: usize = 128 << 20;

/// How many slots the root cnode of an instance has.
const ROOT_SLOTS: u32 = 1 << ROOT_SIZE_LOG;

/// Addresses end at 4 GiB.
const ADDRESS_END: u64 = 1 << 32;

/// An entry point of a program.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct EndpointDef {
    /// Where it starts: the offset of an instruction.
    pub entry_pc: u64,
    /// Registers at entry, before the instance's own and the arguments are laid over them.
    pub initial_regs: [u64; NUM_REGS],
    /// `k > 0`: slot 0 must hold a cnode of `2^k` slots; 0: anything.
    pub arg_cnode_size: u8,
}

/// Where the bytes of a mapping come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MappingSource {
    /// A Data in this slot: read-only if the slot is pinned, else read-write and persistent.
    Slot(SlotPath),
    /// Zeros, and gone at HALT.
    Ephemeral,
}

/// A stretch of memory that a call lays out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemoryMapping {
    /// First address, a multiple of 4,096.
    pub start: u64,
    /// Length in bytes, at least 1; rounded up to whole pages.
    pub size: u64,
    /// Where the bytes come from.
    pub source: MappingSource,
}

impl MemoryMapping {
    /// First page.
    #[must_use]
    pub const fn first_page(&self) -> u64 {
        self.start / PAGE_SIZE as u64
    }

    /// How many pages it covers.
    #[must_use]
    pub const fn pages(&self) -> u64 {
        self.size.div_ceil(PAGE_SIZE as u64)
    }

    /// First address behind it, a multiple of 4,096. Of a mapping of a valid image at most `2^32`.
    #[must_use]
    pub const fn end(&self) -> u64 {
        self.start.saturating_add(self.pages().saturating_mul(PAGE_SIZE as u64))
    }
}

/// A program as its author writes it down. [`ImageCap::new`] checks it.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Image {
    /// Instructions, canonical numbering.
    pub code: Vec<u8>,
    /// One bit per byte of code, least significant first, set where an instruction starts. Bits past the end
    /// of the code are ignored.
    pub packed_bitmask: Vec<u8>,
    /// Targets of dynamic jumps.
    pub jump_table: Vec<u32>,
    /// Entry points. None at all: one implicit endpoint 0 at pc 0.
    pub endpoints: BTreeMap<u8, EndpointDef>,
    /// What memory a call lays out.
    pub memory_mappings: Vec<MemoryMapping>,
    /// Where `Gas` handles sit; the first that can pay, pays.
    pub gas_slots: Vec<SlotIdx>,
    /// Where `Quota` handles sit; the first that can pay, pays.
    pub quota_slots: Vec<SlotIdx>,
    /// Data or images that are part of the program, read-only.
    pub pinned_slots: BTreeMap<SlotIdx, CapHash>,
    /// Defaults for a first instance.
    pub initial_slots: BTreeMap<SlotIdx, CapHash>,
    /// Where the `YieldCatcher` sits.
    pub yield_marker_slot: Option<SlotIdx>,
}

/// Why an image is not valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ImageError {
    /// The code is no program.
    #[error(transparent)]
    Code(#[from] CodeError),
    /// An endpoint does not start at an instruction.
    #[error("endpoint {endpoint} starts at {pc}, where no instruction starts")]
    EndpointPc {
        /// The endpoint.
        endpoint: u8,
        /// Its code offset.
        pc: u64,
    },
    /// An endpoint asks for a cnode that there cannot be.
    #[error("endpoint {endpoint} asks for a cnode of 2^{size_log} slots: the largest has 2^16")]
    ArgCNodeSize {
        /// The endpoint.
        endpoint: u8,
        /// The size it asks for.
        size_log: u8,
    },
    /// A mapping does not start at a page boundary.
    #[error("mapping {index} starts at {start:#x}, not at a page boundary")]
    MappingUnaligned {
        /// Position in the list.
        index: usize,
        /// Its start.
        start: u64,
    },
    /// A mapping of nothing.
    #[error("mapping {index} has no bytes")]
    MappingEmpty {
        /// Position in the list.
        index: usize,
    },
    /// A mapping reaches past 4 GiB.
    #[error("mapping {index} at {start:#x}, {size} bytes, reaches past 4 GiB")]
    MappingRange {
        /// Position in the list.
        index: usize,
        /// Its start.
        start: u64,
        /// Its size.
        size: u64,
    },
    /// Two mappings share a page.
    #[error("mappings {first} and {second} share a page")]
    MappingOverlap {
        /// Position of the one with the lower start.
        first: usize,
        /// Position of the other.
        second: usize,
    },
    /// The source of a mapping is no slot path.
    #[error("mapping {index}: {raw:#x} is no slot path: {reason}")]
    SourcePath {
        /// Position in the list.
        index: usize,
        /// What is there.
        raw: u64,
        /// Why it is no path.
        reason: PathError,
    },
    /// Two mappings have the same source.
    #[error("slot {path} is the source of two mappings")]
    SourceTwice {
        /// The source.
        path: SlotPath,
    },
    /// Slot 0 belongs to the caller.
    #[error("{field}: slot 0 belongs to the caller")]
    SlotZero {
        /// The list or map that names it.
        field: &'static str,
    },
    /// The root cnode has no such slot.
    #[error("{field}: there is no root slot {slot}")]
    SlotRange {
        /// The list or map that names it.
        field: &'static str,
        /// The slot.
        slot: SlotIdx,
    },
    /// A slot is given twice.
    #[error("{field}: slot {slot} is given twice")]
    DuplicateSlot {
        /// The list or map where it is given again.
        field: &'static str,
        /// The slot.
        slot: SlotIdx,
    },
    /// 32 zero bytes are an empty slot, not the name of a value.
    #[error("{field}: slot {slot} names no value")]
    ZeroHash {
        /// The map that names it.
        field: &'static str,
        /// The slot.
        slot: SlotIdx,
    },
    /// A pinned slot holds something that changes.
    #[error("pinned slot {slot} holds a {found}: only Data and images can be pinned")]
    PinnedKind {
        /// The slot.
        slot: SlotIdx,
        /// What it holds.
        found: Kind,
    },
    /// The encoding is too long.
    #[error("the image encodes to {len} bytes, more than {MAX_ENCODED_LEN}")]
    TooLong {
        /// Its length in bytes.
        len: usize,
    },
    /// Bytes that are not the canonical encoding of an image.
    #[error("byte {offset} of the image: {reason}")]
    Malformed {
        /// Where, in bytes from the start.
        offset: usize,
        /// What is wrong.
        reason: &'static str,
    },
    /// An entry of `MAKE_IMAGE` names a slot of the cnode that holds nothing.
    #[error("{field}: slot {slot} names entry {index}, where there is no value")]
    NoSuchCap {
        /// The map that names it.
        field: &'static str,
        /// The slot.
        slot: SlotIdx,
        /// The index.
        index: u32,
    },
}

/// An image as a value: valid, normalised, immutable.
#[derive(Clone)]
pub struct ImageCap(Arc<Body>);

struct Body {
    image: Image,
    hash: OnceLock<CapHash>,
}

impl ImageCap {
    /// Checks and normalises an image. Linear in its size.
    ///
    /// # Errors
    /// [`ImageError`] with the first thing that is wrong.
    pub fn new(mut image: Image) -> Result<Self, ImageError> {
        normalise_bitmask(&mut image);
        let code = Code::new(&image.code, &image.packed_bitmask, &image.jump_table)?;
        check_endpoints(&image, &code)?;
        check_mappings(&image.memory_mappings)?;
        check_slots(&image)?;
        let len = wire::encoded_len(&image);
        if len > MAX_ENCODED_LEN {
            return Err(ImageError::TooLong { len });
        }
        Ok(Self(Arc::new(Body { image, hash: OnceLock::new() })))
    }

    /// The program.
    #[must_use]
    pub fn image(&self) -> &Image {
        &self.0.image
    }

    /// The endpoint with this number; the implicit endpoint 0 where the image declares none.
    #[must_use]
    pub fn endpoint(&self, number: u8) -> Option<EndpointDef> {
        match self.endpoints.get(&number) {
            None if self.endpoints.is_empty() && number == 0 => Some(EndpointDef::default()),
            endpoint => endpoint.cloned(),
        }
    }

    /// The value's name.
    #[must_use]
    pub fn hash(&self) -> CapHash {
        *self.0.hash.get_or_init(|| hash::digest(Tag::Image, &[&wire::encode(&self.0.image)]))
    }

    pub(crate) fn hash_cost(&self) -> u64 {
        if self.0.hash.get().is_some() { 1 } else { hash::cost(wire::encoded_len(&self.0.image) as u64) }
    }

    /// The canonical encoding (section 3), which is what the hash is over.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        wire::encode(&self.0.image)
    }

    /// Reads a canonical encoding, and checks the image.
    ///
    /// # Errors
    /// [`ImageError::Malformed`] where the bytes are not the one encoding of an image, and as
    /// [`ImageCap::new`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, ImageError> {
        Self::new(wire::decode(bytes)?)
    }

    /// How many bytes the encoding in the input of `MAKE_IMAGE` has, which is what the operation is priced by:
    /// the u32 at the start of the Data.
    #[must_use]
    pub fn make_len(input: &DataCap) -> u32 {
        let mut len = [0; 4];
        input.read(0, &mut len);
        u32::from_le_bytes(len)
    }

    /// The image that the input of `MAKE_IMAGE` describes (section 7): a u32 length, then the canonical
    /// encoding in which pinned and initial entries are (slot, index). `cap` tells which value sits at an
    /// index; `None`: nothing does. Zeros at the end of the encoding may have been stripped with the Data's.
    ///
    /// The caller has been paid for [`ImageCap::make_len`] bytes. Kinds of pinned values are the caller's to
    /// check, with [`ImageCap::check_pinned`].
    ///
    /// # Errors
    /// [`ImageError`], as for [`ImageCap::from_bytes`]; [`ImageError::NoSuchCap`] where `cap` has nothing.
    pub fn make(input: &DataCap, cap: impl FnMut(SlotIdx) -> Option<CapHash>) -> Result<Self, ImageError> {
        let len = Self::make_len(input) as usize;
        if len > MAX_ENCODED_LEN {
            return Err(ImageError::TooLong { len });
        }
        if input.content_len() > 4 + len as u64 {
            return Err(ImageError::Malformed { offset: len, reason: "bytes follow the end of the image" });
        }
        let mut bytes = vec![0; len];
        input.read(4, &mut bytes);
        Self::new(wire::decode_indexed(&bytes, cap)?)
    }

    /// The values that the image names: pinned, then initial.
    pub fn children(&self) -> impl Iterator<Item = CapHash> {
        let image = self.image();
        image.pinned_slots.values().chain(image.initial_slots.values()).copied()
    }

    /// Checks that pinned values are Data or images. `kind_of` tells what a hash names; `None`: not at hand,
    /// and taken as right.
    ///
    /// # Errors
    /// [`ImageError::PinnedKind`].
    pub fn check_pinned(&self, mut kind_of: impl FnMut(&CapHash) -> Option<Kind>) -> Result<(), ImageError> {
        for (slot, hash) in &self.image().pinned_slots {
            match kind_of(hash) {
                None | Some(Kind::Data | Kind::Image) => {}
                Some(found @ (Kind::Instance | Kind::CNode | Kind::Type)) => {
                    return Err(ImageError::PinnedKind { slot: *slot, found });
                }
            }
        }
        Ok(())
    }
}

impl core::ops::Deref for ImageCap {
    type Target = Image;

    fn deref(&self) -> &Image {
        self.image()
    }
}

impl PartialEq for ImageCap {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0) || self.image() == other.image()
    }
}

impl Eq for ImageCap {}

impl core::fmt::Debug for ImageCap {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        self.image().fmt(f)
    }
}

/// Cuts the bitmask to the code and clears its padding. One that is too short is left for the check of the
/// code to refuse.
fn normalise_bitmask(image: &mut Image) {
    image.packed_bitmask.truncate(image.code.len().div_ceil(8));
    let used = image.code.len() % 8;
    if used != 0
        && image.packed_bitmask.len() == image.code.len().div_ceil(8)
        && let Some(last) = image.packed_bitmask.last_mut()
    {
        *last &= (1 << used) - 1;
    }
}

fn check_endpoints(image: &Image, code: &Code) -> Result<(), ImageError> {
    for (&endpoint, def) in &image.endpoints {
        if !code.is_instruction_start(def.entry_pc) {
            return Err(ImageError::EndpointPc { endpoint, pc: def.entry_pc });
        }
        if def.arg_cnode_size > MAX_SIZE_LOG {
            return Err(ImageError::ArgCNodeSize { endpoint, size_log: def.arg_cnode_size });
        }
    }
    Ok(())
}

fn check_mappings(mappings: &[MemoryMapping]) -> Result<(), ImageError> {
    let mut sources = Vec::new();
    for (index, mapping) in mappings.iter().enumerate() {
        let (start, size) = (mapping.start, mapping.size);
        if !start.is_multiple_of(PAGE_SIZE as u64) {
            return Err(ImageError::MappingUnaligned { index, start });
        }
        if size == 0 {
            return Err(ImageError::MappingEmpty { index });
        }
        if mapping.end() > ADDRESS_END {
            return Err(ImageError::MappingRange { index, start, size });
        }
        if let MappingSource::Slot(path) = mapping.source {
            if path == SlotPath::root(0) {
                return Err(ImageError::SlotZero { field: "memory_mappings" });
            }
            sources.push(path);
        }
    }
    sources.sort_unstable();
    if let Some(pair) = sources.windows(2).find(|pair| pair[0] == pair[1]) {
        return Err(ImageError::SourceTwice { path: pair[0] });
    }
    let mut order: Vec<usize> = (0..mappings.len()).collect();
    order.sort_unstable_by_key(|index| (mappings[*index].start, *index));
    match order.windows(2).find(|pair| mappings[pair[0]].end() > mappings[pair[1]].start) {
        Some(pair) => Err(ImageError::MappingOverlap { first: pair[0], second: pair[1] }),
        None => Ok(()),
    }
}

fn check_slots(image: &Image) -> Result<(), ImageError> {
    let lists = [("gas_slots", &image.gas_slots), ("quota_slots", &image.quota_slots)];
    let marker = image.yield_marker_slot.iter().map(|slot| ("yield_marker_slot", *slot));
    let listed = lists.iter().flat_map(|(field, slots)| slots.iter().map(|slot| (*field, *slot)));
    for (field, slot) in listed.chain(marker) {
        if slot.0 >= ROOT_SLOTS {
            return Err(ImageError::SlotRange { field, slot });
        }
    }
    for (field, map) in [("pinned_slots", &image.pinned_slots), ("initial_slots", &image.initial_slots)] {
        for (&slot, hash) in map {
            if slot.0 >= ROOT_SLOTS {
                return Err(ImageError::SlotRange { field, slot });
            }
            if slot.0 == 0 {
                return Err(ImageError::SlotZero { field });
            }
            if *hash == [0; 32] {
                return Err(ImageError::ZeroHash { field, slot });
            }
        }
    }
    match image.initial_slots.keys().find(|slot| image.pinned_slots.contains_key(slot)) {
        Some(&slot) => Err(ImageError::DuplicateSlot { field: "initial_slots", slot }),
        None => Ok(()),
    }
}
