//! [`Window`]: the 4 GiB that a guest can address, and which pages of it may be read or written.
//!
//! The rights of pages are kept as a sorted list of runs, one mapping of the process each. The invariant:
//! **a page outside every run cannot be accessed by anybody, and holds zeros**. So a run that is added to is
//! zero where it is new, and the host's accessors, which look at the runs, never fault.

use crate::{PAGE_COUNT, PAGE_SIZE, budget::MAPPINGS, os::Reservation};

/// The most runs of one window.
const MAX_RUNS: usize = 4096;

/// Mappings that a run needs: itself, and the inaccessible one behind it.
const MAPPINGS_PER_RUN: usize = 2;

/// What may be done to a page by those who can address it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rights {
    /// Reading.
    Read,
    /// Reading and writing.
    ReadWrite,
}

/// Adjacent pages with the same rights.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Run {
    /// First page.
    pub first: u32,
    /// Page behind the last.
    pub end: u32,
    /// What may be done to them.
    pub rights: Rights,
}

/// There are not as many mappings, or not as much memory, as this needs. Nothing was changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Short;

/// The memory that a guest can address.
#[derive(Debug)]
pub struct Window {
    reservation: Reservation,
    /// Ascending and disjoint; neighbours that touch differ in rights.
    runs: Vec<Run>,
    /// Mappings taken from the budget.
    taken: usize,
}

impl Window {
    /// A window in which nothing is accessible.
    ///
    /// # Errors
    /// [`Short`] when the system does not give the address space.
    pub fn new() -> Result<Self, Short> {
        let taken = MAPPINGS_PER_RUN;
        if !MAPPINGS.take(taken) {
            return Err(Short);
        }
        match Reservation::new() {
            Some(reservation) => Ok(Self { reservation, runs: Vec::new(), taken }),
            None => {
                MAPPINGS.give(taken);
                Err(Short)
            }
        }
    }

    /// The address that guest address 0 has.
    #[inline]
    #[must_use]
    pub fn base(&self) -> u64 {
        self.reservation.base() as u64
    }

    /// The accessible pages, ascending and disjoint.
    #[must_use]
    pub fn runs(&self) -> &[Run] {
        &self.runs
    }

    /// Index of the first run that ends behind `page`.
    fn run_at(&self, page: u32) -> usize {
        self.runs.partition_point(|r| r.end <= page)
    }

    /// Whether all of these pages allow that. Never for no pages, or pages that there are not.
    #[must_use]
    pub fn allows(&self, first: u32, count: u32, rights: Rights) -> bool {
        let Some(end) = first.checked_add(count).filter(|_| count != 0) else { return false };
        let mut page = first;
        for run in &self.runs[self.run_at(first)..] {
            if run.first > page || run.rights < rights {
                return false;
            }
            page = run.end;
            if page >= end {
                return true;
            }
        }
        false
    }

    /// The list of runs once `first..end` has these rights (`None`: none).
    fn with(&self, first: u32, end: u32, rights: Option<Rights>) -> (usize, usize, Vec<Run>) {
        // Neighbours that touch are taken along, so that they can be joined.
        let from = self.runs.partition_point(|r| r.end < first);
        let to = self.runs.partition_point(|r| r.first <= end);
        let mut new: Vec<Run> = Vec::with_capacity(4);
        let mut push = |run: Run| {
            if run.first >= run.end {
                return;
            }
            match new.last_mut().filter(|last| last.end == run.first && last.rights == run.rights) {
                Some(last) => last.end = run.end,
                None => new.push(run),
            }
        };
        for run in &self.runs[from..to] {
            push(Run { end: run.end.min(first), ..*run });
        }
        if let Some(rights) = rights {
            push(Run { first, end, rights });
        }
        for run in &self.runs[from..to] {
            push(Run { first: run.first.max(end), ..*run });
        }
        (from, to, new)
    }

    /// Gives pages these rights. Pages that had none hold zeros.
    ///
    /// # Errors
    /// [`Short`]; also for pages that there are not.
    pub fn protect(&mut self, first: u32, count: u32, rights: Rights) -> Result<(), Short> {
        let end = first.checked_add(count).filter(|end| *end <= PAGE_COUNT).ok_or(Short)?;
        if count == 0 || self.all_exactly(first, end, rights) {
            return Ok(());
        }
        let (from, to, new) = self.with(first, end, Some(rights));
        let runs = self.runs.len() - (to - from) + new.len();
        let needed = (runs + 1) * MAPPINGS_PER_RUN;
        if runs > MAX_RUNS || needed > self.taken && !self.take(needed) {
            return Err(Short);
        }
        if !self.reservation.protect(first, count, Some(rights)) {
            return Err(Short);
        }
        self.runs.splice(from..to, new);
        Ok(())
    }

    /// Whether all of the pages have exactly these rights already.
    fn all_exactly(&self, first: u32, end: u32, rights: Rights) -> bool {
        self.runs
            .get(self.run_at(first))
            .is_some_and(|r| r.first <= first && r.end >= end && r.rights == rights)
    }

    /// Draws on the budget until the window has `needed` mappings, and some to spare.
    fn take(&mut self, needed: usize) -> bool {
        let more = needed - self.taken + 16;
        let ok = MAPPINGS.take(more);
        if ok {
            self.taken += more;
        }
        ok
    }

    /// Makes pages inaccessible and zero.
    ///
    /// # Errors
    /// [`Short`]; cutting a run in two takes a mapping too.
    pub fn remove(&mut self, first: u32, count: u32) -> Result<(), Short> {
        let end = first.saturating_add(count).min(PAGE_COUNT);
        if count == 0 || self.runs.get(self.run_at(first)).is_none_or(|r| r.first >= end) {
            return Ok(());
        }
        let (from, to, new) = self.with(first, end, None);
        let runs = self.runs.len() - (to - from) + new.len();
        let needed = (runs + 1) * MAPPINGS_PER_RUN;
        if runs > MAX_RUNS || needed > self.taken && !self.take(needed) {
            return Err(Short);
        }
        if !self.reservation.discard(first, end - first)
            || !self.reservation.protect(first, end - first, None)
        {
            return Err(Short);
        }
        self.runs.splice(from..to, new);
        Ok(())
    }

    /// Makes everything inaccessible and zero, with a fixed number of system calls.
    ///
    /// # Errors
    /// [`Short`]; the window is of no use then.
    pub fn reset(&mut self) -> Result<(), Short> {
        if self.runs.is_empty() {
            return Ok(());
        }
        if !self.reservation.renew() {
            return Err(Short);
        }
        self.runs.clear();
        MAPPINGS.give(self.taken - MAPPINGS_PER_RUN);
        self.taken = MAPPINGS_PER_RUN;
        Ok(())
    }

    /// Zeroes accessible pages by giving their memory back to the system.
    ///
    /// # Errors
    /// [`Short`] when the system refuses, or the pages are not accessible.
    pub fn discard(&mut self, first: u32, count: u32) -> Result<(), Short> {
        if self.allows(first, count, Rights::Read) && self.reservation.discard(first, count) {
            Ok(())
        } else {
            Err(Short)
        }
    }

    /// The bytes of readable pages.
    #[must_use]
    pub fn bytes(&self, first: u32, count: u32) -> Option<&[u8]> {
        if !self.allows(first, count, Rights::Read) {
            return None;
        }
        // SAFETY: the runs say that the pages are readable; the borrow of the window keeps guest code, which
        // needs it mutably to run, from changing them.
        Some(unsafe { self.reservation.bytes(first as usize * PAGE_SIZE, count as usize * PAGE_SIZE) })
    }

    /// The bytes of writable pages.
    #[must_use]
    pub fn bytes_mut(&mut self, first: u32, count: u32) -> Option<&mut [u8]> {
        if !self.allows(first, count, Rights::ReadWrite) {
            return None;
        }
        // SAFETY: the runs say that the pages are writable; the borrow of the window is exclusive.
        Some(unsafe { self.reservation.bytes_mut(first as usize * PAGE_SIZE, count as usize * PAGE_SIZE) })
    }

    /// Calls `found` with ranges `first, end` that hold all pages of `first .. first + count` that somebody
    /// touched; other pages may be among them. What is not reported holds zeros.
    pub fn touched(&self, first: u32, count: u32, found: &mut dyn FnMut(u32, u32)) {
        let end = first.saturating_add(count).min(PAGE_COUNT);
        if first < end && !self.reservation.touched(first, end - first, found) {
            found(first, end);
        }
    }
}

impl Drop for Window {
    fn drop(&mut self) {
        MAPPINGS.give(self.taken);
    }
}
