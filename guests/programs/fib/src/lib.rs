//! Fibonacci numbers as a loop and as calls, and a 64-bit mixing loop that no compiler folds away.
#![no_std]
#![forbid(unsafe_code)]

use javm_guest::{endpoint, stack_size};

// `fib_rec` nests `n` calls deep.
stack_size!(64 * 1024);

/// The `n`-th Fibonacci number modulo 2^64: a plain loop.
#[endpoint(0)]
pub fn fib_iter(n: u64) -> u64 {
    let (mut a, mut b) = (0u64, 1u64);
    for _ in 0..n {
        (a, b) = (b, a.wrapping_add(b));
    }
    a
}

/// The `n`-th Fibonacci number by its definition: calls and stack traffic.
#[endpoint(1)]
pub fn fib_rec(n: u64) -> u64 {
    #[inline(never)]
    fn go(n: u64) -> u64 {
        if n < 2 { n } else { go(n - 1).wrapping_add(go(n - 2)) }
    }
    go(n)
}

/// Mixes a seed `rounds` times: shift, multiply, add, rotate.
#[endpoint(2)]
pub fn mix(seed: u64, rounds: u64) -> u64 {
    (0..rounds).fold(seed, |x, i| {
        (x ^ (x >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd).wrapping_add(i).rotate_left(17)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ways_agree() {
        (0..20).for_each(|n| assert_eq!(fib_iter(n), fib_rec(n)));
        assert_eq!(fib_iter(90), 2_880_067_194_370_816_120);
        assert_eq!(fib_rec(25), 75_025);
    }

    #[test]
    fn mixing_has_its_known_result() {
        assert_eq!(mix(12_345, 1000), 0x638e_c3f7_a7da_a948);
    }
}
