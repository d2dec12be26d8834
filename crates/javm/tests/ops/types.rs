//! Lineages.

use crate::{
    run::{Case, done, refused},
    support::at,
    world::*,
};
use javm_abi::GuestOp::{HostSameType, HostSameTypeAs, HostSubtype, HostTypeEq, HostTypeOf};
use javm_cap::{Cap, CapHash, lineage};

fn ty(cap: Cap) -> CapHash {
    match cap {
        Cap::Type(ty) => ty.lineage,
        other => panic!("a {}", other.kind()),
    }
}

pub(crate) fn cases() -> Vec<Case> {
    let not_typed = "slot 1 holds a Data, Instance or Type is needed";
    let no_type = "slot 3 holds a Instance, Type is needed";
    let unmapped = "memory at 0x10, 8 bytes, is not accessible";
    let no_image = "slot 1 holds a Data, Image is needed";
    vec![
        done(HostSameType, &[INSTANCE, TYPE], 0, |o| {
            assert_eq!(o.a(0), 1);
            o.only(&[]);
        }),
        done(HostSameType, &[INSTANCE, MARKER], 0, |o| assert_eq!(o.a(0), 0)),
        done(HostSameType, &[MARKER, STRANGER], 0, |o| assert_eq!(o.a(0), 1)),
        done(HostSameType, &[TYPE, SUBTYPE], 0, |o| assert_eq!(o.a(0), 0)),
        refused(HostSameType, &[HELLO, TYPE], not_typed),
        refused(HostSameType, &[TYPE, HELLO], not_typed),
        refused(HostSameType, &[EMPTY, TYPE], "slot 6 is empty"),
        done(HostTypeOf, &[INSTANCE, EMPTY], 0, |o| {
            o.only(&[EMPTY]);
            assert_eq!(o.is(EMPTY), o.was(TYPE));
        }),
        done(HostTypeOf, &[PAUSED, at(2, &[1, 0, 7])], 0, |o| {
            let paused = o.rig.as_instance(o.was(PAUSED).unwrap());
            assert_eq!(ty(o.cap(at(2, &[1, 0, 7]))), paused.image_hash_chain);
        }),
        refused(HostTypeOf, &[TYPE, EMPTY], "slot 5 holds a Type, Instance is needed"),
        refused(HostTypeOf, &[EMPTY, EMPTY], "slot 6 is empty"),
        refused(HostTypeOf, &[INSTANCE, PINNED], "slot 9 is pinned by the image: it can only be read"),
        done(HostSubtype, &[TYPE, LIST, 2, EMPTY], 2, |o| {
            o.only(&[EMPTY]);
            assert_eq!(o.is(EMPTY), o.was(SUBTYPE));
        }),
        done(HostSubtype, &[TYPE, LIST, 1, at(2, &[0])], 1, |o| {
            let expected = lineage::step(&ty(o.cap(TYPE)), &o.was(OTHER_IMAGE).unwrap());
            assert_eq!(ty(o.cap(at(2, &[0]))), expected);
        }),
        done(HostSubtype, &[TYPE, 0, 0, EMPTY], 0, |o| assert_eq!(o.is(EMPTY), o.was(TYPE))),
        refused(HostSubtype, &[INSTANCE, LIST, 1, EMPTY], no_type),
        refused(HostSubtype, &[EMPTY, LIST, 1, EMPTY], "slot 6 is empty"),
        refused(HostSubtype, &[TYPE, 16, 1, EMPTY], unmapped),
        refused(
            HostSubtype,
            &[TYPE, MEM, u64::MAX, EMPTY],
            "memory at 0x40000, 18446744073709551615 bytes, is not accessible",
        ),
        // Entries were read before the wrong one was met.
        refused(HostSubtype, &[TYPE, BAD_LIST, 2, EMPTY], no_image).paid(2),
        refused(
            HostSubtype,
            &[TYPE, WORSE_LIST, 1, EMPTY],
            "0x4000000000000000 is no slot path: bits 62..64 of a slot path must be zero",
        )
        .paid(1),
        refused(HostSubtype, &[TYPE, LIST, 1, PINNED], "slot 9 is pinned by the image: it can only be read"),
        done(HostTypeEq, &[TYPE, TYPE], 0, |o| assert_eq!(o.a(0), 1)),
        done(HostTypeEq, &[TYPE, SUBTYPE], 0, |o| {
            assert_eq!(o.a(0), 0);
            o.only(&[]);
        }),
        refused(HostTypeEq, &[INSTANCE, TYPE], no_type),
        refused(HostTypeEq, &[TYPE, INSTANCE], no_type),
        refused(HostTypeEq, &[TYPE, EMPTY], "slot 6 is empty"),
        done(HostSameTypeAs, &[INSTANCE, SUBTYPE, LIST, 2], 2, |o| {
            assert_eq!(o.a(0), 1);
            o.only(&[]);
        }),
        done(HostSameTypeAs, &[TYPE, SUBTYPE, LIST, 1], 1, |o| assert_eq!(o.a(0), 0)),
        done(HostSameTypeAs, &[TYPE, INSTANCE, 0, 0], 0, |o| assert_eq!(o.a(0), 1)),
        refused(HostSameTypeAs, &[HELLO, TYPE, LIST, 1], not_typed),
        refused(HostSameTypeAs, &[TYPE, HELLO, LIST, 1], not_typed),
        refused(HostSameTypeAs, &[TYPE, TYPE, 16, 1], unmapped),
        refused(HostSameTypeAs, &[TYPE, TYPE, BAD_LIST, 2], no_image).paid(2),
    ]
}
