//! A program of a megabyte, for engines of both kinds, that is compiled and never run.

use javm_exec::Code;
use javm_isa::Op;
use javm_program::Program;

use crate::{kernels::Subject, wasm};

/// Bytes of code that there are at least.
const SIZE: usize = 1_000_000;

/// The code of all programs, one after the other, again and again. Jumps are
/// relative, so that every copy is a program with the instructions and the blocks of real ones; nobody runs
/// it.
pub(crate) fn megabyte(subjects: &[Subject]) -> Subject {
    let largest = subjects.iter().max_by_key(|subject| subject.wasm.len());
    let wasm = largest.and_then(|subject| wasm::repeat(&subject.wasm, SIZE)).unwrap_or_default();

    let programs =
        subjects.iter().filter_map(|subject| Program::load(&subject.blob).ok()).collect::<Vec<_>>();
    let (mut code, mut starts, mut jump_table) = (Vec::new(), Vec::new(), Vec::new());
    while code.len() < SIZE {
        for part in programs.iter().map(Program::code) {
            let base = code.len() as u32;
            jump_table.extend(part.jump_table().iter().map(|target| base.saturating_add(*target)));
            starts.extend((0..part.len()).map(|pc| part.is_instruction_start(u64::from(pc))));
            code.extend_from_slice(part.bytes());
            // The last block of a part must not run into the next.
            starts.push(true);
            code.push(Op::Trap.opcode());
        }
    }
    let bitmask =
        starts.chunks(8).map(|bits| bits.iter().rev().fold(0, |byte, bit| byte << 1 | u8::from(*bit)));
    let code_len = code.len();
    let blob = Code::new(&code, &bitmask.collect::<Vec<u8>>(), &jump_table)
        .map_or_else(|_| Box::default(), |code| container(&code, code_len));
    Subject { name: "1 MB", blob, wasm: wasm.into(), code_len }
}

/// A PolkaVM container (`JamV1`) with nothing but code, and one export at its start.
fn container(code: &Code, code_len: usize) -> Box<[u8]> {
    const JAM_V1: u8 = 3;
    let mut bytes = b"PVM\0".to_vec();
    bytes.push(JAM_V1);
    bytes.extend([0; 8]);
    let bare = javm_program::bare::to_blob(code);
    for (section, contents) in [(5, &b"\x01\x00\x04main"[..]), (6, &bare)] {
        bytes.push(section);
        varint(&mut bytes, contents.len() as u32);
        bytes.extend_from_slice(contents);
    }
    bytes.push(0);
    let len = bytes.len() as u64;
    bytes[5..13].copy_from_slice(&len.to_le_bytes());
    debug_assert!(bytes.len() > code_len);
    bytes.into()
}

/// PolkaVM's variable-length numbers: as many leading ones as bytes follow.
fn varint(bytes: &mut Vec<u8>, value: u32) {
    let following = (0..4).find(|n| u64::from(value) < 1 << (7 * (n + 1))).unwrap_or(4);
    let head = !(0xFF_u32 >> following) as u8;
    let top = if following == 4 { 0 } else { (value >> (8 * following)) as u8 };
    bytes.push(head | top);
    bytes.extend_from_slice(&value.to_le_bytes()[..following as usize]);
}
