//! [`Backing`]: pages that several windows show; [`SharedWindow`]: a window that shows pages of one.
//!
//! The host reads and writes the pages through [`Backing`], which has all of them mapped in one piece; a window is
//! for emitted code alone and gives no references. To enter emitted code both are borrowed mutably, so the host
//! has no reference to a page while a guest may write it.
//!
//! What a window shows is a sorted list of runs, one mapping of the process each. The invariant: **a page outside
//! every run cannot be accessed**. A window may be emptied at any time; whoever uses it fills it again.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::{
    PAGE_COUNT, PAGE_SIZE, Rights, Short, View,
    budget::MAPPINGS,
    os::{Object, Reservation},
};

/// The most runs of one window.
const MAX_RUNS: usize = 1024;

/// Mappings that a run needs: itself, and the inaccessible one behind it.
const MAPPINGS_PER_RUN: usize = 2;

/// Pages that windows can show. All are zero at first, and take memory when they are touched.
#[derive(Debug)]
pub struct Backing {
    object: Object,
    pages: u32,
    /// Tells it from all others.
    id: u64,
}

impl Backing {
    /// So many pages.
    ///
    /// # Errors
    /// [`Short`] when the system does not give the address space.
    pub fn new(pages: u32) -> Result<Self, Short> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let object = Object::new(pages).ok_or(Short)?;
        Ok(Self { object, pages, id: NEXT.fetch_add(1, Ordering::Relaxed) })
    }

    /// All pages.
    #[inline]
    #[must_use]
    pub fn pages(&self) -> &[[u8; PAGE_SIZE]] {
        // SAFETY: emitted code, which alone writes them otherwise, is entered with a view that borrows this.
        unsafe { self.object.pages() }
    }

    /// As [`Self::pages`].
    #[inline]
    pub fn pages_mut(&mut self) -> &mut [[u8; PAGE_SIZE]] {
        // SAFETY: as above, and the borrow is exclusive.
        unsafe { self.object.pages_mut() }
    }

    /// Zeroes pages by giving their memory back to the system; those that there are not are left out.
    ///
    /// # Errors
    /// [`Short`] when the system refuses; the pages hold what they held then.
    pub fn discard(&mut self, first: u32, count: u32) -> Result<(), Short> {
        let count = count.min(self.pages.saturating_sub(first));
        if count == 0 || self.object.discard(first, count) { Ok(()) } else { Err(Short) }
    }
}

/// Adjacent pages that show adjacent pages of the backing with the same rights.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Run {
    first: u32,
    end: u32,
    /// The page of the backing that `first` shows.
    from: u32,
    rights: Rights,
}

impl Run {
    /// The part in `first..end`.
    fn cut(self, first: u32, end: u32) -> Option<Self> {
        let start = self.first.max(first);
        let run =
            Self { first: start, end: self.end.min(end), from: self.from + (start - self.first), ..self };
        (run.first < run.end).then_some(run)
    }

    /// Whether `next` goes on where this ends, in window and backing.
    fn continues_in(self, next: Self) -> bool {
        self.end == next.first
            && self.from + (self.end - self.first) == next.from
            && self.rights == next.rights
    }
}

/// The memory that a guest can address, showing pages of a [`Backing`].
#[derive(Debug)]
pub struct SharedWindow {
    reservation: Reservation,
    /// The backing whose pages it shows.
    id: u64,
    /// Ascending and disjoint.
    runs: Vec<Run>,
    /// Mappings taken from the budget.
    taken: usize,
}

impl SharedWindow {
    /// A window that shows nothing.
    ///
    /// # Errors
    /// [`Short`] when the system does not give the address space.
    pub fn new(backing: &Backing) -> Result<Self, Short> {
        let taken = MAPPINGS_PER_RUN;
        if !MAPPINGS.take(taken) {
            return Err(Short);
        }
        match Reservation::new() {
            Some(reservation) => Ok(Self { reservation, id: backing.id, runs: Vec::new(), taken }),
            None => {
                MAPPINGS.give(taken);
                Err(Short)
            }
        }
    }

    /// The window, to run emitted code on; `None` when it shows pages of another backing.
    #[inline]
    pub fn view<'a>(&'a mut self, backing: &'a mut Backing) -> Option<View<'a>> {
        (self.id == backing.id).then(|| View::new(self.reservation.base() as u64))
    }

    /// How many runs of pages it shows.
    #[must_use]
    pub fn runs(&self) -> usize {
        self.runs.len()
    }

    /// The list of runs once `first..end` is what `new` says.
    fn with(&self, first: u32, end: u32, new: Option<Run>) -> (usize, usize, Vec<Run>) {
        // Neighbours that touch are taken along, so that they can be joined.
        let from = self.runs.partition_point(|r| r.end < first);
        let to = self.runs.partition_point(|r| r.first <= end);
        let old = &self.runs[from..to];
        let before = old.iter().filter_map(|r| r.cut(0, first));
        let behind = old.iter().filter_map(|r| r.cut(end, PAGE_COUNT));
        let mut list: Vec<Run> = Vec::with_capacity(4);
        for run in before.chain(new).chain(behind) {
            match list.last_mut().filter(|last| last.continues_in(run)) {
                Some(last) => last.end = run.end,
                None => list.push(run),
            }
        }
        (from, to, list)
    }

    /// Draws on the budget for a list of so many runs.
    fn afford(&mut self, runs: usize) -> bool {
        let needed = (runs + 1) * MAPPINGS_PER_RUN;
        if runs > MAX_RUNS {
            return false;
        }
        if needed > self.taken {
            let more = needed - self.taken + 16;
            if !MAPPINGS.take(more) {
                return false;
            }
            self.taken += more;
        }
        true
    }

    /// Shows pages of the backing, from page `from` of it on, with these rights.
    ///
    /// # Errors
    /// [`Short`]; also for pages that there are not, and a backing that is another one.
    pub fn show(
        &mut self,
        backing: &Backing,
        (first, count): (u32, u32),
        from: u32,
        rights: Rights,
    ) -> Result<(), Short> {
        let end = first.checked_add(count).filter(|end| *end <= PAGE_COUNT).ok_or(Short)?;
        from.checked_add(count).filter(|end| *end <= backing.pages).ok_or(Short)?;
        if backing.id != self.id {
            return Err(Short);
        }
        if count == 0 {
            return Ok(());
        }
        let (at, to, new) = self.with(first, end, Some(Run { first, end, from, rights }));
        if !self.afford(self.runs.len() - (to - at) + new.len()) {
            return Err(Short);
        }
        if !backing.object.map(&self.reservation, (first, count), from, rights) {
            return Err(Short);
        }
        self.runs.splice(at..to, new);
        Ok(())
    }

    /// Makes pages inaccessible.
    ///
    /// # Errors
    /// [`Short`]: cutting a run in two takes a mapping too. Nothing has changed then.
    pub fn hide(&mut self, first: u32, count: u32) -> Result<(), Short> {
        let end = first.saturating_add(count).min(PAGE_COUNT);
        let next = self.runs.get(self.runs.partition_point(|r| r.end <= first));
        if next.is_none_or(|r| r.first >= end) {
            return Ok(());
        }
        let (at, to, new) = self.with(first, end, None);
        if !self.afford(self.runs.len() - (to - at) + new.len()) {
            return Err(Short);
        }
        if !Object::unmap(&self.reservation, (first, end - first)) {
            return Err(Short);
        }
        self.runs.splice(at..to, new);
        Ok(())
    }

    /// Makes everything inaccessible, with one system call.
    ///
    /// # Errors
    /// [`Short`]; the window is of no use then, and must be dropped.
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
}

impl Drop for SharedWindow {
    fn drop(&mut self) {
        MAPPINGS.give(self.taken);
    }
}
