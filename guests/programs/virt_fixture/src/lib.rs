//! A flat program with the exports and imports that Substrate's test driver for virtualization expects.
//!
//! A round of `increment_forever` costs 126 gas, which the driver's count of rounds implies.
#![no_std]
#![forbid(unsafe_code)]

use javm_guest::{exports, persistent, syscalls};

syscalls! {
    /// The host's counter, into the buffer. Returns 1.
    fn read_counter(into: &mut [u8; 8]) -> u64;
    /// Adds to the host's counter. Returns 2^57.
    fn increment_counter(by: &[u8; 8]) -> u64;
    /// Ends the call; does not return.
    fn exit() -> u64;
    /// Has the host run `counter` in another instance.
    fn subcall() -> u64;
}

exports! { counter, add_99, do_panic, do_exit, increment_forever, offset, do_subcall }

persistent! {
    /// What `offset` adds next.
    static NEXT: u64 = 3;
}

fn value() -> u64 {
    let mut bytes = [0xa5; 8];
    assert_eq!(read_counter(&mut bytes), 1);
    u64::from_le_bytes(bytes)
}

/// A function of its own, as it would be with another SDK: what follows the call is a basic block of its own.
#[inline(never)]
fn increment(by: &[u8; 8]) -> u64 {
    increment_counter(by)
}

fn add(amount: u64) {
    let returned = increment(&amount.to_le_bytes());
    if returned != 2 << 56 {
        wrong(&returned);
    }
}

/// Ends the call over a value that a message would show: it is in memory.
#[cold]
#[inline(never)]
fn wrong(returned: &u64) -> ! {
    core::hint::black_box(returned);
    panic!();
}

/// Adds 7, then 1, and looks each time whether the host has counted.
fn counter() {
    let before = value();
    for (amount, sum) in [(7, 7), (1, 8)] {
        add(amount);
        assert_eq!(value(), before + sum);
    }
}

fn add_99() {
    add(99);
}

fn do_panic() {
    panic!();
}

/// Leaves; a host that comes back all the same finds a thousand more on its counter.
fn do_exit() {
    exit();
    add(1000);
    panic!();
}

fn increment_forever() {
    loop {
        add(1);
    }
}

/// Adds one more each time it is called.
fn offset() {
    let amount = NEXT.get();
    add(amount);
    NEXT.set(amount + 1);
}

fn do_subcall() {
    subcall();
}
