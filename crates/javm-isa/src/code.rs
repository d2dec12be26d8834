//! [`Code`]: a checked program, canonical numbering.
//!
//! A `Code` that exists is valid: walking from offset 0 by instruction lengths visits only marked offsets
//! with known opcodes and ends exactly at the end (Gray Paper 0.8, *blob validity*). Everything above
//! relies on that and never looks at an invalid byte.

use alloc::{boxed::Box, vec::Vec};

use crate::{
    bits::BitSet,
    instr::Instruction,
    numbering::{Meanings, Numbering},
    op::Op,
    shape,
};

/// The largest program in bytes: 32 MiB, as in PolkaVM.
pub const MAX_CODE_LEN: usize = 32 << 20;

/// The most entries of a jump table: 16 Mi, as in PolkaVM.
pub const MAX_JUMP_TABLE_LEN: usize = 16 << 20;

/// Zero bytes kept behind the code so that operands can be read past its end.
const PADDING: usize = 16;

/// The most bytes from one instruction to the next (Gray Paper: a skip of 24, and the opcode).
const MAX_STRIDE: u32 = 25;

/// Alignment of a dynamic jump's address: entry `n` of the jump table is address `2 (n + 1)`.
pub const JUMP_ALIGNMENT: u64 = 2;

/// Why bytes are no program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CodeError {
    /// There is no instruction at all.
    Empty,
    /// More than [`MAX_CODE_LEN`] bytes.
    TooLong {
        /// Length in bytes.
        len: usize,
    },
    /// More than [`MAX_JUMP_TABLE_LEN`] entries.
    JumpTableTooLong {
        /// Number of entries.
        len: usize,
    },
    /// The bitmask does not have one bit per code byte.
    BitmaskLength {
        /// Bytes that it should have.
        expected: usize,
        /// Bytes that it has.
        found: usize,
    },
    /// An instruction should start here but the bitmask says otherwise.
    NotMarked {
        /// Code offset.
        offset: u32,
    },
    /// No instruction has this opcode.
    InvalidOpcode {
        /// Code offset.
        offset: u32,
        /// The byte there.
        opcode: u8,
    },
}

impl core::fmt::Display for CodeError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Empty => f.write_str("the program has no instructions"),
            Self::TooLong { len } => write!(f, "the code has {len} bytes, more than {MAX_CODE_LEN}"),
            Self::JumpTableTooLong { len } => {
                write!(f, "the jump table has {len} entries, more than {MAX_JUMP_TABLE_LEN}")
            }
            Self::BitmaskLength { expected, found } => {
                write!(f, "the bitmask has {found} bytes where {expected} are needed")
            }
            Self::NotMarked { offset } => {
                write!(
                    f,
                    "code offset {offset}: an instruction must start here, the bitmask says it does not"
                )
            }
            Self::InvalidOpcode { offset, opcode } => {
                write!(f, "code offset {offset}: invalid opcode {opcode}")
            }
        }
    }
}

impl core::error::Error for CodeError {}

/// A checked program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Code {
    /// The code, then [`PADDING`] zeros.
    bytes: Box<[u8]>,
    starts: BitSet,
    blocks: BitSet,
    jump_table: Box<[u32]>,
}

/// Goes over the instructions that start at these offsets, rewrites their opcodes where the numbering wants it, and
/// gives the block starts among them. `None` when something is wrong with one of them: [`first_error`] says what.
///
/// An instruction reaches to the next start, but not further than [`MAX_STRIDE`]: another must start there. So all that
/// is to be looked at is the opcode at each start, which waits for nothing, and how the bits of a word lie.
fn check<const REWRITES: bool>(code: &mut [u8], starts: &BitSet, meanings: &Meanings) -> Option<BitSet> {
    let len = starts.bound();
    let mut blocks = BitSet::new(len);
    let mut invalid = false;
    // The word before; and whether an instruction that ended there has another behind it that starts a block. The first
    // one of all starts one, as if an instruction ended in front of the code.
    let (mut before, mut due) = (0, true);
    let chunks = code.chunks_mut(64);
    let last = chunks.len() - 1;
    for (n, (chunk, (word, to))) in
        chunks.zip(starts.words().iter().copied().zip(blocks.words_mut())).enumerate()
    {
        let (mut rest, mut ends) = (word, 0);
        while rest != 0 {
            let at = rest.trailing_zeros();
            let byte = chunk.get_mut(at as usize)?;
            let meaning = meanings.of(*byte);
            ends |= u64::from(meaning.is_terminator()) << at;
            invalid |= meaning.is_invalid();
            if REWRITES {
                *byte = meaning.opcode();
            }
            rest &= rest - 1;
        }
        // What is added runs through the bits behind an instruction that ends a block, and comes out at the next start.
        let (sum, beyond) = (!word).overflowing_add(ends << 1 | u64::from(due));
        *to = sum & word;
        due = beyond || ends >> 63 != 0;
        // Every offset is a start, or less than a stride behind one.
        let mut reached = u128::from(word) << 24 | u128::from(before >> 40);
        for distance in [1, 2, 4, 8, 9] {
            reached |= reached << distance;
        }
        let wanted = if n == last { u64::MAX >> (63 - (len - 1) % 64) } else { u64::MAX };
        if (reached >> 24) as u64 & wanted != wanted {
            return None;
        }
        before = word;
    }
    (!invalid).then_some(blocks)
}
const _: () = assert!(MAX_STRIDE == 1 + 1 + 2 + 4 + 8 + 9);

/// What is wrong with the first instruction that cannot be.
#[cold]
fn first_error(code: &[u8], starts: &BitSet, meanings: &Meanings) -> CodeError {
    let mut due = 0;
    for offset in starts.iter() {
        if offset > due {
            break;
        }
        let opcode = code[offset as usize];
        if meanings.of(opcode).is_invalid() {
            return CodeError::InvalidOpcode { offset, opcode };
        }
        due = offset + MAX_STRIDE;
    }
    CodeError::NotMarked { offset: due }
}

impl Code {
    /// Checks a program. Bits of the bitmask past the end of the code are ignored; jump-table entries may be
    /// anything, only jumping through one tells.
    ///
    /// # Errors
    /// [`CodeError`], with the first offset where the walk fails. Time and memory are linear in the input.
    pub fn new(code: &[u8], packed_bitmask: &[u8], jump_table: &[u32]) -> Result<Self, CodeError> {
        Self::with_numbering(code, packed_bitmask, jump_table, Numbering::Canonical)
    }

    /// As [`Self::new`], of a program with another numbering, in one pass: as if [`Numbering::rewrite`] had come
    /// before.
    ///
    /// # Errors
    /// As [`Self::new`]; an opcode is the one that the program has. One that is refused for its numbering is invalid.
    pub fn with_numbering(
        code: &[u8],
        packed_bitmask: &[u8],
        jump_table: impl Into<Box<[u32]>> + AsRef<[u32]>,
        numbering: Numbering,
    ) -> Result<Self, CodeError> {
        if code.is_empty() {
            return Err(CodeError::Empty);
        }
        if code.len() > MAX_CODE_LEN {
            return Err(CodeError::TooLong { len: code.len() });
        }
        let entries = jump_table.as_ref().len();
        if entries > MAX_JUMP_TABLE_LEN {
            return Err(CodeError::JumpTableTooLong { len: entries });
        }
        let expected = code.len().div_ceil(8);
        if packed_bitmask.len() != expected {
            return Err(CodeError::BitmaskLength { expected, found: packed_bitmask.len() });
        }
        let starts = BitSet::from_packed(packed_bitmask, code.len() as u32);
        let mut bytes = Vec::with_capacity(code.len() + PADDING);
        bytes.extend_from_slice(code);
        let meanings = numbering.meanings();
        let checked =
            if numbering.rewrites() { check::<true> } else { check::<false> }(&mut bytes, &starts, meanings);
        let blocks = checked.ok_or_else(|| first_error(code, &starts, meanings))?;
        bytes.resize(code.len() + PADDING, 0);
        Ok(Self { bytes: bytes.into(), starts, blocks, jump_table: jump_table.into() })
    }

    /// Length of the code in bytes, at least 1.
    #[must_use]
    pub const fn len(&self) -> u32 {
        self.starts.bound()
    }

    /// Never: a program has an instruction. Here because `len` is.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The code bytes.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes[..self.len() as usize]
    }

    /// The byte at an offset; 0 past the end (Gray Paper: ζ).
    #[inline]
    #[must_use]
    pub fn byte_at(&self, offset: u64) -> u8 {
        usize::try_from(offset).ok().and_then(|o| self.bytes.get(o)).copied().unwrap_or(0)
    }

    /// The jump table as given.
    #[must_use]
    pub fn jump_table(&self) -> &[u32] {
        &self.jump_table
    }

    /// The packed bitmask, padding bits zero.
    #[must_use]
    pub fn packed_bitmask(&self) -> Vec<u8> {
        self.starts.to_packed()
    }

    /// Whether an instruction starts at `pc`.
    #[inline]
    #[must_use]
    pub fn is_instruction_start(&self, pc: u64) -> bool {
        pc < u64::from(self.len()) && self.starts.contains(pc as u32)
    }

    /// Whether a basic block starts at `pc` (Gray Paper: ϖ): where jumps may land.
    #[inline]
    #[must_use]
    pub fn is_block_start(&self, pc: u64) -> bool {
        pc < u64::from(self.len()) && self.blocks.contains(pc as u32)
    }

    /// The basic-block starts, ascending; the first is 0.
    pub fn block_starts(&self) -> impl Iterator<Item = u32> + '_ {
        self.blocks.iter()
    }

    /// How many basic blocks there are.
    #[must_use]
    pub fn block_count(&self) -> usize {
        self.blocks.count()
    }

    /// Start of the basic block that `pc` lies in: the one whose cost an entry at `pc` pays.
    #[must_use]
    pub fn block_of(&self, pc: u32) -> u32 {
        self.blocks.at_or_below(pc).unwrap_or(0)
    }

    /// Start of the instruction that the byte at `pc` belongs to.
    #[inline]
    #[must_use]
    pub fn instruction_of(&self, pc: u32) -> u32 {
        self.starts.at_or_below(pc).unwrap_or(0)
    }

    /// Distance from an instruction's start to the next one's, less one (Gray Paper: skip), 0..=24.
    #[inline]
    #[must_use]
    pub fn skip(&self, pc: u32) -> u32 {
        self.starts.skip(pc)
    }

    /// Offset of the instruction behind the one at `pc`; the code's length after the last.
    #[inline]
    #[must_use]
    pub fn next_pc(&self, pc: u32) -> u32 {
        pc.saturating_add(1).saturating_add(self.skip(pc))
    }

    /// Decodes the instruction at `pc`; `None` where no instruction starts.
    #[inline]
    #[must_use]
    pub fn instruction(&self, pc: u32) -> Option<Instruction> {
        self.decode(pc).map(|(instruction, _)| instruction)
    }

    /// Decodes the instruction at `pc` and gives the offset of the one behind it as well; `None` where no
    /// instruction starts.
    #[inline(always)]
    #[must_use]
    pub fn decode(&self, pc: u32) -> Option<(Instruction, u32)> {
        if !self.is_instruction_start(u64::from(pc)) {
            return None;
        }
        let window: &[u8; 16] = self.bytes.get(pc as usize..)?.first_chunk()?;
        let skip = self.skip(pc);
        Some((shape::read(Op::from_opcode(window[0])?, window, skip as usize, pc), pc + 1 + skip))
    }

    /// The instructions from `pc` to the end, with their offsets. Empty where no instruction starts at `pc`.
    #[inline]
    pub fn instructions(&self, pc: u32) -> impl Iterator<Item = (u32, Instruction)> + '_ {
        let mut pc = pc;
        core::iter::from_fn(move || {
            let at = pc;
            let (instruction, next) = self.decode(at)?;
            pc = next;
            Some((at, instruction))
        })
    }

    /// Where a dynamic jump to `address` goes: `None` is a panic. The halt address is not looked at here.
    #[must_use]
    pub fn jump_target(&self, address: u64) -> Option<u32> {
        if address == 0 || !address.is_multiple_of(JUMP_ALIGNMENT) {
            return None;
        }
        let index = usize::try_from(address / JUMP_ALIGNMENT - 1).ok()?;
        let target = *self.jump_table.get(index)?;
        self.is_block_start(u64::from(target)).then_some(target)
    }
}
