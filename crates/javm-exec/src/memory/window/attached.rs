//! [`Attached`]: a window in use. How regions come into its pages, and how they get ready for the next owner.
//!
//! What is done for a region costs the pages that somebody touched, here or in the lives of the window before:
//! 1. A small region is laid out at once when the window is new: copying a few pages is cheaper than a fault.
//! 2. After its first life only those of its pages stay that were changed; they are what the program uses.
//! 3. Everything else is filled in chunks as it is touched, and stays filled from then on.
//! 4. A region of zeros that is filled again and again is opened whole, and the system gives its pages.

use javm_sys::{Rights, Short, Window};

use super::{
    pool::IdleRegion,
    region::{Backing, Pages, Region, rights},
};
use crate::memory::{Access, PAGE_SIZE, copy_page, same_page};

/// Regions of at most as many pages are copied at once.
const EAGER_PAGES: u32 = 16;

/// A window that is given back with more touched pages than this is emptied. To clear a page takes a tenth of the time
/// that it takes the system to give a new one.
const KEPT_PAGES: u32 = 1024;

/// A program that touched more pages than this in one life is given them in large parts in its next, and keeps them for
/// a few lives only, if there is room.
pub(super) const MANY_PAGES: u32 = 64;

/// Pages filled at a first fault, and the least that is taken out; more when there are many faults.
const CHUNK_PAGES: u32 = 4;

/// After as many fills in one life a region of zeros is opened whole.
const MANY_FILLS: u32 = 16;

/// After as many lives the pages that are kept are let go, in case they are not what the program uses now.
const LIVES: u32 = 256;

/// The same where there are many: clearing them in all these lives takes less time than they took to come, so that a
/// guest which touches them once does not make its later calls dear for the host.
const LIVES_OF_MANY: u32 = 8;

/// A window in use.
pub(super) struct Attached {
    pub(super) window: Window,
    pub(super) filled: Pages,
    /// How many chunks were filled since it was attached.
    pub(super) fills: u32,
    /// How often it was given back with pages in it.
    lives: u32,
    /// How many pages were touched when it was given back, if it was not emptied.
    pub(super) pages: u32,
    /// The list of regions of its last use, kept for its memory.
    pub(super) spare: Vec<IdleRegion>,
}

impl Attached {
    pub(super) fn new(window: Window) -> Self {
        Self { window, filled: Pages::new(), fills: 0, lives: 0, pages: 0, spare: Vec::new() }
    }

    /// Lays a region out where nothing is.
    pub(super) fn lay_out(&mut self, region: &mut Region) -> Result<(), Short> {
        let (first, count) = (region.first, region.count);
        if count > EAGER_PAGES {
            region.state.backing = Backing::Filled;
            return Ok(());
        }
        match &region.source {
            None => self.window.protect(first, count, rights(region.access))?,
            Some(_) => self.copy(region)?,
        }
        region.state.backing = Backing::Copied;
        Ok(())
    }

    /// Copies a whole region into its pages and gives them its rights.
    fn copy(&mut self, region: &Region) -> Result<(), Short> {
        let (first, count) = (region.first, region.count);
        self.window.protect(first, count, Rights::ReadWrite)?;
        self.restore(region, first, region.end())?;
        self.window.protect(first, count, rights(region.access))
    }

    /// Copies what the source has into writable pages.
    fn restore(&mut self, region: &Region, first: u32, end: u32) -> Result<(), Short> {
        let bytes = self.window.bytes_mut(first, end - first).ok_or(Short)?;
        for (page, to) in (first..).zip(bytes.chunks_exact_mut(PAGE_SIZE)) {
            copy_page(to, region.original(page));
        }
        Ok(())
    }

    /// Brings a region that an idle window was left with up to date.
    pub(super) fn refresh(&mut self, region: &mut Region, left: &IdleRegion) -> Result<(), Short> {
        region.state.backing = left.backing;
        match (region.state.backing, region.access) {
            (Backing::None, _) => self.lay_out(region),
            (Backing::Copied, Access::ReadWrite) => self.restore(region, region.first, region.end()),
            (Backing::Filled, Access::ReadWrite) => {
                let mut at = self.first_run(region.first);
                while let Some((first, end)) = self.run_in(at, region.first, region.end()) {
                    self.restore(region, first, end)?;
                    at += 1;
                }
                Ok(())
            }
            // Was cleared when it was given back.
            (Backing::Zero, _) => Ok(()),
            _ if left.holds(&self.window, region) => Ok(()),
            (Backing::Copied, Access::ReadOnly) => self.copy(region),
            (Backing::Filled, Access::ReadOnly) => self.take_out(region.first, region.end()),
        }
    }

    /// Index of the first run that ends behind a page.
    fn first_run(&self, page: u32) -> usize {
        self.window.runs().partition_point(|r| r.end <= page)
    }

    /// The part of a run that lies in `first..end`; `None` behind the last that does.
    fn run_in(&self, at: usize, first: u32, end: u32) -> Option<(u32, u32)> {
        let run = self.window.runs().get(at).filter(|run| run.first < end)?;
        Some((run.first.max(first), run.end.min(end)))
    }

    /// Makes pages inaccessible and zero.
    pub(super) fn take_out(&mut self, first: u32, end: u32) -> Result<(), Short> {
        self.window.remove(first, end - first)?;
        self.filled.remove(first, end);
        Ok(())
    }

    /// Makes everything inaccessible and zero.
    pub(super) fn empty(&mut self, regions: impl Iterator<Item = (u32, u32, Backing)>) -> Result<(), Short> {
        self.window.reset()?;
        (self.lives, self.pages) = (0, 0);
        for (first, end, _) in regions.filter(|(_, _, backing)| *backing == Backing::Filled) {
            self.filled.remove(first, end);
        }
        Ok(())
    }

    /// Fills a chunk around a page of a region that is filled page by page.
    pub(super) fn fill(&mut self, region: &mut Region, page: u32) -> Result<(), Short> {
        if self.filled.contains(page) {
            return Ok(());
        }
        if region.source.is_none() && self.fills >= MANY_FILLS {
            self.window.protect(region.first, region.count, rights(region.access))?;
            self.filled.remove(region.first, region.end());
            region.state.backing = Backing::Zero;
            return Ok(());
        }
        // Larger chunks with more faults: fewer faults, and fewer mappings.
        let size = CHUNK_PAGES << (self.fills / MANY_FILLS).min(4);
        self.fills += 1;
        let first = (page - page % size).max(region.first);
        let end = (page - page % size + size).min(region.end());
        if region.source.is_none() {
            // What was inaccessible is zero.
            self.window.protect(first, end - first, rights(region.access))?;
            (first..end).for_each(|page| self.filled.insert(page));
            return Ok(());
        }
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

    /// Ranges of those pages of a region in `first..end` that somebody may have touched.
    pub(super) fn touched(&self, backing: Backing, first: u32, end: u32, found: &mut dyn FnMut(u32, u32)) {
        match backing {
            Backing::None => {}
            Backing::Copied => found(first, end),
            Backing::Zero => self.window.touched(first, end - first, found),
            Backing::Filled => {
                let mut at = self.first_run(first);
                while let Some((first, end)) = self.run_in(at, first, end) {
                    found(first, end);
                    at += 1;
                }
            }
        }
    }

    /// Readies the window for reuse with the same regions; `false` when it must be emptied instead.
    pub(super) fn clean(&mut self, regions: &mut [Region]) -> bool {
        let mut pages = 0;
        let mut zeros = Vec::new();
        for region in &*regions {
            // What was read-only when it was touched may have been written before; take no chances.
            if region.state.writable_once && region.access == Access::ReadOnly {
                return false;
            }
            let written = region.state.backing == Backing::Zero && region.access == Access::ReadWrite;
            let count = &mut |first: u32, end: u32| {
                pages += end - first;
                if written && pages <= KEPT_PAGES {
                    zeros.push((first, end));
                }
            };
            self.touched(region.state.backing, region.first, region.end(), count);
        }
        // A program that uses many pages will use many again.
        self.fills = if pages > MANY_PAGES { MANY_FILLS } else { 0 };
        self.lives += 1;
        self.pages = pages;
        let lives = if pages > MANY_PAGES { LIVES_OF_MANY } else { LIVES };
        if pages > KEPT_PAGES || (self.lives > lives && pages > 2 * CHUNK_PAGES) {
            return false;
        }
        for (first, end) in zeros {
            let Some(bytes) = self.window.bytes_mut(first, end - first) else { return false };
            // Pages that were only read need no memory, and shall not get any.
            let written = bytes.chunks_exact_mut(PAGE_SIZE).filter(|page| !same_page(page, &[]));
            written.for_each(|page| copy_page(page, None));
        }
        regions.iter_mut().all(|region| match region.state.backing {
            Backing::Copied if region.access == Access::ReadWrite && region.count > CHUNK_PAGES => {
                self.trim(region).is_ok()
            }
            Backing::None | Backing::Copied | Backing::Zero | Backing::Filled => true,
        })
    }

    /// Takes out the chunks of a region in which nothing was changed.
    fn trim(&mut self, region: &mut Region) -> Result<(), Short> {
        region.state.backing = Backing::Filled;
        // Neighbours are taken out together.
        let mut unchanged = region.first;
        let mut first = region.first;
        while first < region.end() {
            let end = (first - first % CHUNK_PAGES + CHUNK_PAGES).min(region.end());
            let bytes = self.window.bytes(first, end - first).ok_or(Short)?;
            let mut pages = (first..end).zip(bytes.chunks_exact(PAGE_SIZE));
            if !pages.all(|(page, bytes)| same_page(bytes, region.original(page).unwrap_or_default())) {
                (first..end).for_each(|page| self.filled.insert(page));
                self.window.remove(unchanged, first - unchanged)?;
                unchanged = end;
            }
            first = end;
        }
        self.window.remove(unchanged, first - unchanged)
    }
}
