//! Address spaces over pages that they share.
//!
//! [`SharedStore`] has the pages, [`SharedSpace`] is one address space: which pages of the store are mapped where.
//! [`SharedMemory`] is the two together, which is what guest code runs on, during a [`SharedRun`]. Mapping copies
//! nothing: what is written through one space is what the other reads.
//!
//! What is mapped is said by a list of mappings, each an [`Extent`] of the store at a base page with one bit per
//! page; so mapping and unmapping cost a bit per page. A table of words, filled as pages are touched, is in front
//! of the list: a zero word means "look at the list". The invariant: **a word that is not zero is what the list
//! says, and it allows stores at once only while the page is noted as written**. So the store knows exactly which
//! pages were written, also after it was told to forget. `native.rs` is the same for emitted code, whose table
//! is the window.

mod bits;
mod native;
mod store;
mod windows;

pub use native::SharedRun;
pub use store::{Extent, SharedStore};

use super::{
    Access, Fault, GuestAccess, LOW_ZONE, MapError, Mem, PAGE_COUNT, PAGE_SIZE, check_runs, fault, page_of,
    parts,
};
use bits::Bits;
use native::Attachment;

/// The page may be written and is noted as written.
const WRITE: u32 = 1 << 31;
/// The slot of the page in the store, plus 1.
const SLOT: u32 = WRITE - 1;

/// Pages of a leaf of the table.
const LEAF: u32 = 1024;

/// A part of the table. It goes when nothing is left in it, or a page that is mapped here and there would leave one
/// everywhere.
#[derive(Debug)]
struct Leaf {
    words: [u32; LEAF as usize],
    /// How many are not zero.
    used: u32,
}

/// Pages of a store in an address space.
#[derive(Clone, Debug)]
struct Mapping {
    /// Where page 0 of the extent would be.
    base: u32,
    extent: Extent,
    access: Access,
    /// Which pages of the extent are mapped; as many as there is room for behind the base.
    mapped: Bits,
}

impl Mapping {
    /// The page of the extent that is mapped at a page of the space.
    fn page(&self, page: u32) -> Option<u32> {
        page.checked_sub(self.base).filter(|n| self.mapped.contains(*n))
    }
}

/// One address space.
#[derive(Debug, Default)]
pub struct SharedSpace {
    leaves: Vec<Option<Box<Leaf>>>,
    mappings: Vec<Mapping>,
    /// How many pages below [`LOW_ZONE`] are mapped: if any, accesses to others there are page faults.
    low_pages: u32,
    /// The window, and what in it is no longer true.
    attachment: Attachment,
}

/// The index into a store's pages of a table word; one that no page has for a zero word.
#[inline(always)]
const fn slot_of(entry: u32) -> usize {
    (entry & SLOT).wrapping_sub(1) as usize
}

impl SharedSpace {
    /// An address space in which nothing is mapped.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Maps pages `first .. first + count` of an extent, page *p* at page `base + p`. Pages of it that are mapped
    /// already may be among them. Extents of a space do not overlap, and one that has a page mapped keeps its base
    /// and access.
    ///
    /// # Errors
    /// [`MapError`] when a page is not in the extent or the address space, or another extent is mapped there;
    /// nothing is mapped then.
    pub fn map(
        &mut self,
        extent: Extent,
        base: u32,
        access: Access,
        first: u32,
        count: u32,
    ) -> Result<(), MapError> {
        let out_of_range = MapError::OutOfRange { first: base.saturating_add(first), count };
        let end = first.checked_add(count).filter(|end| *end <= extent.count).ok_or(out_of_range)?;
        let last = base.checked_add(end).filter(|end| *end <= PAGE_COUNT).ok_or(out_of_range)?;
        if count == 0 {
            return Ok(());
        }
        let mut own = None;
        for (n, other) in self.mappings.iter().enumerate() {
            if other.extent == extent {
                own = Some(n);
                continue;
            }
            let from = (base + first).saturating_sub(other.base);
            let to = last.saturating_sub(other.base);
            if other.mapped.any(from, to) {
                return Err(MapError::Overlap { page: other.base + other.mapped.find(from, true) });
            }
        }
        let own = own.unwrap_or_else(|| {
            self.mappings.push(Mapping { base, extent, access, mapped: Bits::new(0) });
            self.mappings.len() - 1
        });
        let own = &mut self.mappings[own];
        if own.mapped.ones() == 0 {
            let room = (PAGE_COUNT - base).min(extent.count);
            (own.base, own.access) = (base, access);
            if own.mapped.len() != room {
                own.mapped = Bits::new(room);
            }
        }
        let low = (page_of(LOW_ZONE)).saturating_sub(base);
        self.low_pages -= own.mapped.count(0, low);
        own.mapped.set(first, end, true);
        self.low_pages += own.mapped.count(0, low);
        Ok(())
    }

    /// Unmaps pages of an extent, as far as they are mapped.
    pub fn unmap(&mut self, extent: Extent, first: u32, count: u32) {
        let Some(n) = self.find(extent) else { return };
        let own = &mut self.mappings[n];
        let end = first.saturating_add(count).min(own.mapped.len());
        if first >= end {
            return;
        }
        let low = (page_of(LOW_ZONE)).saturating_sub(own.base);
        self.low_pages -= own.mapped.count(0, low);
        own.mapped.set(first, end, false);
        self.low_pages += own.mapped.count(0, low);
        let base = own.base;
        self.forget(base + first, base + end);
    }

    /// Unmaps an extent whole, and forgets it.
    pub fn remove(&mut self, extent: Extent) {
        self.unmap(extent, 0, extent.count);
        if let Some(n) = self.find(extent) {
            self.mappings.swap_remove(n);
        }
    }

    fn find(&self, extent: Extent) -> Option<usize> {
        self.mappings.iter().position(|m| m.extent == extent)
    }

    /// Makes the table ask the list again; other mappings may be asked, too.
    fn forget(&mut self, first: u32, end: u32) {
        self.attachment.outdated(first, end);
        let to = (end.div_ceil(LEAF) as usize).min(self.leaves.len());
        for n in (first / LEAF) as usize..to {
            let start = n as u32 * LEAF;
            let range = first.saturating_sub(start) as usize..(end - start).min(LEAF) as usize;
            let Some(leaf) = &mut self.leaves[n] else { continue };
            if range.len() < LEAF as usize {
                for word in leaf.words[range].iter_mut().filter(|word| **word != 0) {
                    *word = 0;
                    leaf.used -= 1;
                }
                if leaf.used != 0 {
                    continue;
                }
            }
            self.leaves[n] = None;
        }
    }

    /// Lets the store note anew when pages of an extent are written that were: those in `written`, a bitmap as
    /// [`SharedStore::written`] gives it.
    pub fn written_again(&mut self, extent: Extent, written: &[u8]) {
        let Some(n) = self.find(extent) else { return };
        let base = self.mappings[n].base;
        for (k, byte) in written.iter().enumerate().filter(|(_, byte)| **byte != 0) {
            for bit in (0..8).filter(|bit| byte >> bit & 1 != 0) {
                let Some(page) = base.checked_add(k as u32 * 8 + bit).filter(|p| *p < PAGE_COUNT) else {
                    return;
                };
                self.attachment.outdated(page, page + 1);
                if let Some(Some(leaf)) = self.leaves.get_mut((page / LEAF) as usize) {
                    leaf.words[(page % LEAF) as usize] &= !WRITE;
                }
            }
        }
    }

    /// How many pages of an extent are mapped.
    #[must_use]
    pub fn mapped_pages(&self, extent: Extent) -> u32 {
        self.find(extent).map_or(0, |n| self.mappings[n].mapped.ones())
    }

    /// Whether a page of an extent is mapped.
    #[must_use]
    pub fn is_mapped(&self, extent: Extent, page: u32) -> bool {
        self.find(extent).is_some_and(|n| self.mappings[n].mapped.contains(page))
    }

    /// What a page allows; `None` where nothing is mapped.
    #[must_use]
    pub fn access(&self, page: u32) -> Option<Access> {
        self.lookup(page).map(|(m, _)| m.access)
    }

    fn lookup(&self, page: u32) -> Option<(&Mapping, u32)> {
        self.mappings.iter().find_map(|m| Some((m, m.page(page)?)))
    }

    /// The fault of a byte that is not accessible.
    const fn fault(&self, page: u32) -> Fault {
        fault(page, self.low_pages != 0)
    }

    /// The table word of a page.
    #[inline(always)]
    fn entry(&self, page: u32) -> u32 {
        match self.leaves.get((page / LEAF) as usize) {
            Some(Some(leaf)) => leaf.words[(page % LEAF) as usize],
            _ => 0,
        }
    }
}

/// An address space and the store behind it.
#[derive(Debug)]
pub struct SharedMemory<'a> {
    /// What is mapped where.
    pub space: &'a mut SharedSpace,
    /// The pages.
    pub store: &'a mut SharedStore,
}

impl SharedMemory<'_> {
    /// Makes the table word of a page allow an access, and notes that the page is written if it is to be.
    #[cold]
    #[inline(never)]
    fn touch(&mut self, page: u32, access: Access) -> Result<u32, Fault> {
        let Some((mapping, at)) = self.space.lookup(page) else { return Err(self.space.fault(page)) };
        if mapping.access < access {
            return Err(self.space.fault(page));
        }
        // In the extent, whose pages have numbers.
        let backing = mapping.extent.first + at;
        let mut entry = self.store.slot(backing) + 1;
        if access == Access::ReadWrite {
            self.store.mark(backing);
            entry |= WRITE;
        } else {
            entry |= self.space.entry(page) & WRITE;
        }
        let leaf = (page / LEAF) as usize;
        if leaf >= self.space.leaves.len() {
            self.space.leaves.resize_with(leaf + 1, || None);
        }
        let leaf = self.space.leaves[leaf]
            .get_or_insert_with(|| Box::new(Leaf { words: [0; LEAF as usize], used: 0 }));
        let word = &mut leaf.words[(page % LEAF) as usize];
        leaf.used += u32::from(*word == 0);
        *word = entry;
        Ok(entry)
    }

    /// The table word of a page once it allows `access`.
    #[inline]
    fn entry(&mut self, page: u32, access: Access) -> Result<u32, Fault> {
        let bits = if access == Access::ReadWrite { WRITE } else { u32::MAX };
        match self.space.entry(page) {
            entry if entry & bits != 0 => Ok(entry),
            _ => self.touch(page, access),
        }
    }
}

impl Mem for SharedMemory<'_> {
    fn read(&mut self, address: u32, buf: &mut [u8]) -> Result<(), Fault> {
        for (page, range, at) in parts(address, buf.len()) {
            let slot = slot_of(self.entry(page, Access::ReadOnly)?);
            let to = &mut buf[at..at + range.len()];
            if let Some(page) = self.store.by_slot(slot) {
                to.copy_from_slice(&page[range]);
            }
        }
        Ok(())
    }

    fn write(&mut self, address: u32, bytes: &[u8]) -> Result<(), Fault> {
        self.check(address, bytes.len(), Access::ReadWrite)?;
        for (page, range, at) in parts(address, bytes.len()) {
            let slot = slot_of(self.entry(page, Access::ReadWrite)?);
            let from = &bytes[at..at + range.len()];
            if let Some(page) = self.store.by_slot_mut(slot) {
                page[range].copy_from_slice(from);
            }
        }
        Ok(())
    }

    fn check(&self, address: u32, len: usize, access: Access) -> Result<(), Fault> {
        check_runs(address, len, |page| match self.space.lookup(page).filter(|(m, _)| m.access >= access) {
            Some((mapping, at)) => Ok(mapping.mapped.find(at, false) - at),
            None => Err(self.space.fault(page)),
        })
    }
}

impl GuestAccess for SharedMemory<'_> {
    #[inline(always)]
    fn load<const N: usize>(&mut self, address: u32) -> Result<[u8; N], Fault> {
        let offset = address as usize % PAGE_SIZE;
        if offset <= PAGE_SIZE - N
            && let Some(page) = self.store.by_slot(slot_of(self.space.entry(page_of(address))))
            && let Some(bytes) = page[offset..].first_chunk()
        {
            return Ok(*bytes);
        }
        self.load_slow(address)
    }

    #[inline(always)]
    fn store<const N: usize>(&mut self, address: u32, bytes: [u8; N]) -> Result<(), Fault> {
        let entry = self.space.entry(page_of(address));
        let offset = address as usize % PAGE_SIZE;
        if entry & WRITE != 0
            && offset <= PAGE_SIZE - N
            && let Some(page) = self.store.by_slot_mut(slot_of(entry))
            && let Some(target) = page[offset..].first_chunk_mut()
        {
            *target = bytes;
            return Ok(());
        }
        self.store_slow(address, bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Engine;

    #[test]
    fn a_page_that_is_mapped_here_and_there_leaves_nothing() {
        let (mut space, mut store) = (SharedSpace::new(), SharedStore::new(&Engine::default(), 3));
        let extent = Extent { first: 0, count: 3 };
        for base in (0..PAGE_COUNT - 3).step_by(777) {
            space.map(extent, base, Access::ReadWrite, 0, 3).unwrap();
            let mut memory = SharedMemory { space: &mut space, store: &mut store };
            memory.write(base * PAGE_SIZE as u32, &[1; 2 * PAGE_SIZE + 1]).unwrap();
            assert!((1..=2).contains(&space.leaves.iter().flatten().count()));
            if base % 2 == 0 {
                space.unmap(extent, 1, 1);
            }
            space.remove(extent);
            assert_eq!((space.leaves.iter().flatten().count(), space.mappings.len()), (0, 0));
        }
    }
}
