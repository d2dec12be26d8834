//! [`WindowMemory`]: guest memory that emitted code can address directly.
//!
//! What is mapped is a list of regions, as in [`CopyingMemory`]; a window of `javm-sys` is attached when
//! something is first read, written or run. How regions are laid out in it is told in `attached.rs`, how windows
//! are used again in `pool.rs`.
//!
//! The invariant: **a page that is accessible in the window has its contents there, and has the rights of its
//! region**. So emitted code that does not fault has done the right thing, and whatever faults is looked at
//! here with the same rules as in [`CopyingMemory`].
//!
//! Mappings are a budget of the process; when it runs short, the memory moves to the heap for good and the
//! interpreter runs on it.

mod attached;
mod pool;
mod region;

use std::sync::Arc;

use javm_sys::{Rights, Short, Window};

use super::{
    Access, CopyingMemory, Fault, GuestAccess, MapError, Mem, PAGE_COUNT, PAGE_SIZE, PageSource, parts,
    regions::Regions,
};
use attached::{Attached, MANY_PAGES};
pub(crate) use pool::WindowPool;
use region::{Backing, Laid, rights};

/// The most regions that a window is kept with.
const KEPT_REGIONS: usize = 64;

enum State {
    /// No window yet: nothing was touched.
    Detached,
    Attached(Box<Attached>),
    /// There were not enough mappings.
    Heap(Box<CopyingMemory>),
}

/// Guest memory in a window of address space.
pub struct WindowMemory {
    pool: Arc<WindowPool>,
    state: State,
    /// Empty when the memory is on the heap.
    regions: Regions<Laid>,
    /// Whether every region is laid out.
    settled: bool,
    /// Pages of read-only regions that the host changed.
    poked: Vec<u32>,
}

impl core::fmt::Debug for WindowMemory {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("WindowMemory")
            .field("mapped", &self.mapped().collect::<Vec<_>>())
            .field("native", &self.is_native())
            .finish_non_exhaustive()
    }
}

impl WindowMemory {
    pub(crate) fn new(pool: &Arc<WindowPool>) -> Self {
        Self {
            pool: Arc::clone(pool),
            state: State::Detached,
            regions: Regions::default(),
            settled: true,
            poked: Vec::new(),
        }
    }

    /// Whether emitted code can run on it.
    pub(crate) const fn is_native(&self) -> bool {
        !matches!(self.state, State::Heap(_))
    }

    /// The window with everything laid out; `None` when the memory is on the heap.
    #[inline]
    pub(crate) fn window(&mut self) -> Option<&mut Window> {
        self.attached().map(|a| &mut a.window)
    }

    #[inline]
    fn attached(&mut self) -> Option<&mut Attached> {
        if !(self.settled && matches!(self.state, State::Attached(_))) {
            self.settle();
        }
        match &mut self.state {
            State::Attached(attached) => Some(attached),
            State::Detached | State::Heap(_) => None,
        }
    }

    /// Attaches a window if there is none, and lays out what is not.
    #[cold]
    #[inline(never)]
    fn settle(&mut self) {
        if self.try_settle().is_err() {
            self.move_to_heap();
        }
        self.settled = true;
    }

    fn try_settle(&mut self) -> Result<(), Short> {
        if let State::Detached = self.state {
            let (mut attached, mut left) = self.pool.take(&self.regions).ok_or(Short)?;
            let refreshed = self
                .regions
                .iter_mut()
                .zip(&left)
                .try_for_each(|(region, left)| attached.refresh(region, left));
            if refreshed.is_err() {
                // Nothing was touched yet, so what the window holds does not matter.
                self.regions.iter_mut().for_each(|r| r.state.backing = Backing::None);
                return Err(Short);
            }
            left.clear();
            attached.spare = left;
            self.state = State::Attached(attached);
        }
        let State::Attached(attached) = &mut self.state else { return Ok(()) };
        for region in self.regions.iter_mut().filter(|r| r.state.backing == Backing::None) {
            attached.lay_out(region)?;
        }
        Ok(())
    }

    /// Moves to the heap, for good.
    #[cold]
    fn move_to_heap(&mut self) -> &mut CopyingMemory {
        if !matches!(self.state, State::Heap(_)) {
            let mut heap = CopyingMemory::new();
            for r in self.regions.iter() {
                // They were accepted before, so they are now.
                let _ = heap.map(r.first, r.count, r.access, r.source.clone());
            }
            for page in self.written(0, PAGE_COUNT) {
                if let Some(bytes) = self.page(page) {
                    let _ = heap.poke(page * PAGE_SIZE as u32, bytes);
                }
            }
            self.regions = Regions::default();
            self.poked = Vec::new();
            self.state = State::Heap(Box::new(heap));
        }
        match &mut self.state {
            State::Heap(heap) => heap,
            State::Detached | State::Attached(_) => unreachable!("it was put there above"),
        }
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
        if let State::Heap(heap) = &mut self.state {
            return heap.map(first, count, access, source);
        }
        let laid = Laid { backing: Backing::None, writable_once: access == Access::ReadWrite };
        self.regions.map((first, count), access, source, laid)?;
        self.settled = self.settled && count == 0;
        Ok(())
    }

    /// See [`Memory::unmap`](super::Memory::unmap).
    pub fn unmap(&mut self, first: u32, count: u32) {
        let end = first.saturating_add(count).min(PAGE_COUNT);
        if let State::Attached(attached) = &mut self.state
            && first < end
            && attached.take_out(first, end).is_err()
        {
            self.move_to_heap();
        }
        if let State::Heap(heap) = &mut self.state {
            heap.unmap(first, count);
            return;
        }
        self.regions.carve(first, end, |_| None);
        self.poked.retain(|p| !(first..end).contains(p));
    }

    /// See [`Memory::protect`](super::Memory::protect).
    ///
    /// # Errors
    /// [`MapError::NotMapped`]; nothing changes then.
    pub fn protect(&mut self, first: u32, count: u32, access: Access) -> Result<(), MapError> {
        if let State::Heap(heap) = &mut self.state {
            return heap.protect(first, count, access);
        }
        let end = self.regions.all_mapped(first, count)?;
        if let State::Attached(attached) = &mut self.state {
            // What is accessible gets the new rights; what is not gets them when it is laid out.
            let runs: Vec<_> =
                attached.window.runs().iter().filter(|r| r.first < end && r.end > first).copied().collect();
            let changed = runs.iter().try_for_each(|run| {
                let (first, end) = (run.first.max(first), run.end.min(end));
                attached.window.protect(first, end - first, rights(access))
            });
            if changed.is_err() {
                return self.move_to_heap().protect(first, count, access);
            }
        }
        let writable = access == Access::ReadWrite;
        self.regions.carve(first, end, |mut region| {
            region.access = access;
            region.state.writable_once |= writable;
            Some(region)
        });
        Ok(())
    }

    /// See [`Memory::access`](super::Memory::access).
    #[must_use]
    pub fn access(&self, page: u32) -> Option<Access> {
        match &self.state {
            State::Heap(heap) => heap.access(page),
            State::Detached | State::Attached(_) => self.regions.of(page).map(|r| r.access),
        }
    }

    /// See [`Memory::mapped`](super::Memory::mapped).
    pub fn mapped(&self) -> impl Iterator<Item = (u32, u32, Access)> + '_ {
        let heap = match &self.state {
            State::Heap(heap) => Some(heap.mapped()),
            State::Detached | State::Attached(_) => None,
        };
        let own = self.regions.mapped();
        heap.into_iter().flatten().chain(own)
    }

    /// See [`Memory::page`](super::Memory::page).
    #[must_use]
    pub fn page(&self, page: u32) -> Option<&[u8]> {
        let attached = match &self.state {
            State::Heap(heap) => return heap.page(page),
            State::Attached(attached) => Some(attached),
            State::Detached => None,
        };
        let region = self.regions.of(page)?;
        match (attached, region.state.backing) {
            (Some(attached), Backing::Copied | Backing::Zero) => attached.window.bytes(page, 1),
            (Some(attached), Backing::Filled) if attached.filled.contains(page) => {
                attached.window.bytes(page, 1)
            }
            _ => region.original(page),
        }
    }

    /// See [`Memory::written`](super::Memory::written).
    #[must_use]
    pub fn written(&self, first: u32, count: u32) -> Vec<u32> {
        let attached = match &self.state {
            State::Heap(heap) => return heap.written(first, count),
            State::Attached(attached) => attached,
            State::Detached => return Vec::new(),
        };
        let end = first.saturating_add(count);
        let mut pages: Vec<u32> = self.poked.iter().copied().filter(|p| (first..end).contains(p)).collect();
        let from = self.regions.partition_point(|r| r.end() <= first);
        let regions = self.regions[from..].iter().take_while(|r| r.first < end);
        for region in regions.filter(|r| r.state.writable_once) {
            let (first, end) = (region.first.max(first), region.end().min(end));
            attached.touched(region.state.backing, first, end, &mut |from, to| pages.extend(from..to));
        }
        pages.sort_unstable();
        pages.dedup();
        pages
    }

    /// See [`Memory::clear`](super::Memory::clear).
    pub fn clear(&mut self) {
        self.give_back();
        self.state = State::Detached;
        self.regions.clear();
        self.poked.clear();
        self.settled = true;
    }

    /// Returns the window to the pool, with its pages if there are not too many.
    fn give_back(&mut self) {
        let State::Attached(mut attached) = core::mem::replace(&mut self.state, State::Detached) else {
            return;
        };
        let kept = self.settled
            && self.poked.is_empty()
            && self.regions.len() <= KEPT_REGIONS
            && attached.clean(&mut self.regions)
            && (attached.pages <= MANY_PAGES || self.pool.has_room(attached.pages));
        let regions = self.regions.iter().map(|r| (r.first, r.end(), r.state.backing));
        if kept || attached.empty(regions).is_ok() {
            self.pool.put(attached, &mut self.regions, kept);
        }
    }

    /// Makes sure that the pages of a mapped range are accessible in the window. `false` when the memory is,
    /// or has just moved, on the heap.
    fn prepare(&mut self, address: u32, len: usize) -> bool {
        if self.attached().is_none() {
            return false;
        }
        let State::Attached(attached) = &mut self.state else { return false };
        for (page, ..) in parts(address, len) {
            if let Some(at) = self.regions.find(page)
                && self.regions[at].state.backing == Backing::Filled
                && attached.fill(&mut self.regions[at], page).is_err()
            {
                self.move_to_heap();
                return false;
            }
        }
        true
    }

    /// See [`Memory::poke`](super::Memory::poke).
    ///
    /// # Errors
    /// [`MapError::NotMapped`]; nothing is written then.
    pub fn poke(&mut self, address: u32, bytes: &[u8]) -> Result<(), MapError> {
        if self.is_native() {
            for (page, ..) in parts(address, bytes.len()) {
                if self.regions.of(page).is_none() {
                    return Err(MapError::NotMapped { page });
                }
            }
            if self.prepare(address, bytes.len()) {
                for (page, range, at) in parts(address, bytes.len()) {
                    if self.poke_page(page, range.clone(), &bytes[at..at + range.len()]).is_err() {
                        return self.move_to_heap().poke(address, bytes);
                    }
                }
                return Ok(());
            }
        }
        self.move_to_heap().poke(address, bytes)
    }

    /// Writes into one page, whatever its rights.
    fn poke_page(&mut self, page: u32, range: core::ops::Range<usize>, bytes: &[u8]) -> Result<(), Short> {
        let State::Attached(attached) = &mut self.state else { return Err(Short) };
        let window = &mut attached.window;
        if let Some(to) = window.bytes_mut(page, 1) {
            to[range].copy_from_slice(bytes);
            return Ok(());
        }
        window.protect(page, 1, Rights::ReadWrite)?;
        window.bytes_mut(page, 1).ok_or(Short)?[range].copy_from_slice(bytes);
        window.protect(page, 1, Rights::Read)?;
        if let Err(at) = self.poked.binary_search(&page) {
            self.poked.insert(at, page);
        }
        Ok(())
    }
}

impl Drop for WindowMemory {
    fn drop(&mut self) {
        self.give_back();
    }
}

impl Mem for WindowMemory {
    fn read(&mut self, address: u32, buf: &mut [u8]) -> Result<(), Fault> {
        self.check(address, buf.len(), Access::ReadOnly)?;
        if !self.prepare(address, buf.len()) {
            return self.move_to_heap().read(address, buf);
        }
        let State::Attached(attached) = &self.state else { return Err(Fault::Panic) };
        for (page, range, at) in parts(address, buf.len()) {
            let n = range.len();
            let bytes = attached.window.bytes(page, 1).ok_or(Fault::Panic)?;
            buf[at..at + n].copy_from_slice(&bytes[range]);
        }
        Ok(())
    }

    fn write(&mut self, address: u32, bytes: &[u8]) -> Result<(), Fault> {
        self.check(address, bytes.len(), Access::ReadWrite)?;
        if !self.prepare(address, bytes.len()) {
            return self.move_to_heap().write(address, bytes);
        }
        let State::Attached(attached) = &mut self.state else { return Err(Fault::Panic) };
        for (page, range, at) in parts(address, bytes.len()) {
            let n = range.len();
            let to = attached.window.bytes_mut(page, 1).ok_or(Fault::Panic)?;
            to[range].copy_from_slice(&bytes[at..at + n]);
        }
        Ok(())
    }

    fn check(&self, address: u32, len: usize, access: Access) -> Result<(), Fault> {
        if let State::Heap(heap) = &self.state {
            return heap.check(address, len, access);
        }
        self.regions.check(address, len, access)
    }
}

impl GuestAccess for WindowMemory {
    fn load<const N: usize>(&mut self, address: u32) -> Result<[u8; N], Fault> {
        self.load_slow(address)
    }

    fn store<const N: usize>(&mut self, address: u32, bytes: [u8; N]) -> Result<(), Fault> {
        self.store_slow(address, bytes)
    }
}
