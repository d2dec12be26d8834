//! [`WindowPool`]: windows that nobody uses, each with what its last owner left in it.
//!
//! A window that is given back keeps its pages and rights. The next memory with the same layout takes it and
//! has only to restore what may have changed: no system call. Windows whose read-only pages hold what is asked
//! for are preferred, because to change those takes changes of rights.

use std::sync::{Arc, Mutex, PoisonError, Weak};

use javm_sys::Window;

use super::{
    attached::Attached,
    region::{Backing, Laid, Region},
};
use crate::memory::{Access, PAGE_SIZE, PageSource, regions::Regions, same_page};

/// How many idle windows are kept.
const IDLE_WINDOWS: usize = 64;

/// How many pages of memory they keep together.
const IDLE_PAGES: u32 = 16_384;

/// While there are fewer, a new window is made rather than the read-only pages of one changed.
const FEW_WINDOWS: usize = 16;

/// A region of an idle window.
pub(super) struct IdleRegion {
    first: u32,
    count: u32,
    access: Access,
    /// Weak: an idle window keeps no value alive, but its address is not used for another one.
    source: Option<(Weak<dyn PageSource>, u32)>,
    pub(super) backing: Backing,
}

impl IdleRegion {
    /// Whether the two have the same place and rights.
    fn fits(&self, region: &Region) -> bool {
        (self.first, self.count, self.access) == (region.first, region.count, region.access)
            && self.source.is_some() == region.source.is_some()
    }

    /// Whether the pages that are filled hold what the region's source says; nobody has written them.
    pub(super) fn holds(&self, window: &Window, region: &Region) -> bool {
        match (&region.source, &self.source) {
            (None, None) => return true,
            (Some((new, a)), Some((old, b))) if core::ptr::addr_eq(Arc::as_ptr(new), old.as_ptr()) => {
                return a == b;
            }
            _ => {}
        }
        let from = window.runs().partition_point(|run| run.end <= region.first);
        let runs = window.runs()[from..].iter().take_while(|run| run.first < region.end());
        runs.map(|run| (run.first.max(region.first), run.end.min(region.end()))).all(|(first, end)| {
            let pages = window.bytes(first, end - first).unwrap_or_default().chunks_exact(PAGE_SIZE);
            let mut pages = (first..).zip(pages);
            pages.all(|(page, bytes)| same_page(bytes, region.original(page).unwrap_or_default()))
        })
    }
}

struct Idle {
    attached: Box<Attached>,
    /// Of the last owner's regions; those of an emptied window are gone.
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

impl Idle {
    fn fits(&self, layout: u64, regions: &[Region]) -> bool {
        self.layout == layout
            && self.regions.len() == regions.len()
            && self.regions.iter().zip(regions).all(|(i, r)| i.fits(r))
    }

    /// Whether all read-only pages can stay as they are.
    fn holds(&self, regions: &[Region]) -> bool {
        let read_only = self.regions.iter().zip(regions).filter(|(_, r)| r.access == Access::ReadOnly);
        read_only.into_iter().all(|(i, r)| i.holds(&self.attached.window, r))
    }
}

impl WindowPool {
    /// An idle window with this layout, or an empty one, or a new one; with what its last owner left in it.
    pub(super) fn take(&self, regions: &[Region]) -> Option<(Box<Attached>, Vec<IdleRegion>)> {
        let layout = layout_of(regions);
        let mut idle = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let found = idle.iter().rposition(|i| i.fits(layout, regions) && i.holds(regions));
        let found = found.or_else(|| {
            // One that a program of this layout has emptied knows how much that program uses.
            idle.iter().rposition(|i| i.regions.is_empty() && i.layout == layout)
        });
        let found = found.or_else(|| idle.iter().rposition(|i| i.regions.is_empty()));
        let found = found.or_else(|| {
            let many = idle.len() >= FEW_WINDOWS;
            idle.iter().rposition(|i| many && i.fits(layout, regions))
        });
        if let Some(at) = found {
            let Idle { mut attached, layout: of, regions } = idle.remove(at);
            if of != layout {
                attached.fills = 0;
            }
            return Some((attached, regions));
        }
        if idle.len() >= IDLE_WINDOWS {
            let Idle { mut attached, regions, .. } = idle.remove(0);
            drop(idle);
            attached.empty(regions.iter().map(|r| (r.first, r.first + r.count, r.backing))).ok()?;
            attached.fills = 0;
            return Some((attached, Vec::new()));
        }
        drop(idle);
        Some((Box::new(Attached::new(Window::new().ok()?)), Vec::new()))
    }

    /// Whether a window may be kept with as many pages.
    pub(super) fn has_room(&self, pages: u32) -> bool {
        let idle = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        idle.iter().map(|i| i.attached.pages).sum::<u32>() + pages <= IDLE_PAGES
    }

    /// Takes a window back. `kept`: it is laid out as its regions say; otherwise it is empty.
    pub(super) fn put(&self, mut attached: Box<Attached>, regions: &mut Regions<Laid>, kept: bool) {
        let layout = layout_of(regions);
        let mut left = core::mem::take(&mut attached.spare);
        if kept {
            left.extend(regions.drain().map(|r| IdleRegion {
                first: r.first,
                count: r.count,
                access: r.access,
                source: r.source.map(|(s, n)| (Arc::downgrade(&s), n)),
                backing: r.state.backing,
            }));
        }
        regions.clear();
        let mut list = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if list.len() < IDLE_WINDOWS {
            list.push(Idle { attached, layout, regions: left });
        }
    }
}
