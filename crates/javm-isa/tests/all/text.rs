//! Assembler and disassembler, there and back.

use std::path::PathBuf;

use javm_isa::{
    Code, Instruction, Op,
    asm::{AsmError, AsmErrorKind, Assembled, Expected, assemble},
    code::MAX_CODE_LEN,
    disasm::{Options, disassemble},
};

use crate::random::{Program, Rng};

fn text_of(code: &Code, options: &Options<'_>) -> String {
    let mut text = String::new();
    disassemble(code, &mut text, options).unwrap();
    text
}

#[test]
fn any_program_comes_back_from_its_text() {
    let mut rng = Rng(1);
    let block_note = |pc| (pc % 3 == 0).then(|| format!("cost\n{pc}\r\n.bytes 00"));
    let note = |pc, i: &Instruction| (pc % 2 == 0).then(|| format!("{i} \u{85}; // # {pc}"));
    for n in 0..5_000 {
        let program = Program::valid(&mut rng);
        let code = program.code();
        let options = Options {
            offsets: n & 1 != 0,
            bytes: n & 2 != 0,
            block_note: (n & 4 != 0).then_some(&block_note),
            note: (n & 8 != 0).then_some(&note),
        };
        let text = text_of(&code, &options);
        let back = assemble(&text).unwrap_or_else(|error| panic!("{error} in\n{text}"));
        assert_eq!(back.code, program.code, "{text}");
        assert_eq!(back.packed_bitmask, program.mask, "{text}");
        assert_eq!(back.jump_table, program.jump_table, "{text}");
        assert!(back.labels.values().copied().eq({
            let mut starts: Vec<u32> = code.block_starts().collect();
            // The map is in the order of names.
            starts.sort_by_key(|start| format!("b{start}"));
            starts
        }));
        assert_eq!(back.code().as_ref(), Ok(&code));
        assert_eq!(text_of(&back.code().unwrap(), &options), text);
    }
}

/// Programs written with labels: each instruction as short as it can be, each target where its label is.
#[test]
fn labels_get_the_shortest_offsets() {
    let mut rng = Rng(2);
    for _ in 0..80 {
        // Long enough that offsets take up to 3 bytes.
        let most = [10, 200, 3_000, 30_000][rng.below(4)];
        let count = 1 + rng.below(most);
        let mut text = String::new();
        let mut expected = Vec::new();
        for n in 0..count {
            let op = if rng.below(3) == 0 { Op::Jump } else { rng.op() };
            let i = rng.instruction(op, 0);
            let target = rng.below(count + 1);
            let mut line = i.to_string();
            if op.shape().has_target() {
                line.truncate(line.rfind('@').unwrap());
                line += &format!("@l{target}");
            }
            text += &format!("l{n}: {line}\n");
            expected.push((i, target));
        }
        text += &format!("l{count}:");
        let program = assemble(&text).unwrap();
        let code = program.code().unwrap();
        let mut instructions = code.instructions(0);
        for (n, (mut i, target)) in expected.into_iter().enumerate() {
            let (pc, found) = instructions.next().unwrap();
            if i.op.shape().has_target() {
                i.y = u64::from(program.labels[&format!("l{target}")]);
            }
            assert_eq!(found, i);
            assert_eq!(pc, program.labels[&format!("l{n}")]);
            assert_eq!((code.next_pc(pc) - pc) as usize, i.encode(pc).as_slice().len(), "{i} at {pc}");
        }
        assert_eq!(instructions.next(), None);
        assert_eq!(program.labels[&format!("l{count}")], code.len());
    }
}

/// Every jump's label lies behind the next jump, as far away as one byte reaches: when the last one needs a
/// second byte, so does the one before it, and so on; one more for each pass over the code.
#[test]
fn offsets_that_push_each_other_end_after_a_few_passes() {
    for count in [5, 5_000] {
        let mut text = String::new();
        for n in 0..count {
            text += &format!("j{n}: jump @t{n}\n");
            if n > 0 {
                text += &format!("t{}:\n", n - 1);
            }
            text += &"fallthrough\n".repeat(123);
        }
        text += &format!("fallthrough\nfallthrough\nfallthrough\nt{}:\n", count - 1);
        let program = assemble(&text).unwrap();
        let code = program.code().unwrap();
        for n in 0..count {
            let target = code.instruction(program.labels[&format!("j{n}")]).unwrap().target();
            assert_eq!(target, Some(u64::from(program.labels[&format!("t{n}")])));
        }
        let length = |n: usize| code.skip(program.labels[&format!("j{n}")]);
        assert_eq!(length(0), if count == 5 { 2 } else { 4 });
    }
}

#[test]
fn jump_table_addresses_of_labels() {
    let program = assemble(
        "one: load_imm a0, &two\n load_imm_64 a1, &one\n store_imm_u32 &three, &two\n fallthrough\n\
         two: jump_ind a0, 0\n three: trap\n .jump_table 7, @two, @one, @two, 4294967295\n .export main @two\n\
         .export core::ops::<&str>::f three\n .export end 0x10",
    )
    .unwrap();
    let three = program.labels["three"];
    let two = program.labels["two"];
    assert_eq!(program.jump_table, [7, two, 0, two, u32::MAX, three]);
    assert_eq!(
        program.exports,
        [("main".to_owned(), two), ("core::ops::<&str>::f".to_owned(), three), ("end".to_owned(), 16)]
    );
    let code = program.code().unwrap();
    let text: Vec<_> = code.instructions(0).map(|(_, i)| i.to_string()).collect();
    let start = ["load_imm a0, 4", "load_imm_64 a1, 6", "store_imm_u32 12, 4", "fallthrough"];
    assert_eq!(text[..4], start);
    assert_eq!(code.jump_target(4), Some(two));
    assert_eq!(code.jump_target(12), Some(three));
}

#[test]
fn ways_to_write_things() {
    let canonical = assemble("add_imm_64 a0, a1, -8").unwrap();
    for text in [
        "  add_imm_64   r7 ,r8,-0x8 ; comment",
        "add_imm_64 a0,a1,- 8//, 9",
        "add_imm_64 a0, a1, 0xffff_ffff_ffff_fff8 # comment",
        "\n\r\n\tadd_imm_64\ta0,\ta1,\t-0x0_8\r\n",
        ".bytes 95 87 f8",
        "#\n.bytes 95 87 F8 ; ff",
    ] {
        assert_eq!(assemble(text).as_ref(), Ok(&canonical), "{text}");
    }
    assert_eq!(assemble(""), Ok(Assembled::default()));
    assert_eq!(assemble("a: b: .c:$d:").unwrap().labels.len(), 4);
    let wide = assemble("load_imm_64 a0, -0x8000000000000000").unwrap();
    assert_eq!(wide.code[2..], (1u64 << 63).to_le_bytes());
}

#[test]
fn errors_say_where() {
    let expected = AsmErrorKind::Expected;
    for (text, line, column, kind) in [
        ("trap\n  trapp", 2, 3, AsmErrorKind::UnknownInstruction),
        ("3: trap", 1, 1, AsmErrorKind::UnknownInstruction),
        ("  .text", 1, 3, AsmErrorKind::UnknownDirective),
        ("trap 1", 1, 6, expected(Expected::End)),
        ("trap trap", 1, 6, expected(Expected::End)),
        ("é", 1, 1, expected(Expected::Statement)),
        ("x: :", 1, 4, expected(Expected::Statement)),
        ("move_reg a0", 1, 12, expected(Expected::Comma)),
        ("move_reg a0, a1, a2", 1, 16, expected(Expected::End)),
        ("move_reg a0, a6", 1, 14, expected(Expected::Register)),
        ("move_reg a0, r13", 1, 14, expected(Expected::Register)),
        ("load_imm a0, @x", 1, 14, expected(Expected::Immediate)),
        ("load_imm a0, 0x", 1, 14, expected(Expected::Immediate)),
        ("load_imm a0, 12a", 1, 14, expected(Expected::Immediate)),
        ("load_imm a0, -", 1, 14, expected(Expected::Immediate)),
        ("load_imm a0, &", 1, 15, expected(Expected::Name)),
        ("load_imm a0, 2147483648", 1, 14, AsmErrorKind::ImmediateTooLarge),
        ("load_imm a0, -0x80000001", 1, 14, AsmErrorKind::ImmediateTooLarge),
        ("load_imm_64 a0, 0x10000000000000000", 1, 17, AsmErrorKind::NumberTooLarge),
        ("load_imm_64 a0, -0x8000000000000001", 1, 17, AsmErrorKind::NumberTooLarge),
        ("jump 5", 1, 6, expected(Expected::Target)),
        ("jump @", 1, 7, expected(Expected::Target)),
        ("jump @x", 1, 7, AsmErrorKind::UnknownLabel),
        ("load_imm a0, &x", 1, 15, AsmErrorKind::UnknownLabel),
        (".jump_table x", 1, 13, AsmErrorKind::UnknownLabel),
        ("jump @0x80000000", 1, 7, AsmErrorKind::TargetTooFar),
        ("trap\njump @-0x80000000", 2, 7, AsmErrorKind::TargetTooFar),
        (".jump_table 1, -1", 1, 16, AsmErrorKind::OffsetTooLarge),
        (".export x 0x100000000", 1, 11, AsmErrorKind::OffsetTooLarge),
        (".export", 1, 8, expected(Expected::Name)),
        (".export x", 1, 10, expected(Expected::Target)),
        (".export x 0\n.export x 1", 2, 9, AsmErrorKind::DuplicateExport),
        ("x: trap\n y: x: trap", 2, 5, AsmErrorKind::DuplicateLabel),
        (".bytes", 1, 7, expected(Expected::Byte)),
        (".bytes 0", 1, 8, expected(Expected::Byte)),
        (".bytes 00 +1", 1, 11, expected(Expected::End)),
        (".bytes 00 0x", 1, 11, expected(Expected::Byte)),
        (&".bytes".replace("s", &format!("s{}", " 00".repeat(26))), 1, 83, AsmErrorKind::TooManyBytes),
    ] {
        assert_eq!(assemble(text), Err(AsmError { line, column, kind }), "{text}");
    }
    let error = AsmError { line: 3, column: 14, kind: AsmErrorKind::ImmediateTooLarge };
    assert_eq!(error.to_string(), "line 3, column 14: the number does not fit 32 bits with sign");
    let error = assemble("load_imm a0 5").unwrap_err();
    assert_eq!(error.to_string(), "line 1, column 13: expected a comma");
}

/// Text that is not meant well is refused, and quickly.
#[test]
fn hostile_text() {
    let mut rng = Rng(3);
    let pieces = [
        "trap",
        "jump",
        " ",
        "@",
        "-",
        "0x",
        "1",
        "99999999999999999999",
        ":",
        "x",
        "\n",
        ",",
        ";",
        "//",
        ".bytes",
        "00",
        ".jump_table",
        "&",
        "é",
        "\t",
        "a0",
        ".export",
        "add_64",
        "load_imm",
        "\r",
        "\u{2028}",
        "_",
        ".",
        "$",
    ];
    for _ in 0..100_000 {
        let text: String = (0..rng.below(12)).map(|_| pieces[rng.below(pieces.len())]).collect();
        match assemble(&text) {
            Ok(program) => assert_eq!(program.packed_bitmask.len(), program.code.len().div_ceil(8)),
            Err(error) => {
                let line = text.lines().nth(error.line - 1).unwrap();
                assert!(error.column <= line.chars().count() + 1, "{error} in {text:?}");
            }
        }
    }
    let long = format!(".jump_table 0{}\n", ", 0".repeat(1_000_000));
    assert_eq!(assemble(&long).unwrap().jump_table.len(), 1_000_001);
    let labels: String = (0..200_000).map(|n| format!("l{n}:")).collect();
    assert_eq!(assemble(&labels).unwrap().labels.len(), 200_000);
    let line = format!(".bytes 00{}\n", " 00".repeat(24));
    let error = assemble(&line.repeat(MAX_CODE_LEN / 25 + 1)).unwrap_err();
    assert_eq!((error.line, error.kind), (MAX_CODE_LEN / 25 + 1, AsmErrorKind::CodeTooLong));
}

/// The form that reads the text of an instruction is the one that writes it.
#[test]
fn the_text_of_an_instruction_is_assembled_to_it() {
    let mut rng = Rng(4);
    for op in Op::ALL {
        for _ in 0..200 {
            let i = rng.instruction(*op, 0);
            let program = assemble(&i.to_string()).unwrap();
            assert_eq!(program.code, i.encode(0).as_slice(), "{i}");
        }
    }
}

/// Compares with a file of `tests/disas`; `JAVM_BLESS=1` rewrites it.
fn golden(name: &str, text: &str) {
    let file = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/disas").join(name);
    if std::env::var_os("JAVM_BLESS").is_some() {
        std::fs::write(&file, text).unwrap();
    }
    let expected = std::fs::read_to_string(&file).unwrap();
    assert!(expected == text, "{} differs; JAVM_BLESS=1 rewrites it. Now:\n{text}", file.display());
}

fn source(name: &str) -> String {
    let file = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/disas").join(name);
    std::fs::read_to_string(file).unwrap()
}

const ALL: Options<'_> = Options { offsets: true, bytes: true, block_note: None, note: None };

/// `tests/disas/program.asm` shows what the assembler can; `program.txt` is what it becomes.
#[test]
fn golden_program() {
    let program = assemble(&source("program.asm")).unwrap();
    let symbols = |pc| program.exports.iter().find(|export| export.1 == pc).map(|export| export.0.clone());
    golden("program.txt", &text_of(&program.code().unwrap(), &Options { block_note: Some(&symbols), ..ALL }));
}

/// Every operation once, with its number and its layout.
#[test]
fn golden_operations() {
    let mut program = Program::default();
    for op in Op::ALL {
        let mut i = Instruction::new(*op);
        let reg = |n| javm_isa::Reg::from_index(n).unwrap();
        (i.a, i.b, i.d, i.x, i.y) = (reg(8), reg(9), reg(7), 0x1234, -2i64 as u64);
        let pc = program.code.len() as u32;
        program.push(i.encode(pc).as_slice());
    }
    let note = |_, i: &Instruction| Some(i.op.effect().to_owned());
    golden("operations.txt", &text_of(&program.code(), &Options { note: Some(&note), ..ALL }));
}
