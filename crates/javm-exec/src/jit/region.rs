//! [`RegionTables`]: what compiling a region gives, and the way from guest offsets to machine code and back.
//!
//! All of it is numbers relative to the region, so that it can be stored and loaded. Per instruction one byte is
//! kept, the length of its machine code; per 32 instructions a mark with both offsets; per block its offset and
//! its cost. A lookup inside a block walks at most 32 instructions.

use core::ops::Range;

use javm_isa::Code;

use super::exits;

/// How many instructions lie between two marks.
pub(super) const MARK_DISTANCE: usize = 32;

/// Length of the code that takes a block's gas.
pub(super) const GAS_CHECK_LEN: u32 = 13;

/// Both offsets of an instruction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Mark {
    pub(crate) pc: u32,
    /// Where its code begins: with the taking of gas where it starts a block.
    pub(crate) native: u32,
}

/// A block: where its code begins, and what it costs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Block {
    pub(crate) native: u32,
    pub(crate) cost: u32,
}

/// A call of the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Site {
    pub(crate) pc: u32,
    /// Where the code goes on.
    pub(crate) next: u32,
    pub(crate) kind: crate::EcallKind,
}

/// A jump to a block of another region.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Link {
    /// The position behind its 32-bit displacement, which leads to code of this region that goes there through
    /// the table, until it is made to lead to the block itself.
    pub(crate) patch: u32,
    /// Offset of that code.
    pub(crate) detour: u32,
    /// Offset of the block in the program.
    pub(crate) target: u32,
}

/// The tables of a compiled region. With its machine code, which is independent of where it lies, this is all
/// there is to it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct RegionTables {
    /// Number of its first block in the program.
    pub(crate) first_block: u32,
    /// Where its code ends in the program.
    pub(crate) end: u32,
    /// Length of the machine code.
    pub(crate) len: u32,
    /// Offset of the out-of-gas calls.
    pub(crate) calls: u32,
    /// In order of their offsets. In the last region the end of the code may be one, behind all others.
    pub(crate) blocks: Box<[Block]>,
    pub(crate) marks: Box<[Mark]>,
    pub(crate) lengths: Box<[u8]>,
    pub(crate) sites: Box<[Site]>,
    pub(crate) links: Box<[Link]>,
    /// Where the rounds of loops begin, behind all instructions, with the heads of the loops.
    pub(crate) rounds: Box<[Mark]>,
    /// Instructions that are not entered at their code but elsewhere (see [`fuse`](super::fuse)).
    pub(crate) ways_in: Box<[Mark]>,
}

impl RegionTables {
    /// Bytes of memory.
    pub(super) fn size(&self) -> usize {
        size_of_val(&*self.blocks)
            + size_of_val(&*self.marks)
            + size_of_val(&*self.lengths)
            + size_of_val(&*self.sites)
            + size_of_val(&*self.links)
            + size_of_val(&*self.rounds)
            + size_of_val(&*self.ways_in)
    }

    /// A block by its number in the program.
    #[inline]
    pub(super) fn block(&self, block: u32) -> Option<Block> {
        self.blocks.get(block.checked_sub(self.first_block)? as usize).copied()
    }

    /// Walks the instructions from a mark on until `stop`, which sees the offset of an instruction, where it is
    /// entered, and where its code ends.
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

    /// Where the instruction at `pc` is entered, if not at its code.
    fn way_in(&self, pc: u32) -> Option<u32> {
        let n = self.ways_in.binary_search_by_key(&pc, |way_in| way_in.pc).ok()?;
        Some(self.ways_in.get(n)?.native)
    }

    /// Where the instruction at `pc`, which starts no block, is entered.
    pub(super) fn entry(&self, code: &Code, pc: u32) -> Option<u32> {
        if let Some(way_in) = self.way_in(pc) {
            return Some(way_in);
        }
        let mark = self.marks.partition_point(|m| m.pc <= pc).checked_sub(1)?;
        self.walk(code, mark, |at, entry, _| (at == pc).then_some(entry))
    }

    /// Offset of the instruction whose code holds this offset, and where the next one is entered, which must
    /// not start a block.
    pub(super) fn instruction_at(&self, code: &Code, native: u32) -> Option<(u32, u32)> {
        let mark = self.marks.partition_point(|m| m.native <= native).checked_sub(1)?;
        let (pc, end) = self.walk(code, mark, |pc, _, end| (native < end).then_some((pc, end)))?;
        Some((pc, self.way_in(code.next_pc(pc)).unwrap_or(end)))
    }

    /// The loop whose rounds hold this offset: where its head is, and where they are entered.
    pub(super) fn round_at(&self, native: u32) -> Option<Mark> {
        self.rounds[..self.rounds.partition_point(|round| round.native <= native)].last().copied()
    }

    /// Where the code of the instruction at `pc` lies: with the taking of gas where it starts a block.
    pub(super) fn span(&self, code: &Code, pc: u32) -> Option<Range<u32>> {
        let mark = self.marks.partition_point(|m| m.pc <= pc).checked_sub(1)?;
        self.walk(code, mark, |at, entry, end| {
            let gas = if code.is_block_start(u64::from(pc)) { GAS_CHECK_LEN } else { 0 };
            (at == pc).then_some(entry - gas..end)
        })
    }

    /// The block whose out-of-gas call returns to this offset: where it begins and what it costs.
    pub(super) fn unpaid_block(&self, code: &Code, return_offset: u32) -> Option<(u32, u32)> {
        let Block { native, cost } =
            *self.blocks.get(exits::block_of_call(self.calls, return_offset) as usize)?;
        // The end of the code is behind the last instruction.
        let pc = self.instruction_at(code, native).map_or(code.len(), |(pc, _)| pc);
        Some((pc, cost))
    }
}
