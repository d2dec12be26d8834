//! The pipeline model against its straight transcription, cycle by cycle and entry by entry.

mod common;

use common::{Program, Rng, instruction};
use javm_gas::{
    BlockCosts, GasModel, Pricer, block_cost,
    table::{self, Slots, Units},
};
use javm_isa::{Code, CostClass, Flow, Instruction, Op, Reg, shape::OperandRole};

/// A program of about `len` instructions. Some programs have all operations, others few, so that units run
/// out and the buffer fills in every way; terminators come with probability 1 in `block`.
fn program(rng: &mut Rng, len: usize, block: usize) -> Program {
    let terminators: Vec<Op> = Op::ALL.iter().copied().filter(|op| op.is_terminator()).collect();
    let others: Vec<Op> = Op::ALL.iter().copied().filter(|op| !op.is_terminator()).collect();
    let classes: Vec<CostClass> = (0..1 + rng.below(5)).map(|_| rng.one_of(&others).cost_class()).collect();
    let few: Vec<Op> = others.iter().copied().filter(|op| classes.contains(&op.cost_class())).collect();
    let chosen = if rng.below(3) == 0 { &others } else { &few };
    let registers = *rng.one_of(&[1, 2, 3, 5, 13, 13, 13]);
    let mut program = Program::default();
    for _ in 0..len {
        let from = if rng.below(block) == 0 { &terminators } else { chosen };
        let op = *rng.one_of(from);
        let i = instruction(rng, op, registers, program.bytes.len());
        program.push(&i);
    }
    program
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Decoded,
    Waiting,
    Executing,
    Finished,
    Retired,
}

struct Entry {
    state: State,
    cycles_left: u8,
    dependencies: Vec<usize>,
    latest_writer_of: Vec<Reg>,
    units: Units,
}

/// Gray Paper 0.8: the state of the machine, with its transitions in the order of the text.
struct Machine {
    entries: Vec<Entry>,
    /// Entries before this one are retired; kept so that long blocks take no quadratic time.
    first_live: usize,
    slots: u8,
    starts: u32,
    units: Units,
    cycles: u32,
}

fn take(have: &mut Units, want: Units) -> bool {
    let enough = have.alu >= want.alu
        && have.load >= want.load
        && have.store >= want.store
        && have.mul >= want.mul
        && have.div >= want.div;
    if enough {
        have.alu -= want.alu;
        have.load -= want.load;
        have.store -= want.store;
        have.mul -= want.mul;
        have.div -= want.div;
    }
    enough
}

fn give_back(have: &mut Units, units: Units) {
    have.alu += units.alu;
    have.load += units.load;
    have.store += units.store;
    have.mul += units.mul;
    have.div += units.div;
}

fn sources(i: &Instruction) -> Vec<Reg> {
    i.op.shape().sources().iter().map(|role| i.register(*role).unwrap()).collect()
}

fn slots(i: &Instruction) -> u8 {
    let d = i.destination();
    match table::row(i.op.cost_class()).slots {
        Slots::Fixed(n) => n,
        Slots::AnySource(n) => n + u8::from(!sources(i).into_iter().any(|s| Some(s) == d)),
        Slots::FirstSource(n) => n + u8::from(d != i.register(OperandRole::A)),
    }
}

fn latency(i: &Instruction, next_pc: u32, code: &Code) -> u8 {
    let seldom = |offset: Option<u64>| {
        let byte = offset.and_then(|o| code.bytes().get(usize::try_from(o).ok()?)).copied().unwrap_or(0);
        matches!(Op::from_opcode(byte), Some(Op::Trap | Op::Unlikely))
    };
    if i.op.flow() == Flow::Branch && (seldom(Some(u64::from(next_pc))) || seldom(i.target())) {
        table::PREDICTED_BRANCH_LATENCY
    } else {
        table::row(i.op.cost_class()).latency
    }
}

impl Machine {
    fn live(&self) -> usize {
        self.entries[self.first_live..].iter().filter(|e| e.state != State::Retired).count()
    }

    fn decode(&mut self, i: &Instruction, latency: u8) {
        self.slots -= slots(i);
        let live = &mut self.entries[self.first_live..];
        if i.op == Op::MoveReg {
            for e in live {
                let renames = e.latest_writer_of.contains(&i.a);
                e.latest_writer_of.retain(|r| *r != i.d);
                if renames {
                    e.latest_writer_of.push(i.d);
                }
            }
            return;
        }
        let sources = sources(i);
        let dependencies = (self.first_live..)
            .zip(live.iter())
            .filter(|(_, e)| e.latest_writer_of.iter().any(|r| sources.contains(r)))
            .map(|(n, _)| n)
            .collect();
        for e in live {
            e.latest_writer_of.retain(|r| Some(*r) != i.destination());
        }
        self.entries.push(Entry {
            state: State::Decoded,
            cycles_left: latency,
            dependencies,
            latest_writer_of: i.destination().into_iter().collect(),
            units: table::row(i.op.cost_class()).units,
        });
    }

    fn start(&mut self) -> bool {
        for n in self.first_live..self.entries.len() {
            let e = &self.entries[n];
            if e.state == State::Waiting
                && e.dependencies.iter().all(|d| self.entries[*d].cycles_left == 0)
                && take(&mut self.units, e.units)
            {
                self.entries[n].state = State::Executing;
                self.starts -= 1;
                return true;
            }
        }
        false
    }

    fn advance(&mut self) {
        self.slots = table::DECODE_SLOTS;
        self.starts = table::STARTS;
        self.cycles += 1;
        let live = &mut self.entries[self.first_live..];
        let retiring =
            live.iter().take_while(|e| matches!(e.state, State::Finished | State::Retired)).count();
        for (n, e) in live.iter_mut().enumerate() {
            match e.state {
                _ if n < retiring => e.state = State::Retired,
                State::Decoded => e.state = State::Waiting,
                State::Executing if e.cycles_left == 0 => e.state = State::Finished,
                State::Executing => {
                    e.cycles_left -= 1;
                    if e.cycles_left == 0 {
                        give_back(&mut self.units, e.units);
                    }
                }
                State::Waiting | State::Finished | State::Retired => {}
            }
        }
        self.first_live += retiring;
    }
}

/// The cost of the block at `start`, one transition at a time.
fn oracle(code: &Code, start: u32) -> u32 {
    let mut instructions: Vec<(Instruction, u8)> = Vec::new();
    for (pc, i) in code.instructions(start) {
        instructions.push((i, latency(&i, code.next_pc(pc), code)));
        if i.op.is_terminator() {
            break;
        }
    }
    if instructions.last().is_none_or(|(i, _)| !i.op.is_terminator()) {
        instructions.push((Instruction::new(Op::Trap), table::row(CostClass::Nop).latency));
    }
    let mut machine = Machine {
        entries: Vec::new(),
        first_live: 0,
        slots: table::DECODE_SLOTS,
        starts: table::STARTS,
        units: table::UNITS,
        cycles: 0,
    };
    let mut rest = instructions.iter().peekable();
    loop {
        let live = machine.live();
        if let Some((i, latency)) =
            rest.next_if(|(i, _)| slots(i) <= machine.slots && live < table::REORDER_BUFFER as usize)
        {
            machine.decode(i, *latency);
        } else if machine.starts > 0 && machine.start() {
        } else if rest.peek().is_none() && live == 0 {
            return machine.cycles.saturating_sub(table::OVERLAP_CYCLES).max(1);
        } else {
            machine.advance();
        }
    }
}

/// Compares every block in every way of asking; gives how many there were.
fn check(program: &Program) -> usize {
    let code = program.code();
    let costs = BlockCosts::new(&code, GasModel::Pipeline);
    assert!(costs.iter().map(|(start, _)| start).eq(code.block_starts()));
    for (start, cost) in costs.iter() {
        assert_eq!(
            cost,
            oracle(&code, start),
            "block at {start} of\n{}",
            code.instructions(0).map(|(pc, i)| format!("{pc}: {i}\n")).collect::<String>()
        );
        assert_eq!(cost, block_cost(&code, GasModel::Pipeline, start));
        assert_eq!(costs.cost(start), Some(cost));
    }
    costs.iter().len()
}

#[test]
fn random_blocks() {
    let mut rng = Rng(1);
    let mut blocks = 0;
    while blocks < 100_000 {
        let block = *rng.one_of(&[2, 4, 8, 20, 60]);
        blocks += check(&program(&mut rng, 100, block));
    }
}

#[test]
fn long_blocks() {
    let mut rng = Rng(2);
    for _ in 0..2_000 {
        let len = 150 + rng.below(250);
        check(&program(&mut rng, len, 1_000));
    }
}

#[test]
fn each_class_alone_and_with_each_other() {
    // One operation per class and shape is enough: the model sees nothing else.
    let mut ops: Vec<Op> = Vec::new();
    for op in Op::ALL {
        if !ops.iter().any(|o| o.cost_class() == op.cost_class() && o.shape() == op.shape()) {
            ops.push(*op);
        }
    }
    assert!(ops.len() > 30);
    let mut rng = Rng(3);
    for first in &ops {
        for second in &ops {
            for repeat in [1, 3, 40] {
                let registers = 1 + rng.below(4);
                let mut program = Program::default();
                for _ in 0..repeat {
                    for op in [*first, *second] {
                        let i = instruction(&mut rng, op, registers, program.bytes.len());
                        program.push(&i);
                    }
                }
                check(&program);
            }
        }
    }
}

/// Four loads, then four additions that can only start when they are complete, all in the same cycle; moves
/// keep decoding busy, without a place in the buffer, until constants can start in that cycle too: more
/// than five instructions at once.
#[test]
fn no_more_than_five_start_in_a_cycle() {
    let reg = |n| Reg::from_index(n).unwrap();
    let i = |op, a, b, d| Instruction { a: reg(a), b: reg(b), d: reg(d), ..Instruction::new(op) };
    let mut costs = Vec::new();
    for moves in 80..110 {
        let mut program = Program::default();
        (0..4).for_each(|n| program.push(&i(Op::LoadU64, n, 0, 0)));
        (0..4).for_each(|n| program.push(&i(Op::Add64, n, n, n)));
        (0..moves).for_each(|_| program.push(&i(Op::MoveReg, 9, 9, 9)));
        (4..7).for_each(|n| program.push(&i(Op::LoadImm, n, 0, 0)));
        program.push(&i(Op::JumpInd, 6, 0, 0));
        check(&program);
        costs.push(block_cost(&program.code(), GasModel::Pipeline, 0));
    }
    // Four moves make a cycle; where starts run short a cycle comes early.
    let inner = &costs[costs.partition_point(|c| *c == costs[0])..costs.partition_point(|c| *c < costs[29])];
    assert!(inner.chunk_by(|a, b| a == b).any(|equal| equal.len() < 4), "{costs:?}");
}

#[test]
fn a_pricer_leaves_nothing_behind() {
    let mut rng = Rng(4);
    let mut pricer = Pricer::new(GasModel::Pipeline);
    for _ in 0..2_000 {
        let code = program(&mut rng, 80, 10).code();
        for start in code.block_starts() {
            for (pc, i) in code.instructions(start) {
                pricer.push(&i, pc, code.next_pc(pc), &code);
                if i.op.is_terminator() {
                    break;
                }
            }
            assert_eq!(pricer.finish(), block_cost(&code, GasModel::Pipeline, start));
        }
    }
}

#[test]
fn starting_anywhere_is_answered() {
    let mut rng = Rng(5);
    for _ in 0..200 {
        let code = program(&mut rng, 30, 6).code();
        for start in 0..code.len() + 3 {
            assert_eq!(block_cost(&code, GasModel::Pipeline, start), oracle(&code, start));
            assert_eq!(
                BlockCosts::new(&code, GasModel::Pipeline).cost(start).is_some(),
                code.is_block_start(u64::from(start))
            );
        }
        for start in [u32::MAX, u32::MAX - 1, 1 << 31] {
            let trap = table::row(CostClass::Nop).latency;
            assert_eq!(block_cost(&code, GasModel::Pipeline, start), u32::from(trap));
            assert_eq!(block_cost(&code, GasModel::PerInstruction, start), 1);
        }
    }
}

/// Blocks that are remembered cost what they cost: programs many times over, more blocks than there is room for, and
/// some that are longer than what is priced at once.
#[test]
fn remembering_changes_nothing() {
    let mut rng = Rng(11);
    let mut pricer = Pricer::new(GasModel::Pipeline);
    pricer.remember();
    let mut blocks = 0;
    for n in 0..60 {
        let block = [2, 6, 40, 3000][n % 4];
        let code = program(&mut rng, 6000, block).code();
        let costs = BlockCosts::new(&code, GasModel::Pipeline);
        for _ in 0..3 {
            let mut start = 0;
            for (pc, instruction) in code.instructions(0) {
                let next = code.next_pc(pc);
                pricer.push(&instruction, pc, next, &code);
                if instruction.op.is_terminator() || next == code.len() {
                    assert_eq!(Some(pricer.finish()), costs.cost(start));
                    start = next;
                    blocks += 1;
                }
            }
        }
    }
    assert!(blocks > 100_000, "{blocks}");
}
