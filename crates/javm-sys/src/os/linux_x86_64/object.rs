//! [`Object`]: memory without a place of its own, a `memfd`, and the system calls that show it.

use std::{
    os::fd::{AsRawFd, FromRawFd, OwnedFd},
    ptr::NonNull,
};

use super::window::Reservation;
use crate::{PAGE_COUNT, PAGE_SIZE, window::Rights};

type Page = [u8; PAGE_SIZE];

/// Memory of a fixed size that can be mapped in several places; it is mapped as a whole in one.
#[derive(Debug)]
pub(crate) struct Object {
    file: OwnedFd,
    base: NonNull<Page>,
    pages: u32,
}

// SAFETY: a mapping belongs to the process, not to a thread; access goes through `&self` and `&mut self`.
unsafe impl Send for Object {}
// SAFETY: as above; `&self` only reads.
unsafe impl Sync for Object {}

const NONE: libc::c_int = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE | libc::MAP_FIXED;

impl Object {
    /// An object of so many pages, all zero.
    pub(crate) fn new(pages: u32) -> Option<Self> {
        // SAFETY: the name is a string with its zero byte.
        let file = unsafe { libc::memfd_create(c"javm".as_ptr(), libc::MFD_CLOEXEC) };
        if file < 0 {
            return None;
        }
        // SAFETY: the descriptor is new, and nobody else's.
        let file = unsafe { OwnedFd::from_raw_fd(file) };
        let len = pages as usize * PAGE_SIZE;
        if len as u64 > largest_file() {
            return None;
        }
        // SAFETY: sets the size of a file.
        if unsafe { libc::ftruncate(file.as_raw_fd(), len as libc::off_t) } != 0 {
            return None;
        }
        if pages == 0 {
            return Some(Self { file, base: NonNull::dangling(), pages });
        }
        let rights = libc::PROT_READ | libc::PROT_WRITE;
        let flags = libc::MAP_SHARED | libc::MAP_NORESERVE;
        // SAFETY: a new mapping at an address of the kernel's choice touches nothing that exists.
        let base = unsafe { libc::mmap(core::ptr::null_mut(), len, rights, flags, file.as_raw_fd(), 0) };
        if base == libc::MAP_FAILED {
            return None;
        }
        NonNull::new(base.cast()).map(|base| Self { file, base, pages })
    }

    /// # Safety
    /// Nobody writes the pages while the slice lives.
    #[inline]
    pub(crate) unsafe fn pages(&self) -> &[Page] {
        // SAFETY: the mapping has so many pages and lives as long as this; the rest by the caller.
        unsafe { core::slice::from_raw_parts(self.base.as_ptr(), self.pages as usize) }
    }

    /// # Safety
    /// Nobody else accesses the pages while the slice lives.
    #[inline]
    pub(crate) unsafe fn pages_mut(&mut self) -> &mut [Page] {
        // SAFETY: as above.
        unsafe { core::slice::from_raw_parts_mut(self.base.as_ptr(), self.pages as usize) }
    }

    /// Zeroes pages by giving their memory back. Whether it worked.
    pub(crate) fn discard(&mut self, first: u32, count: u32) -> bool {
        assert!(first.checked_add(count).is_some_and(|end| end <= self.pages));
        let (at, len) = (first as usize * PAGE_SIZE, count as usize * PAGE_SIZE);
        let mode = libc::FALLOC_FL_PUNCH_HOLE | libc::FALLOC_FL_KEEP_SIZE;
        // SAFETY: a system call on a file; that its pages change is what the exclusive borrow is for.
        unsafe { libc::fallocate(self.file.as_raw_fd(), mode, at as libc::off_t, len as libc::off_t) == 0 }
    }

    /// Where pages of a reservation are.
    fn place(to: &Reservation, first: u32, count: u32) -> *mut libc::c_void {
        assert!(first.checked_add(count).is_some_and(|end| end <= PAGE_COUNT));
        (to.base() + first as usize * PAGE_SIZE) as *mut libc::c_void
    }

    /// Shows pages from `from` on at pages of a reservation. Whether it worked.
    pub(crate) fn map(
        &self,
        to: &Reservation,
        (first, count): (u32, u32),
        from: u32,
        rights: Rights,
    ) -> bool {
        assert!(from.checked_add(count).is_some_and(|end| end <= self.pages));
        let place = Self::place(to, first, count);
        let rights = match rights {
            Rights::Read => libc::PROT_READ,
            Rights::ReadWrite => libc::PROT_READ | libc::PROT_WRITE,
        };
        let flags = libc::MAP_SHARED | libc::MAP_NORESERVE | libc::MAP_FIXED;
        let (len, offset) = (count as usize * PAGE_SIZE, from as libc::off_t * PAGE_SIZE as libc::off_t);
        // SAFETY: replaces pages of a reservation, to which nobody has references: its owner gives none.
        let at = unsafe { libc::mmap(place, len, rights, flags, self.file.as_raw_fd(), offset) };
        at == place
    }

    /// Makes pages of a reservation inaccessible. Whether it worked.
    pub(crate) fn unmap(to: &Reservation, (first, count): (u32, u32)) -> bool {
        let place = Self::place(to, first, count);
        // SAFETY: as for `map`.
        let at = unsafe { libc::mmap(place, count as usize * PAGE_SIZE, libc::PROT_NONE, NONE, -1, 0) };
        at == place
    }
}

/// The most bytes that a file of this process may have. Who asks for more gets a signal that ends the process.
fn largest_file() -> u64 {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: writes what it is given room for.
    let known = unsafe { libc::getrlimit(libc::RLIMIT_FSIZE, &raw mut limit) } == 0;
    if known { limit.rlim_cur } else { u64::MAX }
}

impl Drop for Object {
    fn drop(&mut self) {
        if self.pages != 0 {
            // SAFETY: the mapping is this one's own, and nothing borrows it any more.
            unsafe { libc::munmap(self.base.as_ptr().cast(), self.pages as usize * PAGE_SIZE) };
        }
    }
}
