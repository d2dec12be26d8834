//! Where PolkaVM's interpreter (the `polkavm` crate, 0.37.0) and ours differ, one test each: what it does,
//! what we do, and the rule that decides. `polkavm.rs` compares everything else.
//!
//! A test here that fails after an update of that crate means that the list is no longer true; the generator
//! may then stop keeping away from it.

mod common;

use std::sync::Arc;

use common::PolkaMachine;
use javm_exec::{Config, Engine, ExitReason, PAGE_SIZE};
use javm_isa::{Code, Instruction, Op};
use javm_testkit::{
    builder::{Builder, code, instr},
    drive::{EngineMachine, Event, Machine, Mode},
    r#gen::{Case, Mapping},
    spell::Dialect,
};

fn case(code: Code, regs: &[(usize, u64)], memory: &[(u32, bool)]) -> Case {
    let mut case = Case {
        seed: 0,
        code: Arc::new(code),
        pc: 0,
        regs: [0; 13],
        gas: 1_000,
        memory: memory
            .iter()
            .map(|(first, writable)| Mapping {
                first: *first,
                count: 1,
                writable: *writable,
                contents: vec![7; PAGE_SIZE],
            })
            .collect(),
        dialect: Dialect::GrayPaper,
    };
    for (reg, value) in regs {
        case.regs[*reg] = *value;
    }
    case
}

fn show(machine: &mut impl Machine) -> Event {
    let exit = machine.run();
    Event {
        exit,
        pc: machine.pc(),
        regs: machine.regs(),
        gas: machine.gas(),
        gas_charged: machine.gas_charged(),
        memory: machine.memory(),
    }
}

/// What ours and PolkaVM's show at the first exit.
fn both(case: &Case) -> (Event, Event) {
    let engine = Engine::new(Config::new()).unwrap();
    let mut ours = EngineMachine { instance: case.instance(&engine), mode: Mode::Run };
    (show(&mut ours), show(&mut PolkaMachine::new(&common::engine(), case)))
}

fn exits(case: &Case) -> (ExitReason, ExitReason) {
    let (ours, theirs) = both(case);
    (ours.exit, theirs.exit)
}

fn trap() -> Instruction {
    Instruction::new(Op::Trap)
}

/// Gray Paper A.5.13: the third register is the whole byte, and numbers above 12 mean 12. PolkaVM takes the
/// byte's low half first.
#[test]
fn the_third_register_is_a_whole_byte() {
    let mut builder = Builder::new();
    builder.raw(&[Op::Add64.opcode(), 0x87, 0x13]);
    builder.push(&trap());
    let (ours, theirs) = both(&case(builder.code().unwrap(), &[(7, 1), (8, 2)], &[]));
    assert_eq!((ours.regs[12], ours.regs[3]), (3, 0));
    assert_eq!((theirs.regs[12], theirs.regs[3]), (0, 3));
}

/// Gray Paper A.1: the lowest byte that cannot be written decides. PolkaVM looks for missing pages first.
#[test]
fn a_store_from_a_read_only_page_into_nothing_faults_at_the_first() {
    let store = code(&[instr(Op::StoreU64, &[7, 0x2_0FFC]), trap()]);
    let (ours, theirs) = exits(&case(store, &[], &[(0x20, false)]));
    assert_eq!(ours, ExitReason::PageFault(0x2_0000));
    assert_eq!(theirs, ExitReason::PageFault(0x2_1000));
}

/// Gray Paper A.1: memory ends at 2^32, and an access may touch its last byte. PolkaVM panics at an access
/// whose end is 2^32 even where the last page is mapped.
#[test]
fn the_last_byte_of_memory_can_be_used() {
    let load = code(&[instr(Op::LoadU32, &[7, -4]), trap()]);
    let (ours, theirs) = both(&case(load, &[], &[(0xF_FFFF, true)]));
    assert_eq!((ours.pc, ours.regs[7]), (Some(3), 0x0707_0707));
    assert_eq!((theirs.exit, theirs.pc, theirs.regs[7]), (ExitReason::Panic, Some(0), 0));
}

/// The same rule: of a store over the end of memory the last page's bytes come first, and where that page is
/// read-only it is a page fault. PolkaVM panics.
#[test]
fn a_store_from_a_read_only_last_page_over_the_end_is_a_page_fault() {
    let store = code(&[instr(Op::StoreU32, &[7, -2]), trap()]);
    assert_eq!(
        exits(&case(store.clone(), &[], &[(0xF_FFFF, false)])),
        (ExitReason::PageFault(0xFFFF_F000), ExitReason::Panic)
    );
    // Where it can be written, the bytes at 0 decide, and both panic.
    assert_eq!(exits(&case(store, &[], &[(0xF_FFFF, true)])), (ExitReason::Panic, ExitReason::Panic));
}

/// Gray Paper A.4: the target of a branch matters when it is taken. PolkaVM panics at any branch whose target
/// starts no block, before it looks at the condition.
#[test]
fn a_branch_that_is_not_taken_may_lead_nowhere() {
    let branch = code(&[instr(Op::BranchEqImm, &[7, 1, 100]), instr(Op::LoadImm, &[8, 5]), trap()]);
    let (ours, theirs) = both(&case(branch, &[], &[]));
    assert_eq!((ours.exit, ours.regs[8]), (ExitReason::Trap, 5));
    assert_eq!((theirs.exit, theirs.pc, theirs.regs[8]), (ExitReason::Panic, Some(0), 0));
}

/// Gray Paper 0.8 A.2 asks of a program that instructions follow each other to its end, not that the last one
/// goes nowhere; running off the end panics there. PolkaVM refuses such a program.
#[test]
fn a_program_may_run_off_its_end() {
    let falls = case(code(&[instr(Op::LoadImm, &[7, 5])]), &[], &[]);
    let engine = Engine::new(Config::new()).unwrap();
    let ours = show(&mut EngineMachine { instance: falls.instance(&engine), mode: Mode::Run });
    assert_eq!((ours.exit, ours.pc, ours.regs[7]), (ExitReason::Panic, Some(3), 5));
    let validity = common::blob(&falls.code).validate_code_with_isa(polkavm_common::program::ISA_JamV1);
    assert_eq!(validity.unwrap_err().0, 3);
}

/// Gray Paper A.3: an instruction reaches to the next one that the bitmask marks, up to 24 bytes on. Near the
/// end of the code PolkaVM takes what follows an instruction of 25 bytes for invalid.
#[test]
fn an_instruction_may_have_25_bytes_anywhere() {
    let program = |behind: usize| {
        let mut builder = Builder::new();
        // The mark of the next instruction must be the first of its byte in the bitmask.
        for _ in 0..7 {
            builder.push(&Instruction::new(Op::Fallthrough));
        }
        builder.raw(&[Op::Fallthrough.opcode(); 25]);
        for _ in 0..behind {
            builder.push(&trap());
        }
        case(builder.code().unwrap(), &[], &[])
    };
    let (ours, theirs) = both(&program(40));
    assert_eq!((ours.pc, theirs.pc), (Some(32), Some(32)));
    let near_the_end = program(1);
    let validity =
        common::blob(&near_the_end.code).validate_code_with_isa(polkavm_common::program::ISA_JamV1);
    assert_eq!(validity.unwrap_err().0, 32);
    let engine = Engine::new(Config::new()).unwrap();
    let ours = show(&mut EngineMachine { instance: near_the_end.instance(&engine), mode: Mode::Run });
    assert_eq!((ours.exit, ours.pc), (ExitReason::Trap, Some(32)));
}

/// The cost of a conditional move: the vectors have it wait for the registers that it names as operands;
/// PolkaVM 0.37.0 also for the old value of its destination. The vectors decide.
#[test]
fn a_conditional_move_does_not_wait_for_its_old_destination() {
    for (op, operands) in [(Op::CmovNz, &[7, 8, 9][..]), (Op::CmovIzImm, &[7, 8, 1])] {
        let program = code(&[instr(Op::DivU64, &[7, 10, 11]), instr(op, operands), trap()]);
        let (ours, theirs) = both(&case(program, &[], &[]));
        assert_eq!((ours.gas, theirs.gas), (1_000 - 60, 1_000 - 62), "{op}");
        assert_eq!(ours.regs, theirs.regs);
    }
}

/// The Gray Paper's host call number is the immediate sign-extended to 64 bits. PolkaVM gives its low half,
/// and so does our engine ([`ExitReason::HostCall`]); whoever needs all of it extends the sign.
#[test]
fn a_host_call_shows_the_low_half_of_its_number() {
    let call = code(&[instr(Op::Ecalli, &[-1]), trap()]);
    assert_eq!(
        exits(&case(call, &[], &[])),
        (ExitReason::HostCall(u32::MAX), ExitReason::HostCall(u32::MAX))
    );
}

/// Vectors and our engine name the jump that halted. PolkaVM forgets it.
#[test]
fn after_a_halt_the_counter_stands_at_the_jump() {
    let halt = code(&[instr(Op::LoadImm, &[7, -0x1_0000]), instr(Op::JumpInd, &[7, 0]), trap()]);
    let (ours, theirs) = both(&case(halt, &[], &[]));
    assert_eq!((ours.exit, theirs.exit), (ExitReason::Halt, ExitReason::Halt));
    assert_eq!((ours.pc, theirs.pc), (Some(5), None));
}

/// Our engine tells `trap` from other panics; PolkaVM and the vectors do not.
#[test]
fn a_trap_is_told_from_other_panics() {
    assert_eq!(exits(&case(code(&[trap()]), &[], &[])), (ExitReason::Trap, ExitReason::Panic));
}

/// The Gray Paper has no bound for the size of a jump-table entry; PolkaVM takes up to 4 bytes.
#[test]
fn a_jump_table_entry_may_be_wide() {
    let blob = [1, 6, 1, 0, 0, 0, 0, 0, 0, 0, 1];
    assert!(javm_program::bare::read(&blob, javm_isa::Numbering::V08).is_ok());
    let kind = polkavm_common::program::InstructionSetKind::JamV1;
    let mut parts = polkavm::ProgramParts::empty(kind);
    parts.code_and_jump_table = blob.to_vec().into();
    assert!(polkavm::ProgramBlob::from_parts(parts).is_err());
}

/// No difference: older releases of PolkaVM panicked below 16 KiB only. Kept because it was one.
#[test]
fn the_low_64_kib_panic_in_both() {
    for (address, exit) in [
        (0, ExitReason::Panic),
        (0x3FFF, ExitReason::Panic),
        (0x4000, ExitReason::Panic),
        (0xFFF8, ExitReason::Panic),
        (0xFFF9, ExitReason::Panic),
        (0x1_0000, ExitReason::PageFault(0x1_0000)),
    ] {
        let load = code(&[instr(Op::LoadU64, &[7, address]), trap()]);
        assert_eq!(exits(&case(load, &[], &[])), (exit, exit), "{address:#x}");
    }
}

/// No difference: a jump that leads nowhere still writes its register, and pays for its block.
#[test]
fn a_jump_that_panics_writes_its_register_in_both() {
    let jump = code(&[instr(Op::LoadImmJump, &[7, 5, 1]), trap()]);
    let (ours, theirs) = both(&case(jump, &[], &[]));
    assert_eq!((ours.exit, ours.regs[7], ours.gas, ours.pc), (ExitReason::Panic, 5, 985, Some(0)));
    assert_eq!((theirs.exit, theirs.regs, theirs.gas, theirs.pc), (ours.exit, ours.regs, ours.gas, ours.pc));
}
