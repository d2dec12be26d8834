//! Recovering secp256k1 public keys from signatures, and the addresses of Ethereum that they have.
#![no_std]
#![forbid(unsafe_code)]

use javm_guest::{endpoint, stack_size};
use k256::ecdsa::{RecoveryId, Signature, VerifyingKey};
use sha3::{Digest, Keccak256};
use support::{first8, fold};

stack_size!(128 * 1024);

/// A signature whose signer is known: digest, r ‖ s, and whether y is odd.
const DIGEST: [u8; 32] = [
    0x45, 0x6e, 0x9a, 0xea, 0x5e, 0x19, 0x7a, 0x1f, 0x1a, 0xf7, 0xa3, 0xe8, 0x5a, 0x32, 0x12, 0xfa, 0x40,
    0x49, 0xa3, 0xba, 0x34, 0xc2, 0x28, 0x9b, 0x4c, 0x86, 0x0f, 0xc0, 0xb0, 0xc6, 0x4e, 0xf3,
];
const SIGNATURE: [u8; 64] = [
    0x92, 0x42, 0x68, 0x5b, 0xf1, 0x61, 0x79, 0x3c, 0xc2, 0x56, 0x03, 0xc2, 0x31, 0xbc, 0x2f, 0x56, 0x8e,
    0xb6, 0x30, 0xea, 0x16, 0xaa, 0x13, 0x7d, 0x26, 0x64, 0xac, 0x80, 0x38, 0x82, 0x56, 0x08, 0x4f, 0x8a,
    0xe3, 0xbd, 0x75, 0x35, 0x24, 0x8d, 0x0b, 0xd4, 0x48, 0x29, 0x8c, 0xc2, 0xe2, 0x07, 0x1e, 0x56, 0x99,
    0x2d, 0x07, 0x74, 0xdc, 0x34, 0x0c, 0x36, 0x8a, 0xe9, 0x50, 0x85, 0x2a, 0xda,
];
const ODD: bool = true;

/// The address of whoever signed the digest; `None` if nobody can have.
#[must_use]
pub fn signer(digest: &[u8; 32], signature: &[u8; 64], odd: bool) -> Option<[u8; 20]> {
    let signature = Signature::from_slice(signature).ok()?;
    let key = VerifyingKey::recover_from_prehash(digest, &signature, RecoveryId::new(odd, false)).ok()?;
    let point = key.to_encoded_point(false);
    // The first byte says that the point is not compressed; the address is the tail of the hash of the rest.
    let hash = Keccak256::digest(&point.as_bytes()[1..]);
    hash.last_chunk().copied()
}

/// Recovers `n` signers. The first digest is the fixed one with the seed xored into its first bytes, each
/// other one the Keccak-256 of the one before and its signer. Returns a checksum over the addresses; for
/// `n = 1`, the first eight bytes of the address.
#[endpoint(0)]
pub fn recover(n: u64, seed: u64) -> u64 {
    let mut digest = DIGEST;
    for (byte, seed) in digest.iter_mut().zip(seed.to_be_bytes()) {
        *byte ^= seed;
    }
    let mut checksum = 0;
    for round in 0..n {
        let address = signer(&digest, &SIGNATURE, ODD).unwrap_or_default();
        let start = first8(&address);
        checksum = if round == 0 { start } else { fold(checksum, start) };
        digest = Keccak256::new().chain_update(digest).chain_update(address).finalize().into();
    }
    checksum
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_known_signer_is_found() {
        let address = signer(&DIGEST, &SIGNATURE, ODD).expect("signed");
        assert_eq!(first8(&address), 0x7156_526f_bd7a_3c72);
        assert_eq!(address[8..], [0x96, 0x9b, 0x54, 0xf6, 0x4e, 0x42, 0xc1, 0x0f, 0xbb, 0x76, 0x8c, 0x8a]);
        assert_eq!(recover(1, 0), 0x7156_526f_bd7a_3c72);
    }

    #[test]
    fn another_digest_has_another_signer() {
        assert_eq!(recover(3, 7), 0x0a68_c908_b441_2bd2);
        assert_ne!(recover(1, 1), recover(1, 0));
        assert_eq!(signer(&DIGEST, &[0; 64], ODD), None);
    }
}
