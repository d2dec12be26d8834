//! [`BlockCosts`]: the costs of all basic blocks of a program.

use alloc::{boxed::Box, vec::Vec};

use javm_isa::Code;

use crate::{GasModel, Pricer};

/// The cost of every basic block of a program, 8 bytes per block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlockCosts {
    /// Start and cost, ascending by start.
    blocks: Box<[(u32, u32)]>,
}

impl BlockCosts {
    /// Prices every block. Time is linear in the length of the code, however it is cut into blocks.
    #[must_use]
    pub fn new(code: &Code, model: GasModel) -> Self {
        let mut blocks = Vec::with_capacity(code.block_count());
        let mut pricer = Pricer::new(model);
        let mut start = 0;
        let mut pc = 0;
        while let Some((instruction, next)) = code.decode(pc) {
            pricer.push(&instruction, pc, next, code);
            if instruction.op.is_terminator() || next == code.len() {
                blocks.push((start, pricer.finish()));
                start = next;
            }
            pc = next;
        }
        Self { blocks: blocks.into() }
    }

    /// The cost of the block that starts at `start`; `None` where no block starts.
    #[must_use]
    pub fn cost(&self, start: u32) -> Option<u32> {
        let n = self.blocks.binary_search_by_key(&start, |block| block.0).ok()?;
        self.blocks.get(n).map(|block| block.1)
    }

    /// Start and cost of each block, ascending by start.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (u32, u32)> + '_ {
        self.blocks.iter().copied()
    }
}
