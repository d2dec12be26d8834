//! [`Pricer`]: the cost of a block from its instructions, one at a time; [`block_cost`]: the same from code.

use alloc::{boxed::Box, vec};

use javm_isa::{Code, Instruction};

use crate::{GasModel, memo::Memo, pipeline::Pipeline, schedule::Schedule, step::Step};

/// How many instructions are priced at once.
const CHUNK: usize = 64;

/// The same where blocks are remembered, which only whole ones can be.
const LONG_CHUNK: usize = 4096;

/// Prices basic blocks as their instructions come by.
///
/// [`push`](Self::push) each instruction of a block in order, then [`finish`](Self::finish); after that the
/// pricer is ready for the next block. It takes constant time per instruction, and memory that does not depend on
/// how many there are.
///
/// ```
/// use javm_gas::{GasModel, Pricer};
/// use javm_isa::Code;
///
/// let code = Code::new(&[190, 135, 9, 0], &[0b1001], &[]).unwrap(); // add_32 a2, a0, a1; trap
/// let mut pricer = Pricer::new(GasModel::PerInstruction);
/// for (pc, instruction) in code.instructions(0) {
///     pricer.push(&instruction, pc, code.next_pc(pc), &code);
/// }
/// assert_eq!(pricer.finish(), 2);
/// ```
#[derive(Clone, Debug)]
pub struct Pricer {
    model: GasModel,
    /// How many instructions of the block there were, where that is what counts.
    instructions: u32,
    /// Whether the last one ended the block.
    terminated: bool,
    /// Where the first one is; the others are behind it.
    start: u32,
    /// Those that are not priced yet; one place is for the `trap` behind the end of the code.
    steps: Box<[Step]>,
    count: usize,
    /// Whether others of the block are priced already.
    continued: bool,
    memo: Option<Memo>,
    schedule: Schedule,
    /// Whether the schedule gave up, and the pipeline has the block.
    simulated: bool,
    pipeline: Pipeline,
}

impl Pricer {
    /// A pricer for one model.
    #[must_use]
    pub fn new(model: GasModel) -> Self {
        Self {
            model,
            instructions: 0,
            terminated: false,
            start: u32::MAX,
            steps: [Step::TRAP; CHUNK + 1].into(),
            count: 0,
            continued: false,
            memo: None,
            schedule: Schedule::new(),
            simulated: false,
            pipeline: Pipeline::new(),
        }
    }

    /// Has the pricer remember what blocks cost, so that those that come again take less time. It then uses as much
    /// memory as their instructions take, half a megabyte at most. Worth it for a program of some size.
    pub fn remember(&mut self) {
        if self.model == GasModel::Pipeline && self.memo.is_none() {
            let mut steps = vec![Step::TRAP; LONG_CHUNK + 1];
            steps[..self.count].copy_from_slice(&self.steps[..self.count]);
            self.steps = steps.into();
            self.memo = Some(Memo::new());
        }
    }

    /// Takes the next instruction of the block: the one at `pc` of `code`, with `next_pc` the offset of the
    /// one behind it. Within a block `code` has to be the same, and the instructions adjacent.
    #[inline]
    pub fn push(&mut self, instruction: &Instruction, pc: u32, next_pc: u32, code: &Code) {
        self.terminated = instruction.op.is_terminator();
        if self.model == GasModel::Pipeline {
            self.start = self.start.min(pc);
            if self.count + 1 == self.steps.len() {
                self.empty(pc, code);
            }
            self.steps[self.count] = Step::of(instruction, next_pc, code);
            self.count += 1;
        } else {
            self.instructions = self.instructions.saturating_add(1);
        }
    }

    /// Prices the instructions so far; the next one is at `pc`.
    #[inline(never)]
    fn empty(&mut self, pc: u32, code: &Code) {
        self.continued = true;
        let steps = &self.steps[..core::mem::take(&mut self.count)];
        if !self.simulated {
            self.schedule.run(steps);
            if self.schedule.is_slow() {
                self.simulate(pc, code);
            }
            return;
        }
        for step in steps {
            self.pipeline.push(step);
        }
    }

    /// The cost of the block whose instructions were pushed. A block whose last instruction does not end it
    /// runs off the end of the code and pays for the `trap` there.
    #[inline]
    pub fn finish(&mut self) -> u32 {
        let instructions = core::mem::take(&mut self.instructions);
        let terminated = core::mem::take(&mut self.terminated);
        self.start = u32::MAX;
        match self.model {
            GasModel::PerInstruction => instructions.saturating_add(u32::from(!terminated)),
            GasModel::Pipeline => {
                if !terminated {
                    self.steps[self.count] = Step::TRAP;
                    self.count += 1;
                }
                let steps = &self.steps[..core::mem::take(&mut self.count)];
                if core::mem::take(&mut self.simulated) {
                    self.continued = false;
                    for step in steps {
                        self.pipeline.push(step);
                    }
                    return self.pipeline.finish();
                }
                let continued = core::mem::take(&mut self.continued);
                let Some(memo) = self.memo.as_mut().filter(|_| !continued) else {
                    self.schedule.run(steps);
                    return self.schedule.end();
                };
                let schedule = &mut self.schedule;
                memo.cost(steps, || {
                    schedule.run(steps);
                    schedule.end()
                })
            }
        }
    }

    /// Hands the block over to the simulation, from its start to the instruction before `pc`.
    #[cold]
    fn simulate(&mut self, pc: u32, code: &Code) {
        self.simulated = true;
        self.schedule.end();
        let mut at = self.start;
        while at < pc
            && let Some((instruction, next)) = code.decode(at)
        {
            self.pipeline.push(&Step::of(&instruction, next, code));
            at = next;
        }
    }
}

/// The cost of the basic block that starts at `start`, at least 1.
///
/// Time is linear in the length of the block. Of an offset where no block starts the answer is the cost of
/// the instructions from there to the end of their block, and of one where no instruction starts it is the
/// cost of a `trap`; charging wants neither ([`Code::block_of`] gives the start).
#[must_use]
pub fn block_cost(code: &Code, model: GasModel, start: u32) -> u32 {
    let mut pricer = Pricer::new(model);
    let mut pc = start;
    while let Some((instruction, next)) = code.decode(pc) {
        pricer.push(&instruction, pc, next, code);
        if instruction.op.is_terminator() {
            break;
        }
        pc = next;
    }
    pricer.finish()
}
