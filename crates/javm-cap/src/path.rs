//! Walking slot paths: reading, writing, moving, exchanging.
//!
//! A path starts in a root cnode, which the caller holds as a value of its own, and steps through nested
//! cnodes, which it only names. A write therefore makes new working values of the cnodes on its way, but
//! for those that the writer owns ([`CacheDirectory::insert_owned`]), which change in place. Cnodes are
//! persistent trees: each costs the nodes on one path.
//!
//! Everything is refused before anything changes. Pinned slots and paused calls are the caller's to check;
//! they are facts of a running instance, not of its table.

use std::sync::Arc;

use javm_abi::SlotPath;
use javm_abi::path::MAX_STEPS;

use crate::directory::{CacheDirectory, Owner};
use crate::error::{OpError, OpFailure};
use crate::kinds::Cap;
use crate::kinds::cnode::CNodeCap;
use crate::name::{CapHashOrRef, SlotIdx};

/// Reads a slot path from a register.
///
/// # Errors
/// [`OpError::BadPath`] if the register does not hold one.
pub fn decode_path(raw: u64) -> Result<SlotPath, OpError> {
    SlotPath::decode(raw).map_err(|reason| OpError::BadPath { raw, reason })
}

/// Refuses two paths of which one lies inside the other. A path lies inside itself.
///
/// # Errors
/// [`OpError::PrefixMove`].
pub fn check_apart(a: SlotPath, b: SlotPath) -> Result<(), OpError> {
    if a.is_prefix_of(&b) || b.is_prefix_of(&a) { Err(OpError::PrefixMove { a, b }) } else { Ok(()) }
}

fn slot_in(cnode: &CNodeCap, slot: SlotIdx, path: SlotPath) -> Result<Option<CapHashOrRef>, OpError> {
    let slots = cnode.slots();
    if slot.0 < slots { Ok(cnode.get(slot)) } else { Err(OpError::SlotRange { path, slot, slots }) }
}

/// The cnode behind a name that a path steps through.
fn step_into(
    dir: &CacheDirectory,
    name: Option<CapHashOrRef>,
    path: SlotPath,
    step: usize,
) -> Result<Arc<Cap>, OpFailure> {
    let name = name.ok_or(OpError::NotACNode { path, step })?;
    let cap = dir.fetch(name)?;
    if matches!(&*cap, Cap::CNode(_)) { Ok(cap) } else { Err(OpError::NotACNode { path, step }.into()) }
}

/// What the slot at the end of a path holds; `None`: nothing.
///
/// # Errors
/// Refused with [`OpError::SlotRange`] or [`OpError::NotACNode`]; a host error if a cnode on the way is
/// missing.
pub fn read_path(
    dir: &CacheDirectory,
    root: &CNodeCap,
    path: SlotPath,
) -> Result<Option<CapHashOrRef>, OpFailure> {
    let mut name = slot_in(root, SlotIdx(u32::from(path.root_slot())), path)?;
    for (step, slot) in path.steps().iter().enumerate() {
        let cap = step_into(dir, name, path, step + 1)?;
        let Cap::CNode(cnode) = &*cap else { return Err(OpError::NotACNode { path, step: step + 1 }.into()) };
        name = slot_in(cnode, SlotIdx(u32::from(*slot)), path)?;
    }
    Ok(name)
}

/// [`read_path`] of a slot that must not be empty.
///
/// # Errors
/// As [`read_path`], and refused with [`OpError::EmptySource`].
pub fn read_source(dir: &CacheDirectory, root: &CNodeCap, path: SlotPath) -> Result<CapHashOrRef, OpFailure> {
    read_path(dir, root, path)?.ok_or_else(|| OpError::EmptySource { path }.into())
}

/// Fills or empties the slot at the end of a path, and returns what it held.
///
/// # Errors
/// As [`read_path`]; nothing has changed then.
pub fn write_path(
    dir: &mut CacheDirectory,
    root: &mut CNodeCap,
    path: SlotPath,
    content: Option<CapHashOrRef>,
    owner: Owner,
) -> Result<Option<CapHashOrRef>, OpFailure> {
    if path.is_root() {
        return write_root(root, path, content);
    }
    // Down: the cnodes below the root, each with the name by which its parent knows it.
    let mut way: [Option<(CapHashOrRef, Arc<Cap>)>; MAX_STEPS] = [const { None }; MAX_STEPS];
    let mut name = slot_in(root, SlotIdx(u32::from(path.root_slot())), path)?;
    for (step, slot) in path.steps().iter().enumerate() {
        let cap = step_into(dir, name, path, step + 1)?;
        let Cap::CNode(cnode) = &*cap else { return Err(OpError::NotACNode { path, step: step + 1 }.into()) };
        let next = slot_in(cnode, SlotIdx(u32::from(*slot)), path)?;
        way[step] = name.map(|name| (name, cap));
        name = next;
    }
    let old = name;
    if content == Some(CapHashOrRef::Hash([0; 32])) {
        return Err(crate::error::CapError::ZeroHash.into());
    }
    // Up: from the last cnode to the root, or to the first that changes in place.
    let mut content = content;
    for (slot, entry) in path.steps().iter().zip(&mut way).rev() {
        let Some((name, cap)) = entry.take() else { continue };
        let slot = SlotIdx(u32::from(*slot));
        if let CapHashOrRef::Ref(reference) = name
            && dir.is_owned(reference, owner)
        {
            // The copy that was read goes first, so that the tree need not be copied for it.
            drop(cap);
            dir.modify(reference, |cap| match cap {
                Cap::CNode(cnode) => cnode.set(slot, content).map(|_| ()),
                Cap::Instance(_) | Cap::Image(_) | Cap::Data(_) | Cap::Type(_) => Ok(()),
            })
            .transpose()?;
            return Ok(old);
        }
        let Cap::CNode(cnode) = &*cap else { continue };
        let mut cnode = cnode.clone();
        cnode.set(slot, content)?;
        content = Some(dir.insert_owned(cnode.into(), owner).into());
    }
    root.set(SlotIdx(u32::from(path.root_slot())), content)?;
    Ok(old)
}

/// [`write_path`] of a root slot.
fn write_root(
    root: &mut CNodeCap,
    path: SlotPath,
    content: Option<CapHashOrRef>,
) -> Result<Option<CapHashOrRef>, OpFailure> {
    let (slot, slots) = (SlotIdx(u32::from(path.root_slot())), root.slots());
    if slot.0 >= slots {
        return Err(OpError::SlotRange { path, slot, slots }.into());
    }
    Ok(root.set(slot, content)?)
}

/// Moves what the slot `src` holds to `dst`, dropping what was there; `src` becomes empty.
///
/// # Errors
/// As [`read_path`] for either path; refused with [`OpError::EmptySource`], and with
/// [`OpError::PrefixMove`] between a path and its own prefix, or itself. Nothing has changed then.
pub fn move_path(
    dir: &mut CacheDirectory,
    root: &mut CNodeCap,
    src: SlotPath,
    dst: SlotPath,
    owner: Owner,
) -> Result<(), OpFailure> {
    check_apart(src, dst)?;
    let name = read_source(dir, root, src)?;
    // That the destination can be written is known before the source is emptied.
    read_path(dir, root, dst)?;
    write_path(dir, root, src, None, owner)?;
    write_path(dir, root, dst, Some(name), owner)?;
    Ok(())
}

/// Exchanges what two slots hold; either may be empty.
///
/// # Errors
/// As [`read_path`] for either path; refused with [`OpError::PrefixMove`] between a path and its own prefix,
/// or itself. Nothing has changed then.
pub fn swap_paths(
    dir: &mut CacheDirectory,
    root: &mut CNodeCap,
    a: SlotPath,
    b: SlotPath,
    owner: Owner,
) -> Result<(), OpFailure> {
    check_apart(a, b)?;
    let (in_a, in_b) = (read_path(dir, root, a)?, read_path(dir, root, b)?);
    write_path(dir, root, a, in_b, owner)?;
    write_path(dir, root, b, in_a, owner)?;
    Ok(())
}
