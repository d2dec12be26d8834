//! Reads memory that it does not have, by the grace of a pager above it.
#![no_std]
#![forbid(unsafe_code)]

use javm_guest::{Window, endpoint};

/// As much as a pager may ever map.
const FILE: Window = Window::new(Window::FIRST, 1 << 20);

/// The sum of the bytes from one offset up to another.
#[endpoint(0)]
pub fn sum(from: u32, to: u32) -> u64 {
    (from..to).map(|offset| u64::from(FILE.read(offset))).sum()
}

/// Changes a byte and reads it again: pages are the reader's to write, until its call ends.
#[endpoint(1)]
pub fn scribble(offset: u32, byte: u8) -> u64 {
    let before = FILE.read(offset);
    FILE.write(offset, byte);
    u64::from(before) << 8 | u64::from(FILE.read(offset))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_is_read_and_written() {
        assert_eq!((scribble(3, 7), scribble(4096, 8), sum(0, 8192)), (7, 8, 15));
    }
}
