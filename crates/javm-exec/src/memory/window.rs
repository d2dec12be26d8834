//! [`WindowMemory`]: guest memory that emitted code can address directly.
//!
//! What is mapped is a list of regions, as in [`CopyingMemory`]; a window of `javm-sys` is attached when
//! something is first read, written or run. Laying a region out is done in one of three ways
//! ([`Backing`]):
//!
//! * small ones are copied at once into pages that get the region's rights;
//! * large ones without a source get the region's rights; the system gives zero pages as they are touched,
//!   and tells later which were;
//! * large ones with a source are left inaccessible, and filled in chunks as emitted code faults on them.
//!
//! The invariant: **a page that is accessible in the window has its contents there, and has the rights of its
//! region**. So emitted code that does not fault has done the right thing, and whatever faults is looked at
//! here with the same rules as in [`CopyingMemory`].
//!
//! A window that is given back keeps its pages and rights. The next memory with the same layout takes it and
//! has only to copy what may have changed: no system call. Mappings are a budget of the process; when it
//! runs short, the memory moves to the heap for good and the interpreter runs on it.

use std::sync::{Arc, Mutex, PoisonError, Weak};

use javm_sys::{Rights, Short, Window};

use super::{
    Access, CopyingMemory, Fault, GuestAccess, LOW_ZONE, MapError, Mem, PAGE_COUNT, PAGE_SIZE, PageSource,
};

/// Regions of at most as many pages are copied at once.
const EAGER_PAGES: u32 = 16;

/// A window that is given back with more touched pages than this is emptied.
const KEPT_PAGES: u32 = 64;

/// How many idle windows are kept.
const IDLE_WINDOWS: usize = 64;

/// The most regions that a window is kept with.
const KEPT_REGIONS: usize = 64;

/// Pages filled at a first fault; more when there are many faults.
const CHUNK_PAGES: u32 = 4;

/// How a region is laid out in the window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Backing {
    /// Not at all so far: inaccessible.
    None,
    /// Completely.
    Copied,
    /// Completely, where untouched pages need no memory.
    Zero,
    /// Page by page: those whose bit is set in `filled`.
    Filled,
}

#[derive(Clone)]
struct Region {
    first: u32,
    count: u32,
    access: Access,
    source: Option<(Arc<dyn PageSource>, u32)>,
    backing: Backing,
    /// Whether it could be written at some time.
    writable_once: bool,
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
        Self { first, count: end - first, source, ..self.clone() }
    }
}

const fn rights(access: Access) -> Rights {
    match access {
        Access::ReadOnly => Rights::Read,
        Access::ReadWrite => Rights::ReadWrite,
    }
}

/// A set of pages, one bit each. Memory is used for what is set only.
struct Pages(Box<[u64]>);

impl Pages {
    fn new() -> Self {
        Self(vec![0; PAGE_COUNT as usize / 64].into())
    }

    fn contains(&self, page: u32) -> bool {
        self.0.get(page as usize / 64).is_some_and(|w| w >> (page % 64) & 1 != 0)
    }

    fn insert(&mut self, page: u32) {
        if let Some(word) = self.0.get_mut(page as usize / 64) {
            *word |= 1 << (page % 64);
        }
    }

    fn remove(&mut self, first: u32, end: u32) {
        let mut page = first;
        while page < end {
            if page.is_multiple_of(64) && end - page >= 64 {
                // Looked at first, so that words that were never touched stay so.
                match self.0.get_mut(page as usize / 64) {
                    Some(word) if *word != 0 => *word = 0,
                    _ => {}
                }
                page += 64;
            } else {
                if self.contains(page) {
                    self.0[page as usize / 64] &= !(1 << (page % 64));
                }
                page += 1;
            }
        }
    }
}

/// A window in use.
struct Attached {
    window: Window,
    filled: Pages,
    /// How many chunks were filled since it was attached.
    fills: u32,
    /// The list of regions of its last use, kept for its memory.
    spare: Vec<IdleRegion>,
}

/// A region of an idle window.
struct IdleRegion {
    first: u32,
    count: u32,
    access: Access,
    /// Weak: an idle window keeps no value alive, but its address is not used for another one.
    source: Option<(Weak<dyn PageSource>, u32)>,
    backing: Backing,
}

struct Idle {
    attached: Box<Attached>,
    layout: u64,
    regions: Vec<IdleRegion>,
}

/// The idle windows of an engine.
#[derive(Default)]
pub(crate) struct WindowPool(Mutex<Vec<Idle>>);

impl core::fmt::Debug for WindowPool {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("WindowPool").finish_non_exhaustive()
    }
}

/// What is the same for two lists of regions that can follow each other in a window.
fn layout_of(regions: &[Region]) -> u64 {
    regions.iter().fold(0xcbf2_9ce4_8422_2325, |h, r| {
        let word =
            u64::from(r.first) << 32 | u64::from(r.count) << 2 | u64::from(r.access == Access::ReadWrite);
        (h ^ word ^ u64::from(r.source.is_some()) << 1).wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(23)
    })
}

impl WindowPool {
    /// An idle window with this layout, or any, or a new one.
    fn take(&self, regions: &[Region]) -> Option<(Box<Attached>, Vec<IdleRegion>)> {
        let layout = layout_of(regions);
        let mut idle = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let fits = |i: &Idle| {
            i.layout == layout
                && i.regions.len() == regions.len()
                && i.regions.iter().zip(regions).all(|(i, r)| {
                    (i.first, i.count, i.access) == (r.first, r.count, r.access)
                        && i.source.is_some() == r.source.is_some()
                })
        };
        let empty = |i: &Idle| i.regions.is_empty();
        if let Some(at) = idle.iter().rposition(fits).or_else(|| idle.iter().rposition(empty)) {
            let found = idle.remove(at);
            return Some((found.attached, found.regions));
        }
        if idle.len() >= IDLE_WINDOWS {
            let mut oldest = idle.remove(0);
            drop(idle);
            oldest.attached.window.reset().ok()?;
            for r in oldest.regions.iter().filter(|r| r.backing == Backing::Filled) {
                oldest.attached.filled.remove(r.first, r.first + r.count);
            }
            return Some((oldest.attached, Vec::new()));
        }
        drop(idle);
        let window = Window::new().ok()?;
        Some((Box::new(Attached { window, filled: Pages::new(), fills: 0, spare: Vec::new() }), Vec::new()))
    }

    fn put(&self, idle: Idle) {
        let mut list = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if list.len() < IDLE_WINDOWS {
            list.push(idle);
        }
    }
}

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
    /// Mapped ranges, ascending and disjoint; unused when the memory is on the heap.
    regions: Vec<Region>,
    /// Whether every region is laid out.
    settled: bool,
    low_zone_open: bool,
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

/// The page of an address.
const fn page_of(address: u32) -> u32 {
    address / PAGE_SIZE as u32
}

/// The pages that `len` bytes from `address` on lie in, in order of access, with the part of each.
fn parts(address: u32, len: usize) -> impl Iterator<Item = (u32, core::ops::Range<usize>, usize)> {
    let mut done = 0;
    core::iter::from_fn(move || {
        if done == len {
            return None;
        }
        let at = address.wrapping_add(done as u32);
        let offset = at as usize % PAGE_SIZE;
        let n = (PAGE_SIZE - offset).min(len - done);
        let part = (page_of(at), offset..offset + n, done);
        done += n;
        Some(part)
    })
}

/// The region that a page lies in.
fn find(regions: &[Region], page: u32) -> Option<&Region> {
    let next = regions.partition_point(|r| r.first <= page);
    regions[..next].last().filter(|r| page < r.end())
}

/// What zeros are copied from: that is several times as fast as filling a page, which is done with string
/// instructions whose start is slow.
static ZEROS: [u8; PAGE_SIZE] = [0; PAGE_SIZE];

/// Writes a page of a source, zero-extended.
fn copy_page(to: &mut [u8], from: Option<&[u8]>) {
    let from = from.unwrap_or(&[]);
    let n = from.len().min(to.len());
    to[..n].copy_from_slice(&from[..n]);
    let rest = &mut to[n..];
    // Hidden from the compiler, which would turn it into a fill.
    rest.copy_from_slice(&core::hint::black_box(&ZEROS)[..rest.len()]);
}

/// Whether a page holds what its source says, zero-extended.
fn page_equals(page: &[u8], source: Option<&[u8]>) -> bool {
    let source = source.unwrap_or(&[]);
    let n = source.len().min(page.len());
    page[..n] == source[..n] && page[n..].iter().all(|b| *b == 0)
}

impl Attached {
    /// Lays a region out where nothing is.
    fn lay_out(&mut self, region: &mut Region) -> Result<(), Short> {
        let (first, count) = (region.first, region.count);
        match (&region.source, count <= EAGER_PAGES) {
            (None, small) => {
                self.window.protect(first, count, rights(region.access))?;
                region.backing = if small { Backing::Copied } else { Backing::Zero };
            }
            (Some(_), true) => {
                self.copy(region)?;
                region.backing = Backing::Copied;
            }
            (Some(_), false) => region.backing = Backing::Filled,
        }
        Ok(())
    }

    /// Copies a whole region into its pages and gives them its rights.
    fn copy(&mut self, region: &Region) -> Result<(), Short> {
        let (first, count) = (region.first, region.count);
        self.window.protect(first, count, Rights::ReadWrite)?;
        let bytes = self.window.bytes_mut(first, count).ok_or(Short)?;
        for (page, to) in (first..).zip(bytes.chunks_exact_mut(PAGE_SIZE)) {
            copy_page(to, region.original(page));
        }
        self.window.protect(first, count, rights(region.access))
    }

    /// Brings a region that an idle window was left with up to date.
    fn refresh(&mut self, region: &mut Region, left: &IdleRegion) -> Result<(), Short> {
        region.backing = left.backing;
        let same_source = match (&region.source, &left.source) {
            (None, None) => true,
            (Some((new, a)), Some((old, b))) => a == b && core::ptr::addr_eq(Arc::as_ptr(new), old.as_ptr()),
            _ => false,
        };
        let (first, count) = (region.first, region.count);
        match region.backing {
            Backing::Copied if region.access == Access::ReadWrite => self.copy(region),
            Backing::Copied if same_source => Ok(()),
            Backing::Copied => {
                let bytes = self.window.bytes(first, count).ok_or(Short)?;
                let mut pages = (first..).zip(bytes.chunks_exact(PAGE_SIZE));
                if pages.all(|(page, bytes)| page_equals(bytes, region.original(page))) {
                    return Ok(());
                }
                self.copy(region)
            }
            Backing::Filled if same_source => Ok(()),
            Backing::Filled => self.take_out(first, region.end()),
            Backing::Zero => Ok(()),
            Backing::None => self.lay_out(region),
        }
    }

    /// Makes pages inaccessible and zero.
    fn take_out(&mut self, first: u32, end: u32) -> Result<(), Short> {
        self.window.remove(first, end - first)?;
        self.filled.remove(first, end);
        Ok(())
    }

    /// Fills a chunk around a page of a region that is filled page by page.
    fn fill(&mut self, region: &Region, page: u32) -> Result<(), Short> {
        if self.filled.contains(page) {
            return Ok(());
        }
        // Larger chunks with more faults: fewer faults, and fewer mappings.
        let size = CHUNK_PAGES << (self.fills / 32).min(4);
        self.fills += 1;
        let first = (page - page % size).max(region.first);
        let end = (page - page % size + size).min(region.end());
        self.window.protect(first, end - first, Rights::ReadWrite)?;
        for page in first..end {
            if !self.filled.contains(page) {
                if let Some(original) = region.original(page) {
                    copy_page(self.window.bytes_mut(page, 1).ok_or(Short)?, Some(original));
                }
                self.filled.insert(page);
            }
        }
        self.window.protect(first, end - first, rights(region.access))
    }

    /// Ranges of pages of a region that somebody may have touched.
    fn touched(&self, region: &Region, found: &mut dyn FnMut(u32, u32)) {
        match region.backing {
            Backing::None => {}
            Backing::Copied => found(region.first, region.end()),
            Backing::Zero => self.window.touched(region.first, region.count, found),
            Backing::Filled => {
                for run in self.window.runs() {
                    let (first, end) = (run.first.max(region.first), run.end.min(region.end()));
                    if first < end {
                        found(first, end);
                    }
                }
            }
        }
    }
}

impl WindowMemory {
    pub(crate) fn new(pool: &Arc<WindowPool>) -> Self {
        Self {
            pool: Arc::clone(pool),
            state: State::Detached,
            regions: Vec::new(),
            settled: true,
            low_zone_open: false,
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
            attached.fills = 0;
            let refreshed = self
                .regions
                .iter_mut()
                .zip(&left)
                .try_for_each(|(region, left)| attached.refresh(region, left));
            if refreshed.is_err() {
                // Nothing was touched yet, so what the window holds does not matter.
                self.regions.iter_mut().for_each(|r| r.backing = Backing::None);
                return Err(Short);
            }
            left.clear();
            attached.spare = left;
            self.state = State::Attached(attached);
        }
        let State::Attached(attached) = &mut self.state else { return Ok(()) };
        for region in self.regions.iter_mut().filter(|r| r.backing == Backing::None) {
            attached.lay_out(region)?;
        }
        Ok(())
    }

    /// Moves to the heap, for good.
    #[cold]
    fn move_to_heap(&mut self) -> &mut CopyingMemory {
        if !matches!(self.state, State::Heap(_)) {
            let mut heap = CopyingMemory::new();
            for r in &self.regions {
                // They were accepted before, so they are now.
                let _ = heap.map(r.first, r.count, r.access, r.source.clone());
            }
            for page in self.written(0, PAGE_COUNT) {
                if let Some(bytes) = self.page(page) {
                    let _ = heap.poke(page * PAGE_SIZE as u32, bytes);
                }
            }
            self.regions = Vec::new();
            self.poked = Vec::new();
            self.state = State::Heap(Box::new(heap));
        }
        match &mut self.state {
            State::Heap(heap) => heap,
            State::Detached | State::Attached(_) => unreachable!("it was put there above"),
        }
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
        if let State::Heap(heap) = &mut self.state {
            return heap.map(first, count, access, source);
        }
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
        let writable_once = access == Access::ReadWrite;
        let backing = Backing::None;
        self.regions.insert(at, Region { first, count, access, source, backing, writable_once });
        self.settled = false;
        self.update_low_zone();
        Ok(())
    }

    /// Takes the part of every region in `first..end` out and gives it to `keep`, which may return a
    /// changed region to put back.
    fn carve(&mut self, first: u32, end: u32, mut keep: impl FnMut(Region) -> Option<Region>) {
        let from = self.regions.partition_point(|r| r.end() <= first);
        let to = self.regions.partition_point(|r| r.first < end);
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
        self.carve(first, end, |_| None);
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
        let end = first
            .checked_add(count)
            .filter(|end| *end <= PAGE_COUNT)
            .ok_or(MapError::OutOfRange { first, count })?;
        let mut page = first;
        while page < end {
            page = self.region_of(page).ok_or(MapError::NotMapped { page })?.end();
        }
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
        self.carve(first, end, |r| Some(Region { access, writable_once: r.writable_once || writable, ..r }));
        Ok(())
    }

    /// See [`Memory::access`](super::Memory::access).
    #[must_use]
    pub fn access(&self, page: u32) -> Option<Access> {
        match &self.state {
            State::Heap(heap) => heap.access(page),
            State::Detached | State::Attached(_) => self.region_of(page).map(|r| r.access),
        }
    }

    /// See [`Memory::mapped`](super::Memory::mapped).
    pub fn mapped(&self) -> impl Iterator<Item = (u32, u32, Access)> + '_ {
        let heap = match &self.state {
            State::Heap(heap) => Some(heap.mapped()),
            State::Detached | State::Attached(_) => None,
        };
        let own = self.regions.iter().map(|r| (r.first, r.count, r.access));
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
        let region = self.region_of(page)?;
        match (attached, region.backing) {
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
        for region in regions.filter(|r| r.writable_once) {
            let (first, end) = (region.first.max(first), region.end().min(end));
            attached.touched(&region.cut(first, end), &mut |from, to| pages.extend(from..to));
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
        self.low_zone_open = false;
    }

    /// Returns the window to the pool, with its pages if there are not too many.
    fn give_back(&mut self) {
        let State::Attached(mut attached) = core::mem::replace(&mut self.state, State::Detached) else {
            return;
        };
        let keep = self.settled && self.poked.is_empty() && self.regions.len() <= KEPT_REGIONS;
        if !keep || !clean(&mut attached, &self.regions) {
            if attached.window.reset().is_err() {
                return;
            }
            for r in self.regions.iter().filter(|r| r.backing == Backing::Filled) {
                attached.filled.remove(r.first, r.end());
            }
            self.regions.clear();
        }
        let layout = layout_of(&self.regions);
        let mut regions = core::mem::take(&mut attached.spare);
        regions.extend(self.regions.drain(..).map(|r| IdleRegion {
            first: r.first,
            count: r.count,
            access: r.access,
            source: r.source.map(|(s, n)| (Arc::downgrade(&s), n)),
            backing: r.backing,
        }));
        self.pool.put(Idle { attached, layout, regions });
    }

    /// The fault of a byte that is not accessible.
    const fn fault(&self, page: u32) -> Fault {
        let address = page * PAGE_SIZE as u32;
        if address < LOW_ZONE && !self.low_zone_open { Fault::Panic } else { Fault::Page(address) }
    }

    /// Makes sure that the pages of a mapped range are accessible in the window. `false` when the memory is,
    /// or has just moved, on the heap.
    fn prepare(&mut self, address: u32, len: usize) -> bool {
        if self.attached().is_none() {
            return false;
        }
        let State::Attached(attached) = &mut self.state else { return false };
        for (page, ..) in parts(address, len) {
            if let Some(region) = find(&self.regions, page)
                && region.backing == Backing::Filled
                && attached.fill(region, page).is_err()
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
                if self.region_of(page).is_none() {
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

/// Readies a window for reuse with the same regions; `false` when it keeps too much.
fn clean(attached: &mut Attached, regions: &[Region]) -> bool {
    let mut pages = 0u32;
    for region in regions {
        let mut ranges: Vec<(u32, u32)> = Vec::new();
        if region.backing == Backing::Copied {
            pages += region.count;
        } else {
            attached.touched(region, &mut |first, end| {
                pages = pages.saturating_add(end - first);
                if pages <= KEPT_PAGES {
                    ranges.push((first, end));
                }
            });
        }
        if pages > KEPT_PAGES {
            return false;
        }
        match (region.backing, region.access) {
            (Backing::Zero, Access::ReadWrite) => {
                for (first, end) in ranges {
                    match attached.window.bytes_mut(first, end - first) {
                        Some(bytes) => {
                            bytes.chunks_exact_mut(PAGE_SIZE).for_each(|page| copy_page(page, None))
                        }
                        None => return false,
                    }
                }
            }
            // What was read-only when it was touched may have been written before; take no chances.
            (Backing::Zero, Access::ReadOnly) if region.writable_once => return false,
            (Backing::Copied, Access::ReadOnly) if region.writable_once => return false,
            (Backing::Filled, _)
                if region.writable_once && attached.take_out(region.first, region.end()).is_err() =>
            {
                return false;
            }
            _ => {}
        }
    }
    true
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

impl GuestAccess for WindowMemory {
    fn load<const N: usize>(&mut self, address: u32) -> Result<[u8; N], Fault> {
        let mut bytes = [0; N];
        self.read(address, &mut bytes)?;
        Ok(bytes)
    }

    fn store<const N: usize>(&mut self, address: u32, bytes: [u8; N]) -> Result<(), Fault> {
        self.write(address, &bytes)
    }
}
