//! [`CopyingMemory`]: guest memory on the heap; a page is copied from its source when it is first touched.
//!
//! One flat table of 2^20 words says for each page where its bytes are and what may be done to them without
//! further thought; a zero word means "ask [`CopyingMemory::touch`]". The table comes zeroed from the
//! operating system, which backs only what is used of it, so a memory that waits or is idle is small; clearing one
//! resets only the words of pages that were touched.

use std::sync::Arc;

use javm_sys::Words;

use super::{
    Access, Fault, GuestAccess, MapError, Mem, PAGE_COUNT, PAGE_SIZE, Page, PageSource, copy_page, page_of,
    parts, regions::Regions,
};

/// The page may be written, and is in the list of written pages. The sign, which is the cheapest bit to ask for.
const WRITE: u32 = 1 << 31;
/// The page is in the list of written pages, whatever may be done to it now.
const WRITTEN: u32 = 1 << 30;
/// The index into `pages`, plus 1: a word that is not zero means a page that is copied and may be read.
const SLOT: u32 = WRITTEN - 1;

/// The index into `pages` of a table word; one that no page has for a zero word.
#[inline(always)]
const fn slot_of(entry: u32) -> usize {
    (entry & SLOT).wrapping_sub(1) as usize
}

/// In `touched`: nothing.
const NO_PAGE: u32 = u32::MAX;

/// Pages of the arena that are kept when the memory is cleared.
const KEPT_PAGES: usize = 32;

/// Guest memory on the heap.
pub struct CopyingMemory {
    table: Words,
    /// Bytes of the touched pages, in order of first touch; only the first `used` mean something.
    pages: Vec<Page>,
    /// Which guest page each of `pages` is; [`NO_PAGE`] where it was unmapped since.
    touched: Vec<u32>,
    /// Indices into `pages` of pages that were unmapped.
    free: Vec<u32>,
    /// Pages that were written, in order of first write.
    written: Vec<u32>,
    regions: Regions<()>,
}

impl core::fmt::Debug for CopyingMemory {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("CopyingMemory")
            .field("mapped", &self.mapped().collect::<Vec<_>>())
            .field("touched", &self.touched.len())
            .field("written", &self.written.len())
            .finish_non_exhaustive()
    }
}

impl Default for CopyingMemory {
    fn default() -> Self {
        Self {
            table: Words::new(),
            pages: Vec::new(),
            touched: Vec::new(),
            free: Vec::new(),
            written: Vec::new(),
            regions: Regions::default(),
        }
    }
}

impl CopyingMemory {
    /// An empty memory.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// See [`Memory::map`](super::Memory::map).
    ///
    /// # Errors
    /// [`MapError`]; nothing is mapped then.
    pub fn map(
        &mut self,
        first: u32,
        count: u32,
        access: Access,
        source: Option<(Arc<dyn PageSource>, u32)>,
    ) -> Result<(), MapError> {
        self.regions.map((first, count), access, source, ())
    }

    /// See [`Memory::unmap`](super::Memory::unmap).
    pub fn unmap(&mut self, first: u32, count: u32) {
        let end = first.saturating_add(count).min(PAGE_COUNT);
        self.regions.carve(first, end, |_| None);
        let gone = |page: &u32| (first..end).contains(page);
        for (slot, page) in self.touched.iter_mut().enumerate().filter(|(_, p)| gone(p)) {
            self.table[*page as usize] = 0;
            self.free.push(slot as u32);
            *page = NO_PAGE;
        }
        self.written.retain(|p| !gone(p));
    }

    /// See [`Memory::protect`](super::Memory::protect).
    ///
    /// # Errors
    /// [`MapError::NotMapped`]; nothing changes then.
    pub fn protect(&mut self, first: u32, count: u32, access: Access) -> Result<(), MapError> {
        let end = self.regions.all_mapped(first, count)?;
        self.regions.carve(first, end, |mut region| {
            region.access = access;
            Some(region)
        });
        for page in self.touched.iter().filter(|p| (first..end).contains(p)) {
            let entry = &mut self.table[*page as usize];
            *entry &= !WRITE;
            if access == Access::ReadWrite && *entry & WRITTEN != 0 {
                *entry |= WRITE;
            }
        }
        Ok(())
    }

    /// See [`Memory::access`](super::Memory::access).
    #[must_use]
    pub fn access(&self, page: u32) -> Option<Access> {
        self.regions.of(page).map(|r| r.access)
    }

    /// See [`Memory::mapped`](super::Memory::mapped).
    pub fn mapped(&self) -> impl Iterator<Item = (u32, u32, Access)> + '_ {
        self.regions.mapped()
    }

    /// See [`Memory::page`](super::Memory::page).
    #[must_use]
    pub fn page(&self, page: u32) -> Option<&[u8]> {
        match self.table.get(page as usize).copied().unwrap_or(0) {
            0 => self.regions.of(page)?.original(page),
            entry => self.pages.get(slot_of(entry)).map(<[u8; _]>::as_slice),
        }
    }

    /// See [`Memory::written`](super::Memory::written).
    #[must_use]
    pub fn written(&self, first: u32, count: u32) -> Vec<u32> {
        let end = first.saturating_add(count);
        let mut pages: Vec<u32> = self.written.iter().copied().filter(|p| (first..end).contains(p)).collect();
        pages.sort_unstable();
        pages
    }

    /// See [`Memory::clear`](super::Memory::clear).
    pub fn clear(&mut self) {
        for page in self.touched.drain(..).filter(|p| *p < PAGE_COUNT) {
            self.table[page as usize] = 0;
        }
        self.free.clear();
        self.pages.truncate(KEPT_PAGES);
        self.pages.shrink_to(KEPT_PAGES);
        self.written.clear();
        self.regions.clear();
    }

    /// Makes the table word of a page allow an access: copies the page if nobody touched it, lists it as
    /// written if it is to be written.
    #[cold]
    #[inline(never)]
    fn touch(&mut self, page: u32, access: Access) -> Result<u32, Fault> {
        // Borrows `regions` alone, so that `pages` can be written beside it.
        let Some(region) = self.regions.of(page) else { return Err(self.regions.fault(page)) };
        if region.access < access {
            return Err(self.regions.fault(page));
        }
        let mut entry = self.table[page as usize];
        if entry == 0 {
            let slot = self.free.last().map_or(self.touched.len(), |slot| *slot as usize);
            let original = region.original(page);
            if slot == self.pages.len() {
                self.pages.push([0; PAGE_SIZE]);
            }
            copy_page(&mut self.pages[slot], original);
            match self.free.pop() {
                Some(slot) => self.touched[slot as usize] = page,
                None => self.touched.push(page),
            }
            entry = slot as u32 + 1;
        }
        if access == Access::ReadWrite {
            if entry & WRITTEN == 0 {
                self.written.push(page);
            }
            entry |= WRITE | WRITTEN;
        }
        self.table[page as usize] = entry;
        Ok(entry)
    }

    /// The table word of a page once it allows `access`.
    #[inline]
    fn entry(&mut self, page: u32, access: Access) -> Result<u32, Fault> {
        // A copied page may be read.
        let bits = if access == Access::ReadWrite { WRITE } else { u32::MAX };
        match self.table[page as usize] {
            entry if entry & bits != 0 => Ok(entry),
            _ => self.touch(page, access),
        }
    }

    /// See [`Memory::poke`](super::Memory::poke).
    ///
    /// # Errors
    /// [`MapError::NotMapped`]; nothing is written then.
    pub fn poke(&mut self, address: u32, bytes: &[u8]) -> Result<(), MapError> {
        for (page, ..) in parts(address, bytes.len()) {
            if self.access(page).is_none() {
                return Err(MapError::NotMapped { page });
            }
        }
        for (page, range, at) in parts(address, bytes.len()) {
            let Ok(mut entry) = self.entry(page, Access::ReadOnly) else { continue };
            if entry & WRITTEN == 0 {
                self.written.push(page);
                entry |= WRITTEN;
                self.table[page as usize] = entry;
            }
            let n = range.len();
            self.pages[slot_of(entry)][range].copy_from_slice(&bytes[at..at + n]);
        }
        Ok(())
    }
}

impl Mem for CopyingMemory {
    fn read(&mut self, address: u32, buf: &mut [u8]) -> Result<(), Fault> {
        for (page, range, at) in parts(address, buf.len()) {
            let entry = self.entry(page, Access::ReadOnly)?;
            let n = range.len();
            buf[at..at + n].copy_from_slice(&self.pages[slot_of(entry)][range]);
        }
        Ok(())
    }

    fn write(&mut self, address: u32, bytes: &[u8]) -> Result<(), Fault> {
        self.check(address, bytes.len(), Access::ReadWrite)?;
        for (page, range, at) in parts(address, bytes.len()) {
            let entry = self.entry(page, Access::ReadWrite)?;
            let n = range.len();
            self.pages[slot_of(entry)][range].copy_from_slice(&bytes[at..at + n]);
        }
        Ok(())
    }

    fn check(&self, address: u32, len: usize, access: Access) -> Result<(), Fault> {
        self.regions.check(address, len, access)
    }
}

impl GuestAccess for CopyingMemory {
    #[inline(always)]
    fn load<const N: usize>(&mut self, address: u32) -> Result<[u8; N], Fault> {
        let entry = self.table[page_of(address) as usize];
        let offset = address as usize % PAGE_SIZE;
        if offset <= PAGE_SIZE - N
            && let Some(page) = self.pages.get(slot_of(entry))
            && let Some(bytes) = page[offset..].first_chunk()
        {
            return Ok(*bytes);
        }
        self.load_slow(address)
    }

    #[inline(always)]
    fn store<const N: usize>(&mut self, address: u32, bytes: [u8; N]) -> Result<(), Fault> {
        let entry = self.table[page_of(address) as usize];
        let offset = address as usize % PAGE_SIZE;
        if entry & WRITE != 0
            && offset <= PAGE_SIZE - N
            && let Some(page) = self.pages.get_mut(slot_of(entry))
            && let Some(target) = page[offset..].first_chunk_mut()
        {
            *target = bytes;
            return Ok(());
        }
        self.store_slow(address, bytes)
    }
}
