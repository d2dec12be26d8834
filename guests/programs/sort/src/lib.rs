//! Sorting: a library sort and a heap sort of pseudo-random 64-bit numbers.
#![no_std]
#![forbid(unsafe_code)]

use javm_guest::{endpoint, exclusive, stack_size};
use support::{Numbers, fold};

/// The most numbers that are sorted at once; larger requests fault.
pub const MAX_LEN: usize = 1 << 16;

stack_size!(64 * 1024);

exclusive! {
    static NUMBERS: [u64; MAX_LEN] = [0; MAX_LEN];
}

/// Sorts by sifting through a binary heap in place.
pub fn heap_sort(numbers: &mut [u64]) {
    fn sift_down(heap: &mut [u64], mut at: usize) {
        while let Some(mut child) = Some(2 * at + 1).filter(|child| *child < heap.len()) {
            if child + 1 < heap.len() && heap[child] < heap[child + 1] {
                child += 1;
            }
            if heap[at] >= heap[child] {
                return;
            }
            heap.swap(at, child);
            at = child;
        }
    }
    for root in (0..numbers.len() / 2).rev() {
        sift_down(numbers, root);
    }
    for end in (1..numbers.len()).rev() {
        numbers.swap(0, end);
        sift_down(&mut numbers[..end], 0);
    }
}

fn sorted_checksum(n: u64, seed: u64, sort: impl FnOnce(&mut [u64])) -> u64 {
    NUMBERS.with(|numbers| {
        let numbers = numbers.get_mut(..n as usize).expect("too many numbers");
        let mut stream = Numbers::new(seed);
        numbers.iter_mut().for_each(|number| *number = stream.next_u64());
        sort(numbers);
        numbers.iter().fold(0, |checksum, number| fold(checksum, *number))
    })
}

/// Sorts `n` numbers with the standard library's unstable sort; returns a checksum over their order.
#[endpoint(0)]
pub fn sort(n: u64, seed: u64) -> u64 {
    sorted_checksum(n, seed, <[u64]>::sort_unstable)
}

/// The same with a heap sort: the checksum is the same.
#[endpoint(1)]
pub fn heapsort(n: u64, seed: u64) -> u64 {
    sorted_checksum(n, seed, heap_sort)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heap_sort_sorts() {
        for len in 0..40 {
            let mut stream = Numbers::new(len);
            let mut numbers = [0; 40].map(|_: u64| stream.next_u64() % 16);
            let numbers = &mut numbers[..len as usize];
            heap_sort(numbers);
            assert!(numbers.is_sorted());
        }
    }

    #[test]
    fn both_sorts_agree() {
        for (n, seed) in [(0, 1), (1, 1), (1000, 1), (1000, 2), (65_536, 3)] {
            assert_eq!(sort(n, seed), heapsort(n, seed));
        }
        assert_eq!(sort(10_000, 1), 0x2624_8ec7_7baa_8a6e);
        assert_ne!(sort(1000, 1), sort(1000, 2));
    }
}
