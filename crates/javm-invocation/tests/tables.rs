//! Operations on tables, called directly: references, COPY, MOVE, DROP, DOWNGRADE, SET_MAX_GAS, CREATE, and each way
//! in which they fail.

mod support;

use javm_abi::microkernel::{CapRef, EcallOp, MAX_VMS, WHAT};
use javm_invocation::{
    CallableCap, Cap, DispatchResult, EcalliOp, HandleCap, VmFault, VmState, decode_ecall, decode_ecalli,
};
use support::{Ops, kernel};

#[test]
fn decoding() {
    assert_eq!(decode_ecalli(5), EcalliOp::Call(CapRef(5)));
    assert_eq!(decode_ecall(0x0D), EcallOp::Resume);
    assert_eq!(decode_ecall(1), EcallOp::Unknown);
    assert_eq!(decode_ecall(7 | 1 << 32), EcallOp::Copy);
}

#[test]
fn every_operation_fails_on_an_empty_slot_but_drop() {
    for op in EcallOp::ALL.iter().copied().chain([EcallOp::Unknown]) {
        let mut k = kernel(4);
        let before: Vec<_> = k.vm(0).unwrap().table().iter().map(|(s, c)| (s, *c)).collect();
        assert_eq!(k.done(op, 50, 51, &[]), op == EcallOp::Drop, "{}", op.name());
        assert!(k.vm(0).unwrap().table().iter().map(|(s, c)| (s, *c)).eq(before));
    }
}

#[test]
fn unknown_operations_cost_and_fail() {
    for op in [1u64, 8, 9, 0xE, 0xFF, 0xFFFF_FFFF] {
        let mut k = kernel(0);
        assert_eq!(k.dispatch_ecall(op), DispatchResult::Continue);
        assert_eq!((k.reg(7), k.gas()), (WHAT, 999_990));
    }
}

#[test]
fn references_go_through_handles_of_vms_that_do_not_run() {
    let mut k = kernel(8);
    // 0 has 1 at 66, 1 has 2 at 10, 2 has 3 at 20, 3 has a protocol capability at 7.
    for (slot, to) in [(66, 66u32), (67, 66 << 8 | 10), (68, 66 << 16 | 10 << 8 | 20)] {
        k.create(0b10, slot);
        assert!(k.done(EcallOp::Move, u32::from(slot), to, &[]) || slot == 66);
    }
    assert!(k.done(EcallOp::Copy, 5, 66 << 24 | 10 << 16 | 20 << 8 | 7, &[]));
    assert_eq!(k.cap(3, 7), Some(Cap::Protocol(5)));
    // Zero bytes are skipped wherever they are.
    assert!(k.done(EcallOp::Copy, 66 << 24 | 10 << 8 | 1, 66 << 16 | 8, &[]));
    assert_eq!(k.cap(1, 8), Some(Cap::Protocol(1)));
    // Every kind can be called through handles.
    let result = k.call(66 << 24 | 10 << 16 | 20 << 8 | 7, &[], 0);
    assert!(matches!(result, DispatchResult::ProtocolCall { slot: 5, .. }));
    k.resume(0, 0).unwrap();
    // Not through an empty slot, another kind, or a CALLABLE.
    assert!(!k.done(EcallOp::Copy, 5, 67 << 8 | 9, &[]));
    assert!(!k.done(EcallOp::Copy, 5, 64 << 8 | 9, &[]));
    assert!(k.done(EcallOp::Downgrade, 66, 70, &[]));
    assert!(!k.done(EcallOp::Copy, 5, 70 << 8 | 9, &[]));
    // A fault does not keep one out, waiting does.
    k.call(66, &[], 0);
    k.inject_fault(VmFault::Trap);
    assert!(k.done(EcallOp::Copy, 5, 66 << 8 | 9, &[]));
    // VM 2 calls the root's child 1 back? It cannot: it has no reference. But 1 resumed cannot reach itself.
    assert_eq!(k.op(EcallOp::Resume, 66, 0, &[]), DispatchResult::Continue);
    assert_eq!(k.active(), 1);
    k.call(10, &[], 0);
    assert_eq!((k.active(), k.vm(1).unwrap().state()), (2, VmState::WaitingForReply));
}

#[test]
fn a_waiting_vm_is_not_reached() {
    let mut k = kernel(0);
    k.create(0b10, 66);
    k.create(0, 67);
    // 1 can call 2, and 2 has the handle of 1.
    assert!(k.done(EcallOp::Downgrade, 67, 66 << 8 | 5, &[]));
    assert!(k.done(EcallOp::Downgrade, 66, 68, &[]));
    assert!(k.done(EcallOp::Move, 66, 67 << 8 | 9, &[]));
    k.call(68, &[], 0);
    k.call(5, &[], 0);
    assert_eq!(k.active(), 2);
    assert!(!k.done(EcallOp::Drop, 9 << 8 | 1, 0, &[]));
    assert!(!k.done(EcallOp::Drop, 9, 0, &[]), "its VM is on the call stack");
    assert_eq!(k.call(9, &[], 0), DispatchResult::Continue);
    assert_eq!((k.reg(7), k.active()), (WHAT, 2), "it is not idle");
}

#[test]
fn copy_and_move() {
    let mut k = kernel(8);
    k.retype(2, 66);
    k.create(0, 67);
    // Occupied destinations, also the source itself.
    assert!(!k.done(EcallOp::Copy, 1, 2, &[]));
    assert!(!k.done(EcallOp::Copy, 1, 1, &[]));
    assert!(!k.done(EcallOp::Move, 1, 2, &[]));
    assert!(k.done(EcallOp::Move, 1, 1, &[]));
    // One owner.
    assert!(!k.done(EcallOp::Copy, 66, 80, &[]));
    assert!(!k.done(EcallOp::Copy, 67, 80, &[]));
    for (slot, to) in [(1, 80), (64, 81), (254, 82)] {
        assert!(k.done(EcallOp::Copy, slot, to, &[]));
        assert_eq!(k.cap(0, slot as u8), k.cap(0, to as u8));
    }
    assert!(k.done(EcallOp::Move, 66, 255, &[]));
    assert!(matches!((k.cap(0, 66), k.cap(0, 255)), (None, Some(Cap::Data(_)))));
    // What was touched is not original any more; what was copied from is.
    assert!(k.done(EcallOp::Move, 2, 83, &[]));
    assert!(k.done(EcallOp::Move, 83, 2, &[]));
    assert!(k.done(EcallOp::Drop, 3, 0, &[]));
    let table = k.vm(0).unwrap().table();
    assert_eq!([1, 2, 3, 4, 80].map(|s| table.is_original(s)), [true, false, false, true, false]);
}

#[test]
fn ceilings() {
    let mut k = kernel(0);
    k.create(0, 66);
    assert!(!k.done(EcallOp::SetMaxGas, 64, 0, &[1]));
    assert!(k.done(EcallOp::SetMaxGas, 66, 0, &[300]));
    assert!(k.done(EcallOp::Downgrade, 66, 67, &[]));
    assert!(!k.done(EcallOp::Downgrade, 66, 67, &[]));
    assert!(!k.done(EcallOp::Downgrade, 67, 68, &[]));
    assert!(!k.done(EcallOp::SetMaxGas, 67, 0, &[1]));
    // The snapshot stays.
    assert!(k.done(EcallOp::SetMaxGas, 66, 0, &[0]));
    assert!(matches!(k.cap(0, 67), Some(Cap::Callable(CallableCap { max_gas: Some(300), .. }))));
    assert!(matches!(k.cap(0, 66), Some(Cap::Handle(HandleCap { max_gas: Some(0), .. }))));
    k.call(66, &[], 0);
    assert_eq!((k.active(), k.gas()), (1, 0));
    // It cannot even reply: out of gas, and resumed through the same ceiling again.
    assert_eq!(k.dispatch_ecalli(0), DispatchResult::Continue);
    assert_eq!((k.active(), k.reg(8)), (0, 3));
    k.op(EcallOp::Resume, 66, 0, &[]);
    assert_eq!((k.active(), k.gas()), (1, 0));
}

#[test]
fn create_copies_what_can_be_copied() {
    let mut k = kernel(8);
    k.retype(1, 30);
    k.create(0, 31);
    assert!(k.done(EcallOp::Downgrade, 31, 32, &[]));
    assert!(k.done(EcallOp::Copy, 254, 33, &[]));
    assert!(k.done(EcallOp::Copy, 64, 63, &[]));
    let vm = k.create(u64::MAX, 70);
    let kinds: Vec<_> = k.vm(vm).unwrap().table().iter().map(|(s, c)| (s, c.kind())).skip(28).collect();
    assert_eq!(kinds, [(32, "CALLABLE"), (33, "UNTYPED"), (63, "CODE")]);
    let vm = k.vm(vm).unwrap();
    assert_eq!((vm.state(), vm.regs().pc, vm.regs().gpr, vm.gas()), (VmState::Idle, 0, [0; 13], 0));
    // Through a handle the table is that of the VM which has the code.
    assert!(k.done(EcallOp::Copy, 5, 31 << 8 | 40, &[]));
    assert!(k.done(EcallOp::Copy, 64, 31 << 8 | 41, &[]));
    assert_eq!(k.call(31 << 8 | 41, &[1 << 40 | 1 << 5], 71), DispatchResult::Continue);
    let Some(Cap::Handle(handle)) = k.cap(0, 71) else { panic!("no handle") };
    assert_eq!([5, 40].map(|s| k.cap(handle.vm.index, s)), [None, Some(Cap::Protocol(5))]);
}

#[test]
fn a_vm_whose_handle_has_no_place_is_there_all_the_same() {
    let mut k = kernel(0);
    for (n, destination) in [64, 66 << 8 | 1].into_iter().enumerate() {
        assert_eq!(k.call(64, &[0], destination), DispatchResult::Continue);
        assert_eq!((k.reg(7), k.vms().count()), (WHAT, n + 2));
    }
}

#[test]
fn dropping_a_handle_drops_what_it_owns() {
    let mut k = kernel(8);
    k.create(0, 66);
    k.create(0, 67);
    k.create(0, 68);
    k.retype(1, 70);
    assert!(k.done(EcallOp::Downgrade, 68, 69, &[]));
    assert!(k.done(EcallOp::Move, 68, 67 << 8 | 1, &[]));
    assert!(k.done(EcallOp::Move, 70, 67 << 8 | 2, &[]));
    assert!(k.done(EcallOp::Move, 67, 66 << 8 | 1, &[]));
    assert_eq!(k.vms().count(), 4);
    assert!(k.done(EcallOp::Drop, 66, 0, &[]));
    assert_eq!(k.vms().count(), 1);
    // What is left of them names nothing.
    assert_eq!(k.call(69, &[], 0), DispatchResult::Continue);
    assert_eq!(k.reg(7), WHAT);
    // Their places are used again, by other VMs.
    assert_eq!(k.create(0, 66), 1);
    assert_eq!((k.create(0, 67), k.create(0, 68)), (2, 3));
    assert_eq!(k.call(69, &[], 0), DispatchResult::Continue);
    assert_eq!((k.reg(7), k.active()), (WHAT, 0));
    // Pages are not.
    assert_eq!(k.untyped(), (1, 8));
}

#[test]
fn a_handle_that_owns_a_vm_on_the_stack_stays() {
    let mut k = kernel(0);
    k.create(0, 66);
    k.create(0b10, 67);
    // 1 owns 2; the root can call 2, which can reach 1 through nothing, so the root tries while 2 has called back.
    assert!(k.done(EcallOp::Downgrade, 67, 68, &[]));
    assert!(k.done(EcallOp::Move, 67, 66 << 8 | 1, &[]));
    k.create(0, 69);
    assert!(k.done(EcallOp::Downgrade, 69, 66 << 16 | 1 << 8 | 5, &[]));
    assert!(k.done(EcallOp::Move, 66, 69 << 8 | 9, &[]));
    // 0 calls 2, which calls 3, which has the handle of 1.
    k.call(68, &[], 0);
    k.call(5, &[], 0);
    assert_eq!((k.active(), k.callers().len()), (3, 2));
    assert!(!k.done(EcallOp::Drop, 9, 0, &[]));
    assert_eq!(k.vms().count(), 4);
    // When 2 has replied it can be dropped.
    k.dispatch_ecalli(0);
    k.dispatch_ecalli(0);
    assert!(k.done(EcallOp::Drop, 69 << 8 | 9, 0, &[]));
    assert_eq!(k.vms().count(), 2);
}

#[test]
fn vms_that_own_each_other_go_at_once() {
    let mut k = kernel(0);
    k.create(0, 66);
    k.create(0, 67);
    assert!(k.done(EcallOp::Downgrade, 66, 70, &[]));
    // 1 owns 2 and itself.
    assert!(k.done(EcallOp::Move, 67, 66 << 8 | 1, &[]));
    assert!(k.done(EcallOp::Move, 66, 66 << 16 | 1 << 8 | 2, &[]));
    // Nobody reaches it but by calling it, and it then reaches itself no more.
    k.call(70, &[], 0);
    assert_eq!(k.active(), 1);
    assert!(!k.done(EcallOp::Drop, 1, 0, &[]), "2 owns 1, which runs");
    assert!(k.done(EcallOp::Move, 1 << 8 | 2, 3, &[]));
    assert!(!k.done(EcallOp::Drop, 3, 0, &[]), "its own handle");
    assert!(k.done(EcallOp::Drop, 1, 0, &[]));
    assert_eq!(k.vms().count(), 2);
}

#[test]
fn a_long_chain_of_owners_is_dropped() {
    let mut k = kernel(0);
    k.set_gas(u64::MAX);
    // Each new VM is put in front of the others: it gets the handle of the last one.
    k.create(0, 66);
    for _ in 0..30_000 {
        k.create(0, 67);
        assert!(k.done(EcallOp::Move, 66, 67 << 8 | 1, &[]));
        assert!(k.done(EcallOp::Move, 67, 66, &[]));
    }
    assert_eq!(k.vms().count(), 30_002);
    assert!(k.done(EcallOp::Drop, 66, 0, &[]));
    assert_eq!(k.vms().count(), 1);
}

#[test]
fn there_are_so_many_vms_and_no_more() {
    let mut k = kernel(0);
    k.set_gas(u64::MAX);
    for n in 1..MAX_VMS {
        assert_eq!(k.call(64, &[0], 66), DispatchResult::Continue);
        assert_eq!(k.reg(7) == WHAT, n != 1);
    }
    assert_eq!(k.vms().count(), MAX_VMS);
    assert_eq!(k.call(64, &[0], 67), DispatchResult::Continue);
    assert_eq!((k.reg(7), k.vms().count()), (WHAT, MAX_VMS));
    assert!(k.done(EcallOp::Drop, 66, 0, &[]));
    assert_eq!(k.create(0, 67), 1);
}

#[test]
fn a_drop_that_is_refused_costs_no_walk() {
    // The longest chain of owners; its last VM is called through a CALLABLE and asks for a drop of the first.
    let mut k = kernel(0);
    k.set_gas(u64::MAX);
    k.create(0, 66);
    assert!(k.done(EcallOp::Downgrade, 66, 70, &[]));
    k.create(0, 71);
    for _ in 0..20_000 {
        k.create(0, 67);
        assert!(k.done(EcallOp::Move, 66, 67 << 8 | 1, &[]));
        assert!(k.done(EcallOp::Move, 67, 66, &[]));
    }
    // A walk each time would be some 10^9 steps.
    for _ in 0..50_000 {
        k.call(70, &[], 66);
        assert!(!k.done(EcallOp::Drop, 0, 0, &[]), "it was passed the first one's handle, which owns it");
        k.dispatch_ecalli(0);
    }
    assert_eq!(k.cap(0, 66).map(|c| c.kind()), Some("HANDLE"));
    assert!(k.done(EcallOp::Drop, 66, 0, &[]));
    assert_eq!(k.vms().count(), 2);
}
