//! Lowering: checked code to [`IOp`]s, one pass over the instructions.

use javm_gas::{BlockCosts, GasModel};
use javm_isa::{Code, OpVisitor, Reg};

use super::{Block, Interpreter, ops::IOp};

/// A block number that no block has: jumping there panics.
pub(super) const NO_BLOCK: u32 = u32::MAX;

/// Lowers a program.
pub(super) fn lower(code: &Code, model: GasModel) -> Interpreter {
    let mut block_at = vec![NO_BLOCK; code.len() as usize];
    for (n, start) in code.block_starts().enumerate() {
        block_at[start as usize] = n as u32;
    }
    let block =
        |target: u64| usize::try_from(target).ok().and_then(|t| block_at.get(t)).copied().unwrap_or(NO_BLOCK);
    let mut costs = BlockCosts::new(code, model).iter().map(|(_, cost)| cost).collect::<Vec<_>>().into_iter();
    let mut blocks = Vec::with_capacity(code.block_count() + 1);
    let mut pcs = Vec::with_capacity(code.len() as usize / 3);
    let mut lowering = Lowering { block: &block, wide: Vec::new() };
    let mut ops = Vec::with_capacity(code.len() as usize / 3);
    for (pc, instruction) in code.instructions(0) {
        if code.is_block_start(u64::from(pc)) {
            blocks.push(Block { cost: costs.next().unwrap_or(0), first: ops.len() as u32 });
        }
        pcs.push(pc);
        ops.push(instruction.visit(&mut lowering));
    }
    // Where the code ends there is nothing to charge for in the Gray Paper 0.8; in 0.7 a `trap` stands there.
    let cost = match model {
        GasModel::Pipeline => 0,
        GasModel::PerInstruction => javm_gas::block_cost(code, model, code.len()),
    };
    blocks.push(Block { cost, first: ops.len() as u32 });
    pcs.push(code.len());
    ops.push(IOp::EndOfCode);
    Interpreter {
        ops: ops.into(),
        pcs: pcs.into(),
        blocks: blocks.into(),
        jump_table: code.jump_table().iter().map(|t| block(u64::from(*t))).collect(),
        wide: lowering.wide.into(),
    }
}

struct Lowering<'a> {
    block: &'a dyn Fn(u64) -> u32,
    wide: Vec<u64>,
}

/// Expands to one method per row: the operation of the same name, with immediates narrowed (decoding yields
/// none that 32 bits do not hold) and targets resolved.
macro_rules! lower_ops {
    ($($shape:ident $variant:ident $name:ident $v07:tt $v08:tt $flow:ident $class:ident $effect:literal;)*) => {
        impl OpVisitor for Lowering<'_> {
            type Out = IOp;
            $(lower_ops!(@ $shape $variant $name);)*
        }
    };
    (@ none $v:ident $name:ident) => { fn $name(&mut self) -> IOp { IOp::$v } };
    (@ imm $v:ident $name:ident) => { fn $name(&mut self, x: u64) -> IOp { IOp::$v(x as u32) } };
    (@ dst_imm64 $v:ident $name:ident) => {
        fn $name(&mut self, a: Reg, x: u64) -> IOp {
            if x as i32 as i64 as u64 == x {
                return IOp::LoadImm(a, x as i32);
            }
            self.wide.push(x);
            IOp::$v(a, self.wide.len() as u32 - 1)
        }
    };
    (@ imm_imm $v:ident $name:ident) => {
        fn $name(&mut self, x: u64, y: u64) -> IOp { IOp::$v(x as u32, y as i32) }
    };
    (@ offset $v:ident $name:ident) => { fn $name(&mut self, t: u64) -> IOp { IOp::$v((self.block)(t)) } };
    (@ dst_imm $v:ident $name:ident) => { fn $name(&mut self, a: Reg, x: u64) -> IOp { IOp::$v(a, x as i32) } };
    (@ src_imm $v:ident $name:ident) => { fn $name(&mut self, a: Reg, x: u64) -> IOp { IOp::$v(a, x as i32) } };
    (@ src_imm_imm $v:ident $name:ident) => {
        fn $name(&mut self, a: Reg, x: u64, y: u64) -> IOp { IOp::$v(a, x as i32, y as i32) }
    };
    (@ dst_imm_offset $v:ident $name:ident) => {
        fn $name(&mut self, a: Reg, x: u64, t: u64) -> IOp { IOp::$v(a, x as i32, (self.block)(t)) }
    };
    (@ src_imm_offset $v:ident $name:ident) => {
        fn $name(&mut self, a: Reg, x: u64, t: u64) -> IOp { IOp::$v(a, x as i32, (self.block)(t)) }
    };
    (@ dst_src $v:ident $name:ident) => { fn $name(&mut self, d: Reg, a: Reg) -> IOp { IOp::$v(d, a) } };
    (@ dst_src_imm $v:ident $name:ident) => {
        fn $name(&mut self, a: Reg, b: Reg, x: u64) -> IOp { IOp::$v(a, b, x as i32) }
    };
    (@ src_src_imm $v:ident $name:ident) => {
        fn $name(&mut self, a: Reg, b: Reg, x: u64) -> IOp { IOp::$v(a, b, x as i32) }
    };
    (@ src_src_offset $v:ident $name:ident) => {
        fn $name(&mut self, a: Reg, b: Reg, t: u64) -> IOp { IOp::$v(a, b, (self.block)(t)) }
    };
    (@ dst_src_imm_imm $v:ident $name:ident) => {
        fn $name(&mut self, a: Reg, b: Reg, x: u64, y: u64) -> IOp { IOp::$v(a, b, x as i32, y as i32) }
    };
    (@ dst_src_src $v:ident $name:ident) => {
        fn $name(&mut self, d: Reg, a: Reg, b: Reg) -> IOp { IOp::$v(d, a, b) }
    };
}
javm_isa::for_each_op!(lower_ops);
