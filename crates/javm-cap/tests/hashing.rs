//! Names: incremental hashing equals hashing from scratch, whatever the order of writes; and the names of
//! some values of every kind, kept in `tests/formats/cap-values.txt` with their encodings.

mod common;

use std::collections::BTreeMap;
use std::fmt::Write;

use common::*;
use javm_cap::hash::Hex;
use javm_cap::{
    CNodeCap, Cap, CapError, CapHashOrRef, DataCap, SlotIdx, TypeCap, encode, kernel_image_hash, lineage,
};

#[test]
fn every_kind_hashes_as_section_3_says() {
    let mut random = Random(0xC0FFEE);
    for _ in 0..300 {
        let cap = random_cap(&mut random);
        assert_eq!(cap.hash().unwrap(), reference_hash(&cap), "{cap:?}");
    }
}

#[test]
fn data_hashes_as_plain_bytes_do_at_every_boundary() {
    let lens =
        [0, 1, 15, 16, 4095, 4096, 4097, 8192, 8193, 16 * 4096, 16 * 4096 + 1, 17 * 4096, 100_000, 600_000];
    for len in lens {
        let bytes: Vec<u8> = (0..len).map(|i: usize| (i % 251) as u8 + 1).collect();
        assert_eq!(DataCap::new(&bytes).hash(), reference_data(&bytes), "{len}");
        let mut padded = bytes.clone();
        padded.extend([0; 5000]);
        let data = DataCap::new(&padded);
        assert_eq!((data.content_len(), data.hash()), (len as u64, reference_data(&bytes)));
        assert_eq!(data.to_vec(), bytes);
    }
}

#[test]
fn writes_in_any_order_give_the_name_from_scratch() {
    for seed in 1..60 {
        let mut random = Random(seed * 7919);
        let size_log = random.below(17) as u8;
        let (mut cnode, mut model) = (CNodeCap::new(size_log).unwrap(), BTreeMap::new());
        let (mut data, mut bytes) = (DataCap::default(), vec![0u8; 64 * 4096]);
        for _ in 0..80 {
            let slot = random.below(1 << size_log);
            let name = (random.below(4) > 0).then(|| random.hash());
            cnode.set(SlotIdx(slot as u32), name.map(CapHashOrRef::Hash)).unwrap();
            match name {
                None => model.remove(&slot),
                Some(name) => model.insert(slot, name),
            };
            let index = random.below(64);
            let page = if random.below(3) == 0 { Vec::new() } else { random.bytes(4096) };
            data = data.with_pages([(index, &page[..])]);
            let room = &mut bytes[index as usize * 4096..][..4096];
            room.fill(0);
            room[..page.len()].copy_from_slice(&page);
            if random.below(5) == 0 {
                // Asking in between must not matter.
                assert_eq!(Cap::CNode(cnode.clone()).hash().unwrap(), reference_cnode(size_log, &model));
                assert_eq!(data.hash(), reference_data(&bytes));
            }
        }
        let name = Cap::CNode(cnode.clone()).hash().unwrap();
        assert_eq!(name, reference_cnode(size_log, &model));
        // The same content, written backwards, once.
        let mut again = CNodeCap::new(size_log).unwrap();
        for (slot, name) in model.iter().rev() {
            again.set(SlotIdx(*slot as u32), Some((*name).into())).unwrap();
        }
        assert_eq!((Cap::CNode(again.clone()).hash().unwrap(), &again), (name, &cnode));
        assert_eq!(data, DataCap::new(&bytes));
        assert_eq!(data.hash(), reference_data(&bytes));
    }
}

#[test]
fn a_change_of_one_page_costs_its_path() {
    let bytes: Vec<u8> = (0..4096usize * 4096).map(|i| (i / 4096 % 255) as u8 + 1).collect();
    let data = Cap::data_inline(&bytes);
    assert_eq!(data.hash_cost(u64::MAX), 1 + 4096 * 32 + 4095);
    data.hash().unwrap();
    let Cap::Data(old) = &data else { unreachable!() };
    let new = Cap::Data(old.with_pages([(2222, &[9; 4096][..])]));
    assert_eq!(new.hash_cost(u64::MAX), 1 + 32 + 12);
    new.hash().unwrap();
    assert_eq!((new.hash_cost(u64::MAX), data.hash_cost(u64::MAX)), (1, 1));
}

#[test]
fn sparse_values_are_small() {
    let far = (1u64 << 32) - 4096;
    let data = DataCap::default().with_pages([(far / 4096, &[0, 7][..])]);
    assert_eq!(data.content_len(), far + 2);
    assert_eq!(data.tree().count(), 1);
    assert_eq!(Cap::Data(data.clone()).hash_cost(u64::MAX), 1 + 32 + 20);
    assert!(encode(&data.clone().into()).unwrap().len() < 16);
    let mut buf = [9; 4];
    assert_eq!((data.read(far - 1, &mut buf), buf), (3, [0, 0, 7, 0]));
    assert_eq!((data.read(u64::MAX - 1, &mut buf), buf), (0, [0; 4]));
}

#[test]
fn unsettled_values_have_no_name() {
    let mut dir = javm_cap::CacheDirectory::new();
    let mut cnode = CNodeCap::new_root();
    cnode.set(SlotIdx(1), Some(dir.insert_working(Cap::data_inline(b"x")).into())).unwrap();
    let cap = Cap::CNode(cnode);
    assert_eq!(cap.hash(), Err(CapError::Unsettled));
    assert_eq!(encode(&cap), Err(CapError::Unsettled));
}

#[test]
fn slots_are_checked() {
    assert_eq!(CNodeCap::new(17), Err(CapError::CNodeSize { size_log: 17 }));
    assert!(Cap::empty_cnode(16).is_ok());
    let mut cnode = CNodeCap::new(2).unwrap();
    assert_eq!(
        cnode.set(SlotIdx(4), Some([1; 32].into())).unwrap_err().to_string(),
        "slot 4 of a cnode of 4 slots"
    );
    assert_eq!(cnode.set(SlotIdx(3), Some([0; 32].into())), Err(CapError::ZeroHash));
    assert_eq!(cnode.get(SlotIdx(u32::MAX)), None);
    cnode.set(SlotIdx(3), Some([1; 32].into())).unwrap();
    assert_eq!(cnode.take(SlotIdx(3)), Ok(Some([1; 32].into())));
    assert_eq!(cnode.take(SlotIdx(3)), Ok(None));
}

#[test]
fn lineages_step() {
    let (image, next) = ([1; 32], [2; 32]);
    let first = lineage::genesis(image);
    assert_eq!(first, image);
    let second = lineage::step(&first, &next);
    assert_ne!(second, lineage::step(&next, &first));
    assert_eq!(lineage::fold(&first, [&next, &image]), lineage::step(&second, &image));
}

fn samples() -> Vec<(String, Cap)> {
    let mut out: Vec<(String, Cap)> = vec![
        ("data empty".into(), Cap::data_inline(b"")),
        ("data hello".into(), Cap::data_inline(b"Hello\0\0")),
        ("data two pages".into(), Cap::data_inline(&[&[0; 4096][..], b"end"].concat())),
        ("cnode k=0 empty".into(), Cap::empty_cnode(0).unwrap()),
        ("cnode k=16 empty".into(), Cap::empty_cnode(16).unwrap()),
        ("type".into(), Cap::Type(TypeCap::new([7; 32]))),
        ("image plain".into(), Cap::image_with_slots(&plain_image(1), &[], &[]).unwrap()),
        ("image full".into(), Cap::image_with_slots(&full_image(), &[], &[]).unwrap()),
    ];
    let mut cnode = CNodeCap::new(4).unwrap();
    cnode.set(SlotIdx(5), Some([5; 32].into())).unwrap();
    cnode.set(SlotIdx(15), Some([6; 32].into())).unwrap();
    out.push(("cnode k=4".into(), cnode.into()));
    let regs = [0, 0, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 1];
    let idle = Cap::instance_with_overlays([1; 32], [2; 32], [3; 32], &[], 0, [0; 13], 0, 999);
    let memory = Cap::instance_with_overlays(
        [1; 32],
        [2; 32],
        [3; 32],
        &[(4095, b"ab"), (9999, b"xyz")],
        10_000,
        regs,
        300,
        0,
    );
    let (mut waiting, mut paused) = (random_instance(&mut Random(1)), random_instance(&mut Random(1)));
    waiting.set_status(javm_cap::Status::Waiting(random_suspension(&mut Random(11))));
    paused.set_status(javm_cap::Status::Paused(javm_cap::Suspension::new(regs, 8, true)));
    out.push(("instance idle".into(), idle));
    out.push(("instance memory".into(), memory));
    out.push(("instance waiting".into(), waiting.into()));
    out.push(("instance paused".into(), paused.into()));
    out
}

#[test]
fn names_and_encodings_are_what_they_were() {
    let mut text = String::from(
        "# Values, their names, the hash and length of their encodings. JAVM_BLESS=1 writes this file.\n",
    );
    for (label, cap) in samples() {
        let bytes = encode(&cap).unwrap();
        assert_eq!(cap.hash().unwrap(), reference_hash(&cap), "{label}");
        let shown = if bytes.len() > 400 {
            format!("{} bytes, {}", bytes.len(), Hex(&reference_data(&bytes)))
        } else {
            bytes.iter().fold(String::new(), |mut hex, byte| {
                write!(hex, "{byte:02x}").unwrap();
                hex
            })
        };
        writeln!(text, "{label}: {} {shown}", Hex(&cap.hash().unwrap())).unwrap();
    }
    for name in javm_cap::hash::KERNEL_IMAGES {
        writeln!(text, "kernel:{name}: {}", Hex(&kernel_image_hash(name))).unwrap();
    }
    writeln!(text, "lineage step: {}", Hex(&lineage::step(&[1; 32], &[2; 32]))).unwrap();
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/formats/cap-values.txt");
    if std::env::var_os("JAVM_BLESS").is_some() {
        std::fs::create_dir_all(std::path::Path::new(path).parent().unwrap()).unwrap();
        std::fs::write(path, &text).unwrap();
    }
    assert_eq!(std::fs::read_to_string(path).unwrap(), text);
}

#[test]
fn overlays_are_clipped_and_later_ones_win() {
    let overlays: [(u32, &[u8]); 4] = [(0, b"aaaa"), (2, b"bb"), (9_998, b"cdef"), (10_000, b"gone")];
    let cap = Cap::instance_with_overlays([1; 32], [2; 32], [3; 32], &overlays, 10_000, [0; 13], 0, 7);
    let Cap::Instance(instance) = &cap else { unreachable!() };
    let mut buf = [0; 4];
    instance.memory().pages().read(0, &mut buf);
    assert_eq!(&buf, b"aabb");
    instance.memory().pages().read(9_998, &mut buf);
    assert_eq!(&buf, b"cd\0\0");
    assert_eq!(instance.memory().page_count(), 3);
    // Spendable gas is no part of a value.
    let other = Cap::instance_with_overlays([1; 32], [2; 32], [3; 32], &overlays, 10_000, [0; 13], 0, 8);
    assert_eq!(cap.hash(), other.hash());
}
