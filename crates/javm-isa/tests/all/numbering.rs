//! Other numberings: every byte value of every one.

use javm_isa::{Code, CodeError, Numbering, NumberingError, Op, numbering::INVALID};

use crate::random::{Program, Rng};

/// What the Gray Paper 0.8 and 0.7 have in common.
fn common(byte: u8) -> bool {
    matches!(byte, 0 | 1 | 10 | 20 | 30..=33 | 40 | 50..=62 | 70..=73 | 80..=90 | 100)
        || matches!(byte, 120..=161 | 170..=175 | 180 | 190..=230)
}

/// What a byte means, in canonical numbers; an error is `sbrk`.
fn expected(numbering: Numbering, byte: u8) -> Result<Option<u8>, ()> {
    Ok(match (numbering, byte) {
        (_, byte) if common(byte) => Some(byte),
        (Numbering::V08, 2 | 101..=110) => Some(byte),
        (Numbering::V07 | Numbering::Manifest, 101) => return Err(()),
        (Numbering::V07 | Numbering::Manifest, 102..=111) => Some(byte - 1),
        (Numbering::Manifest, 2 | 3) => Some(byte),
        _ => None,
    })
}

#[test]
fn every_byte() {
    for numbering in [Numbering::V08, Numbering::V07, Numbering::Manifest] {
        for byte in 0..=255 {
            let mut code = [byte, byte];
            let result = numbering.rewrite(&mut code, &[0b01]);
            match expected(numbering, byte) {
                Err(()) => assert_eq!(result, Err(NumberingError::Sbrk { offset: 0 })),
                Ok(canonical) => {
                    assert_eq!(result, Ok(()));
                    assert_eq!(Op::from_opcode(code[0]).map(Op::opcode), canonical, "{numbering:?} {byte}");
                }
            }
            assert_eq!(code[1], byte, "what is not marked stays");
        }
    }
    assert_eq!(Op::from_opcode(INVALID), None);
}

/// Every instruction goes there and back, or is refused where the numbering lacks it.
#[test]
fn the_way_back() {
    let numberings = [Numbering::Canonical, Numbering::V08, Numbering::V07, Numbering::Manifest];
    for numbering in numberings {
        for byte in 0..=255 {
            let mut code = [byte, byte];
            let lacks = match numbering {
                Numbering::V08 => byte == 3,
                Numbering::V07 => matches!(byte, 2 | 3),
                _ => false,
            };
            let result = numbering.restore(&mut code, &[0b01]);
            if lacks || Op::from_opcode(byte).is_none() {
                assert_eq!(result, Err(NumberingError::Missing { offset: 0, opcode: byte }));
                continue;
            }
            assert_eq!((result, code[1]), (Ok(()), byte));
            numbering.rewrite(&mut code, &[0b01]).unwrap();
            assert_eq!(code[0], byte, "{numbering:?}");
        }
    }
    let missing = NumberingError::Missing { offset: 7, opcode: 3 };
    assert_eq!(missing.to_string(), "code offset 7: opcode 3 does not exist in that numbering");
}

/// Checking a program of another numbering is rewriting it and checking what that gives; with the program's own opcodes
/// in what is told.
#[test]
fn checking_and_rewriting_at_once() {
    let mut rng = Rng(3);
    let mut accepted = 0;
    for n in 0..20_000 {
        let numbering = [Numbering::V08, Numbering::V07, Numbering::Manifest, Numbering::Canonical][n % 4];
        let mut program = Program::valid(&mut rng);
        // What it lacks is refused at half the way.
        let _ = numbering.restore(&mut program.code, &program.mask);
        if rng.below(3) == 0 {
            let at = rng.below(program.code.len());
            program.code[at] = rng.bits() as u8;
            program.mask[at / 8] ^= 1 << rng.below(8);
        }
        let Program { code, mask, jump_table } = program;
        let mut rewritten = code.clone();
        let refused = numbering.rewrite(&mut rewritten, &mask).is_err();
        let expected = Code::new(&rewritten, &mask, &jump_table).map_err(|error| match error {
            CodeError::InvalidOpcode { offset, .. } => {
                CodeError::InvalidOpcode { offset, opcode: code[offset as usize] }
            }
            error => error,
        });
        let found = Code::with_numbering(&code, &mask, jump_table, numbering);
        if refused {
            assert!(found.is_err());
        } else {
            assert_eq!(found, expected, "{numbering:?}");
        }
        accepted += usize::from(found.is_ok());
    }
    assert!((4_000..18_000).contains(&accepted), "{accepted} are programs");
}

#[test]
fn the_canonical_numbering_changes_nothing() {
    let all: Vec<u8> = (0..=255).collect();
    let mut code = all.clone();
    Numbering::Canonical.rewrite(&mut code, &[0xFF; 32]).unwrap();
    assert_eq!(code, all);
}

/// The names of the 0.7 numbers that differ.
#[test]
fn names_of_the_moved_numbers() {
    let names = [
        "count_set_bits_64",
        "count_set_bits_32",
        "leading_zero_bits_64",
        "leading_zero_bits_32",
        "trailing_zero_bits_64",
        "trailing_zero_bits_32",
        "sign_extend_8",
        "sign_extend_16",
        "zero_extend_16",
        "reverse_bytes",
    ];
    for (n, name) in names.into_iter().enumerate() {
        let op = Op::from_name(name).unwrap();
        assert_eq!((op.opcode_07(), op.opcode()), (Some(102 + n as u8), 101 + n as u8));
    }
}

#[test]
fn sbrk_is_refused_where_it_stands_and_masks_may_be_short() {
    let mut code = vec![1; 20];
    code[17] = 101;
    let error = Numbering::V07.rewrite(&mut code, &[0xFF; 3]).unwrap_err();
    assert_eq!(error, NumberingError::Sbrk { offset: 17 });
    assert_eq!(error.to_string(), "code offset 17: `sbrk` is not supported; link the program for JamV1");
    // An operand is no opcode, and what the mask does not reach is not marked.
    assert_eq!(Numbering::V07.rewrite(&mut code, &[0xFF, 0xFF]), Ok(()));
    assert_eq!(Numbering::V07.rewrite(&mut [], &[0xFF]), Ok(()));
}
