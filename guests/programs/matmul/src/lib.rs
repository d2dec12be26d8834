//! Multiplying square matrices of 64-bit integers, modulo 2^64.
#![no_std]
#![forbid(unsafe_code)]

use javm_guest::{endpoint, exclusive};
use support::{Numbers, fold};

/// The largest number of rows; larger requests fault.
pub const MAX_ROWS: usize = 128;

/// Two factors and their product, row by row.
struct Matrices {
    a: [u64; MAX_ROWS * MAX_ROWS],
    b: [u64; MAX_ROWS * MAX_ROWS],
    product: [u64; MAX_ROWS * MAX_ROWS],
}

exclusive! {
    static MATRICES: Matrices = Matrices {
        a: [0; MAX_ROWS * MAX_ROWS],
        b: [0; MAX_ROWS * MAX_ROWS],
        product: [0; MAX_ROWS * MAX_ROWS],
    };
}

/// `product = a b`, for matrices of `rows` rows.
pub fn multiply(rows: usize, a: &[u64], b: &[u64], product: &mut [u64]) {
    for (a_row, out) in a.chunks_exact(rows).zip(product.chunks_exact_mut(rows)) {
        out.fill(0);
        for (factor, b_row) in a_row.iter().zip(b.chunks_exact(rows)) {
            for (sum, element) in out.iter_mut().zip(b_row) {
                *sum = sum.wrapping_add(factor.wrapping_mul(*element));
            }
        }
    }
}

/// Multiplies two pseudo-random matrices of `n` rows, at most 128; returns a checksum of the product.
#[endpoint(0)]
pub fn matmul(n: u64, seed: u64) -> u64 {
    let rows = n as usize;
    assert!(rows <= MAX_ROWS, "matrix too large");
    if rows == 0 {
        return 0;
    }
    MATRICES.with(|Matrices { a, b, product }| {
        let (a, b, product) = (&mut a[..rows * rows], &mut b[..rows * rows], &mut product[..rows * rows]);
        let mut stream = Numbers::new(seed);
        a.iter_mut().chain(b.iter_mut()).for_each(|element| *element = stream.next_u64());
        multiply(rows, a, b, product);
        product.iter().fold(0, |checksum, element| fold(checksum, *element))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_product_by_hand() {
        let mut product = [9; 4];
        multiply(2, &[1, 2, 3, 4], &[5, 6, 7, 8], &mut product);
        assert_eq!(product, [19, 22, 43, 50]);
    }

    #[test]
    fn the_checksum_follows_from_size_and_seed() {
        assert_eq!(matmul(0, 1), 0);
        assert_eq!(matmul(128, 2), 0x201c_c56f_0e11_d18d);
        assert_ne!(matmul(64, 1), matmul(64, 2));
    }
}
