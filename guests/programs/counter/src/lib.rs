//! The smallest guest with a memory: a counter that lasts from call to call.
#![no_std]
#![forbid(unsafe_code)]

use javm_guest::{endpoint, persistent};

persistent! {
    static COUNT: u64 = 0;
}

/// The count.
#[endpoint(0)]
pub fn get() -> u64 {
    COUNT.get()
}

/// Adds to the count and returns the new one; wraps at 2^64.
#[endpoint(1)]
pub fn add(amount: u64) -> u64 {
    COUNT.set(COUNT.get().wrapping_add(amount));
    COUNT.get()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts() {
        assert_eq!(get(), 0);
        assert_eq!(add(5), 5);
        assert_eq!(add(u64::MAX), 4);
        assert_eq!(get(), 4);
    }
}
