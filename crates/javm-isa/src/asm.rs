//! The assembler: text to code, bitmask and jump table.
//!
//! One statement a line; `;`, `//` and `#` start a comment.
//!
//! ```text
//! loop:                             ; a label
//!     add_imm_64 a0, a0, -1         ; an instruction, as disassembly prints it; registers a0 or r7
//!     branch_ne_imm a0, 0, @loop    ; a target: a label, or a code offset as in @12
//!     load_imm t0, &done            ; the address that a dynamic jump to `done` takes
//!     jump_ind t0, 0
//! done:
//!     .bytes 33 07 00 00 03         ; one instruction, byte by byte
//!     .jump_table @loop, @done, 0   ; appends entries
//!     .export main @loop            ; names an offset
//! ```
//!
//! Immediates and offsets are as short as they can be. Offsets of labels start short and grow until all
//! fit, so assembling ends.

use alloc::{
    borrow::ToOwned,
    collections::BTreeMap,
    string::{String, ToString},
    vec,
    vec::Vec,
};

use crate::{
    bits::BitSet,
    code::{Code, CodeError},
    instr::Instruction,
    op::Op,
    reg::Reg,
    shape::{self, MAX_LENGTH, OperandRole},
};

/// How often label offsets are grown one by one before all that are left get the full length.
const RELAXATION_PASSES: usize = 16;

/// What the assembler makes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Assembled {
    /// The code.
    pub code: Vec<u8>,
    /// Where instructions start, one bit per byte, least significant bit first.
    pub packed_bitmask: Vec<u8>,
    /// The jump table.
    pub jump_table: Vec<u32>,
    /// Labels and their code offsets.
    pub labels: BTreeMap<String, u32>,
    /// Exported names and their code offsets, in the order given.
    pub exports: Vec<(String, u32)>,
}

impl Assembled {
    /// The program, checked.
    ///
    /// # Errors
    /// [`CodeError`]: text can spell programs that are none.
    pub fn code(&self) -> Result<Code, CodeError> {
        Code::new(&self.code, &self.packed_bitmask, &self.jump_table)
    }
}

/// Where a text is no program, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AsmError {
    /// Line, counted from 1.
    pub line: usize,
    /// Column, counted from 1.
    pub column: usize,
    /// What is wrong there.
    pub kind: AsmErrorKind,
}

/// What is wrong with a text.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum AsmErrorKind {
    /// No instruction or directive has this name.
    UnknownInstruction(String),
    /// The instruction takes another number of operands.
    OperandCount {
        /// How many it takes.
        expected: usize,
        /// How many are there.
        found: usize,
    },
    /// No register has this name.
    UnknownRegister(String),
    /// Not a number that fits here.
    BadNumber(String),
    /// A code offset starts with `@`.
    BadTarget(String),
    /// No label has this name.
    UnknownLabel(String),
    /// The label was given before.
    DuplicateLabel(String),
    /// A label or export needs a name.
    BadName(String),
    /// An instruction has 1 to 25 bytes.
    BadLength(usize),
    /// The code is longer than any program.
    TooLong,
}

impl core::fmt::Display for AsmErrorKind {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::UnknownInstruction(name) => write!(f, "`{name}` is no instruction or directive"),
            Self::OperandCount { expected, found } => {
                write!(f, "{expected} operands are needed, there are {found}")
            }
            Self::UnknownRegister(name) => write!(f, "`{name}` is no register"),
            Self::BadNumber(text) => write!(f, "`{text}` is no number that fits here"),
            Self::BadTarget(text) => write!(f, "`{text}` is no code offset: write `@label` or `@12`"),
            Self::UnknownLabel(name) => write!(f, "there is no label `{name}`"),
            Self::DuplicateLabel(name) => write!(f, "the label `{name}` is given twice"),
            Self::BadName(name) => write!(f, "`{name}` is no name"),
            Self::BadLength(len) => write!(f, "an instruction has 1 to {MAX_LENGTH} bytes, this one {len}"),
            Self::TooLong => f.write_str("the code is longer than any program"),
        }
    }
}

impl core::fmt::Display for AsmError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "line {}, column {}: {}", self.line, self.column, self.kind)
    }
}

impl core::error::Error for AsmError {}

/// A code offset as written.
enum Target {
    Absolute(u64),
    Label(String, Place),
}

#[derive(Clone, Copy)]
struct Place {
    line: usize,
    column: usize,
}

impl Place {
    const fn error(self, kind: AsmErrorKind) -> AsmError {
        AsmError { line: self.line, column: self.column, kind }
    }
}

/// One statement that makes code.
enum Item {
    Bytes(Vec<u8>),
    Instruction { instruction: Instruction, target: Option<Target>, offset_len: Option<usize> },
}

#[derive(Default)]
struct Assembler {
    items: Vec<Item>,
    /// Label → number of the item it stands before.
    labels: BTreeMap<String, usize>,
    jump_table: Vec<Target>,
    exports: Vec<(String, Target)>,
    /// Label → its entry in the jump table, for `&label`.
    entries: BTreeMap<String, usize>,
}

/// Assembles a text.
///
/// # Errors
/// [`AsmError`] with the first thing that is wrong.
pub fn assemble(text: &str) -> Result<Assembled, AsmError> {
    let mut assembler = Assembler::default();
    for (n, line) in text.lines().enumerate() {
        assembler.line(line, n + 1)?;
    }
    assembler.finish()
}

/// The part of a line before its comment.
fn without_comment(line: &str) -> &str {
    let end = line
        .char_indices()
        .find(|(i, c)| matches!(c, ';' | '#') || line[*i..].starts_with("//"))
        .map_or(line.len(), |(i, _)| i);
    &line[..end]
}

fn is_name(name: &str) -> bool {
    !name.is_empty()
        && name.chars().all(|c| c.is_alphanumeric() || "_.$@:-".contains(c))
        && !name.starts_with(|c: char| c.is_ascii_digit() || c == '-')
}

/// Decimal or `0x…`, with a sign; two's complement in 64 bits.
fn number(text: &str) -> Option<u64> {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let value = match digits.strip_prefix("0x") {
        Some(hex) => u64::from_str_radix(&hex.replace('_', ""), 16).ok()?,
        None => digits.replace('_', "").parse().ok()?,
    };
    if !negative {
        return Some(value);
    }
    (value <= 1 << 63).then(|| value.wrapping_neg())
}

impl Assembler {
    fn line(&mut self, raw: &str, line: usize) -> Result<(), AsmError> {
        let mut rest = without_comment(raw);
        let place = |part: &str| Place { line, column: part.as_ptr() as usize - raw.as_ptr() as usize + 1 };
        while let Some((name, after)) = rest.split_once(':').filter(|(name, _)| !name.trim().contains(' ')) {
            let name = name.trim();
            let at = place(rest.trim_start());
            if !is_name(name) {
                return Err(at.error(AsmErrorKind::BadName(name.to_owned())));
            }
            if self.labels.insert(name.to_owned(), self.items.len()).is_some() {
                return Err(at.error(AsmErrorKind::DuplicateLabel(name.to_owned())));
            }
            rest = after;
        }
        let statement = rest.trim();
        if statement.is_empty() {
            return Ok(());
        }
        let (name, operands) = statement.split_once(char::is_whitespace).unwrap_or((statement, ""));
        let split: Vec<(&str, Place)> = match operands.trim() {
            "" => Vec::new(),
            list if name == ".bytes" => list.split_whitespace().map(|o| (o, place(o))).collect(),
            list => list.split(',').map(|o| (o.trim(), place(o.trim()))).collect(),
        };
        let here = place(statement);
        match name {
            ".bytes" => self.bytes(&split, here),
            ".jump_table" => {
                for (text, at) in &split {
                    let entry = match number(text) {
                        Some(n) => Target::Absolute(n),
                        None => target(text, *at)?,
                    };
                    self.jump_table.push(entry);
                }
                Ok(())
            }
            ".export" => self.export(operands.trim(), here),
            name => self.instruction(name, &split, here),
        }
    }

    fn bytes(&mut self, operands: &[(&str, Place)], here: Place) -> Result<(), AsmError> {
        let bytes = operands
            .iter()
            .map(|(text, at)| {
                u8::from_str_radix(text, 16)
                    .map_err(|_| at.error(AsmErrorKind::BadNumber((*text).to_owned())))
            })
            .collect::<Result<Vec<_>, _>>()?;
        if bytes.is_empty() || bytes.len() > MAX_LENGTH {
            return Err(here.error(AsmErrorKind::BadLength(bytes.len())));
        }
        self.items.push(Item::Bytes(bytes));
        Ok(())
    }

    fn export(&mut self, operands: &str, here: Place) -> Result<(), AsmError> {
        let Some((name, at)) = operands.split_once(char::is_whitespace) else {
            return Err(here.error(AsmErrorKind::OperandCount { expected: 2, found: 1 }));
        };
        if !is_name(name) {
            return Err(here.error(AsmErrorKind::BadName(name.to_owned())));
        }
        self.exports.push((name.to_owned(), target(at.trim(), here)?));
        Ok(())
    }

    fn instruction(&mut self, name: &str, operands: &[(&str, Place)], here: Place) -> Result<(), AsmError> {
        let op = Op::from_name(name)
            .ok_or_else(|| here.error(AsmErrorKind::UnknownInstruction(name.to_owned())))?;
        let roles = op.shape().operands();
        if roles.len() != operands.len() {
            let (expected, found) = (roles.len(), operands.len());
            return Err(here.error(AsmErrorKind::OperandCount { expected, found }));
        }
        let mut instruction = Instruction::new(op);
        let mut to = None;
        for (role, (text, at)) in roles.iter().zip(operands) {
            match role {
                OperandRole::A => instruction.a = register(text, *at)?,
                OperandRole::B => instruction.b = register(text, *at)?,
                OperandRole::D => instruction.d = register(text, *at)?,
                OperandRole::X => instruction.x = self.immediate(op, text, *at)?,
                OperandRole::Y => instruction.y = self.immediate(op, text, *at)?,
                OperandRole::Target => to = Some(target(text, *at)?),
            }
        }
        if let Some(Target::Absolute(offset)) = to {
            instruction.y = offset;
        }
        let offset_len = matches!(to, Some(Target::Label(..))).then_some(0);
        self.items.push(Item::Instruction { instruction, target: to, offset_len });
        Ok(())
    }

    /// An immediate: 64 bits where the shape has room, else what 32 bits sign-extend to.
    fn immediate(&mut self, op: Op, text: &str, at: Place) -> Result<u64, AsmError> {
        if let Some(label) = text.strip_prefix('&') {
            let next = self.jump_table.len();
            let entry = *self.entries.entry(label.to_owned()).or_insert(next);
            if entry == next {
                self.jump_table.push(Target::Label(label.to_owned(), at));
            }
            return Ok(2 * (entry as u64 + 1));
        }
        let bad = || at.error(AsmErrorKind::BadNumber(text.to_owned()));
        let value = number(text).ok_or_else(bad)?;
        if op.shape() == shape::Shape::dst_imm64 || value as i32 as i64 as u64 == value {
            return Ok(value);
        }
        // A 32-bit pattern such as 0xFFFF0000 means the number that its sign extension is.
        if text.contains("0x") && !text.starts_with('-') && value <= u64::from(u32::MAX) {
            return Ok(value as i32 as i64 as u64);
        }
        Err(bad())
    }

    fn finish(mut self) -> Result<Assembled, AsmError> {
        let positions = self.relax()?;
        let mut out = Assembled::default();
        let len = *positions.last().unwrap_or(&0);
        let mut starts = BitSet::new(len);
        for (item, pc) in self.items.iter().zip(&positions) {
            starts.insert(*pc);
            match item {
                Item::Bytes(bytes) => out.code.extend_from_slice(bytes),
                Item::Instruction { instruction, target, offset_len } => {
                    let mut instruction = *instruction;
                    if let Some(target) = target {
                        instruction.y = self.resolve(target, &positions)?;
                    }
                    out.code.extend_from_slice(shape::write_with(&instruction, *pc, *offset_len).as_slice());
                }
            }
        }
        out.packed_bitmask = starts.to_packed();
        for entry in &self.jump_table {
            out.jump_table.push(self.resolve(entry, &positions)? as u32);
        }
        for (name, target) in &self.exports {
            out.exports.push((name.clone(), self.resolve(target, &positions)? as u32));
        }
        out.labels = self.labels.iter().map(|(name, item)| (name.clone(), positions[*item])).collect();
        Ok(out)
    }

    /// Gives every label offset the length that it needs, and returns the offset of each item and of the end.
    fn relax(&mut self) -> Result<Vec<u32>, AsmError> {
        for pass in 0.. {
            let positions = self.positions()?;
            let mut grown = false;
            let mut needed = vec![None; self.items.len()];
            for (n, item) in self.items.iter().enumerate() {
                if let Item::Instruction { target: Some(target @ Target::Label(..)), offset_len, .. } = item {
                    let offset = self.resolve(target, &positions)?.wrapping_sub(u64::from(positions[n]));
                    let need = if pass < RELAXATION_PASSES { shape::imm_len(offset) } else { 4 };
                    if offset_len.is_some_and(|len| len < need) {
                        needed[n] = Some(need);
                        grown = true;
                    }
                }
            }
            if !grown {
                return Ok(positions);
            }
            for (item, need) in self.items.iter_mut().zip(needed) {
                if let (Item::Instruction { offset_len, .. }, Some(need)) = (item, need) {
                    *offset_len = Some(need);
                }
            }
        }
        unreachable!("offsets only grow, and none grows past 4 bytes")
    }

    fn positions(&self) -> Result<Vec<u32>, AsmError> {
        let mut positions = Vec::with_capacity(self.items.len() + 1);
        let mut pc = 0usize;
        for item in &self.items {
            positions.push(pc as u32);
            pc += match item {
                Item::Bytes(bytes) => bytes.len(),
                Item::Instruction { instruction, offset_len, .. } => {
                    shape::write_with(instruction, pc as u32, *offset_len).as_slice().len()
                }
            };
            if pc > crate::code::MAX_CODE_LEN {
                return Err(Place { line: 0, column: 0 }.error(AsmErrorKind::TooLong));
            }
        }
        positions.push(pc as u32);
        Ok(positions)
    }

    fn resolve(&self, target: &Target, positions: &[u32]) -> Result<u64, AsmError> {
        match target {
            Target::Absolute(offset) => Ok(*offset),
            Target::Label(name, at) => match self.labels.get(name) {
                Some(item) => Ok(u64::from(positions[*item])),
                None => Err(at.error(AsmErrorKind::UnknownLabel(name.clone()))),
            },
        }
    }
}

fn register(text: &str, at: Place) -> Result<Reg, AsmError> {
    Reg::from_name(text).ok_or_else(|| at.error(AsmErrorKind::UnknownRegister(text.to_string())))
}

fn target(text: &str, at: Place) -> Result<Target, AsmError> {
    let bad = || at.error(AsmErrorKind::BadTarget(text.to_owned()));
    let name = text.strip_prefix('@').ok_or_else(bad)?;
    match number(name) {
        Some(offset) => Ok(Target::Absolute(offset)),
        None if is_name(name) => Ok(Target::Label(name.to_owned(), at)),
        None => Err(bad()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_jump_tables_and_exports() {
        let a = assemble(
            "start: load_imm a0, 3\nload_imm t0, &done ; an address\nfallthrough\nloop: add_imm_64 a0, a0, -1\n\
             branch_ne_imm a0, 0, @loop\njump_ind t0, 0\ndone: trap\n.export main @start\n.jump_table 7",
        )
        .unwrap();
        let code = a.code().unwrap();
        assert_eq!(a.labels["done"], code.jump_table()[0]);
        assert_eq!((a.jump_table.len(), a.jump_table[1]), (2, 7));
        assert_eq!(a.exports, [("main".to_owned(), 0)]);
        let branch = code.instructions(0).nth(4).unwrap().1;
        assert_eq!(branch.target(), Some(u64::from(a.labels["loop"])));
    }

    #[test]
    fn far_labels_get_long_offsets() {
        let mut text = String::from("jump @end\n");
        text.extend((0..300).map(|_| "load_imm_64 a0, 1\n"));
        text.push_str("end: trap\n");
        let a = assemble(&text).unwrap();
        assert_eq!(a.code[..3], [40, 0xBB, 0x0B]);
        assert_eq!(a.labels["end"], 3003);
    }

    #[test]
    fn errors_say_where() {
        let words = |text| assemble(text).unwrap_err().to_string();
        assert_eq!(words("trap\n  foo a0"), "line 2, column 3: `foo` is no instruction or directive");
        assert_eq!(words("move_reg a0"), "line 1, column 1: 2 operands are needed, there are 1");
        assert_eq!(words("move_reg a0, r13"), "line 1, column 14: `r13` is no register");
        assert_eq!(words("jump @nowhere"), "line 1, column 6: there is no label `nowhere`");
        assert_eq!(
            words("load_imm a0, 0x100000000"),
            "line 1, column 14: `0x100000000` is no number that fits here"
        );
        assert_eq!(words("a: trap\na: trap"), "line 2, column 1: the label `a` is given twice");
    }
}
