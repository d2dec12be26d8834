//! Service programs, manifests, bare blobs; telling formats apart; large and pathological programs.
#![forbid(unsafe_code)]

mod support;

use std::{path::Path, time::Instant};

use javm_isa::{Numbering, Op};
use javm_program::{
    Access, EndpointError, Format, HALT_ADDRESS, LoadAs, Manifest, Program, ProgramError, RegionKind, bare,
    manifest::ManifestKind,
    service::{self, Metadata},
};
use polkavm_common::{
    program::{InstructionSetKind, asm},
    writer::ProgramBlobBuilder,
};
use support::{ManifestEntry, Rng};

/// `jump 5` padded with `fallthrough`, then `trap` at 5: two entry points.
const BLOB: [u8; 10] = [0, 0, 6, 40, 5, 1, 1, 1, 0, 0b11_1101];

fn as_service(bytes: &[u8], metadata: Metadata) -> Result<Program, ProgramError> {
    Program::load_as(LoadAs::JamService(Numbering::V08, metadata), bytes)
}

#[test]
fn a_service_program_has_the_standard_memory() {
    let bytes = support::service(None, &[1, 2, 3], &[4; 5000], 3, 4097, &BLOB);
    let program = Program::load(&bytes).unwrap();
    assert_eq!(program.format(), Format::JamService { numbering: Numbering::Canonical });
    let plan: Vec<_> =
        program.regions().iter().map(|r| (r.kind, r.start, r.size, r.access, r.contents.len())).collect();
    assert_eq!(
        plan,
        [
            (RegionKind::RoData, 0x1_0000, 0x1000, Access::ReadOnly, 3),
            (RegionKind::RwData, 0x3_0000, 0x2000, Access::ReadWrite, 5000),
            (RegionKind::Heap, 0x3_2000, 0x3000, Access::ReadWrite, 0),
            (RegionKind::Stack, 0xFEFD_E000, 0x2000, Access::ReadWrite, 0),
        ]
    );
    let names: Vec<_> = program.exports().iter().map(|e| (e.name_lossy(), e.pc)).collect();
    assert_eq!(names, [("refine".into(), 0), ("accumulate".into(), 5)]);

    let (registers, region) = program.with_args(b"hello").unwrap();
    assert_eq!(registers[..2], [u64::from(HALT_ADDRESS), 0xFEFE_0000]);
    assert_eq!(registers[7..9], [0xFEFF_0000, 5]);
    assert!(registers[2..7].iter().chain(&registers[9..]).all(|r| *r == 0));
    let region = region.unwrap();
    assert_eq!((region.kind, region.start, region.size), (RegionKind::Args, 0xFEFF_0000, 4096));
    assert_eq!((region.access, &region.contents[..]), (Access::ReadOnly, &b"hello"[..]));
    assert_eq!(program.with_args(&[]).unwrap(), (program.registers(), None));
    let most = vec![0; service::MAX_ARGS + 1];
    assert_eq!(program.with_args(&most[1..]).unwrap().1.unwrap().end(), 0xFFFF_0000);
    assert_eq!(program.with_args(&most), Err(ProgramError::ArgumentsTooLong { len: most.len() }));
    let bare = Program::load(&BLOB).unwrap();
    assert_eq!(bare.with_args(&[]), Err(ProgramError::NoArguments));
}

#[test]
fn metadata_is_told_by_exact_lengths() {
    let plain = support::service(None, &[1], &[], 0, 0, &BLOB);
    let with = support::service(Some(b"about"), &[1], &[], 0, 0, &BLOB);
    for bytes in [&plain, &with] {
        let program = Program::load(bytes).unwrap();
        assert_eq!(program.code(), Program::load(&BLOB).unwrap().code());
    }
    assert_eq!(Program::load(&plain).unwrap().metadata(), b"");
    assert_eq!(Program::load(&with).unwrap().metadata(), b"about");
    assert!(as_service(&plain, Metadata::Absent).is_ok());
    assert!(as_service(&with, Metadata::Present).is_ok());
    assert!(as_service(&with, Metadata::Absent).is_err());
    assert!(as_service(&plain, Metadata::Present).is_err());
    let empty = support::service(Some(b""), &[1], &[], 0, 0, &BLOB);
    assert_eq!(as_service(&empty, Metadata::Detect).unwrap().metadata(), b"");
    for len in 0..with.len() {
        assert!(as_service(&with[..len], Metadata::Detect).is_err());
    }
    let mut long = plain;
    long.push(0);
    let offset = long.len() - 1;
    assert_eq!(as_service(&long, Metadata::Absent).unwrap_err(), ProgramError::TrailingBytes { offset });
}

#[test]
fn the_largest_service_memory_fits() {
    // The largest numbers that the fields can hold still fit, so only the sum's place is tested here.
    let bytes = support::service(None, &[], &[], u16::MAX, 0xFF_FFFF, &BLOB);
    let program = as_service(&bytes, Metadata::Absent).unwrap();
    assert_eq!(program.regions()[0].size, 0x0FFF_F000);
    assert_eq!(program.regions()[1].end(), 0xFEFE_0000);
    assert_eq!(program.regions()[1].start, 0xFEFE_0000 - 0x100_0000);
}

#[test]
fn a_manifest_is_a_list_of_capabilities() {
    let code = support::manifest_code(&[3, 102, 0x87, 2, 0], &[0b1_1011]);
    let len = code.len() as u32;
    let mut data = code.clone();
    data.extend(b"rodata, and more");
    let entry = |slot, is_data, start, len| ManifestEntry {
        slot,
        data: is_data,
        base_page: 1,
        page_count: u32::MAX,
        writable: false,
        start,
        len,
    };
    let entries = [entry(64, false, 0, len), entry(66, true, len, 6), entry(66, true, len + 8, 8)];
    let bytes = support::manifest(100, 64, &entries, &data);
    let manifest = Manifest::read(&bytes).unwrap();
    assert_eq!((manifest.memory_pages, manifest.invoke_slot, manifest.caps.len()), (100, 64, 3));
    let cap = manifest.caps[1];
    assert_eq!((cap.slot, cap.kind, cap.base_page, cap.page_count), (66, ManifestKind::Data, 1, u32::MAX));
    assert_eq!((cap.access, cap.contents), (Access::ReadOnly, &b"rodata"[..]));
    assert_eq!(&bytes[cap.offset..][..6], b"rodata");
    // 0.7 numbers, with `ecall` and `unlikely`.
    let program = Program::load(&bytes).unwrap();
    assert_eq!(program.format(), Format::Manifest);
    let ops: Vec<_> = program.code().instructions(0).map(|(_, i)| i.op).collect();
    assert_eq!(ops, [Op::Ecall, Op::CountSetBits64, Op::Unlikely, Op::Trap]);

    let change = |at: usize, to: u8| {
        let mut changed = bytes.clone();
        changed[at] = to;
        Program::load(&changed).unwrap_err()
    };
    let field = |offset, field, value| ProgramError::ManifestField { offset, field, value };
    assert_eq!(change(9, 66), field(9, "invoke_cap", 66));
    assert_eq!(change(9, 7), field(9, "invoke_cap", 7));
    assert_eq!(change(11, 2), field(11, "cap_type", 2));
    assert_eq!(change(20, 2), field(20, "init_access", 2));
    assert!(matches!(change(24, 1), ProgramError::Truncated { .. }));
    let offset = 10 + 3 * 19 + 4;
    assert_eq!(change(offset, 0), ProgramError::JumpTableEntrySize { offset, size: 0 });
    assert_eq!(change(offset, 5), ProgramError::JumpTableEntrySize { offset, size: 5 });
}

#[test]
fn formats_are_told_apart() {
    let service = support::service(None, &[], &[], 0, 0, &BLOB);
    let format = |bytes: &[u8]| Program::load(bytes).map(|p| p.format());
    assert_eq!(format(&BLOB), Ok(Format::BareBlob { numbering: Numbering::Canonical }));
    assert_eq!(format(&service), Ok(Format::JamService { numbering: Numbering::Canonical }));
    for nothing in [&b""[..], b"PVM", b"hello world", &[0], &[0xFF; 40]] {
        assert_eq!(format(nothing), Err(ProgramError::UnknownFormat));
    }
    assert!(matches!(format(b"PVM\0"), Err(ProgramError::Truncated { offset: 4, .. })));
    assert!(matches!(format(b"JAR\x02"), Err(ProgramError::Truncated { offset: 4, .. })));
    assert_eq!(format(b"\x7fELF"), Err(ProgramError::NotLinked));
    for load_as in [LoadAs::PolkaVm, LoadAs::Manifest] {
        assert!(matches!(Program::load_as(load_as, &BLOB), Err(ProgramError::WrongMagic { .. })));
    }
}

#[test]
fn endpoints_have_distinct_indices() {
    let with = |names: &[&str]| {
        let mut builder = ProgramBlobBuilder::new(InstructionSetKind::JamV1);
        builder.set_code(&[asm::trap()], &[]);
        for name in names {
            builder.add_export_by_basic_block(0, name.as_bytes());
        }
        let program = Program::load(&builder.into_vec().unwrap()).unwrap();
        program.endpoints().map(|list| list.into_iter().map(|(index, _)| index).collect::<Vec<_>>())
    };
    assert_eq!(with(&["a@3", "b", "c@0"]), Ok(vec![3, 1, 0]));
    assert_eq!(with(&[]), Ok(vec![]));
    assert_eq!(with(&["a@1", "b"]), Err(EndpointError::Duplicate { index: 1, first: 0, second: 1 }));
    assert_eq!(with(&["a", "b@256"]), Err(EndpointError::TooLarge { position: 1 }));
    assert_eq!(
        EndpointError::TooLarge { position: 1 }.to_string(),
        "export 1: an image has endpoints 0 to 255 only"
    );
}

/// Every bare blob that is around reads, and is written back byte for byte.
#[test]
fn conformance_vectors_round_trip() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/vectors");
    let Ok(entries) = std::fs::read_dir(folder) else { return };
    let mut count = 0;
    for entry in entries {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|e| e != "jsonl") {
            continue;
        }
        let old = path.file_name().unwrap().to_string_lossy().starts_with("pvm-0.7");
        for line in std::fs::read_to_string(&path).unwrap().lines() {
            let vector: serde_json::Value = serde_json::from_str(line).unwrap();
            let bytes: Vec<u8> =
                vector["program"].as_array().unwrap().iter().map(|b| b.as_u64().unwrap() as u8).collect();
            let numbering = if old { Numbering::V07 } else { Numbering::V08 };
            match Program::load_as(LoadAs::BareBlob(numbering), &bytes) {
                Ok(program) => {
                    let blob = bare::to_blob(program.code());
                    let again = Program::load(&blob).unwrap();
                    assert_eq!(again.code(), program.code(), "{}", vector["name"]);
                    if !old {
                        assert_eq!(blob, bytes, "{}", vector["name"]);
                    }
                    count += 1;
                }
                // Some are there to be refused; none for its structure.
                Err(error) => assert!(matches!(error, ProgramError::Code { .. }), "{error}"),
            }
        }
    }
    assert!(count > 2000, "{count}");
}

/// A `Latest64` container around code as it is.
fn latest(code: &[u8]) -> Vec<u8> {
    let mut bytes = b"PVM\0\x02".to_vec();
    bytes.extend([0; 8]);
    bytes.push(6);
    let len = code.len() as u32 + 2;
    bytes.push(0xE0 | (len >> 24) as u8);
    bytes.extend(&len.to_le_bytes()[..3]);
    bytes.extend([0, 0]);
    bytes.extend(code);
    bytes.push(0);
    support::fix_container(&mut bytes);
    bytes
}

#[test]
fn time_is_linear_in_the_input() {
    // Programs of 2 and 4 MiB: the second takes about twice the first's time, an hour if it were quadratic.
    let mut rng = Rng(5);
    let list = support::instructions(&mut rng, 300, &[Op::Ecall]);
    let mut builder = ProgramBlobBuilder::new(InstructionSetKind::Latest64);
    let list: Vec<_> = list.iter().map(support::polkavm).collect();
    builder.set_code(&list, &[]);
    let seed = builder.into_vec().unwrap();
    let blob = polkavm_common::program::ProgramBlob::parse(seed.into()).unwrap();
    let mut block = blob.code().to_vec();
    block.resize(block.len().next_multiple_of(1024), 1);
    for size in [2 << 20, 4 << 20] {
        let bytes = latest(&block.repeat(size / block.len()));
        let start = Instant::now();
        let program = Program::load(&bytes).unwrap();
        let time = start.elapsed();
        assert!(program.code().len() > 1 << 20);
        println!("{size} bytes: {time:?}");
        assert!(time.as_secs() < 10, "{size}: {time:?}");
    }
}

/// The containers of the example guests, as they are checked in, in all three instruction sets.
#[test]
fn example_guests_agree_in_every_instruction_set() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../guests/blobs");
    let Ok(entries) = std::fs::read_dir(folder) else { return };
    let mut compared = 0;
    for entry in entries {
        let path = entry.unwrap().path();
        let read = |path: &Path| std::fs::read(path).ok().map(|bytes| Program::load(&bytes).unwrap());
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let Some(stem) = name.strip_suffix(".polkavm").filter(|stem| !stem.contains('.')) else { continue };
        let jam = read(&path).unwrap();
        assert!(!jam.exports().is_empty(), "{name}");
        jam.endpoints().unwrap();
        for set in ["revive_v1", "latest64"] {
            let other = [format!("{stem}.{set}.polkavm"), format!("{stem}.{set}")];
            let Some(other) = other.iter().find_map(|name| read(&path.with_file_name(name))) else {
                continue;
            };
            let names = |program: &Program| -> Vec<Vec<u8>> {
                program.exports().iter().map(|e| e.name.clone()).collect()
            };
            assert_eq!(names(&other), names(&jam), "{name}, {set}");
            assert_eq!(other.imports(), jam.imports(), "{name}, {set}");
            assert_eq!(other.regions(), jam.regions(), "{name}, {set}");
            assert_eq!(other.registers(), jam.registers(), "{name}, {set}");
            let ops = |program: &Program| -> Vec<Op> {
                let ops = program.code().instructions(0).map(|(_, i)| i.op);
                ops.filter(|op| !matches!(op, Op::Fallthrough | Op::Unlikely)).collect()
            };
            // The linker emits the same instructions for all of them but for padding and hints.
            assert_eq!(ops(&other), ops(&jam), "{name}, {set}");
            if other.code().len() == jam.code().len() {
                assert_eq!(other.code(), jam.code(), "{name}, {set}");
            }
            compared += 1;
        }
    }
    assert!(compared > 0, "no guest is there in two instruction sets");
}
