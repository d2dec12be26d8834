//! What a step of an invocation did, in a line.
//!
//! It is read off what there is afterwards: who is active now, the call that the program counter is behind, the
//! registers that say what was asked.

use javm_abi::{
    microkernel::{CapRef, EcallOp, WHAT, decode_ecall},
    reg,
};
use javm_exec::Code;
use javm_invocation::{DispatchResult, Invocation, Vm, VmState};
use javm_isa::{Instruction, Op};

/// The line for a step of the VM in place `vm`.
pub(super) fn line(invocation: &Invocation, step: u64, vm: u16, result: &DispatchResult) -> String {
    let what = match (invocation.vm(vm), result) {
        (_, DispatchResult::RootHalt(value)) => format!("replies {value:#x}: the end"),
        (_, DispatchResult::RootPanic) => "panics: the end".to_owned(),
        (_, DispatchResult::RootOutOfGas) => "is out of gas: the end".to_owned(),
        (_, DispatchResult::RootPageFault(address)) => format!("has no page {address:#x}: the end"),
        (Some(this), DispatchResult::ProtocolCall { slot, .. }) => {
            format!("{}: asks protocol {slot}", asked(invocation, this))
        }
        (Some(this), DispatchResult::Continue) => went_on(invocation, vm, this),
        (None, _) => String::new(),
    };
    let front = format!("#{step:<5} VM {vm:<3} {what}");
    match result {
        DispatchResult::Continue | DispatchResult::ProtocolCall { .. } => {
            format!("{front}; VM {} goes on with {} gas", invocation.active(), invocation.gas())
        }
        _ => front,
    }
}

fn went_on(invocation: &Invocation, vm: u16, this: &Vm) -> String {
    let now = invocation.regs();
    match this.state() {
        VmState::Running => {
            let value = now.gpr[reg::A0];
            let outcome = if value == WHAT { "WHAT".to_owned() } else { format!("φ7 = {value:#x}") };
            format!("{}: {outcome}", asked(invocation, this))
        }
        VmState::WaitingForReply => format!("{}: VM {} runs", asked(invocation, this), invocation.active()),
        VmState::Idle => format!("replies {:#x}", now.gpr[reg::A0]),
        VmState::Faulted => {
            let why = match now.gpr[reg::A1] {
                1 => "traps".to_owned(),
                2 => "panics".to_owned(),
                3 => "is out of gas".to_owned(),
                _ => format!("has no page {:#x}", now.gpr[reg::A0]),
            };
            format!("{why} at {}", this.regs().pc)
        }
        VmState::Halted => format!("VM {vm} has ended"),
    }
}

/// What the call asks that a VM stands behind.
fn asked(invocation: &Invocation, vm: &Vm) -> String {
    let code = invocation.modules()[usize::from(vm.code())].code();
    let operands = vm.regs().gpr[reg::A5];
    let (subject, object) = (CapRef((operands >> 32) as u32), CapRef(operands as u32));
    match call_before(code, vm.regs().pc) {
        Some((pc, i)) if i.op == Op::Ecalli => format!("at {pc} calls {}", named(vm, CapRef(i.x as u32))),
        Some((pc, i)) if i.op == Op::Ecall => match decode_ecall(vm.regs().gpr[reg::A4]) {
            EcallOp::Call => format!("at {pc} calls {}, φ12 names {}", named(vm, subject), reference(object)),
            op if op.object() == "-" => format!("at {pc} {} {}", op.name(), named(vm, subject)),
            op => format!("at {pc} {} {}, {}", op.name(), named(vm, subject), reference(object)),
        },
        _ => format!("at {}", vm.regs().pc),
    }
}

/// The instruction that ends where a program counter is, if it calls the kernel.
fn call_before(code: &Code, pc: u64) -> Option<(u32, Instruction)> {
    let pc = u32::try_from(pc).ok()?;
    let before = (1..=25)
        .filter_map(|back| pc.checked_sub(back))
        .find(|at| code.is_instruction_start((*at).into()))?;
    let i = code.instruction(before)?;
    matches!(i.op, Op::Ecall | Op::Ecalli).then_some((before, i))
}

/// A reference: the slot, behind the handles on the way to it.
pub(crate) fn reference(reference: CapRef) -> String {
    let hops = reference.hops().into_iter().filter(|hop| *hop != 0);
    let way: String = hops.map(|hop| format!("{hop} → ")).collect();
    format!("slot {way}{}", reference.slot())
}

/// A reference, and what a slot of the VM's own holds.
fn named(vm: &Vm, at: CapRef) -> String {
    let cap = if at.hops() == [0; 3] { vm.table().get(at.slot()) } else { None };
    cap.map_or_else(|| reference(at), |cap| format!("{} ({cap})", reference(at)))
}
