//! Images: what is valid, what is refused and in which words, their one encoding, and what MAKE_IMAGE takes.

mod common;

use common::*;
use javm_cap::image::{EndpointDef, Image, ImageCap, ImageError, MappingSource, MemoryMapping};
use javm_cap::{Cap, CapError, DataCap, SlotIdx, SlotPath};

type Change = Box<dyn Fn(&mut Image)>;

fn refused(change: impl Fn(&mut Image)) -> String {
    let mut image = full_image();
    change(&mut image);
    ImageCap::new(image).unwrap_err().to_string()
}

fn mapping(start: u64, size: u64, source: MappingSource) -> MemoryMapping {
    MemoryMapping { start, size, source }
}

#[test]
fn each_rule_has_its_words() {
    let slot = |slot| MappingSource::Slot(SlotPath::root(slot));
    let cases: Vec<(Change, &str)> = vec![
        (Box::new(|i| i.code.clear()), "the program has no instructions"),
        (Box::new(|i| i.code[5] = 255), "code offset 5: invalid opcode 255"),
        (
            Box::new(|i| i.packed_bitmask[0] &= !1),
            "code offset 0: an instruction must start here, the bitmask says it does not",
        ),
        (Box::new(|i| i.packed_bitmask.truncate(2)), "the bitmask has 2 bytes where 3 are needed"),
        (
            Box::new(|i| i.endpoints.get_mut(&7).unwrap().entry_pc = 21),
            "endpoint 7 starts at 21, where no instruction starts",
        ),
        (
            Box::new(|i| i.endpoints.get_mut(&7).unwrap().entry_pc = 1 << 32),
            "endpoint 7 starts at 4294967296, where no instruction starts",
        ),
        (
            Box::new(|i| i.endpoints.get_mut(&0).unwrap().arg_cnode_size = 17),
            "endpoint 0 asks for a cnode of 2^17 slots: the largest has 2^16",
        ),
        (
            Box::new(|i| i.memory_mappings[1].start += 1),
            "mapping 1 starts at 0x10001, not at a page boundary",
        ),
        (Box::new(|i| i.memory_mappings[0].size = 0), "mapping 0 has no bytes"),
        (
            Box::new(|i| i.memory_mappings[2].size = 4097),
            "mapping 2 at 0xfffff000, 4097 bytes, reaches past 4 GiB",
        ),
        (
            Box::new(|i| i.memory_mappings[1].size = u64::MAX),
            "mapping 1 at 0x10000, 18446744073709551615 bytes, reaches past 4 GiB",
        ),
        (
            Box::new(|i| i.memory_mappings[0].start = u64::MAX - 4095),
            "mapping 0 at 0xfffffffffffff000, 5000 bytes, reaches past 4 GiB",
        ),
        (Box::new(|i| i.memory_mappings[1].size = 0x1_0001), "mappings 1 and 0 share a page"),
        (
            Box::new(move |i| i.memory_mappings.push(mapping(0x5000, 1, slot(255)))),
            "slot 255 is the source of two mappings",
        ),
        (
            Box::new(move |i| i.memory_mappings.push(mapping(0x5000, 1, slot(0)))),
            "memory_mappings: slot 0 belongs to the caller",
        ),
        (
            Box::new(|i| {
                i.pinned_slots.insert(SlotIdx(0), [1; 32]);
            }),
            "pinned_slots: slot 0 belongs to the caller",
        ),
        (
            Box::new(|i| {
                i.initial_slots.insert(SlotIdx(0), [1; 32]);
            }),
            "initial_slots: slot 0 belongs to the caller",
        ),
        (
            Box::new(|i| {
                i.initial_slots.insert(SlotIdx(256), [1; 32]);
            }),
            "initial_slots: there is no root slot 256",
        ),
        (
            Box::new(|i| {
                i.initial_slots.insert(SlotIdx(255), [1; 32]);
            }),
            "initial_slots: slot 255 is given twice",
        ),
        (
            Box::new(|i| {
                i.pinned_slots.insert(SlotIdx(9), [0; 32]);
            }),
            "pinned_slots: slot 9 names no value",
        ),
        (Box::new(|i| i.gas_slots.push(SlotIdx(256))), "gas_slots: there is no root slot 256"),
        (
            Box::new(|i| i.quota_slots.push(SlotIdx(u32::MAX))),
            "quota_slots: there is no root slot 4294967295",
        ),
        (
            Box::new(|i| i.yield_marker_slot = Some(SlotIdx(999))),
            "yield_marker_slot: there is no root slot 999",
        ),
    ];
    for (change, words) in cases {
        assert_eq!(refused(change), words);
    }
    assert!(ImageCap::new(full_image()).is_ok());
}

#[test]
fn slots_are_added_once() {
    let image = full_image();
    let good = Cap::image_with_slots(&image, &[(SlotIdx(20), [4; 32])], &[(SlotIdx(21), [5; 32])]).unwrap();
    let Cap::Image(good) = good else { panic!("kind") };
    assert_eq!(good.pinned_slots[&SlotIdx(20)], [4; 32]);
    assert_eq!(good.initial_slots[&SlotIdx(21)], [5; 32]);
    assert_eq!(good.pinned_slots[&SlotIdx(255)], [0x11; 32]);
    let slot = SlotIdx(20);
    for (pinned, initial) in [
        (vec![(slot, [4; 32])], vec![(slot, [5; 32])]),
        (vec![(slot, [4; 32]), (slot, [4; 32])], vec![]),
        (vec![], vec![(SlotIdx(255), [1; 32])]),
        (vec![(SlotIdx(254), [1; 32])], vec![]),
        (vec![(SlotIdx(255), [1; 32])], vec![]),
    ] {
        let error = Cap::image_with_slots(&image, &pinned, &initial).unwrap_err();
        assert!(matches!(error, CapError::Image(ImageError::DuplicateSlot { .. })), "{error}");
    }
}

#[test]
fn there_is_always_an_endpoint() {
    let image = ImageCap::new(plain_image(3)).unwrap();
    assert_eq!((image.endpoint(0), image.endpoint(1)), (Some(EndpointDef::default()), None));
    let image = ImageCap::new(full_image()).unwrap();
    assert_eq!(image.endpoint(7).unwrap().arg_cnode_size, 3);
    assert_eq!(image.endpoint(1), None);
}

#[test]
fn padding_of_the_bitmask_is_no_part_of_the_name() {
    let clean = ImageCap::new(full_image()).unwrap();
    let mut image = full_image();
    image.packed_bitmask[2] = 0xFF;
    image.packed_bitmask.extend([1, 2, 3]);
    let padded = ImageCap::new(image).unwrap();
    assert_eq!((padded.hash(), &padded), (clean.hash(), &clean));
    assert_eq!(clean.packed_bitmask, [0xFF, 0xFF, 0x1F]);
}

#[test]
fn there_is_one_encoding() {
    let image = ImageCap::new(full_image()).unwrap();
    let bytes = image.to_bytes();
    assert_eq!(bytes, reference_image(image.image()));
    assert_eq!(ImageCap::from_bytes(&bytes).unwrap(), image);
    // Padding, order, a length in a longer form: other bytes for the same image.
    let mut padded = bytes.clone();
    padded[1 + 21 + 1 + 2] |= 0x80;
    assert!(matches!(ImageCap::from_bytes(&padded), Err(ImageError::Malformed { .. })));
    let initial = bytes.len() - 5 - 2 * 36;
    let mut swapped = bytes.clone();
    swapped[initial..initial + 72].rotate_left(36);
    assert_eq!(
        ImageCap::from_bytes(&swapped).unwrap_err().to_string(),
        format!("byte {initial} of the image: the encoding is not the canonical one")
    );
    let mut twice = bytes.clone();
    twice.copy_within(initial..initial + 36, initial + 36);
    assert!(ImageCap::from_bytes(&twice).is_err());
    let long = [&[(21 << 2) | 1, 0][..], &bytes[1..]].concat();
    assert!(ImageCap::from_bytes(&long).is_err());
    for len in 0..bytes.len() {
        assert!(ImageCap::from_bytes(&bytes[..len]).is_err());
    }
    // A source that is no path.
    let at = bytes.windows(8).rposition(|window| window == 255u64.to_le_bytes()).unwrap();
    let mut bad = bytes;
    bad[at + 7] = 0xC0;
    assert_eq!(
        ImageCap::from_bytes(&bad).unwrap_err().to_string(),
        "mapping 0: 0xc0000000000000ff is no slot path: bits 62..64 of a slot path must be zero"
    );
}

/// What a guest hands to MAKE_IMAGE: the encoding with indices where the hashes are.
fn indexed(image: &Image, index: impl Fn(SlotIdx) -> u32) -> Vec<u8> {
    let mut empty = image.clone();
    empty.pinned_slots.clear();
    empty.initial_slots.clear();
    let mut bytes = reference_image(&empty);
    let tail = if image.yield_marker_slot.is_some() { 5 } else { 1 };
    let rest = bytes.split_off(bytes.len() - tail);
    bytes.truncate(bytes.len() - 2);
    for map in [&image.pinned_slots, &image.initial_slots] {
        bytes.push((map.len() as u8) << 2);
        for slot in map.keys() {
            bytes.extend(slot.0.to_le_bytes());
            bytes.extend(index(*slot).to_le_bytes());
        }
    }
    bytes.extend(rest);
    let mut input = (bytes.len() as u32).to_le_bytes().to_vec();
    input.extend(bytes);
    input
}

#[test]
fn make_image_takes_caps_by_index() {
    let image = full_image();
    let input = indexed(&image, |slot| slot.0 + 1000);
    let caps = |index: SlotIdx| {
        let slot = SlotIdx(index.0.checked_sub(1000)?);
        image.pinned_slots.get(&slot).or(image.initial_slots.get(&slot)).copied()
    };
    let data = DataCap::new(&input);
    assert_eq!(ImageCap::make_len(&data) as usize, input.len() - 4);
    let made = ImageCap::make(&data, caps).unwrap();
    assert_eq!(made, ImageCap::new(image.clone()).unwrap());
    assert_eq!(
        ImageCap::make(&data, |_| None).unwrap_err().to_string(),
        "pinned_slots: slot 255 names entry 1255, where there is no value"
    );
    // Zeros at the end are stripped with the Data and come back.
    let plain = indexed(&plain_image(4), |_| 0);
    let data = DataCap::new(&plain);
    assert!(data.content_len() < plain.len() as u64);
    assert_eq!(ImageCap::make(&data, |_| None).unwrap(), ImageCap::new(plain_image(4)).unwrap());
    // Too short, too long, too large, bytes behind.
    for (len, more) in [(-1i64, 0u8), (1, 0), (0, 9)] {
        let mut bad = input.clone();
        let old = u32::from_le_bytes(bad[..4].try_into().unwrap());
        bad[..4].copy_from_slice(&((i64::from(old) + len) as u32).to_le_bytes());
        bad.extend((more > 0).then_some(more));
        assert!(ImageCap::make(&DataCap::new(&bad), caps).is_err());
    }
    let huge = DataCap::new(&[0xFF; 4]);
    assert!(matches!(ImageCap::make(&huge, caps), Err(ImageError::TooLong { len: 0xFFFF_FFFF })));
    assert!(ImageCap::make(&DataCap::default(), caps).is_err());
}

#[test]
fn hostile_make_image_input_is_refused() {
    let mut random = Random(606);
    let input = indexed(&full_image(), |slot| slot.0);
    let mut accepted = 0;
    for _ in 0..20_000 {
        let mut bad = input.clone();
        for _ in 0..=random.below(2) {
            let at = random.below(bad.len() as u64) as usize;
            bad[at] = random.next() as u8;
        }
        if let Ok(image) = ImageCap::make(&DataCap::new(&bad), |index| Some([index.0 as u8 | 1; 32])) {
            assert_eq!(ImageCap::from_bytes(&image.to_bytes()).unwrap(), image);
            accepted += 1;
        }
    }
    assert!(accepted > 100 && accepted < 19_000, "{accepted}");
}
