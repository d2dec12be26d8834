//! Operations on memory, called directly: RETYPE, MAP, UNMAP, SPLIT, DIRTY, the copy that calling DATA is; and how
//! the first VM's memory comes to be.

mod support;

use javm_abi::microkernel::{EcallOp, WHAT};
use javm_exec::{Access, MapError, memory::PAGE_COUNT};
use javm_invocation::{AccessError, Cap, DataCap, DispatchResult, Invocation, InvocationError};
use javm_program::ProgramError;
use support::{Item, Ops, engines, interpreter, kernel, manifest};

fn data(k: &Invocation, slot: u8) -> DataCap {
    k.data(0, slot).unwrap()
}

fn access(k: &Invocation, page: u32) -> Option<Access> {
    k.vm(0).unwrap().space().access(page)
}

const RO: Option<Access> = Some(Access::ReadOnly);
const RW: Option<Access> = Some(Access::ReadWrite);

#[test]
fn retype() {
    let mut k = kernel(10);
    k.retype(4, 66);
    k.retype(0, 67);
    k.retype(6, 68);
    assert_eq!([66, 67, 68].map(|s| data(&k, s).backing.first), [0, 4, 4]);
    let retype = |k: &mut Invocation, pages: u64, to: u32| {
        let gas = k.gas();
        assert_eq!(k.op(EcallOp::Call, 254, to, &[pages]), DispatchResult::Continue);
        (k.reg(7), gas - k.gas())
    };
    assert_eq!(retype(&mut k, 1, 69), (WHAT, 1520));
    assert_eq!(retype(&mut k, 0, 69), (69, 20));
    // The pages are gone, whatever comes of the destination.
    let mut k = kernel(10);
    assert_eq!(retype(&mut k, 4, 64), (WHAT, 6020));
    assert_eq!(retype(&mut k, 4, 0x0500), (WHAT, 6020));
    assert_eq!((k.untyped(), retype(&mut k, 3, 70).0), ((8, 10), WHAT));
    // Copies draw on the same pages.
    assert!(k.done(EcallOp::Copy, 254, 90, &[]));
    assert_eq!(k.call(90, &[2], 70), DispatchResult::Continue);
    assert_eq!((k.reg(7), k.untyped()), (70, (10, 10)));
    // So many pages that their price is no number.
    k.set_gas(u64::MAX);
    assert_eq!(k.op(EcallOp::Call, 254, 71, &[u64::MAX]), DispatchResult::RootOutOfGas);
    assert_eq!(k.op(EcallOp::Call, 254, 71, &[1 << 32]), DispatchResult::Continue);
    assert_eq!(k.reg(7), WHAT);
    // Without memory there is no UNTYPED.
    assert_eq!(kernel(0).cap(0, 254), None);
}

#[test]
fn map() {
    let mut k = kernel(100);
    k.retype(10, 66);
    let bad: [[u64; 4]; 10] = [
        [0x20, 0, 11, 1],
        [0x20, 10, 1, 1],
        [0x20, 0, 1, 2],
        [0x20, 0, 1, u64::MAX],
        [u64::from(PAGE_COUNT), 0, 1, 1],
        [u64::from(PAGE_COUNT) - 1, 1, 1, 1],
        [u64::MAX, 1, 1, 1],
        [0x20, u64::MAX, 1, 1],
        [0x20, 1, u64::MAX, 1],
        [1 << 32, 0, 1, 1],
    ];
    for operands in bad {
        assert!(!k.done(EcallOp::Map, 66, 0, &operands), "{operands:x?}");
        assert_eq!((data(&k, 66).base_page, data(&k, 66).access), (None, None));
    }
    assert!(!k.done(EcallOp::Map, 64, 0, &[0x20, 0, 1, 1]));
    assert!(k.done(EcallOp::Map, 66, 0, &[0x20, 2, 3, 1]));
    assert_eq!(k.reg(7), 0x20, "registers are as they were");
    assert_eq!([0x21, 0x22, 0x24, 0x25].map(|p| access(&k, p)), [None, RW, RW, None]);
    // The first MAP fixes base and access.
    assert!(!k.done(EcallOp::Map, 66, 0, &[0x21, 0, 1, 1]));
    assert!(!k.done(EcallOp::Map, 66, 0, &[0x20, 0, 1, 0]));
    // Mapped pages may be mapped again.
    assert!(k.done(EcallOp::Map, 66, 0, &[0x20, 0, 10, 1]));
    assert_eq!(k.vm(0).unwrap().space().mapped_pages(data(&k, 66).backing), 10);
    // Not where another capability has a page, but in its holes.
    k.retype(10, 67);
    assert!(!k.done(EcallOp::Map, 67, 0, &[0x18, 0, 10, 0]));
    assert!(k.done(EcallOp::Unmap, 66, 0, &[3, 2]));
    assert!(k.done(EcallOp::Map, 67, 0, &[0x1F, 4, 2, 0]));
    assert_eq!([0x22, 0x23, 0x24, 0x25].map(|p| access(&k, p)), [RW, RO, RO, RW]);
    assert!(!k.done(EcallOp::Map, 66, 0, &[0x20, 0, 10, 1]));
    // The last page, and nothing at the end.
    k.retype(1, 68);
    assert!(k.done(EcallOp::Map, 68, 0, &[u64::from(PAGE_COUNT) - 1, 0, 1, 1]));
    assert_eq!(access(&k, PAGE_COUNT - 1), RW);
}

#[test]
fn unmap() {
    let mut k = kernel(100);
    k.retype(10, 66);
    assert!(k.done(EcallOp::Unmap, 66, 0, &[0, 10]), "never mapped");
    assert!(!k.done(EcallOp::Unmap, 64, 0, &[0, 10]));
    assert!(k.done(EcallOp::Map, 66, 0, &[0x20, 0, 10, 1]));
    k.write_memory(0, 0x2_5000, &[7]).unwrap();
    for operands in [[4, 2], [9, 100], [100, 1], [u64::MAX, u64::MAX], [8, u64::MAX], [1, 0]] {
        assert!(k.done(EcallOp::Unmap, 66, 0, &operands));
    }
    let mapped: Vec<u32> = (0..10).filter(|p| access(&k, 0x20 + p).is_some()).collect();
    assert_eq!(mapped, [0, 1, 2, 3, 6, 7]);
    // Base, access and contents stay.
    assert!(!k.done(EcallOp::Map, 66, 0, &[0x30, 5, 1, 1]));
    assert!(k.done(EcallOp::Map, 66, 0, &[0x20, 5, 1, 1]));
    let mut byte = [0];
    k.read_memory(0, 0x2_5000, &mut byte).unwrap();
    assert_eq!(byte, [7]);
}

#[test]
fn memory_operations_act_on_the_vm_that_has_the_slot() {
    let mut k = kernel(100);
    k.create(0, 66);
    k.retype(4, 67);
    assert!(k.done(EcallOp::Map, 67, 0, &[0x20, 0, 4, 1]));
    k.write_memory(0, 0x2_0000, b"shared").unwrap();
    assert!(k.done(EcallOp::Move, 67, 66 << 8 | 9, &[]));
    assert_eq!(access(&k, 0x20), None);
    // The base is forgotten, the access is not.
    assert!(!k.done(EcallOp::Map, 66 << 8 | 9, 0, &[0x50, 0, 4, 0]));
    assert!(k.done(EcallOp::Map, 66 << 8 | 9, 0, &[0x50, 0, 4, 1]));
    assert_eq!((access(&k, 0x50), k.vm(1).unwrap().space().access(0x50)), (None, RW));
    let mut bytes = [0; 6];
    k.read_memory(1, 0x5_0000, &mut bytes).unwrap();
    assert_eq!(&bytes, b"shared");
    assert!(k.done(EcallOp::Unmap, 66 << 8 | 9, 0, &[0, 3]));
    assert_eq!(k.vm(1).unwrap().space().access(0x50), None);
    // Inside a table a move keeps everything.
    assert!(k.done(EcallOp::Move, 66 << 8 | 9, 66 << 8 | 10, &[]));
    assert_eq!(k.vm(1).unwrap().space().access(0x53), RW);
    assert!(k.done(EcallOp::Drop, 66 << 8 | 10, 0, &[]));
    assert_eq!(k.vm(1).unwrap().space().access(0x53), None);
}

#[test]
fn split() {
    let mut k = kernel(100);
    k.retype(10, 66);
    assert!(k.done(EcallOp::Map, 66, 0, &[0x20, 0, 1, 1]));
    k.write_memory(0, 0x2_0000, &[1]).unwrap();
    k.write_data(0, 66, 4 * 4096, &[2]).unwrap();
    assert!(!k.done(EcallOp::Split, 66, 67, &[4]), "a page is mapped");
    assert!(k.done(EcallOp::Unmap, 66, 0, &[0, 1]));
    for (to, at) in [(67, 0), (67, 10), (67, 11), (67, u64::MAX), (66, 4), (64, 4), (0x500, 4)] {
        assert!(!k.done(EcallOp::Split, 66, to, &[at]), "{to} {at}");
    }
    assert!(!k.done(EcallOp::Split, 64, 67, &[4]));
    assert!(k.done(EcallOp::Split, 66, 67, &[4]));
    let (low, high) = (data(&k, 66), data(&k, 67));
    assert_eq!((low.backing.first, low.backing.count, low.base_page, low.access), (0, 4, None, None));
    assert_eq!((high.backing.first, high.backing.count, high.base_page, high.access), (4, 6, None, None));
    // Contents and what was written go along.
    let mut byte = [0];
    k.read_data(0, 67, 0, &mut byte).unwrap();
    assert_eq!((byte, k.written(0, 66).unwrap(), k.written(0, 67).unwrap()), ([2], vec![1], vec![1]));
    // Into another VM.
    k.create(0, 70);
    assert!(k.done(EcallOp::Split, 67, 70 << 8 | 3, &[5]));
    assert_eq!(k.data(1, 3).unwrap().backing.first, 9);
    assert!(k.done(EcallOp::Map, 66, 0, &[0x40, 0, 4, 0]));
}

#[test]
fn dirty() {
    let mut k = kernel(100);
    k.retype(20, 66);
    k.retype(1, 67);
    assert!(k.done(EcallOp::Map, 66, 0, &[0x40, 0, 20, 1]));
    assert!(k.done(EcallOp::Map, 67, 0, &[0x80, 0, 1, 1]));
    let ask = |k: &mut Invocation, subject: u32, address: u64, room: u64| {
        let done = k.done(EcallOp::Dirty, subject, 0, &[address, room]);
        let mut bytes = [0; 4];
        k.read_memory(0, 0x8_0000, &mut bytes).unwrap();
        (done.then(|| k.reg(7)), bytes)
    };
    assert_eq!(ask(&mut k, 66, 0x8_0000, 3), (Some(0), [0; 4]));
    for page in [0, 9, 19] {
        k.write_memory(0, 0x4_0000 + page * 4096, &[0]).unwrap();
    }
    // Not enough room, memory that cannot be written, no DATA: nothing is forgotten.
    assert_eq!(ask(&mut k, 66, 0x8_0000, 2).0, None);
    assert_eq!(ask(&mut k, 66, 0x8_0FFE, 3).0, None);
    assert_eq!(ask(&mut k, 66, 0x9_0000, 3).0, None);
    assert_eq!(ask(&mut k, 64, 0x8_0000, 3).0, None);
    assert_eq!(ask(&mut k, 66, 0x8_0000, u64::MAX), (Some(3), [1, 2, 8, 0]));
    assert_eq!(ask(&mut k, 66, 0x8_0000, 3), (Some(0), [0; 4]));
    // Unmapping and moving do not forget, through handles it can be asked, too, and copies are writes.
    k.write_memory(0, 0x4_1000, &[1]).unwrap();
    k.create(0, 70);
    assert!(k.done(EcallOp::Move, 66, 70 << 8 | 1, &[]));
    assert_eq!(k.call(67, &[0, 1, 3 * 4096 - 1], 70 << 8 | 1), DispatchResult::Continue);
    assert_eq!(ask(&mut k, 70 << 8 | 1, 0x8_0000, 3), (Some(2), [0b110, 0, 0, 0]));
    // The pages that it writes to itself are forgotten as well, but not those of another capability.
    assert!(k.done(EcallOp::Move, 70 << 8 | 1, 66, &[]));
    assert!(k.done(EcallOp::Map, 66, 0, &[0x40, 0, 20, 1]));
    assert_eq!(ask(&mut k, 66, 0x4_0000, 3).0, Some(0));
    assert_eq!(k.written(0, 66).unwrap(), [0; 3]);
    assert_eq!(k.written(0, 67).unwrap(), [1]);
    // No pages take no room.
    k.retype(0, 71);
    assert_eq!(ask(&mut k, 71, u64::MAX, 0).0, Some(0));
}

#[test]
fn calling_data_copies() {
    let mut k = kernel(100);
    k.retype(3, 66);
    k.retype(2, 67);
    k.write_data(0, 66, 4094, b"hello").unwrap();
    let size = 3 * 4096;
    let bad: [([u64; 3], u64); 9] = [
        ([0, 0, 0], 67),
        ([0, 1, 0], 0),
        ([0, 1, 0], 64),
        ([0, 1, 0], 99),
        ([size, 1, 0], 67),
        ([0, size, 0], 67),
        ([0, 1, 8192], 67),
        ([u64::MAX, 2, 0], 67),
        ([0, u64::MAX, 1], 67),
    ];
    for (operands, to) in bad {
        let gas = k.gas();
        assert_eq!(k.call(66, &operands, to), DispatchResult::Continue);
        assert_eq!((k.reg(7), gas - k.gas()), (WHAT, 10), "{operands:?} {to}");
    }
    assert_eq!(k.call(66, &[4094, 5, 4093], 67), DispatchResult::Continue);
    assert_eq!(k.reg(7), 5);
    let mut bytes = [0; 5];
    k.read_data(0, 67, 4093, &mut bytes).unwrap();
    assert_eq!((&bytes, k.written(0, 67).unwrap()), (b"hello", vec![0b11]));
    // Inside one, as if through a buffer, either way.
    for (from, to) in [(4094, 4096), (4096, 4094)] {
        let mut before = vec![0; size as usize];
        let pattern: Vec<u8> = (0..size).map(|n| (n % 251) as u8).collect();
        k.write_data(0, 66, 0, &pattern).unwrap();
        before.copy_from_slice(&pattern);
        before.copy_within(from..from + 8000, to);
        k.call(66, &[from as u64, 8000, to as u64], 66);
        let mut after = vec![0; size as usize];
        k.read_data(0, 66, 0, &mut after).unwrap();
        assert_eq!(after, before);
    }
    // Read-only or mapped is no matter.
    assert!(k.done(EcallOp::Map, 67, 0, &[0x20, 0, 2, 0]));
    k.call(66, &[0, 1, 0], 67);
    assert_eq!(k.reg(7), 1);
}

#[test]
fn the_host_reads_and_writes_what_there_is() {
    let mut k = kernel(4);
    k.retype(1, 66);
    let mut bytes = [0; 2];
    assert_eq!(k.read_data(1, 66, 0, &mut bytes), Err(AccessError::NoVm { index: 1 }));
    assert_eq!(k.read_memory(9, 0, &mut bytes), Err(AccessError::NoVm { index: 9 }));
    let none = AccessError::NoData { index: 0, slot: 1 };
    assert_eq!((k.read_data(0, 1, 0, &mut bytes), k.write_data(0, 1, 0, &[1])), (Err(none), Err(none)));
    let outside = AccessError::OutOfBounds { offset: 4095, len: 2, size: 4096 };
    assert_eq!(k.read_data(0, 66, 4095, &mut bytes), Err(outside));
    assert_eq!(k.write_data(0, 66, 4095, &bytes), Err(outside));
    assert_eq!(outside.to_string(), "2 bytes from 4095 leave the 4096 bytes of the capability");
    assert_eq!(none.to_string(), "slot 1 of VM 0 holds no DATA");
}

#[test]
fn the_first_vm() {
    for engine in engines() {
        let items = [
            Item::Code(64, "ecalli 0"),
            Item::Data(0, 2, 1, true, vec![]),
            Item::Data(65, 0, 2, true, b"stack".to_vec()),
            Item::Data(66, 3, 1, false, b"constant".to_vec()),
            Item::Data(5, 9, 1, true, vec![]),
            Item::Data(254, 20, 1, true, vec![]),
        ];
        let mut k = Invocation::new(&engine, &manifest(10, 64, &items), b"arguments", 100_000).unwrap();
        assert_eq!(k.gas(), 100_000 - 6 * 1500);
        assert_eq!((7..=9).map(|r| k.reg(r)).collect::<Vec<_>>(), [0, 0x2000, 9]);
        assert_eq!((k.regs().pc, k.active(), k.untyped()), (0, 0, (6, 10)));
        assert_eq!([0, 1, 2, 3, 9, 20].map(|p| access(&k, p)), [RW, RW, RW, RO, RW, None]);
        let mut bytes = [0; 9];
        k.read_memory(0, 0x2000, &mut bytes).unwrap();
        assert_eq!(&bytes, b"arguments");
        k.read_memory(0, 0x3000, &mut bytes).unwrap();
        assert_eq!(&bytes, b"constant\0");
        // What it starts with was not written.
        assert_eq!([0, 65, 66].map(|s| k.written(0, s).unwrap()), [[0], [0], [0]]);
        let table = k.vm(0).unwrap().table();
        assert_eq!((k.cap(0, 5).unwrap().kind(), k.cap(0, 254)), ("DATA", Some(Cap::Untyped)));
        let original: Vec<u8> = (0..=255).filter(|s| table.is_original(*s)).collect();
        assert_eq!(original, (1..=28).filter(|s| *s != 5).collect::<Vec<_>>());
        assert_eq!(k.run(), DispatchResult::RootHalt(0));
    }
}

#[test]
fn of_two_entries_for_a_slot_the_later_counts() {
    let items = [
        Item::Code(64, "trap"),
        Item::Data(65, 0, 1, true, vec![1]),
        Item::Data(65, 0, 1, false, vec![2]),
        Item::Code(64, "ecalli 0"),
    ];
    let mut k = Invocation::new(&interpreter(), &manifest(2, 64, &items), &[], 5000).unwrap();
    assert_eq!((k.untyped(), access(&k, 0)), ((2, 2), RO));
    assert_eq!(k.run(), DispatchResult::RootHalt(0));
}

#[test]
fn arguments_without_a_place() {
    let engine = interpreter();
    let start = |items: &[Item], arguments: &[u8]| {
        Invocation::new(&engine, &manifest(4, 64, items), arguments, 10_000).map(|k| (k.reg(8), k.reg(9)))
    };
    let code = || Item::Code(64, "ecalli 0");
    assert_eq!(start(&[code()], b"abc"), Ok((0, 3)));
    assert_eq!(start(&[code(), Item::Data(0, 7, 1, true, vec![])], b""), Ok((0, 0)));
    assert_eq!(start(&[code(), Item::Data(0, 7, 1, true, vec![])], &[1; 4096]), Ok((0x7000, 4096)));
    let long = start(&[code(), Item::Data(0, 7, 1, true, vec![])], &[1; 4097]);
    assert_eq!(long, Err(InvocationError::ArgumentsTooLong { bytes: 4097, pages: 1 }));
}

#[test]
fn manifests_that_are_refused() {
    let engine = interpreter();
    let refused = |memory: u32, invoke: u8, items: &[Item]| {
        Invocation::new(&engine, &manifest(memory, invoke, items), &[], u64::MAX).unwrap_err()
    };
    let code = |slot| Item::Code(slot, "ecalli 0");
    let field = ProgramError::ManifestField { offset: 9, field: "invoke_cap", value: 65 };
    assert_eq!(refused(0, 65, &[code(64)]), InvocationError::Program(field.clone()));
    let items = [code(65), Item::Data(65, 0, 0, true, vec![])];
    assert_eq!(refused(0, 65, &items), InvocationError::Program(field));
    let six: Vec<_> = (64..70).map(code).collect();
    assert_eq!(refused(0, 64, &six), InvocationError::TooManyCodes { count: 6 });
    let items = [code(64), Item::Data(65, 0, 2, true, vec![]), Item::Data(66, 9, 2, true, vec![])];
    assert_eq!(refused(3, 64, &items), InvocationError::NoPages { slot: 66, pages: 2, left: 1, total: 3 });
    let items = [code(64), Item::Data(65, 0, 1, true, vec![0; 4097])];
    assert_eq!(refused(3, 64, &items), InvocationError::ContentsTooLong { slot: 65, bytes: 4097, pages: 1 });
    let items = [code(64), Item::Data(65, 0, 2, true, vec![]), Item::Data(66, 1, 1, true, vec![])];
    let source = MapError::Overlap { page: 1 };
    assert_eq!(refused(3, 64, &items), InvocationError::Mapping { slot: 66, source });
    let items = [code(64), Item::Data(65, PAGE_COUNT - 1, 2, true, vec![])];
    let error = refused(3, 64, &items);
    assert!(matches!(error, InvocationError::Mapping { slot: 65, source: MapError::OutOfRange { .. } }));
    assert_eq!(
        refused(3, 64, &items).to_string(),
        "slot 65: pages 1048575..1048575+2 leave the address space"
    );
    let items = [Item::Code(64, ""), code(65)];
    assert!(matches!(refused(0, 65, &items), InvocationError::Program(_)), "all code is checked");
    assert!(matches!(Invocation::new(&engine, b"JAR\x02", &[], 0), Err(InvocationError::Program(_))));
}
