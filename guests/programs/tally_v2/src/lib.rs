//! Counts as `tally_v1` does, whose memory it takes over, and knows the largest step.
#![no_std]
#![forbid(unsafe_code)]

use core::cell::Cell;
use javm_guest::{endpoint, persistent};

persistent! {
    /// The count; the largest step since the upgrade; the version that this instance had before.
    #[used]
    static STATE: [u64; 8] = [0; 8];
}

fn state() -> (&'static Cell<u64>, &'static Cell<u64>, &'static Cell<u64>) {
    let [count, largest, version, ..] = STATE.cells() else { unreachable!("there are eight") };
    (count, largest, version)
}

/// The count.
#[endpoint(0)]
pub fn count() -> u64 {
    state().0.get()
}

/// Counts.
#[endpoint(1)]
pub fn add(amount: u64) -> u64 {
    let (count, largest, _) = state();
    count.set(count.get() + amount);
    largest.set(largest.get().max(amount));
    count.get()
}

/// The largest step since the upgrade.
#[endpoint(2)]
pub fn largest() -> u64 {
    state().1.get()
}

/// Entered by an upgrade from an earlier version; returns the count that it found. A fault here undoes the
/// upgrade.
#[endpoint(3)]
pub fn migrate(version: u64) -> u64 {
    let (count, _, before) = state();
    assert!(before.get() < version, "upgraded before");
    before.set(version);
    count.get()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_on() {
        assert_eq!((migrate(1), add(5), add(2), count(), largest()), (0, 5, 7, 7, 5));
    }

    #[test]
    #[should_panic(expected = "upgraded before")]
    fn there_is_one_upgrade() {
        migrate(1);
        migrate(1);
    }
}
