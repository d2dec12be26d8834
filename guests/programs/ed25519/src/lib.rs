//! Verifying Ed25519 signatures: field arithmetic with 128-bit products.
#![no_std]
#![forbid(unsafe_code)]

use ed25519_dalek::{Signature, Verifier, VerifyingKey};
use javm_guest::{endpoint, stack_size};
use support::fold;

stack_size!(128 * 1024);

/// The third test vector of RFC 8032, section 7.1: key, message, signature.
const KEY: [u8; 32] = [
    0xfc, 0x51, 0xcd, 0x8e, 0x62, 0x18, 0xa1, 0xa3, 0x8d, 0xa4, 0x7e, 0xd0, 0x02, 0x30, 0xf0, 0x58, 0x08,
    0x16, 0xed, 0x13, 0xba, 0x33, 0x03, 0xac, 0x5d, 0xeb, 0x91, 0x15, 0x48, 0x90, 0x80, 0x25,
];
const MESSAGE: [u8; 2] = [0xaf, 0x82];
const SIGNATURE: [u8; 64] = [
    0x62, 0x91, 0xd6, 0x57, 0xde, 0xec, 0x24, 0x02, 0x48, 0x27, 0xe6, 0x9c, 0x3a, 0xbe, 0x01, 0xa3, 0x0c,
    0xe5, 0x48, 0xa2, 0x84, 0x74, 0x3a, 0x44, 0x5e, 0x36, 0x80, 0xd7, 0xdb, 0x5a, 0xc3, 0xac, 0x18, 0xff,
    0x9b, 0x53, 0x8d, 0x16, 0xf2, 0x90, 0xae, 0x67, 0xf7, 0x60, 0x98, 0x4d, 0xc6, 0x59, 0x4a, 0x7c, 0x15,
    0xe9, 0x71, 0x6e, 0xd2, 0x8d, 0xc0, 0x27, 0xbe, 0xce, 0xea, 0x1e, 0xc4, 0x0a,
];

/// Whether the signature is the key's, over the message.
#[must_use]
pub fn is_valid(key: &[u8; 32], message: &[u8], signature: &[u8; 64]) -> bool {
    VerifyingKey::from_bytes(key)
        .is_ok_and(|key| key.verify(message, &Signature::from_bytes(signature)).is_ok())
}

/// Verifies the fixed signature `n` times, in round `i` over a message that is spoiled where bit `i % 64` of
/// the seed is set; returns a checksum over the verdicts.
#[endpoint(0)]
pub fn verify(n: u64, seed: u64) -> u64 {
    (0..n).fold(0, |checksum, round| {
        let spoiled = (seed >> (round % 64)) as u8 & 1;
        let message = [MESSAGE[0], MESSAGE[1] ^ spoiled];
        fold(checksum, 1 + u64::from(is_valid(&KEY, &message, &SIGNATURE)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_vector_is_valid_and_a_spoiled_one_is_not() {
        assert!(is_valid(&KEY, &MESSAGE, &SIGNATURE));
        assert!(!is_valid(&KEY, b"other", &SIGNATURE));
        let mut signature = SIGNATURE;
        signature[40] ^= 1;
        assert!(!is_valid(&KEY, &MESSAGE, &signature));
    }

    #[test]
    fn the_checksum_shows_each_verdict() {
        assert_eq!(verify(4, 0b10), 0x8bf3_1582_dd7b_9f56);
        assert_eq!(verify(3, 0b010), fold(fold(fold(0, 2), 1), 2));
    }
}
