//! [`Reservation`]: the address space of one window and the system calls on it.

use std::{
    fs::File,
    os::fd::AsRawFd,
    os::unix::fs::FileExt,
    ptr::NonNull,
    sync::{
        OnceLock,
        atomic::{AtomicBool, Ordering},
    },
};

use crate::{PAGE_COUNT, PAGE_SIZE, window::Rights};

const WINDOW: usize = PAGE_COUNT as usize * PAGE_SIZE;

/// Inaccessible addresses behind the window, for accesses that run over its end.
const GUARD: usize = 16 * PAGE_SIZE;

/// 4 GiB of addresses and the guard area behind them.
#[derive(Debug)]
pub(crate) struct Reservation {
    base: NonNull<u8>,
}

// SAFETY: a mapping belongs to the process, not to a thread; access goes through `&self` and `&mut self`.
unsafe impl Send for Reservation {}
// SAFETY: as above; `&self` only reads.
unsafe impl Sync for Reservation {}

const PRIVATE: libc::c_int = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;

impl Reservation {
    /// Reserves addresses, all inaccessible.
    pub(crate) fn new() -> Option<Self> {
        // SAFETY: a new mapping at an address of the kernel's choice touches nothing that exists.
        let base =
            unsafe { libc::mmap(core::ptr::null_mut(), WINDOW + GUARD, libc::PROT_NONE, PRIVATE, -1, 0) };
        if base == libc::MAP_FAILED {
            return None;
        }
        NonNull::new(base.cast()).map(|base| Self { base })
    }

    #[inline]
    pub(crate) fn base(&self) -> usize {
        self.base.as_ptr() as usize
    }

    fn at(&self, first: u32) -> *mut libc::c_void {
        assert!(first <= PAGE_COUNT);
        self.base.as_ptr().wrapping_add(first as usize * PAGE_SIZE).cast()
    }

    /// Sets the rights of pages; `None`: none. Whether it worked.
    pub(crate) fn protect(&self, first: u32, count: u32, rights: Option<Rights>) -> bool {
        assert!(first.checked_add(count).is_some_and(|end| end <= PAGE_COUNT));
        let rights = match rights {
            None => libc::PROT_NONE,
            Some(Rights::Read) => libc::PROT_READ,
            Some(Rights::ReadWrite) => libc::PROT_READ | libc::PROT_WRITE,
        };
        // SAFETY: the range lies in this mapping, of which references exist only while its window is
        // borrowed; the caller has it mutably.
        unsafe { libc::mprotect(self.at(first), count as usize * PAGE_SIZE, rights) == 0 }
    }

    /// Zeroes pages by giving their memory back. Whether it worked.
    pub(crate) fn discard(&self, first: u32, count: u32) -> bool {
        assert!(first.checked_add(count).is_some_and(|end| end <= PAGE_COUNT));
        // SAFETY: as for `protect`; private anonymous pages read as zeros afterwards.
        unsafe { libc::madvise(self.at(first), count as usize * PAGE_SIZE, libc::MADV_DONTNEED) == 0 }
    }

    /// Makes everything inaccessible and zero. Whether it worked.
    pub(crate) fn renew(&self) -> bool {
        // SAFETY: replaces this mapping, and only it, by a new one of the same size.
        let base = unsafe {
            libc::mmap(
                self.base.as_ptr().cast(),
                WINDOW + GUARD,
                libc::PROT_NONE,
                PRIVATE | libc::MAP_FIXED,
                -1,
                0,
            )
        };
        base != libc::MAP_FAILED
    }

    /// # Safety
    /// The pages of the range are readable and nobody writes them while the slice lives.
    pub(crate) unsafe fn bytes(&self, offset: usize, len: usize) -> &[u8] {
        assert!(offset.checked_add(len).is_some_and(|end| end <= WINDOW));
        let start = self.base.as_ptr().wrapping_add(offset);
        // SAFETY: in bounds by the assertion, the rest by the caller.
        unsafe { core::slice::from_raw_parts(start, len) }
    }

    /// # Safety
    /// The pages of the range are writable and nobody else accesses them while the slice lives.
    pub(crate) unsafe fn bytes_mut(&mut self, offset: usize, len: usize) -> &mut [u8] {
        assert!(offset.checked_add(len).is_some_and(|end| end <= WINDOW));
        let start = self.base.as_ptr().wrapping_add(offset);
        // SAFETY: in bounds by the assertion, the rest by the caller.
        unsafe { core::slice::from_raw_parts_mut(start, len) }
    }

    /// Reports the pages that have memory. `false` when the kernel does not tell.
    pub(crate) fn touched(&self, first: u32, count: u32, found: &mut dyn FnMut(u32, u32)) -> bool {
        let Some(pagemap) = pagemap() else { return false };
        if !SCAN_FAILS.load(Ordering::Relaxed) {
            if self.scan(pagemap, first, count, found) {
                return true;
            }
            SCAN_FAILS.store(true, Ordering::Relaxed);
        }
        self.read_pagemap(pagemap, first, count, found)
    }

    /// `PAGEMAP_SCAN`, Linux 6.7.
    fn scan(&self, pagemap: &File, first: u32, count: u32, found: &mut dyn FnMut(u32, u32)) -> bool {
        let mut regions = [PageRegion::default(); 64];
        let mut start = self.at(first) as u64;
        let end = self.at(first + count) as u64;
        while start < end {
            let mut arg = PmScanArg {
                size: size_of::<PmScanArg>() as u64,
                start,
                end,
                vec: regions.as_mut_ptr() as u64,
                vec_len: regions.len() as u64,
                category_anyof_mask: PAGE_IS_PRESENT | PAGE_IS_SWAPPED,
                return_mask: PAGE_IS_PRESENT | PAGE_IS_SWAPPED | PAGE_IS_PFNZERO,
                ..PmScanArg::default()
            };
            // SAFETY: the kernel reads and writes `arg`, and writes at most `vec_len` regions.
            let n = unsafe { libc::ioctl(pagemap.as_raw_fd(), PAGEMAP_SCAN, &raw mut arg) };
            let Ok(n) = usize::try_from(n) else { return false };
            for region in regions.iter().take(n).filter(|r| r.categories & PAGE_IS_PFNZERO == 0) {
                found(self.page_of(region.start), self.page_of(region.end));
            }
            if arg.walk_end <= start {
                return false;
            }
            start = arg.walk_end;
        }
        true
    }

    /// The file's words, for older kernels.
    fn read_pagemap(&self, pagemap: &File, first: u32, count: u32, found: &mut dyn FnMut(u32, u32)) -> bool {
        let mut words = [0u8; PAGE_SIZE];
        let mut page = first;
        while page < first + count {
            let n = (first + count - page).min(words.len() as u32 / 8);
            let bytes = &mut words[..n as usize * 8];
            let offset = (self.at(page) as usize / PAGE_SIZE * 8) as u64;
            if pagemap.read_exact_at(bytes, offset).is_err() {
                return false;
            }
            for (k, word) in bytes.chunks_exact(8).enumerate() {
                // Bit 63: present, bit 62: swapped.
                if word[7] & 0xC0 != 0 {
                    found(page + k as u32, page + k as u32 + 1);
                }
            }
            page += n;
        }
        true
    }

    fn page_of(&self, address: u64) -> u32 {
        ((address - self.base() as u64) / PAGE_SIZE as u64) as u32
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        // SAFETY: the mapping is this one's own, and nothing borrows it any more.
        unsafe { libc::munmap(self.base.as_ptr().cast(), WINDOW + GUARD) };
    }
}

/// Whether the kernel has no `PAGEMAP_SCAN`.
static SCAN_FAILS: AtomicBool = AtomicBool::new(false);

/// The process's page map. It is that of the process which opened it, so not of a forked child: there the
/// addresses of another process would be looked up, and a fork is noticed by its process number.
fn pagemap() -> Option<&'static File> {
    static FILE: OnceLock<Option<(u32, File)>> = OnceLock::new();
    let file = FILE.get_or_init(|| Some((std::process::id(), File::open("/proc/self/pagemap").ok()?)));
    file.as_ref().filter(|(pid, _)| *pid == std::process::id()).map(|(_, file)| file)
}

/// `struct page_region` of `linux/fs.h`.
#[repr(C)]
#[derive(Clone, Copy, Default)]
struct PageRegion {
    start: u64,
    end: u64,
    categories: u64,
}

/// `struct pm_scan_arg` of `linux/fs.h`.
#[repr(C)]
#[derive(Default)]
struct PmScanArg {
    size: u64,
    flags: u64,
    start: u64,
    end: u64,
    walk_end: u64,
    vec: u64,
    vec_len: u64,
    max_pages: u64,
    category_inverted: u64,
    category_mask: u64,
    category_anyof_mask: u64,
    return_mask: u64,
}

/// `_IOWR('f', 16, struct pm_scan_arg)`.
const PAGEMAP_SCAN: libc::Ioctl = 0xC060_6610u32 as libc::Ioctl;
const PAGE_IS_PRESENT: u64 = 1 << 3;
const PAGE_IS_SWAPPED: u64 = 1 << 4;
const PAGE_IS_PFNZERO: u64 = 1 << 5;
const _: () = assert!(size_of::<PmScanArg>() == 0x60);
