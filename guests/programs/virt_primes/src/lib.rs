//! A flat program that remembers how many primes it has found, and one that never ends.
#![no_std]
#![forbid(unsafe_code)]

use javm_guest::{exports, persistent, syscalls};

syscalls! {
    fn prime(number: u64, position: u64) -> u64;
}

exports! { next, many, forever }

persistent! {
    static LAST: u64 = 1;
    static FOUND: u64 = 0;
}

fn advance() -> u64 {
    let mut number = LAST.get() + 1;
    while (2..).take_while(|d| d * d <= number).any(|d| number.is_multiple_of(d)) {
        number += 1;
    }
    LAST.set(number);
    FOUND.set(FOUND.get() + 1);
    number
}

/// Shows the next prime.
fn next() {
    prime(advance(), FOUND.get());
}

/// Shows the hundredth from here.
fn many() {
    let last = (0..100).fold(0, |_, _| advance());
    prime(last, FOUND.get());
}

/// Finds primes until the gas is gone.
fn forever() {
    loop {
        advance();
    }
}
