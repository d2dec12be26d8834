//! A flat program that sorts what its host fills in, on a stack of its own size.
#![no_std]
#![forbid(unsafe_code)]

use javm_guest::{exclusive, exports, stack_size, syscalls};

stack_size!(64 * 1024);

syscalls! {
    fn fill(buffer: &mut [u8], len: usize) -> u64;
    fn take(buffer: &[u8], len: usize) -> u64;
}

exports! { on_the_stack, in_a_static, twice }

exclusive! {
    static TABLE: [u8; 20_000] = [0; 20_000];
}

fn sort(bytes: &mut [u8]) {
    let len = bytes.len();
    fill(bytes, len);
    bytes.sort_unstable();
    take(bytes, len);
}

fn on_the_stack() {
    sort(&mut [0; 30_000]);
}

fn in_a_static() {
    TABLE.with(|table| sort(table));
}

/// A host that fills nothing in finds what was there before, sorted.
fn twice() {
    let mut numbers = support::Numbers::new(7);
    TABLE.with(|table| {
        table[..64].iter_mut().for_each(|byte| *byte = numbers.next_u64() as u8);
        sort(&mut table[..64]);
        table[..64].reverse();
        take(&table[..], 64);
    });
}
