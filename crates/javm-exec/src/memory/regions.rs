//! [`Regions`]: what is mapped where, as a list of ranges of pages with the same rights and one source.
//!
//! The rules of mapping are here, once for all memories that have a list; where the bytes are is the memory's own,
//! which keeps what it knows of a range in [`Region::state`]. The invariant: regions are ascending, disjoint, not
//! empty and inside the address space.

use core::ops::{Deref, DerefMut};
use std::sync::Arc;

use super::{Access, Fault, LOW_ZONE, MapError, PAGE_COUNT, PageSource, check_runs, fault, page_of};

/// Where pages come from: a source, and which of its pages is the first; `None` is zeros.
pub(super) type Source = Option<(Arc<dyn PageSource>, u32)>;

/// Pages with the same rights and one source.
#[derive(Clone)]
pub(super) struct Region<T> {
    pub(super) first: u32,
    pub(super) count: u32,
    pub(super) access: Access,
    pub(super) source: Source,
    /// What the memory knows of all of them.
    pub(super) state: T,
}

impl<T: Copy> Region<T> {
    pub(super) const fn end(&self) -> u32 {
        self.first + self.count
    }

    /// What a page holds before anybody writes it; `None` is zeros.
    pub(super) fn original(&self, page: u32) -> Option<&[u8]> {
        let (source, first) = self.source.as_ref()?;
        source.page(first.wrapping_add(page - self.first))
    }

    /// The part of the region that lies in `first..end`, which must not be empty.
    fn cut(&self, first: u32, end: u32) -> Self {
        let source = self.source.as_ref().map(|(s, p)| (Arc::clone(s), p.wrapping_add(first - self.first)));
        Self { first, count: end - first, source, ..*self }
    }
}

/// The mapped ranges of an address space; a slice of them for whoever reads it or changes states.
pub(super) struct Regions<T> {
    list: Vec<Region<T>>,
    low_zone_open: bool,
}

impl<T> Default for Regions<T> {
    fn default() -> Self {
        Self { list: Vec::new(), low_zone_open: false }
    }
}

impl<T> Deref for Regions<T> {
    type Target = [Region<T>];

    #[inline]
    fn deref(&self) -> &[Region<T>] {
        &self.list
    }
}

impl<T> DerefMut for Regions<T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut [Region<T>] {
        &mut self.list
    }
}

/// The page behind the last of a range.
fn end_of(first: u32, count: u32) -> Result<u32, MapError> {
    let end = first.checked_add(count).filter(|end| *end <= PAGE_COUNT);
    end.ok_or(MapError::OutOfRange { first, count })
}

impl<T: Copy> Regions<T> {
    /// Index of the region that a page lies in.
    pub(super) fn find(&self, page: u32) -> Option<usize> {
        let next = self.partition_point(|r| r.first <= page);
        next.checked_sub(1).filter(|at| page < self[*at].end())
    }

    /// The region that a page lies in.
    pub(super) fn of(&self, page: u32) -> Option<&Region<T>> {
        self.find(page).map(|at| &self[at])
    }

    /// First page, number of pages and access of each.
    pub(super) fn mapped(&self) -> impl Iterator<Item = (u32, u32, Access)> + '_ {
        self.iter().map(|r| (r.first, r.count, r.access))
    }

    /// Adds a region; one without pages is none.
    pub(super) fn map(
        &mut self,
        (first, count): (u32, u32),
        access: Access,
        source: Source,
        state: T,
    ) -> Result<(), MapError> {
        let end = end_of(first, count)?;
        if count == 0 {
            return Ok(());
        }
        let at = self.partition_point(|r| r.end() <= first);
        if let Some(next) = self.get(at).filter(|r| r.first < end) {
            return Err(MapError::Overlap { page: next.first.max(first) });
        }
        self.list.insert(at, Region { first, count, access, source, state });
        self.update_low_zone();
        Ok(())
    }

    /// The page behind a range if every page of it is mapped.
    pub(super) fn all_mapped(&self, first: u32, count: u32) -> Result<u32, MapError> {
        let end = end_of(first, count)?;
        let mut page = first;
        while page < end {
            page = self.of(page).ok_or(MapError::NotMapped { page })?.end();
        }
        Ok(end)
    }

    /// Takes the part of every region in `first..end` out and gives it to `keep`, which may return a changed
    /// region to put back.
    pub(super) fn carve(
        &mut self,
        first: u32,
        end: u32,
        mut keep: impl FnMut(Region<T>) -> Option<Region<T>>,
    ) {
        let from = self.partition_point(|r| r.end() <= first);
        let to = self.partition_point(|r| r.first < end);
        // No pages have no part of a region: cutting there would leave an empty one.
        if from >= to || first >= end {
            return;
        }
        let mut new = Vec::with_capacity(to - from + 2);
        for r in &self.list[from..to] {
            if r.first < first {
                new.push(r.cut(r.first, first));
            }
            new.extend(keep(r.cut(r.first.max(first), r.end().min(end))));
            if r.end() > end {
                new.push(r.cut(end, r.end()));
            }
        }
        self.list.splice(from..to, new);
        self.update_low_zone();
    }

    /// Takes all regions out.
    pub(super) fn drain(&mut self) -> impl Iterator<Item = Region<T>> + '_ {
        self.low_zone_open = false;
        self.list.drain(..)
    }

    /// Forgets all regions.
    pub(super) fn clear(&mut self) {
        drop(self.drain());
    }

    fn update_low_zone(&mut self) {
        self.low_zone_open = self.list.first().is_some_and(|r| r.first < page_of(LOW_ZONE));
    }

    /// The fault of a byte that is not accessible.
    pub(super) const fn fault(&self, page: u32) -> Fault {
        fault(page, self.low_zone_open)
    }

    /// See [`Mem::check`](super::Mem::check).
    pub(super) fn check(&self, address: u32, len: usize, access: Access) -> Result<(), Fault> {
        check_runs(address, len, |page| match self.of(page).filter(|r| r.access >= access) {
            Some(region) => Ok(region.end() - page),
            None => Err(self.fault(page)),
        })
    }
}
