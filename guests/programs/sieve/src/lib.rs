//! The sieve of Eratosthenes: strided bytes in a megabyte of persistent memory.
#![no_std]
#![forbid(unsafe_code)]

use javm_guest::{endpoint, exclusive};

/// The largest limit; larger requests fault.
pub const MAX_LIMIT: usize = 1 << 20;

exclusive! {
    static COMPOSITE: [u8; MAX_LIMIT] = [0; MAX_LIMIT];
}

/// How many primes there are below the table's length.
pub fn count_primes(composite: &mut [u8]) -> u64 {
    composite.fill(0);
    let mut count = 0;
    for i in 2..composite.len() {
        if composite[i] == 0 {
            count += 1;
            if let Some(multiples) = i.checked_mul(i).and_then(|square| composite.get_mut(square..)) {
                multiples.iter_mut().step_by(i).for_each(|multiple| *multiple = 1);
            }
        }
    }
    count
}

/// How many primes there are below `limit`, which is at most 2^20.
#[endpoint(0)]
pub fn sieve(limit: u64) -> u64 {
    COMPOSITE.with(|table| count_primes(table.get_mut(..limit as usize).expect("limit too large")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prime_counts_are_those_of_the_tables() {
        for (limit, primes) in [(0, 0), (2, 0), (3, 1), (100, 25), (1000, 168), (1 << 20, 82_025)] {
            assert_eq!(sieve(limit), primes, "below {limit}");
        }
    }
}
