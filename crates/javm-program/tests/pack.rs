//! Programs packed for the capability microkernel: preamble, jump table, memory, refusals.
#![forbid(unsafe_code)]

mod support;

use std::{fs, path::Path};

use javm_isa::Op;
use javm_program::{
    Access, Format, Manifest, ManifestKind, Program,
    pack::{
        ARGS_PAGE, ARGS_SLOT, CHILD_PAGE, CODE_SLOT, ECALL_SYMBOL, PackError, PackOptions, Packed, PackedCap,
        vm_code,
    },
};
use polkavm_common::{
    program::{Instruction, InstructionSetKind, asm},
    writer::ProgramBlobBuilder,
};

/// Three blocks; `ecalli 0`, called `ecall`, and `ecalli 5`; a jump table that leads to the second block.
fn program(exports: &[(u32, &str)]) -> Program {
    let mut builder = ProgramBlobBuilder::new(InstructionSetKind::JamV1);
    let code =
        [asm::ecalli(0), Instruction::jump(1), asm::ecalli(5), asm::fallthrough(), Instruction::jump(0)];
    builder.set_code(&code, &[1, 2]);
    builder.set_ro_data_size(5000);
    builder.set_ro_data(b"constants".to_vec());
    builder.set_rw_data_size(3);
    builder.set_stack_size(8192);
    for (block, name) in exports {
        builder.add_export_by_basic_block(*block, name.as_bytes());
    }
    builder.add_import(ECALL_SYMBOL);
    Program::load(&builder.into_vec().unwrap()).unwrap()
}

#[test]
fn the_preamble_goes_where_phi7_says() {
    let program = program(&[(1, "late@2"), (0, "first@0")]);
    let code = vm_code(&program).unwrap();
    let text: Vec<_> = code.instructions(0).map(|(pc, i)| format!("{pc} {i}")).collect();
    assert_eq!(
        text,
        [
            "0 branch_ge_u_imm a0, 3, @30",
            "4 shlo_l_imm_64 t0, a0, 1",
            "7 load_imm_64 sp, 0xfffe0000",
            "17 load_imm_64 ra, 0xffff0000",
            "27 jump_ind t0, 6",
            "30 trap",
            "31 ecall",
            "32 jump @34",
            "34 ecalli 5",
            "36 fallthrough",
            "37 jump @31",
        ]
    );
    // The program's own entries, then its entry points; the hole leads to the trap.
    assert_eq!(code.jump_table(), [34, 37, 31, 30, 34]);
    assert!(code.jump_table().iter().all(|pc| code.is_block_start(u64::from(*pc))));
    assert_eq!(code.instructions(0).filter(|(_, i)| i.op == Op::Ecall).count(), 1);
}

#[test]
fn a_program_without_exports_starts_at_its_own_start() {
    let code = vm_code(&program(&[])).unwrap();
    assert_eq!(code.instructions(0).next().unwrap().1.op, Op::Ecall);
    assert_eq!(code.jump_table(), [3, 6]);
}

#[test]
fn memory_lies_where_the_program_expects_it() {
    let program = program(&[(0, "main")]);
    let packed = Packed::new(&program, &PackOptions { heap_pages: 3, ..PackOptions::default() }).unwrap();
    let blob = packed.to_bytes().unwrap();
    let manifest = Manifest::read(&blob).unwrap();
    let expected: [(u8, u32, u32, Access, &[u8]); 5] = [
        (65, 0xF_FFDE, 2, Access::ReadWrite, b""),
        (66, 16, 2, Access::ReadOnly, b"constants"),
        (67, 48, 1, Access::ReadWrite, b""),
        (68, 49, 3, Access::ReadWrite, b""),
        (ARGS_SLOT, ARGS_PAGE, 1, Access::ReadWrite, b""),
    ];
    assert_eq!((manifest.memory_pages, manifest.invoke_slot), (9, CODE_SLOT));
    assert_eq!((manifest.caps[0].slot, manifest.caps[0].kind), (CODE_SLOT, ManifestKind::Code));
    for (cap, expected) in manifest.caps[1..].iter().zip(expected) {
        assert_eq!(cap.kind, ManifestKind::Data);
        assert_eq!((cap.slot, cap.base_page, cap.page_count, cap.access, cap.contents), expected);
    }
    assert_eq!(manifest.invoked_code().unwrap(), vm_code(&program).unwrap());
    for region in program.regions() {
        let at = |c: &&PackedCap| c.base_page == region.start / 4096 && c.page_count == region.size / 4096;
        assert_eq!(packed.caps().iter().filter(at).count(), 1, "{region:?}");
    }
}

#[test]
fn a_child_lies_aside_and_is_told_where_it_belongs() {
    let program = program(&[(0, "main")]);
    let mut packed = Packed::new(&program, &PackOptions::default()).unwrap();
    let places = packed.add_program(80, &program, &PackOptions::default()).unwrap();
    let places: Vec<_> = places.iter().map(|c| (c.slot, c.base_page, c.page_count)).collect();
    assert_eq!(places, [(81, 0xF_FFDE, 2), (82, 16, 2), (83, 48, 1)]);
    let aside: Vec<_> = packed.caps().iter().filter(|c| c.slot > 80).collect();
    assert_eq!(aside.iter().map(|c| c.base_page - CHILD_PAGE).collect::<Vec<_>>(), [0, 2, 4]);
    assert_eq!(aside[1].contents, b"constants");
    assert_eq!(packed.manifest().unwrap().memory_pages, 6 + 5);
}

#[test]
fn refusals() {
    let program = program(&[(0, "main")]);
    let new = || Packed::new(&program, &PackOptions::default()).unwrap();
    let data = |slot, base, pages| PackedCap::data(slot, base, pages, Access::ReadWrite);
    let add = |cap| new().add(cap).unwrap_err();
    assert_eq!(add(data(65, 500, 1)), PackError::SlotTaken { slot: 65 });
    assert_eq!(add(data(70, 10, 7)), PackError::PageTaken { first: 66, second: 70, page: 16 });
    let (base_page, pages) = (0xF_FFFF, 2);
    assert_eq!(add(data(70, base_page, pages)), PackError::OutsideMemory { slot: 70, base_page, pages });
    let long = PackedCap { contents: vec![0; 4097], ..data(70, 500, 1) };
    assert_eq!(add(long), PackError::ContentsTooLong { slot: 70, len: 4097, pages: 1 });
    assert_eq!(new().add(data(70, 0x100, 0)), Ok(()));

    let mut packed = new();
    packed.invoke(65);
    assert_eq!(packed.to_bytes(), Err(PackError::NothingToInvoke { slot: 65 }));
    let little = PackOptions { memory_pages: Some(5), ..PackOptions::default() };
    let refused = Packed::new(&program, &little).unwrap().to_bytes().unwrap_err();
    assert_eq!(refused, PackError::TooLittleMemory { memory_pages: 5, needed: 6 });
    assert_eq!(refused.to_string(), "5 pages of memory, but the capabilities have 6");
    let refused = new().add_program(253, &program, &PackOptions::default());
    assert_eq!(refused, Err(PackError::NoSlot { slot: 256 }));
}

/// An export that only falling through reaches cannot be jumped to.
#[test]
fn exports_are_at_blocks() {
    // The container says pcs, so a byte of it is changed to lead to the `jump` in the middle of a block.
    let mut builder = ProgramBlobBuilder::new(InstructionSetKind::JamV1);
    builder.set_code(&[asm::fallthrough(), asm::ecalli(9), Instruction::jump(0)], &[]);
    builder.add_export_by_basic_block(1, b"main");
    let bytes = builder.into_vec().unwrap();
    let at = bytes.windows(6).position(|w| w == b"\x01\x04main").unwrap();
    let mut moved = bytes.clone();
    moved[at] = 3;
    assert!(vm_code(&Program::load(&bytes).unwrap()).is_ok());
    let refused = vm_code(&Program::load(&moved).unwrap()).unwrap_err();
    assert_eq!(refused, PackError::ExportTarget { position: 0, pc: 3 });
}

/// Every guest packs, and what it packs to reads back.
#[test]
fn guests_pack() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../guests/blobs");
    let mut packed = 0;
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let program = Program::load(&fs::read(&path).unwrap()).unwrap();
        let blob = Packed::new(&program, &PackOptions::default()).unwrap().to_bytes().unwrap();
        let again = Program::load(&blob).unwrap();
        assert_eq!(again.format(), Format::Manifest);
        assert_eq!(again.code(), &vm_code(&program).unwrap(), "{}", path.display());
        packed += 1;
    }
    assert!(packed > 20);
}
