//! Every operation, with operands at the edges and registers in every relation to each other, on the
//! recompiler and on the interpreter; and every pair that the recompiler may merge.

use javm_exec::{Access, Backend, Config, Engine, ExitOnEcall, ExitReason, GasCounter, Instance, Module};
use javm_isa::{Instruction, Op, Reg};
use javm_testkit::{Rng, builder::Builder};

/// Any instruction of this operation: registers often the same, immediates at the edges.
fn any(rng: &mut Rng, op: Op, targets: &[u32]) -> Instruction {
    let mut i = Instruction::new(op);
    let few = rng.one_in(2).then(|| [*rng.one_of(&Reg::ALL), *rng.one_of(&Reg::ALL)]);
    let reg = |rng: &mut Rng| match &few {
        Some(few) => *rng.one_of(few),
        None => *rng.one_of(&Reg::ALL),
    };
    (i.a, i.b, i.d) = (reg(rng), reg(rng), reg(rng));
    let imm = |rng: &mut Rng| match rng.below(4) {
        // Where memory is, and the jump table.
        0 => 0x2_0000 + rng.below(0x2000),
        1 => rng.below(12),
        _ => rng.interesting() as i32 as i64 as u64,
    };
    i.x = if op == Op::LoadImm64 { rng.interesting() } else { imm(rng) };
    i.y = if op.shape().has_target() { u64::from(*rng.one_of(targets)) } else { imm(rng) };
    i
}

#[test]
fn every_operation_does_what_the_interpreter_does() {
    let engine = |backend| Engine::new(Config::new().backend(backend)).ok();
    let (Some(interpreter), Some(recompiler)) = (engine(Backend::Interpreter), engine(Backend::Recompiler))
    else {
        return;
    };
    let mut rng = Rng::new(1);
    for op in Op::ALL {
        for round in 0..40 {
            // Twelve of them in a row; each is entered by itself, its block paid.
            let mut builder = Builder::new();
            builder.push(&Instruction::new(Op::Fallthrough));
            let targets = [0, 1, 2, 5, 1 << 20];
            for _ in 0..12 {
                builder.push(&any(&mut rng, *op, &targets));
            }
            builder.push(&Instruction::new(Op::Trap));
            for target in [0, 1, 3, 7] {
                builder.table_offset(target);
            }
            let starts = builder.instruction_starts().to_vec();
            let code = std::sync::Arc::new(builder.code().unwrap());
            let machine = |engine: &Engine| {
                let mut instance = Instance::new(&Module::new(engine, std::sync::Arc::clone(&code)));
                instance.memory.map(0x20, 2, Access::ReadWrite, None).unwrap();
                instance.memory.map(0x22, 1, Access::ReadOnly, None).unwrap();
                instance.memory.poke(0x2_0000, &[0x81; 100]).unwrap();
                instance
            };
            let (mut ours, mut theirs) = (machine(&recompiler), machine(&interpreter));
            for start in starts {
                for _ in 0..6 {
                    let mut gpr = [0; 13];
                    gpr.fill_with(|| match rng.below(4) {
                        0 => 0x2_0000 + rng.below(0x3000),
                        1 => rng.below(12),
                        _ => rng.interesting(),
                    });
                    let gas = rng.below(300);
                    let charged = !rng.one_in(4);
                    for instance in [&mut ours, &mut theirs] {
                        instance.regs.gpr = gpr;
                        instance.regs.pc = start.into();
                        instance.gas = GasCounter::new(gas);
                        instance.gas_charged = charged;
                    }
                    let exit = theirs.run(&mut ExitOnEcall);
                    let found = ours.run(&mut ExitOnEcall);
                    let i = code.instruction(start);
                    assert_eq!(found, exit, "{op} round {round} at {start}: {i:?}");
                    assert_eq!(ours.regs, theirs.regs, "{op} round {round} at {start}: {i:?} {gpr:x?}");
                    assert_eq!((ours.gas, ours.gas_charged), (theirs.gas, theirs.gas_charged), "{i:?}");
                    let page = |instance: &Instance, n| instance.memory.page(n).map(<[u8]>::to_vec);
                    for n in 0x20..0x23 {
                        let (a, b) =
                            (page(&ours, n).unwrap_or_default(), page(&theirs, n).unwrap_or_default());
                        assert!(a.iter().eq(&b) || b.is_empty() && a.iter().all(|x| *x == 0), "{i:?}");
                    }
                }
            }
            recompiler.recycle(ours.memory);
            interpreter.recycle(theirs.memory);
        }
    }
}

/// The registers of the pairs below: three that stand for each other, one for addresses, one that is stored.
const FEW: [Reg; 3] = [Reg::T1, Reg::A0, Reg::S1];
const BASE: Reg = Reg::A5;
const STORED: Reg = Reg::SP;

/// Instructions of the operations, with the few registers in every relation to each other.
fn with_few(ops: &[Op], immediates: &[u64], target: u64) -> Vec<Instruction> {
    let mut all: Vec<Instruction> = Vec::new();
    for op in ops {
        for n in 0..27 {
            for x in immediates {
                let mut i = Instruction::new(*op);
                (i.a, i.b, i.d, i.x, i.y) = (FEW[n % 3], FEW[n / 3 % 3], FEW[n / 9], *x, target);
                if !all.contains(&i) {
                    all.push(i);
                }
            }
        }
    }
    all
}

/// What may leave something behind in the flags, or be taken in by what comes next, and what may use it: entered at
/// each of them and between them, with accesses in between that fault or do not, and gone on with behind the faults.
#[test]
fn merged_instructions_do_what_each_does() {
    let engine = |backend| Engine::new(Config::new().backend(backend)).ok();
    let (Some(interpreter), Some(recompiler)) = (engine(Backend::Interpreter), engine(Backend::Recompiler))
    else {
        return;
    };
    use Op::*;
    let sets = [SetLtUImm, SetLtSImm, SetGtUImm, SetGtSImm];
    let mut first = with_few(&[Add64, Add32, SetLtU, SetLtS], &[0], 0);
    first.extend(with_few(&sets, &[1, -1i64 as u64], 0));
    first.extend(with_few(&[ShloLImm64], &[0, 1, 2, 3, 4, 67], 0));
    let mut second = with_few(&[Add64, SetLtU, SetLtS, CmovIz, CmovNz], &[0], 0);
    second.extend(with_few(&[CmovIzImm, CmovNzImm, BranchEqImm, BranchNeImm, BranchLtUImm], &[0, 3], 0));
    let access = |op, a, x| {
        let mut i = Instruction::new(op);
        (i.a, i.b, i.x) = (a, BASE, x);
        i
    };
    let between = [
        None,
        Some(access(StoreIndU64, STORED, 8)),
        Some(access(LoadIndI32, FEW[0], 0)),
        Some(access(MoveReg, FEW[1], 0)),
        Some(access(LoadIndU64, STORED, 0)),
    ];
    let mut all = Vec::new();
    for (n, first) in first.iter().enumerate() {
        for (m, second) in second.iter().enumerate() {
            let between = between[(n + m) % between.len()];
            let between = between.map(|between| [between, access(StoreIndU8, STORED, 3)]);
            let mut sequence = vec![*first];
            sequence.extend(between.into_iter().flatten());
            sequence.push(*second);
            all.push(sequence);
        }
    }
    // A sum, what carries, and that added.
    let (sums, carries) = (with_few(&[Add64], &[0], 0), with_few(&[SetLtU], &[0], 0));
    for sum in &sums {
        for carry in &carries {
            all.extend(sums.iter().map(|last| vec![*sum, *carry, *last]));
        }
    }
    let mut rng = Rng::new(2);
    let mut faults = 0;
    for sequences in all.chunks(100) {
        // A block for each; offset 0 is where branches go.
        let mut builder = Builder::new();
        builder.push(&Instruction::new(Trap));
        for sequence in sequences {
            sequence.iter().for_each(|i| builder.push(i));
            // What came of it is looked at once more.
            let mut last = Instruction::new(CmovNz);
            let result = sequence.last().and_then(Instruction::destination);
            (last.a, last.b, last.d) = (STORED, result.unwrap_or(FEW[0]), FEW[2]);
            builder.push(&last);
            builder.push(&Instruction::new(Trap));
        }
        let starts = builder.instruction_starts().to_vec();
        let code = std::sync::Arc::new(builder.code().unwrap());
        let machine = |engine: &Engine| {
            let mut instance = Instance::new(&Module::new(engine, std::sync::Arc::clone(&code)));
            // Pages of the second are filled when they are touched.
            instance.memory.map(0x20, 1, Access::ReadOnly, None).unwrap();
            instance.memory.map(0x40, 256, Access::ReadWrite, None).unwrap();
            instance
        };
        let (mut ours, mut theirs) = (machine(&recompiler), machine(&interpreter));
        for start in starts {
            for _ in 0..3 {
                let mut gpr = [0; 13];
                gpr.fill_with(|| if rng.one_in(4) { rng.below(3) } else { rng.interesting() });
                gpr[BASE as usize] = *rng.one_of(&[0x2_0000, 0x4_0000, 0x5_0000]) + rng.below(0x1_0000);
                for instance in [&mut ours, &mut theirs] {
                    instance.regs.gpr = gpr;
                    instance.regs.pc = start.into();
                    instance.gas = GasCounter::new(1000);
                    instance.gas_charged = true;
                }
                // A fault is mended and gone on with.
                for _ in 0..3 {
                    let exit = theirs.run(&mut ExitOnEcall);
                    let found = ours.run(&mut ExitOnEcall);
                    let i = code.instruction(start);
                    assert_eq!(found, exit, "{i:?} at {start} {gpr:x?}");
                    assert_eq!(ours.regs, theirs.regs, "{i:?} at {start} {gpr:x?}");
                    assert_eq!((ours.gas, ours.gas_charged), (theirs.gas, theirs.gas_charged), "{i:?}");
                    if !matches!(exit, ExitReason::PageFault(_)) {
                        break;
                    }
                    faults += 1;
                    for instance in [&mut ours, &mut theirs] {
                        instance.regs.gpr[BASE as usize] = 0x4_0000;
                    }
                }
            }
        }
        recompiler.recycle(ours.memory);
        interpreter.recycle(theirs.memory);
    }
    assert!(faults > 10_000, "{faults} faults");
}
