//! [`Backing`]: pages that several windows show; [`SharedWindow`]: a window that shows pages of one.
//!
//! The host reads and writes the pages through [`Backing`], which has all of them mapped in one piece; a window is
//! for emitted code alone and gives no references. To enter emitted code both are borrowed mutably, so the host
//! has no reference to a page while a guest may write it.
//!
//! What a window shows is a list of [`Runs`]. The invariant: **a page outside
//! every run cannot be accessed**. A window may be emptied at any time; whoever uses it fills it again.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::{
    PAGE_COUNT, PAGE_SIZE, Rights, Short, View,
    os::{Object, Reservation},
    runs::{Piece, Runs},
};

/// The most runs of one window.
const MAX_RUNS: usize = 1024;

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

impl Piece for Run {
    fn range(self) -> (u32, u32) {
        (self.first, self.end)
    }

    fn over(self, first: u32, end: u32) -> Self {
        Self { first, end, from: self.from + (first - self.first), ..self }
    }

    fn goes_on_in(self, next: Self) -> bool {
        self.from + (self.end - self.first) == next.from && self.rights == next.rights
    }
}

/// The memory that a guest can address, showing pages of a [`Backing`].
#[derive(Debug)]
pub struct SharedWindow {
    reservation: Reservation,
    /// The backing whose pages it shows.
    id: u64,
    runs: Runs<Run>,
}

impl SharedWindow {
    /// A window that shows nothing.
    ///
    /// # Errors
    /// [`Short`] when the system does not give the address space.
    pub fn new(backing: &Backing) -> Result<Self, Short> {
        let runs = Runs::new(MAX_RUNS).ok_or(Short)?;
        Ok(Self { reservation: Reservation::new().ok_or(Short)?, id: backing.id, runs })
    }

    /// The window, to run emitted code on; `None` when it shows pages of another backing.
    #[inline]
    pub fn view<'a>(&'a mut self, backing: &'a mut Backing) -> Option<View<'a>> {
        (self.id == backing.id).then(|| View::new(self.reservation.base() as u64))
    }

    /// How many runs of pages it shows.
    #[must_use]
    pub fn runs(&self) -> usize {
        self.runs.list().len()
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
        let Self { reservation, runs, .. } = self;
        runs.replace((first, end), Some(Run { first, end, from, rights }), || {
            backing.object.map(reservation, (first, count), from, rights)
        })
    }

    /// Makes pages inaccessible.
    ///
    /// # Errors
    /// [`Short`]: cutting a run in two takes a mapping too. Nothing has changed then.
    pub fn hide(&mut self, first: u32, count: u32) -> Result<(), Short> {
        let end = first.saturating_add(count).min(PAGE_COUNT);
        if first >= end || self.runs.from(first).first().is_none_or(|r| r.first >= end) {
            return Ok(());
        }
        let Self { reservation, runs, .. } = self;
        runs.replace((first, end), None, || Object::unmap(reservation, (first, end - first)))
    }

    /// Makes everything inaccessible, with one system call.
    ///
    /// # Errors
    /// [`Short`]; the window is of no use then, and must be dropped.
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
}
