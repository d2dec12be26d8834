//! [`SharedStore`]: the pages that several address spaces have mapped, and which of them were written.
//!
//! Pages are numbered. One that nobody touched is zero and takes no memory. They are on the heap, in order of first
//! touch, or, where emitted code is to reach them, in a [`Backing`] of `javm-sys`, in order of their numbers. Tables
//! are in chunks of 1,024 pages that exist where a page of theirs was touched, so that a number may be anything.

use javm_sys::Backing;

use super::{
    super::{PAGE_SIZE, Page},
    windows::Windows,
};
use crate::{Backend, Engine};

/// Pages of a chunk.
const CHUNK: u32 = 1024;

/// Stores of more pages are on the heap: address space ends somewhere.
const MAX_BACKING: u32 = 1 << 30;

/// A range of pages of a store.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Extent {
    /// First page.
    pub first: u32,
    /// How many.
    pub count: u32,
}

impl Extent {
    /// Size in bytes.
    #[must_use]
    pub const fn len(self) -> u64 {
        self.count as u64 * PAGE_SIZE as u64
    }

    /// Whether it has no pages.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.count == 0
    }

    /// The page behind the last.
    const fn end(self) -> u64 {
        self.first as u64 + self.count as u64
    }
}

/// What is known of 1,024 pages.
#[derive(Debug)]
struct Chunk {
    /// Index into the pages on the heap plus 1; 0 for a page that nobody touched.
    slots: [u32; CHUNK as usize],
    /// Pages written since [`SharedStore::clear_written`] was last asked.
    written: [u64; CHUNK as usize / 64],
}

/// Pages that address spaces share.
#[derive(Debug)]
pub struct SharedStore {
    chunks: Vec<Option<Box<Chunk>>>,
    pages: Pages,
}

/// Where the contents are.
#[derive(Debug)]
enum Pages {
    Heap {
        /// Touched pages, in order of first touch.
        pages: Vec<Page>,
        /// Indices of pages that were discarded.
        free: Vec<u32>,
    },
    /// By number.
    Backing { pages: Backing, windows: Windows },
}

/// The pages of a store that a range of bytes lies in, with the part of each, and what was before.
fn parts(offset: u64, len: usize) -> impl Iterator<Item = (u32, core::ops::Range<usize>, usize)> {
    let mut done = 0;
    core::iter::from_fn(move || {
        if done == len {
            return None;
        }
        let at = offset + done as u64;
        let from = (at % PAGE_SIZE as u64) as usize;
        let n = (PAGE_SIZE - from).min(len - done);
        let part = ((at / PAGE_SIZE as u64) as u32, from..from + n, done);
        done += n;
        Some(part)
    })
}

impl SharedStore {
    /// A store of so many pages, all zero, that modules of this engine can run on.
    #[must_use]
    pub fn new(engine: &Engine, pages: u32) -> Self {
        let backing = match engine.backend() {
            Backend::Recompiler if pages < MAX_BACKING => Backing::new(pages).ok(),
            _ => None,
        };
        let pages = match backing {
            Some(pages) => Pages::Backing { pages, windows: Windows::default() },
            None => Pages::Heap { pages: Vec::new(), free: Vec::new() },
        };
        Self { chunks: Vec::new(), pages }
    }

    /// Backing and windows, where emitted code can run.
    pub(super) fn native(&mut self) -> Option<(&mut Backing, &mut Windows)> {
        match &mut self.pages {
            Pages::Backing { pages, windows } => Some((pages, windows)),
            Pages::Heap { .. } => None,
        }
    }

    fn chunk(&self, page: u32) -> Option<&Chunk> {
        self.chunks.get((page / CHUNK) as usize)?.as_deref()
    }

    fn chunk_mut(&mut self, page: u32) -> &mut Chunk {
        let at = (page / CHUNK) as usize;
        if at >= self.chunks.len() {
            self.chunks.resize_with(at + 1, || None);
        }
        self.chunks[at].get_or_insert_with(|| {
            Box::new(Chunk { slots: [0; CHUNK as usize], written: [0; CHUNK as usize / 64] })
        })
    }

    /// The contents of a page by its slot.
    #[inline(always)]
    pub(super) fn by_slot(&self, slot: usize) -> Option<&Page> {
        match &self.pages {
            Pages::Heap { pages, .. } => pages.get(slot),
            Pages::Backing { pages, .. } => pages.pages().get(slot),
        }
    }

    /// As [`Self::by_slot`].
    #[inline(always)]
    pub(super) fn by_slot_mut(&mut self, slot: usize) -> Option<&mut Page> {
        match &mut self.pages {
            Pages::Heap { pages, .. } => pages.get_mut(slot),
            Pages::Backing { pages, .. } => pages.pages_mut().get_mut(slot),
        }
    }

    /// The slot of a page, which gets memory if it has none.
    pub(super) fn slot(&mut self, page: u32) -> u32 {
        if matches!(self.pages, Pages::Backing { .. }) {
            return page;
        }
        let known = self.chunk_mut(page).slots[(page % CHUNK) as usize];
        let (pages, free) = match &mut self.pages {
            Pages::Heap { pages, free } if known == 0 => (pages, free),
            _ => return known - 1,
        };
        let slot = match free.pop() {
            Some(slot) => {
                pages[slot as usize].fill(0);
                slot
            }
            None => {
                pages.push([0; PAGE_SIZE]);
                pages.len() as u32 - 1
            }
        };
        self.chunk_mut(page).slots[(page % CHUNK) as usize] = slot + 1;
        slot
    }

    /// Whether a page is noted as written.
    pub(super) fn is_written(&self, page: u32) -> bool {
        self.chunk(page).is_some_and(|c| c.written[(page % CHUNK / 64) as usize] >> (page % 64) & 1 != 0)
    }

    /// Notes that a page is written.
    pub(super) fn mark(&mut self, page: u32) {
        self.chunk_mut(page).written[(page % CHUNK / 64) as usize] |= 1 << (page % 64);
    }

    /// The contents of a page; `None`: zero.
    fn page(&self, page: u32) -> Option<&Page> {
        match &self.pages {
            Pages::Backing { pages, .. } => pages.pages().get(page as usize),
            Pages::Heap { pages, .. } => {
                let slot = self.chunk(page)?.slots[(page % CHUNK) as usize].checked_sub(1)?;
                pages.get(slot as usize)
            }
        }
    }

    /// Reads bytes of an extent. `false`, and nothing read, when they do not lie inside.
    pub fn read(&self, extent: Extent, offset: u64, buf: &mut [u8]) -> bool {
        if offset.checked_add(buf.len() as u64).is_none_or(|end| end > extent.len()) {
            return false;
        }
        let start = u64::from(extent.first) * PAGE_SIZE as u64 + offset;
        for (page, range, at) in parts(start, buf.len()) {
            let to = &mut buf[at..at + range.len()];
            match self.page(page) {
                Some(page) => to.copy_from_slice(&page[range]),
                None => to.fill(0),
            }
        }
        true
    }

    /// Writes bytes of an extent; their pages count as written. `false`, and nothing done, when they do not lie
    /// inside.
    pub fn write(&mut self, extent: Extent, offset: u64, bytes: &[u8]) -> bool {
        if offset.checked_add(bytes.len() as u64).is_none_or(|end| end > extent.len()) {
            return false;
        }
        let start = u64::from(extent.first) * PAGE_SIZE as u64 + offset;
        for (page, range, at) in parts(start, bytes.len()) {
            let slot = self.slot(page) as usize;
            self.mark(page);
            let from = &bytes[at..at + range.len()];
            if let Some(page) = self.by_slot_mut(slot) {
                page[range].copy_from_slice(from);
            }
        }
        true
    }

    /// Copies bytes from one extent to another, or inside one, as if through a buffer. The pages that they are
    /// copied to count as written. `false`, and nothing done, when they do not lie inside.
    pub fn copy(&mut self, from: (Extent, u64), to: (Extent, u64), len: u64) -> bool {
        let inside =
            |(extent, offset): (Extent, u64)| offset.checked_add(len).is_some_and(|end| end <= extent.len());
        if !inside(from) || !inside(to) {
            return false;
        }
        // From the end where the target lies behind the source and they may overlap.
        let backwards = from.0.first == to.0.first && from.1 < to.1;
        let mut buf = [0; PAGE_SIZE];
        let mut done = 0;
        while done < len {
            let n = (len - done).min(PAGE_SIZE as u64);
            let at = if backwards { len - done - n } else { done };
            let piece = &mut buf[..n as usize];
            self.read(from.0, from.1 + at, piece);
            self.write(to.0, to.1 + at, piece);
            done += n;
        }
        true
    }

    /// 64 pages' bits of those written, from any page on.
    fn written_word(&self, page: u64) -> u64 {
        let word = |n: u64| {
            let Ok(page) = u32::try_from(n * 64) else { return 0 };
            self.chunk(page).map_or(0, |c| c.written[(page % CHUNK / 64) as usize])
        };
        let (n, shift) = (page / 64, page % 64);
        if shift == 0 { word(n) } else { word(n) >> shift | word(n + 1) << (64 - shift) }
    }

    /// One bit for each page of an extent, least significant first: whether it was written since
    /// [`Self::clear_written`]; the rest of the last byte is 0.
    #[must_use]
    pub fn written(&self, extent: Extent) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(extent.count.div_ceil(8) as usize + 8);
        let mut page = 0;
        while page < extent.count {
            let left = extent.count - page;
            let mut word = self.written_word(u64::from(extent.first) + u64::from(page));
            if left < 64 {
                word &= !(u64::MAX << left);
            }
            bytes.extend_from_slice(&word.to_le_bytes());
            page = page.saturating_add(64);
        }
        bytes.truncate(extent.count.div_ceil(8) as usize);
        bytes
    }

    /// Forgets that pages were written. Address spaces that have them mapped must be told:
    /// [`SharedSpace::written_again`](super::SharedSpace::written_again).
    pub fn clear_written(&mut self, extent: Extent) {
        let (first, end) = (u64::from(extent.first), extent.end());
        for n in first / u64::from(CHUNK)..end.div_ceil(u64::from(CHUNK)) {
            let Some(Some(chunk)) = self.chunks.get_mut(n as usize) else { continue };
            for (k, word) in chunk.written.iter_mut().enumerate() {
                let start = n * u64::from(CHUNK) + k as u64 * 64;
                let low =
                    if first > start { u64::MAX.checked_shl((first - start) as u32) } else { Some(u64::MAX) };
                let high = if end < start {
                    Some(u64::MAX)
                } else {
                    u64::MAX.checked_shl((end - start).min(64) as u32)
                };
                *word &= !(low.unwrap_or(0) & !high.unwrap_or(0));
            }
        }
    }

    /// Gives the memory of pages back that nobody will use again. Nobody may have them mapped.
    pub fn discard(&mut self, extent: Extent) {
        self.clear_written(extent);
        let free = match &mut self.pages {
            // Where the system keeps the memory it is kept: nothing is told apart by that.
            Pages::Backing { pages, .. } => return pages.discard(extent.first, extent.count).unwrap_or(()),
            Pages::Heap { free, .. } => free,
        };
        let (first, end) = (u64::from(extent.first), extent.end());
        for n in first / u64::from(CHUNK)..end.div_ceil(u64::from(CHUNK)) {
            let Some(Some(chunk)) = self.chunks.get_mut(n as usize) else { continue };
            let start = n * u64::from(CHUNK);
            let range = first.saturating_sub(start) as usize..(end - start).min(u64::from(CHUNK)) as usize;
            for slot in chunk.slots[range].iter_mut().filter(|s| **s != 0) {
                free.push(*slot - 1);
                *slot = 0;
            }
        }
    }
}
