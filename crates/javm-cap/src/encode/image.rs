//! The canonical encoding of an image: SCALE, fields in the order of section 4 (capability machine,
//! section 3), and the input of `MAKE_IMAGE`, which differs in what pinned and initial entries name.
//!
//! Canonical: maps are sorted by key, the bitmask is as long as the code needs and its padding is zero, a
//! mapping's source is an `Option` of the `u64` path. Reading enforces it by writing the image again and
//! comparing, which costs one more pass and misses nothing.

use std::collections::BTreeMap;

use parity_scale_codec::{Compact, CompactLen, Decode, Encode, Input};

use crate::hash::CapHash;
use crate::image::{EndpointDef, Image, ImageError, MAX_ENCODED_LEN, MappingSource, MemoryMapping};
use crate::name::SlotIdx;
use javm_abi::SlotPath;
use javm_abi::reg::NUM_REGS;

#[derive(Encode, Decode)]
struct WireEndpoint {
    entry_pc: u64,
    initial_regs: [u64; NUM_REGS],
    arg_cnode_size: u8,
}

#[derive(Encode, Decode)]
struct WireMapping {
    start: u64,
    size: u64,
    source: Option<u64>,
}

/// The fields in their order; `C` is what a pinned or initial entry names.
#[derive(Encode, Decode)]
struct WireImage<C> {
    code: Vec<u8>,
    packed_bitmask: Vec<u8>,
    jump_table: Vec<u32>,
    endpoints: BTreeMap<u8, WireEndpoint>,
    memory_mappings: Vec<WireMapping>,
    gas_slots: Vec<u32>,
    quota_slots: Vec<u32>,
    pinned_slots: BTreeMap<u32, C>,
    initial_slots: BTreeMap<u32, C>,
    yield_marker_slot: Option<u32>,
}

fn list_len<T>(entries: usize) -> usize {
    let entries_len = entries.saturating_mul(size_of::<T>());
    Compact::<u64>::compact_len(&(entries as u64)).saturating_add(entries_len)
}

/// Length of [`encode`]'s result, without making it.
pub(crate) fn encoded_len(image: &Image) -> usize {
    const ENDPOINT: usize = 1 + 8 + 8 * NUM_REGS + 1;
    let mapping = |m: &MemoryMapping| match m.source {
        MappingSource::Slot(_) => 16 + 9,
        MappingSource::Ephemeral => 16 + 1,
    };
    list_len::<u8>(image.code.len())
        + list_len::<u8>(image.packed_bitmask.len())
        + list_len::<u32>(image.jump_table.len())
        + list_len::<[u8; ENDPOINT]>(image.endpoints.len())
        + list_len::<()>(image.memory_mappings.len())
        + image.memory_mappings.iter().map(mapping).sum::<usize>()
        + list_len::<u32>(image.gas_slots.len())
        + list_len::<u32>(image.quota_slots.len())
        + list_len::<[u8; 36]>(image.pinned_slots.len())
        + list_len::<[u8; 36]>(image.initial_slots.len())
        + if image.yield_marker_slot.is_some() { 5 } else { 1 }
}

/// The canonical encoding of a normalised image.
pub(crate) fn encode(image: &Image) -> Vec<u8> {
    let slots = |slots: &[SlotIdx]| slots.iter().map(|slot| slot.0).collect();
    let map = |map: &BTreeMap<SlotIdx, CapHash>| map.iter().map(|(slot, hash)| (slot.0, *hash)).collect();
    let endpoint = |def: &EndpointDef| WireEndpoint {
        entry_pc: def.entry_pc,
        initial_regs: def.initial_regs,
        arg_cnode_size: def.arg_cnode_size,
    };
    let mapping = |m: &MemoryMapping| WireMapping {
        start: m.start,
        size: m.size,
        source: match m.source {
            MappingSource::Slot(path) => Some(path.encode()),
            MappingSource::Ephemeral => None,
        },
    };
    let mut bytes = Vec::with_capacity(encoded_len(image));
    image.code.encode_to(&mut bytes);
    image.packed_bitmask.encode_to(&mut bytes);
    image.jump_table.encode_to(&mut bytes);
    let endpoints: BTreeMap<u8, WireEndpoint> =
        image.endpoints.iter().map(|(number, def)| (*number, endpoint(def))).collect();
    endpoints.encode_to(&mut bytes);
    image.memory_mappings.iter().map(mapping).collect::<Vec<_>>().encode_to(&mut bytes);
    Vec::<u32>::encode_to(&slots(&image.gas_slots), &mut bytes);
    Vec::<u32>::encode_to(&slots(&image.quota_slots), &mut bytes);
    BTreeMap::<u32, CapHash>::encode_to(&map(&image.pinned_slots), &mut bytes);
    BTreeMap::<u32, CapHash>::encode_to(&map(&image.initial_slots), &mut bytes);
    image.yield_marker_slot.map(|slot| slot.0).encode_to(&mut bytes);
    bytes
}

/// Bytes that counts where reading stopped.
struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Input for Reader<'_> {
    fn remaining_len(&mut self) -> Result<Option<usize>, parity_scale_codec::Error> {
        Ok(Some(self.bytes.len() - self.at))
    }

    fn read(&mut self, into: &mut [u8]) -> Result<(), parity_scale_codec::Error> {
        let part = self.bytes.get(self.at..).and_then(|rest| rest.get(..into.len())).ok_or("too short")?;
        into.copy_from_slice(part);
        self.at += into.len();
        Ok(())
    }
}

/// Reads the fields; what they mean is not looked at.
fn read<C>(bytes: &[u8]) -> Result<WireImage<C>, ImageError>
where
    WireImage<C>: Decode + Encode,
{
    if bytes.len() > MAX_ENCODED_LEN {
        return Err(ImageError::TooLong { len: bytes.len() });
    }
    let mut reader = Reader { bytes, at: 0 };
    let image = WireImage::<C>::decode(&mut reader).map_err(|_| ImageError::Malformed {
        offset: reader.at,
        reason: "the encoding is broken off or a length is wrong",
    })?;
    if reader.at != bytes.len() {
        return Err(ImageError::Malformed { offset: reader.at, reason: "bytes follow the end of the image" });
    }
    let again = image.encode();
    if again != bytes {
        let same = again.iter().zip(bytes).take_while(|(a, b)| a == b).count();
        return Err(ImageError::Malformed { offset: same, reason: "the encoding is not the canonical one" });
    }
    Ok(image)
}

/// The image that the fields mean. `name` tells what a pinned or initial entry names.
fn build<C>(
    wire: WireImage<C>,
    mut name: impl FnMut(&'static str, SlotIdx, C) -> Result<CapHash, ImageError>,
) -> Result<Image, ImageError> {
    let mut mappings = Vec::with_capacity(wire.memory_mappings.len());
    for (index, mapping) in wire.memory_mappings.into_iter().enumerate() {
        let source = match mapping.source {
            None => MappingSource::Ephemeral,
            Some(raw) => {
                MappingSource::Slot(SlotPath::decode(raw).map_err(|reason| ImageError::SourcePath {
                    index,
                    raw,
                    reason,
                })?)
            }
        };
        mappings.push(MemoryMapping { start: mapping.start, size: mapping.size, source });
    }
    let mut map = |field, entries: BTreeMap<u32, C>| {
        let named =
            entries.into_iter().map(|(slot, entry)| Ok((SlotIdx(slot), name(field, SlotIdx(slot), entry)?)));
        named.collect::<Result<BTreeMap<_, _>, ImageError>>()
    };
    let (pinned_slots, initial_slots) =
        (map("pinned_slots", wire.pinned_slots)?, map("initial_slots", wire.initial_slots)?);
    let endpoint = |def: WireEndpoint| EndpointDef {
        entry_pc: def.entry_pc,
        initial_regs: def.initial_regs,
        arg_cnode_size: def.arg_cnode_size,
    };
    Ok(Image {
        endpoints: wire.endpoints.into_iter().map(|(number, def)| (number, endpoint(def))).collect(),
        code: wire.code,
        packed_bitmask: wire.packed_bitmask,
        jump_table: wire.jump_table,
        memory_mappings: mappings,
        gas_slots: wire.gas_slots.into_iter().map(SlotIdx).collect(),
        quota_slots: wire.quota_slots.into_iter().map(SlotIdx).collect(),
        pinned_slots,
        initial_slots,
        yield_marker_slot: wire.yield_marker_slot.map(SlotIdx),
    })
}

/// Refuses a bitmask that another one would be normalised to: there is one encoding per image.
fn check_bitmask(image: &Image) -> Result<(), ImageError> {
    let used = image.code.len() % 8;
    let padding = used != 0 && image.packed_bitmask.last().is_some_and(|last| last >> used != 0);
    if image.packed_bitmask.len() != image.code.len().div_ceil(8) || padding {
        let code = list_len::<u8>(image.code.len());
        let reason = "the bitmask is not as long as the code, or its padding is not zero";
        return Err(ImageError::Malformed { offset: code, reason });
    }
    Ok(())
}

/// Reads a canonical encoding. What the image means is checked by `ImageCap::new`.
pub(crate) fn decode(bytes: &[u8]) -> Result<Image, ImageError> {
    let image = build(read::<CapHash>(bytes)?, |_, _, hash| Ok(hash))?;
    check_bitmask(&image)?;
    Ok(image)
}

/// Reads the encoding that `MAKE_IMAGE` takes: pinned and initial entries are (slot, index), and `cap` tells
/// which value sits at an index; `None`: nothing does.
pub(crate) fn decode_indexed(
    bytes: &[u8],
    mut cap: impl FnMut(SlotIdx) -> Option<CapHash>,
) -> Result<Image, ImageError> {
    let image = build(read::<u32>(bytes)?, |field, slot, index| {
        cap(SlotIdx(index)).ok_or(ImageError::NoSuchCap { field, slot, index })
    })?;
    check_bitmask(&image)?;
    Ok(image)
}
