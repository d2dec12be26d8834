//! Several instructions that are one operation of the interpreter: wherever a run ends among them, it ends as
//! the instructions one at a time do, which are never taken together.

use std::collections::BTreeMap;

use javm_exec::{
    Access, Backend, Config, Engine, ExitOnEcall, ExitReason, GasCounter, Instance, Module, Reg,
};
use javm_isa::{Code, Instruction, Op};
use javm_testkit::Rng;

const OPS: [Op; 32] = [
    Op::LoadIndU64,
    Op::LoadIndU64,
    Op::LoadIndU8,
    Op::LoadIndI32,
    Op::StoreIndU64,
    Op::StoreIndU64,
    Op::StoreIndU8,
    Op::AddImm64,
    Op::AddImm64,
    Op::ShloLImm64,
    Op::ShloRImm64,
    Op::RotR64Imm,
    Op::RotR32Imm,
    Op::AndImm,
    Op::Add64,
    Op::Add64,
    Op::Xor,
    Op::And,
    Op::Or,
    Op::Mul64,
    Op::MulUpperUU,
    Op::SetLtU,
    Op::AndInv,
    Op::MoveReg,
    Op::LoadImm,
    Op::BranchLtU,
    Op::BranchGeU,
    Op::BranchNe,
    Op::BranchNeImm,
    Op::JumpInd,
    Op::Unlikely,
    Op::Fallthrough,
];

/// First address of the one page that there is.
const PAGE: u64 = 0x2_0000;

/// Instructions that do something to addresses in and about a page, and branch to the start, to themselves
/// (where mostly no block starts) or before the code. It may run off its end.
fn code(rng: &mut Rng) -> Code {
    let (mut bytes, mut starts) = (Vec::new(), Vec::new());
    for _ in 0..4 + rng.below(40) {
        let mut reg = || Reg::ALL[rng.below(13) as usize];
        let (a, b, d) = (reg(), reg(), reg());
        let pc = bytes.len() as u32;
        let y = [0, 0, 0, u64::from(pc), u64::MAX][rng.below(5) as usize];
        let x = rng.below(24).wrapping_sub(8);
        let instruction = Instruction { op: *rng.one_of(&OPS), a, b, d, x, y };
        starts.resize(bytes.len(), false);
        starts.push(true);
        bytes.extend_from_slice(instruction.encode(pc).as_slice());
    }
    starts.resize(bytes.len(), false);
    let bitmask: Vec<u8> = starts
        .chunks(8)
        .map(|bits| bits.iter().rev().fold(0, |byte, bit| (byte << 1) | u8::from(*bit)))
        .collect();
    // To the start, to where no block starts, and far away.
    Code::new(&bytes, &bitmask, &[0, 1, u32::MAX]).unwrap()
}

fn instance(engine: &Engine, code: &Code, rng: &mut Rng) -> Instance {
    let mut instance = Instance::new(&Module::new(engine, code.clone()));
    instance.memory.map((PAGE >> 12) as u32, 1, Access::ReadWrite, None).unwrap();
    for reg in Reg::ALL {
        // Halts are rare, jumps through the table and ends of the page are not.
        let halt = u64::from(javm_exec::HALT_ADDRESS);
        let value = [PAGE + 100, PAGE + 0xFF0, PAGE + 0xFFE, 2, halt][rng.below(5) as usize];
        instance.regs.set(reg, value);
    }
    instance.gas = GasCounter::new(rng.below(400));
    instance
}

#[test]
fn a_run_ends_where_its_steps_end() {
    let engine = Engine::new(Config::new().backend(Backend::Interpreter)).unwrap();
    let mut exits = BTreeMap::new();
    for seed in 0..60_000 {
        let code = code(&mut Rng::new(seed));
        let mut run = instance(&engine, &code, &mut Rng::new(seed ^ (1 << 40)));
        let mut step = instance(&engine, &code, &mut Rng::new(seed ^ (1 << 40)));
        // Again from where it ended, and once more: gas comes back, a page that was missing stays missing.
        for _ in 0..3 {
            let reason = run.run(&mut ExitOnEcall);
            let expected = loop {
                if let Some(reason) = step.step(&mut ExitOnEcall) {
                    break reason;
                }
            };
            assert_eq!(reason, expected, "seed {seed}");
            assert_eq!(run.regs, step.regs, "seed {seed}: {reason}");
            assert_eq!((run.gas, run.gas_charged), (step.gas, step.gas_charged), "seed {seed}: {reason}");
            let page = |instance: &Instance| instance.memory.page((PAGE >> 12) as u32).map(<[u8]>::to_vec);
            assert_eq!(page(&run), page(&step), "seed {seed}: {reason}");
            let kind = match reason {
                ExitReason::PageFault(_) => "page fault".to_owned(),
                other => other.to_string(),
            };
            *exits.entry(kind).or_insert(0) += 1;
            run.gas.add(50);
            step.gas.add(50);
        }
        engine.recycle(run.memory);
        engine.recycle(step.memory);
    }
    println!("{exits:?}");
    for (kind, least) in [("halt", 100), ("panic", 1000), ("out of gas", 1000), ("page fault", 1000)] {
        assert!(exits.get(kind).is_some_and(|n| *n > least), "{exits:?}");
    }
}
