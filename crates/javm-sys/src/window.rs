//! [`Window`]: the 4 GiB that a guest can address, and which pages of it may be read or written.
//!
//! The rights of pages are kept as a list of [`Runs`]. The invariant:
//! **a page outside every run cannot be accessed by anybody, and holds zeros**. So a run that is added to is
//! zero where it is new, and the host's accessors, which look at the runs, never fault.

use crate::{
    PAGE_COUNT, PAGE_SIZE,
    os::Reservation,
    runs::{Piece, Runs},
};

/// The most runs of one window.
const MAX_RUNS: usize = 4096;

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

impl Piece for Run {
    fn range(self) -> (u32, u32) {
        (self.first, self.end)
    }

    fn over(self, first: u32, end: u32) -> Self {
        Self { first, end, ..self }
    }

    fn goes_on_in(self, next: Self) -> bool {
        self.rights == next.rights
    }
}

/// There are not as many mappings, or not as much memory, as this needs. Nothing was changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Short;

/// The memory that a guest can address.
#[derive(Debug)]
pub struct Window {
    reservation: Reservation,
    runs: Runs<Run>,
}

impl Window {
    /// A window in which nothing is accessible.
    ///
    /// # Errors
    /// [`Short`] when the system does not give the address space.
    pub fn new() -> Result<Self, Short> {
        let runs = Runs::new(MAX_RUNS).ok_or(Short)?;
        Ok(Self { reservation: Reservation::new().ok_or(Short)?, runs })
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
        self.runs.list()
    }

    /// Whether all of these pages allow that. Never for no pages, or pages that there are not.
    #[must_use]
    pub fn allows(&self, first: u32, count: u32, rights: Rights) -> bool {
        let Some(end) = first.checked_add(count).filter(|_| count != 0) else { return false };
        let mut page = first;
        for run in self.runs.from(first) {
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

    /// Gives pages these rights. Pages that had none hold zeros.
    ///
    /// # Errors
    /// [`Short`]; also for pages that there are not.
    pub fn protect(&mut self, first: u32, count: u32, rights: Rights) -> Result<(), Short> {
        let end = first.checked_add(count).filter(|end| *end <= PAGE_COUNT).ok_or(Short)?;
        if count == 0 || self.all_exactly(first, end, rights) {
            return Ok(());
        }
        let Self { reservation, runs } = self;
        runs.replace((first, end), Some(Run { first, end, rights }), || {
            reservation.protect(first, count, Some(rights))
        })
    }

    /// Whether all of the pages have exactly these rights already.
    fn all_exactly(&self, first: u32, end: u32, rights: Rights) -> bool {
        self.runs.from(first).first().is_some_and(|r| r.first <= first && r.end >= end && r.rights == rights)
    }

    /// Makes pages inaccessible and zero.
    ///
    /// # Errors
    /// [`Short`]; cutting a run in two takes a mapping too.
    pub fn remove(&mut self, first: u32, count: u32) -> Result<(), Short> {
        let end = first.saturating_add(count).min(PAGE_COUNT);
        if first >= end || self.runs.from(first).first().is_none_or(|r| r.first >= end) {
            return Ok(());
        }
        let Self { reservation, runs } = self;
        runs.replace((first, end), None, || {
            reservation.discard(first, end - first) && reservation.protect(first, end - first, None)
        })
    }

    /// Makes everything inaccessible and zero, with a fixed number of system calls.
    ///
    /// # Errors
    /// [`Short`]; the window is of no use then.
    pub fn reset(&mut self) -> Result<(), Short> {
        if self.runs.list().is_empty() {
            return Ok(());
        }
        if !self.reservation.renew() {
            return Err(Short);
        }
        self.runs.clear();
        Ok(())
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
