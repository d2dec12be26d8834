//! The check values of the specification (Part D).

mod support;

use javm_abi::microkernel::{EcallOp, WHAT};
use javm_exec::memory::Extent;
use javm_invocation::{
    CallableCap, Cap, DataCap, DispatchResult, HandleCap, Invocation, InvocationError, VmId, VmState,
};
use support::{Item, Ops, engines, interpreter, kernel, manifest};

const VM1: VmId = VmId { index: 1, serial: 1 };

#[test]
fn an_empty_slot_is_what() {
    let mut k = kernel(0);
    assert_eq!(k.dispatch_ecalli(50), DispatchResult::Continue);
    assert_eq!(k.reg(7), WHAT);
    assert_eq!(k.reg(7), 0xFFFF_FFFF_FFFF_FFFE);
    assert_eq!(k.gas(), 1_000_000 - 10);
}

#[test]
fn retype_through_the_dynamic_call() {
    let mut k = kernel(10);
    k.set(7, 4);
    k.set(12, 66 + (254 << 32));
    assert_eq!(k.dispatch_ecall(0), DispatchResult::Continue);
    let backing = Extent { first: 0, count: 4 };
    assert_eq!(k.cap(0, 66), Some(Cap::Data(DataCap { backing, base_page: None, access: None })));
    assert_eq!(k.reg(7), 66);
    assert_eq!(k.gas(), 1_000_000 - (10 + 10 + 6000));
    assert_eq!(k.untyped(), (4, 10));
}

#[test]
fn create() {
    let mut k = kernel(0);
    assert_eq!(k.call(64, &[0], 66), DispatchResult::Continue);
    assert_eq!(k.vm(1).map(|vm| vm.state()), Some(VmState::Idle));
    assert_eq!(k.cap(0, 66), Some(Cap::Handle(HandleCap { vm: VM1, max_gas: None })));
    assert_eq!((k.reg(7), k.gas()), (66, 1_000_000 - 10));
}

#[test]
fn a_ceiling_bounds_what_a_call_hands_over() {
    let mut k = kernel(0);
    k.create(0, 66);
    assert!(k.done(EcallOp::SetMaxGas, 66, 0, &[5000]));
    let gas = k.gas();
    assert_eq!(k.call(66, &[], 0), DispatchResult::Continue);
    assert_eq!((k.active(), k.gas()), (1, 5000));
    assert_eq!(k.vm(0).map(|vm| vm.gas()), Some(gas - (10 + 10 + 5000)));
}

#[test]
fn a_reply() {
    let mut k = kernel(0);
    k.create(0, 66);
    k.call(66, &[1, 2, 3, 4], 0);
    assert_eq!((7..=10).map(|r| k.reg(r)).collect::<Vec<_>>(), [1, 2, 3, 4]);
    assert_eq!(k.vm(0).map(|vm| vm.state()), Some(VmState::WaitingForReply));
    k.set(7, 100);
    k.set(8, 200);
    assert_eq!(k.dispatch_ecalli(0), DispatchResult::Continue);
    assert_eq!((k.reg(7), k.reg(8)), (100, 0));
    let states: Vec<_> = k.vms().map(|vm| vm.state()).collect();
    assert_eq!(states, [VmState::Running, VmState::Idle]);
    assert_eq!(k.vm(1).map(|vm| vm.gas()), Some(0));
    // CREATE, CALL and its overhead, REPLY.
    assert_eq!(k.gas(), 1_000_000 - 10 - 20 - 10);
}

#[test]
fn nested_calls() {
    let mut k = kernel(0);
    k.create(0, 66);
    k.create(0, 67);
    // VM 1 gets the handle of VM 2.
    assert!(k.done(EcallOp::Move, 67, 66 << 8 | 5, &[]));
    k.call(66, &[], 0);
    k.call(5, &[], 0);
    assert_eq!((k.active(), k.callers().len()), (2, 2));
    k.set(7, 99);
    k.dispatch_ecalli(0);
    assert_eq!((k.active(), k.reg(7), k.reg(8)), (1, 99, 0));
    k.set(7, 77);
    k.dispatch_ecalli(0);
    assert_eq!((k.active(), k.reg(7), k.reg(8)), (0, 77, 0));
}

#[test]
fn downgrade() {
    let mut k = kernel(0);
    k.create(0, 66);
    k.set(12, 67 + (66 << 32));
    assert_eq!(k.dispatch_ecall(0x0A), DispatchResult::Continue);
    assert_eq!(k.cap(0, 67), Some(Cap::Callable(CallableCap { vm: VM1, max_gas: None })));
    assert_eq!(k.cap(0, 66), Some(Cap::Handle(HandleCap { vm: VM1, max_gas: None })));
}

#[test]
fn create_with_a_mask() {
    let mut k = kernel(0);
    k.create(0b110, 66);
    assert_eq!([1, 2, 3].map(|slot| k.cap(1, slot)), [Some(Cap::Protocol(1)), Some(Cap::Protocol(2)), None]);
    // Copies are not original.
    assert!(k.vm(0).is_some_and(|vm| vm.table().is_original(1)));
    assert!(k.vm(1).is_some_and(|vm| !vm.table().is_original(1)));
}

#[test]
fn initial_pages_are_charged() {
    let blob = manifest(10, 64, &[Item::Code(64, "ecalli 0"), Item::Data(65, 0, 1, true, vec![])]);
    let k = Invocation::new(&interpreter(), &blob, &[], 5000).unwrap();
    assert_eq!(k.gas(), 3500);
    assert_eq!(
        Invocation::new(&interpreter(), &blob, &[], 1499).unwrap_err(),
        InvocationError::OutOfGas { price: 1500, gas: 1499 }
    );
}

#[test]
fn a_root_that_traps() {
    for engine in engines() {
        let mut k = Invocation::new(&engine, &manifest(0, 64, &[Item::Code(64, "trap")]), &[], 1000).unwrap();
        assert_eq!(k.run(), DispatchResult::RootPanic);
        assert_eq!(k.vm(0).map(|vm| vm.state()), Some(VmState::Running));
    }
}

#[test]
fn an_unmapped_load_of_a_child() {
    let root = "load_imm a0, 0\n load_imm a5, 66\n ecalli 65\n load_imm a5, 0\n ecalli 66\n ecalli 3
        load_imm a4, 13\n load_imm_64 a5, 0x4200000000\n ecall\n ecalli 3\n ecalli 0";
    let child = "load_imm a0, 0x500123\n load_ind_u8 a0, a0, 0\n ecalli 0";
    for engine in engines() {
        let blob = manifest(10, 64, &[Item::Code(64, root), Item::Code(65, child)]);
        let mut k = Invocation::new(&engine, &blob, &[], 100_000).unwrap();
        for _ in 0..2 {
            // The same again after RESUME.
            assert!(matches!(k.run(), DispatchResult::ProtocolCall { slot: 3, .. }));
            assert_eq!((k.active(), k.reg(7), k.reg(8)), (0, 0x0050_0000, 4));
            assert_eq!(k.vm(1).map(|vm| vm.state()), Some(VmState::Faulted));
            k.resume(0, 0).unwrap();
        }
        assert_eq!(k.run(), DispatchResult::RootHalt(0));
        assert_eq!(k.vm(0).map(|vm| vm.state()), Some(VmState::Halted));
        assert_eq!(k.run(), DispatchResult::RootHalt(0));
    }
}
