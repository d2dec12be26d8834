//! Function names and source lines by code offset.
//!
//! A PolkaVM container has a table of code ranges, one per function, each with a *line program*: a byte
//! code that walks the range's instructions and keeps a stack of frames, outermost function first. It is
//! kept as it came, and run for one code offset when somebody asks: nothing here is trusted, nothing fails
//! loudly, a table that makes no sense says nothing. Where code was laid out anew, questions are translated
//! back to the offsets of the file.

use std::ops::Range;

use crate::{cursor::Cursor, error::ProgramError, relayout::PcMap};

/// How deep the stack of frames is; what a line program says of deeper ones is not kept.
const MAX_FRAMES: usize = 16;

/// The version of line programs that is known: the first byte of their section.
const VERSION: u8 = 1;

/// Where an instruction comes from: a function, and a place in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SourceFrame<'a> {
    /// What the function's name is qualified with, for example `core::fmt`.
    pub namespace: Option<&'a str>,
    /// The function's name.
    pub function: Option<&'a str>,
    /// The source file.
    pub file: Option<&'a str>,
    /// The line, from 1.
    pub line: Option<u32>,
    /// The column, from 1.
    pub column: Option<u32>,
}

impl SourceFrame<'_> {
    /// The function's name with its namespace; `?` where there is none.
    #[must_use]
    pub fn full_name(&self) -> String {
        match (self.namespace, self.function) {
            (Some(namespace), Some(function)) => format!("{namespace}::{function}"),
            (None, Some(function)) => function.to_owned(),
            (Some(namespace), None) => namespace.to_owned(),
            (None, None) => "?".to_owned(),
        }
    }
}

/// For example `lib::run (src/lib.rs:12:5)`.
impl core::fmt::Display for SourceFrame<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(&self.full_name())?;
        if let Some(file) = self.file {
            write!(f, " ({file}")?;
            if let Some(line) = self.line {
                write!(f, ":{line}")?;
                if let Some(column) = self.column {
                    write!(f, ":{column}")?;
                }
            }
            f.write_str(")")?;
        }
        Ok(())
    }
}

/// The debug sections of a container.
#[derive(Clone, Debug, Default)]
pub(crate) struct DebugInfo {
    strings: Box<[u8]>,
    programs: Box<[u8]>,
    ranges: Box<[u8]>,
    /// From the offsets of the file to those of the code; none where they are the same.
    moved: Option<PcMap>,
}

/// An entry of the range table: begin, end, and where its line program starts.
const RANGE_SIZE: usize = 12;

impl DebugInfo {
    pub(crate) fn new(strings: &[u8], programs: &[u8], ranges: &[u8]) -> Self {
        if programs.first() != Some(&VERSION) || ranges.is_empty() {
            return Self::default();
        }
        Self { strings: strings.into(), programs: programs.into(), ranges: ranges.into(), moved: None }
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    /// Tells that the code was laid out anew.
    pub(crate) fn moved(&mut self, map: PcMap) {
        if !self.is_empty() {
            self.moved = Some(match self.moved.take() {
                Some(before) => before.then(&map),
                None => map,
            });
        }
    }

    fn old_pc(&self, pc: u32) -> u32 {
        self.moved.as_ref().map_or(pc, |map| map.to_old(pc))
    }

    /// The range that the file's code offset `pc` lies in, and its line program.
    fn find(&self, pc: u32) -> Option<(Range<u32>, Cursor<'_>)> {
        let entry = |n: usize| {
            let mut entry = Cursor::new(self.ranges.get(n * RANGE_SIZE..(n + 1) * RANGE_SIZE)?, 0);
            Some((entry.u32().ok()?..entry.u32().ok()?, entry.u32().ok()?))
        };
        let (mut low, mut high) = (0, self.ranges.len() / RANGE_SIZE);
        while low < high {
            let middle = low + (high - low) / 2;
            let (range, at) = entry(middle)?;
            if pc < range.start {
                high = middle;
            } else if pc >= range.end {
                low = middle + 1;
            } else {
                return Some((range, Cursor::new(self.programs.get(at as usize..)?, 0)));
            }
        }
        None
    }

    /// The function around `pc`.
    pub(crate) fn function(&self, pc: u32) -> Option<(Range<u32>, String)> {
        let old = self.old_pc(pc);
        let (range, program) = self.find(old)?;
        let outermost = self.run(program, range.start, old).first().copied()?;
        let range = match &self.moved {
            Some(map) => map.first_at_or_behind(range.start)..map.first_at_or_behind(range.end),
            None => range,
        };
        Some((range, self.frame(&outermost).full_name()))
    }

    /// The frames of the instruction at `pc`, innermost first.
    pub(crate) fn frames(&self, pc: u32) -> Vec<SourceFrame<'_>> {
        let old = self.old_pc(pc);
        let Some((range, program)) = self.find(old) else { return Vec::new() };
        self.run(program, range.start, old).iter().rev().map(|f| self.frame(f)).collect()
    }

    /// Runs a line program up to the code offset `pc`; no frames where it does not get there.
    fn run(&self, program: Cursor<'_>, start: u32, pc: u32) -> Vec<Frame> {
        LineProgram::new(program, start).run(pc).ok().flatten().unwrap_or_default()
    }

    fn frame(&self, frame: &Frame) -> SourceFrame<'_> {
        let nonzero = |n: u32| (n != 0).then_some(n);
        SourceFrame {
            namespace: self.string(frame.namespace),
            function: self.string(frame.function),
            file: self.string(frame.path),
            line: nonzero(frame.line),
            column: nonzero(frame.column),
        }
    }

    /// The string at an offset, unless it is empty or no text.
    fn string(&self, offset: u32) -> Option<&str> {
        let mut at = Cursor::new(self.strings.get(offset as usize..)?, 0);
        let len = at.varint().ok()?;
        core::str::from_utf8(at.take(u64::from(len)).ok()?).ok().filter(|s| !s.is_empty())
    }
}

/// One frame of a line program's stack; texts are offsets into the strings, 0 means none.
#[derive(Clone, Copy, Debug, Default)]
struct Frame {
    namespace: u32,
    function: u32,
    path: u32,
    line: u32,
    column: u32,
}

/// A line program on its way. Each step reads a byte at least, so a run is linear in the section.
struct LineProgram<'a> {
    input: Cursor<'a>,
    pc: u64,
    frames: [Frame; MAX_FRAMES],
    depth: u32,
    /// Which frame the next operations change.
    current: u32,
}

/// What an operation does when it has named a stretch of instructions.
enum Step {
    Stay,
    Deeper,
    Up,
}

impl<'a> LineProgram<'a> {
    fn new(input: Cursor<'a>, start: u32) -> Self {
        Self { input, pc: u64::from(start), frames: [Frame::default(); MAX_FRAMES], depth: 0, current: 0 }
    }

    /// Runs until the stretch that `pc` lies in: its frames, outermost first.
    fn run(mut self, pc: u32) -> Result<Option<Vec<Frame>>, ProgramError> {
        loop {
            let (count, step) = match self.input.u8()? {
                0 => return Ok(None),
                op @ 1..=13 => {
                    self.change(op)?;
                    continue;
                }
                14 => (1, Step::Stay),
                15 => (self.input.varint()?, Step::Stay),
                16 => (1, Step::Deeper),
                17 => (self.input.varint()?, Step::Deeper),
                18 => (1, Step::Up),
                19 => (self.input.varint()?, Step::Up),
                _ => return Ok(None),
            };
            self.pc += u64::from(count);
            if u64::from(pc) < self.pc {
                let depth = (self.depth as usize).min(MAX_FRAMES);
                return Ok(Some(self.frames[..depth].to_vec()));
            }
            self.depth = match step {
                Step::Stay => self.depth,
                Step::Deeper => self.depth.saturating_add(1),
                Step::Up => self.depth.saturating_sub(1),
            };
        }
    }

    /// An operation that changes the stack.
    fn change(&mut self, op: u8) -> Result<(), ProgramError> {
        // What kind of stretch it is (2, 3, 4) and the next line (11) have no operand.
        let value = if matches!(op, 2..=4 | 11) { 0 } else { self.input.varint()? };
        match op {
            1 => self.current = value,
            10 => self.depth = value,
            _ => {}
        }
        let Some(frame) = self.frames.get_mut(self.current as usize) else { return Ok(()) };
        match op {
            5 => frame.namespace = value,
            6 => frame.function = value,
            7 => frame.path = value,
            8 => frame.line = value,
            9 => frame.column = value,
            11 => frame.line = frame.line.wrapping_add(1),
            12 => frame.line = frame.line.wrapping_add(value),
            13 => frame.line = frame.line.wrapping_sub(value),
            _ => {}
        }
        Ok(())
    }
}
