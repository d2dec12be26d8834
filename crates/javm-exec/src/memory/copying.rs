//! [`CopyingMemory`]: guest memory on the heap; a page is copied from its source when it is first touched.
//!
//! One flat table of 2^20 words says for each page where its bytes are and what may be done to them without
//! further thought; a zero word means "ask [`CopyingMemory::touch`]". The table comes zeroed from the
//! operating system, which backs only what is used of it, so a memory that waits or is idle is small; clearing one
//! resets only the words of pages that were touched.

use std::sync::Arc;

use javm_sys::Words;

use super::{
    Access, Fault, GuestAccess, LOW_ZONE, MapError, Mem, PAGE_COUNT, PAGE_SIZE, Page, PageSource, copy_page,
    page_of, parts,
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
    /// Mapped ranges, ascending and disjoint.
    regions: Vec<Region>,
    low_zone_open: bool,
}

#[derive(Clone)]
struct Region {
    first: u32,
    count: u32,
    access: Access,
    source: Option<(Arc<dyn PageSource>, u32)>,
}

impl Region {
    const fn end(&self) -> u32 {
        self.first + self.count
    }

    fn original(&self, page: u32) -> Option<&[u8]> {
        let (source, first) = self.source.as_ref()?;
        source.page(first.wrapping_add(page - self.first))
    }

    /// The part of the region that lies in `first..end`, which must not be empty.
    fn cut(&self, first: u32, end: u32) -> Self {
        let source = self.source.as_ref().map(|(s, p)| (Arc::clone(s), p.wrapping_add(first - self.first)));
        Self { first, count: end - first, access: self.access, source }
    }
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
            regions: Vec::new(),
            low_zone_open: false,
        }
    }
}

/// The region that a page lies in.
fn find(regions: &[Region], page: u32) -> Option<&Region> {
    let next = regions.partition_point(|r| r.first <= page);
    regions[..next].last().filter(|r| page < r.end())
}

impl CopyingMemory {
    /// An empty memory.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    fn region_of(&self, page: u32) -> Option<&Region> {
        find(&self.regions, page)
    }

    fn update_low_zone(&mut self) {
        self.low_zone_open = self.regions.first().is_some_and(|r| r.first < page_of(LOW_ZONE));
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
        let end = first
            .checked_add(count)
            .filter(|end| *end <= PAGE_COUNT)
            .ok_or(MapError::OutOfRange { first, count })?;
        if count == 0 {
            return Ok(());
        }
        let at = self.regions.partition_point(|r| r.end() <= first);
        if let Some(next) = self.regions.get(at).filter(|r| r.first < end) {
            return Err(MapError::Overlap { page: next.first.max(first) });
        }
        self.regions.insert(at, Region { first, count, access, source });
        self.update_low_zone();
        Ok(())
    }

    /// Takes the part of every region in `first..end` out and gives it to `keep`, which may return a
    /// changed region to put back.
    fn carve(&mut self, first: u32, end: u32, mut keep: impl FnMut(Region) -> Option<Region>) {
        let from = self.regions.partition_point(|r| r.end() <= first);
        let to = self.regions.partition_point(|r| r.first < end);
        // No pages have no part of a region: cutting there would leave an empty one.
        if from >= to || first >= end {
            return;
        }
        let mut new = Vec::with_capacity(to - from + 2);
        for r in &self.regions[from..to] {
            if r.first < first {
                new.push(r.cut(r.first, first));
            }
            new.extend(keep(r.cut(r.first.max(first), r.end().min(end))));
            if r.end() > end {
                new.push(r.cut(end, r.end()));
            }
        }
        self.regions.splice(from..to, new);
        self.update_low_zone();
    }

    /// See [`Memory::unmap`](super::Memory::unmap).
    pub fn unmap(&mut self, first: u32, count: u32) {
        let end = first.saturating_add(count).min(PAGE_COUNT);
        self.carve(first, end, |_| None);
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
        let end = first
            .checked_add(count)
            .filter(|end| *end <= PAGE_COUNT)
            .ok_or(MapError::OutOfRange { first, count })?;
        let mut page = first;
        while page < end {
            page = self.region_of(page).ok_or(MapError::NotMapped { page })?.end();
        }
        self.carve(first, end, |r| Some(Region { access, ..r }));
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
        self.region_of(page).map(|r| r.access)
    }

    /// See [`Memory::mapped`](super::Memory::mapped).
    pub fn mapped(&self) -> impl Iterator<Item = (u32, u32, Access)> + '_ {
        self.regions.iter().map(|r| (r.first, r.count, r.access))
    }

    /// See [`Memory::page`](super::Memory::page).
    #[must_use]
    pub fn page(&self, page: u32) -> Option<&[u8]> {
        match self.table.get(page as usize).copied().unwrap_or(0) {
            0 => self.region_of(page)?.original(page),
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
        self.low_zone_open = false;
    }

    /// The fault of a byte that is not accessible.
    const fn fault(&self, page: u32) -> Fault {
        let address = page * PAGE_SIZE as u32;
        if address < LOW_ZONE && !self.low_zone_open { Fault::Panic } else { Fault::Page(address) }
    }

    /// Makes the table word of a page allow an access: copies the page if nobody touched it, lists it as
    /// written if it is to be written.
    #[cold]
    #[inline(never)]
    fn touch(&mut self, page: u32, access: Access) -> Result<u32, Fault> {
        // Borrows `regions` alone, so that `pages` can be written beside it.
        let Some(region) = find(&self.regions, page) else { return Err(self.fault(page)) };
        if region.access < access {
            return Err(self.fault(page));
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

    /// A load that is not wholly inside one readable page.
    #[cold]
    #[inline(never)]
    fn load_slow<const N: usize>(&mut self, address: u32) -> Result<[u8; N], Fault> {
        let mut bytes = [0; N];
        self.read(address, &mut bytes)?;
        Ok(bytes)
    }

    /// A store that is not wholly inside one writable page.
    #[cold]
    #[inline(never)]
    fn store_slow<const N: usize>(&mut self, address: u32, bytes: [u8; N]) -> Result<(), Fault> {
        self.write(address, &bytes)
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
        let mut page = page_of(address);
        let mut left = (address as usize % PAGE_SIZE + len).div_ceil(PAGE_SIZE) * usize::from(len != 0);
        // From mapping to mapping, so that a long range costs what it crosses.
        while left != 0 {
            match self.region_of(page).filter(|r| r.access >= access) {
                None => return Err(self.fault(page)),
                Some(r) => {
                    left -= left.min((r.end() - page) as usize);
                    page = r.end() % PAGE_COUNT;
                }
            }
        }
        Ok(())
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
