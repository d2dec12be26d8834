//! Operations on Data and files.

use crate::{
    run::{Case, done, refused},
    support::at,
    world::*,
};
use javm::KernelAssist;
use javm_abi::GuestOp::{HostDataSize, HostMintDataCap, HostOpen, HostReadDataCap, HostSave};
use javm_cap::{Cap, SlotIdx};

const NONE: u64 = u64::MAX;

pub(crate) fn cases() -> Vec<Case> {
    let mut all = reading();
    all.extend(minting());
    all.extend(files());
    all
}

fn reading() -> Vec<Case> {
    let no_data = "slot 3 holds a Instance, Data is needed";
    vec![
        done(HostReadDataCap, &[HELLO, MEM + 4, 5, 0], 1, |o| {
            assert_eq!(o.a(0), 5);
            o.only(&[MEMORY]);
            assert_eq!(o.bytes(MEMORY)[..10], *b"memohello!");
        }),
        // The rest of the length is filled with zeros.
        done(HostReadDataCap, &[HELLO, MEM, 100, 3], 2, |o| {
            assert_eq!(o.a(0), 2);
            let bytes = o.bytes(MEMORY);
            assert_eq!((&bytes[..2], &bytes[2..100]), (&b"lo"[..], &[0; 98][..]));
        }),
        done(HostReadDataCap, &[HELLO, MEM, 4, 5], 1, |o| {
            assert_eq!((o.a(0), &o.bytes(MEMORY)[..6]), (0, &b"\0\0\0\0ry"[..]));
        }),
        done(HostReadDataCap, &[HELLO, MEM, 2, u64::MAX], 1, |o| {
            assert_eq!((o.a(0), &o.bytes(MEMORY)[..6]), (0, &b"\0\0mory"[..]));
        }),
        // Across pages, and a large length of a small Data.
        done(HostReadDataCap, &[at(2, &[1, 0, 7]), MEM + 4094, 4098, 0], 65, |o| {
            assert_eq!(o.a(0), 4);
            assert_eq!(o.bytes(MEMORY)[4094..], *b"deep");
        }),
        // Nothing to read needs no memory.
        done(HostReadDataCap, &[HELLO, 0, 0, 0], 0, |o| {
            assert_eq!(o.a(0), 0);
            o.only(&[]);
        }),
        refused(HostReadDataCap, &[HELLO, MEM + 8190, 3, 0], "memory at 0x41ffe, 3 bytes, is not accessible"),
        refused(HostReadDataCap, &[HELLO, READ_ONLY, 1, 0], "memory at 0x50000, 1 bytes, is not accessible"),
        refused(HostReadDataCap, &[HELLO, 16, 1, 0], "memory at 0x10, 1 bytes, is not accessible"),
        refused(
            HostReadDataCap,
            &[HELLO, 0xFFFF_FFFF, 2, 0],
            "memory at 0xffffffff, 2 bytes, is not accessible",
        ),
        refused(
            HostReadDataCap,
            &[HELLO, MEM, 1 << 32, 0],
            "memory at 0x40000, 4294967296 bytes, is not accessible",
        ),
        refused(
            HostReadDataCap,
            &[HELLO, MEM | 1 << 32, 1, 0],
            "memory at 0x100040000, 1 bytes, is not accessible",
        ),
        refused(HostReadDataCap, &[INSTANCE, MEM, 1, 0], no_data),
        refused(HostReadDataCap, &[EMPTY, MEM, 1, 0], "slot 6 is empty"),
        done(HostDataSize, &[HELLO], 0, |o| {
            assert_eq!(o.a(0), 5);
            o.only(&[]);
        }),
        done(HostDataSize, &[at(2, &[1, 0, 7])], 0, |o| assert_eq!(o.a(0), 4)),
        done(HostDataSize, &[PINNED], 0, |o| assert_eq!(o.a(0), 6)),
        refused(HostDataSize, &[INSTANCE], no_data),
        refused(HostDataSize, &[EMPTY], "slot 6 is empty"),
    ]
}

fn minting() -> Vec<Case> {
    vec![
        done(HostMintDataCap, &[MEM, 6, NONE, EMPTY], 1, |o| {
            o.only(&[EMPTY]);
            assert_eq!(o.cap(EMPTY), Cap::data_inline(b"memory"));
        }),
        // Stripped: the zeros behind `memory` are none of it.
        done(HostMintDataCap, &[MEM, 9, NONE, at(2, &[1, 1])], 1, |o| {
            o.only(&[CNODE]);
            assert_eq!(o.bytes(at(2, &[1, 1])), b"memory");
        }),
        // A quota pays for the stripped size.
        done(HostMintDataCap, &[MEM, 9, QUOTA, HELLO], 1, |o| {
            assert_eq!(o.bytes(HELLO), b"memory");
            assert_eq!(o.rig.vm.kernel_assist.quota(QUOTA_ID), QUOTA_LEFT - 6);
        }),
        // The active quota.
        done(HostMintDataCap, &[MEM, 10, NONE, EMPTY], 1, |o| {
            assert_eq!(o.bytes(EMPTY), b"memory\0\0\0!");
            assert_eq!(o.rig.vm.kernel_assist.quota(QUOTA_ID), QUOTA_LEFT - 10);
        })
        .image(|image| image.quota_slots = vec![SlotIdx(EMPTY as u32), SlotIdx(QUOTA as u32)]),
        // From read-only memory, and nothing at all.
        done(HostMintDataCap, &[READ_ONLY + 3, 100, NONE, EMPTY], 2, |o| assert_eq!(o.bytes(EMPTY), b"ned")),
        done(HostMintDataCap, &[0, 0, NONE, EMPTY], 0, |o| assert_eq!(o.bytes(EMPTY), b"")),
        done(HostMintDataCap, &[MEM + 32, 20, QUOTA, EMPTY], 1, |o| {
            assert_eq!((o.bytes(EMPTY), o.rig.vm.kernel_assist.quota(QUOTA_ID)), (vec![], QUOTA_LEFT));
        }),
        refused(
            HostMintDataCap,
            &[MEM + 8190, 3, NONE, EMPTY],
            "memory at 0x41ffe, 3 bytes, is not accessible",
        ),
        refused(
            HostMintDataCap,
            &[u64::MAX, 2, NONE, EMPTY],
            "memory at 0xffffffffffffffff, 2 bytes, is not accessible",
        ),
        refused(HostMintDataCap, &[MEM, 6, HELLO, EMPTY], "slot 1 holds no Quota handle").paid(1),
        refused(HostMintDataCap, &[MEM, 6, OPEN, EMPTY], "slot 11 holds no Quota handle").paid(1),
        refused(HostMintDataCap, &[MEM, 6, EMPTY, EMPTY], "slot 6 is empty").paid(1),
        refused(
            HostMintDataCap,
            &[MEM, 6, NONE, PINNED],
            "slot 9 is pinned by the image: it can only be read",
        ),
    ]
}

fn files() -> Vec<Case> {
    vec![
        done(HostOpen, &[FILE_ID, EMPTY, OPEN], 0, |o| {
            o.only(&[EMPTY]);
            assert_eq!(o.bytes(EMPTY), b"file seven");
        }),
        done(HostOpen, &[0, at(2, &[0]), OPEN], 0, |o| assert_eq!(o.bytes(at(2, &[0])), b"pin")),
        done(HostOpen, &[FILE_ID, EMPTY, FILE], 0, |o| assert_eq!(o.bytes(EMPTY), b"file seven")),
        refused(HostOpen, &[FILE_ID, EMPTY, SAVE], "slot 12 holds no HostOpen handle"),
        refused(HostOpen, &[6, EMPTY, FILE], "slot 13 holds no HostOpen handle"),
        refused(HostOpen, &[FILE_ID, EMPTY, HELLO], "slot 1 holds no HostOpen handle"),
        refused(HostOpen, &[FILE_ID, EMPTY, EMPTY], "slot 6 is empty"),
        refused(HostOpen, &[8, EMPTY, OPEN], "file = 8 is out of range"),
        refused(HostOpen, &[FILE_ID, PINNED, OPEN], "slot 9 is pinned by the image: it can only be read"),
        done(HostSave, &[HELLO, NONE, SAVE], 0, |o| {
            o.only(&[]);
            assert_eq!(o.a(0), 8);
            assert_eq!(o.rig.vm.kernel_assist.open_file(8), o.was(HELLO));
        }),
        done(HostSave, &[at(2, &[1, 0, 7]), QUOTA, SAVE], 0, |o| {
            assert_eq!(o.rig.vm.kernel_assist.open_file(8), o.was(at(2, &[1, 0, 7])));
            assert_eq!(o.rig.vm.kernel_assist.quota(QUOTA_ID), QUOTA_LEFT - 4);
        }),
        refused(HostSave, &[HELLO, NONE, OPEN], "slot 11 holds no HostSave handle"),
        refused(HostSave, &[HELLO, NONE, EMPTY], "slot 6 is empty"),
        refused(HostSave, &[HELLO, FILE, SAVE], "slot 13 holds no Quota handle"),
        refused(HostSave, &[EMPTY, NONE, SAVE], "slot 6 is empty"),
        refused(HostSave, &[TYPE, NONE, SAVE], "slot 5 holds a Type, Data is needed"),
    ]
}
