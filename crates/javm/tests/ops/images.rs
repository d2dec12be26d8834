//! Images and new instances.

use crate::{
    run::{Case, done, refused},
    support::at,
    world::*,
};
use javm_abi::GuestOp::{DeriveSpawn, MakeImage, SetImage};
use javm_cap::{Cap, SlotIdx, Status, lineage};

const NONE: u64 = u64::MAX;

pub(crate) fn cases() -> Vec<Case> {
    let mut all = setting();
    all.extend(making());
    all
}

fn setting() -> Vec<Case> {
    vec![
        // Mode 0 goes on behind the operation, in the new code: a block entered anew is paid anew.
        done(SetImage, &[TWIN, 0], 0, |o| {
            o.only(&[]);
            let (was, is) = (o.rig.as_instance(o.before), o.rig.as_instance(o.after));
            let twin = o.was(TWIN).unwrap();
            assert_eq!((was.image_hash, is.image_hash), (o.image, twin));
            assert_eq!(is.image_hash_chain, lineage::step(&was.image_hash_chain, &twin));
            assert_eq!((o.value, o.seen[1].pc), (77, o.seen[0].pc + if o.by == By::Ecall { 3 } else { 4 }));
        })
        .runs_more(),
        // Dirty pages are committed, ephemeral ones that both map go along.
        done(SetImage, &[TWIN, 0], 1, |o| {
            o.only(&[MEMORY]);
            assert_eq!(o.bytes(MEMORY)[..6], *b"Memory");
        })
        .after("store_imm_u8 0x40000, 0x4d\nstore_imm_u8 0x60000, 9")
        .runs_more(),
        done(SetImage, &[TWIN, 2, 10, 20, 30, 40], 0, |o| {
            o.only(&[]);
            assert_eq!(o.value, 88);
            let third = if o.by == By::Ecall { 17 } else { 30 };
            assert_eq!(o.seen[1].gpr, [0, 0, 0, 0, 0, 0, 0, 10, 20, third, 40, 0, 0]);
        })
        .runs_more(),
        refused(SetImage, &[EMPTY, 0], "slot 6 is empty"),
        refused(SetImage, &[HELLO, 0], "slot 1 holds a Data, Image is needed"),
        refused(SetImage, &[TWIN, 3], "the image has no endpoint 2"),
        refused(SetImage, &[TWIN, u64::MAX], "the image has no endpoint 18446744073709551614"),
        refused(SetImage, &[OTHER_IMAGE, 0], "the new image has no instruction at {next}"),
        refused(SetImage, &[COLLIDES, 0], "slot 1 is pinned by the new image but holds something"),
        refused(SetImage, &[CANNOT_MAP, 0], "not available: the new image's memory cannot be laid out"),
        refused(SetImage, &[PICKY, 2], "slot 0 holds a Data, CNode is needed"),
    ]
}

fn making() -> Vec<Case> {
    vec![
        done(DeriveSpawn, &[IMAGE, TABLE, EMPTY], 0, |o| {
            o.only(&[TABLE, EMPTY]);
            assert_eq!(o.is(TABLE), None, "the cnode is consumed");
            let spawned = o.is(EMPTY).unwrap();
            let (own, new) = (o.rig.as_instance(o.before), o.rig.as_instance(spawned));
            let image = o.was(IMAGE).unwrap();
            assert_eq!((new.image_hash, new.status()), (image, &Status::default()));
            assert_eq!(new.image_hash_chain, lineage::step(&own.image_hash_chain, &image));
            let bytes = [1, 30, 31, 32].map(|slot| o.rig.slot_bytes(spawned, slot));
            assert_eq!(bytes, [&b"spawned"[..], b"pin", b"own", b"more"]);
            assert_eq!(o.rig.table(spawned).occupied(), 4);
        }),
        // The place of the cnode itself.
        done(DeriveSpawn, &[IMAGE, TABLE, TABLE], 0, |o| {
            o.only(&[TABLE]);
            assert_eq!(o.rig.slot_bytes(o.is(TABLE).unwrap(), 1), b"spawned");
        }),
        refused(DeriveSpawn, &[EMPTY, TABLE, EMPTY], "slot 6 is empty"),
        refused(DeriveSpawn, &[HELLO, TABLE, EMPTY], "slot 1 holds a Data, Image is needed"),
        refused(DeriveSpawn, &[IMAGE, EMPTY, EMPTY], "slot 6 is empty"),
        refused(DeriveSpawn, &[IMAGE, HELLO, EMPTY], "slot 1 holds a Data, CNode is needed"),
        refused(DeriveSpawn, &[IMAGE, CNODE, EMPTY], "slot 2 holds a cnode of 2^2 slots, 2^8 are needed"),
        refused(DeriveSpawn, &[IMAGE, PINNED, EMPTY], "slot 9 is pinned by the image: it can only be read"),
        refused(DeriveSpawn, &[IMAGE, TABLE, PINNED], "slot 9 is pinned by the image: it can only be read"),
        refused(DeriveSpawn, &[IMAGE, TABLE, at(7, &[5])], "slots 7 and 7/5: one lies inside the other"),
        done(MakeImage, &[ENCODED, EMPTY, CAPS], 32, |o| {
            o.only(&[EMPTY]);
            let Cap::Image(code) = o.cap(OTHER_IMAGE) else { unreachable!() };
            let slot = |n, entry| [(SlotIdx(n), o.was(at(16, &[entry])).unwrap())];
            let expected = Cap::image_with_slots(code.image(), &slot(30, 0), &slot(31, 3)).unwrap();
            assert_eq!(o.cap(EMPTY), expected);
        }),
        refused(
            MakeImage,
            &[ENCODED, EMPTY, NONE],
            "invalid image: pinned_slots: slot 30 names entry 0, where there is no value",
        )
        .paid(32),
        refused(
            MakeImage,
            &[PINS_INSTANCE, EMPTY, CAPS],
            "invalid image: pinned slot 30 holds a Instance: only Data and images can be pinned",
        )
        .paid(32),
        refused(
            MakeImage,
            &[GARBAGE, EMPTY, NONE],
            "invalid image: byte 2 of the image: the encoding is broken off or a length is wrong",
        )
        .paid(3),
        refused(MakeImage, &[ENCODED, EMPTY, HELLO], "slot 1 holds a Data, CNode is needed").paid(32),
        refused(MakeImage, &[ENCODED, EMPTY, EMPTY], "slot 6 is empty").paid(32),
        refused(MakeImage, &[INSTANCE, EMPTY, NONE], "slot 3 holds a Instance, Data is needed"),
        refused(MakeImage, &[EMPTY, EMPTY, NONE], "slot 6 is empty"),
        refused(MakeImage, &[ENCODED, PINNED, CAPS], "slot 9 is pinned by the image: it can only be read"),
    ]
}
