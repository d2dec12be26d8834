//! The canonical bytes of a settled value: for stores, witnesses and suspended computations.
//!
//! ```text
//! value    = 1 lineage[32] image[32] root[32] status memory   Instance
//!          | 2 SCALE                                          Image (encode/image.rs)
//!          | 3 pages                                          Data; its length is where the last page ends
//!          | 4 k:u8 count entry*                              CNode; entry = step name[32]
//!          | 5 lineage[32]                                    Type
//! status   = 0 regs pc | (1 | 2) regs pc charged:u8 target:u64 marker[32] pages
//! regs     = mask:u16 u64*                                    those that are not zero, by the mask
//! memory   = size:u32 pages
//! pages    = count (step len byte*)*                          those that are not zero, trailing zeros stripped
//! ```
//!
//! Integers without a width are LEB128 in the shortest form; those with one are little endian. A `step` is
//! the distance from the index that would come next, so indices ascend by construction.
//!
//! One value has one encoding, and what is not one is refused with the offset. Reading is linear and
//! allocates in proportion to the input: zero pages and empty slots cost nothing on either side. A
//! decoded image has passed the full check of `ImageCap::new`.

pub(crate) mod image;
mod reader;

use javm_abi::SlotPath;
use javm_abi::reg::{NUM_REGS, PAGE_SIZE};

use crate::error::CapError;
use crate::hash::CapHash;
use crate::kinds::cnode::CNodeCap;
use crate::kinds::data::DataCap;
use crate::kinds::image::ImageCap;
use crate::kinds::instance::{EPHEMERAL_DEPTH, InstanceCap, Memory, Status, Suspension};
use crate::kinds::type_::TypeCap;
use crate::kinds::{Cap, Kind};
use crate::name::{CapHashOrRef, SlotIdx};
use crate::tree::pages::{MAX_DEPTH, PageTree};
use reader::Reader;

/// The canonical encoding of a settled value.
///
/// # Errors
/// [`CapError::Unsettled`] if the value names working values.
pub fn encode(cap: &Cap) -> Result<Vec<u8>, CapError> {
    let mut out = vec![cap.kind().number()];
    match cap {
        Cap::Instance(instance) => put_instance(&mut out, instance)?,
        Cap::Image(image) => out.extend(image.to_bytes()),
        Cap::Data(data) => put_pages(&mut out, data.tree()),
        Cap::CNode(cnode) => put_cnode(&mut out, cnode)?,
        Cap::Type(ty) => out.extend(ty.lineage),
    }
    Ok(out)
}

/// Reads a canonical encoding. The whole of `bytes` must be it.
///
/// # Errors
/// [`CapError::Malformed`] where the bytes are not the one encoding of a value; [`CapError::Image`] for an
/// image that is not valid.
pub fn decode(bytes: &[u8]) -> Result<Cap, CapError> {
    let mut reader = Reader::new(bytes);
    let cap = match reader.u8()? {
        kind if kind == Kind::Image.number() => return Ok(Cap::Image(ImageCap::from_bytes(reader.rest())?)),
        kind if kind == Kind::Instance.number() => Cap::Instance(get_instance(&mut reader)?),
        kind if kind == Kind::Data.number() => get_data(&mut reader)?,
        kind if kind == Kind::CNode.number() => Cap::CNode(get_cnode(&mut reader)?),
        kind if kind == Kind::Type.number() => Cap::Type(TypeCap::new(reader.hash()?)),
        _ => return Err(reader.malformed("no kind of value has this number")),
    };
    reader.end()?;
    Ok(cap)
}

fn put_varint(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

fn hash_of(name: CapHashOrRef) -> Result<CapHash, CapError> {
    name.as_hash().copied().ok_or(CapError::Unsettled)
}

fn put_pages(out: &mut Vec<u8>, tree: &PageTree) {
    put_varint(out, tree.count());
    let mut next = 0;
    for (index, bytes) in tree.pages() {
        put_varint(out, index - next);
        put_varint(out, bytes.len() as u64);
        out.extend(bytes);
        next = index + 1;
    }
}

/// Reads pages, of which each index must be below `limit`, and hands them over, ascending.
fn get_pages<'a>(
    reader: &mut Reader<'a>,
    limit: u64,
    mut take: impl FnMut(u64, &'a [u8]),
) -> Result<(), CapError> {
    let mut next = 0u64;
    for _ in 0..reader.varint()? {
        let index = next.checked_add(reader.varint()?).filter(|index| *index < limit);
        let index = index.ok_or_else(|| reader.malformed("a page lies past the end"))?;
        let len = reader.varint()?;
        if len == 0 || len > PAGE_SIZE as u64 {
            return Err(reader.malformed("a page has 1 to 4096 bytes"));
        }
        let bytes = reader.bytes(len as usize)?;
        if bytes.last() == Some(&0) {
            return Err(reader.malformed("a page has trailing zeros"));
        }
        take(index, bytes);
        next = index + 1;
    }
    Ok(())
}

fn get_data(reader: &mut Reader<'_>) -> Result<Cap, CapError> {
    let mut pages = Vec::new();
    get_pages(reader, 1 << MAX_DEPTH, |index, bytes| pages.push((index, bytes)))?;
    Ok(DataCap::default().with_pages(pages).into())
}

fn put_cnode(out: &mut Vec<u8>, cnode: &CNodeCap) -> Result<(), CapError> {
    out.push(cnode.size_log());
    put_varint(out, cnode.occupied());
    let mut next = 0;
    for (slot, name) in cnode.iter() {
        put_varint(out, u64::from(slot.0 - next));
        out.extend(hash_of(name)?);
        next = slot.0 + 1;
    }
    Ok(())
}

fn get_cnode(reader: &mut Reader<'_>) -> Result<CNodeCap, CapError> {
    let size_log = reader.u8()?;
    let mut cnode = CNodeCap::new(size_log).map_err(|_| reader.malformed("no cnode has this size"))?;
    let mut next = 0u64;
    for _ in 0..reader.varint()? {
        let slot = next.checked_add(reader.varint()?).filter(|slot| *slot < u64::from(cnode.slots()));
        let slot = slot.ok_or_else(|| reader.malformed("a slot lies past the end"))?;
        let name = reader.hash()?;
        if name == [0; 32] {
            return Err(reader.malformed("an empty slot is listed"));
        }
        cnode.set(SlotIdx(slot as u32), Some(name.into()))?;
        next = slot + 1;
    }
    Ok(cnode)
}

fn put_instance(out: &mut Vec<u8>, instance: &InstanceCap) -> Result<(), CapError> {
    out.extend(instance.image_hash_chain);
    out.extend(instance.image_hash);
    out.extend(hash_of(instance.root_cnode)?);
    let status = instance.status();
    out.push(status.number());
    let (regs, pc) = status.machine();
    let mask = regs.iter().enumerate().fold(0u16, |mask, (i, reg)| mask | u16::from(*reg != 0) << i);
    out.extend(mask.to_le_bytes());
    out.extend(regs.iter().filter(|reg| **reg != 0).flat_map(|reg| reg.to_le_bytes()));
    put_varint(out, pc);
    if let Some(stopped) = status.suspension() {
        out.push(u8::from(stopped.gas_charged));
        out.extend(stopped.target.encode().to_le_bytes());
        out.extend(stopped.marker.map(hash_of).transpose()?.unwrap_or_default());
        put_pages(out, &stopped.ephemeral);
    }
    out.extend(instance.memory().size().to_le_bytes());
    put_pages(out, instance.memory().pages());
    Ok(())
}

fn get_regs(reader: &mut Reader<'_>) -> Result<[u64; NUM_REGS], CapError> {
    let mask = u16::from_le_bytes(reader.array()?);
    if mask >> NUM_REGS != 0 {
        return Err(reader.malformed("there are 13 registers"));
    }
    let mut regs = [0; NUM_REGS];
    for (_, reg) in regs.iter_mut().enumerate().filter(|(i, _)| mask >> i & 1 != 0) {
        *reg = u64::from_le_bytes(reader.array()?);
        if *reg == 0 {
            return Err(reader.malformed("a register that is zero is listed"));
        }
    }
    Ok(regs)
}

fn get_instance(reader: &mut Reader<'_>) -> Result<InstanceCap, CapError> {
    let (lineage, image, root) = (reader.hash()?, reader.hash()?, reader.hash()?);
    let mut instance = InstanceCap::new(lineage, image, root.into());
    let number = reader.u8()?;
    let (regs, pc) = (get_regs(reader)?, reader.varint()?);
    let status = match number {
        0 => Status::Idle { regs, pc },
        1 => Status::Waiting(get_suspension(reader, regs, pc)?),
        2 => Status::Paused(get_suspension(reader, regs, pc)?),
        _ => return Err(reader.malformed("no status has this number")),
    };
    instance.set_status(status);
    let mut memory = Memory::new(u32::from_le_bytes(reader.array()?));
    get_pages(reader, memory.page_count(), |index, bytes| {
        memory.set_page(index, bytes);
    })?;
    instance.set_memory(memory);
    Ok(instance)
}

fn get_suspension(reader: &mut Reader<'_>, regs: [u64; NUM_REGS], pc: u64) -> Result<Suspension, CapError> {
    let mut stopped = Suspension::new(regs, pc, false);
    stopped.gas_charged = match reader.u8()? {
        0 => false,
        1 => true,
        _ => return Err(reader.malformed("a flag is 0 or 1")),
    };
    stopped.target = SlotPath::decode(u64::from_le_bytes(reader.array()?))
        .map_err(|_| reader.malformed("the target is no slot path"))?;
    stopped.marker = Some(reader.hash()?).filter(|hash| *hash != [0; 32]).map(CapHashOrRef::Hash);
    get_pages(reader, 1 << EPHEMERAL_DEPTH, |index, bytes| {
        stopped.ephemeral.set_page(index, bytes);
    })?;
    Ok(stopped)
}
