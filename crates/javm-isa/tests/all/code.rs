//! Checked code and bit sets against the algorithms of the Gray Paper, word for word.

use javm_isa::{Code, CodeError, Op, bits::BitSet, code::MAX_CODE_LEN};

use crate::random::{Program, Rng};

fn marked(mask: &[u8], n: usize) -> bool {
    mask[n / 8] >> (n % 8) & 1 != 0
}

/// The number of unmarked bytes behind `i`, at most 24.
fn skip(program: &Program, i: usize) -> usize {
    (0..24).find(|j| i + 1 + j >= program.code.len() || marked(&program.mask, i + 1 + j)).unwrap_or(24)
}

fn op(program: &Program, n: usize) -> Option<Op> {
    Op::from_opcode(program.code[n]).filter(|_| marked(&program.mask, n))
}

/// The block starts: of every marked terminator, reached or not, the next offset, if an instruction is there.
fn block_starts(program: &Program) -> Vec<u32> {
    let len = program.code.len();
    let mut starts = vec![false; len + 25];
    starts[0] = true;
    for n in 0..len {
        if op(program, n).is_some_and(Op::is_terminator) {
            starts[n + 1 + skip(program, n)] = true;
        }
    }
    (0..len).filter(|n| starts[*n] && op(program, *n).is_some()).map(|n| n as u32).collect()
}

/// Whether the walk from 0 meets only marked offsets with opcodes, and ends at the end.
fn valid(program: &Program) -> bool {
    let mut at = 0;
    while at < program.code.len() {
        if op(program, at).is_none() {
            return false;
        }
        at += 1 + skip(program, at);
    }
    at > 0 && at == program.code.len()
}

/// Compares all that a `Code` says with the algorithms.
fn check(program: &Program, code: &Code) {
    let len = program.code.len();
    assert_eq!((code.len() as usize, code.bytes()), (len, &program.code[..]));
    assert_eq!(code.jump_table(), program.jump_table);
    let starts = block_starts(program);
    assert_eq!(code.block_starts().collect::<Vec<_>>(), starts);
    assert_eq!(code.block_count(), starts.len());
    let mut walk = code.instructions(0);
    for n in 0..len {
        let pc = n as u32;
        assert_eq!(code.is_instruction_start(n as u64), marked(&program.mask, n));
        assert_eq!(code.is_block_start(n as u64), starts.contains(&pc));
        assert_eq!(code.skip(pc) as usize, skip(program, n));
        assert_eq!(code.next_pc(pc) as usize, n + 1 + skip(program, n));
        assert_eq!(code.block_of(pc), *starts.iter().rfind(|start| **start <= pc).unwrap());
        assert_eq!(code.instruction(pc).is_some(), marked(&program.mask, n));
        if let Some((instruction, next)) = code.decode(pc) {
            assert_eq!((instruction, next), (code.instruction(pc).unwrap(), code.next_pc(pc)));
            assert_eq!(walk.next(), Some((pc, instruction)));
        }
    }
    assert_eq!(walk.next(), None);
    let mask = code.packed_bitmask();
    assert_eq!(Code::new(&program.code, &mask, &program.jump_table).as_ref(), Ok(code));
    for far in [len as u64, len as u64 + 1, u64::from(u32::MAX), u64::MAX, 1 << 32] {
        assert!(!code.is_instruction_start(far) && !code.is_block_start(far));
        assert_eq!(code.byte_at(far), 0);
        let far = far.min(u64::from(u32::MAX)) as u32;
        assert_eq!((code.instruction(far), code.instructions(far).next()), (None, None));
        assert_eq!(code.block_of(far), *starts.last().unwrap());
        assert_eq!(code.skip(far), 0);
        assert_eq!(code.next_pc(far), far.saturating_add(1));
    }
    for address in (0..2 * program.jump_table.len() as u64 + 5).chain([u64::MAX, u64::MAX - 1, 1 << 63]) {
        let entry = (address > 0 && address % 2 == 0)
            .then(|| program.jump_table.get((address / 2 - 1) as usize))
            .flatten()
            .filter(|target| starts.contains(target));
        assert_eq!(code.jump_target(address), entry.copied());
    }
}

#[test]
fn code_is_what_the_gray_paper_says() {
    let mut rng = Rng(1);
    for _ in 0..3_000 {
        let program = Program::valid(&mut rng);
        assert!(valid(&program));
        check(&program, &program.code());
    }
}

/// Anything is either refused, rightly, or a program.
#[test]
fn hostile_programs() {
    let mut rng = Rng(2);
    let mut accepted = 0;
    for n in 0..200_000 {
        let mut program = Program::valid(&mut rng);
        for _ in 0..rng.below(4) {
            let at = rng.below(program.code.len());
            match rng.below(4) {
                0 => program.code[at] = rng.bits() as u8,
                1 => program.mask[at / 8] ^= 1 << rng.below(8),
                2 => program.code.truncate(at),
                _ => program.code.insert(at, rng.bits() as u8),
            }
            program.mask.resize(program.code.len().div_ceil(8), 0);
            if program.code.is_empty() {
                break;
            }
        }
        match Code::new(&program.code, &program.mask, &program.jump_table) {
            Ok(code) => {
                accepted += 1;
                assert!(valid(&program), "{program:?}");
                if n % 16 == 0 {
                    check(&program, &code);
                }
            }
            Err(CodeError::NotMarked { offset }) => assert!(!marked(&program.mask, offset as usize)),
            Err(CodeError::InvalidOpcode { offset, opcode }) => {
                assert_eq!(opcode, program.code[offset as usize]);
                assert_eq!(Op::from_opcode(opcode), None);
            }
            Err(error) => assert_eq!((error, program.code.len()), (CodeError::Empty, 0)),
        }
        assert!(Code::new(&program.code, &program.mask, &[]).is_ok() == valid(&program));
    }
    assert!((20_000..180_000).contains(&accepted), "{accepted} mutants are programs");
}

#[test]
fn refusals() {
    let new = |code: &[u8], mask: &[u8]| Code::new(code, mask, &[]).unwrap_err();
    assert_eq!(new(&[], &[]), CodeError::Empty);
    assert_eq!(new(&[0; 9], &[1]), CodeError::BitmaskLength { expected: 2, found: 1 });
    assert_eq!(new(&[0; 8], &[1, 0]), CodeError::BitmaskLength { expected: 1, found: 2 });
    assert_eq!(new(&[0], &[0]), CodeError::NotMarked { offset: 0 });
    assert_eq!(new(&[0, 4], &[3]), CodeError::InvalidOpcode { offset: 1, opcode: 4 });
    let long = vec![0; MAX_CODE_LEN + 1];
    assert_eq!(new(&long, &[]), CodeError::TooLong { len: MAX_CODE_LEN + 1 });
    // A gap of 25 bytes: the walk looks at the 25th, and it is not marked.
    assert_eq!(new(&[0; 27], &[1, 0, 0, 4]), CodeError::NotMarked { offset: 25 });
    assert!(Code::new(&[0; 26], &[1, 0, 0, 2], &[]).is_ok());
    // At the end of the code a gap may be as long as one in the middle.
    assert!(Code::new(&[0; 25], &[1, 0, 0, 0], &[]).is_ok());
    assert_eq!(new(&[0; 26], &[1, 0, 0, 0]), CodeError::NotMarked { offset: 25 });
    // Padding bits mean nothing.
    assert_eq!(Code::new(&[0], &[0xFF], &[]), Code::new(&[0], &[1], &[]));
    for (error, text) in [
        (CodeError::Empty, "the program has no instructions"),
        (CodeError::TooLong { len: 40_000_000 }, "the code has 40000000 bytes, more than 33554432"),
        (
            CodeError::JumpTableTooLong { len: 20_000_000 },
            "the jump table has 20000000 entries, more than 16777216",
        ),
        (CodeError::BitmaskLength { expected: 2, found: 1 }, "the bitmask has 1 bytes where 2 are needed"),
        (
            CodeError::NotMarked { offset: 7 },
            "code offset 7: an instruction must start here, the bitmask says it does not",
        ),
        (CodeError::InvalidOpcode { offset: 1, opcode: 4 }, "code offset 1: invalid opcode 4"),
    ] {
        assert_eq!(error.to_string(), text);
    }
}

#[test]
fn bit_sets() {
    let mut rng = Rng(3);
    for _ in 0..3_000 {
        let len = match rng.below(3) {
            0 => rng.below(4) * 64,
            1 => rng.below(9),
            _ => rng.below(300),
        };
        let density = 1 + rng.below(40);
        let mut model: Vec<bool> = (0..len).map(|_| rng.below(density) == 0).collect();
        let mut packed = vec![0; len.div_ceil(8)];
        (0..len).filter(|n| model[*n]).for_each(|n| packed[n / 8] |= 1 << (n % 8));
        let clean = packed.clone();
        // Bits past the length are ignored, in the last byte and behind it.
        if let Some(last) = packed.last_mut()
            && len % 8 != 0
        {
            *last |= 0xFF << (len % 8);
        }
        packed.extend(rng.bytes(len % 3));
        let mut set = BitSet::from_packed(&packed, len as u32);
        assert_eq!(set.to_packed(), clean);
        // Missing bytes are zeros.
        let short = &clean[..clean.len() / 2];
        let half: Vec<u32> =
            (0..len).filter(|n| model[*n] && n / 8 < short.len()).map(|n| n as u32).collect();
        assert!(BitSet::from_packed(short, len as u32).iter().eq(half));
        for _ in 0..rng.below(4) {
            let i = rng.below(len + 70);
            set.insert(i as u32);
            if let Some(bit) = model.get_mut(i) {
                *bit = true;
            }
        }
        let members: Vec<u32> = (0..len).filter(|n| model[*n]).map(|n| n as u32).collect();
        assert_eq!(set.iter().collect::<Vec<_>>(), members);
        assert_eq!((set.count(), set.bound() as usize), (members.len(), len));
        for i in (0..len as u32 + 140).chain([u32::MAX - 1, u32::MAX]) {
            assert_eq!(set.contains(i), members.contains(&i));
            assert_eq!(set.at_or_below(i), members.iter().rfind(|m| **m <= i).copied());
            let behind = |j: &u32| {
                let at = u64::from(i) + 1 + u64::from(*j);
                at >= len as u64 || model[at as usize]
            };
            assert_eq!(set.skip(i), (0..24).find(behind).unwrap_or(24), "behind {i} of {len}");
        }
        let empty = BitSet::new(len as u32);
        assert_eq!((empty.count(), empty.iter().next(), empty.at_or_below(u32::MAX)), (0, None, None));
    }
}
