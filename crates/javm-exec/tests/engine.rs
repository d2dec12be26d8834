//! What is around single instructions: charging blocks, entering and resuming, host calls, jumps.
//!
//! Source: Gray Paper 0.8 appendix A; gas rules in A.2 there. Costs are those of the pipeline model.

use javm_exec::{
    Access, Config, EcallHandler, EcallKind, EcallResult, Engine, ExitOnEcall, ExitReason, GasCounter,
    GasModel, HALT_ADDRESS, Instance, Mem, Module, Reg, Regs, Step,
};
use javm_isa::{Code, Instruction, Op};
use javm_testkit::builder::{Builder, code, instr};

fn trap() -> Instruction {
    Instruction::new(Op::Trap)
}

fn machine(code: Code, gas: u64) -> Instance {
    let mut instance = Instance::new(&Module::new(&Engine::default(), code));
    instance.gas = GasCounter::new(gas);
    instance
}

/// Exit, pc, gas left and flag after a run.
fn run(instance: &mut Instance) -> (ExitReason, u64, u64, bool) {
    let exit = instance.run(&mut ExitOnEcall);
    (exit, instance.regs.pc, instance.gas.remaining(), instance.gas_charged)
}

#[test]
fn a_host_call_keeps_its_block_paid() {
    // A block of 100 cycles for the call; then one of 2.
    let mut m = machine(code(&[instr(Op::Ecalli, &[7]), instr(Op::Fallthrough, &[]), trap()]), 102);
    assert_eq!(run(&mut m), (ExitReason::HostCall(7), 0, 2, true));
    // Asked again it is the same call, for nothing.
    assert_eq!(run(&mut m), (ExitReason::HostCall(7), 0, 2, true));
    m.skip_ecall();
    assert_eq!(run(&mut m), (ExitReason::Trap, 3, 0, true));
}

#[test]
fn a_page_fault_keeps_its_block_paid() {
    let program = code(&[instr(Op::LoadU8, &[7, 0x2_0000]), instr(Op::StoreU8, &[7, 0x2_1000]), trap()]);
    let mut m = machine(program, 50);
    let (exit, pc, left, charged) = run(&mut m);
    assert_eq!((exit, pc, charged), (ExitReason::PageFault(0x2_0000), 0, true));
    assert_eq!(run(&mut m), (exit, pc, left, charged));
    m.memory.map(0x20, 2, Access::ReadOnly, None).unwrap();
    let (exit, store, ..) = run(&mut m);
    assert_eq!((exit, m.gas.remaining()), (ExitReason::PageFault(0x2_1000), left));
    m.memory.protect(0x21, 1, Access::ReadWrite).unwrap();
    let (exit, pc, ..) = run(&mut m);
    assert_eq!((exit, m.gas.remaining()), (ExitReason::Trap, left));
    assert!(pc > store);
}

#[test]
fn a_block_that_cannot_be_paid_is_not_begun() {
    let program = || code(&[instr(Op::LoadImm, &[7, 1]), instr(Op::DivU64, &[7, 7, 8]), trap()]);
    let cost = u64::from(javm_gas::block_cost(&program(), GasModel::Pipeline, 0));
    let mut m = machine(program(), cost - 1);
    for _ in 0..2 {
        assert_eq!(run(&mut m), (ExitReason::OutOfGas, 0, cost - 1, false));
        assert_eq!(m.regs, Regs::default());
    }
    m.gas.add(1);
    assert_eq!(run(&mut m), (ExitReason::Trap, 6, 0, true));
    // In the second block the first is paid.
    let mut m = machine(code(&[instr(Op::Fallthrough, &[]), trap()]), 3);
    assert_eq!(run(&mut m), (ExitReason::OutOfGas, 1, 1, false));
    assert_eq!(m.step(&mut ExitOnEcall), Some(ExitReason::OutOfGas));
    assert_eq!((m.regs.pc, m.gas.remaining(), m.gas_charged), (1, 1, false));
}

#[test]
fn entering_a_block_in_the_middle_pays_for_all_of_it() {
    let program = || code(&[instr(Op::DivU64, &[7, 7, 8]), instr(Op::LoadImm, &[7, 1]), trap()]);
    let mut m = machine(program(), 1_000);
    m.regs.pc = 3;
    assert_eq!(run(&mut m), (ExitReason::Trap, 6, 1_000 - 60, true));
    // Unless the flag says that it is paid.
    let mut m = machine(program(), 0);
    m.regs.pc = 3;
    m.gas_charged = true;
    assert_eq!(run(&mut m), (ExitReason::Trap, 6, 0, true));
}

#[test]
fn the_flag_falls_between_blocks_while_stepping() {
    let program = code(&[instr(Op::LoadImm, &[7, 1]), instr(Op::Jump, &[5]), trap()]);
    let mut m = machine(program, 100);
    let mut seen = Vec::new();
    while m.step(&mut ExitOnEcall).is_none() {
        seen.push((m.regs.pc, m.gas.remaining(), m.gas_charged));
    }
    assert_eq!(seen, [(3, 85, true), (5, 85, false)]);
    assert_eq!((m.regs.pc, m.gas.remaining(), m.gas_charged), (5, 83, true));
}

#[test]
fn entering_anywhere_but_at_an_instruction_panics_for_free() {
    let program = || code(&[instr(Op::LoadImm, &[7, 1]), trap()]);
    let len = u64::from(program().len());
    for pc in [1, 2, len, len + 1, 1 << 31, u64::from(u32::MAX), 1 << 32, u64::MAX] {
        let mut m = machine(program(), 10);
        m.regs.pc = pc;
        assert_eq!(m.step(&mut ExitOnEcall), Some(ExitReason::Panic), "{pc}");
        let (exit, at, gas, _) = run(&mut m);
        assert_eq!((exit, at, gas, m.regs.gpr), (ExitReason::Panic, pc, 10, [0; 13]));
    }
}

#[test]
fn running_off_the_end_panics_there() {
    // Out of the middle of a block, whose cost includes the trap that would stand there.
    let straight = || code(&[instr(Op::LoadImm, &[7, 1])]);
    let mut m = machine(straight(), 10);
    assert_eq!(run(&mut m), (ExitReason::Panic, 3, 8, true));
    // Out of a block that ended: there is no further block, so nothing more to pay.
    for last in [instr(Op::Fallthrough, &[]), instr(Op::BranchNe, &[7, 7, 0])] {
        let program = code(&[last]);
        let (end, cost) = (program.len(), javm_gas::block_cost(&program, GasModel::Pipeline, 0));
        let mut m = machine(program, u64::from(cost));
        let (exit, pc, gas, _) = run(&mut m);
        assert_eq!((exit, pc, gas), (ExitReason::Panic, end.into(), 0), "{last}");
    }
    // Behind a host call that was answered.
    let mut m = machine(code(&[instr(Op::Ecalli, &[0])]), 1_000);
    assert_eq!(run(&mut m).0, ExitReason::HostCall(0));
    m.skip_ecall();
    let (exit, pc, ..) = run(&mut m);
    assert_eq!((exit, pc), (ExitReason::Panic, 1));
}

#[test]
fn counting_instructions_a_trap_stands_behind_the_end() {
    let engine = Engine::new(Config::new().gas_model(GasModel::PerInstruction)).unwrap();
    let fallthrough = || code(&[instr(Op::Fallthrough, &[])]);
    for (gas, exit, left) in [(2, ExitReason::Panic, 0), (1, ExitReason::OutOfGas, 0)] {
        let mut m = Instance::new(&Module::new(&engine, fallthrough()));
        m.gas = GasCounter::new(gas);
        assert_eq!(m.run(&mut ExitOnEcall), exit);
        assert_eq!((m.regs.pc, m.gas.remaining()), (1, left));
    }
}

/// Doubles A0, notes what it saw, and misbehaves: what it does to the program counter must not matter.
struct Doubler {
    seen: Vec<(EcallKind, u64, u64)>,
    end: Option<ExitReason>,
    price: u64,
}

impl EcallHandler for Doubler {
    fn ecall(
        &mut self,
        kind: EcallKind,
        regs: &mut Regs,
        mem: &mut dyn Mem,
        gas: &mut GasCounter,
    ) -> EcallResult {
        self.seen.push((kind, regs.pc, gas.remaining()));
        if !gas.charge(self.price) {
            return EcallResult::Exit(ExitReason::OutOfGas);
        }
        if let Some(reason) = self.end {
            return EcallResult::Exit(reason);
        }
        regs.set(Reg::A0, regs.get(Reg::A0) * 2);
        mem.write(0x2_0000, &[regs.get(Reg::A0) as u8]).unwrap();
        regs.pc = 12_345;
        EcallResult::Continue
    }
}

fn calling() -> Code {
    code(&[
        instr(Op::LoadImm, &[7, 3]),
        instr(Op::Ecalli, &[-2]),
        instr(Op::Ecall, &[]),
        instr(Op::LoadU8, &[8, 0x2_0000]),
        trap(),
    ])
}

#[test]
fn a_handler_answers_and_the_guest_goes_on() {
    for stepping in [false, true] {
        let mut m = machine(calling(), 1_000);
        m.memory.map(0x20, 1, Access::ReadWrite, None).unwrap();
        let mut handler = Doubler { seen: Vec::new(), end: None, price: 5 };
        let exit = if stepping {
            std::iter::from_fn(|| Some(m.step(&mut handler))).flatten().next().unwrap()
        } else {
            m.run(&mut handler)
        };
        assert_eq!((exit, m.regs.pc), (ExitReason::Trap, 11));
        assert_eq!((m.regs.get(Reg::A0), m.regs.get(Reg::A1)), (12, 12));
        let paid = handler.seen[0].2;
        assert_eq!(
            handler.seen,
            [(EcallKind::Ecalli(-2i32 as u32), 3, paid), (EcallKind::Ecall, 5, paid - 5)]
        );
        assert_eq!(m.gas.remaining(), paid - 10);
    }
}

#[test]
fn a_handler_ends_the_run_at_the_call() {
    for reason in [ExitReason::Halt, ExitReason::Trap, ExitReason::Panic, ExitReason::PageFault(0x5000)] {
        let mut m = machine(calling(), 1_000);
        let mut handler = Doubler { seen: Vec::new(), end: Some(reason), price: 0 };
        assert_eq!(m.run(&mut handler), reason);
        assert_eq!((m.regs.pc, m.regs.get(Reg::A0), m.gas_charged), (3, 3, true));
    }
}

#[test]
fn a_call_that_cannot_be_paid_is_asked_again() {
    let mut m = machine(calling(), 300);
    m.memory.map(0x20, 1, Access::ReadWrite, None).unwrap();
    let mut handler = Doubler { seen: Vec::new(), end: None, price: 1_000 };
    assert_eq!(m.run(&mut handler), ExitReason::OutOfGas);
    let left = m.gas.remaining();
    assert_eq!((m.regs.pc, m.gas_charged, m.regs.get(Reg::A0)), (3, true, 3));
    m.gas.add(2_000);
    assert_eq!(m.run(&mut handler), ExitReason::Trap);
    assert_eq!((m.regs.get(Reg::A0), m.gas.remaining()), (12, left));
    assert_eq!(handler.seen.len(), 3);
}

/// A program that jumps to A0 + `offset`; the table's entries are a block, the middle of an instruction, the
/// code's end, and far away.
fn jumping(offset: i64, link: bool) -> Instance {
    let mut b = Builder::new();
    if link {
        b.push(&instr(Op::LoadImmJumpInd, &[7, 7, 99, offset]));
    } else {
        b.push(&instr(Op::JumpInd, &[7, offset]));
    }
    let target = b.here();
    b.push(&instr(Op::LoadImm, &[8, 1]));
    b.table_entry(target);
    let middle = b.pc() - 1;
    b.push(&trap());
    for entry in [middle, b.pc(), u32::MAX] {
        b.table_offset(entry);
    }
    machine(b.code().unwrap(), 1_000)
}

#[test]
fn dynamic_jumps_go_through_the_table_or_nowhere() {
    for link in [false, true] {
        for (address, good) in [
            (0u32, false),
            (1, false),
            (2, true),
            (3, false),
            (4, false),
            (6, false),
            (8, false),
            (10, false),
            (u32::MAX, false),
            (0xFFFF_FFFE, false),
            (HALT_ADDRESS + 1, false),
        ] {
            for offset in [0, 1, -1, i64::from(i32::MIN)] {
                let mut m = jumping(offset, link);
                // Only the low half of the sum counts.
                let base = u64::from(address).wrapping_sub(offset as u64) ^ 0xABCD << 40;
                m.regs.set(Reg::A0, base);
                let (exit, pc, gas, _) = run(&mut m);
                let expected = if good { ExitReason::Trap } else { ExitReason::Panic };
                assert_eq!(exit, expected, "address {address:#x}");
                assert_eq!(pc == 0, !good);
                assert_eq!(m.regs.get(Reg::A1), u64::from(good));
                assert_eq!(m.regs.get(Reg::A0), if link { 99 } else { base });
                assert_eq!(gas, 1_000 - 22 - if good { 2 } else { 0 });
            }
        }
        let mut m = jumping(5, link);
        m.regs.set(Reg::A0, u64::from(HALT_ADDRESS) - 5 + (7 << 32));
        assert_eq!(run(&mut m), (ExitReason::Halt, 0, 978, true));
    }
}

#[test]
fn a_long_table_is_used_to_its_last_entry() {
    let mut b = Builder::new();
    b.push(&instr(Op::JumpInd, &[7, 0]));
    let target = b.here();
    b.push(&trap());
    (0..70_000).for_each(|_| assert!(b.table_entry(target) > 0));
    let program = b.code().unwrap();
    for (address, exit, pc) in [
        (140_000, ExitReason::Trap, 2),
        (140_002, ExitReason::Panic, 0),
        (u64::from(HALT_ADDRESS), ExitReason::Halt, 0),
    ] {
        let mut m = machine(program.clone(), 100);
        m.regs.set(Reg::A0, address);
        let (found, at, ..) = run(&mut m);
        assert_eq!((found, at), (exit, pc));
    }
}

#[test]
fn static_jumps_land_where_blocks_start() {
    // Offsets 0: jump, 5: fallthrough, 6: load_imm, 9: trap.
    for (op, operands) in [
        (Op::Jump, vec![]),
        (Op::LoadImmJump, vec![8, 1]),
        (Op::BranchEq, vec![7, 7]),
        (Op::BranchEqImm, vec![7, 0]),
    ] {
        let program = |target: i64| {
            let mut operands = operands.clone();
            operands.push(target);
            let mut b = Builder::new();
            let mut bytes = javm_testkit::spell::plain(&instr(op, &operands));
            let (at, width) = bytes.offset.unwrap();
            bytes.bytes[at..at + width].copy_from_slice(&(target as i32).to_le_bytes());
            b.spelled(&bytes, None);
            let next = b.pc();
            b.push(&instr(Op::Fallthrough, &[]));
            b.push(&instr(Op::LoadImm, &[9, 1]));
            b.push(&trap());
            (b.code().unwrap(), i64::from(next))
        };
        let (_, next) = program(0);
        for (target, lands) in [
            (next, true),
            (next + 1, true),
            (1, false),
            (next + 2, false),
            (next + 4, false),
            (next + 5, false),
            (-1, false),
            (i64::from(i32::MIN), false),
            (i64::from(i32::MAX), false),
        ] {
            let (code, _) = program(target);
            let mut m = machine(code, 1_000);
            let (exit, pc, ..) = run(&mut m);
            let expected = if lands { (ExitReason::Trap, next as u64 + 4) } else { (ExitReason::Panic, 0) };
            assert_eq!((exit, pc), expected, "{op} to {target}");
            assert_eq!(m.regs.get(Reg::A1), u64::from(op == Op::LoadImmJump));
        }
        // To itself, until the gas is gone.
        let (code, _) = program(0);
        let (exit, pc, ..) = run(&mut machine(code, 1_000));
        assert_eq!((exit, pc), (ExitReason::OutOfGas, 0), "{op} to itself");
    }
}

#[test]
fn a_trace_shows_every_instruction_before_it_runs() {
    let mut m = machine(calling(), 1_000);
    m.memory.map(0x20, 1, Access::ReadWrite, None).unwrap();
    let mut handler = Doubler { seen: Vec::new(), end: None, price: 0 };
    let mut seen = Vec::new();
    let exit = m.run_traced(&mut handler, &mut |step: &Step<'_>| {
        seen.push((step.pc, step.instruction.to_string(), step.regs.get(Reg::A0)));
    });
    assert_eq!(exit, ExitReason::Trap);
    let expected = [
        (0, "load_imm a0, 3", 0),
        (3, "ecalli -2", 3),
        (5, "ecall", 6),
        (6, "load_u8 a1, 0x20000", 12),
        (11, "trap", 12),
    ];
    assert!(seen.iter().map(|(pc, text, a0)| (*pc, text.as_str(), *a0)).eq(expected), "{seen:?}");
}

#[test]
fn exit_reasons_have_words() {
    let words = [
        (ExitReason::Halt, "halt"),
        (ExitReason::Trap, "trap"),
        (ExitReason::Panic, "panic"),
        (ExitReason::OutOfGas, "out of gas"),
        (ExitReason::PageFault(0x2_0000), "page fault at 0x20000"),
        (ExitReason::HostCall(3), "host call 3"),
        (ExitReason::Ecall, "ecall"),
    ];
    for (exit, text) in words {
        assert_eq!(exit.to_string(), text);
    }
}
