//! Memory that is nobody's until somebody above maps it, page by page.

/// A range of addresses that the program does not map. The first access to a page is a page fault, which the
/// nearest caller that catches the Pager marker answers with a page of bytes; without one it is a fault. A page
/// that was given stays until the call ends.
///
/// Addresses lie in `2^31..2^31 + 2^30`, where no program has its own memory, so that a window never shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    start: u32,
    size: u32,
}

impl Window {
    /// Where windows may start.
    pub const FIRST: u32 = 1 << 31;
    /// Where windows must have ended.
    pub const END: u32 = (1 << 31) + (1 << 30);

    /// A window of `size` bytes from address `start`.
    ///
    /// # Panics
    /// When it does not lie in [`FIRST`](Self::FIRST)`..`[`END`](Self::END). In a `const` that is a compile
    /// error.
    #[must_use]
    pub const fn new(start: u32, size: u32) -> Self {
        assert!(
            start >= Self::FIRST && size <= Self::END && start <= Self::END - size,
            "no place for a window"
        );
        Self { start, size }
    }

    /// Its size in bytes.
    #[must_use]
    pub const fn size(self) -> u32 {
        self.size
    }

    /// The byte at an offset.
    ///
    /// # Panics
    /// When the offset lies outside.
    #[must_use]
    pub fn read(self, offset: u32) -> u8 {
        imp::read(self.address(offset))
    }

    /// Sets the byte at an offset.
    ///
    /// # Panics
    /// When the offset lies outside.
    pub fn write(self, offset: u32, byte: u8) {
        imp::write(self.address(offset), byte);
    }

    fn address(self, offset: u32) -> u32 {
        assert!(offset < self.size, "outside the window");
        self.start + offset
    }
}

#[cfg(target_os = "none")]
mod imp {
    pub(super) fn read(address: u32) -> u8 {
        let place = core::ptr::with_exposed_provenance::<u8>(address as usize);
        // SAFETY: no Rust object lies at addresses of a window; any byte there is a `u8`, and an access to one
        // that is not mapped ends the run or waits until it is.
        unsafe { place.read_volatile() }
    }

    pub(super) fn write(address: u32, byte: u8) {
        let place = core::ptr::with_exposed_provenance_mut::<u8>(address as usize);
        // SAFETY: as for reading.
        unsafe { place.write_volatile(byte) }
    }
}

/// On the host a window reads as zeros until something is written.
#[cfg(not(target_os = "none"))]
mod imp {
    use std::cell::RefCell;
    use std::collections::BTreeMap;

    std::thread_local! {
        static BYTES: RefCell<BTreeMap<u32, u8>> = const { RefCell::new(BTreeMap::new()) };
    }

    pub(super) fn read(address: u32) -> u8 {
        BYTES.with_borrow(|bytes| bytes.get(&address).copied().unwrap_or(0))
    }

    pub(super) fn write(address: u32, byte: u8) {
        BYTES.with_borrow_mut(|bytes| bytes.insert(address, byte));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_is_memory() {
        let window = Window::new(Window::FIRST + 4096, 10);
        window.write(9, 7);
        assert_eq!((window.read(9), window.read(8), window.size()), (7, 0, 10));
        assert_eq!(Window::new(Window::END - 1, 1).read(0), 0);
    }

    #[test]
    #[should_panic(expected = "outside the window")]
    fn a_window_ends() {
        let _ = Window::new(Window::FIRST, 10).read(10);
    }

    #[test]
    #[should_panic(expected = "no place for a window")]
    fn a_window_is_not_where_programs_are() {
        let _ = Window::new(0x1_0000, 10);
    }
}
