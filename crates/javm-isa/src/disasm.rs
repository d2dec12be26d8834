//! The disassembler: code to text that [`assemble`](crate::asm::assemble) turns into the same bytes.
//!
//! Targets are printed as code offsets. An instruction whose bytes are not its shortest encoding is printed
//! byte by byte, with its meaning as a comment. Offsets, bytes and whatever the caller knows of a place are
//! comments too.

use core::fmt::{self, Write};

use crate::code::Code;

/// Column at which comments start.
const COMMENT_COLUMN: usize = 44;

/// What to print besides the instructions.
#[derive(Clone, Copy, Default)]
pub struct Options<'a> {
    /// The offset of each instruction.
    pub offsets: bool,
    /// The bytes of each instruction.
    pub bytes: bool,
    /// What is known of a place: printed as comment lines before the instruction at this offset, one line for
    /// each line of text. Asked for every instruction.
    pub notes: Option<&'a dyn Fn(u32) -> Option<alloc::string::String>>,
    /// What is known of an instruction: printed behind it.
    pub remarks: Option<&'a dyn Fn(u32) -> Option<alloc::string::String>>,
}

impl fmt::Debug for Options<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options")
            .field("offsets", &self.offsets)
            .field("bytes", &self.bytes)
            .finish_non_exhaustive()
    }
}

/// Writes the text of a program.
///
/// # Errors
/// Whatever `out` returns.
pub fn disassemble(code: &Code, out: &mut dyn Write, options: &Options<'_>) -> fmt::Result {
    for (pc, instruction) in code.instructions(0) {
        if code.is_block_start(u64::from(pc)) && pc != 0 {
            writeln!(out)?;
        }
        for line in options.notes.and_then(|notes| notes(pc)).iter().flat_map(|text| text.lines()) {
            writeln!(out, "; {line}")?;
        }
        let bytes = &code.bytes()[pc as usize..code.next_pc(pc) as usize];
        let mut line = Line { out, column: 0 };
        let shortest = instruction.encode(pc).as_slice() == bytes;
        if shortest {
            write!(line, "    {instruction}")?;
        } else {
            line.write_str("    .bytes")?;
            bytes.iter().try_for_each(|b| write!(line, " {b:02x}"))?;
        }
        line.comment(pc, bytes, options, (!shortest).then_some(&instruction))?;
    }
    if !code.jump_table().is_empty() {
        writeln!(out)?;
        for chunk in code.jump_table().chunks(12) {
            out.write_str("    .jump_table ")?;
            for (n, entry) in chunk.iter().enumerate() {
                write!(out, "{}{entry}", if n == 0 { "" } else { ", " })?;
            }
            writeln!(out)?;
        }
    }
    Ok(())
}

/// Counts columns, so that comments line up.
struct Line<'a> {
    out: &'a mut dyn Write,
    column: usize,
}

impl Write for Line<'_> {
    fn write_str(&mut self, s: &str) -> fmt::Result {
        self.column += s.chars().count();
        self.out.write_str(s)
    }
}

impl Line<'_> {
    fn comment(
        mut self,
        pc: u32,
        bytes: &[u8],
        options: &Options<'_>,
        meaning: Option<&crate::Instruction>,
    ) -> fmt::Result {
        let remark = options.remarks.and_then(|remarks| remarks(pc));
        if options.offsets || options.bytes || meaning.is_some() || remark.is_some() {
            let pad = COMMENT_COLUMN.saturating_sub(self.column);
            write!(self, "{:pad$} ;", "")?;
            if options.offsets {
                write!(self, " {pc:6}")?;
            }
            if options.bytes {
                self.write_str(" ")?;
                bytes.iter().try_for_each(|b| write!(self, " {b:02x}"))?;
            }
            if let Some(meaning) = meaning {
                write!(self, "  = {meaning}")?;
            }
            if let Some(remark) = remark {
                write!(self, "  {remark}")?;
            }
        }
        self.out.write_str("\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::asm::assemble;
    use alloc::string::String;

    #[test]
    fn what_is_printed_assembles_to_the_same_bytes() {
        let text = "load_imm a0, -1\n.bytes 33 07 05 00\nbranch_eq a0, a1, @0\nfallthrough\njump @-7\n.jump_table 0, 99";
        let code = assemble(text).unwrap().code().unwrap();
        let mut printed = String::new();
        let options = Options { offsets: true, bytes: true, ..Options::default() };
        disassemble(&code, &mut printed, &options).unwrap();
        assert_eq!(assemble(&printed).unwrap().code().unwrap(), code);
        assert!(printed.contains(".bytes 33 07 05 00") && printed.contains("= load_imm a0, 5"), "{printed}");
    }
}
