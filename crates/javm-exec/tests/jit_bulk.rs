//! Loops that copy, fill and compare memory, on the recompiler and on the interpreter: any width and direction,
//! overlapping, across pages of every kind, with any amount of gas; and loops that only look like that.

use std::sync::Arc;

use javm_exec::{
    Access, Backend, Config, Engine, ExitOnEcall, ExitReason, GasCounter, Instance, Module, PAGE_SIZE,
    PageSource,
};
use javm_isa::{Code, Instruction, Op, Reg};
use javm_testkit::{
    Rng,
    builder::{Builder, instr},
};

/// Pages that are all alike, so that much of them compares as equal.
struct Source;

static BYTES: [u8; PAGE_SIZE] = {
    let mut bytes = [7; PAGE_SIZE];
    bytes[3000] = 1;
    bytes
};

impl PageSource for Source {
    fn page(&self, index: u32) -> Option<&[u8]> {
        (index % 5 != 4).then_some(&BYTES)
    }
}

/// Two small regions that can be written, one that cannot, a hole, and a large one that is filled by and by.
const PAGES: [(u32, u32, Access); 4] = [
    (0x20, 3, Access::ReadWrite),
    (0x23, 1, Access::ReadOnly),
    (0x25, 2, Access::ReadWrite),
    (0x40, 40, Access::ReadWrite),
];

const LOADS: [(Op, u32); 7] = [
    (Op::LoadIndU8, 1),
    (Op::LoadIndI8, 1),
    (Op::LoadIndU16, 2),
    (Op::LoadIndI16, 2),
    (Op::LoadIndU32, 4),
    (Op::LoadIndI32, 4),
    (Op::LoadIndU64, 8),
];
const STORES: [Op; 9] = [
    Op::Trap,
    Op::StoreIndU8,
    Op::StoreIndU16,
    Op::Trap,
    Op::StoreIndU32,
    Op::Trap,
    Op::Trap,
    Op::Trap,
    Op::StoreIndU64,
];

/// A loop of a program, and what its registers are for.
struct Loop {
    code: Arc<Code>,
    /// What is read (or compared with), what is written, the counter, the end.
    regs: [Reg; 4],
    step: i64,
    /// The first two are walked over by the bound, or the counter is.
    bound: usize,
}

/// Which branch ends it.
fn branch(rng: &mut Rng, regs: &[Reg; 6], bound: usize, step: i64) -> Instruction {
    let [.., count, end] = regs.map(|reg| reg as i64);
    let moving = regs[bound.min(1)] as i64;
    match (bound, rng.one_in(2)) {
        (2, _) => instr(Op::BranchNeImm, &[count, 0, 0]),
        (_, true) if rng.one_in(2) => instr(Op::BranchNe, &[moving, end, 0]),
        (_, true) => instr(Op::BranchNe, &[end, moving, 0]),
        _ if step > 0 => instr(Op::BranchLtU, &[moving, end, 0]),
        _ => instr(Op::BranchLtU, &[end, moving, 0]),
    }
}

/// Any such loop; every fourth has something that does not fit.
fn any(rng: &mut Rng) -> Loop {
    let mut all = Reg::ALL;
    for n in 0..all.len() {
        let other = n + rng.below((Reg::ALL.len() - n) as u64) as usize;
        all.swap(n, other);
    }
    let regs: [Reg; 6] = *all.first_chunk().unwrap();
    let [from, to, value, other, count, _] = regs.map(|reg| reg as i64);
    let (load, width) = *rng.one_of(&LOADS);
    let kind = rng.below(3);
    let step = if kind != 2 && rng.one_in(3) { -i64::from(width) } else { width.into() };
    let bound = rng.below(3) as usize;
    let disp = |rng: &mut Rng| if rng.one_in(2) { 0 } else { rng.below(200) as i64 - 100 };
    let mut body = match kind {
        0 => vec![
            instr(load, &[value, from, disp(rng)]),
            instr(STORES[width as usize], &[value, to, disp(rng)]),
        ],
        1 => vec![instr(STORES[width as usize], &[value, to, disp(rng)])],
        _ => vec![instr(load, &[value, from, disp(rng)]), instr(load, &[other, to, disp(rng)])],
    };
    let mut steps = vec![(from, step), (to, step)];
    if bound == 2 {
        steps.push((count, -1));
    }
    // Behind both loads, where it compares.
    let mut tail = Vec::new();
    for (reg, step) in steps {
        let add = instr(Op::AddImm64, &[reg, reg, step]);
        if kind == 2 {
            tail.insert(rng.below(tail.len() as u64 + 1) as usize, add);
        } else {
            body.insert(rng.below(body.len() as u64 + 1) as usize, add);
        }
    }
    let mut back = branch(rng, &regs, bound, step);
    if rng.one_in(4) {
        let n = rng.below((body.len() + tail.len()) as u64 + 1) as usize;
        let i = body.iter_mut().chain(&mut tail).nth(n).unwrap_or(&mut back);
        match rng.below(4) {
            0 => i.a = *rng.one_of(&Reg::ALL),
            1 => i.b = *rng.one_of(&Reg::ALL),
            2 => i.x = i.x.wrapping_add(rng.below(9)).wrapping_sub(4),
            _ => *i = instr(Op::MoveReg, &[value, other]),
        }
    }
    if !back.op.is_terminator() {
        back = instr(Op::BranchNeImm, &[count, 0, 0]);
    }
    let mut builder = Builder::new();
    builder.push(&instr(Op::Fallthrough, &[]));
    let head = builder.here();
    if rng.one_in(2) {
        builder.push(&instr(Op::Unlikely, &[]));
    }
    body.iter().for_each(|i| builder.push(i));
    let out = builder.label();
    if kind == 2 {
        builder.jump(&instr(Op::BranchNe, &[value, other, 0]), out);
        tail.iter().for_each(|i| builder.push(i));
    }
    builder.jump(&back, head);
    builder.push(&instr(Op::AddImm64, &[count, count, 3]));
    builder.push(&instr(Op::Trap, &[]));
    builder.place(out);
    builder.push(&instr(Op::Ecalli, &[1]));
    builder.push(&instr(Op::Trap, &[]));
    let code = Arc::new(builder.code().unwrap());
    let step = if bound == 2 { -1 } else { step };
    Loop { code, regs: [regs[0], regs[1], regs[4], regs[5]], step, bound }
}

/// An address, mostly in a page that is there.
fn address(rng: &mut Rng) -> u64 {
    let (first, count, _) = *rng.one_of(&PAGES);
    let end = u64::from(first + count) * PAGE_SIZE as u64;
    match rng.below(8) {
        0 => rng.interesting(),
        1 => end - rng.below(600),
        2 => u64::from(first) * PAGE_SIZE as u64 + rng.below(300),
        3 => u64::from(u32::MAX) - rng.below(200),
        _ => u64::from(first) * PAGE_SIZE as u64 + rng.below(u64::from(count) * PAGE_SIZE as u64),
    }
}

/// Whether the rounds of some loop were emitted: nothing else says `vzeroupper`.
fn has_rounds(module: &Module) -> bool {
    module.machine_code().unwrap().windows(3).any(|bytes| bytes == [0xC5, 0xF8, 0x77])
}

#[test]
fn loops_over_memory_do_what_the_interpreter_does() {
    let engine = |backend| Engine::new(Config::new().backend(backend)).ok();
    let (Some(interpreter), Some(recompiler)) = (engine(Backend::Interpreter), engine(Backend::Recompiler))
    else {
        return;
    };
    let source: Arc<dyn PageSource> = Arc::new(Source);
    let mut rng = Rng::new(3);
    let mut with_rounds = 0;
    // By how it ended: trap, host call, page fault, out of gas, panic.
    let mut ends = [0; 5];
    for round in 0..1500 {
        let Loop { code, regs: [from, to, count, end], step, bound } = any(&mut rng);
        let modules = [&recompiler, &interpreter].map(|engine| Module::new(engine, Arc::clone(&code)));
        with_rounds += u32::from(has_rounds(&modules[0]));
        let mut both = modules.each_ref().map(|module| {
            let mut instance = Instance::new(module);
            for (first, count, access) in PAGES {
                instance.memory.map(first, count, access, Some((Arc::clone(&source), 0))).unwrap();
            }
            instance
        });
        for _ in 0..8 {
            let mut gpr = [0; 13];
            gpr.fill_with(|| rng.interesting());
            gpr[from as usize] = address(&mut rng);
            gpr[to as usize] = match rng.below(4) {
                0 => gpr[from as usize].wrapping_add(rng.below(300)).wrapping_sub(150),
                _ => address(&mut rng),
            };
            let most = 1 << rng.below(11);
            let turns = if rng.one_in(8) { rng.interesting() } else { rng.below(most) };
            gpr[count as usize] = turns;
            let off = if rng.one_in(4) { rng.below(8) } else { 0 };
            let begin = gpr[if bound == 0 { from } else { to } as usize];
            gpr[end as usize] = begin.wrapping_add((step as u64).wrapping_mul(turns)).wrapping_add(off);
            let gas = if rng.one_in(3) { rng.below(10_000) } else { 1_000_000 };
            let exits = both.each_mut().map(|instance| {
                instance.regs.gpr = gpr;
                instance.regs.pc = 0;
                instance.gas = GasCounter::new(gas);
                instance.gas_charged = false;
                instance.run(&mut ExitOnEcall)
            });
            let what =
                || format!("round {round}: {gpr:x?} {gas}\n{:?}", code.instructions(0).collect::<Vec<_>>());
            let [ours, theirs] = &both;
            assert_eq!(exits[0], exits[1], "{}", what());
            assert_eq!(ours.regs, theirs.regs, "{}", what());
            assert_eq!((ours.gas, ours.gas_charged), (theirs.gas, theirs.gas_charged), "{}", what());
            for page in PAGES.iter().flat_map(|(first, count, _)| *first..first + count) {
                let [a, b] = both.each_ref().map(|i| i.memory.page(page).unwrap_or(&[0; PAGE_SIZE]));
                assert!(a == b, "page {page:#x}, {}", what());
            }
            ends[match exits[0] {
                ExitReason::Trap => 0,
                ExitReason::HostCall(_) => 1,
                ExitReason::PageFault(_) => 2,
                ExitReason::OutOfGas => 3,
                _ => 4,
            }] += 1;
        }
        let [ours, theirs] = both;
        for (first, count, _) in PAGES {
            let pages = |instance: &Instance| instance.memory.written(first, count);
            // The recompiler may say more, but never less.
            assert!(pages(&theirs).iter().all(|page| pages(&ours).contains(page)));
        }
        recompiler.recycle(ours.memory);
        interpreter.recycle(theirs.memory);
    }
    if std::is_x86_feature_detected!("avx2") {
        assert!(with_rounds > 800, "{with_rounds}");
    }
    assert!(ends.iter().all(|n| *n > 200), "{ends:?}");
}
