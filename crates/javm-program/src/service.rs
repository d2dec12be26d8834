//! JAM service programs: the Gray Paper's standard program and the memory it starts with.
//!
//! ```text
//! [E(|meta|) . meta] . E3(|o|) . E3(|w|) . E2(z) . E3(s) . o . w . E4(|c|) . c
//! ```
//! with `c` a bare blob. Metadata stands in front of the code blobs of services on chain and is missing
//! elsewhere; nothing marks it, so [`Metadata::Detect`] takes the bytes as they are if their lengths add up
//! exactly, and only else as metadata and a program. Source: `pvm.md` section 9.

use javm_isa::{Numbering, Reg};

use crate::{
    bare,
    cursor::Cursor,
    error::ProgramError,
    program::{Export, Format, Program, stack_registers},
    region::{PAGE_SIZE, Region, RegionKind, push_region},
};

/// The most bytes of arguments: 16 MiB.
pub const MAX_ARGS: usize = 1 << 24;

/// Where the arguments are.
pub const ARGS_ADDRESS: u32 = 0xFEFF_0000;

/// Where the stack ends.
pub const STACK_TOP: u32 = 0xFEFE_0000;

/// Where `is-authorized` and `refine` start.
pub const REFINE_PC: u32 = 0;

/// Where `accumulate` starts.
pub const ACCUMULATE_PC: u32 = 5;

/// Zones keep regions apart.
const ZONE: u64 = 1 << 16;

/// Whether metadata stands in front of a program.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Metadata {
    /// It does not.
    Absent,
    /// It does.
    Present,
    /// It does if the bytes are no program without.
    Detect,
}

struct Layout<'a> {
    metadata: &'a [u8],
    ro: &'a [u8],
    rw: &'a [u8],
    heap_pages: u64,
    stack: u64,
    code: Cursor<'a>,
}

/// Splits a program; what its code contains is not looked at.
fn split(mut input: Cursor<'_>, with_metadata: bool) -> Result<Layout<'_>, ProgramError> {
    let mut metadata: &[u8] = &[];
    if with_metadata {
        let len = input.natural()?;
        metadata = input.take(len)?;
    }
    let ro = input.le(3)?;
    let rw = input.le(3)?;
    let heap_pages = input.le(2)?;
    let stack = input.le(3)?;
    let ro = input.take(ro)?;
    let rw = input.take(rw)?;
    let code = input.le(4)?;
    let code = input.sub(code)?;
    input.end()?;
    Ok(Layout { metadata, ro, rw, heap_pages, stack, code })
}

fn detect(bytes: &[u8], metadata: Metadata) -> Result<Layout<'_>, ProgramError> {
    let input = Cursor::new(bytes, 0);
    match metadata {
        Metadata::Absent => split(input, false),
        Metadata::Present => split(input, true),
        Metadata::Detect => {
            let without = split(input.clone(), false);
            if without.is_ok() { without } else { split(input, true).or(without) }
        }
    }
}

/// Whether the bytes have exactly the structure of a service program, with metadata or without; the code in
/// it may still be invalid.
#[must_use]
pub fn has_structure(bytes: &[u8]) -> bool {
    detect(bytes, Metadata::Detect).is_ok()
}

/// Reads a service program.
///
/// # Errors
/// [`ProgramError`] with the offset.
pub fn read(bytes: &[u8], numbering: Numbering, metadata: Metadata) -> Result<Program, ProgramError> {
    let layout = detect(bytes, metadata)?;
    let regions = layout.regions()?;
    let code = bare::split(layout.code)?.code(numbering)?;
    let mut exports = vec![Export { name: b"refine".to_vec(), pc: REFINE_PC }];
    if code.is_instruction_start(u64::from(ACCUMULATE_PC)) {
        exports.push(Export { name: b"accumulate".to_vec(), pc: ACCUMULATE_PC });
    }
    let mut program = Program::bare(code, Format::JamService { numbering });
    program.regions = regions;
    program.exports = exports;
    program.registers = stack_registers(STACK_TOP);
    program.registers[Reg::A0 as usize] = u64::from(ARGS_ADDRESS);
    program.metadata = layout.metadata.to_vec();
    Ok(program)
}

impl Layout<'_> {
    /// The memory plan, if it fits into the address space together with the largest arguments.
    fn regions(&self) -> Result<Vec<Region>, ProgramError> {
        let zones = |size: u64| size.next_multiple_of(ZONE);
        let pages = |size: u64| size.next_multiple_of(u64::from(PAGE_SIZE));
        let (ro, rw) = (self.ro.len() as u64, self.rw.len() as u64);
        let heap = self.heap_pages * u64::from(PAGE_SIZE);
        if 5 * ZONE + zones(ro) + zones(rw + heap) + zones(self.stack) + MAX_ARGS as u64 > 1 << 32 {
            return Err(ProgramError::MemoryTooLarge { ro, rw: rw + heap, stack: self.stack });
        }
        // All sums below are smaller than the one that was checked.
        let rw_start = 2 * ZONE + zones(ro);
        let stack_start = u64::from(STACK_TOP) - pages(self.stack);
        let mut regions = Vec::with_capacity(4);
        let mut push = |kind, start: u64, size: u64, contents: &[u8]| {
            push_region(&mut regions, kind, start as u32, size as u32, contents);
        };
        push(RegionKind::RoData, ZONE, pages(ro), self.ro);
        push(RegionKind::RwData, rw_start, pages(rw), self.rw);
        push(RegionKind::Heap, rw_start + pages(rw), heap, &[]);
        push(RegionKind::Stack, stack_start, pages(self.stack), &[]);
        Ok(regions)
    }
}

/// The region of a run's arguments; none for no bytes.
pub(crate) fn args_region(args: &[u8]) -> Result<Option<Region>, ProgramError> {
    if args.len() > MAX_ARGS {
        return Err(ProgramError::ArgumentsTooLong { len: args.len() });
    }
    let size = (args.len() as u32).next_multiple_of(PAGE_SIZE);
    let mut regions = Vec::new();
    push_region(&mut regions, RegionKind::Args, ARGS_ADDRESS, size, args);
    Ok(regions.pop())
}
