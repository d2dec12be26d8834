//! PolkaVM containers: the three instruction sets give one program, and what PolkaVM's own decoder says of a
//! program is what ours says.
#![forbid(unsafe_code)]

mod support;

use javm_isa::{CodeError, Instruction, NumberingError, Op};
use javm_program::{Access, Format, Isa, LoadAs, Program, ProgramError, RegionKind, bare};
use polkavm_common::{
    program::{
        ISA_JamV1, ISA_Latest64, InstructionSet, InstructionSetKind, Instructions, ProgramBlob,
        ProgramCounter, asm,
    },
    writer::ProgramBlobBuilder,
};
use support::Rng;

const SETS: [InstructionSetKind; 3] =
    [InstructionSetKind::JamV1, InstructionSetKind::ReviveV1, InstructionSetKind::Latest64];

/// What the writer puts in front of a boundary of 1024 bytes.
fn is_padding(i: &Instruction) -> bool {
    matches!(i.op, Op::Fallthrough | Op::Unlikely)
}

#[test]
fn three_instruction_sets_give_one_program() {
    for seed in 0..300 {
        let mut rng = Rng(seed);
        // Up to this size there are no boundaries to pad.
        let count = 2 + rng.below(60);
        let list = support::instructions(&mut rng, count, &[Op::Ecall, Op::Unlikely]);
        let [jam, revive, latest] =
            SETS.map(|isa| Program::load(&support::container(isa, &list, seed)).unwrap());
        assert_eq!(jam.format(), Format::PolkaVm { isa: Isa::JamV1 });
        assert_eq!(revive.format(), Format::PolkaVm { isa: Isa::ReviveV1 });
        assert_eq!(latest.format(), Format::PolkaVm { isa: Isa::Latest64 });
        for other in [&revive, &latest] {
            assert_eq!(other.code(), jam.code(), "seed {seed}");
            assert_eq!(other.exports(), jam.exports());
            assert_eq!(other.imports(), jam.imports());
            assert_eq!(other.regions(), jam.regions());
            assert_eq!(other.registers(), jam.registers());
        }
        // And it is the program that was meant, in order.
        let written: Vec<Op> = list.iter().map(|i| i.op).collect();
        let read: Vec<Op> = jam.code().instructions(0).map(|(_, i)| i.op).collect();
        assert_eq!(read, written);
    }
}

#[test]
fn long_programs_differ_in_padding_only() {
    for seed in 0..20 {
        let mut rng = Rng(seed);
        let without = [Op::Ecall, Op::Unlikely, Op::Fallthrough];
        let list = support::instructions(&mut rng, 2000, &without);
        let [jam, _, latest] = SETS.map(|isa| Program::load(&support::container(isa, &list, seed)).unwrap());
        let plain = |program: &Program| -> Vec<(Instruction, Option<Instruction>)> {
            let code = program.code();
            let first = |pc: u32| code.instructions(pc).map(|(_, i)| i).find(|i| !is_padding(i));
            let list = code.instructions(0).filter(|(_, i)| !is_padding(i)).map(|(_, mut i)| {
                let target = i.target().map(|t| first(t as u32).unwrap());
                if i.op.shape().has_target() {
                    i.y = 0;
                }
                (
                    i,
                    target.map(|mut t| {
                        t.y = if t.op.shape().has_target() { 0 } else { t.y };
                        t
                    }),
                )
            });
            list.collect()
        };
        assert_eq!(plain(&latest), plain(&jam), "seed {seed}");
        assert!(latest.code().instructions(0).any(|(_, i)| is_padding(&i)), "there is padding to ignore");
        for (a, b) in jam.exports().iter().zip(latest.exports()) {
            assert_eq!(a.name, b.name);
            assert!(latest.code().is_block_start(u64::from(b.pc)));
        }
    }
}

/// Random `Latest64` code: any opcode, operand bytes of any value, not only those that the writer emits.
fn random_latest(rng: &mut Rng) -> Vec<u8> {
    let opcodes: Vec<u32> = (0..510)
        .filter(|raw| {
            let opcode = ISA_Latest64.opcode_from_raw(*raw);
            opcode.is_some_and(|opcode| ISA_JamV1.supports_opcode(opcode))
        })
        .collect();
    let mut code = Vec::new();
    while code.len() < 900 {
        let raw = *rng.pick(&opcodes);
        let mut bytes = if raw < 255 { vec![raw as u8] } else { vec![255, (raw - 255) as u8] };
        bytes.extend(rng.bytes(14));
        if rng.chance(2) && raw < 255 {
            // Offsets that stay in the code.
            bytes[1..].iter_mut().skip(1).for_each(|b| *b = if *b < 128 { 0 } else { 255 });
        }
        let mut padded = bytes.clone();
        padded.extend([0; 20]);
        let first = Instructions::new_bounded(ISA_Latest64, &padded, &[], 0).next().unwrap();
        bytes.truncate(first.next_offset.0 as usize);
        code.extend(bytes);
    }
    code.push(0);
    code
}

/// A container around code as it is.
fn latest_container(code: &[u8]) -> Vec<u8> {
    let mut bytes = b"PVM\0\x02".to_vec();
    bytes.extend([0; 8]);
    bytes.push(6);
    bytes.extend(support::natural(code.len() as u32 + 2));
    bytes.extend([0, 0]);
    bytes.extend(code);
    bytes.push(0);
    support::fix_container(&mut bytes);
    bytes
}

#[test]
fn transcoded_instructions_are_those_that_polkavm_decodes() {
    let mut rng = Rng(11);
    let (mut compared, mut moved, mut astray) = (0, 0, 0);
    for _ in 0..400 {
        let source = random_latest(&mut rng);
        let program = Program::load(&latest_container(&source)).unwrap();
        let old: Vec<_> = Instructions::new_bounded(ISA_Latest64, &source, &[], 0).collect();
        let new: Vec<_> = program.code().instructions(0).collect();
        assert_eq!(old.len(), new.len());
        for (old_i, &(pc, mut i)) in old.iter().zip(&new) {
            let old_pc = old_i.offset.0;
            if let Some(target) = i.target() {
                match new.binary_search_by_key(&target, |(pc, _)| u64::from(*pc)) {
                    Ok(n) => {
                        // What is a block start there is one here, so jumps do the same.
                        let old_target = old[n].offset;
                        let valid = ProgramBlob::parse(latest_container(&source).into())
                            .unwrap()
                            .scan_is_jump_target_valid(ISA_Latest64, old_target);
                        assert_eq!(program.code().is_block_start(target), valid);
                        i.y = u64::from(old_target.0);
                        moved += 1;
                    }
                    Err(_) => {
                        assert_eq!(target, u64::from(program.code().len()));
                        astray += 1;
                        continue;
                    }
                }
            }
            let encoded = i.encode(old_pc);
            let mut chunk = [0; 16];
            chunk[..encoded.as_slice().len()].copy_from_slice(encoded.as_slice());
            let again = ISA_JamV1.parse_instruction(
                encoded.as_slice()[0].into(),
                u128::from_le_bytes(chunk),
                old_pc,
                encoded.as_slice().len() as u32,
            );
            assert_eq!(again, old_i.kind, "at {old_pc}, now {pc}: {i}");
            compared += 1;
        }
    }
    assert!(compared > 30_000 && moved > 1000 && astray > 1000, "{compared} {moved} {astray}");
}

#[test]
fn every_latest_opcode_is_canonical_or_refused_by_name() {
    let (mut canonical, mut refused) = (0, Vec::new());
    for raw in 0..=510u32 {
        let Some(opcode) = ISA_Latest64.opcode_from_raw(raw) else { continue };
        let mut code = if raw < 255 { vec![raw as u8] } else { vec![255, (raw - 255) as u8] };
        code.extend([0; 14]);
        match Program::load(&latest_container(&code)) {
            Ok(program) => {
                let first = program.code().instruction(0).unwrap().op;
                let (number, _) = ISA_JamV1.opcode_to_raw(opcode, 0).unwrap();
                assert_eq!(u32::from(first.opcode()), number);
                canonical += 1;
            }
            Err(ProgramError::UnsupportedInstruction { pc: 0, name }) => refused.push(name),
            Err(other) => panic!("{opcode}: {other}"),
        }
    }
    refused.sort_unstable();
    assert_eq!(refused, ["memset", "sbrk"]);
    assert!(canonical >= 138, "{canonical}");
    let error = ProgramError::UnsupportedInstruction { pc: 12, name: "memset" };
    assert_eq!(error.to_string(), "code offset 12: `memset` is not supported; link the program for JamV1");
}

#[test]
fn a_latest_block_must_end_where_it_ends() {
    let load = |code: &[u8]| Program::load(&latest_container(code)).map(|_| ());
    // `unlikely` does not end a basic block, so it may not be the last instruction of 1024 bytes.
    let unlikely = ISA_Latest64.opcode_to_raw(polkavm_common::program::Opcode::unlikely, 0).unwrap().0 as u8;
    let mut code = vec![unlikely; 1023];
    code.push(1);
    code.push(0);
    assert_eq!(load(&code), Ok(()));
    code[1023] = unlikely;
    assert_eq!(load(&code), Err(ProgramError::OpenMacroBlock { pc: 1023 }));
    // Nor may one reach across.
    code[1023] = 255;
    code[1024] = 0;
    assert_eq!(load(&code), Err(ProgramError::OpenMacroBlock { pc: 1023 }));
    assert_eq!(load(&[unlikely]), Err(ProgramError::OpenMacroBlock { pc: 0 }));
    let invalid = (0..255).find(|raw| ISA_Latest64.opcode_from_raw(u32::from(*raw)).is_none()).unwrap();
    let source = CodeError::InvalidOpcode { offset: 1, opcode: invalid };
    assert_eq!(load(&[1, invalid, 0]), Err(ProgramError::Code { offset: 17, source }));
    assert_eq!(load(&[]), Err(ProgramError::Code { offset: 17, source: CodeError::Empty }));
}

#[test]
fn numbers_of_another_set_stay_invalid() {
    let with = |isa, first: u8| {
        let mut builder = ProgramBlobBuilder::new(isa);
        builder.set_code(&[asm::fallthrough(), asm::trap()], &[]);
        let mut bytes = builder.into_vec().unwrap();
        let code = bytes.len() - 4;
        assert_eq!(bytes[code..code + 2], [1, 0]);
        bytes[code] = first;
        (code, Program::load(&bytes).map(|p| p.code().instruction(0).unwrap().op))
    };
    use InstructionSetKind::{JamV1, ReviveV1};
    // `ecall` is ours, `unlikely` is 0.8's, `sbrk` is 0.7's.
    for (isa, opcode) in
        [(JamV1, 3), (JamV1, 111), (JamV1, 255), (ReviveV1, 2), (ReviveV1, 3), (ReviveV1, 255)]
    {
        let (offset, result) = with(isa, opcode);
        let source = CodeError::InvalidOpcode { offset: 0, opcode };
        assert_eq!(result, Err(ProgramError::Code { offset, source }));
    }
    assert_eq!(with(ReviveV1, 101).1, Err(ProgramError::Numbering(NumberingError::Sbrk { offset: 0 })));
    assert_eq!(with(ReviveV1, 102).1, Ok(Op::CountSetBits64));
    assert_eq!(with(JamV1, 101).1, Ok(Op::CountSetBits64));
    assert_eq!(with(JamV1, 2).1, Ok(Op::Unlikely));
}

#[test]
fn a_32_bit_program_is_refused_by_name() {
    let mut builder = ProgramBlobBuilder::new(InstructionSetKind::Latest32);
    builder.set_code(&[asm::trap()], &[]);
    let error = Program::load(&builder.into_vec().unwrap()).unwrap_err();
    assert_eq!(error, ProgramError::Isa32 { isa: "Latest32" });
    assert_eq!(
        error.to_string(),
        "this is a 32-bit program (Latest32); only 64-bit programs run here, link it for JamV1"
    );
}

#[test]
fn memory_is_where_polkavm_puts_it() {
    let mut builder = ProgramBlobBuilder::new(InstructionSetKind::JamV1);
    builder.set_code(&[asm::trap()], &[]);
    builder.set_ro_data_size(70_000);
    builder.set_ro_data(vec![1, 2, 3]);
    builder.set_rw_data_size(4097);
    builder.set_rw_data(vec![4]);
    builder.set_stack_size(5000);
    let program = Program::load(&builder.clone().into_vec().unwrap()).unwrap();
    let plan: Vec<_> = program.regions().iter().map(|r| (r.kind, r.start, r.size, r.access)).collect();
    assert_eq!(
        plan,
        [
            (RegionKind::RoData, 0x1_0000, 18 * 4096, Access::ReadOnly),
            (RegionKind::RwData, 0x4_0000, 2 * 4096, Access::ReadWrite),
            (RegionKind::Stack, 0xFFFE_0000 - 2 * 4096, 2 * 4096, Access::ReadWrite),
        ]
    );
    assert_eq!(program.regions()[0].contents, [1, 2, 3]);
    assert_eq!(program.registers()[..2], [0xFFFF_0000, 0xFFFE_0000]);
    assert_eq!(program.registers()[2..], [0; 11]);

    // Sizes are numbers: almost all of the address space costs nothing, all of it does not fit.
    builder.set_rw_data_size(0xFFF0_0000);
    let program = Program::load(&builder.clone().into_vec().unwrap()).unwrap();
    assert_eq!(program.regions()[1].size, 0xFFF0_0000);
    builder.set_rw_data_size(u32::MAX);
    assert_eq!(
        Program::load(&builder.clone().into_vec().unwrap()).unwrap_err(),
        ProgramError::MemoryTooLarge { ro: 70_000, rw: u64::from(u32::MAX), stack: 5000 }
    );
    builder.set_rw_data_size(0);
    assert!(matches!(
        Program::load(&builder.into_vec().unwrap()),
        Err(ProgramError::DataTooLong { kind: RegionKind::RwData, declared: 0, found: 1, .. })
    ));
}

#[test]
fn containers_that_lie() {
    let mut builder = ProgramBlobBuilder::new(InstructionSetKind::JamV1);
    builder.set_code(&[asm::trap()], &[]);
    builder.add_export_by_basic_block(0, b"main");
    builder.add_import(b"exit");
    let bytes = builder.into_vec().unwrap();
    let load = |bytes: &[u8]| Program::load(bytes).unwrap_err();
    assert!(Program::load(&bytes).is_ok());
    for len in 4..bytes.len() {
        let mut short = bytes[..len].to_vec();
        load(&short);
        support::fix_container(&mut short);
        load(&short);
    }
    let mut long = bytes.clone();
    long.push(0);
    assert_eq!(
        load(&long),
        ProgramError::BlobLength { declared: bytes.len() as u64, found: bytes.len() as u64 + 1 }
    );
    support::fix_container(&mut long);
    assert_eq!(load(&long), ProgramError::TrailingBytes { offset: bytes.len() });

    let find = |what: &[u8]| bytes.windows(what.len()).position(|w| w == what).unwrap();
    // Sections: 4 imports [length, 1 symbol, its position, symbol], 5 exports [length, 1, pc, name].
    let imports = find(&[4, 9, 1]);
    let exports = find(&[5, 7, 1]);
    let change = |at: usize, to: &[u8]| {
        let mut changed = bytes.clone();
        changed[at..at + to.len()].copy_from_slice(to);
        load(&changed)
    };
    assert_eq!(change(imports + 3, &[5]), ProgramError::ImportSymbol { offset: imports + 3, index: 0 });
    assert_eq!(change(exports + 3, &[1]), ProgramError::ExportTarget { index: 0, pc: 1 });
    assert_eq!(change(exports + 2, &[0]), ProgramError::TrailingBytes { offset: exports + 3 });
    assert_eq!(
        change(exports + 2, &[2]),
        ProgramError::Truncated { offset: exports + 9, needed: 1, found: 0 }
    );
    assert_eq!(
        change(exports + 1, &[6]),
        ProgramError::UnexpectedSection { offset: exports + 8, section: b'n' }
    );
    assert_eq!(change(exports, &[7]), ProgramError::UnexpectedSection { offset: exports, section: 7 });
    assert_eq!(change(4, &[9]), ProgramError::PolkaVmVersion { version: 9 });
    assert_eq!(change(0, b"p"), ProgramError::UnknownFormat);
}

#[test]
fn a_jump_table_of_zeros_leads_to_offset_0() {
    // The linker writes entries of no bytes where all are 0.
    let mut builder = ProgramBlobBuilder::new(InstructionSetKind::Latest64);
    builder.set_code(&[asm::trap()], &[0, 0]);
    // Code of one byte cannot back two of them.
    assert!(matches!(
        Program::load(&builder.clone().into_vec().unwrap()),
        Err(ProgramError::JumpTableEntrySize { size: 0, .. })
    ));
    builder.set_code(&[asm::fallthrough(), asm::trap()], &[0, 0]);
    let program = Program::load(&builder.into_vec().unwrap()).unwrap();
    assert_eq!(program.code().jump_target(4), Some(0));
    assert_eq!(program.code().jump_target(6), None);
}

#[test]
fn imports_are_renumbered() {
    let mut builder = ProgramBlobBuilder::new(InstructionSetKind::JamV1);
    builder.set_code(
        &[
            asm::branch_eq(polkavm_common::program::Reg::A0, polkavm_common::program::Reg::A1, 1),
            asm::ecalli(0),
            asm::ecalli(2),
            asm::ecalli(7),
            asm::jump(0),
            asm::trap(),
        ],
        &[1, 2],
    );
    for name in [&b"first"[..], b"", b"third"] {
        builder.add_import(name);
    }
    builder.add_export_by_basic_block(2, b"end");
    let mut program = Program::load(&builder.into_vec().unwrap()).unwrap();
    assert_eq!(program.ecalli_numbers(), [0, 2, 7]);
    assert_eq!(program.import_symbol(2), Some(&b"third"[..]));
    assert_eq!(program.import_symbol(1), None);
    let unchanged = program.code().clone();
    program.renumber_imports(&[(9, 10)].into()).unwrap();
    assert_eq!(*program.code(), unchanged);

    program.renumber_imports(&[(0, 1000), (2, 0), (7, u32::MAX)].into()).unwrap();
    let text: Vec<_> = program.code().instructions(0).map(|(pc, i)| format!("{pc}: {i}")).collect();
    assert_eq!(
        text,
        [
            "0: branch_eq a0, a1, @3",
            "3: ecalli 1000",
            "6: ecalli 0",
            "7: ecalli -1",
            "9: jump @0",
            "11: trap"
        ]
    );
    assert_eq!(program.code().jump_table(), [3, 11]);
    assert_eq!(program.export(b"end").unwrap().pc, 11);
    assert_eq!(program.import_symbol(1000), Some(&b"first"[..]));
    assert_eq!(program.import_symbol(0), Some(&b"third"[..]));
    assert_eq!(program.ecalli_numbers(), [0, 1000, u32::MAX]);
}

#[test]
fn source_lines_are_those_that_polkavm_finds() {
    let mut found = 0;
    for seed in 0..200 {
        for isa in SETS {
            let bytes = support::random_container(isa, seed);
            let program = Program::load(&bytes).unwrap();
            let blob = ProgramBlob::parse(bytes.into()).unwrap();
            let old = blob.instructions().filter(|i| (i.offset.0 as usize) < blob.code().len());
            for (old, (pc, _)) in old.zip(program.code().instructions(0)) {
                let mut theirs: Vec<_> = blob
                    .get_frame_info_for(ProgramCounter(old.offset.0), None)
                    .map(|f| {
                        (
                            f.namespace().unwrap().map(str::to_owned),
                            f.function_name_without_namespace().unwrap().map(str::to_owned),
                            f.path().unwrap().map(str::to_owned),
                            f.line(),
                            f.column(),
                        )
                    })
                    .collect();
                theirs.reverse();
                let ours: Vec<_> = program
                    .source_frames(pc)
                    .iter()
                    .map(|f| {
                        let own = |s: Option<&str>| s.map(str::to_owned);
                        (own(f.namespace), own(f.function), own(f.file), f.line, f.column)
                    })
                    .collect();
                assert_eq!(ours, theirs, "seed {seed}, {isa:?}, pc {}", old.offset);
                found += ours.len();
            }
        }
    }
    assert!(found > 2000, "{found}");
}

#[test]
fn a_bare_blob_of_a_container_is_its_code() {
    for seed in 0..50 {
        let bytes = support::random_container(InstructionSetKind::JamV1, seed);
        let program = Program::load(&bytes).unwrap();
        let blob = bare::to_blob(program.code());
        let again = Program::load(&blob).unwrap();
        assert_eq!(again.code(), program.code());
        assert!(matches!(again.format(), Format::BareBlob { .. }));
        assert!(Program::load_as(LoadAs::PolkaVm, &blob).is_err());
    }
}
