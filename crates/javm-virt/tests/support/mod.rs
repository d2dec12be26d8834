//! PolkaVM containers from assembly text, and the engines that tests run on.
#![allow(dead_code, reason = "each test file uses a part")]

use std::path::PathBuf;

use javm_exec::{Backend, Config, Engine};
use javm_isa::asm::assemble;

/// What a container holds besides its code; exports are the text's.
#[derive(Clone, Default)]
pub(crate) struct Parts<'a> {
    pub(crate) imports: &'a [&'a [u8]],
    pub(crate) ro_data: &'a [u8],
    pub(crate) rw_data: &'a [u8],
    /// In bytes; at least as many as there are data.
    pub(crate) rw_size: u32,
    pub(crate) stack_size: u32,
}

/// Where data lies when there are up to 64 KiB of read-only data.
pub(crate) const RO: u32 = 0x1_0000;
pub(crate) const RW: u32 = 0x3_0000;
/// Behind the stack.
pub(crate) const STACK_TOP: u32 = 0xFFFE_0000;

/// The version byte of `JamV1`, whose numbering is the assembler's.
pub(crate) const JAM_V1: u8 = 3;

/// A container with a version byte.
pub(crate) fn container_of(version: u8, text: &str, parts: &Parts<'_>) -> Vec<u8> {
    let program = assemble(text).expect("the text is assembly");
    let mut out = b"PVM\0".to_vec();
    out.push(version);
    out.extend([0; 8]);
    let mut section = |number: u8, contents: Vec<u8>| {
        out.push(number);
        varint(&mut out, contents.len());
        out.extend(contents);
    };
    let mut memory = Vec::new();
    let rw_size = parts.rw_size.max(parts.rw_data.len() as u32);
    for size in [parts.ro_data.len() as u32, rw_size, parts.stack_size] {
        varint(&mut memory, size as usize);
    }
    section(1, memory);
    section(2, parts.ro_data.to_vec());
    section(3, parts.rw_data.to_vec());
    let mut imports = Vec::new();
    varint(&mut imports, parts.imports.len());
    let mut position = 0u32;
    for symbol in parts.imports {
        imports.extend(position.to_le_bytes());
        position += symbol.len() as u32;
    }
    imports.extend(parts.imports.concat());
    section(4, imports);
    let mut exports = Vec::new();
    varint(&mut exports, program.exports.len());
    for (name, pc) in &program.exports {
        varint(&mut exports, *pc as usize);
        varint(&mut exports, name.len());
        exports.extend(name.as_bytes());
    }
    section(5, exports);
    let mut code = Vec::new();
    varint(&mut code, program.jump_table.len());
    code.push(4);
    varint(&mut code, program.code.len());
    code.extend(program.jump_table.iter().flat_map(|pc| pc.to_le_bytes()));
    code.extend(&program.code);
    code.extend(&program.packed_bitmask);
    section(6, code);
    out.push(0);
    let len = out.len() as u64;
    out[5..13].copy_from_slice(&len.to_le_bytes());
    out
}

pub(crate) fn container(text: &str, parts: &Parts<'_>) -> Vec<u8> {
    container_of(JAM_V1, text, parts)
}

/// PolkaVM's variable-length number: as many leading ones as there are further bytes.
fn varint(out: &mut Vec<u8>, value: usize) {
    let value = value as u32;
    let bits = 32 - value.leading_zeros();
    match bits {
        0..=7 => out.push(value as u8),
        8..=14 => out.extend([0x80 | (value >> 8) as u8, value as u8]),
        15..=21 => out.extend([0xc0 | (value >> 16) as u8, value as u8, (value >> 8) as u8]),
        22..=28 => {
            out.push(0xe0 | (value >> 24) as u8);
            out.extend(&value.to_le_bytes()[..3]);
        }
        _ => {
            out.push(0xf0);
            out.extend(value.to_le_bytes());
        }
    }
}

/// An engine per backend that this machine has.
pub(crate) fn engines() -> Vec<Engine> {
    let backends = [Backend::Interpreter, Backend::Recompiler];
    backends.into_iter().filter_map(|backend| Engine::new(Config::new().backend(backend)).ok()).collect()
}

/// The published fixture. `JAVM_FIXTURES` names the folder that must have it; else it may be where
/// `cargo xtask fixtures` puts it.
pub(crate) fn published_fixture() -> Option<Vec<u8>> {
    let name = "sp-virtualization-test-fixture.polkavm";
    if let Some(folder) = std::env::var_os("JAVM_FIXTURES") {
        let path = PathBuf::from(folder).join(name);
        return Some(std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display())));
    }
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../target/fixtures").join(name);
    let bytes = std::fs::read(path).ok();
    if bytes.is_none() {
        eprintln!("without the published fixture: `cargo xtask fixtures` builds it");
    }
    bytes
}
