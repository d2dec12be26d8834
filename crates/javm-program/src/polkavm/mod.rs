//! PolkaVM containers.
//!
//! A magic number, a version that names the instruction set, the length, and sections in a fixed order. The
//! sections are read here; code of `Latest64` goes through `latest`, where the memory lies comes from
//! PolkaVM's own memory map. What PolkaVM allows and the Gray Paper does not (an invalid opcode, an
//! unmarked offset) is refused: PolkaVM traps there when it arrives, code here is valid throughout.
//!
//! Code that runs off its end panics in both: PolkaVM's implicit trap needs no instruction here.

mod latest;

use javm_isa::{Code, Numbering};
use polkavm_common::abi::MemoryMapBuilder;

use crate::{
    bare::{self, JumpTable},
    cursor::Cursor,
    debug::DebugInfo,
    error::ProgramError,
    program::{Export, Format, Import, Isa, Program, stack_registers},
    region::{PAGE_SIZE, Region, RegionKind, push_region},
    relayout::PcMap,
};

/// What a container starts with.
pub const MAGIC: [u8; 4] = *b"PVM\0";

/// The most imports.
pub const MAX_IMPORTS: u32 = 1024;

/// Section numbers, in the order in which sections must come; from 128 on they are optional.
mod section {
    pub(super) const END: u8 = 0;
    pub(super) const MEMORY: u8 = 1;
    pub(super) const RO_DATA: u8 = 2;
    pub(super) const RW_DATA: u8 = 3;
    pub(super) const IMPORTS: u8 = 4;
    pub(super) const EXPORTS: u8 = 5;
    pub(super) const CODE: u8 = 6;
    pub(super) const DEBUG_STRINGS: u8 = 128;
    pub(super) const DEBUG_PROGRAMS: u8 = 129;
    pub(super) const DEBUG_RANGES: u8 = 130;
}

/// The sections of a container; those that are missing are empty.
struct Sections<'a> {
    isa: Isa,
    memory: Cursor<'a>,
    ro_data: Cursor<'a>,
    rw_data: Cursor<'a>,
    imports: Cursor<'a>,
    exports: Cursor<'a>,
    code: Cursor<'a>,
    debug_strings: &'a [u8],
    debug_programs: &'a [u8],
    debug_ranges: &'a [u8],
}

/// Reads a container.
///
/// # Errors
/// [`ProgramError`] with the offset.
pub fn read(bytes: &[u8]) -> Result<Program, ProgramError> {
    let sections = Sections::split(bytes)?;
    let (regions, stack_top) = regions(&sections)?;
    let imports = imports(sections.imports)?;
    let mut exports = exports(sections.exports)?;
    let (code, moved) = code(sections.code, sections.isa)?;
    if let Some(moved) = &moved {
        for (index, export) in exports.iter_mut().enumerate() {
            let pc = moved.to_new(u64::from(export.pc));
            if pc == code.len() {
                return Err(ProgramError::ExportTarget { index, pc: export.pc });
            }
            export.pc = pc;
        }
    }
    let mut debug = DebugInfo::new(sections.debug_strings, sections.debug_programs, sections.debug_ranges);
    if let Some(moved) = moved {
        debug.moved(moved);
    }
    Program {
        code,
        exports,
        imports,
        regions,
        registers: stack_registers(stack_top),
        metadata: Vec::new(),
        format: Format::PolkaVm { isa: sections.isa },
        debug,
    }
    .checked()
}

impl<'a> Sections<'a> {
    fn split(bytes: &'a [u8]) -> Result<Self, ProgramError> {
        if !bytes.starts_with(&MAGIC) {
            return Err(ProgramError::WrongMagic { expected: "PolkaVM container" });
        }
        let mut input = Cursor::new(bytes, 0);
        input.take(MAGIC.len() as u64)?;
        let isa = isa(input.u8()?)?;
        let declared = input.le(8)?;
        if declared != bytes.len() as u64 {
            return Err(ProgramError::BlobLength { declared, found: bytes.len() as u64 });
        }
        let mut walk = Walk { number_offset: input.offset(), number: input.u8()?, input };
        let sections = Self {
            isa,
            memory: walk.section(section::MEMORY)?,
            ro_data: walk.section(section::RO_DATA)?,
            rw_data: walk.section(section::RW_DATA)?,
            imports: walk.section(section::IMPORTS)?,
            exports: walk.section(section::EXPORTS)?,
            code: walk.section(section::CODE)?,
            debug_strings: walk.section(section::DEBUG_STRINGS)?.take_rest(),
            debug_programs: walk.section(section::DEBUG_PROGRAMS)?.take_rest(),
            debug_ranges: walk.section(section::DEBUG_RANGES)?.take_rest(),
        };
        while walk.number >= section::DEBUG_STRINGS {
            walk.section(walk.number)?;
        }
        if walk.number != section::END {
            return Err(ProgramError::UnexpectedSection { offset: walk.number_offset, section: walk.number });
        }
        walk.input.end()?;
        Ok(sections)
    }
}

/// The instruction set that a version byte names.
fn isa(version: u8) -> Result<Isa, ProgramError> {
    match version {
        0 => Ok(Isa::ReviveV1),
        1 => Err(ProgramError::Isa32 { isa: "Latest32" }),
        2 => Ok(Isa::Latest64),
        3 => Ok(Isa::JamV1),
        version => Err(ProgramError::PolkaVmVersion { version }),
    }
}

/// A walk over sections: the next one's number is read already.
struct Walk<'a> {
    input: Cursor<'a>,
    number: u8,
    number_offset: usize,
}

impl<'a> Walk<'a> {
    /// Takes the next section if it has this number; else an empty one.
    fn section(&mut self, number: u8) -> Result<Cursor<'a>, ProgramError> {
        if self.number != number {
            return Ok(Cursor::new(&[], self.number_offset));
        }
        let len = self.input.varint()?;
        let contents = self.input.sub(u64::from(len))?;
        self.number_offset = self.input.offset();
        self.number = self.input.u8()?;
        Ok(contents)
    }
}

/// The memory plan and the top of the stack.
fn regions(sections: &Sections<'_>) -> Result<(Vec<Region>, u32), ProgramError> {
    let mut config = sections.memory.clone();
    let (mut ro, mut rw, mut stack) = (0, 0, 0);
    if config.left() > 0 {
        ro = config.varint()?;
        rw = config.varint()?;
        stack = config.varint()?;
        config.end()?;
    }
    let (ro_data, rw_data) = (&sections.ro_data, &sections.rw_data);
    for (kind, data, declared) in [(RegionKind::RoData, ro_data, ro), (RegionKind::RwData, rw_data, rw)] {
        if data.left() > declared as usize {
            return Err(ProgramError::DataTooLong {
                offset: data.offset(),
                kind,
                declared: u64::from(declared),
                found: data.left() as u64,
            });
        }
    }
    let map = MemoryMapBuilder::new(PAGE_SIZE)
        .ro_data_size(ro)
        .rw_data_size(rw)
        .stack_size(stack)
        .build()
        .map_err(|_| ProgramError::MemoryTooLarge {
            ro: u64::from(ro),
            rw: u64::from(rw),
            stack: u64::from(stack),
        })?;
    let mut regions = Vec::with_capacity(3);
    let mut push = |kind, start, size, data: &Cursor<'_>| {
        push_region(&mut regions, kind, start, size, data.clone().take_rest());
    };
    push(RegionKind::RoData, map.ro_data_address(), map.ro_data_size(), ro_data);
    push(RegionKind::RwData, map.rw_data_address(), map.rw_data_size(), rw_data);
    push(RegionKind::Stack, map.stack_address_low(), map.stack_size(), &Cursor::new(&[], 0));
    Ok((regions, map.stack_address_high()))
}

/// The imports that have a symbol: the linker fills holes between explicit numbers with empty ones.
fn imports(mut input: Cursor<'_>) -> Result<Vec<Import>, ProgramError> {
    if input.left() == 0 {
        return Ok(Vec::new());
    }
    let count = input.varint()?;
    if count > MAX_IMPORTS {
        return Err(ProgramError::TooManyImports { count });
    }
    let mut positions = input.sub(u64::from(count) * 4)?;
    let symbols = input.take_rest();
    let mut imports = Vec::with_capacity(count as usize);
    let mut next = if count > 0 { positions.u32()? } else { 0 };
    for number in 0..count {
        let (start, offset) = (next, positions.offset().saturating_sub(4));
        next = if number + 1 < count { positions.u32()? } else { symbols.len() as u32 };
        let symbol = symbols
            .get(start as usize..next as usize)
            .ok_or(ProgramError::ImportSymbol { offset, index: number })?;
        if !symbol.is_empty() {
            imports.push(Import { number, symbol: symbol.to_vec() });
        }
    }
    Ok(imports)
}

fn exports(mut input: Cursor<'_>) -> Result<Vec<Export>, ProgramError> {
    if input.left() == 0 {
        return Ok(Vec::new());
    }
    let count = input.varint()? as usize;
    // An export takes two bytes at least, so a lying count reserves nothing.
    let mut exports = Vec::with_capacity(count.min(input.left() / 2));
    for _ in 0..count {
        let pc = input.varint()?;
        let len = input.varint()?;
        exports.push(Export { name: input.take(u64::from(len))?.to_vec(), pc });
    }
    input.end()?;
    Ok(exports)
}

/// The code, and where its instructions went if it was transcoded.
fn code(mut input: Cursor<'_>, isa: Isa) -> Result<(Code, Option<PcMap>), ProgramError> {
    if input.left() == 0 {
        return Err(ProgramError::NoCode);
    }
    let entries = u64::from(input.varint()?);
    let size_offset = input.offset();
    let size = input.u8()?;
    if size > 4 {
        return Err(ProgramError::JumpTableEntrySize { offset: size_offset, size });
    }
    // The linker writes entries of no bytes where all of them are 0.
    let table = |bytes| JumpTable { entries, size, size_offset, bytes };
    let numbering = match isa {
        Isa::ReviveV1 => Numbering::V07,
        Isa::JamV1 => Numbering::V08,
        Isa::Latest64 => {
            let table = table(input.take(entries * u64::from(size))?);
            let offset = input.offset();
            let bytes = input.take_rest();
            let (code, moved) = latest::transcode(bytes, &table.read(bytes.len())?, offset)?;
            return Ok((code, Some(moved)));
        }
    };
    let len = u64::from(input.varint()?);
    let table = table(input.take(entries * u64::from(size))?);
    let offset = input.offset();
    let bytes = input.take(len)?;
    let mask_offset = input.offset();
    let bitmask = input.take(len.div_ceil(8))?;
    input.end()?;
    bare::check_padding(bytes, bitmask, mask_offset)?;
    Ok((bare::code(bytes, bitmask, table.read(bytes.len())?, numbering, offset)?, None))
}
