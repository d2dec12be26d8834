//! The pass over a region: decode, price and emit, instruction by instruction; then the jumps that went forward
//! or elsewhere.
//!
//! Time and memory are linear in the length of the region. A block's cost is known at its end, and filled in
//! where its beginning takes it.

use javm_gas::{GasModel, Pricer};
use javm_isa::{Code, Op, op::Flow};
use javm_sys::frame;

use super::{
    asm::{Asm, Cond, Patch, W64},
    blocks::BlockIndex,
    bulk::Bulk,
    exits::Stubs,
    fuse::Fusion,
    region::{Block, GAS_CHECK_LEN, Link, MARK_DISTANCE, Mark, RegionTables, Site},
    regs::{GAS, TMP},
};

/// The most machine code that one instruction becomes, its block's gas included.
const MAX_INSTRUCTION: usize = 192;

/// Where loops start, and regions: at a line of the cache, because a small loop that lies in two takes a cycle more
/// each time.
const LOOP_ALIGNMENT: usize = 64;

/// A cost that does not fit the instruction that takes it: such a region is interpreted.
const MAX_COST: u32 = i32::MAX as u32;

/// The compiler, with the region that it is at.
pub(super) struct Compiler<'a> {
    pub(super) asm: Asm,
    pub(super) stubs: Stubs,
    /// Offset of the instruction at hand, and of the next one.
    pub(super) pc: u32,
    pub(super) next_pc: u32,
    /// Entries of the table of indirect jumps.
    pub(super) table_len: u32,
    pub(super) sites: Vec<Site>,
    pub(super) fusion: Fusion,
    code: &'a Code,
    model: GasModel,
    index: &'a BlockIndex,
    pricer: Pricer,
    /// Number of the region's first block, how many it has, and where they end.
    first_block: u32,
    block_count: u32,
    end: u32,
    blocks: Vec<Block>,
    /// Jumps to blocks of this region that are further on, by their number in it.
    forward: Vec<(Patch, u32)>,
    /// Jumps to blocks of other regions, by their offset.
    elsewhere: Vec<(Patch, u32)>,
    /// Jumps that panic when taken, with their offset.
    invalid: Vec<(Patch, u32)>,
    /// Jumps to the rounds of loops, with their heads and what they do. `None` where the processor has not what rounds
    /// are made of.
    loops: Option<Vec<(Patch, u32, Bulk)>>,
}

/// What going on behind the last instruction costs: nothing in the Gray Paper 0.8; in 0.7 a `trap` stands
/// there.
pub(super) fn end_cost(code: &Code, model: GasModel) -> u32 {
    match model {
        GasModel::Pipeline => 0,
        GasModel::PerInstruction => javm_gas::block_cost(code, model, code.len()),
    }
}

impl<'a> Compiler<'a> {
    /// A compiler that writes to `asm`, from its beginning on.
    pub(super) fn new(code: &'a Code, model: GasModel, index: &'a BlockIndex, mut asm: Asm) -> Self {
        asm.clear();
        Self {
            asm,
            stubs: Stubs::default(),
            pc: 0,
            next_pc: 0,
            table_len: code.jump_table().len() as u32 + 1,
            sites: Vec::new(),
            fusion: Fusion::default(),
            code,
            model,
            index,
            pricer: Pricer::new(model),
            first_block: 0,
            block_count: 0,
            end: 0,
            blocks: Vec::new(),
            forward: Vec::new(),
            elsewhere: Vec::new(),
            invalid: Vec::new(),
            loops: Bulk::supported().then(Vec::new),
        }
    }

    /// Says that much is to be compiled.
    pub(super) fn expect_much(&mut self) {
        self.pricer.remember();
    }

    /// Puts a region that was compiled before behind what is there; where it begins.
    pub(super) fn append(&mut self, code: &[u8]) -> usize {
        let begin = self.asm.begin_region(LOOP_ALIGNMENT);
        self.asm.append(code);
        begin
    }

    /// Compiles a region behind what is there; where it begins, and its tables. `None` when a cost is out of
    /// range: such a region can still be interpreted.
    pub(super) fn region(&mut self, region: u32) -> Option<(usize, RegionTables)> {
        let begin = self.asm.begin_region(LOOP_ALIGNMENT);
        let range = self.index.range_of(region);
        let blocks = self.index.blocks_of(region);
        (self.first_block, self.block_count) = (blocks.start, blocks.len() as u32);
        (self.pc, self.end) = (range.start, range.end);
        self.blocks = Vec::with_capacity(blocks.len() + 1);
        self.fusion = Fusion::default();
        // One more than there are: the end of the code is a block too.
        let count = self.block_count + 1;
        self.asm.reserve(Stubs::room(count));
        self.stubs = Stubs::emit(&mut self.asm, region, count, self.table_len);
        self.asm.reserve(MAX_INSTRUCTION);
        self.asm.align(LOOP_ALIGNMENT);
        let (marks, lengths) = self.instructions()?;
        let ways_in = self.ways_in();
        let rounds = self.rounds();
        self.bind_forward()?;
        let links = self.bind_elsewhere();
        self.bind_invalid();
        let tables = RegionTables {
            first_block: self.first_block,
            end: self.end,
            len: self.asm.pos(),
            calls: self.stubs.calls,
            blocks: core::mem::take(&mut self.blocks).into(),
            marks: marks.into(),
            lengths: lengths.into(),
            sites: core::mem::take(&mut self.sites).into(),
            rounds: rounds.into(),
            ways_in: ways_in.into(),
            links: links.into(),
        };
        Some((begin, tables))
    }

    /// Everything from `pc` to the end of the region.
    fn instructions(&mut self) -> Option<(Vec<Mark>, Vec<u8>)> {
        let estimate = (self.end - self.pc) as usize / 3;
        let mut marks = Vec::with_capacity(estimate / MARK_DISTANCE + 1);
        let mut lengths = Vec::with_capacity(estimate);
        let mut cost_at = None;
        let mut flow = Flow::Next;
        while self.pc < self.end
            && let Some((instruction, next)) = self.code.decode(self.pc)
        {
            self.asm.reserve(MAX_INSTRUCTION);
            self.next_pc = next;
            if lengths.len() % MARK_DISTANCE == 0 {
                marks.push(Mark { pc: self.pc, native: self.asm.pos() });
            }
            let begins = cost_at.is_none();
            if begins {
                cost_at = Some(self.begin_block());
            }
            let mut start = self.asm.pos();
            self.fusion.before(self.pc, start);
            instruction.visit(self);
            self.fusion.behind(&instruction);
            if let Some(merged) = self.fusion.merged.take() {
                // The code of the instruction before is gone.
                if let (Some(length), Some(mark)) = (lengths.last_mut(), marks.last_mut()) {
                    *length = 0;
                    mark.native = mark.native.min(merged);
                }
                start = merged;
            }
            let terminator = instruction.op.is_terminator();
            if next < self.end && matches!(instruction.op.flow(), Flow::Fallthrough | Flow::Branch) {
                self.begin_loop(next);
            }
            if terminator && self.is_loop(instruction.op, next) {
                self.asm.align(LOOP_ALIGNMENT);
            }
            lengths.push((self.asm.pos() - start) as u8);
            self.pricer.push(&instruction, self.pc, next, self.code);
            flow = instruction.op.flow();
            if (terminator || next == self.code.len())
                && let Some(at) = cost_at.take()
            {
                let cost = self.pricer.finish();
                self.end_block(at, cost)?;
            }
            self.pc = next;
        }
        self.leave_region(flow)?;
        Some((marks, lengths))
    }

    /// Whether the block at `head`, behind a terminator, might be the head of a loop that wants to be aligned.
    ///
    /// Compilers begin such heads with `unlikely`, or let them be fallen into. Padding that is not executed costs
    /// little, so behind a jump that says enough.
    fn is_loop(&self, terminator: Op, head: u32) -> bool {
        let unlikely = self.code.byte_at(head.into()) == Op::Unlikely.opcode();
        match terminator.flow() {
            Flow::Fallthrough => self.is_small_loop(head),
            Flow::Branch => unlikely && self.is_small_loop(head),
            _ => unlikely,
        }
    }

    /// Whether one of the first blocks from `head` on ends with going back there.
    fn is_small_loop(&self, head: u32) -> bool {
        let mut start = head;
        for _ in 0..3 {
            let Some(end) = self.index.next_near(start) else { return false };
            let last = self.code.instruction_of(end - 1);
            let op = Op::from_opcode(self.code.byte_at(last.into()));
            if op.is_some_and(|op| matches!(op.flow(), Flow::Branch | Flow::Jump))
                && self.code.instruction(last).and_then(|last| last.target()) == Some(head.into())
            {
                return true;
            }
            start = end;
        }
        false
    }

    /// Writes the way to the rounds of the loop whose head comes next, if it has some. It lies between instructions, as
    /// what aligns the head does.
    fn begin_loop(&mut self, head: u32) {
        if let Some(loops) = &mut self.loops
            && let Some(bulk) = Bulk::at(self.code, head)
        {
            let rounds = bulk.emit_way(&mut self.asm);
            loops.push((rounds, head, bulk));
        }
    }

    /// Writes the rounds of all loops; where they begin, with the heads of the loops.
    fn rounds(&mut self) -> Vec<Mark> {
        let mut marks = Vec::new();
        let mut loops = self.loops.take();
        for (way, head, bulk) in loops.iter_mut().flat_map(|loops| loops.drain(..)) {
            let Some(Block { native, cost }) = self.known(head.into()) else { continue };
            let second = bulk.second.map_or(Some(0), |second| Some(self.known(second.into())?.cost));
            let Some(cost) = second.and_then(|second| bulk.cost(cost, second)) else {
                self.asm.bind(way, native);
                continue;
            };
            self.asm.reserve(Bulk::MAX);
            let (entry, behind) = bulk.emit_rounds(&mut self.asm, native, cost);
            self.asm.bind(way, entry);
            marks.push(Mark { pc: head, native: entry });
            let number = self.index.containing(bulk.behind).wrapping_sub(self.first_block);
            self.later(behind, number, bulk.behind.into());
        }
        self.loops = loops;
        marks
    }

    /// What comes behind the last instruction.
    fn leave_region(&mut self, flow: Flow) -> Option<()> {
        self.asm.reserve(MAX_INSTRUCTION);
        if self.end < self.code.len() {
            if !matches!(flow, Flow::Jump | Flow::Trap | Flow::Indirect) {
                let patch = self.asm.jmp_later();
                self.elsewhere.push((patch, self.end));
            }
            return Some(());
        }
        let end_cost = end_cost(self.code, self.model);
        if flow.is_terminator() && end_cost != 0 {
            let at = self.begin_block();
            self.end_block(at, end_cost)?;
        }
        self.exit_with_pc(self.end, self.stubs.panic);
        Some(())
    }

    /// Takes the gas of the block that starts here; gives where the cost is to be filled in.
    fn begin_block(&mut self) -> u32 {
        let native = self.asm.pos();
        let block = self.blocks.len() as u32;
        self.blocks.push(Block { native, cost: 0 });
        let call = self.stubs.emit_call(&mut self.asm, block);
        let at = self.asm.sub_imm_later(GAS);
        self.asm.jcc_far(Cond::B, call);
        debug_assert_eq!(self.asm.pos(), native + GAS_CHECK_LEN);
        at
    }

    fn end_block(&mut self, at: u32, cost: u32) -> Option<()> {
        if cost > MAX_COST {
            return None;
        }
        self.asm.set32(at, cost);
        self.blocks.last_mut()?.cost = cost;
        Some(())
    }

    /// Leaves through a stub that wants a code offset.
    pub(super) fn exit_with_pc(&mut self, pc: u32, stub: u32) {
        self.asm.mov_imm(TMP, u64::from(pc));
        self.asm.jmp(stub);
    }

    /// Goes to the block that starts at `target`, or panics here if none does.
    pub(super) fn goto(&mut self, target: u64) {
        let Some(block) = self.index.starting_at(target) else {
            return self.exit_with_pc(self.pc, self.stubs.panic);
        };
        if target == u64::from(self.next_pc) && self.next_pc < self.end {
            return;
        }
        let number = block.wrapping_sub(self.first_block);
        if let Some(known) = self.blocks.get(number as usize) {
            return self.asm.jmp(known.native);
        }
        let patch = self.asm.jmp_later();
        self.later(patch, number, target);
    }

    /// The block of this region that starts at `target`, if it was emitted.
    fn known(&self, target: u64) -> Option<Block> {
        let number = self.index.starting_at(target)?.wrapping_sub(self.first_block);
        self.blocks.get(number as usize).copied()
    }

    /// Goes there if the condition holds.
    pub(super) fn goto_if(&mut self, cond: Cond, target: u64) {
        let Some(block) = self.index.starting_at(target) else {
            let patch = self.asm.jcc_later(cond);
            return self.invalid.push((patch, self.pc));
        };
        let number = block.wrapping_sub(self.first_block);
        if let Some(known) = self.blocks.get(number as usize) {
            return self.asm.jcc(cond, known.native);
        }
        let patch = self.asm.jcc_later(cond);
        self.later(patch, number, target);
    }

    /// Remembers a jump to a block that is not there yet, or never will be in this region.
    fn later(&mut self, patch: Patch, number: u32, target: u64) {
        if number < self.block_count {
            self.forward.push((patch, number));
        } else {
            self.elsewhere.push((patch, target as u32));
        }
    }

    /// Fills in the jumps that went forward.
    fn bind_forward(&mut self) -> Option<()> {
        while let Some((patch, block)) = self.forward.pop() {
            let target = self.blocks.get(block as usize)?.native;
            self.asm.bind(patch, target);
        }
        Some(())
    }

    /// Writes the detours to other regions, one for each block that is gone to.
    fn bind_elsewhere(&mut self) -> Vec<Link> {
        self.elsewhere.sort_unstable_by_key(|(_, target)| *target);
        let mut links: Vec<Link> = Vec::with_capacity(self.elsewhere.len());
        for n in 0..self.elsewhere.len() {
            let (patch, target) = self.elsewhere[n];
            let detour = match links.last() {
                Some(last) if last.target == target => last.detour,
                _ => self.detour(target),
            };
            self.asm.bind(patch, detour);
            links.push(Link { patch: patch.0, detour, target });
        }
        self.elsewhere.clear();
        links
    }

    /// Goes to a block through the table, where an empty place means that its region has to be compiled.
    fn detour(&mut self, target: u32) -> u32 {
        self.asm.reserve(MAX_INSTRUCTION);
        let at = self.asm.pos();
        let block = self.index.containing(target);
        self.asm.load_slot(W64, TMP, frame::TABLE);
        self.asm.load_at_tmp(((self.table_len + block) * 8) as i32);
        self.asm.test(W64, TMP, TMP);
        let empty = self.asm.jcc_short(Cond::E);
        self.asm.jmp_tmp();
        self.asm.bind_short(empty);
        self.exit_with_pc(target, self.stubs.no_block);
        at
    }

    /// Writes the panics of jumps that go nowhere.
    fn bind_invalid(&mut self) {
        while let Some((patch, pc)) = self.invalid.pop() {
            self.asm.reserve(MAX_INSTRUCTION);
            let target = self.asm.pos();
            self.asm.bind(patch, target);
            self.exit_with_pc(pc, self.stubs.panic);
        }
    }
}
