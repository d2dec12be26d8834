//! Lowering: checked code to [`IOp`]s, one pass over the instructions.

use javm_gas::{BlockCosts, GasModel};
use javm_isa::{Code, OpVisitor, Reg};

use super::{Interpreter, ops::IOp};

/// Where no block is: a number that no operation has.
pub(super) const NO_BLOCK: u32 = u32::MAX;

/// Lowers a program.
pub(super) fn lower(code: &Code, model: GasModel) -> Interpreter {
    let mut start_at = vec![NO_BLOCK; code.len() as usize];
    let mut starts = Vec::with_capacity(code.block_count() + 1);
    let mut pcs = Vec::with_capacity(code.len() as usize / 2);
    let mut pc = 0;
    while pc < code.len() {
        if code.is_block_start(u64::from(pc)) {
            start_at[pc as usize] = pcs.len() as u32;
            starts.push(pcs.len() as u32);
            pcs.push(pc);
        }
        pcs.push(pc);
        pc = code.next_pc(pc);
    }
    starts.push(pcs.len() as u32);
    pcs.extend([code.len(); 2]);

    let start =
        |target: u64| usize::try_from(target).ok().and_then(|t| start_at.get(t)).copied().unwrap_or(NO_BLOCK);
    let costs = BlockCosts::new(code, model);
    let mut costs = costs.iter().map(|(_, cost)| cost);
    let mut lowering = Lowering { start: &start, wide: Vec::new(), here: 0, lost: Vec::new() };
    let mut ops = Vec::with_capacity(pcs.len());
    for (pc, instruction) in code.instructions(0) {
        let begins = code.is_block_start(u64::from(pc));
        lowering.here = ops.len() as u32 + u32::from(begins);
        let op = instruction.visit(&mut lowering);
        if begins {
            let cost = costs.next().unwrap_or(0);
            ops.push(if let IOp::Unlikely = op { IOp::EnterUnlikely(cost) } else { IOp::Enter(cost) });
        }
        ops.push(op);
    }
    // Where the code ends there is nothing to charge for in the Gray Paper 0.8; in 0.7 a `trap` stands there.
    let cost = match model {
        GasModel::Pipeline => 0,
        GasModel::PerInstruction => javm_gas::block_cost(code, model, code.len()),
    };
    ops.extend([IOp::Enter(cost), IOp::EndOfCode]);
    fuse(&mut ops, &lowering.lost);
    Interpreter {
        ops: ops.into(),
        pcs: pcs.into(),
        starts: starts.into(),
        jump_table: code.jump_table().iter().map(|t| start(u64::from(*t))).collect(),
        wide: lowering.wide.into(),
    }
}

/// Takes instructions together where that leaves the fewest steps to the end of a block. The second and the
/// third keep their places, for whoever enters there. None of several but the last ends a block.
///
/// What jumps to where no block is stays alone: it panics, and the current operation is the one it panics at.
fn fuse(ops: &mut [IOp], lost: &[u32]) {
    let mut lost = lost.iter().rev().copied().peekable();
    // Steps to the end from the next operation on, from the one behind that, from the third.
    let mut steps = [0_usize; 3];
    let mut alone = usize::MAX;
    for n in (0..ops.len()).rev() {
        // What the others start with: they may have been taken together with what follows them.
        let behind = |k: usize| ops.get(n + k).map(|op| op.first());
        let (one, two) = (behind(1), behind(2));
        // Nothing is taken together with what is lost: `steps` starts again behind it.
        if lost.next_if_eq(&(n as u32)).is_some() {
            alone = n;
        }
        let one = one.filter(|_| n + 1 != alone);
        let two = two.filter(|_| n + 2 != alone);
        let pair = one.and_then(|one| ops[n].paired(one)).filter(|_| steps[1] < steps[0]);
        let triple = one.zip(two).and_then(|(one, two)| ops[n].tripled(one, two));
        let triple = triple.filter(|_| steps[2] < if pair.is_some() { steps[1] } else { steps[0] });
        let left = match (pair, triple) {
            (_, Some(_)) => steps[2],
            (Some(_), None) => steps[1],
            (None, None) => steps[0],
        };
        ops[n] = triple.or(pair).unwrap_or(ops[n]);
        steps = [left + 1, steps[0], steps[1]];
    }
}

struct Lowering<'a> {
    start: &'a dyn Fn(u64) -> u32,
    wide: Vec<u64>,
    /// How many operations there are so far.
    here: u32,
    /// Those that jump to where no block is.
    lost: Vec<u32>,
}

impl Lowering<'_> {
    /// Where the block at a target starts.
    fn target(&mut self, target: u64) -> u32 {
        let start = (self.start)(target);
        if start == NO_BLOCK {
            self.lost.push(self.here);
        }
        start
    }
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
    (@ offset $v:ident $name:ident) => { fn $name(&mut self, t: u64) -> IOp { IOp::$v(self.target(t)) } };
    (@ dst_imm $v:ident $name:ident) => { fn $name(&mut self, a: Reg, x: u64) -> IOp { IOp::$v(a, x as i32) } };
    (@ src_imm $v:ident $name:ident) => { fn $name(&mut self, a: Reg, x: u64) -> IOp { IOp::$v(a, x as i32) } };
    (@ src_imm_imm $v:ident $name:ident) => {
        fn $name(&mut self, a: Reg, x: u64, y: u64) -> IOp { IOp::$v(a, x as i32, y as i32) }
    };
    (@ dst_imm_offset $v:ident $name:ident) => {
        fn $name(&mut self, a: Reg, x: u64, t: u64) -> IOp { IOp::$v(a, x as i32, self.target(t)) }
    };
    (@ src_imm_offset $v:ident $name:ident) => {
        fn $name(&mut self, a: Reg, x: u64, t: u64) -> IOp { IOp::$v(a, x as i32, self.target(t)) }
    };
    (@ dst_src $v:ident $name:ident) => { fn $name(&mut self, d: Reg, a: Reg) -> IOp { IOp::$v(d, a) } };
    (@ dst_src_imm $v:ident $name:ident) => {
        fn $name(&mut self, a: Reg, b: Reg, x: u64) -> IOp { IOp::$v(a, b, x as i32) }
    };
    (@ src_src_imm $v:ident $name:ident) => {
        fn $name(&mut self, a: Reg, b: Reg, x: u64) -> IOp { IOp::$v(a, b, x as i32) }
    };
    (@ src_src_offset $v:ident $name:ident) => {
        fn $name(&mut self, a: Reg, b: Reg, t: u64) -> IOp { IOp::$v(a, b, self.target(t)) }
    };
    (@ dst_src_imm_imm $v:ident $name:ident) => {
        fn $name(&mut self, a: Reg, b: Reg, x: u64, y: u64) -> IOp { IOp::$v(a, b, x as i32, y as i32) }
    };
    (@ dst_src_src $v:ident $name:ident) => {
        fn $name(&mut self, d: Reg, a: Reg, b: Reg) -> IOp { IOp::$v(d, a, b) }
    };
}
javm_isa::for_each_op!(lower_ops);
