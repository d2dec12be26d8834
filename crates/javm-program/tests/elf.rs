//! ELF files: one small enough to write by hand goes through the linker.
#![cfg(feature = "elf")]
#![forbid(unsafe_code)]

use javm_program::{Format, Program, ProgramError, elf};

const PROGBITS: u32 = 1;
const SYMTAB: u32 = 2;
const STRTAB: u32 = 3;
const RELA: u32 = 4;
const ALLOC: u64 = 2;
const EXEC: u64 = 4;
/// `R_RISCV_64`.
const ABSOLUTE: u64 = 2;

struct Section {
    name: &'static str,
    kind: u32,
    flags: u64,
    address: u64,
    link: u32,
    info: u32,
    entry: u64,
    data: Vec<u8>,
}

fn section(name: &'static str, flags: u64, address: u64, data: Vec<u8>) -> Section {
    Section { name, kind: PROGBITS, flags, address, link: 0, info: 0, entry: 0, data }
}

/// A 64-bit RISC-V executable that exports `sum`: a0 + a1.
fn sum() -> Vec<u8> {
    let mut text = 0x00B5_0533u32.to_le_bytes().to_vec();
    text.extend(0x0000_8067u32.to_le_bytes());
    // Version, flags, length and address of the name, two arguments, one result.
    let mut metadata = vec![1, 0, 0, 0, 0, 3, 0, 0, 0];
    metadata.extend([0; 8]);
    metadata.extend([2, 1]);
    // Version, address of the metadata, address of the code.
    let mut exports = vec![1];
    exports.extend([0; 16]);
    let rela = |list: &[(u64, u64)]| -> Vec<u8> {
        list.iter()
            .flat_map(|(at, symbol)| [*at, symbol << 32 | ABSOLUTE, 0])
            .flat_map(u64::to_le_bytes)
            .collect()
    };
    // Symbol n is the start of section n.
    let symbols = [(0u16, 0u64), (1, 0x1000), (2, 0x2000), (3, 0x3000)].map(|(section, address)| {
        let mut symbol = vec![0, 0, 0, 0, if section == 0 { 0 } else { 3 }, 0];
        symbol.extend(section.to_le_bytes());
        symbol.extend(address.to_le_bytes());
        symbol.extend([0; 8]);
        symbol
    });
    let mut sections = vec![
        Section { kind: 0, ..section("", 0, 0, vec![]) },
        section(".text", ALLOC | EXEC, 0x1000, text),
        section(".rodata", ALLOC, 0x2000, b"sum".to_vec()),
        section(".polkavm_metadata", ALLOC, 0x3000, metadata),
        section(".polkavm_exports", ALLOC, 0x4000, exports),
        Section {
            kind: RELA,
            link: 7,
            info: 3,
            entry: 24,
            ..section(".rela.polkavm_metadata", 0, 0, rela(&[(0x3009, 2)]))
        },
        Section {
            kind: RELA,
            link: 7,
            info: 4,
            entry: 24,
            ..section(".rela.polkavm_exports", 0, 0, rela(&[(0x4001, 3), (0x4009, 1)]))
        },
        Section { kind: SYMTAB, link: 8, info: 4, entry: 24, ..section(".symtab", 0, 0, symbols.concat()) },
        Section { kind: STRTAB, ..section(".strtab", 0, 0, vec![0]) },
        Section { kind: STRTAB, ..section(".shstrtab", 0, 0, vec![]) },
    ];
    let mut names = Vec::new();
    let mut name_offsets = Vec::new();
    for s in &sections {
        name_offsets.push(names.len() as u32);
        names.extend(s.name.as_bytes());
        names.push(0);
    }
    sections.last_mut().unwrap().data = names;

    let mut body = Vec::new();
    let mut headers = Vec::new();
    for (s, name) in sections.iter().zip(name_offsets) {
        headers.extend(name.to_le_bytes());
        headers.extend(s.kind.to_le_bytes());
        for n in [s.flags, s.address, 64 + body.len() as u64, s.data.len() as u64] {
            headers.extend(n.to_le_bytes());
        }
        headers.extend(s.link.to_le_bytes());
        headers.extend(s.info.to_le_bytes());
        headers.extend(8u64.to_le_bytes());
        headers.extend(s.entry.to_le_bytes());
        body.extend(&s.data);
        body.resize(body.len().next_multiple_of(8), 0);
    }
    let mut file = b"\x7fELF\x02\x01\x01".to_vec();
    file.resize(16, 0);
    // An executable for RISC-V.
    file.extend([2, 0, 0xF3, 0, 1, 0, 0, 0]);
    file.extend([0; 16]);
    file.extend((64 + body.len() as u64).to_le_bytes());
    // RVE and compressed instructions; header sizes.
    file.extend([9, 0, 0, 0, 64, 0, 56, 0, 0, 0, 64, 0]);
    file.extend((sections.len() as u16).to_le_bytes());
    file.extend((sections.len() as u16 - 1).to_le_bytes());
    file.extend(body);
    file.extend(headers);
    file
}

#[test]
fn an_elf_file_is_linked_when_asked() {
    let file = sum();
    assert_eq!(Program::load(&file).unwrap_err(), ProgramError::NotLinked);
    let program = Program::load_or_link(&file).unwrap();
    assert_eq!(program.format(), Format::Elf);
    let names: Vec<_> = program.exports().iter().map(|e| e.name_lossy()).collect();
    assert_eq!(names, ["sum"]);
    let text: Vec<_> =
        program.code().instructions(program.exports()[0].pc).map(|(_, i)| i.to_string()).collect();
    assert_eq!(text, ["add_64 a0, a0, a1", "jump_ind ra, 0"]);
    // Linking and reading are two steps for whoever keeps the container.
    let container = elf::link(&file).unwrap();
    assert_eq!(Program::load(&container).unwrap().code(), program.code());
}

#[test]
fn what_the_linker_refuses_is_an_error() {
    let error = Program::load_or_link(b"\x7fELF").unwrap_err();
    assert!(error.to_string().starts_with("the ELF file does not link: "), "{error}");
    assert_eq!(error, elf::read(b"\x7fELF").unwrap_err());
    // Other formats do not see the linker.
    assert_eq!(Program::load_or_link(b"?").unwrap_err(), ProgramError::UnknownFormat);
}
