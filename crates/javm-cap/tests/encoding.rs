//! Canonical bytes: what goes out comes back, one value has one encoding, and hostile bytes are refused without
//! a panic and without more memory than they are long.

mod common;

use common::*;
use javm_cap::image::ImageError;
use javm_cap::{Cap, CapError, DataCap, decode, encode};
use proptest::prelude::*;

#[test]
fn values_come_back() {
    let mut random = Random(31337);
    for _ in 0..500 {
        let cap = random_cap(&mut random);
        let bytes = encode(&cap).unwrap();
        let back = decode(&bytes).unwrap();
        assert_eq!(back, cap);
        assert_eq!(back.hash(), cap.hash());
        assert_eq!(encode(&back).unwrap(), bytes);
    }
}

/// Whatever is accepted is the encoding of what it decodes to.
fn canonical(bytes: &[u8]) -> bool {
    match decode(bytes) {
        Ok(cap) => {
            assert_eq!(encode(&cap).unwrap(), bytes);
            assert_eq!(reference_hash_small(&cap), cap.hash().unwrap());
            true
        }
        Err(error) => {
            assert!(!error.to_string().is_empty());
            false
        }
    }
}

/// The reference hashes plain bytes: a Data of terabytes is left out.
fn reference_hash_small(cap: &Cap) -> javm_cap::CapHash {
    match cap {
        Cap::Data(data) if data.content_len() > 1 << 22 => cap.hash().unwrap(),
        _ => reference_hash(cap),
    }
}

#[test]
fn mutated_bytes_are_refused_or_canonical() {
    let mut random = Random(4242);
    let (mut accepted, mut refused) = (0, 0);
    for _ in 0..1500 {
        let bytes = encode(&random_cap(&mut random)).unwrap();
        for _ in 0..20 {
            let mut bad = bytes.clone();
            for _ in 0..=random.below(3) {
                let at = random.below(bad.len() as u64) as usize;
                // Most of what matters is near the start.
                let at = if random.below(2) == 0 { at % 16.min(bad.len()) } else { at };
                match random.below(5) {
                    0 => bad[at] = random.next() as u8,
                    1 => bad[at] ^= 1 << random.below(8),
                    2 => bad.truncate(at.max(1)),
                    3 => bad.insert(at, random.next() as u8),
                    _ => {
                        bad.remove(at);
                        bad.push(0);
                    }
                }
            }
            if canonical(&bad) { accepted += 1 } else { refused += 1 }
        }
    }
    assert!(accepted > 1000 && refused > 1000, "{accepted} {refused}");
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 2000, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes(kind in 0u8..7, rest in proptest::collection::vec(any::<u8>(), 0..200)) {
        canonical(&[&[kind][..], &rest].concat());
    }
}

#[test]
fn lengths_allocate_nothing() {
    // Counts of 2^63 pages, slots, bytes: refused at the first that is not there.
    let huge = [0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x7F];
    for head in [&[3u8][..], &[4, 16]] {
        let error = decode(&[head, &huge].concat()).unwrap_err();
        assert!(matches!(error, CapError::Malformed { .. }));
    }
    let image = decode(&[2, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF]).unwrap_err();
    assert!(matches!(image, CapError::Image(ImageError::Malformed { .. })), "{image}");
    assert!(decode(&[2, 4, 0, 4, 1, 0xFE, 0xFF, 0xFF, 0xFF]).is_err());
}

#[test]
fn each_rule_of_the_form_is_enforced() {
    let reasons: [(&[u8], &str); 14] = [
        (&[], "byte 0: the encoding is broken off"),
        (&[6], "byte 1: no kind of value has this number"),
        (&[3, 0, 0], "byte 2: bytes follow the end of the value"),
        (&[3, 0x80, 0], "byte 3: a number is not in its shortest form"),
        (&[3, 1, 0, 0], "byte 4: a page has 1 to 4096 bytes"),
        (&[3, 1, 0, 1, 0], "byte 5: a page has trailing zeros"),
        (&[3, 1, 0, 2, 1], "byte 4: the encoding is broken off"),
        (&[3, 1, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 4, 1, 1], "byte 10: a page lies past the end"),
        (&[4, 17, 0], "byte 2: no cnode has this size"),
        (&[4, 1, 1, 2], "byte 4: a slot lies past the end"),
        (
            &[3, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 2],
            "byte 11: a number does not fit 64 bits",
        ),
        (&[5, 1], "byte 1: the encoding is broken off"),
        (&[2], "invalid image: byte 0 of the image: the encoding is broken off or a length is wrong"),
        (
            &[2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
            "invalid image: byte 10 of the image: bytes follow the end of the image",
        ),
    ];
    for (bytes, words) in reasons {
        assert_eq!(decode(bytes).unwrap_err().to_string(), words, "{bytes:?}");
    }
    let mut empty_listed = vec![4, 0, 1, 0];
    empty_listed.extend([0; 32]);
    assert_eq!(decode(&empty_listed).unwrap_err().to_string(), "byte 36: an empty slot is listed");
}

#[test]
fn a_data_of_4_gib_with_one_page_is_small() {
    let data = Cap::Data(DataCap::default().with_pages([((1 << 20) - 1, &[1; 4096][..])]));
    let bytes = encode(&data).unwrap();
    assert!(bytes.len() < 4096 + 12);
    let Cap::Data(back) = decode(&bytes).unwrap() else { panic!("kind") };
    assert_eq!(back.content_len(), 1 << 32);
    // The longest there can be.
    let data =
        Cap::Data(DataCap::default().with_pages([((1 << 51) - 1, &[1; 4096][..]), (1 << 51, &[1][..])]));
    let bytes = encode(&data).unwrap();
    assert_eq!(decode(&bytes).unwrap(), data);
    assert_eq!(decode(&bytes).unwrap().hash(), data.hash());
}
