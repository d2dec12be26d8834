//! Entries of a manifest may name the same bytes of it, which then take memory once.

use javm_exec::{Engine, PAGE_SIZE};
use javm_invocation::{InvocationError, Prepared};
use javm_program::{
    Access,
    manifest::{Manifest, ManifestCap, to_code_blob},
};
use peak_alloc::PeakAlloc;

#[global_allocator]
static ALLOCATOR: PeakAlloc = PeakAlloc;

const PAGES: u32 = 256;

#[test]
fn bytes_that_entries_share_are_kept_once() {
    let code = javm_exec::Code::new(&[0], &[1], &[]).unwrap();
    let (code, data) = (to_code_blob(&code), vec![7; PAGES as usize * PAGE_SIZE]);
    let mut caps = vec![ManifestCap::new_code(64, &code)];
    // 253 MiB, if each had its own.
    let slots = (0..=253u8).filter(|slot| *slot != 64);
    caps.extend(slots.map(|slot| {
        ManifestCap::new_data(slot, 16 + u32::from(slot) * PAGES, PAGES, Access::ReadWrite, &data)
    }));
    let manifest = Manifest { memory_pages: 1 << 20, invoke_slot: 64, caps };
    let blob = manifest.to_bytes().unwrap();
    assert!(blob.len() < 2 << 20);

    let engine = Engine::default();
    let before = ALLOCATOR.current_usage();
    ALLOCATOR.reset_peak_usage();
    let prepared = Prepared::new(&engine, &blob).unwrap();
    let price = prepared.price();
    // What is not paid for is not laid out either.
    let poor = prepared.invoke(&[], price - 1);
    assert!(matches!(poor, Err(InvocationError::OutOfGas { .. })), "{poor:?}");
    let peak = ALLOCATOR.peak_usage() - before;
    assert!(peak < 8 << 20, "{peak} bytes");

    let invocation = prepared.invoke(&[], price).unwrap();
    for slot in [0, 1, 253] {
        let mut bytes = vec![0; data.len()];
        invocation.read_data(0, slot, 0, &mut bytes).unwrap();
        assert!(bytes == data, "{slot}");
    }
}
