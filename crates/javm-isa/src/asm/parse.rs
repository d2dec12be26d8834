//! Text to items: everything but offsets. One pass, line by line.

use alloc::{
    collections::{BTreeMap, BTreeSet, btree_map::Entry},
    vec::Vec,
};

use super::{AsmErrorKind, Error, Expected, Place};
use crate::{
    instr::Instruction,
    op::Op,
    reg::Reg,
    shape::{MAX_LENGTH, OperandRole, Shape, sx},
};

/// A code offset.
#[derive(Clone, Copy)]
pub(super) enum Target<'a> {
    /// From the start of the code; one before it wraps.
    Offset(u64),
    Label(&'a str),
}

/// A label in an operand.
#[derive(Clone, Copy)]
pub(super) struct Reference<'a> {
    pub(super) place: Place,
    pub(super) label: &'a str,
}

/// One instruction.
pub(super) struct Item<'a> {
    pub(super) place: Place,
    pub(super) what: What<'a>,
}

pub(super) enum What<'a> {
    Instruction {
        /// With 0 for what the references will say.
        instruction: Instruction,
        x: Option<Reference<'a>>,
        y: Option<Reference<'a>>,
        target: Option<(Place, Target<'a>)>,
    },
    Bytes(Vec<u8>),
}

/// What a text says.
#[derive(Default)]
pub(super) struct Parsed<'a> {
    pub(super) items: Vec<Item<'a>>,
    /// For each label the number of the item behind it.
    pub(super) labels: BTreeMap<&'a str, usize>,
    pub(super) jump_table: Vec<(Place, Target<'a>)>,
    pub(super) exports: Vec<(&'a str, Place, Target<'a>)>,
}

pub(super) fn parse(text: &str) -> Result<Parsed<'_>, Error> {
    let mut parsed = Parsed::default();
    let mut exported = BTreeSet::new();
    for (line, text) in text.lines().enumerate() {
        let end = [";", "//", "#"].iter().filter_map(|mark| text.find(mark)).min().unwrap_or(text.len());
        let mut cursor = Cursor { text: &text[..end], place: Place { line, at: 0 } };
        loop {
            cursor.skip_space();
            if cursor.at_end() {
                break;
            }
            cursor.statement(&mut parsed, &mut exported)?;
        }
    }
    Ok(parsed)
}

/// A line without its comment, and how far it is read.
struct Cursor<'a> {
    text: &'a str,
    place: Place,
}

impl<'a> Cursor<'a> {
    fn rest(&self) -> &'a str {
        &self.text[self.place.at..]
    }

    fn at_end(&self) -> bool {
        self.rest().is_empty()
    }

    fn expected<T>(&self, what: Expected) -> Result<T, Error> {
        Err((self.place, AsmErrorKind::Expected(what)))
    }

    fn skip_space(&mut self) {
        self.place.at = self.text.len() - self.rest().trim_start().len();
    }

    /// Reads `mark`, with the space before it, if it is there.
    fn accept(&mut self, mark: char) -> bool {
        self.skip_space();
        let there = self.rest().starts_with(mark);
        if there {
            self.place.at += mark.len_utf8();
        }
        there
    }

    /// Reads characters while they are of a kind, maybe none.
    fn take(&mut self, of: impl Fn(char) -> bool) -> &'a str {
        let rest = self.rest();
        let word = &rest[..rest.find(|c| !of(c)).unwrap_or(rest.len())];
        self.place.at += word.len();
        word
    }

    /// Reads a word with the space before it, and tells where it is.
    fn word(&mut self) -> (Place, &'a str) {
        self.skip_space();
        (self.place, self.take(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '$')))
    }

    fn comma(&mut self) -> Result<(), Error> {
        if self.accept(',') { Ok(()) } else { self.expected(Expected::Comma) }
    }

    /// A label, an instruction or a directive.
    fn statement(&mut self, parsed: &mut Parsed<'a>, exported: &mut BTreeSet<&'a str>) -> Result<(), Error> {
        let (place, word) = self.word();
        if word.is_empty() {
            return self.expected(Expected::Statement);
        }
        if self.rest().starts_with(':') && !word.starts_with(|c: char| c.is_ascii_digit()) {
            self.place.at += 1;
            return match parsed.labels.entry(word) {
                Entry::Occupied(_) => Err((place, AsmErrorKind::DuplicateLabel)),
                Entry::Vacant(entry) => {
                    entry.insert(parsed.items.len());
                    Ok(())
                }
            };
        }
        match word {
            ".jump_table" => self.jump_table(parsed)?,
            ".export" => self.export(parsed, exported)?,
            ".bytes" => {
                let what = What::Bytes(self.bytes()?);
                parsed.items.push(Item { place, what });
            }
            _ if word.starts_with('.') => return Err((place, AsmErrorKind::UnknownDirective)),
            _ => {
                let op = Op::from_name(word).ok_or((place, AsmErrorKind::UnknownInstruction))?;
                let what = self.operands(op)?;
                parsed.items.push(Item { place, what });
            }
        }
        self.skip_space();
        if self.at_end() { Ok(()) } else { self.expected(Expected::End) }
    }

    fn jump_table(&mut self, parsed: &mut Parsed<'a>) -> Result<(), Error> {
        loop {
            parsed.jump_table.push(self.target()?);
            if !self.accept(',') {
                return Ok(());
            }
        }
    }

    fn export(&mut self, parsed: &mut Parsed<'a>, exported: &mut BTreeSet<&'a str>) -> Result<(), Error> {
        self.skip_space();
        let at = self.place;
        let name = self.take(|c| !c.is_whitespace());
        if name.is_empty() {
            return self.expected(Expected::Name);
        }
        if !exported.insert(name) {
            return Err((at, AsmErrorKind::DuplicateExport));
        }
        let (place, target) = self.target()?;
        parsed.exports.push((name, place, target));
        Ok(())
    }

    fn bytes(&mut self) -> Result<Vec<u8>, Error> {
        let mut bytes = Vec::new();
        loop {
            let (place, word) = self.word();
            if word.is_empty() && !bytes.is_empty() {
                return Ok(bytes);
            }
            let digits = word.len() == 2 && word.bytes().all(|b| b.is_ascii_hexdigit());
            let byte = u8::from_str_radix(word, 16).ok().filter(|_| digits);
            bytes.push(byte.ok_or((place, AsmErrorKind::Expected(Expected::Byte)))?);
            if bytes.len() > MAX_LENGTH {
                return Err((place, AsmErrorKind::TooManyBytes));
            }
        }
    }

    fn operands(&mut self, op: Op) -> Result<What<'a>, Error> {
        let mut i = Instruction::new(op);
        let (mut x, mut y, mut target) = (None, None, None);
        for (n, role) in op.shape().operands().iter().enumerate() {
            if n > 0 {
                self.comma()?;
            }
            match role {
                OperandRole::A => i.a = self.register()?,
                OperandRole::B => i.b = self.register()?,
                OperandRole::D => i.d = self.register()?,
                OperandRole::X => (i.x, x) = self.immediate(op.shape())?,
                OperandRole::Y => (i.y, y) = self.immediate(op.shape())?,
                OperandRole::Target => {
                    self.skip_space();
                    if !self.rest().starts_with('@') {
                        return self.expected(Expected::Target);
                    }
                    target = Some(self.target()?);
                }
            }
        }
        Ok(What::Instruction { instruction: i, x, y, target })
    }

    fn register(&mut self) -> Result<Reg, Error> {
        let (place, word) = self.word();
        Reg::from_name(word).ok_or((place, AsmErrorKind::Expected(Expected::Register)))
    }

    /// A number, or a label whose jump-table address is meant.
    fn immediate(&mut self, shape: Shape) -> Result<(u64, Option<Reference<'a>>), Error> {
        if self.accept('&') {
            let (place, label) = self.word();
            if label.is_empty() {
                return self.expected(Expected::Name);
            }
            return Ok((0, Some(Reference { place, label })));
        }
        self.skip_space();
        let hex = self.rest().starts_with("0x");
        let (place, v) = self.number(Expected::Immediate)?;
        if shape == Shape::dst_imm64 || sx(v, 4) == v {
            return Ok((v, None));
        }
        // Addresses from 2^31 on: a pattern of 32 bits means the number that it sign-extends to.
        if hex && v <= u64::from(u32::MAX) {
            return Ok((sx(v, 4), None));
        }
        Err((place, AsmErrorKind::ImmediateTooLarge))
    }

    /// `@label`, `@number`; or a number alone.
    fn target(&mut self) -> Result<(Place, Target<'a>), Error> {
        self.accept('@');
        self.skip_space();
        if self.rest().starts_with(|c: char| c == '-' || c.is_ascii_digit()) {
            let (place, v) = self.number(Expected::Target)?;
            return Ok((place, Target::Offset(v)));
        }
        let (place, label) = self.word();
        if label.is_empty() {
            return self.expected(Expected::Target);
        }
        Ok((place, Target::Label(label)))
    }

    /// A number in decimal or hexadecimal, maybe negative, as 64 bits.
    fn number(&mut self, expected: Expected) -> Result<(Place, u64), Error> {
        self.skip_space();
        let start = self.place;
        let negative = self.accept('-');
        let (_, word) = self.word();
        let (digits, radix) = word.strip_prefix("0x").map_or((word, 10), |digits| (digits, 16));
        if !digits.starts_with(|c: char| c.is_digit(radix)) {
            return Err((start, AsmErrorKind::Expected(expected)));
        }
        let mut v = 0u64;
        for c in digits.chars().filter(|c| *c != '_') {
            let digit = c.to_digit(radix).ok_or((start, AsmErrorKind::Expected(expected)))?;
            v = v
                .checked_mul(u64::from(radix))
                .and_then(|v| v.checked_add(u64::from(digit)))
                .ok_or((start, AsmErrorKind::NumberTooLarge))?;
        }
        if negative && v > 1 << 63 {
            return Err((start, AsmErrorKind::NumberTooLarge));
        }
        Ok((start, if negative { v.wrapping_neg() } else { v }))
    }
}
