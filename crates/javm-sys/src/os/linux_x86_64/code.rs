//! [`Draft`] and [`CodeMemory`]: memory for emitted code, written first, run afterwards.
//!
//! All code of the process lies in one reserved range of addresses, so that the fault handler tells emitted
//! code from everything else by two comparisons. A piece of it is writable while it is a draft, and
//! executable, no longer writable, once published: never both.

use std::{
    ptr::NonNull,
    sync::{
        Arc, Mutex, OnceLock, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

use crate::PAGE_SIZE;

/// Addresses reserved for code.
const ARENA: usize = 64 << 30;

/// The range of addresses that emitted code can have: base and end, 0 while there is none.
static BASE: AtomicUsize = AtomicUsize::new(0);
static END: AtomicUsize = AtomicUsize::new(0);

/// Whether emitted code can have this address. Used by the fault handler, so: no locks.
pub(crate) fn is_emitted_code(address: usize) -> bool {
    let base = BASE.load(Ordering::Relaxed);
    base != 0 && address >= base && address < END.load(Ordering::Relaxed)
}

struct Arena {
    base: NonNull<u8>,
    /// Free pieces in bytes from the base, ascending, never adjacent.
    free: Mutex<Vec<(usize, usize)>>,
}

// SAFETY: the range belongs to the process; who may access a piece of it is up to its draft or code.
unsafe impl Send for Arena {}
// SAFETY: as above; the list is behind a lock.
unsafe impl Sync for Arena {}

/// The arena, or `None` if the system does not give the addresses.
fn arena() -> Option<&'static Arena> {
    static CELL: OnceLock<Option<Arena>> = OnceLock::new();
    CELL.get_or_init(|| {
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
        // SAFETY: a new mapping at an address of the kernel's choice touches nothing that exists.
        let base = unsafe { libc::mmap(core::ptr::null_mut(), ARENA, libc::PROT_NONE, flags, -1, 0) };
        if base == libc::MAP_FAILED {
            return None;
        }
        let base = NonNull::new(base.cast::<u8>())?;
        END.store(base.as_ptr() as usize + ARENA, Ordering::Relaxed);
        BASE.store(base.as_ptr() as usize, Ordering::Relaxed);
        Some(Arena { base, free: Mutex::new(vec![(0, ARENA)]) })
    })
    .as_ref()
}

/// Whether there is an arena.
pub(crate) fn is_available() -> bool {
    arena().is_some()
}

/// A piece of the arena; free again when dropped.
struct Piece {
    arena: &'static Arena,
    offset: usize,
    len: usize,
}

impl Piece {
    fn new(len: usize) -> Option<Self> {
        let arena = arena()?;
        let len = len.max(1).checked_next_multiple_of(PAGE_SIZE)?;
        let mut free = arena.free.lock().unwrap_or_else(PoisonError::into_inner);
        let slot = free.iter().position(|(_, size)| *size >= len)?;
        let (offset, size) = free[slot];
        if size == len {
            free.remove(slot);
        } else {
            free[slot] = (offset + len, size - len);
        }
        Some(Self { arena, offset, len })
    }

    fn base(&self) -> *mut u8 {
        self.arena.base.as_ptr().wrapping_add(self.offset)
    }

    /// Sets the rights of the whole piece. Whether it worked.
    fn protect(&self, rights: libc::c_int) -> bool {
        // SAFETY: the range lies in the arena and belongs to this piece, which the caller does not lend out.
        unsafe { libc::mprotect(self.base().cast(), self.len, rights) == 0 }
    }

    /// Gives everything behind the first `len` bytes back.
    fn truncate(&mut self, len: usize) {
        let len = len.max(1).next_multiple_of(PAGE_SIZE).min(self.len);
        if len < self.len {
            drop(Self { arena: self.arena, offset: self.offset + len, len: self.len - len });
            self.len = len;
        }
    }
}

impl Drop for Piece {
    fn drop(&mut self) {
        // SAFETY: the piece is not used any more; its pages read as zeros from now on.
        unsafe { libc::madvise(self.base().cast(), self.len, libc::MADV_DONTNEED) };
        if !self.protect(libc::PROT_NONE) {
            // What cannot be made inaccessible is never handed out again.
            return;
        }
        let mut free = self.arena.free.lock().unwrap_or_else(PoisonError::into_inner);
        let at = free.partition_point(|(offset, _)| *offset < self.offset);
        free.insert(at, (self.offset, self.len));
        if at + 1 < free.len() && free[at].0 + free[at].1 == free[at + 1].0 {
            free[at].1 += free[at + 1].1;
            free.remove(at + 1);
        }
        if at > 0 && free[at - 1].0 + free[at - 1].1 == free[at].0 {
            free[at - 1].1 += free[at].1;
            free.remove(at);
        }
    }
}

/// Memory that code is being written to.
pub struct Draft(Piece);

impl Draft {
    /// Room for `capacity` bytes of code, zero; memory is used only for what is written. `None` when there
    /// is not as much.
    #[must_use]
    pub fn new(capacity: usize) -> Option<Self> {
        let piece = Piece::new(capacity)?;
        piece.protect(libc::PROT_READ | libc::PROT_WRITE).then_some(Self(piece))
    }

    /// The bytes.
    pub fn bytes(&mut self) -> &mut [u8] {
        // SAFETY: the piece is readable and writable, and this borrow is the only way to it.
        unsafe { core::slice::from_raw_parts_mut(self.0.base(), self.0.len) }
    }

    /// Address of the first byte, which stays the same.
    #[must_use]
    pub fn base(&self) -> u64 {
        self.0.base() as u64
    }

    /// Makes the first `len` bytes executable, and no longer writable. `None` when the system refuses.
    ///
    /// # Safety
    /// The bytes keep the contract at the head of this crate, entered at whatever offset
    /// [`enter`](crate::enter) will be given.
    #[must_use]
    pub unsafe fn publish(self, len: usize) -> Option<CodeMemory> {
        let mut piece = self.0;
        piece.truncate(len);
        piece.protect(libc::PROT_READ | libc::PROT_EXEC).then(|| CodeMemory(Arc::new(piece)))
    }
}

impl core::fmt::Debug for Draft {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Draft").field("capacity", &self.0.len).finish()
    }
}

/// Published code. Cheap to clone; the memory is freed with the last clone.
#[derive(Clone)]
pub struct CodeMemory(Arc<Piece>);

impl CodeMemory {
    /// Address of the first byte.
    #[inline]
    #[must_use]
    pub fn base(&self) -> u64 {
        self.0.base() as u64
    }

    /// Bytes of memory, whole pages.
    #[must_use]
    pub fn size(&self) -> usize {
        self.0.len
    }

    /// The code.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        // SAFETY: published code is readable and nobody writes it.
        unsafe { core::slice::from_raw_parts(self.0.base(), self.0.len) }
    }
}

impl core::fmt::Debug for CodeMemory {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("CodeMemory").field("size", &self.0.len).finish()
    }
}
