//! The Gray Paper's bare program blob: jump table, code, instruction bitmask.
//!
//! ```text
//! E(|j|) . E1(z) . E(|c|) . j (|j| entries of z bytes) . c . bitmask
//! ```
//! Read strictly: numbers in their shortest form, padding bits zero, no bytes left. `z` may be anything: an
//! entry too large for 32 bits lies outside any code, so it is kept as the largest number and jumping
//! through it panics as the Gray Paper says. With `z = 0` all entries are 0; the one refusal that the Gray
//! Paper does not have is of more of those than bytes of code, or a few bytes could claim millions of
//! entries. Source: `pvm.md` section 2.

use javm_isa::{Code, Numbering};

use crate::{
    cursor::Cursor,
    error::ProgramError,
    program::{Format, Program},
};

/// The parts of a blob, as it has them.
pub(crate) struct Parts<'a> {
    jump_table: JumpTable<'a>,
    code: &'a [u8],
    code_offset: usize,
    bitmask: &'a [u8],
}

/// Splits a blob into its parts; what they contain is not looked at.
pub(crate) fn split(mut input: Cursor<'_>) -> Result<Parts<'_>, ProgramError> {
    let entries = input.natural()?;
    let size_offset = input.offset();
    let size = input.u8()?;
    let code_len = input.natural()?;
    let bytes = input.take(entries.saturating_mul(u64::from(size)))?;
    let jump_table = JumpTable { entries, size, size_offset, bytes };
    let code_offset = input.offset();
    let code = input.take(code_len)?;
    let mask_offset = input.offset();
    let bitmask = input.take(code_len.div_ceil(8))?;
    input.end()?;
    check_padding(code, bitmask, mask_offset)?;
    Ok(Parts { jump_table, code, code_offset, bitmask })
}

/// Refuses bitmask bits behind the code's end.
pub(crate) fn check_padding(code: &[u8], bitmask: &[u8], offset: usize) -> Result<(), ProgramError> {
    match bitmask.last() {
        Some(last) if !code.len().is_multiple_of(8) && last >> (code.len() % 8) != 0 => {
            Err(ProgramError::BitmaskPadding { offset: offset + bitmask.len() - 1 })
        }
        _ => Ok(()),
    }
}

impl Parts<'_> {
    /// Checks the parts.
    pub(crate) fn code(&self, numbering: Numbering) -> Result<Code, ProgramError> {
        let jump_table = self.jump_table.read(self.code.len())?;
        code(self.code, self.bitmask, jump_table, numbering, self.code_offset)
    }
}

/// A jump table as a file has it.
pub(crate) struct JumpTable<'a> {
    /// How many entries.
    pub(crate) entries: u64,
    /// Bytes of each.
    pub(crate) size: u8,
    /// Where the size is.
    pub(crate) size_offset: usize,
    /// All of them.
    pub(crate) bytes: &'a [u8],
}

impl JumpTable<'_> {
    /// The entries, for code of a length.
    pub(crate) fn read(&self, code_len: usize) -> Result<Vec<u32>, ProgramError> {
        if self.size == 0 {
            // Nothing but the count backs these, so the code must.
            return match usize::try_from(self.entries) {
                Ok(entries) if entries <= code_len => Ok(vec![0; entries]),
                _ => Err(ProgramError::JumpTableEntrySize { offset: self.size_offset, size: 0 }),
            };
        }
        let entry = |bytes: &[u8]| {
            let (low, high) = bytes.split_at(bytes.len().min(4));
            let mut value = [0; 4];
            value[..low.len()].copy_from_slice(low);
            if high.iter().all(|b| *b == 0) { u32::from_le_bytes(value) } else { u32::MAX }
        };
        Ok(self.bytes.chunks_exact(usize::from(self.size)).map(entry).collect())
    }
}

/// Checks code of some numbering; errors name its own opcodes.
pub(crate) fn code(
    bytes: &[u8],
    bitmask: &[u8],
    jump_table: Vec<u32>,
    numbering: Numbering,
    code_offset: usize,
) -> Result<Code, ProgramError> {
    Code::with_numbering(bytes, bitmask, jump_table, numbering).map_err(|source| {
        // What its numbering refuses is told before anything else.
        match numbering.rewrite(&mut bytes.to_vec(), bitmask) {
            Ok(()) => ProgramError::Code { offset: code_offset, source },
            Err(error) => error.into(),
        }
    })
}

/// Whether the bytes have exactly the structure of a bare blob; the code in it may still be invalid.
#[must_use]
pub fn has_structure(bytes: &[u8]) -> bool {
    split(Cursor::new(bytes, 0)).is_ok()
}

/// Reads a bare blob.
///
/// # Errors
/// [`ProgramError`] with the offset.
pub fn read(bytes: &[u8], numbering: Numbering) -> Result<Program, ProgramError> {
    let code = split(Cursor::new(bytes, 0))?.code(numbering)?;
    Ok(Program::bare(code, Format::BareBlob { numbering }))
}

/// Writes code as a bare blob of the canonical numbering, jump-table entries as short as they can be.
/// Reading it gives the same code.
#[must_use]
pub fn to_blob(code: &Code) -> Vec<u8> {
    let table = code.jump_table();
    let bitmask = code.packed_bitmask();
    let size = table.iter().max().map_or(0, |max| (32 - max.leading_zeros()).div_ceil(8).max(1)) as usize;
    let mut blob = Vec::with_capacity(20 + table.len() * size + code.bytes().len() + bitmask.len());
    push_natural(&mut blob, table.len() as u64);
    blob.push(size as u8);
    push_natural(&mut blob, u64::from(code.len()));
    for target in table {
        blob.extend_from_slice(&target.to_le_bytes()[..size]);
    }
    blob.extend_from_slice(code.bytes());
    blob.extend_from_slice(&bitmask);
    blob
}

/// Writes a JAM natural.
pub(crate) fn push_natural(out: &mut Vec<u8>, value: u64) {
    let extra = (0..8).find(|l| value >> (7 * (l + 1)) == 0).unwrap_or(8);
    let first = match extra {
        0 => value as u8,
        8 => 0xFF,
        l => !(0xFF >> l) | (value >> (8 * l)) as u8,
    };
    out.push(first);
    out.extend_from_slice(&value.to_le_bytes()[..extra]);
}

#[cfg(test)]
mod tests {
    use javm_isa::{CodeError, NumberingError};

    use super::*;

    #[test]
    fn naturals_round_trip() {
        let edges = (0..64).flat_map(|n| [(1u64 << n) - 1, 1 << n, (1 << n) + 1]);
        for value in edges.chain([u64::MAX]) {
            let mut bytes = Vec::new();
            push_natural(&mut bytes, value);
            let mut cursor = Cursor::new(&bytes, 0);
            assert_eq!(cursor.natural(), Ok(value));
            assert_eq!(cursor.end(), Ok(()));
        }
    }

    #[test]
    fn the_hand_checked_blob() {
        let bytes = [0x00, 0x00, 0x04, 0xbe, 0x87, 0x09, 0x00, 0x09];
        let program = read(&bytes, Numbering::V08).unwrap();
        let text: Vec<_> = program.code().instructions(0).map(|(_, i)| i.to_string()).collect();
        assert_eq!(text, ["add_32 a2, a0, a1", "trap"]);
        assert_eq!(to_blob(program.code()), bytes);
    }

    #[test]
    fn entries_wider_than_32_bits_lead_nowhere() {
        let mut blob = vec![2, 6, 1];
        blob.extend([0, 0, 0, 0, 0, 0]);
        blob.extend([0, 0, 0, 0, 1, 0]);
        blob.extend([0, 1]);
        let program = read(&blob, Numbering::Canonical).unwrap();
        assert_eq!(program.code().jump_table(), [0, u32::MAX]);
        assert_eq!(program.code().jump_target(2), Some(0));
        assert_eq!(program.code().jump_target(4), None);
    }

    #[test]
    fn refusals() {
        let refused = |bytes: &[u8]| read(bytes, Numbering::V08).unwrap_err();
        assert_eq!(refused(&[0, 0, 1, 0, 3]), ProgramError::BitmaskPadding { offset: 4 });
        assert_eq!(refused(&[0, 0, 1, 0, 1, 0]), ProgramError::TrailingBytes { offset: 5 });
        assert_eq!(refused(&[5, 0, 1, 0, 1]), ProgramError::JumpTableEntrySize { offset: 1, size: 0 });
        // Opcode 3 is `ecall` only in the canonical numbering; the error names the byte that the file has.
        let source = CodeError::InvalidOpcode { offset: 0, opcode: 3 };
        assert_eq!(refused(&[0, 0, 1, 3, 1]), ProgramError::Code { offset: 3, source });
        assert!(read(&[0, 0, 1, 3, 1], Numbering::Canonical).is_ok());
        assert_eq!(
            read(&[0, 0, 2, 101, 0x77, 1], Numbering::V07).unwrap_err(),
            ProgramError::Numbering(NumberingError::Sbrk { offset: 0 })
        );
    }
}
