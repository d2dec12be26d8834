//! The names of the specification: programs written against them compile, and can match them whole.

use javm_invocation::{
    Cap, CapRef, CapTable, DispatchResult, EcallOp, EcalliOp, VmState, decode_ecall, decode_ecalli,
};

const fn of_ecall(op: EcallOp) -> u64 {
    match op {
        EcallOp::Call => 0x00,
        EcallOp::Map => 0x02,
        EcallOp::Unmap => 0x03,
        EcallOp::Split => 0x04,
        EcallOp::Drop => 0x05,
        EcallOp::Move => 0x06,
        EcallOp::Copy => 0x07,
        EcallOp::Downgrade => 0x0A,
        EcallOp::SetMaxGas => 0x0B,
        EcallOp::Dirty => 0x0C,
        EcallOp::Resume => 0x0D,
        EcallOp::Unknown => 0x01,
    }
}

const fn of_result(result: &DispatchResult) -> u64 {
    match result {
        DispatchResult::Continue | DispatchResult::RootPanic | DispatchResult::RootOutOfGas => 0,
        DispatchResult::ProtocolCall { slot, regs, gas } => *slot as u64 + regs[7] + *gas,
        DispatchResult::RootHalt(value) => *value,
        DispatchResult::RootPageFault(address) => *address as u64,
    }
}

const fn is_copied(cap: &Cap) -> bool {
    match cap {
        Cap::Untyped | Cap::Code(_) | Cap::Callable(_) | Cap::Protocol(_) => true,
        Cap::Data(_) | Cap::Handle(_) => false,
    }
}

const fn can_be_called(state: VmState) -> bool {
    match state {
        VmState::Idle => true,
        VmState::Running | VmState::WaitingForReply | VmState::Halted | VmState::Faulted => false,
    }
}

#[test]
fn names() {
    let EcalliOp::Call(CapRef(reference)) = decode_ecalli(0x4205);
    assert_eq!(reference, 0x4205);
    for op in EcallOp::ALL.iter().chain(&[EcallOp::Unknown]) {
        assert_eq!(decode_ecall(of_ecall(*op)), *op);
    }
    assert_eq!(of_result(&DispatchResult::ProtocolCall { slot: 3, regs: [1; 13], gas: 5 }), 9);
    assert_eq!(
        of_result(&DispatchResult::RootHalt(7)) + of_result(&DispatchResult::RootPageFault(4096)),
        4103
    );
    for cap in [Cap::Untyped, Cap::Code(1), Cap::Protocol(28)] {
        assert_eq!(is_copied(&cap), cap.is_copyable());
    }
    assert!(can_be_called(VmState::Idle) && !can_be_called(VmState::Faulted));
    assert_eq!(CapTable::new().iter().count(), 0);
}
