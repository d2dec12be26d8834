//! Guest memory: 2^32 bytes in pages of 4,096.
//!
//! A page is mapped read-only, mapped read-write, or not mapped. Pages come from a [`PageSource`] (or are
//! zero) and are copied when they are first touched, so mapping costs nothing per page; pages that the guest
//! wrote are tracked.
//!
//! Rules of an access (Gray Paper 0.8, appendix A.1): it may be unaligned and straddle pages; each byte's
//! address is taken modulo 2^32. Where a byte is not accessible nothing happens, and the first such byte in
//! the order of the access decides: below 2^16 the machine panics, elsewhere it is a page fault of that
//! byte's page. **The low zone is open** when anything is mapped below 2^16: then there is no panic, such an
//! access is a page fault like any other.
//!
//! [`Mem`] is the host's view; [`CopyingMemory`] the portable implementation that the interpreter runs on,
//! [`WindowMemory`] the one that the recompiler's code addresses directly; [`SharedMemory`] that of
//! address spaces which have pages in common.

mod copying;
mod regions;
mod shared;
mod window;

use std::sync::Arc;

use javm_sys::{View, Window};

pub use copying::CopyingMemory;
pub use shared::{Extent, SharedMemory, SharedRun, SharedSpace, SharedStore};
pub use window::WindowMemory;
pub(crate) use window::WindowPool;

/// Size of a page in bytes.
pub const PAGE_SIZE: usize = 4096;

/// How many pages an address space has.
pub const PAGE_COUNT: u32 = 1 << 20;

/// Below this address an access to an inaccessible page panics, unless the low zone is open.
pub const LOW_ZONE: u32 = 0x1_0000;

/// The page of an address.
const fn page_of(address: u32) -> u32 {
    address / PAGE_SIZE as u32
}

/// The pages that `len` bytes from `address` on lie in, in order of access, with the part of each.
fn parts(address: u32, len: usize) -> impl Iterator<Item = (u32, core::ops::Range<usize>, usize)> {
    let mut done = 0;
    core::iter::from_fn(move || {
        if done == len {
            return None;
        }
        let at = address.wrapping_add(done as u32);
        let offset = at as usize % PAGE_SIZE;
        let n = (PAGE_SIZE - offset).min(len - done);
        let part = (page_of(at), offset..offset + n, done);
        done += n;
        Some(part)
    })
}

/// The fault of a byte that is not accessible.
const fn fault(page: u32, low_zone_open: bool) -> Fault {
    let address = page * PAGE_SIZE as u32;
    if address < LOW_ZONE && !low_zone_open { Fault::Panic } else { Fault::Page(address) }
}

/// Checks the pages that `len` bytes from `address` on lie in, from run to run, so that a long range costs what it
/// crosses: `run` says how many pages from one on may be accessed.
fn check_runs(address: u32, len: usize, mut run: impl FnMut(u32) -> Result<u32, Fault>) -> Result<(), Fault> {
    let mut page = page_of(address);
    let mut left = (address as usize % PAGE_SIZE + len).div_ceil(PAGE_SIZE) * usize::from(len != 0);
    while left != 0 {
        let pages = run(page)?;
        left -= left.min(pages as usize);
        page = (page + pages) % PAGE_COUNT;
    }
    Ok(())
}

/// What zeros are copied from: that is several times as fast as filling a page, which is done with string
/// instructions whose start is slow.
static ZEROS: [u8; PAGE_SIZE] = [0; PAGE_SIZE];

/// Writes a page of a source, zero-extended.
fn copy_page(to: &mut [u8], from: Option<&[u8]>) {
    let from = from.unwrap_or(&[]);
    let n = from.len().min(to.len()).min(PAGE_SIZE);
    to[..n].copy_from_slice(&from[..n]);
    let rest = &mut to[n..];
    // Hidden from the compiler, which would turn it into a fill.
    rest.copy_from_slice(&core::hint::black_box(&ZEROS)[..rest.len()]);
}

/// Whether two pages, each given by at most 4,096 bytes and zero-extended, hold the same.
#[must_use]
pub fn same_page(a: &[u8], b: &[u8]) -> bool {
    let n = a.len().min(b.len());
    let rest = if a.len() > n { &a[n..] } else { &b[n..] };
    // Compared with zeros, not looked at one by one: that is what the library is fast at.
    a[..n] == b[..n] && rest.chunks(PAGE_SIZE).all(|rest| *rest == ZEROS[..rest.len()])
}

/// The bytes of one page.
pub type Page = [u8; PAGE_SIZE];

/// What a mapped page allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Access {
    /// Loads only.
    ReadOnly,
    /// Loads and stores.
    ReadWrite,
}

/// Where the pages of a mapping come from. Contents must never change.
pub trait PageSource: Send + Sync {
    /// The bytes of the page with this index, at most 4,096, zero-extended; `None` is the zero page.
    fn page(&self, index: u32) -> Option<&[u8]>;
}

/// Bytes as a source, page by page.
impl PageSource for Vec<u8> {
    fn page(&self, index: u32) -> Option<&[u8]> {
        self.chunks(PAGE_SIZE).nth(index as usize)
    }
}

/// An access that could not be done; nothing of it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fault {
    /// In the low 64 KiB while the low zone is closed: the machine panics.
    Panic,
    /// A page that is not mapped, or not writable: its base address.
    Page(u32),
}

impl core::fmt::Display for Fault {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Panic => f.write_str("access to the low 64 KiB"),
            Self::Page(address) => write!(f, "page fault at {address:#x}"),
        }
    }
}

/// Why a mapping cannot be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MapError {
    /// The pages go past the end of the address space.
    #[error("pages {first}..{first}+{count} leave the address space")]
    OutOfRange {
        /// First page.
        first: u32,
        /// Number of pages.
        count: u32,
    },
    /// A page is mapped already.
    #[error("page {page} is mapped already")]
    Overlap {
        /// The lowest such page.
        page: u32,
    },
    /// A page is not mapped.
    #[error("page {page} is not mapped")]
    NotMapped {
        /// The lowest such page.
        page: u32,
    },
}

/// The host's view of a guest's memory: whole ranges, with the guest's own rights.
pub trait Mem {
    /// Reads as the guest would.
    ///
    /// # Errors
    /// [`Fault`] of the first byte that the guest could not read; `buf` is then unspecified.
    fn read(&mut self, address: u32, buf: &mut [u8]) -> Result<(), Fault>;

    /// Writes as the guest would: all or nothing.
    ///
    /// # Errors
    /// [`Fault`] of the first byte that the guest could not write.
    fn write(&mut self, address: u32, bytes: &[u8]) -> Result<(), Fault>;

    /// Whether the guest could do this to all of a range.
    ///
    /// # Errors
    /// [`Fault`] of the first byte for which it could not.
    fn check(&self, address: u32, len: usize, access: Access) -> Result<(), Fault>;
}

/// The loads and stores of single instructions.
pub(crate) trait GuestAccess: Mem {
    /// Loads `N` bytes.
    fn load<const N: usize>(&mut self, address: u32) -> Result<[u8; N], Fault>;
    /// Stores `N` bytes.
    fn store<const N: usize>(&mut self, address: u32, bytes: [u8; N]) -> Result<(), Fault>;

    /// A load by the way of [`Mem::read`], for those that are not wholly inside one page at hand.
    #[cold]
    #[inline(never)]
    fn load_slow<const N: usize>(&mut self, address: u32) -> Result<[u8; N], Fault> {
        let mut bytes = [0; N];
        self.read(address, &mut bytes)?;
        Ok(bytes)
    }

    /// A store by the way of [`Mem::write`].
    #[cold]
    #[inline(never)]
    fn store_slow<const N: usize>(&mut self, address: u32, bytes: [u8; N]) -> Result<(), Fault> {
        self.write(address, &bytes)
    }
}

/// Memory that emitted code can run on.
pub(crate) trait NativeMemory: GuestAccess {
    /// What emitted code is let into; `None` when it cannot run, now or ever again.
    fn view(&mut self) -> Option<View<'_>>;
    /// Whether it can run, as far as is known.
    fn is_native(&self) -> bool;
}

impl NativeMemory for WindowMemory {
    #[inline]
    fn view(&mut self) -> Option<View<'_>> {
        self.window().map(Window::view)
    }

    #[inline]
    fn is_native(&self) -> bool {
        Self::is_native(self)
    }
}

/// The memory of an instance, of the kind that its engine's backend needs.
#[derive(Debug)]
#[non_exhaustive]
pub enum Memory {
    /// Heap-backed, portable.
    Copying(CopyingMemory),
    /// A window of address space, for the recompiler.
    Window(WindowMemory),
}

/// Forwards to the implementation at hand.
macro_rules! forward {
    ($self:ident, $m:ident => $body:expr) => {
        match $self {
            Memory::Copying($m) => $body,
            Memory::Window($m) => $body,
        }
    };
}

impl Memory {
    /// Maps `count` pages from page `first` on, of which page *i* is page `source_page + i` of the source,
    /// or zero where there is no source.
    ///
    /// # Errors
    /// [`MapError`] when a page is mapped already or lies outside the address space; nothing is mapped then.
    pub fn map(
        &mut self,
        first: u32,
        count: u32,
        access: Access,
        source: Option<(Arc<dyn PageSource>, u32)>,
    ) -> Result<(), MapError> {
        forward!(self, m => m.map(first, count, access, source))
    }

    /// Unmaps whatever of these pages is mapped; contents are lost.
    pub fn unmap(&mut self, first: u32, count: u32) {
        forward!(self, m => m.unmap(first, count));
    }

    /// Changes the access of mapped pages, keeping contents.
    ///
    /// # Errors
    /// [`MapError::NotMapped`] when one of them is not mapped; nothing changes then.
    pub fn protect(&mut self, first: u32, count: u32, access: Access) -> Result<(), MapError> {
        forward!(self, m => m.protect(first, count, access))
    }

    /// What a page allows; `None` where nothing is mapped.
    #[must_use]
    pub fn access(&self, page: u32) -> Option<Access> {
        forward!(self, m => m.access(page))
    }

    /// Writes into mapped pages, read-only ones too: all or nothing. Such pages count as written.
    ///
    /// # Errors
    /// [`MapError::NotMapped`] of the lowest page that is not mapped.
    pub fn poke(&mut self, address: u32, bytes: &[u8]) -> Result<(), MapError> {
        forward!(self, m => m.poke(address, bytes))
    }

    /// The contents of a mapped page as they stand, zero-extended; `None` where nothing is mapped, or where
    /// the page is the zero page that nobody touched.
    #[must_use]
    pub fn page(&self, page: u32) -> Option<&[u8]> {
        forward!(self, m => m.page(page))
    }

    /// The pages of `first .. first + count` that may have been written since they were mapped, ascending.
    /// A page in the list may still hold what it held; one that is not certainly does.
    #[must_use]
    pub fn written(&self, first: u32, count: u32) -> Vec<u32> {
        forward!(self, m => m.written(first, count))
    }

    /// The mapped ranges, ascending and disjoint: first page, number of pages, access.
    pub fn mapped(&self) -> impl Iterator<Item = (u32, u32, Access)> + '_ {
        let (copying, window) = match self {
            Self::Copying(m) => (Some(m.mapped()), None),
            Self::Window(m) => (None, Some(m.mapped())),
        };
        copying.into_iter().flatten().chain(window.into_iter().flatten())
    }

    /// Unmaps everything.
    pub fn clear(&mut self) {
        forward!(self, m => m.clear());
    }
}

impl Mem for Memory {
    fn read(&mut self, address: u32, buf: &mut [u8]) -> Result<(), Fault> {
        forward!(self, m => m.read(address, buf))
    }

    fn write(&mut self, address: u32, bytes: &[u8]) -> Result<(), Fault> {
        forward!(self, m => m.write(address, bytes))
    }

    fn check(&self, address: u32, len: usize, access: Access) -> Result<(), Fault> {
        forward!(self, m => m.check(address, len, access))
    }
}
