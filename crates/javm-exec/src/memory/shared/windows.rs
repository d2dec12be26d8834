//! [`Windows`]: the windows of the address spaces that ran last.
//!
//! A window is a cache of what its space says: emptied at will, filled as emitted code faults. So one that is needed
//! elsewhere is simply taken. A space that has not touched its memory has none, and runs on one that shows nothing.

use std::sync::atomic::{AtomicU64, Ordering};

use javm_sys::{Backing, SharedWindow, Short};

/// The most windows of one store.
const MAX_WINDOWS: usize = 128;

/// Tells which space a window belongs to, for as long as it does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ticket {
    index: u32,
    stamp: u64,
}

#[derive(Debug)]
struct Kept {
    window: SharedWindow,
    stamp: u64,
    /// When it was used last.
    used: u64,
}

/// The windows of a store.
#[derive(Debug)]
pub(super) struct Windows {
    kept: Vec<Kept>,
    /// Shows nothing.
    empty: Option<SharedWindow>,
    clock: u64,
    /// What changing windows may still cost, in gas: see [`Self::charge`].
    credit: u64,
}

/// What one system call and the fault before it are worth, in gas that code uses up in the time on the interpreter.
const CHANGE: u64 = 10_000;

/// The most credit.
const MAX_CREDIT: u64 = 1024 * CHANGE;

impl Default for Windows {
    fn default() -> Self {
        Self { kept: Vec::new(), empty: None, clock: 0, credit: MAX_CREDIT }
    }
}

impl Windows {
    /// The window of a space; the empty one for a space without.
    #[inline]
    pub(super) fn get(&mut self, backing: &Backing, ticket: Option<Ticket>) -> Option<&mut SharedWindow> {
        self.clock += 1;
        if let Some(ticket) = ticket
            && let Some(kept) = self.kept.get_mut(ticket.index as usize)
            && kept.stamp == ticket.stamp
        {
            kept.used = self.clock;
            return Some(&mut kept.window);
        }
        if self.empty.is_none() {
            self.empty = SharedWindow::new(backing).ok();
        }
        self.empty.as_mut()
    }

    /// As [`Self::get`]; `None` for a space without.
    pub(super) fn own(&mut self, ticket: Option<Ticket>) -> Option<&mut SharedWindow> {
        let ticket = ticket?;
        let kept = self.kept.get_mut(ticket.index as usize).filter(|kept| kept.stamp == ticket.stamp)?;
        Some(&mut kept.window)
    }

    /// Gives a space a window that shows nothing: a new one, or that of the space that has not run for longest.
    pub(super) fn attach(&mut self, backing: &Backing) -> Result<Ticket, Short> {
        static STAMPS: AtomicU64 = AtomicU64::new(0);
        let stamp = STAMPS.fetch_add(1, Ordering::Relaxed);
        self.clock += 1;
        let used = self.clock;
        if self.kept.len() < MAX_WINDOWS
            && let Ok(window) = SharedWindow::new(backing)
        {
            self.kept.push(Kept { window, stamp, used });
            return Ok(Ticket { index: self.kept.len() as u32 - 1, stamp });
        }
        let oldest = self.kept.iter().enumerate().min_by_key(|(_, kept)| kept.used).ok_or(Short)?.0;
        let kept = &mut self.kept[oldest];
        (kept.stamp, kept.used) = (stamp, used);
        match kept.window.reset() {
            Ok(()) => Ok(Ticket { index: oldest as u32, stamp }),
            Err(short) => {
                self.kept.clear();
                Err(short)
            }
        }
    }

    /// Takes what `n` changes of a window are worth. When there is no more, code is interpreted until it has used so
    /// much gas that changes are no large part of the time: code that touches more pages than windows can show, or
    /// has them mapped anew again and again, runs no slower than it is interpreted.
    pub(super) fn charge(&mut self, n: usize) {
        self.credit = self.credit.saturating_sub(CHANGE.saturating_mul(n as u64));
    }

    /// Whether windows may be changed.
    #[inline]
    pub(super) const fn has_credit(&self) -> bool {
        self.credit >= CHANGE
    }

    /// Adds the gas that code used.
    #[inline]
    pub(super) fn earn(&mut self, gas: u64) {
        self.credit = self.credit.saturating_add(gas).min(MAX_CREDIT);
    }

    /// Ends all credit.
    pub(super) fn end_credit(&mut self) {
        self.credit = 0;
    }

    /// Empties all windows, which gives back what they took of the process's mappings.
    pub(super) fn clear(&mut self) {
        self.kept.clear();
    }
}
