//! Entering a program, answering its host calls, resolving its faults.

use javm_isa::{Code, Op};
use javm_sys::{Session, frame::KIND_FAULT};

use super::{
    bulk::Bulk,
    exits::kind,
    program::{Program, Region, Resumption},
    publish,
};
use crate::{EcallHandler, EcallResult, ExitReason, Fault, Regs, interp::Machine, memory::NativeMemory};

/// What the low bits of [`KIND_FAULT`] are.
const FAULT: u32 = KIND_FAULT % (1 << kind::BITS);

/// Runs until something ends it. `None` when it has to go on with the interpreter, from where the machine then
/// stands: the memory can no longer be run on natively, or the code at hand cannot be compiled.
///
/// Where a host call ends the run, `resumption` is set to what is behind it; it saves looking for that.
pub(crate) fn run<M: NativeMemory, H: EcallHandler>(
    program: &Program,
    code: &Code,
    machine: Machine<'_>,
    memory: &mut M,
    handler: &mut H,
    (session, resumption): (&Session, &mut Resumption),
) -> Option<ExitReason> {
    let Machine { regs, gas: counter, gas_charged } = machine;
    memory.view()?;
    // Entering anywhere but at an instruction panics, and costs nothing; the end of the code is an
    // instruction in this respect.
    let Ok(pc) = u32::try_from(regs.pc) else { return Some(ExitReason::Panic) };
    if pc == code.len() {
        if !*gas_charged && !counter.charge(u64::from(program.end_cost())) {
            return Some(ExitReason::OutOfGas);
        }
        *gas_charged = true;
        return Some(ExitReason::Panic);
    }
    if !code.is_instruction_start(u64::from(pc)) {
        return Some(ExitReason::Panic);
    }
    let mut entry = match program.resume(*resumption, pc).filter(|_| *gas_charged) {
        Some(entry) => entry,
        None => {
            let (entry, cost) = program.entry(code, pc)?;
            if !*gas_charged {
                if !counter.charge(u64::from(cost)) {
                    return Some(ExitReason::OutOfGas);
                }
                *gas_charged = true;
            }
            entry
        }
    };
    // The region of the last host call: mostly the next one is in it too.
    let mut here: Option<(u32, &Region)> = None;
    // Where a round was that faulted last, with the registers.
    let mut touched_at = None;
    // Whether the program counter stands at the head of a loop whose next turn is not paid.
    let mut at_head = false;
    let reason = loop {
        let Some(view) = memory.view() else {
            // The program counter was set when the instruction before was dealt with.
            *gas_charged = !at_head;
            return None;
        };
        at_head = false;
        let exit = publish::enter(session, entry, view, program.table(), (&mut regs.gpr, counter.in_place()));
        match exit.kind % (1 << kind::BITS) {
            kind::ECALL => {
                let (number, site) = (exit.kind >> kind::BITS, exit.argument);
                let (_, region) = match here {
                    Some(here) if here.0 == number => here,
                    _ => *here.insert((number, program.compiled(number)?)),
                };
                let (pc, kind, next) = region.site(site)?;
                regs.pc = u64::from(pc);
                let result = handler.ecall(kind, regs, memory, counter);
                regs.pc = u64::from(pc);
                if let EcallResult::Exit(reason) = result {
                    *resumption = program.behind(number, site, code.next_pc(pc));
                    break reason;
                }
                entry = next;
                if !memory.is_native() {
                    regs.pc = u64::from(code.next_pc(pc));
                }
            }
            FAULT => {
                let address = entry.code.base().wrapping_add(exit.argument);
                if let Some((head, rounds, first)) = program.round_at(address) {
                    // Tried again when the pages are there, unless that was just done.
                    let here = Some((head, regs.gpr));
                    let touched = here != touched_at
                        && Bulk::at(code, head).is_some_and(|bulk| bulk.touch(regs, memory).is_some());
                    touched_at = here;
                    entry = if touched { rounds } else { first };
                    regs.pc = u64::from(head);
                    at_head = true;
                    continue;
                }
                let (pc, next) = program.instruction_at(code, address)?;
                regs.pc = u64::from(pc);
                if let Err(fault) = access(code, pc, regs, memory) {
                    break match fault {
                        Fault::Panic => ExitReason::Panic,
                        Fault::Page(address) => ExitReason::PageFault(address),
                    };
                }
                entry = next;
                regs.pc = u64::from(code.next_pc(pc));
            }
            kind::NO_BLOCK | kind::NO_TARGET => {
                let (pc, found) = match exit.kind {
                    kind::NO_BLOCK => (exit.argument as u32, program.block(code, exit.argument as u32)),
                    _ => program.target(code, destination(code, regs, exit.argument)?)?,
                };
                let Some(found) = found else {
                    regs.pc = u64::from(pc);
                    *gas_charged = false;
                    return None;
                };
                entry = found;
            }
            kind::OUT_OF_GAS => {
                let (pc, cost) = program.unpaid_block(code, exit.argument)?;
                regs.pc = u64::from(pc);
                counter.set(counter.remaining().wrapping_add(u64::from(cost)));
                *gas_charged = false;
                break ExitReason::OutOfGas;
            }
            kind => {
                regs.pc = exit.argument;
                break match kind {
                    kind::TRAP => ExitReason::Trap,
                    kind::HALT => ExitReason::Halt,
                    _ => ExitReason::Panic,
                };
            }
        }
    };
    Some(reason)
}

/// The address that the indirect jump goes to which [`kind::NO_TARGET`] tells about.
fn destination(code: &Code, regs: &Regs, argument: u64) -> Option<u32> {
    let i = code.instruction(argument as u32)?;
    match i.op {
        Op::LoadImmJumpInd if i.a == i.b => Some((argument >> 32) as u32),
        Op::LoadImmJumpInd => Some((regs.get(i.b) as u32).wrapping_add(i.y as u32)),
        _ => Some((regs.get(i.a) as u32).wrapping_add(i.x as u32)),
    }
}

/// Does the memory access of the instruction at `pc`, page by page and with every check.
///
/// A fault of emitted code comes here whatever its cause: a page that the guest may not access, one that has
/// no contents yet, or an access that wraps around the end of the address space.
fn access(code: &Code, pc: u32, regs: &mut Regs, memory: &mut impl NativeMemory) -> Result<(), Fault> {
    // Only instructions with a memory access fault; emitted code has no others that could.
    let Some(i) = code.instruction(pc) else { return Err(Fault::Panic) };
    let direct = i.x as u32;
    let indirect = (regs.get(i.b) as u32).wrapping_add(i.x as u32);
    let of_a = (regs.get(i.a) as u32).wrapping_add(i.x as u32);
    macro_rules! load {
        ($address:expr, $t:ty) => {{
            let v = <$t>::from_le_bytes(memory.load($address)?);
            regs.set(i.a, v as i64 as u64);
            Ok(())
        }};
    }
    macro_rules! store {
        ($address:expr, $v:expr, $t:ty) => {
            memory.store($address, ($v as $t).to_le_bytes())
        };
    }
    match i.op {
        Op::LoadU8 => load!(direct, u8),
        Op::LoadI8 => load!(direct, i8),
        Op::LoadU16 => load!(direct, u16),
        Op::LoadI16 => load!(direct, i16),
        Op::LoadU32 => load!(direct, u32),
        Op::LoadI32 => load!(direct, i32),
        Op::LoadU64 => load!(direct, u64),
        Op::LoadIndU8 => load!(indirect, u8),
        Op::LoadIndI8 => load!(indirect, i8),
        Op::LoadIndU16 => load!(indirect, u16),
        Op::LoadIndI16 => load!(indirect, i16),
        Op::LoadIndU32 => load!(indirect, u32),
        Op::LoadIndI32 => load!(indirect, i32),
        Op::LoadIndU64 => load!(indirect, u64),
        Op::StoreU8 => store!(direct, regs.get(i.a), u8),
        Op::StoreU16 => store!(direct, regs.get(i.a), u16),
        Op::StoreU32 => store!(direct, regs.get(i.a), u32),
        Op::StoreU64 => store!(direct, regs.get(i.a), u64),
        Op::StoreIndU8 => store!(indirect, regs.get(i.a), u8),
        Op::StoreIndU16 => store!(indirect, regs.get(i.a), u16),
        Op::StoreIndU32 => store!(indirect, regs.get(i.a), u32),
        Op::StoreIndU64 => store!(indirect, regs.get(i.a), u64),
        Op::StoreImmU8 => store!(direct, i.y, u8),
        Op::StoreImmU16 => store!(direct, i.y, u16),
        Op::StoreImmU32 => store!(direct, i.y, u32),
        Op::StoreImmU64 => store!(direct, i.y, u64),
        Op::StoreImmIndU8 => store!(of_a, i.y, u8),
        Op::StoreImmIndU16 => store!(of_a, i.y, u16),
        Op::StoreImmIndU32 => store!(of_a, i.y, u32),
        Op::StoreImmIndU64 => store!(of_a, i.y, u64),
        _ => Err(Fault::Panic),
    }
}
