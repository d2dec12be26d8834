//! [`ZeroPages`]: memory straight from the system.

use core::ptr::NonNull;

use crate::words::WORDS;

/// Bytes of the memory.
const LEN: usize = WORDS * size_of::<u32>();

/// Words, all zero at first, backed where they are written.
pub(crate) struct ZeroPages {
    words: NonNull<[u32; WORDS]>,
    /// From the system; else from the allocator, because the system gave no more.
    mapped: bool,
}

// SAFETY: the memory is this one's own; access goes through `&self` and `&mut self`.
unsafe impl Send for ZeroPages {}
// SAFETY: as above; `&self` only reads.
unsafe impl Sync for ZeroPages {}

impl ZeroPages {
    pub(crate) fn new() -> Self {
        let rights = libc::PROT_READ | libc::PROT_WRITE;
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
        // SAFETY: a new mapping at an address of the kernel's choice touches nothing that exists.
        let at = unsafe { libc::mmap(core::ptr::null_mut(), LEN, rights, flags, -1, 0) };
        match NonNull::new(at.cast()).filter(|_| at != libc::MAP_FAILED) {
            Some(words) => Self { words, mapped: true },
            None => {
                let words = vec![0u32; WORDS].into_boxed_slice();
                // The length is WORDS, so this is the whole of it.
                Self { words: NonNull::from(Box::leak(words)).cast(), mapped: false }
            }
        }
    }

    #[inline(always)]
    pub(crate) const fn words(&self) -> &[u32; WORDS] {
        // SAFETY: so many words, initialized (with zeros), aligned to pages or by the allocator, that live as long
        // as this; nobody writes them while it is borrowed.
        unsafe { self.words.as_ref() }
    }

    #[inline(always)]
    pub(crate) const fn words_mut(&mut self) -> &mut [u32; WORDS] {
        // SAFETY: as above, and the borrow is exclusive.
        unsafe { self.words.as_mut() }
    }
}

impl Drop for ZeroPages {
    fn drop(&mut self) {
        if self.mapped {
            // SAFETY: the mapping is this one's own, and nothing borrows it any more.
            unsafe { libc::munmap(self.words.as_ptr().cast(), LEN) };
        } else {
            let words: *mut [u32; WORDS] = self.words.as_ptr();
            // SAFETY: a leaked box of a slice of so many words, and nothing borrows it any more.
            drop(unsafe { Box::from_raw(words as *mut [u32]) });
        }
    }
}
