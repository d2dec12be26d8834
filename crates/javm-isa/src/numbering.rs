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

/// The program uses an instruction that the other numbering lacks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum NumberingError {
    /// `sbrk` grows the heap; nothing here does. Link for `JamV1` instead.
    Sbrk {
        /// Code offset.
        offset: u32,
    },
    /// Code cannot be written in a numbering that lacks one of its instructions.
    Missing {
        /// Code offset.
        offset: u32,
        /// The canonical opcode.
        opcode: u8,
    },
}

impl core::fmt::Display for NumberingError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Sbrk { offset } => {
                write!(f, "code offset {offset}: `sbrk` is not supported; link the program for JamV1")
            }
            Self::Missing { offset, opcode } => {
                write!(f, "code offset {offset}: opcode {opcode} does not exist in that numbering")
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
        if let Some(source) = numbering.number(op) {
            t[source as usize] = op.opcode();
        }
        n += 1;
    }
    t
}

/// What a byte means as an opcode.
#[derive(Clone, Copy)]
pub(crate) struct Meaning(u16);

impl Meaning {
    const TERMINATOR: u16 = 1 << 8;
    const INVALID: u16 = 1 << 9;

    const fn new(opcode: u8) -> Self {
        Self(match Op::from_opcode(opcode) {
            Some(op) if op.is_terminator() => opcode as u16 | Self::TERMINATOR,
            Some(_) => opcode as u16,
            None => opcode as u16 | Self::INVALID,
        })
    }

    /// The canonical opcode; [`INVALID`] or another byte that is none.
    pub(crate) const fn opcode(self) -> u8 {
        self.0 as u8
    }

    /// Whether the instruction ends a block.
    pub(crate) const fn is_terminator(self) -> bool {
        self.0 & Self::TERMINATOR != 0
    }

    /// Whether there is no such instruction.
    pub(crate) const fn is_invalid(self) -> bool {
        self.0 & Self::INVALID != 0
    }
}

/// What every byte means.
pub(crate) struct Meanings([Meaning; 256]);

impl Meanings {
    const fn new(numbering: Numbering) -> Self {
        let opcodes = table(numbering);
        let mut meanings = [Meaning::new(INVALID); 256];
        let mut n = 0;
        while n < opcodes.len() {
            meanings[n] = Meaning::new(opcodes[n]);
            n += 1;
        }
        Self(meanings)
    }

    #[inline(always)]
    pub(crate) const fn of(&self, byte: u8) -> Meaning {
        self.0[byte as usize]
    }
}

static CANONICAL: Meanings = Meanings::new(Numbering::Canonical);
static V08: Meanings = Meanings::new(Numbering::V08);
static V07: Meanings = Meanings::new(Numbering::V07);
static MANIFEST: Meanings = Meanings::new(Numbering::Manifest);

/// Calls `change` with every byte that the bitmask marks, ascending, until it refuses one. Goes from bit to bit:
/// a branch on each byte would be foretold wrongly at most instructions.
fn for_each_marked(
    code: &mut [u8],
    packed_bitmask: &[u8],
    mut change: impl FnMut(u32, &mut u8) -> Result<(), NumberingError>,
) -> Result<(), NumberingError> {
    for (n, (bytes, bits)) in code.chunks_mut(8).zip(packed_bitmask).enumerate() {
        let mut rest = *bits;
        while rest != 0 {
            let at = rest.trailing_zeros() as usize;
            // Bits past the end are ignored.
            let Some(byte) = bytes.get_mut(at) else { break };
            change((n * 8 + at) as u32, byte)?;
            rest &= rest - 1;
        }
    }
    Ok(())
}

impl Numbering {
    /// Rewrites the opcodes of `code` to the canonical numbering, in place. Bytes that the bitmask (least
    /// significant bit first) does not mark are operands and stay.
    ///
    /// # Errors
    /// [`NumberingError`] when the program uses `sbrk`; the code may then be half rewritten.
    pub fn rewrite(self, code: &mut [u8], packed_bitmask: &[u8]) -> Result<(), NumberingError> {
        if self == Self::Canonical {
            return Ok(());
        }
        let meanings = self.meanings();
        let has_sbrk = matches!(self, Self::V07 | Self::Manifest);
        for_each_marked(code, packed_bitmask, |offset, byte| {
            if *byte == SBRK && has_sbrk {
                return Err(NumberingError::Sbrk { offset });
            }
            *byte = meanings.of(*byte).opcode();
            Ok(())
        })
    }

    /// The way back: rewrites canonical opcodes to this numbering, in place.
    ///
    /// # Errors
    /// [`NumberingError::Missing`] when the code has an instruction that this numbering lacks, or a marked
    /// byte that is no opcode; the code may then be half rewritten.
    pub fn restore(self, code: &mut [u8], packed_bitmask: &[u8]) -> Result<(), NumberingError> {
        for_each_marked(code, packed_bitmask, |offset, byte| {
            let missing = NumberingError::Missing { offset, opcode: *byte };
            *byte = Op::from_opcode(*byte).and_then(|op| self.number(op)).ok_or(missing)?;
            Ok(())
        })
    }

    /// What bytes mean here.
    pub(crate) const fn meanings(self) -> &'static Meanings {
        match self {
            Self::Canonical => &CANONICAL,
            Self::V08 => &V08,
            Self::V07 => &V07,
            Self::Manifest => &MANIFEST,
        }
    }

    /// Whether instructions have other numbers than the canonical ones. Of the others some are missing.
    pub(crate) const fn rewrites(self) -> bool {
        matches!(self, Self::V07 | Self::Manifest)
    }

    /// The number that an instruction has here, if it has one.
    const fn number(self, op: Op) -> Option<u8> {
        match (self, op) {
            (Self::Canonical, _) | (Self::Manifest, Op::Unlikely | Op::Ecall) => Some(op.opcode()),
            (Self::V08, Op::Ecall) => None,
            (Self::V08, _) => Some(op.opcode()),
            (Self::V07 | Self::Manifest, _) => op.opcode_07(),
        }
    }
}
