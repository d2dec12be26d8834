//! Asks the chain that embeds the machine: operations from 64 on are the chain's own.
#![no_std]
#![forbid(unsafe_code)]

use javm_guest::{endpoint, persistent};

javm_guest::chain_operations! {
    /// φ7 = the height of the block that is being made.
    64 safe BLOCK_HEIGHT [];
}

persistent! {
    /// The height at the first call, plus one; 0 before.
    static BORN: u64 = 0;
}

/// How many blocks ago this was called for the first time.
#[endpoint(0)]
pub fn age() -> u64 {
    let [height, ..] = BLOCK_HEIGHT();
    if BORN.get() == 0 {
        BORN.set(height + 1);
    }
    height + 1 - BORN.get()
}

#[cfg(test)]
mod tests {
    use super::*;
    use javm_guest::host::{Operation, install};

    #[test]
    fn a_clock_counts_blocks() {
        let mut height = 10;
        install(move |operation: Operation<'_>| {
            assert_eq!(operation.number, 64);
            height += 1;
            [height, 0, 0]
        });
        assert_eq!((age(), age(), age()), (0, 1, 2));
    }
}
