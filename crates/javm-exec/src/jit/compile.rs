//! The pass: decode, price and emit, instruction by instruction; then the jumps that went forward.
//!
//! Time and memory are linear in the length of the program. A block's cost is known at its end, and filled
//! in where its beginning takes it.

use javm_gas::{GasModel, Pricer};
use javm_isa::{Code, Op};
use javm_sys::Draft;

use super::{
    asm::{Asm, Cond, Patch},
    blocks::BlockIndex,
    exits::Stubs,
    program::{Block, GAS_CHECK_LEN, MARK_DISTANCE, Mark, Program, Site},
    publish::Executable,
    regs::{GAS, TMP},
};

/// The most machine code that one instruction becomes, its block's gas included.
const MAX_INSTRUCTION: usize = 192;

/// Machine code per byte of code, at most: a `fallthrough` that is aligned comes nearest.
const MAX_EXPANSION: usize = 56;

/// Where loops start.
const LOOP_ALIGNMENT: usize = 32;

/// Room for the stubs.
const HEAD: usize = 512;

/// A cost that does not fit the instruction that takes it: such a program is interpreted.
const MAX_COST: u32 = i32::MAX as u32;

/// What is being compiled.
pub(super) struct Compiler<'a> {
    pub(super) asm: Asm<'a>,
    pub(super) stubs: Stubs,
    /// Offset of the instruction at hand, and of the next one.
    pub(super) pc: u32,
    pub(super) next_pc: u32,
    /// Entries of the table of indirect jumps.
    pub(super) table_len: u32,
    index: &'a BlockIndex,
    blocks: Vec<Block>,
    /// Jumps to blocks further on.
    forward: Vec<(Patch, u32)>,
    /// Jumps that panic when taken, with their offset.
    invalid: Vec<(Patch, u32)>,
    pub(super) sites: Vec<Site>,
}

/// Compiles a program. `None` when there is no memory for it, or its costs are out of range: it can still be
/// interpreted.
pub(crate) fn compile(code: &Code, model: GasModel) -> Option<Program> {
    let index = BlockIndex::new(code);
    let capacity =
        HEAD + (index.count() as usize + 1) * 5 + code.len() as usize * MAX_EXPANSION + MAX_INSTRUCTION;
    if i32::try_from(capacity).is_err() {
        return None;
    }
    let mut draft = Draft::new(capacity)?;
    let mut asm = Asm::new(draft.bytes());
    // One more than there are: the end of the code is a block too.
    let stubs = Stubs::emit(&mut asm, index.count() + 1);
    let mut c = Compiler {
        asm,
        stubs,
        pc: 0,
        next_pc: 0,
        table_len: code.jump_table().len() as u32 + 1,
        index: &index,
        blocks: Vec::with_capacity(index.count() as usize),
        forward: Vec::new(),
        invalid: Vec::new(),
        sites: Vec::new(),
    };
    let estimate = code.len() as usize / 3;
    let mut marks = Vec::with_capacity(estimate / MARK_DISTANCE + 1);
    let mut lengths = Vec::with_capacity(estimate);
    let mut pricer = Pricer::new(model);
    let mut cost_at = None;
    let mut terminated = false;
    while let Some((instruction, next)) = code.decode(c.pc) {
        if !c.asm.has_room(MAX_INSTRUCTION) {
            return None;
        }
        c.next_pc = next;
        if lengths.len() % MARK_DISTANCE == 0 {
            marks.push(Mark { pc: c.pc, native: c.asm.pos() });
        }
        if cost_at.is_none() {
            cost_at = Some(c.begin_block());
        }
        let start = c.asm.pos();
        instruction.visit(&mut c);
        // A block that is only fallen into, or that begins with `unlikely`, is most often the head of a loop:
        // that is where compilers and linkers put the two. Small loops want to be aligned.
        if instruction.op == Op::Fallthrough
            || instruction.op.is_terminator() && code.byte_at(next.into()) == Op::Unlikely.opcode()
        {
            c.asm.align(LOOP_ALIGNMENT);
        }
        lengths.push((c.asm.pos() - start) as u8);
        pricer.push(&instruction, c.pc, next, code);
        terminated = instruction.op.is_terminator();
        if (terminated || next == code.len())
            && let Some(at) = cost_at.take()
        {
            c.end_block(at, pricer.finish())?;
        }
        c.pc = next;
    }
    let end_cost = end_cost(code, model);
    if terminated && end_cost != 0 {
        let at = c.begin_block();
        c.end_block(at, end_cost)?;
    }
    c.exit_with_pc(code.len(), stubs.panic);
    c.bind_jumps()?;
    let (len, blocks, sites) = (c.asm.pos(), c.blocks, c.sites);
    let native = |target: &u32| {
        let block = index.starting_at(u64::from(*target))?;
        blocks.get(block as usize).map(|b| b.native)
    };
    let table = core::iter::once(stubs.bad_entry)
        .chain(code.jump_table().iter().map(|t| native(t).unwrap_or(stubs.bad_entry)));
    let executable = Executable::new(draft, len, table)?;
    Some(Program {
        executable,
        index,
        blocks: blocks.into(),
        end_cost,
        marks: marks.into(),
        lengths: lengths.into(),
        sites: sites.into(),
        stubs,
    })
}

/// What going on behind the last instruction costs: nothing in the Gray Paper 0.8; in 0.7 a `trap` stands
/// there.
fn end_cost(code: &Code, model: GasModel) -> u32 {
    match model {
        GasModel::Pipeline => 0,
        GasModel::PerInstruction => javm_gas::block_cost(code, model, code.len()),
    }
}

impl Compiler<'_> {
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
        if target == u64::from(self.next_pc) && self.index.starting_at(target).is_some() {
            return;
        }
        match self.index.starting_at(target) {
            None => self.exit_with_pc(self.pc, self.stubs.panic),
            Some(block) => match self.blocks.get(block as usize) {
                Some(known) => self.asm.jmp(known.native),
                None => {
                    let patch = self.asm.jmp_later();
                    self.forward.push((patch, block));
                }
            },
        }
    }

    /// Goes there if the condition holds.
    pub(super) fn goto_if(&mut self, cond: Cond, target: u64) {
        match self.index.starting_at(target) {
            None => {
                let patch = self.asm.jcc_later(cond);
                self.invalid.push((patch, self.pc));
            }
            Some(block) => match self.blocks.get(block as usize) {
                Some(known) => self.asm.jcc(cond, known.native),
                None => {
                    let patch = self.asm.jcc_later(cond);
                    self.forward.push((patch, block));
                }
            },
        }
    }

    /// Fills in the jumps that went forward, and writes the panics of those that go nowhere.
    fn bind_jumps(&mut self) -> Option<()> {
        for (patch, block) in core::mem::take(&mut self.forward) {
            let target = self.blocks.get(block as usize)?.native;
            self.asm.bind(patch, target);
        }
        for (patch, pc) in core::mem::take(&mut self.invalid) {
            if !self.asm.has_room(MAX_INSTRUCTION) {
                return None;
            }
            let target = self.asm.pos();
            self.asm.bind(patch, target);
            self.exit_with_pc(pc, self.stubs.panic);
        }
        Some(())
    }
}
