//! CALL, REPLY, RESUME and faults, called directly: gas, states, registers, the passed capability.

mod support;

use javm_abi::microkernel::{EcallOp, HUH, LOW, WHAT};
use javm_exec::{Access, Fault, memory::Extent};
use javm_invocation::{AccessError, Cap, DispatchResult, Invocation, NoProtocolCall, VmFault, VmState};
use support::{Ops, kernel};

const CONTINUE: DispatchResult = DispatchResult::Continue;

fn total_gas(k: &Invocation) -> u64 {
    // What a faulted VM shows, its caller has.
    k.vms().filter(|vm| vm.state() != VmState::Faulted).map(|vm| vm.gas()).sum()
}

#[test]
fn a_call_hands_over_four_registers_and_all_gas() {
    let mut k = kernel(0);
    k.create(0, 66);
    k.set(11, 0x1111);
    assert_eq!(k.call(66, &[1, 2, 3, 4, 5], 0), CONTINUE);
    assert_eq!((7..=12).map(|r| k.reg(r)).collect::<Vec<_>>(), [1, 2, 3, 4, 0, 0]);
    k.set(11, 0xAAAA);
    k.set(9, 0xBBBB);
    k.dispatch_ecalli(0);
    // The caller's other registers are its own, and so are the callee's at the next call.
    assert_eq!((7..=11).map(|r| k.reg(r)).collect::<Vec<_>>(), [1, 0, 3, 4, 5]);
    k.call(66, &[9, 8, 7, 6], 0);
    assert_eq!((7..=11).map(|r| k.reg(r)).collect::<Vec<_>>(), [9, 8, 7, 6, 0xAAAA]);
}

#[test]
fn only_idle_vms_are_called_and_only_faulted_ones_resumed() {
    let mut k = kernel(0);
    k.create(0, 66);
    assert!(!k.done(EcallOp::Resume, 66, 0, &[]));
    k.call(66, &[], 0);
    k.inject_fault(VmFault::Panic);
    assert_eq!(k.call(66, &[], 0), CONTINUE);
    assert_eq!((k.reg(7), k.active()), (WHAT, 0));
    // Not through a CALLABLE, not through a handle in another table.
    assert!(k.done(EcallOp::Downgrade, 66, 67, &[]));
    assert!(!k.done(EcallOp::Resume, 67, 0, &[]));
    k.create(0, 68);
    assert!(k.done(EcallOp::Move, 66, 68 << 8 | 1, &[]));
    assert!(!k.done(EcallOp::Resume, 68 << 8 | 1, 0, &[]));
    assert!(k.done(EcallOp::Move, 68 << 8 | 1, 66, &[]));
    let gas = k.gas();
    assert_eq!(k.op(EcallOp::Resume, 66, 0, &[]), CONTINUE);
    assert_eq!((k.active(), k.gas()), (1, gas - 20));
    k.set(7, 5);
    k.dispatch_ecalli(0);
    assert_eq!((k.reg(7), k.reg(8), k.gas()), (5, 0, gas - 30));
}

#[test]
fn faults_tell_what_and_give_back_gas() {
    let faults = [
        (VmFault::Trap, 77, 1),
        (VmFault::Panic, HUH, 2),
        (VmFault::OutOfGas, LOW, 3),
        (VmFault::PageFault(0xFFFF_F000), 0xFFFF_F000, 4),
    ];
    for (fault, detail, status) in faults {
        let mut k = kernel(0);
        k.create(0, 66);
        let gas = k.gas();
        k.call(66, &[77], 0);
        assert_eq!(k.inject_fault(fault), CONTINUE);
        assert_eq!((k.active(), k.reg(7), k.reg(8), k.gas()), (0, detail, status, gas - 20));
        assert_eq!(k.vm(1).unwrap().state(), VmState::Faulted);
    }
    assert_eq!((HUH, LOW), (u64::MAX - 8, u64::MAX - 7));
    let root = [
        (VmFault::Trap, DispatchResult::RootPanic),
        (VmFault::Panic, DispatchResult::RootPanic),
        (VmFault::OutOfGas, DispatchResult::RootOutOfGas),
        (VmFault::PageFault(4096), DispatchResult::RootPageFault(4096)),
    ];
    for (fault, result) in root {
        let mut k = kernel(0);
        assert_eq!(k.inject_fault(fault), result);
        assert_eq!((k.gas(), k.vm(0).unwrap().state()), (1_000_000, VmState::Running));
    }
}

#[test]
fn operations_that_cannot_be_paid_are_faults() {
    // Of the first VM.
    for gas in 0..10 {
        let mut k = kernel(8);
        k.set_gas(gas);
        for result in [k.dispatch_ecalli(0), k.dispatch_ecalli(5), k.dispatch_ecall(5), k.inject_halt()] {
            assert_eq!((result, k.gas()), (DispatchResult::RootOutOfGas, gas));
        }
    }
    // Of another: what is left goes back, the dispatch is spent.
    for (gas, op, left) in [(19, 0u64, 9), (9, 0, 9), (19, 13, 9), (1519, 254, 1509)] {
        let mut k = kernel(8);
        k.create(0, 66);
        k.create(0, 67);
        assert!(k.done(EcallOp::Move, 67, 66 << 8 | 67, &[]));
        assert!(k.done(EcallOp::Copy, 254, 66 << 8 | 254, &[]));
        if op == 13 {
            k.call(66, &[], 0);
            k.call(67, &[], 0);
            k.inject_fault(VmFault::Trap);
            k.dispatch_ecalli(0);
        }
        assert!(k.done(EcallOp::SetMaxGas, 66, 0, &[gas]));
        let before = k.gas();
        k.call(66, &[1], 0);
        match op {
            13 => k.op(EcallOp::Resume, 67, 0, &[]),
            254 => k.op(EcallOp::Call, 254, 70, &[1]),
            _ => k.call(67, &[], 0),
        };
        assert_eq!((k.active(), k.reg(7), k.reg(8)), (0, LOW, 3));
        assert_eq!(before - k.gas(), 20 + gas - left);
    }
}

#[test]
fn gas_is_neither_made_nor_lost() {
    let mut k = kernel(64);
    k.create(0b1110, 66);
    k.create(0, 67);
    assert!(k.done(EcallOp::Downgrade, 67, 66 << 8 | 9, &[]));
    assert!(k.done(EcallOp::SetMaxGas, 67, 0, &[777]));
    let mut gas = total_gas(&k);
    let mut spend = |k: &Invocation, price: u64| {
        assert_eq!(gas - total_gas(k), price);
        gas = total_gas(k);
    };
    k.call(66, &[], 0);
    spend(&k, 20);
    k.call(9, &[], 0);
    spend(&k, 20);
    k.inject_fault(VmFault::Trap);
    spend(&k, 0);
    k.call(2, &[], 0);
    spend(&k, 10);
    k.resume(1, 2).unwrap();
    assert_eq!((k.reg(7), k.reg(8), k.resume(0, 0)), (1, 2, Err(NoProtocolCall)));
    k.inject_halt();
    spend(&k, 10);
    k.op(EcallOp::Resume, 67, 0, &[]);
    spend(&k, 20);
    assert_eq!(k.gas(), 777);
    k.dispatch_ecalli(0);
    spend(&k, 10);
    assert_eq!(k.dispatch_ecalli(0), DispatchResult::RootHalt(777));
    spend(&k, 10);
}

#[test]
fn a_jump_to_the_halt_address_replies_and_starts_over() {
    let mut k = kernel(0);
    k.create(0, 66);
    k.call(66, &[], 0);
    k.regs_mut().pc = 3;
    k.set(7, 9);
    assert_eq!(k.inject_halt(), CONTINUE);
    assert_eq!((k.active(), k.reg(7), k.reg(8)), (0, 9, 0));
    let child = k.vm(1).unwrap();
    assert_eq!((child.state(), child.regs().pc, child.gas_charged()), (VmState::Idle, 0, false));
    // REPLY leaves it where it is.
    k.call(66, &[], 0);
    k.regs_mut().pc = 3;
    k.dispatch_ecalli(0);
    assert_eq!(k.vm(1).unwrap().regs().pc, 3);
}

#[test]
fn when_the_first_vm_has_replied_nothing_is_done() {
    let mut k = kernel(0);
    k.set(7, 5);
    assert_eq!(k.dispatch_ecalli(0), DispatchResult::RootHalt(5));
    assert_eq!(k.vm(0).unwrap().state(), VmState::Halted);
    let gas = k.gas();
    for result in [k.dispatch_ecalli(1), k.dispatch_ecall(0), k.inject_fault(VmFault::Trap), k.run()] {
        assert_eq!(result, DispatchResult::RootHalt(5));
    }
    assert_eq!((k.gas(), k.resume(0, 0)), (gas, Err(NoProtocolCall)));
}

#[test]
fn a_protocol_call_waits_for_its_answer() {
    let mut k = kernel(0);
    assert!(k.done(EcallOp::Move, 28, 100, &[]));
    let result = k.op(EcallOp::Call, 100, 0, &[1, 2, 3]);
    // The id, not the slot.
    let DispatchResult::ProtocolCall { slot: 28, regs, gas } = result else { panic!("{result:?}") };
    assert_eq!((&regs[7..10], gas), (&[1, 2, 3][..], k.gas()));
    assert_eq!(k.dispatch_ecalli(0), result);
    assert_eq!(k.run(), result);
    k.resume(8, 9).unwrap();
    assert_eq!((k.reg(7), k.reg(8), k.gas()), (8, 9, gas));
}

fn mapped(k: &Invocation, vm: u16, page: u32) -> Option<Access> {
    k.vm(vm).unwrap().space().access(page)
}

#[test]
fn a_passed_capability_goes_and_comes_back() {
    let mut k = kernel(16);
    k.create(0, 66);
    k.retype(3, 70);
    assert!(k.done(EcallOp::Map, 70, 0, &[0x20, 1, 1, 1]));
    k.write_memory(0, 0x2_1000, &[1, 2, 3]).unwrap();
    // The callee gets it unmapped, base and access as they were.
    k.call(66, &[], 70);
    let Some(Cap::Data(data)) = k.cap(1, 0) else { panic!("not passed") };
    assert_eq!((data.base_page, data.access, k.cap(0, 70)), (Some(0x20), Some(Access::ReadWrite), None));
    assert_eq!((mapped(&k, 0, 0x21), mapped(&k, 1, 0x21)), (None, None));
    assert!(!k.done(EcallOp::Map, 0, 0, &[0x30, 0, 1, 1]), "the base is fixed");
    assert!(k.done(EcallOp::Map, 0, 0, &[0x20, 0, 2, 1]));
    k.write_memory(1, 0x2_1001, &[9]).unwrap();
    k.dispatch_ecalli(0);
    // All of it is mapped again.
    assert_eq!([0x20, 0x21, 0x22].map(|p| mapped(&k, 0, p)), [Some(Access::ReadWrite); 3]);
    assert_eq!((k.cap(1, 0), mapped(&k, 1, 0x20)), (None, None));
    let mut bytes = [0; 3];
    k.read_memory(0, 0x2_1000, &mut bytes).unwrap();
    assert_eq!(bytes, [1, 9, 3]);
    let gone = k.read_memory(1, 0x2_1000, &mut bytes);
    assert_eq!(gone, Err(AccessError::Fault(Fault::Page(0x2_1000))));
}

#[test]
fn what_was_not_mapped_is_not_mapped_when_it_comes_back() {
    let mut k = kernel(16);
    k.create(0, 66);
    k.retype(2, 70);
    k.call(66, &[], 70);
    assert!(k.done(EcallOp::Map, 0, 0, &[0x20, 0, 2, 0]));
    k.dispatch_ecalli(0);
    let Some(Cap::Data(data)) = k.cap(0, 70) else { panic!("not back") };
    assert_eq!((data.base_page, data.access), (Some(0x20), Some(Access::ReadOnly)));
    assert_eq!((mapped(&k, 0, 0x20), mapped(&k, 1, 0x20)), (None, None));
    assert!(k.done(EcallOp::Map, 70, 0, &[0x20, 0, 2, 0]));
}

#[test]
fn another_capability_may_come_back() {
    let mut k = kernel(16);
    k.create(0, 66);
    k.retype(2, 70);
    k.retype(1, 71);
    assert!(k.done(EcallOp::Map, 70, 0, &[0x20, 0, 1, 1]));
    assert!(k.done(EcallOp::Map, 71, 0, &[0x21, 0, 1, 1]));
    // The second page is in the way of all of the first capability: it comes back unmapped.
    k.call(66, &[], 70);
    k.dispatch_ecalli(0);
    assert_eq!((mapped(&k, 0, 0x20), mapped(&k, 0, 0x21)), (None, Some(Access::ReadWrite)));
    // Another DATA is mapped as the passed one was.
    k.retype(1, 72);
    assert!(k.done(EcallOp::Move, 72, 66 << 8 | 5, &[]));
    assert!(k.done(EcallOp::Map, 70, 0, &[0x20, 0, 1, 1]));
    k.call(66, &[], 70);
    assert!(k.done(EcallOp::Move, 0, 6, &[]));
    assert!(k.done(EcallOp::Move, 5, 0, &[]));
    k.dispatch_ecalli(0);
    let Some(Cap::Data(data)) = k.cap(0, 70) else { panic!("nothing came back") };
    assert_eq!((data.backing, data.base_page), (Extent { first: 3, count: 1 }, Some(0x20)));
    assert_eq!(mapped(&k, 0, 0x20), Some(Access::ReadWrite));
    // Or nothing, or something else.
    k.call(66, &[], 70);
    k.done(EcallOp::Drop, 0, 0, &[]);
    k.dispatch_ecalli(0);
    assert_eq!(k.cap(0, 70), None);
    k.call(66, &[], 1);
    assert_eq!(k.cap(1, 0), Some(Cap::Protocol(1)));
    k.dispatch_ecalli(0);
    assert_eq!((k.cap(0, 1), k.vm(0).unwrap().table().is_original(1)), (Some(Cap::Protocol(1)), false));
}

#[test]
fn an_empty_slot_passes_nothing() {
    let mut k = kernel(16);
    k.create(0, 66);
    assert!(k.done(EcallOp::Copy, 5, 66 << 8, &[]));
    k.call(66, &[], 200);
    assert_eq!(k.callers().collect::<Vec<_>>(), [(0, None)]);
    k.dispatch_ecalli(0);
    // What is in slot 0 of the callee stays there.
    assert_eq!((k.cap(1, 0), k.cap(0, 200)), (Some(Cap::Protocol(5)), None));
}

#[test]
fn what_is_in_the_way_of_a_passed_capability_is_dropped() {
    let mut k = kernel(16);
    k.create(0, 66);
    k.retype(1, 70);
    k.create(0, 67);
    assert!(k.done(EcallOp::Move, 67, 66 << 8, &[]));
    assert_eq!(k.vms().count(), 3);
    k.call(66, &[], 70);
    assert_eq!((k.vms().count(), k.cap(1, 0).map(|c| c.kind())), (2, Some("DATA")));
    k.dispatch_ecalli(0);
    // Data that was mapped there is unmapped.
    k.retype(1, 71);
    assert!(k.done(EcallOp::Move, 71, 66 << 8, &[]));
    assert!(k.done(EcallOp::Map, 66 << 8, 0, &[0x40, 0, 1, 1]));
    assert_eq!(mapped(&k, 1, 0x40), Some(Access::ReadWrite));
    k.call(66, &[], 70);
    assert_eq!(mapped(&k, 1, 0x40), None);
}

#[test]
fn a_handle_in_the_way_that_cannot_be_dropped_fails_the_call() {
    let mut k = kernel(0);
    k.create(0, 66);
    assert!(k.done(EcallOp::Downgrade, 66, 70, &[]));
    // 1 has its own handle in its first slot.
    assert!(k.done(EcallOp::Move, 66, 66 << 8, &[]));
    let gas = k.gas();
    assert_eq!(k.call(70, &[7], 5), CONTINUE);
    assert_eq!((k.reg(7), k.active(), gas - k.gas()), (WHAT, 0, 10));
    assert_eq!(k.cap(0, 5), Some(Cap::Protocol(5)));
    k.call(70, &[7], 0);
    assert_eq!(k.active(), 1);
}

#[test]
fn a_faulted_callee_keeps_what_it_was_passed() {
    let mut k = kernel(16);
    k.create(0, 66);
    k.retype(1, 70);
    assert!(k.done(EcallOp::Map, 70, 0, &[0x20, 0, 1, 1]));
    k.call(66, &[], 70);
    k.inject_fault(VmFault::Trap);
    assert_eq!((k.cap(0, 70), k.cap(1, 0).map(|c| c.kind())), (None, Some("DATA")));
    k.op(EcallOp::Resume, 66, 0, &[]);
    k.dispatch_ecalli(0);
    assert_eq!(k.cap(0, 70), None);
    // The parent takes it back by itself.
    assert!(k.done(EcallOp::Move, 66 << 8, 70, &[]));
    assert!(k.done(EcallOp::Map, 70, 0, &[0x99, 0, 1, 1]), "its base is forgotten, its access is the same");
}

#[test]
fn a_vm_may_be_passed_its_own_handle() {
    let mut k = kernel(0);
    k.create(0, 66);
    k.call(66, &[], 66);
    assert_eq!((k.active(), k.cap(0, 66), k.cap(1, 0).map(|c| c.kind())), (1, None, Some("HANDLE")));
    k.dispatch_ecalli(0);
    assert_eq!(k.cap(0, 66).map(|c| c.kind()), Some("HANDLE"));
}
