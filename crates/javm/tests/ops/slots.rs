//! Operations on slots, events, gas.

use crate::{
    run::{Case, done, refused},
    support::at,
    world::*,
};
use javm_abi::GuestOp::{
    Emit, GasLeft, MgmtCnodeMint, MgmtCnodeSwap, MgmtCopy, MgmtDrop, MgmtKind, MgmtMove, Reply,
};
use javm_cap::{Cap, CapHash, image::Image};

const NONE: u64 = u64::MAX;
const NO_TWEAK: fn(&mut Image) = |_| ();

pub(crate) fn cases() -> Vec<Case> {
    let inside = at(2, &[0]);
    let deep = at(2, &[1, 0, 7]);
    let pinned = "slot 9 is pinned by the image: it can only be read";
    vec![
        done(Reply, &[5], 0, |o| {
            assert_eq!((o.value, o.after, o.seen.len()), (5, o.before, 1));
            o.only(&[]);
        }),
        done(Reply, &[u64::MAX], 2, |o| {
            assert_eq!(o.value, u64::MAX);
            o.only(&[MEMORY]);
            let bytes = o.bytes(MEMORY);
            assert_eq!((bytes.len(), &bytes[..6], bytes[10], bytes[4097]), (4098, &b"memory"[..], 7, 8));
        })
        .after("store_imm_u8 0x4000a, 7\nstore_imm_u8 0x41001, 8\nstore_imm_u8 0x60000, 9"),
        // Written with what was there: not dirty.
        done(Reply, &[1], 0, |o| o.only(&[])).after("store_imm_u8 0x40000, 0x6d"),
        done(MgmtCopy, &[HELLO, EMPTY], 0, |o| {
            o.only(&[EMPTY]);
            assert_eq!(o.is(EMPTY), o.was(HELLO));
        }),
        done(MgmtCopy, &[at(2, &[1, 0, 7]), at(2, &[0])], 1, |o| {
            o.only(&[CNODE]);
            assert_eq!(o.bytes(at(2, &[0])), b"deep");
            assert_eq!(o.bytes(at(2, &[1, 0, 7])), b"deep");
        }),
        // A cnode into itself: the old value goes into the new one.
        done(MgmtCopy, &[CNODE, at(2, &[1, 0, 1])], 3, |o| {
            o.only(&[CNODE]);
            assert_eq!(o.is(at(2, &[1, 0, 1])), o.was(CNODE));
        }),
        done(MgmtCopy, &[HELLO, HELLO], 0, |o| o.only(&[])),
        done(MgmtCopy, &[PINNED, EMPTY], 0, |o| assert_eq!(o.bytes(EMPTY), b"pinned")),
        done(MgmtCopy, &[HELLO, 0], 0, |o| assert_eq!(o.slot0, o.was(HELLO))),
        refused(MgmtCopy, &[EMPTY, HELLO], "slot 6 is empty"),
        refused(MgmtCopy, &[HELLO, PINNED], pinned),
        done(MgmtMove, &[HELLO, EMPTY], 0, |o| {
            o.only(&[HELLO, EMPTY]);
            assert_eq!((o.is(HELLO), o.is(EMPTY)), (None, o.was(HELLO)));
        }),
        done(MgmtMove, &[at(2, &[1, 0, 7]), at(2, &[3])], 4, |o| {
            o.only(&[CNODE]);
            assert_eq!((o.is(at(2, &[1, 0, 7])), o.bytes(at(2, &[3]))), (None, b"deep".to_vec()));
        }),
        refused(MgmtMove, &[EMPTY, HELLO], "slot 6 is empty"),
        refused(MgmtMove, &[HELLO, PINNED], pinned),
        refused(MgmtMove, &[PINNED, HELLO], pinned),
        refused(MgmtMove, &[HELLO, HELLO], "slots 1 and 1: one lies inside the other"),
        refused(MgmtMove, &[CNODE, inside], "slots 2 and 2/0: one lies inside the other"),
        refused(MgmtMove, &[deep, CNODE], "slots 2/1/0/7 and 2: one lies inside the other"),
        done(MgmtDrop, &[HELLO], 0, |o| {
            o.only(&[HELLO]);
            assert_eq!(o.is(HELLO), None);
        }),
        done(MgmtDrop, &[at(2, &[1, 0, 7])], 3, |o| {
            o.only(&[CNODE]);
            assert_eq!(o.is(at(2, &[1, 0, 7])), None);
            assert_eq!(o.bytes(at(2, &[0])), b"in");
        }),
        refused(MgmtDrop, &[EMPTY], "slot 6 is empty"),
        refused(MgmtDrop, &[PINNED], pinned),
        done(MgmtCnodeSwap, &[HELLO, TYPE], 0, |o| {
            o.only(&[HELLO, TYPE]);
            assert_eq!((o.is(HELLO), o.is(TYPE)), (o.was(TYPE), o.was(HELLO)));
        }),
        done(MgmtCnodeSwap, &[EMPTY, at(2, &[0])], 1, |o| {
            o.only(&[EMPTY, CNODE]);
            assert_eq!((o.bytes(EMPTY), o.is(at(2, &[0]))), (b"in".to_vec(), None));
        }),
        done(MgmtCnodeSwap, &[EMPTY, 99], 0, |o| o.only(&[])),
        refused(MgmtCnodeSwap, &[HELLO, HELLO], "slots 1 and 1: one lies inside the other"),
        refused(MgmtCnodeSwap, &[inside, CNODE], "slots 2/0 and 2: one lies inside the other"),
        refused(MgmtCnodeSwap, &[PINNED, HELLO], pinned),
        refused(MgmtCnodeSwap, &[HELLO, PINNED], pinned),
        done(MgmtCnodeMint, &[EMPTY, 16], 0, |o| {
            o.only(&[EMPTY]);
            assert_eq!(o.cap(EMPTY), Cap::empty_cnode(16).unwrap());
        }),
        done(MgmtCnodeMint, &[at(2, &[1, 0, 7]), 0], 3, |o| {
            assert_eq!(o.cap(at(2, &[1, 0, 7])), Cap::empty_cnode(0).unwrap());
        }),
        refused(MgmtCnodeMint, &[EMPTY, 17], "k = 17 is out of range"),
        refused(MgmtCnodeMint, &[EMPTY, u64::MAX], "k = 18446744073709551615 is out of range"),
        refused(MgmtCnodeMint, &[PINNED, 1], pinned),
        done(MgmtKind, &[EMPTY], 0, |o| assert_eq!(o.a(0), 0)),
        done(MgmtKind, &[INSTANCE], 0, |o| assert_eq!(o.a(0), 1)),
        done(MgmtKind, &[IMAGE], 0, |o| assert_eq!(o.a(0), 2)),
        done(MgmtKind, &[HELLO], 0, |o| assert_eq!(o.a(0), 3)),
        done(MgmtKind, &[CNODE], 0, |o| assert_eq!(o.a(0), 4)),
        done(MgmtKind, &[TYPE], 0, |o| assert_eq!(o.a(0), 5)),
        done(MgmtKind, &[at(2, &[1, 0, 7])], 0, |o| {
            assert_eq!(o.a(0), 3);
            o.only(&[]);
        }),
        refused(MgmtKind, &[at(1, &[0])], "slot 1/0: step 1 goes through something that is no cnode"),
        done(Emit, &[HELLO, NONE], 0, |o| {
            let lineage = o.rig.as_instance(o.before).image_hash_chain;
            let emits: Vec<_> = o.rig.vm.take_emits();
            let found: Vec<_> = emits.iter().map(|e| (e.lineage, e.payload, e.on_failure)).collect();
            assert_eq!(found, [(lineage, o.was(HELLO).unwrap(), None)]);
            o.only(&[]);
        }),
        done(Emit, &[at(2, &[1]), INSTANCE], 0, |o| {
            let emits: Vec<_> = o.rig.vm.take_emits();
            let found: Vec<(CapHash, Option<CapHash>)> =
                emits.iter().map(|e| (e.payload, e.on_failure)).collect();
            assert_eq!(found, [(o.was(at(2, &[1])).unwrap(), o.was(INSTANCE))]);
        }),
        refused(Emit, &[EMPTY, NONE], "slot 6 is empty"),
        refused(Emit, &[HELLO, EMPTY], "slot 6 is empty"),
        done(GasLeft, &[], 0, |o| {
            assert_eq!(o.a(0), o.seen[1].gas + 100);
            assert_eq!(o.seen[0].gas - o.a(0), 40);
        })
        .image(NO_TWEAK),
    ]
}
