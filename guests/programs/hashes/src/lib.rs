//! Hash kernels: a digest, chained over a patterned buffer.
//!
//! Each endpoint digests `previous digest ‖ len patterned bytes`, `rounds` times over, starting from zeros,
//! and returns the first eight bytes of the last digest, big endian. `digest_scratchpad` takes its input from
//! outside instead.
#![no_std]
#![forbid(unsafe_code)]

use blake2::Blake2b512;
use blake2::digest::{Digest, Output};
use javm_guest::{Data, SCRATCHPAD, Slot, endpoint, exclusive, stack_size};
use sha2::Sha256;
use sha3::Keccak256;
use support::{fill_pattern, first8};

/// The largest input in bytes; longer requests fault.
pub const MAX_INPUT: usize = 64 * 1024;

// A hasher, its block and its schedule are on the stack.
stack_size!(64 * 1024);

exclusive! {
    static BUFFER: [u8; MAX_INPUT] = [0; MAX_INPUT];
}

/// The digest of `data`, chained `rounds` times.
pub fn chain<D: Digest>(data: &[u8], rounds: u64) -> Output<D> {
    let mut digest = Output::<D>::default();
    for _ in 0..rounds {
        digest = D::new().chain_update(&digest).chain_update(data).finalize();
    }
    digest
}

fn patterned<D: Digest>(len: u64, rounds: u64) -> u64 {
    BUFFER.with(|buffer| {
        let data = buffer.get_mut(..len as usize).expect("input too long");
        fill_pattern(data);
        first8(&chain::<D>(data, rounds))
    })
}

/// Chained BLAKE2b with a 64-byte digest.
#[endpoint(0)]
pub fn blake2b(len: u64, rounds: u64) -> u64 {
    patterned::<Blake2b512>(len, rounds)
}

/// Chained Keccak-256.
#[endpoint(1)]
pub fn keccak256(len: u64, rounds: u64) -> u64 {
    patterned::<Keccak256>(len, rounds)
}

/// Chained SHA-256.
#[endpoint(2)]
pub fn sha256(len: u64, rounds: u64) -> u64 {
    patterned::<Sha256>(len, rounds)
}

/// Replaces the Data in slot 0 by its SHA-256 digest; returns the number of bytes digested. Trailing zeros do
/// not count, as Data has none.
#[endpoint(3)]
pub fn digest_scratchpad() -> u64 {
    let data: Slot<Data> = SCRATCHPAD.cast();
    BUFFER.with(|buffer| {
        let size = data.size();
        let bytes = buffer.get_mut(..size as usize).expect("input too long");
        data.read_into(bytes, 0);
        data.mint(&Sha256::digest(bytes));
        size
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_algorithms_are_the_standard_ones() {
        assert_eq!(first8(&Sha256::digest(b"abc")), 0xba78_16bf_8f01_cfea);
        assert_eq!(first8(&Keccak256::digest(b"abc")), 0x4e03_657a_ea45_a94f);
        assert_eq!(first8(&Blake2b512::digest(b"abc")), 0xba80_a53f_981c_4d0d);
    }

    #[test]
    fn chains_have_their_known_results() {
        assert_eq!(blake2b(4096, 100), 0x98c8_f325_146b_8518);
        assert_eq!(sha256(4096, 100), 0x8350_552c_c279_e80a);
        assert_eq!(keccak256(4096, 1000), 0xc852_52b2_59ad_73e1);
        assert_eq!(sha256(4096, 0), 0);
    }

    #[test]
    #[should_panic(expected = "input too long")]
    fn longer_input_faults() {
        sha256(65_537, 1);
    }
}
