//! [`Pricer`]: the cost of a block from its instructions, one at a time; [`block_cost`]: the same from code.

use javm_isa::{Code, Instruction};

use crate::{GasModel, pipeline::Pipeline};

/// Prices basic blocks as their instructions come by.
///
/// [`push`](Self::push) each instruction of a block in order, then [`finish`](Self::finish); after that the
/// pricer is ready for the next block. It allocates nothing and takes constant time per instruction.
///
/// ```
/// use javm_gas::{GasModel, Pricer};
/// use javm_isa::Code;
///
/// let code = Code::new(&[190, 135, 9, 0], &[0b1001], &[]).unwrap(); // add_32 a2, a0, a1; trap
/// let mut pricer = Pricer::new(GasModel::PerInstruction);
/// for (pc, instruction) in code.instructions(0) {
///     pricer.push(&instruction, code.next_pc(pc), &code);
/// }
/// assert_eq!(pricer.finish(), 2);
/// ```
#[derive(Clone, Debug)]
pub struct Pricer {
    model: GasModel,
    /// Whether the last instruction ended the block.
    terminated: bool,
    instructions: u32,
    pipeline: Pipeline,
}

impl Pricer {
    /// A pricer for one model.
    #[must_use]
    pub fn new(model: GasModel) -> Self {
        Self { model, terminated: false, instructions: 0, pipeline: Pipeline::new() }
    }

    /// Takes the next instruction of the block; `next_pc` is the offset of the one behind it. `code` is
    /// where branches look at what lies on their two ways.
    #[inline]
    pub fn push(&mut self, instruction: &Instruction, next_pc: u32, code: &Code) {
        match self.model {
            GasModel::Pipeline => self.pipeline.push(instruction, next_pc, code),
            GasModel::PerInstruction => self.instructions = self.instructions.saturating_add(1),
        }
        self.terminated = instruction.op.is_terminator();
    }

    /// The cost of the block whose instructions were pushed. A block whose last instruction does not end it
    /// runs off the end of the code and pays for the `trap` there.
    pub fn finish(&mut self) -> u32 {
        if !self.terminated {
            match self.model {
                GasModel::Pipeline => self.pipeline.push_trap(),
                GasModel::PerInstruction => self.instructions = self.instructions.saturating_add(1),
            }
        }
        self.terminated = false;
        match self.model {
            GasModel::Pipeline => self.pipeline.finish(),
            GasModel::PerInstruction => core::mem::take(&mut self.instructions),
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
        pricer.push(&instruction, next, code);
        if instruction.op.is_terminator() {
            break;
        }
        pc = next;
    }
    pricer.finish()
}
