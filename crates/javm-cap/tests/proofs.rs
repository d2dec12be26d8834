//! Proofs: they verify against their root and no other, and no byte of them can be changed.

mod common;

use common::*;
use javm_cap::tree::proof::{PageProof, SlotProof};
use javm_cap::{CNodeCap, CacheDirectory, Cap, CapError, DataCap, SlotIdx};

#[test]
fn pages_are_proven_and_every_byte_counts() {
    for pages in [1usize, 2, 3, 16, 17, 100] {
        let bytes: Vec<u8> = (0..pages * 4096 - 100).map(|i| (i / 4096 * 3 + i % 7) as u8 | 1).collect();
        let data = DataCap::new(&bytes);
        let name = data.hash();
        for index in [0, pages / 2, pages - 1] {
            let page = &bytes[index * 4096..bytes.len().min((index + 1) * 4096)];
            let index = index as u64;
            let proof = PageProof::new(&data, index).unwrap();
            assert!(proof.verify(&name, index, page));
            let raw = proof.to_bytes();
            assert_eq!(PageProof::from_bytes(&raw).unwrap(), proof);
            for at in 0..raw.len() {
                for bit in [1, 0x80] {
                    let mut bad = raw.clone();
                    bad[at] ^= bit;
                    let verdict = PageProof::from_bytes(&bad).map(|proof| proof.verify(&name, index, page));
                    assert_ne!(verdict, Ok(true), "byte {at}");
                }
            }
            for at in (0..page.len()).step_by(97) {
                let mut bad = page.to_vec();
                bad[at] ^= 1;
                assert!(!proof.verify(&name, index, &bad));
            }
            for at in 0..32 {
                let mut bad = name;
                bad[at] ^= 1;
                assert!(!proof.verify(&bad, index, page));
            }
            assert!((0..pages as u64 + 2).all(|other| other == index || !proof.verify(&name, other, page)));
            assert!(!proof.verify(&name, index, &[page, &[0; 4096]].concat()));
            assert!(PageProof::from_bytes(&raw[..raw.len() - 1]).is_err());
            assert!(PageProof::from_bytes(&[&raw[..], &[0]].concat()).is_err());
        }
        assert_eq!(PageProof::new(&data, pages as u64), None);
    }
    let empty = DataCap::default();
    assert!(PageProof::new(&empty, 0).unwrap().verify(&empty.hash(), 0, &[]));
    assert!(PageProof::from_bytes(&[1, 2, 3]).is_err());
}

#[test]
fn a_proof_of_a_long_data_is_short() {
    let data = DataCap::default().with_pages([(1_000_000, &[1][..]), (5, &[2][..])]);
    let proof = PageProof::new(&data, 77).unwrap();
    assert_eq!(proof.to_bytes().len(), 8 + 20 * 32);
    assert!(proof.verify(&data.hash(), 77, &[]));
    assert!(!proof.verify(&data.hash(), 5, &[]));
}

#[test]
fn slots_are_proven_and_every_byte_counts() {
    let mut random = Random(77);
    for size_log in [0u8, 1, 3, 4, 5, 8, 16] {
        let mut cnode = CNodeCap::new(size_log).unwrap();
        for _ in 0..50 {
            let slot = SlotIdx(random.below(1 << size_log) as u32);
            cnode.set(slot, Some(random.hash().into())).unwrap();
        }
        let name = Cap::CNode(cnode.clone()).hash().unwrap();
        for _ in 0..20 {
            let slot = SlotIdx(random.below(1 << size_log) as u32);
            let held = cnode.get(slot).map(|name| *name.as_hash().unwrap());
            let proof = SlotProof::new(&cnode, slot).unwrap();
            assert!(proof.verify(&name, slot, held.as_ref()));
            let raw = proof.to_bytes();
            assert_eq!(raw.len(), 1 + 32 * usize::from(size_log));
            for at in 0..raw.len() {
                let mut bad = raw.clone();
                bad[at] ^= 1 << (at % 8);
                let verdict =
                    SlotProof::from_bytes(&bad).map(|proof| proof.verify(&name, slot, held.as_ref()));
                assert_ne!(verdict, Ok(true));
            }
            assert!(!proof.verify(&name, slot, Some(&random.hash())));
            assert!(held.is_none() || !proof.verify(&name, slot, None));
            assert!(!proof.verify(&name, SlotIdx(slot.0 + (1 << size_log)), held.as_ref()));
        }
    }
    assert!(SlotProof::from_bytes(&[]).is_err() && SlotProof::from_bytes(&[17]).is_err());
}

#[test]
fn what_cannot_be_proven() {
    let mut cnode = CNodeCap::new(2).unwrap();
    assert_eq!(SlotProof::new(&cnode, SlotIdx(4)), Err(CapError::SlotRange { slot: SlotIdx(4), slots: 4 }));
    let reference = CacheDirectory::new().insert_working(Cap::data_inline(b"x"));
    cnode.set(SlotIdx(0), Some(reference.into())).unwrap();
    assert_eq!(SlotProof::new(&cnode, SlotIdx(1)), Err(CapError::Unsettled));
}
