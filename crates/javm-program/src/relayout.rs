//! Code laid out anew when its instructions change length.
//!
//! Transcoding and the renumbering of imports both yield instructions whose targets are offsets of the old
//! code. [`relayout`] gives each its new place, as short as it can be, and moves jump targets and the jump
//! table along; [`PcMap`] moves everything else. Instructions keep their order and number, so basic blocks
//! and what they cost stay what they were.

use javm_isa::{
    Code, CodeError, Instruction,
    code::MAX_CODE_LEN,
    shape::{imm_len, write_with},
};

/// Passes over the branches after which offsets are no longer kept as short as possible. Real programs need
/// a few; the bound keeps the time linear for programs made to need more.
const SHORTEST_PASSES: u32 = 16;

/// Where the instructions of a program were and are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PcMap {
    old: Vec<u32>,
    /// One more than `old`: the last is the new code's length.
    new: Vec<u32>,
}

impl PcMap {
    /// The new offset of the instruction that started at `old`; the new code's length, which is no
    /// instruction's, where none did.
    #[must_use]
    pub fn to_new(&self, old: u64) -> u32 {
        self.new[self.index(old)]
    }

    /// The old offset of the instruction that `new` lies in.
    #[must_use]
    pub fn to_old(&self, new: u32) -> u32 {
        let behind = self.new.partition_point(|n| *n <= new);
        self.old.get(behind.saturating_sub(1)).copied().unwrap_or(u32::MAX)
    }

    /// The new offset of the first instruction at or behind `old`; the new code's length behind the last.
    #[must_use]
    pub fn first_at_or_behind(&self, old: u32) -> u32 {
        self.new[self.old.partition_point(|o| *o < old)]
    }

    /// This map followed by `next`, a map of the code that this one leads to.
    #[must_use]
    pub fn then(mut self, next: &Self) -> Self {
        for pc in &mut self.new {
            *pc = next.to_new(u64::from(*pc));
        }
        self
    }

    /// Position of the instruction that starts at `old`; their number where none does.
    fn index(&self, old: u64) -> usize {
        u32::try_from(old).ok().and_then(|old| self.old.binary_search(&old).ok()).unwrap_or(self.old.len())
    }
}

/// An instruction with a target.
struct Jump {
    instruction: u32,
    target: u32,
    /// Bytes of its offset.
    width: u8,
}

/// Lays out the instructions of a program.
///
/// `instructions` yields them with their old offsets, ascending, the same each time it is called; targets
/// and jump-table entries are old offsets. A target that is no instruction's becomes the offset behind the
/// code, where going panics as before.
///
/// # Errors
/// [`CodeError`] when there is no instruction or the new code is too long.
pub fn relayout<I>(
    instructions: impl Fn() -> I,
    count: usize,
    jump_table: &[u32],
) -> Result<(Code, PcMap), CodeError>
where
    I: Iterator<Item = (u32, Instruction)>,
{
    let mut map = PcMap { old: Vec::with_capacity(count), new: Vec::with_capacity(count + 1) };
    // Lengths without the offset of a jump.
    let mut lengths: Vec<u8> = Vec::with_capacity(count);
    let mut jumps = Vec::with_capacity(instructions().filter(|(_, i)| i.target().is_some()).count());
    for (old, i) in instructions() {
        if i.target().is_some() {
            jumps.push(Jump { instruction: map.old.len() as u32, target: 0, width: 0 });
        }
        map.old.push(old);
        lengths.push(write_with(&i, 0, i.target().map(|_| 0)).as_slice().len() as u8);
    }
    let targets = instructions().filter_map(|(_, i)| i.target());
    for (jump, target) in jumps.iter_mut().zip(targets) {
        jump.target = map.index(target) as u32;
    }

    let mut pass = 0;
    loop {
        place(&mut map.new, &lengths, &jumps);
        if !widen(&mut jumps, &map.new, pass >= SHORTEST_PASSES) {
            break;
        }
        pass += 1;
    }

    let len = map.new.last().map_or(0, |n| *n as usize);
    if len > MAX_CODE_LEN {
        return Err(CodeError::TooLong { len });
    }
    let mut bytes = Vec::with_capacity(len);
    let mut bitmask = vec![0; len.div_ceil(8)];
    let mut jumps = jumps.iter();
    for ((_, mut i), pc) in instructions().zip(&map.new) {
        let mut width = None;
        if i.target().is_some()
            && let Some(jump) = jumps.next()
        {
            i.y = u64::from(map.new[jump.target as usize]);
            width = Some(usize::from(jump.width));
        }
        bitmask[*pc as usize / 8] |= 1 << (pc % 8);
        bytes.extend_from_slice(write_with(&i, *pc, width).as_slice());
    }
    let jump_table: Vec<u32> = jump_table.iter().map(|pc| map.to_new(u64::from(*pc))).collect();
    Ok((Code::new(&bytes, &bitmask, &jump_table)?, map))
}

/// Computes the offset of every instruction, and behind them the length of the code.
fn place(new: &mut Vec<u32>, lengths: &[u8], jumps: &[Jump]) {
    new.clear();
    let mut jumps = jumps.iter().peekable();
    let mut pc = 0;
    for (n, length) in lengths.iter().enumerate() {
        new.push(pc);
        // At most 32 Mi instructions of at most 25 bytes: no overflow.
        pc += u32::from(*length);
        pc += jumps.next_if(|j| j.instruction as usize == n).map_or(0, |j| u32::from(j.width));
    }
    new.push(pc);
}

/// Gives every offset that has become too short for its distance more bytes, or all of them the most; says
/// whether there was one. Widths only grow, so this ends.
fn widen(jumps: &mut [Jump], new: &[u32], most: bool) -> bool {
    let mut any = false;
    for jump in jumps.iter_mut() {
        let here = u64::from(new[jump.instruction as usize]);
        let needed = imm_len(u64::from(new[jump.target as usize]).wrapping_sub(here)) as u8;
        if needed > jump.width {
            jump.width = needed;
            any = true;
        }
    }
    if any && most {
        jumps.iter_mut().for_each(|j| j.width = 4);
    }
    any
}
