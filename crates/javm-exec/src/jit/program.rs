//! [`Program`]: a compiled program, and the way from guest offsets to machine code and back.
//!
//! Per instruction one byte is kept, the length of its machine code; per 32 instructions a mark with both
//! offsets; per block its offset and its cost. A lookup inside a block walks at most 32 instructions.

use javm_isa::Code;

use super::{
    blocks::BlockIndex,
    exits::Stubs,
    publish::{Entry, Executable},
};

/// How many instructions lie between two marks.
pub(super) const MARK_DISTANCE: usize = 32;

/// Length of the code that takes a block's gas.
pub(super) const GAS_CHECK_LEN: u32 = 13;

/// Both offsets of an instruction.
#[derive(Clone, Copy, Debug)]
pub(super) struct Mark {
    pub(super) pc: u32,
    /// Where its code begins: with the taking of gas where it starts a block.
    pub(super) native: u32,
}

/// A block: where its code begins, and what it costs.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Block {
    pub(super) native: u32,
    pub(super) cost: u32,
}

/// A call of the host.
#[derive(Clone, Copy, Debug)]
pub(super) struct Site {
    pub(super) pc: u32,
    /// Where the code goes on.
    pub(super) next: u32,
    pub(super) kind: crate::EcallKind,
}

/// A compiled program.
#[derive(Debug)]
pub(crate) struct Program {
    pub(super) executable: Executable,
    pub(super) index: BlockIndex,
    /// In order of their offsets; the end of the code may be one, behind all others.
    pub(super) blocks: Box<[Block]>,
    /// What an entry at the end of the code costs.
    pub(super) end_cost: u32,
    pub(super) marks: Box<[Mark]>,
    pub(super) lengths: Box<[u8]>,
    pub(super) sites: Box<[Site]>,
    pub(super) stubs: Stubs,
}

impl Program {
    /// Bytes of memory that the program takes, code and tables.
    pub(crate) fn size(&self) -> usize {
        self.executable.size()
            + size_of_val(&*self.blocks)
            + size_of_val(&*self.marks)
            + size_of_val(&*self.lengths)
            + size_of_val(&*self.sites)
    }

    /// The machine code, as it was published.
    pub(crate) fn machine_code(&self) -> &[u8] {
        self.executable.bytes()
    }

    /// Walks the instructions from a mark on until `stop`, which sees the offset of an instruction, where its
    /// code begins (with the taking of gas), where it is entered, and where it ends.
    fn walk<T>(
        &self,
        code: &Code,
        mark: usize,
        mut stop: impl FnMut(u32, u32, u32) -> Option<T>,
    ) -> Option<T> {
        let Mark { mut pc, mut native } = *self.marks.get(mark)?;
        for length in self.lengths.get(mark * MARK_DISTANCE..)?.iter().take(MARK_DISTANCE) {
            let entry = native + if code.is_block_start(u64::from(pc)) { GAS_CHECK_LEN } else { 0 };
            let end = entry + u32::from(*length);
            if let Some(found) = stop(pc, entry, end) {
                return Some(found);
            }
            pc = code.next_pc(pc);
            native = end;
        }
        None
    }

    /// Where the instruction at `pc` is entered when its block is paid; `None` where no instruction starts.
    pub(super) fn entry(&self, code: &Code, pc: u32) -> Option<Entry> {
        if let Some(block) = self.index.starting_at(u64::from(pc)) {
            return Some(Entry(self.blocks.get(block as usize)?.native + GAS_CHECK_LEN));
        }
        if !code.is_instruction_start(u64::from(pc)) {
            return None;
        }
        let mark = self.marks.partition_point(|m| m.pc <= pc) - 1;
        self.walk(code, mark, |at, entry, _| (at == pc).then_some(Entry(entry)))
    }

    /// Offset of the instruction whose code holds this offset, and where the next one is entered, which must
    /// not start a block.
    pub(super) fn instruction_at(&self, code: &Code, native: u32) -> Option<(u32, Entry)> {
        let mark = self.marks.partition_point(|m| m.native <= native).checked_sub(1)?;
        self.walk(code, mark, |pc, _, end| (native < end).then_some((pc, Entry(end))))
    }

    /// Offset of a block's first instruction.
    pub(super) fn block_pc(&self, code: &Code, block: u32) -> Option<u32> {
        let native = self.blocks.get(block as usize)?.native;
        if block == self.index.count() {
            return Some(code.len());
        }
        self.instruction_at(code, native).map(|(pc, _)| pc)
    }
}
