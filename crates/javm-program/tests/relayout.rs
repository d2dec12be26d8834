//! Laying code out anew: targets stay, offsets are as short as they can be, and a program made to make that
//! slow is laid out all the same.
#![forbid(unsafe_code)]

mod support;

use std::time::Instant;

use javm_isa::{CodeError, Instruction, Op, shape::imm_len};
use javm_program::relayout::relayout;
use support::Rng;

/// Lays out instructions whose offsets are their positions in the list; checks targets and the map.
fn laid_out(list: &[Instruction]) -> Vec<(u32, Instruction)> {
    let instructions = || list.iter().enumerate().map(|(n, i)| (n as u32, *i));
    let table = [0, list.len() as u32 - 1, list.len() as u32, u32::MAX];
    let (code, map) = relayout(instructions, list.len(), &table).unwrap();
    let placed: Vec<_> = code.instructions(0).collect();
    assert_eq!(placed.len(), list.len());
    let end = code.len();
    assert_eq!(code.jump_table(), [0, placed.last().unwrap().0, end, end]);
    for (n, ((pc, now), before)) in placed.iter().zip(list).enumerate() {
        let mut expected = *before;
        if before.op.shape().has_target() {
            let target = placed.get(before.y as usize).map_or(end, |(pc, _)| *pc);
            expected.y = u64::from(target);
        }
        assert_eq!(*now, expected);
        assert_eq!((map.to_new(n as u64), map.to_old(*pc)), (*pc, n as u32));
        assert_eq!(map.to_old(pc + code.skip(*pc)), n as u32);
        assert_eq!(map.first_at_or_behind(n as u32), *pc);
    }
    assert_eq!(map.to_new(list.len() as u64), end);
    placed
}

fn jump(target: usize) -> Instruction {
    Instruction { y: target as u64, ..Instruction::new(Op::Jump) }
}

#[test]
fn random_programs_keep_their_instructions() {
    for seed in 0..300 {
        let mut rng = Rng(seed);
        let count = 1 + rng.below(400);
        let mut list = support::instructions(&mut rng, count, &[]);
        for i in list.iter_mut().filter(|i| i.op.shape().has_target()) {
            // Now and then a target that no instruction is at.
            i.y = rng.below(count + count / 20 + 1) as u64;
        }
        let placed = laid_out(&list);
        // Every jump is as short as its distance allows.
        for (pc, i) in &placed {
            if let (Op::Jump, Some(target)) = (i.op, i.target()) {
                let next = placed.iter().find(|(p, _)| p > pc).map_or(0, |(p, _)| *p);
                let width = imm_len(target.wrapping_sub(u64::from(*pc)));
                assert!(next == 0 || (next - pc) as usize == 1 + width);
            }
        }
    }
}

#[test]
fn jumps_that_lengthen_each_other_are_laid_out() {
    // Each jump is 127 bytes from its target, behind the next jump: the last one needs a second byte, which
    // makes its predecessor need one, and so on, one per pass.
    let chain = |groups: usize| -> Vec<Instruction> {
        let mut list = Vec::new();
        for n in 0..groups {
            let distance = if n + 1 < groups { 101 + 1 + 23 } else { 100_000 };
            list.push(jump((list.len() + distance).min(groups * 101 + 300)));
            list.extend([Instruction::new(Op::Fallthrough); 100]);
        }
        list.extend([Instruction::new(Op::Fallthrough); 300]);
        list.push(Instruction::new(Op::Trap));
        list
    };
    let longest = |placed: &[(u32, Instruction)]| placed.windows(2).map(|w| w[1].0 - w[0].0).max().unwrap();
    assert_eq!(longest(&laid_out(&chain(5))), 3, "a short chain is as short as it can be");
    let start = Instant::now();
    assert_eq!(longest(&laid_out(&chain(10_000))), 5, "a long one gets the longest offsets");
    assert!(start.elapsed().as_secs() < 10, "{:?}", start.elapsed());
}

#[test]
fn nothing_and_too_much_are_errors() {
    let none = || core::iter::empty();
    assert_eq!(relayout(none, 0, &[]).unwrap_err(), CodeError::Empty);
    let wide = Instruction { x: u64::MAX, ..Instruction::new(Op::LoadImm64) };
    let many = || (0..4_000_000).map(move |n| (n, wide));
    assert_eq!(relayout(many, 4_000_000, &[]).unwrap_err(), CodeError::TooLong { len: 40_000_000 });
}
