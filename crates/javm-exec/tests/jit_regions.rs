//! Programs of many regions, compiled as they are entered, at once, or half of each: the same as interpreted.

use std::sync::Arc;

use javm_exec::{
    Access, Backend, Config, Engine, ExitOnEcall, ExitReason, GasCounter, GasModel, Instance, Module, Reg,
};
use javm_isa::{Code, Instruction, Op};
use javm_testkit::{
    Rng,
    builder::{Builder, instr},
};

fn engines(model: GasModel) -> Option<[Engine; 2]> {
    let engine = |backend| Engine::new(Config::new().backend(backend).gas_model(model)).ok();
    Some([engine(Backend::Interpreter)?, engine(Backend::Recompiler)?])
}

/// Islands of a few instructions in a sea of code that is not run, with jumps of every kind between them.
fn islands(rng: &mut Rng, count: usize) -> Code {
    let mut builder = Builder::new();
    let labels: Vec<_> = (0..count).map(|_| builder.label()).collect();
    let addresses: Vec<u32> = labels.iter().map(|label| builder.table_entry(*label)).collect();
    for n in 0..count {
        builder.place_block(labels[n]);
        for _ in 0..rng.below(6) {
            builder.push(&match rng.below(6) {
                0 => instr(Op::AddImm64, &[7, 8, 77]),
                1 => instr(Op::Xor, &[8, 7, 9]),
                2 => instr(Op::LoadIndU32, &[9, 10, 4]),
                3 => instr(Op::StoreIndU64, &[7, 10, 0xFFC]),
                4 => instr(Op::ShloRImm64, &[9, 7, 3]),
                _ => instr(Op::Ecalli, &[rng.below(50) as i64]),
            });
        }
        let to = *rng.one_of(&labels);
        match rng.below(8) {
            0 => builder.jump(&instr(Op::Jump, &[0]), to),
            1 => {
                // Sometimes one that is no target, or halts.
                let address = match rng.below(30) {
                    0 => 0xFFFF_0000,
                    1 => 1,
                    _ => *rng.one_of(&addresses),
                };
                builder.push(&instr(Op::LoadImmJumpInd, &[11, 12, 5, i64::from(address as i32)]));
            }
            2 => builder.jump(&instr(Op::LoadImmJump, &[8, 3, 0]), to),
            3 => builder.jump(&instr(Op::BranchLtU, &[7, 8, 0]), to),
            4 => builder.jump(&instr(Op::BranchNeImm, &[7, 0, 0]), to),
            5 => builder.push(&Instruction::new(Op::Fallthrough)),
            _ => {
                builder.jump(&instr(Op::BranchGeU, &[7, 9, 0]), to);
                builder.jump(&instr(Op::Jump, &[0]), *rng.one_of(&labels));
            }
        }
        if rng.one_in(2) && n + 1 < count {
            builder.jump(&instr(Op::Jump, &[0]), labels[n + 1]);
            let filler = if rng.one_in(4) { Op::Fallthrough } else { Op::MoveReg };
            for _ in 0..rng.below(6_000) {
                builder.push(&Instruction::new(filler));
            }
        }
    }
    builder.push(&Instruction::new(Op::Trap));
    builder.code().unwrap()
}

type Seen = (ExitReason, [u64; 13], u64, u64, bool);

/// Runs with a little gas at a time, going on behind host calls and faults; everything that is seen.
fn trace(module: &Module, seed: u64, mut between: impl FnMut(usize)) -> Vec<Seen> {
    let mut rng = Rng::new(seed);
    let mut instance = Instance::new(module);
    instance.memory.map(0x20, 2, Access::ReadWrite, None).unwrap();
    for value in &mut instance.regs.gpr {
        *value = rng.interesting();
    }
    instance.regs.set(Reg::A3, 0x2_0000 + rng.below(0x1100));
    instance.regs.set(Reg::A5, 0);
    let mut seen = Vec::new();
    for n in 0..40 {
        between(n);
        instance.gas = GasCounter::new(rng.below(3_000));
        let exit = instance.run(&mut ExitOnEcall);
        let (regs, gas) = (instance.regs, instance.gas.remaining());
        seen.push((exit, regs.gpr, regs.pc, gas, instance.gas_charged));
        match exit {
            ExitReason::HostCall(_) => instance.skip_ecall(),
            ExitReason::PageFault(_) => instance.regs.set(Reg::A3, 0x2_0000),
            ExitReason::OutOfGas => {}
            _ => break,
        }
    }
    module.engine().recycle(instance.memory);
    seen
}

#[test]
fn regions_find_each_other_in_whatever_order_they_are_compiled() {
    for model in GasModel::ALL {
        let Some([interpreter, recompiler]) = engines(model) else { return };
        let mut lengths = 0;
        for seed in 0..40 {
            let code = Arc::new(islands(&mut Rng::new(seed), 60));
            let reference = Module::new(&interpreter, Arc::clone(&code));
            let new = || Module::new(&recompiler, Arc::clone(&code));
            let (lazy, eager) = (new(), new());
            eager.compile();
            for run in 0..6 {
                let expected = trace(&reference, run, |_| ());
                lengths += expected.len();
                assert_eq!(trace(&lazy, run, |_| ()), expected, "lazy, seed {seed}, run {run}");
                assert_eq!(trace(&eager, run, |_| ()), expected, "eager, seed {seed}, run {run}");
                // The rest is compiled in the middle of a run.
                let half = new();
                let compile = |n| {
                    if n == 3 {
                        half.compile();
                    }
                };
                assert_eq!(trace(&half, run, compile), expected, "half, seed {seed}, run {run}");
            }
            assert!(lazy.compiled_size() <= eager.compiled_size() + (code.len() as usize / 4096 + 1) * 4096);
            let bytes = eager.machine_code().unwrap();
            // The taking of gas alone is as long as this.
            assert!(bytes.len() > code.block_count() * 18, "all of it is there");
            let mut rest = &bytes[..];
            for pc in 0..code.len() {
                let of_pc = eager.machine_code_at(pc);
                assert_eq!(of_pc.is_some(), code.is_instruction_start(pc.into()));
                let Some(of_pc) = of_pc.filter(|of_pc| !of_pc.is_empty()) else { continue };
                let at = rest.windows(of_pc.len()).position(|window| window == of_pc);
                rest = &rest[at.expect("each piece is behind the one before") + of_pc.len()..];
            }
        }
        assert!(lengths > 2_000, "{lengths} steps: most programs run for a while");
    }
}

#[test]
fn threads_that_enter_regions_at_the_same_time_see_the_same() {
    let Some([interpreter, recompiler]) = engines(GasModel::Pipeline) else { return };
    for seed in 100..130 {
        let code = Arc::new(islands(&mut Rng::new(seed), 80));
        let reference = Module::new(&interpreter, Arc::clone(&code));
        let expected: Vec<_> = (0..4).map(|run| trace(&reference, run, |_| ())).collect();
        let shared = Module::new(&recompiler, code);
        std::thread::scope(|scope| {
            for thread in 0..4 {
                let (shared, expected) = (&shared, &expected);
                scope.spawn(move || {
                    for n in 0..4 {
                        let run = (thread + n) % 4;
                        assert_eq!(trace(shared, run as u64, |_| ()), expected[run], "seed {seed}");
                    }
                });
            }
        });
    }
}

#[test]
fn code_that_is_not_entered_is_not_compiled() {
    let Some([_, recompiler]) = engines(GasModel::Pipeline) else { return };
    let mut builder = Builder::new();
    let end = builder.label();
    builder.jump(&instr(Op::Jump, &[0]), end);
    for _ in 0..100_000 {
        builder.push(&instr(Op::AddImm64, &[7, 7, 1]));
        builder.push(&Instruction::new(Op::Fallthrough));
    }
    builder.place_block(end);
    builder.push(&Instruction::new(Op::Trap));
    let module = Module::new(&recompiler, builder.code().unwrap());
    let mut instance = Instance::new(&module);
    instance.gas = GasCounter::new(1_000);
    let before = module.compiled_size();
    assert_eq!(instance.run(&mut ExitOnEcall), ExitReason::Trap);
    let lazy = module.compiled_size() - before;
    module.compile();
    let all = module.compiled_size() - before;
    assert!(lazy * 20 < all, "{lazy} of {all} bytes");
}

/// A megabyte each: blocks of one instruction that go round all regions, and one block without an end.
#[test]
fn hostile_shapes_take_linear_time() {
    let Some([interpreter, recompiler]) = engines(GasModel::Pipeline) else { return };
    let mut shapes = Vec::new();
    let mut builder = Builder::new();
    let labels: Vec<_> = (0..1 << 20 >> 3).map(|_| builder.label()).collect();
    // 8 bytes each; 4,099 of them make eight regions, and are prime to how many there are.
    for (n, label) in labels.iter().enumerate() {
        builder.place(*label);
        builder.jump(&instr(Op::LoadImmJump, &[7, 0, 0]), labels[(n + 4_099) % labels.len()]);
        builder.push(&Instruction::new(Op::Fallthrough));
    }
    shapes.push(builder);
    for op in [Op::Fallthrough, Op::Unlikely] {
        let mut builder = Builder::new();
        for _ in 0..1 << 20 {
            builder.push(&Instruction::new(op));
        }
        builder.push(&Instruction::new(Op::Trap));
        shapes.push(builder);
    }
    for builder in shapes {
        let code = Arc::new(builder.code().unwrap());
        let run = |engine: &Engine| {
            let module = Module::new(engine, Arc::clone(&code));
            let mut instance = Instance::new(&module);
            instance.gas = GasCounter::new(1 << 24);
            let exit = instance.run(&mut ExitOnEcall);
            let first = (exit, instance.regs, instance.gas, instance.gas_charged);
            // And from the middle, unpaid.
            instance.regs.pc = 1 << 19;
            instance.gas = GasCounter::new(100_000_000);
            instance.gas_charged = false;
            let exit = instance.run(&mut ExitOnEcall);
            (first, exit, instance.regs, instance.gas, instance.gas_charged)
        };
        assert_eq!(run(&recompiler), run(&interpreter));
    }
}
