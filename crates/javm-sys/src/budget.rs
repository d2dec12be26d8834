//! [`Budget`]: how many mappings of the process windows may use.
//!
//! The kernel limits the mappings of a process (65,530 by default), and a guest that alternates the rights of
//! pages makes one for each. Windows draw on a common budget of half the limit, so that the rest of the
//! process never notices.

use std::sync::atomic::{AtomicUsize, Ordering};

/// A number of things that may be taken and given back, shared by threads.
#[derive(Debug)]
pub struct Budget {
    left: AtomicUsize,
}

/// The mappings that windows may use, all windows of the process together.
pub static MAPPINGS: Budget = Budget::new(30_000);

impl Budget {
    /// A budget of this size.
    #[must_use]
    pub const fn new(size: usize) -> Self {
        Self { left: AtomicUsize::new(size) }
    }

    /// What is left.
    #[must_use]
    pub fn left(&self) -> usize {
        self.left.load(Ordering::Relaxed)
    }

    /// Takes `n`; `false` and nothing taken when there are not as many.
    #[must_use]
    pub fn take(&self, n: usize) -> bool {
        self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(n)).is_ok()
    }

    /// Gives `n` back.
    pub fn give(&self, n: usize) {
        self.left.fetch_add(n, Ordering::Relaxed);
    }
}
