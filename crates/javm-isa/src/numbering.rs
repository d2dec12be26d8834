//! Opcode numberings other than the canonical one.
//!
//! The Gray Paper 0.7, PolkaVM's `ReviveV1` and capability manifests number a few instructions
//! differently; lengths and operands are the same, so a program is rewritten in place, opcode byte by
//! opcode byte. A byte that is invalid in its source becomes [`INVALID`], which is no instruction here.

use crate::op::Op;

/// A byte that is an opcode in no numbering.
pub const INVALID: u8 = 255;

/// How a program numbers its instructions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Numbering {
    /// Gray Paper 0.8 and PolkaVM's `JamV1`, and `ecall` = 3: what the engine runs.
    Canonical,
    /// Gray Paper 0.8 and PolkaVM's `JamV1` as published: 3 is invalid.
    V08,
    /// Gray Paper 0.7 and PolkaVM's `ReviveV1`: bit counting starts at 102, 101 is `sbrk`.
    V07,
    /// Capability manifests: 0.7 numbers, `unlikely` = 2, `ecall` = 3.
    Manifest,
}

/// The program uses an instruction that has no canonical form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum NumberingError {
    /// `sbrk` grows the heap; nothing here does. Link for `JamV1` instead.
    Sbrk {
        /// Code offset.
        offset: u32,
    },
}

impl core::fmt::Display for NumberingError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Sbrk { offset } => {
                write!(f, "code offset {offset}: `sbrk` is not supported; link the program for JamV1")
            }
        }
    }
}

impl core::error::Error for NumberingError {}

const SBRK: u8 = 101;

const fn table(numbering: Numbering) -> [u8; 256] {
    let mut t = [INVALID; 256];
    let mut n = 0;
    while n < Op::ALL.len() {
        let op = Op::ALL[n];
        let canonical = op.opcode();
        let source = match numbering {
            Numbering::Canonical => Some(canonical),
            Numbering::V08 => match op {
                Op::Ecall => None,
                _ => Some(canonical),
            },
            Numbering::V07 => op.opcode_07(),
            Numbering::Manifest => match op {
                Op::Unlikely | Op::Ecall => Some(canonical),
                _ => op.opcode_07(),
            },
        };
        if let Some(source) = source {
            t[source as usize] = canonical;
        }
        n += 1;
    }
    t
}

static V08: [u8; 256] = table(Numbering::V08);
static V07: [u8; 256] = table(Numbering::V07);
static MANIFEST: [u8; 256] = table(Numbering::Manifest);

impl Numbering {
    /// Rewrites the opcodes of `code` to the canonical numbering, in place. Bytes that the bitmask (least
    /// significant bit first) does not mark are operands and stay.
    ///
    /// # Errors
    /// [`NumberingError`] when the program uses `sbrk`; the code may then be half rewritten.
    pub fn rewrite(self, code: &mut [u8], packed_bitmask: &[u8]) -> Result<(), NumberingError> {
        let table = match self {
            Self::Canonical => return Ok(()),
            Self::V08 => &V08,
            Self::V07 => &V07,
            Self::Manifest => &MANIFEST,
        };
        let has_sbrk = matches!(self, Self::V07 | Self::Manifest);
        for (offset, byte) in code.iter_mut().enumerate() {
            if packed_bitmask.get(offset / 8).is_some_and(|b| b >> (offset % 8) & 1 != 0) {
                if *byte == SBRK && has_sbrk {
                    return Err(NumberingError::Sbrk { offset: offset as u32 });
                }
                *byte = table[*byte as usize];
            }
        }
        Ok(())
    }
}
