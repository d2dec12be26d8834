//! Counts, and can be replaced by its next version (`tally_v2`), which takes over its memory.
//!
//! The next version finds persistent memory as this one leaves it, by address: all of it is one static, so that
//! both versions agree where it lies, and `#[used]`, so that the compiler leaves it whole.
#![no_std]
#![forbid(unsafe_code)]

use javm_guest::{Image, SCRATCHPAD, Slot, endpoint, persistent};

persistent! {
    /// The count; the rest is for later versions, and zero.
    #[used]
    static STATE: [u64; 8] = [0; 8];
}

/// The next version, where its owner gave it one.
const NEXT: Slot<Image> = Slot::root(1);

/// Endpoint of every later version that is entered by an upgrade.
pub const MIGRATE: u8 = 3;

/// The count.
#[endpoint(0)]
pub fn count() -> u64 {
    STATE.cells()[0].get()
}

/// Counts.
#[endpoint(1)]
pub fn add(amount: u64) -> u64 {
    let count = &STATE.cells()[0];
    count.set(count.get() + amount);
    count.get()
}

/// Goes on as an instance of the image in slot 0, at its endpoint [`MIGRATE`].
#[endpoint(2)]
pub fn upgrade() -> ! {
    SCRATCHPAD.move_to(NEXT.any());
    NEXT.become_at(MIGRATE, [1, 0, 0, 0])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts() {
        assert_eq!((add(5), add(2), count()), (5, 7, 7));
    }
}
