//! [`ProgramError`]: why bytes are no program.
//!
//! Every `offset` counts bytes from the start of the file; a `pc` counts bytes of code as the file has it.

use javm_isa::{CodeError, NumberingError};

use crate::region::RegionKind;

/// Why bytes are no program that can be run here.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ProgramError {
    /// The bytes fit no format that is known.
    #[error(
        "this is no program: neither a PolkaVM container, ELF file, capability manifest, bare blob nor JAM service program"
    )]
    UnknownFormat,
    /// Something is longer than what is left.
    #[error("offset {offset}: {needed} bytes are needed, {found} are left")]
    Truncated {
        /// Where it starts.
        offset: usize,
        /// Bytes that it should have.
        needed: u64,
        /// Bytes that are left.
        found: u64,
    },
    /// There are bytes that belong to nothing.
    #[error("offset {offset}: the file goes on behind the program's end")]
    TrailingBytes {
        /// The first of them.
        offset: usize,
    },
    /// A number is written in more bytes than it needs.
    #[error("offset {offset}: a number is not in its shortest form")]
    NonCanonicalNumber {
        /// Where the number starts.
        offset: usize,
    },
    /// A number has more than 32 bits.
    #[error("offset {offset}: the number {value} is too large")]
    NumberTooLarge {
        /// Where the number starts.
        offset: usize,
        /// The number.
        value: u64,
    },
    /// A bit of the instruction bitmask behind the code's end is set.
    #[error("offset {offset}: the bitmask's padding is not zero")]
    BitmaskPadding {
        /// Where the bitmask's last byte is.
        offset: usize,
    },
    /// Jump-table entries have a size that the format does not know, or none.
    #[error("offset {offset}: jump-table entries of {size} bytes")]
    JumpTableEntrySize {
        /// Where the size is.
        offset: usize,
        /// The size in bytes.
        size: u8,
    },
    /// The code itself is not valid.
    #[error("the code at offset {offset}: {source}")]
    Code {
        /// Where the code starts in the file.
        offset: usize,
        /// What is wrong with it.
        source: CodeError,
    },
    /// The program uses an instruction that its numbering has and the canonical one lacks.
    #[error(transparent)]
    Numbering(#[from] NumberingError),
    /// The program uses an instruction of `Latest64` that has no canonical form.
    #[error("code offset {pc}: `{name}` is not supported; link the program for JamV1")]
    UnsupportedInstruction {
        /// Code offset.
        pc: u32,
        /// The instruction's name.
        name: &'static str,
    },
    /// A block of `Latest64` code does not end as it must: with a block terminator that fits into it.
    #[error(
        "code offset {pc}: the last instruction of a 1024-byte block must fit into it and end a basic block"
    )]
    OpenMacroBlock {
        /// Code offset of the instruction.
        pc: u32,
    },
    /// A 32-bit PolkaVM program.
    #[error("this is a 32-bit program ({isa}); only 64-bit programs run here, link it for JamV1")]
    Isa32 {
        /// PolkaVM's name of the instruction set.
        isa: &'static str,
    },
    /// A PolkaVM container of an instruction set that is not known.
    #[error("PolkaVM container version {version} is not known")]
    PolkaVmVersion {
        /// The version byte.
        version: u8,
    },
    /// A PolkaVM container says another length than it has.
    #[error("the container says that it has {declared} bytes and has {found}")]
    BlobLength {
        /// Length that it says.
        declared: u64,
        /// Length that it has.
        found: u64,
    },
    /// A section that may not be here.
    #[error("offset {offset}: unexpected section {section}")]
    UnexpectedSection {
        /// Where the section starts.
        offset: usize,
        /// Its number.
        section: u8,
    },
    /// There is no code.
    #[error("the program has no code")]
    NoCode,
    /// More imports than a container can have.
    #[error("{count} imports, more than {max}", max = crate::polkavm::MAX_IMPORTS)]
    TooManyImports {
        /// How many.
        count: u32,
    },
    /// The symbol of an import is not within the symbols.
    #[error("offset {offset}: the symbol of import {index} lies outside the symbols")]
    ImportSymbol {
        /// Where the symbol's position is.
        offset: usize,
        /// The import's number.
        index: u32,
    },
    /// An export is not at the start of an instruction.
    #[error("export {index} is at code offset {pc}, where no instruction starts")]
    ExportTarget {
        /// Position in the export list, from 0.
        index: usize,
        /// Code offset.
        pc: u32,
    },
    /// Data is longer than the region it is for.
    #[error("offset {offset}: {found} bytes of {kind} for {declared} bytes of memory")]
    DataTooLong {
        /// Where the data starts.
        offset: usize,
        /// What it is.
        kind: RegionKind,
        /// Bytes that the region has.
        declared: u64,
        /// Bytes of data.
        found: u64,
    },
    /// The memory that the program asks for does not fit into 4 GiB.
    #[error(
        "{ro} bytes of read-only data, {rw} of read-write data and {stack} of stack exceed the address space"
    )]
    MemoryTooLarge {
        /// Bytes of read-only data.
        ro: u64,
        /// Bytes of read-write data, heap included.
        rw: u64,
        /// Bytes of stack.
        stack: u64,
    },
    /// The program is of a format whose runs take no arguments.
    #[error("only a JAM service program takes argument bytes")]
    NoArguments,
    /// More argument bytes than a service program can take.
    #[error("{len} bytes of arguments, more than {max}", max = crate::service::MAX_ARGS)]
    ArgumentsTooLong {
        /// How many.
        len: usize,
    },
    /// Not the start of the format that was asked for.
    #[error("the file does not start as a {expected} does")]
    WrongMagic {
        /// What was asked for.
        expected: &'static str,
    },
    /// A field of a capability manifest has a value that it cannot have.
    #[error("offset {offset}: {field} cannot be {value}")]
    ManifestField {
        /// Where the field is.
        offset: usize,
        /// Its name.
        field: &'static str,
        /// Its value.
        value: u32,
    },
    /// An ELF file that PolkaVM's linker refuses.
    #[cfg(feature = "elf")]
    #[error(transparent)]
    Link(#[from] crate::elf::LinkError),
    /// An ELF file: it must be linked first.
    #[error("this is an ELF file, which must be linked for PolkaVM first")]
    NotLinked,
}
