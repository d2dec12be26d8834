//! [`Program`]: what every reader yields; telling the formats apart.
//!
//! How a format is laid out is its reader's secret. What a program needs to run is here: checked code, the
//! memory it expects, the registers it starts with, its exports and imports by name.

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet},
    ops::Range,
};

use javm_isa::{Code, Instruction, Numbering, Op, Reg, reg::NUM_REGS};

use crate::{
    HALT_ADDRESS, bare,
    debug::{DebugInfo, SourceFrame},
    error::ProgramError,
    manifest, polkavm,
    region::Region,
    relayout::relayout,
    service,
};

/// A PolkaVM instruction set that can be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Isa {
    /// Gray Paper 0.7 numbers.
    ReviveV1,
    /// Gray Paper 0.8 numbers.
    JamV1,
    /// PolkaVM's own encoding, transcoded on loading.
    Latest64,
}

impl core::fmt::Display for Isa {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.pad(match self {
            Self::ReviveV1 => "ReviveV1",
            Self::JamV1 => "JamV1",
            Self::Latest64 => "Latest64",
        })
    }
}

/// Where a program comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Format {
    /// A PolkaVM container.
    PolkaVm {
        /// Its instruction set.
        isa: Isa,
    },
    /// A bare program blob.
    BareBlob {
        /// How it numbered its instructions.
        numbering: Numbering,
    },
    /// A JAM service program.
    JamService {
        /// How it numbered its instructions.
        numbering: Numbering,
    },
    /// The code of a capability manifest.
    Manifest,
    /// An ELF file.
    Elf,
    /// No file: code that was made here.
    Code,
}

impl core::fmt::Display for Format {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::PolkaVm { isa } => write!(f, "PolkaVM container ({isa})"),
            Self::BareBlob { .. } => f.write_str("bare program blob"),
            Self::JamService { .. } => f.write_str("JAM service program"),
            Self::Manifest => f.write_str("capability manifest"),
            Self::Elf => f.write_str("ELF file"),
            Self::Code => f.write_str("code"),
        }
    }
}

/// How to read a file whose format is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum LoadAs {
    /// A PolkaVM container, of any instruction set that can be read.
    PolkaVm,
    /// A bare program blob.
    BareBlob(Numbering),
    /// A JAM service program.
    JamService(Numbering, service::Metadata),
    /// The code that a capability manifest starts with.
    Manifest,
}

/// A place in the code that has a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Export {
    /// The name: any bytes.
    pub name: Vec<u8>,
    /// Code offset; an instruction starts there.
    pub pc: u32,
}

impl Export {
    /// The name as text, with replacement characters where it is none.
    #[must_use]
    pub fn name_lossy(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(&self.name)
    }
}

/// What an `ecalli` number stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Import {
    /// The low 32 bits of the `ecalli` operand.
    pub number: u32,
    /// The symbol: any bytes, not empty.
    pub symbol: Vec<u8>,
}

impl Import {
    /// The symbol as text, with replacement characters where it is none.
    #[must_use]
    pub fn symbol_lossy(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(&self.symbol)
    }
}

/// A program: checked code in the canonical numbering, and what it needs to run.
#[derive(Clone, Debug)]
pub struct Program {
    pub(crate) code: Code,
    pub(crate) exports: Vec<Export>,
    pub(crate) imports: Vec<Import>,
    pub(crate) regions: Vec<Region>,
    pub(crate) registers: [u64; NUM_REGS],
    pub(crate) metadata: Vec<u8>,
    pub(crate) format: Format,
    pub(crate) debug: DebugInfo,
}

impl Program {
    /// Code and nothing else: no memory, no names, registers zero.
    #[must_use]
    pub fn from_code(code: Code) -> Self {
        Self::bare(code, Format::Code)
    }

    pub(crate) fn bare(code: Code, format: Format) -> Self {
        Self {
            code,
            exports: Vec::new(),
            imports: Vec::new(),
            regions: Vec::new(),
            registers: [0; NUM_REGS],
            metadata: Vec::new(),
            format,
            debug: DebugInfo::default(),
        }
    }

    /// Reads a program of any format that can be told from its bytes.
    ///
    /// PolkaVM containers, ELF files and capability manifests have a magic number. Other bytes are a bare
    /// blob (canonical numbering) if they have exactly its structure, else a JAM service program, without
    /// or with metadata in front, if they have exactly that.
    ///
    /// An ELF file is recognised and refused: linking one is not for files of strangers, see
    /// `load_or_link`.
    ///
    /// # Errors
    /// [`ProgramError`]; [`ProgramError::NotLinked`] for an ELF file, [`ProgramError::UnknownFormat`] when
    /// no structure fits.
    pub fn load(bytes: &[u8]) -> Result<Self, ProgramError> {
        if bytes.starts_with(&polkavm::MAGIC) {
            Self::load_as(LoadAs::PolkaVm, bytes)
        } else if bytes.starts_with(&ELF_MAGIC) {
            Err(ProgramError::NotLinked)
        } else if bytes.starts_with(&manifest::MAGIC) {
            Self::load_as(LoadAs::Manifest, bytes)
        } else if bare::has_structure(bytes) {
            Self::load_as(LoadAs::BareBlob(Numbering::Canonical), bytes)
        } else if service::has_structure(bytes) {
            Self::load_as(LoadAs::JamService(Numbering::Canonical, service::Metadata::Detect), bytes)
        } else {
            Err(ProgramError::UnknownFormat)
        }
    }

    /// As [`Self::load`], and links an ELF file.
    ///
    /// Only for files that come from where the caller's own do: PolkaVM's linker is a build tool that a
    /// file can make panic or run out of memory, see [`crate::elf`].
    ///
    /// # Errors
    /// As [`Self::load`], and [`ProgramError::Link`].
    #[cfg(feature = "elf")]
    pub fn load_or_link(bytes: &[u8]) -> Result<Self, ProgramError> {
        if bytes.starts_with(&ELF_MAGIC) { crate::elf::read(bytes) } else { Self::load(bytes) }
    }

    /// Reads a program of a known format.
    ///
    /// # Errors
    /// [`ProgramError`], with the offset where the bytes are no such program.
    pub fn load_as(format: LoadAs, bytes: &[u8]) -> Result<Self, ProgramError> {
        match format {
            LoadAs::PolkaVm => polkavm::read(bytes),
            LoadAs::BareBlob(numbering) => bare::read(bytes, numbering),
            LoadAs::JamService(numbering, metadata) => service::read(bytes, numbering, metadata),
            LoadAs::Manifest => manifest::Manifest::read(bytes)?.into_program(),
        }
    }

    /// The code.
    #[must_use]
    pub const fn code(&self) -> &Code {
        &self.code
    }

    /// The code, without the rest.
    #[must_use]
    pub fn into_code(self) -> Code {
        self.code
    }

    /// Where it comes from.
    #[must_use]
    pub const fn format(&self) -> Format {
        self.format
    }

    /// Named places in the code, in the file's order. A JAM service program has `refine` and, where an
    /// instruction starts at its code offset, `accumulate`.
    #[must_use]
    pub fn exports(&self) -> &[Export] {
        &self.exports
    }

    /// The first export with this name.
    #[must_use]
    pub fn export(&self, name: &[u8]) -> Option<&Export> {
        self.exports.iter().find(|e| e.name == name)
    }

    /// What the file says its `ecalli` numbers stand for, by ascending number. Numbers that are used may be
    /// missing, numbers that are here may be unused.
    #[must_use]
    pub fn imports(&self) -> &[Import] {
        &self.imports
    }

    /// The symbol of an `ecalli` number.
    #[must_use]
    pub fn import_symbol(&self, number: u32) -> Option<&[u8]> {
        let at = self.imports.binary_search_by_key(&number, |i| i.number).ok()?;
        Some(&self.imports[at].symbol)
    }

    /// The `ecalli` numbers that the code uses, ascending; of the sign-extended operand the low 32 bits.
    #[must_use]
    pub fn ecalli_numbers(&self) -> Vec<u32> {
        let numbers = self.code.instructions(0).filter_map(|(_, i)| ecalli_number(&i));
        numbers.collect::<BTreeSet<_>>().into_iter().collect()
    }

    /// The memory that the program expects, ascending, disjoint. Arguments are not among it.
    #[must_use]
    pub fn regions(&self) -> &[Region] {
        &self.regions
    }

    /// The registers that a run starts with: for a PolkaVM program RA is the halt address and SP the top of
    /// the stack, for a JAM service program those and the argument registers of a run without arguments,
    /// else zeros.
    #[must_use]
    pub const fn registers(&self) -> [u64; NUM_REGS] {
        self.registers
    }

    /// Registers and argument region (none for no bytes) of a run of a JAM service program.
    ///
    /// # Errors
    /// [`ProgramError::NoArguments`] for a program of another format,
    /// [`ProgramError::ArgumentsTooLong`] for more than 16 MiB.
    pub fn with_args(&self, args: &[u8]) -> Result<([u64; NUM_REGS], Option<Region>), ProgramError> {
        if !matches!(self.format, Format::JamService { .. }) {
            return Err(ProgramError::NoArguments);
        }
        let mut registers = self.registers;
        registers[Reg::A1 as usize] = args.len() as u64;
        Ok((registers, service::args_region(args)?))
    }

    /// The metadata in front of a JAM service program; empty where there is none.
    #[must_use]
    pub fn metadata(&self) -> &[u8] {
        &self.metadata
    }

    /// Whether there is anything to look up with [`Self::source_frames`].
    #[must_use]
    pub fn has_debug_info(&self) -> bool {
        !self.debug.is_empty()
    }

    /// Where the instruction at `pc` comes from: the innermost of [`Self::source_frames`] that names a
    /// file. Reads the file's line table each time.
    #[must_use]
    pub fn source_location(&self, pc: u32) -> Option<SourceFrame<'_>> {
        self.source_frames(pc).into_iter().find(|f| f.file.is_some())
    }

    /// Where the instruction at `pc` comes from: the function it was written in, then the functions that
    /// one was inlined into, innermost first. Empty where the file does not say, or says it wrongly.
    #[must_use]
    pub fn source_frames(&self, pc: u32) -> Vec<SourceFrame<'_>> {
        if pc < self.code.len() { self.debug.frames(pc) } else { Vec::new() }
    }

    /// The function that `pc` lies in, not counting inlined ones: its code offsets and name.
    #[must_use]
    pub fn function_at(&self, pc: u32) -> Option<(Range<u32>, String)> {
        if pc < self.code.len() { self.debug.function(pc) } else { None }
    }

    /// Rewrites the `ecalli` numbers of code and imports; numbers that `map` lacks stay. The code is laid
    /// out anew where that changes anything: offsets move, and exports, jump table and source lines with
    /// them. Of imports that get one number the first stays.
    ///
    /// # Errors
    /// [`ProgramError::Code`] when the code would become too long; the program is unchanged then.
    pub fn renumber_imports(&mut self, map: &BTreeMap<u32, u32>) -> Result<(), ProgramError> {
        let renumbered = |number: u32| map.get(&number).copied().unwrap_or(number);
        if self.ecalli_numbers().into_iter().any(|n| renumbered(n) != n) {
            let instructions = || {
                self.code.instructions(0).map(|(pc, mut i)| {
                    if let Some(number) = ecalli_number(&i) {
                        i.x = renumbered(number) as i32 as u64;
                    }
                    (pc, i)
                })
            };
            let (code, moved) = relayout(instructions, instructions().count(), self.code.jump_table())
                .map_err(|source| ProgramError::Code { offset: 0, source })?;
            self.code = code;
            for export in &mut self.exports {
                export.pc = moved.to_new(u64::from(export.pc));
            }
            self.debug.moved(moved);
        }
        for import in &mut self.imports {
            import.number = renumbered(import.number);
        }
        self.imports.sort_by_key(|i| i.number);
        self.imports.dedup_by_key(|i| i.number);
        Ok(())
    }

    /// Refuses exports that are not at an instruction.
    pub(crate) fn checked(self) -> Result<Self, ProgramError> {
        match self.exports.iter().position(|e| !self.code.is_instruction_start(u64::from(e.pc))) {
            Some(index) => Err(ProgramError::ExportTarget { index, pc: self.exports[index].pc }),
            None => Ok(self),
        }
    }
}

/// The number of an `ecalli`.
fn ecalli_number(i: &Instruction) -> Option<u32> {
    (i.op == Op::Ecalli).then_some(i.x as u32)
}

/// Registers of a run that returns to the host and has a stack.
pub(crate) fn stack_registers(stack_top: u32) -> [u64; NUM_REGS] {
    let mut registers = [0; NUM_REGS];
    registers[Reg::RA as usize] = u64::from(HALT_ADDRESS);
    registers[Reg::SP as usize] = u64::from(stack_top);
    registers
}

const ELF_MAGIC: [u8; 4] = *b"\x7fELF";
