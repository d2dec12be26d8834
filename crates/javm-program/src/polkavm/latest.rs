//! `Latest64`, PolkaVM's own encoding, to canonical code.
//!
//! An opcode, one byte or [`PREFIX`] and a second, fixes the instruction's length; there is no bitmask. The
//! operands behind it are laid out as the Gray Paper's, so decoding means putting the canonical opcode in
//! front of them. Which opcode is which instruction, and how long, PolkaVM's own tables say.
//!
//! Code comes in blocks of 1024 bytes. Every one ends with an instruction that fits into it and ends a basic
//! block (PolkaVM would trap there otherwise; here it is refused), so a block's start is a basic block's
//! start in the canonical code as well, and costs and jump targets agree.

use javm_isa::{Code, CodeError, Instruction, Op, Shape, code::MAX_CODE_LEN, shape};
use polkavm_common::program::{
    ISA_JamV1, ISA_Latest64, Instruction as PolkaVmInstruction, InstructionSet, Instructions, Opcode,
};

use crate::{
    error::ProgramError,
    relayout::{PcMap, relayout},
};

/// The first byte of an opcode of two.
const PREFIX: u8 = 255;

/// Transcodes code that starts at `offset` of its file.
pub(super) fn transcode(
    code: &[u8],
    jump_table: &[u32],
    offset: usize,
) -> Result<(Code, PcMap), ProgramError> {
    let refused = |source| ProgramError::Code { offset, source };
    if code.len() > MAX_CODE_LEN {
        return Err(refused(CodeError::TooLong { len: code.len() }));
    }
    let mut count = 0;
    for i in instructions(code) {
        count += 1;
        let (opcode, _) = opcode(code, i.pc);
        let Some(opcode) = opcode else {
            let source = CodeError::InvalidOpcode { offset: i.pc, opcode: code[i.pc as usize] };
            return Err(refused(source));
        };
        if i.open {
            return Err(ProgramError::OpenMacroBlock { pc: i.pc });
        }
        if canonical(opcode).is_none() {
            return Err(ProgramError::UnsupportedInstruction { pc: i.pc, name: opcode.name() });
        }
    }
    let decoded = || instructions(code).filter_map(|i| Some((i.pc, decode(code, &i)?)));
    relayout(decoded, count, jump_table).map_err(refused)
}

/// An instruction's place.
struct Span {
    pc: u32,
    next: u32,
    /// PolkaVM takes it for invalid.
    open: bool,
}

fn instructions(code: &[u8]) -> impl Iterator<Item = Span> + '_ {
    Instructions::new_bounded(ISA_Latest64, code, &[], 0).map_while(|i| {
        // PolkaVM marks the end of empty code as an instruction behind it.
        let open = matches!(i.kind, PolkaVmInstruction::invalid);
        ((i.offset.0 as usize) < code.len()).then_some(Span { pc: i.offset.0, next: i.next_offset.0, open })
    })
}

/// The opcode at `pc`, if it is one, and how many bytes it takes.
fn opcode(code: &[u8], pc: u32) -> (Option<Opcode>, usize) {
    let byte = |k: usize| code.get(pc as usize + k).copied().unwrap_or(0);
    match byte(0) {
        PREFIX => (ISA_Latest64.opcode_from_raw(u32::from(PREFIX) + u32::from(byte(1))), 2),
        first => (ISA_Latest64.opcode_from_raw(u32::from(first)), 1),
    }
}

/// The canonical instruction that an opcode stands for; `memset` and `sbrk` have none.
fn canonical(opcode: Opcode) -> Option<Op> {
    let (number, _) = ISA_JamV1.opcode_to_raw(opcode, 0)?;
    Op::from_opcode(u8::try_from(number).ok()?)
}

/// Decodes an instruction, its target absolute in the old code.
fn decode(code: &[u8], span: &Span) -> Option<Instruction> {
    let (opcode, head) = opcode(code, span.pc);
    let op = canonical(opcode?)?;
    let operands = &code[(span.pc as usize + head).min(code.len())..];
    let operands = &operands[..operands.len().min(15)];
    let mut window = [0; 16];
    window[0] = op.opcode();
    window[1..=operands.len()].copy_from_slice(operands);
    if op.shape() == Shape::dst_src_src {
        // PolkaVM reads the third register's low four bits only.
        window[2] &= 15;
    }
    let skip = (span.next - span.pc) as usize - head;
    Some(shape::read(op, &window, skip, span.pc))
}
