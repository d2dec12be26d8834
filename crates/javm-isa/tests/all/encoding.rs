//! Decoding and encoding, against each other and against a reading of the Gray Paper's tables.

use javm_isa::{Instruction, Op, Reg, shape};

use crate::random::{Program, Rng};

/// The first 16 bytes, zeros behind the last.
fn window(bytes: &[u8]) -> [u8; 16] {
    core::array::from_fn(|n| bytes.get(n).copied().unwrap_or(0))
}

/// Reads `bytes` as all of the instruction at `pc`.
fn read(bytes: &[u8], pc: u32) -> Instruction {
    shape::read(Op::from_opcode(bytes[0]).unwrap(), &window(bytes), bytes.len() - 1, pc)
}

#[test]
fn what_is_encoded_is_decoded() {
    let mut rng = Rng(1);
    for op in Op::ALL {
        for _ in 0..2_000 {
            let pc = rng.bits() as u32 >> rng.below(32);
            let i = rng.instruction(*op, pc);
            assert_eq!(read(i.encode(pc).as_slice(), pc), i, "at {pc}");
        }
    }
}

#[test]
fn whatever_is_decoded_is_encoded_with_the_same_meaning() {
    let mut rng = Rng(2);
    for _ in 0..200_000 {
        let pc = rng.bits() as u32 >> rng.below(32);
        let op = rng.op();
        let mut bytes = vec![op.opcode()];
        bytes.extend(rng.bytes(24));
        let skip = rng.below(25);
        let i = shape::read(op, &window(&bytes), skip, pc);
        let shortest = i.encode(pc);
        assert_eq!(read(shortest.as_slice(), pc), i, "{bytes:?} {skip}");
        assert_eq!(shortest.as_slice().len(), length(&i, pc), "{i} at {pc}");
    }
}

/// Bytes that the instruction needs: opcode, registers and lengths, and each immediate as short as can be.
fn length(i: &Instruction, pc: u32) -> usize {
    use shape::OperandRole::{A, B, D, Target, X, Y};
    let signed = |v: u64| {
        let v = i128::from(v as i64);
        let fits = |n: &usize| v == 0 || *n > 0 && (-(1i128 << (8 * n - 1))..1 << (8 * n - 1)).contains(&v);
        (0..=8).find(fits).unwrap()
    };
    let roles = i.op.shape().operands();
    let registers = roles.iter().filter(|role| matches!(role, A | B | D)).count();
    let immediates = roles.len() - registers;
    // Two registers to a byte; of two immediates the first one's length goes where half a byte is left.
    let head = 1 + registers.div_ceil(2) + usize::from(immediates == 2 && registers % 2 == 0);
    let immediate = |role: &shape::OperandRole| match role {
        X if i.op == Op::LoadImm64 => 8,
        X => signed(i.x),
        Y => signed(i.y),
        Target => signed(i.y.wrapping_sub(u64::from(pc))),
        A | B | D => 0,
    };
    head + roles.iter().map(immediate).sum::<usize>()
}

/// Gray Paper appendix A.5, written down a second time: register numbers, immediates and target of the
/// instruction with these bytes (and what follows them), `l` being its skip.
fn by_the_book(z: &[u8], l: usize, pc: u32) -> (Vec<u8>, Vec<i128>) {
    let byte = |k: usize| i128::from(z.get(k).copied().unwrap_or(0));
    let low = |k| byte(k).rem_euclid(16).min(12) as u8;
    let high = |k| (byte(k) / 16).min(12) as u8;
    let imm = |at: usize, n: usize| {
        let v: i128 = (0..n).map(|k| byte(at + k) << (8 * k)).sum();
        if n > 0 && v >= 1 << (8 * n - 1) { v - (1 << (8 * n)) } else { v }
    };
    let rest = |taken: usize| l.saturating_sub(taken).min(4);
    let target = |at, n| i128::from(pc) + imm(at, n);
    let lx = |v: i128| (v % 8).min(4) as usize;
    match z[0] {
        0..=3 => (vec![], vec![]),
        10 => (vec![], vec![imm(1, rest(0))]),
        20 => (vec![low(1)], vec![imm(2, 8)]),
        30..=33 => {
            let n = lx(byte(1));
            (vec![], vec![imm(2, n), imm(2 + n, rest(n + 1))])
        }
        40 => (vec![], vec![target(1, rest(0))]),
        50..=62 => (vec![low(1)], vec![imm(2, rest(1))]),
        70..=73 => {
            let n = lx(byte(1) / 16);
            (vec![low(1)], vec![imm(2, n), imm(2 + n, rest(n + 1))])
        }
        80..=90 => {
            let n = lx(byte(1) / 16);
            (vec![low(1)], vec![imm(2, n), target(2 + n, rest(n + 1))])
        }
        100..=110 => (vec![low(1), high(1)], vec![]),
        120..=161 => (vec![low(1), high(1)], vec![imm(2, rest(1))]),
        170..=175 => (vec![low(1), high(1)], vec![target(2, rest(1))]),
        180 => {
            let n = lx(byte(2));
            (vec![low(1), high(1)], vec![imm(3, n), imm(3 + n, rest(n + 2))])
        }
        190..=230 => (vec![byte(2).min(12) as u8, low(1), high(1)], vec![]),
        opcode => panic!("{opcode} is no opcode"),
    }
}

#[test]
fn decoding_is_that_of_the_gray_paper() {
    let mut rng = Rng(3);
    for op in Op::ALL {
        for _ in 0..2_000 {
            let pc = rng.bits() as u32 >> rng.below(32);
            let mut bytes = vec![op.opcode()];
            bytes.extend(rng.bytes(24));
            let skip = rng.below(25);
            let i = shape::read(*op, &window(&bytes), skip, pc);
            let (mut regs, mut imms) = (Vec::new(), Vec::new());
            for role in op.shape().operands() {
                use shape::OperandRole::{A, B, D, Target, X, Y};
                match role {
                    A | B | D => regs.push(i.register(*role).unwrap().index() as u8),
                    X => imms.push(i128::from(i.x as i64)),
                    Y | Target => imms.push(i128::from(i.y as i64)),
                }
            }
            assert_eq!((regs, imms), by_the_book(&bytes, skip, pc), "{bytes:?} {skip} {pc}");
        }
    }
}

/// Every byte is an opcode exactly if the Gray Paper has it, or it is `ecall`.
#[test]
fn opcodes_are_those_of_the_gray_paper() {
    for byte in 0..=255 {
        let valid = matches!(byte, 0..=3 | 10 | 20 | 30..=33 | 40 | 50..=62 | 70..=73 | 80..=90 | 100..=110)
            || matches!(byte, 120..=161 | 170..=175 | 180 | 190..=230);
        assert_eq!(Op::from_opcode(byte).is_some(), valid, "{byte}");
    }
}

#[test]
fn terminators_are_those_of_the_gray_paper() {
    for op in Op::ALL {
        let terminator = matches!(op.opcode(), 0 | 1 | 40 | 50 | 80..=90 | 170..=175 | 180);
        assert_eq!((op.is_terminator(), op.flow().is_terminator()), (terminator, terminator), "{op}");
    }
}

#[test]
fn hand_checked_encodings() {
    for (bytes, text) in [
        (&[0xbe, 0x87, 0x09][..], "add_32 a2, a0, a1"),
        (&[0x00], "trap"),
        (&[0x33, 0x07, 0x00, 0x00, 0x03], "load_imm a0, 0x30000"),
        (&[0x33, 0x08], "load_imm a1, 0"),
        (&[0x51, 0x07, 0x04], "branch_eq_imm a0, 0, @104"),
        (&[0x52, 0x09, 0xfc], "branch_ne_imm a2, 0, @96"),
        (&[0x83, 0x00, 0xff], "add_imm_32 ra, ra, -1"),
        (&[0x97, 0x88, 0x17], "shlo_l_imm_64 a1, a1, 23"),
        (&[0x34, 0x07, 0x00, 0x00, 0x02], "load_u8 a0, 0x20000"),
        (&[0x1e, 0x04, 0x00, 0x00, 0x02, 0x10, 0x7f], "store_imm_u8 0x10020000, 127"),
        (&[0xb4, 0x78, 0x02, 0xd2, 0x04], "load_imm_jump_ind a1, a0, 1234, 0"),
        (&[0x32, 0x00], "jump_ind ra, 0"),
        (&[0x0a, 0x03], "ecalli 3"),
    ] {
        let i = read(bytes, 100);
        assert_eq!(i.to_string(), text);
        assert_eq!(i.encode(100).as_slice(), bytes, "{text}");
    }
}

#[test]
fn registers() {
    for (n, reg) in Reg::ALL.into_iter().enumerate() {
        assert_eq!((Reg::from_index(n), Reg::clamped(n as u8), reg.index()), (Some(reg), reg, n));
        assert_eq!(Reg::from_name(reg.name()), Some(reg));
        assert_eq!(Reg::from_name(&format!("r{n}")), Some(reg));
    }
    assert_eq!(Reg::from_index(13), None);
    assert!((13..=255).all(|n| Reg::clamped(n) == Reg::A5));
    for no in ["", "r", "r13", "r20", "r+7", "r07", "r-1", "a6", "A0", "zero", "r99999999999999999999"] {
        assert_eq!(Reg::from_name(no), None, "{no}");
    }
}

/// The destination is the register that the effect assigns to, the sources are the others.
#[test]
fn roles_of_registers_agree_with_the_effects() {
    use shape::OperandRole::{A, D};
    for op in Op::ALL {
        let effect = op.effect();
        let destination = match op.shape().destination() {
            Some(A) => "A =",
            Some(D) => "D =",
            _ => "",
        };
        let assigns = effect.starts_with("A =") || effect.starts_with("D =") || effect.contains("; A = X");
        assert_eq!(assigns, !destination.is_empty(), "{op}: {effect}");
        assert!(effect.contains(destination), "{op}: {effect}");
    }
}

/// Operands past the end of the code are zeros, and an immediate may reach into the next instruction.
#[test]
fn operands_may_lie_past_the_end() {
    let mut program = Program::default();
    program.push(&[Op::StoreImmU8.opcode()]);
    program.push(&[Op::LoadImm.opcode()]);
    let code = program.code();
    // Its length byte is the next opcode, 51: 3 bytes, of which there are none.
    assert_eq!(code.instruction(0).unwrap().to_string(), "store_imm_u8 0, 0");
    assert_eq!(code.instruction(1).unwrap().to_string(), "load_imm ra, 0");
    let mut program = Program::default();
    program.push(&[Op::LoadImm64.opcode(), 7, 1]);
    program.push(&[Op::Trap.opcode(), 2, 3]);
    assert_eq!(program.code().instruction(0).unwrap().to_string(), "load_imm_64 a0, 0x3020001");
}
