//! The assembler: text to code, bitmask and jump table.
//!
//! ```text
//! .jump_table @loop, @12      ; appends entries to the jump table
//! .export main @start         ; a name for an entry point
//! start:                      // a label; a statement may follow on the same line
//!     load_imm a0, 0x10       # comments start with `;`, `//` or `#`
//! loop:
//!     add_imm_64 a0, a0, -1   ; an instruction as `Instruction` prints it; `a0` is also `r7`
//!     branch_ne_imm a0, 0, @loop
//!     load_imm a1, &start     ; the address for jumping to a label through the jump table
//!     .bytes 33 07 00 00 03   ; one instruction with these bytes, in hexadecimal
//!     jump @-4                ; offsets may be given as numbers, from the start of the code
//! ```
//!
//! Encodings are the shortest ones, code offsets included. `&label` is `2 (n + 1)` for the first entry `n` of
//! the jump table that names the label; when there is none, one is appended behind all entries that the text
//! gives. Nothing is checked that [`Code::new`] checks: [`Assembled::code`] calls it.
//!
//! Reading the text is in `asm/parse.rs`, deciding how long code offsets are in `asm/layout.rs`. The way back
//! is [`disasm`](crate::disasm).

mod layout;
mod parse;

use alloc::{collections::BTreeMap, string::String, vec::Vec};
use core::fmt;

use crate::code::{Code, CodeError};

/// An assembled program.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Assembled {
    /// The code.
    pub code: Vec<u8>,
    /// The bitmask, least significant bit first, padding bits zero.
    pub packed_bitmask: Vec<u8>,
    /// The jump table.
    pub jump_table: Vec<u32>,
    /// The labels, with their code offsets. One at the end has the length of the code.
    pub labels: BTreeMap<String, u32>,
    /// The exports, with their code offsets, in the order of the text.
    pub exports: Vec<(String, u32)>,
}

impl Assembled {
    /// The checked program.
    ///
    /// # Errors
    /// [`CodeError`] when there is no instruction, or `.bytes` has an invalid opcode.
    pub fn code(&self) -> Result<Code, CodeError> {
        Code::new(&self.code, &self.packed_bitmask, &self.jump_table)
    }
}

/// Assembles a program. Time and memory are linear in the length of the text.
///
/// ```
/// let program = javm_isa::asm::assemble("loop: add_imm_64 a0, a0, -1\n branch_ne_imm a0, 0, @loop").unwrap();
/// assert_eq!(program.code, [149, 0x77, 0xff, 82, 7, 0xfd]);
/// assert_eq!(program.packed_bitmask, [0b001001]);
/// assert_eq!(program.labels["loop"], 0);
/// ```
///
/// # Errors
/// [`AsmError`] with the place of the first mistake.
pub fn assemble(text: &str) -> Result<Assembled, AsmError> {
    parse::parse(text).and_then(layout::lay_out).map_err(|(place, kind)| {
        let line = text.lines().nth(place.line).unwrap_or_default();
        let column = line.get(..place.at).unwrap_or_default().chars().count() + 1;
        AsmError { line: place.line + 1, column, kind }
    })
}

/// A place in the text: number of the line, byte in the line, both from 0.
#[derive(Clone, Copy, Debug)]
struct Place {
    line: usize,
    at: usize,
}

/// An error with its place, as parsing and layout report it.
type Error = (Place, AsmErrorKind);

/// What is wrong with a text, and where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AsmError {
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
    /// What is wrong there.
    pub kind: AsmErrorKind,
}

/// What can be wrong with a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum AsmErrorKind {
    /// No instruction has this name.
    UnknownInstruction,
    /// No directive has this name.
    UnknownDirective,
    /// Here something else should stand.
    Expected(Expected),
    /// The number does not fit 64 bits.
    NumberTooLarge,
    /// The immediate is not what 32 bits, sign-extended, can say.
    ImmediateTooLarge,
    /// The target is farther away than an offset of 4 bytes reaches.
    TargetTooFar,
    /// A jump-table entry or an export is no number from 0 to 2^32 - 1.
    OffsetTooLarge,
    /// No label has this name.
    UnknownLabel,
    /// Another label has this name.
    DuplicateLabel,
    /// Another export has this name.
    DuplicateExport,
    /// An instruction cannot have more bytes than [`MAX_LENGTH`](crate::shape::MAX_LENGTH).
    TooManyBytes,
    /// From here on the code is longer than [`MAX_CODE_LEN`](crate::code::MAX_CODE_LEN).
    CodeTooLong,
}

/// What a place of a text should hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Expected {
    /// `a0` or `r7`.
    Register,
    /// A number, or `&label`.
    Immediate,
    /// `@` and a label or number.
    Target,
    /// A comma.
    Comma,
    /// The end of the statement.
    End,
    /// A label, an instruction or a directive.
    Statement,
    /// A name.
    Name,
    /// Two hexadecimal digits.
    Byte,
}

impl fmt::Display for AsmError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}, column {}: {}", self.line, self.column, self.kind)
    }
}

impl fmt::Display for AsmErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::UnknownInstruction => "unknown instruction",
            Self::UnknownDirective => "unknown directive",
            Self::Expected(Expected::Register) => "expected a register",
            Self::Expected(Expected::Immediate) => "expected a number or `&label`",
            Self::Expected(Expected::Target) => "expected `@` and a label or number",
            Self::Expected(Expected::Comma) => "expected a comma",
            Self::Expected(Expected::End) => "expected the end of the statement",
            Self::Expected(Expected::Statement) => "expected a label, an instruction or a directive",
            Self::Expected(Expected::Name) => "expected a name",
            Self::Expected(Expected::Byte) => "expected two hexadecimal digits",
            Self::NumberTooLarge => "the number does not fit 64 bits",
            Self::ImmediateTooLarge => "the number does not fit 32 bits with sign",
            Self::TargetTooFar => "the target is out of reach",
            Self::OffsetTooLarge => "a code offset is a number from 0 to 2^32 - 1",
            Self::UnknownLabel => "unknown label",
            Self::DuplicateLabel => "there is another label with this name",
            Self::DuplicateExport => "there is another export with this name",
            Self::TooManyBytes => "an instruction has at most 25 bytes",
            Self::CodeTooLong => "the code is too long",
        })
    }
}

impl core::error::Error for AsmError {}
