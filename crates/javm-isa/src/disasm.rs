//! The disassembler: checked code to text that [assembles](crate::asm) to the same bytes.
//!
//! Targets are printed as code offsets, so an instruction's length does not depend on what follows; labels
//! mark the basic blocks for the reader and are not referred to. An instruction that the assembler would
//! encode otherwise is printed as `.bytes`, with what it means behind it.

use alloc::string::String;
use core::fmt::{self, Write};

use crate::{code::Code, instr::Instruction};

/// What to print besides the instructions, as comments. The default is nothing.
#[derive(Clone, Copy, Default)]
pub struct Options<'a> {
    /// Code offsets.
    pub offsets: bool,
    /// The bytes of each instruction.
    pub bytes: bool,
    /// Something about the basic block that starts at a code offset, for example its cost or its symbol.
    pub block_note: Option<&'a BlockNote<'a>>,
    /// Something about the instruction at a code offset, for example its source line.
    pub note: Option<&'a Note<'a>>,
}

/// What there is to say about the basic block that starts at a code offset.
pub type BlockNote<'a> = dyn Fn(u32) -> Option<String> + 'a;

/// What there is to say about the instruction at a code offset.
pub type Note<'a> = dyn Fn(u32, &Instruction) -> Option<String> + 'a;

/// Jump-table entries per line.
const ENTRIES_PER_LINE: usize = 8;

/// Column of the comments.
const COMMENT: usize = 44;

/// Writes the text of a program: its jump table, then its instructions, each basic block under a label that
/// is `b` and its code offset.
///
/// ```
/// # use javm_isa::{Code, disasm::{disassemble, Options}};
/// let code = Code::new(&[0x33, 0x07, 0x05, 0x00], &[0b1001], &[]).unwrap();
/// let mut text = String::new();
/// disassemble(&code, &mut text, &Options::default()).unwrap();
/// assert_eq!(text, "b0:\n    load_imm a0, 5\n    trap\n");
/// ```
///
/// # Errors
/// Those of `out`.
pub fn disassemble(code: &Code, out: &mut impl Write, options: &Options<'_>) -> fmt::Result {
    for entries in code.jump_table().chunks(ENTRIES_PER_LINE) {
        for (n, entry) in entries.iter().enumerate() {
            write!(out, "{} @{entry}", if n == 0 { ".jump_table" } else { "," })?;
        }
        out.write_char('\n')?;
    }
    let mut pc = 0;
    while let Some((instruction, next)) = code.decode(pc) {
        if code.is_block_start(u64::from(pc)) {
            block(pc, out, options)?;
        }
        statement(code, pc, next, &instruction, out, options)?;
        pc = next;
    }
    Ok(())
}

fn block(pc: u32, out: &mut impl Write, options: &Options<'_>) -> fmt::Result {
    let mut line = Line::new(out);
    write!(line, "b{pc}:")?;
    if let Some(note) = options.block_note.and_then(|note| note(pc)) {
        line.comment(&note)?;
    }
    line.out.write_char('\n')
}

fn statement(
    code: &Code,
    pc: u32,
    next: u32,
    instruction: &Instruction,
    out: &mut impl Write,
    options: &Options<'_>,
) -> fmt::Result {
    let bytes = code.bytes().get(pc as usize..next as usize).unwrap_or_default();
    let canonical = instruction.encode(pc).as_slice() == bytes;
    let mut line = Line::new(out);
    if canonical {
        write!(line, "    {instruction}")?;
    } else {
        write!(line, "    .bytes {}", Bytes(bytes))?;
    }
    if options.offsets {
        line.comment(&format_args!("{pc}"))?;
    }
    if options.bytes && canonical {
        line.comment(&Bytes(bytes))?;
    }
    if !canonical {
        line.comment(instruction)?;
    }
    if let Some(note) = options.note.and_then(|note| note(pc, instruction)) {
        line.comment(&note)?;
    }
    line.out.write_char('\n')
}

/// A line of text that ends in comments.
struct Line<'a, W> {
    out: &'a mut W,
    /// How long it is, in characters.
    column: usize,
    commented: bool,
}

impl<'a, W: Write> Line<'a, W> {
    fn new(out: &'a mut W) -> Self {
        Self { out, column: 0, commented: false }
    }

    fn comment(&mut self, comment: &impl fmt::Display) -> fmt::Result {
        let mark = if self.commented { "" } else { ";" };
        let gap = if self.commented { 1 } else { COMMENT.saturating_sub(self.column).max(1) };
        write!(self, "{:gap$}{mark} ", "")?;
        self.commented = true;
        write!(self, "{comment}")
    }
}

impl<W: Write> Write for Line<'_, W> {
    fn write_str(&mut self, s: &str) -> fmt::Result {
        self.column += s.chars().count();
        if !self.commented {
            return self.out.write_str(s);
        }
        // Notes are not ours: whatever they hold, the line ends where we end it.
        s.chars().try_for_each(|c| self.out.write_char(if c.is_control() { ' ' } else { c }))
    }
}

/// Bytes in hexadecimal.
struct Bytes<'a>(&'a [u8]);

impl fmt::Display for Bytes<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().enumerate().try_for_each(|(n, byte)| {
            f.write_str(if n == 0 { "" } else { " " })?;
            write!(f, "{byte:02x}")
        })
    }
}
