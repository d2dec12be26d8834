//! Pays for its own run and for what it stores: whoever calls it needs no gas for that.
//!
//! Published with Gas handles in slots 6 and 7 and a Quota handle in slot 8. The second meter is the reserve: a
//! charge that the first cannot pay in whole, it pays.
#![no_std]
#![forbid(unsafe_code)]

use javm_guest::{endpoint, image, persistent};
use support::{Numbers, fold};

image! { gas_slots: [6, 7], quota_slots: [8] }

persistent! {
    // Used: only four numbers are, and the compiler would put them together.
    #[used]
    static BOARD: [u64; 2048] = [0; 2048];
}

/// Takes so many numbers into a checksum.
#[endpoint(0)]
pub fn work(rounds: u64, seed: u64) -> u64 {
    let mut numbers = Numbers::new(seed);
    (0..rounds).fold(0, |checksum, _| fold(checksum, numbers.next_u64()))
}

/// Writes to so many pages, which the quota pays for at the end: 4,096 bytes each. Returns the sum of what was
/// there.
#[endpoint(1)]
pub fn store(pages: u64, value: u64) -> u64 {
    (0..pages).map(|page| BOARD.cells()[page as usize * 512].replace(value)).sum()
}

/// Gas in the meter that pays now.
#[endpoint(2)]
pub fn left() -> u64 {
    javm_guest::gas_left()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_depends_on_its_input() {
        assert_ne!(work(10, 1), work(11, 1));
        assert_eq!((store(4, 9), store(3, 0), store(4, 0)), (0, 27, 9));
    }
}
