//! The program blobs of the capability microkernel (`JAR\x02`): a list of capabilities to start with.
//!
//! [`Manifest::read`] checks the list and where its data lies; it borrows the data, so that entries that
//! share bytes cost nothing. [`ManifestCap::code`] checks the code of an entry when it is asked for.
//! [`Manifest::to_bytes`] and [`to_code_blob`] are the way back. What the capabilities mean is the
//! microkernel's business. Source: `capability-kernel.md` Part A2.

use javm_isa::{Code, Numbering};

use crate::{
    bare::{self, JumpTable},
    cursor::Cursor,
    error::ProgramError,
    program::{Format, Program},
    region::Access,
};

/// What a manifest starts with.
pub const MAGIC: [u8; 4] = *b"JAR\x02";

/// The most entries of a manifest.
pub const MAX_CAPS: usize = u8::MAX as usize;

/// Bytes of an entry.
const ENTRY_LEN: usize = 19;

/// Bytes in front of the entries.
const HEADER_LEN: usize = 10;

/// Why a manifest cannot be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ManifestWriteError {
    /// More entries than a manifest can have.
    #[error("{count} capabilities, more than {MAX_CAPS}")]
    TooManyCaps {
        /// How many.
        count: usize,
    },
    /// The data section would exceed 4 GiB.
    #[error("entry {index} (slot {slot}): its {len} bytes do not fit behind {before} others into 4 GiB")]
    DataTooLong {
        /// Position of the entry, from 0.
        index: usize,
        /// Its slot.
        slot: u8,
        /// Bytes that it starts with.
        len: usize,
        /// Bytes of the entries before it.
        before: usize,
    },
}

/// Whether a capability is code or data.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ManifestKind {
    /// Code: base page, page count and access mean nothing.
    Code,
    /// Data pages.
    Data,
}

/// One entry of a manifest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ManifestCap<'a> {
    /// Slot in the first VM's capability table. Of two entries for one slot the later counts.
    pub slot: u8,
    /// What it is.
    pub kind: ManifestKind,
    /// Page where data is mapped; any number.
    pub base_page: u32,
    /// Pages of data; any number.
    pub page_count: u32,
    /// How data is mapped.
    pub access: Access,
    /// Offset of `contents` in the file that the entry was read from. Errors in the code are reported from
    /// there; writing does not look at it.
    pub offset: usize,
    /// What data starts with; the code blob of code.
    pub contents: &'a [u8],
}

/// A manifest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manifest<'a> {
    /// Pages of memory that the invocation has.
    pub memory_pages: u32,
    /// Slot of the code that starts.
    pub invoke_slot: u8,
    /// The entries, in the file's order, at most 255.
    pub caps: Vec<ManifestCap<'a>>,
}

impl<'a> Manifest<'a> {
    /// Reads a manifest.
    ///
    /// # Errors
    /// [`ProgramError`] with the offset.
    pub fn read(bytes: &'a [u8]) -> Result<Self, ProgramError> {
        let mut input = Cursor::new(bytes, 0);
        if !bytes.starts_with(&MAGIC) {
            return Err(ProgramError::WrongMagic { expected: "capability manifest" });
        }
        input.take(MAGIC.len() as u64)?;
        let memory_pages = input.u32()?;
        let count = input.u8()?;
        let invoke_slot = input.u8()?;
        let mut entries = input.sub(u64::from(count) * ENTRY_LEN as u64)?;
        let section = input.offset();
        let data = input.take_rest();
        let caps = (0..count).map(|_| read_cap(&mut entries, data, section)).collect::<Result<_, _>>()?;
        Ok(Self { memory_pages, invoke_slot, caps })
    }

    /// Writes the manifest; reading it gives the same capabilities with the same contents. Contents lie in the
    /// entries' order, those that are equal only once.
    ///
    /// # Errors
    /// [`ManifestWriteError`] when there are too many entries or bytes.
    pub fn to_bytes(&self) -> Result<Vec<u8>, ManifestWriteError> {
        let count = u8::try_from(self.caps.len())
            .map_err(|_| ManifestWriteError::TooManyCaps { count: self.caps.len() })?;
        let starts = self.starts()?;
        let section = HEADER_LEN + self.caps.len() * ENTRY_LEN;
        let mut bytes = Vec::with_capacity(section);
        bytes.extend_from_slice(&MAGIC);
        bytes.extend_from_slice(&self.memory_pages.to_le_bytes());
        bytes.extend_from_slice(&[count, self.invoke_slot]);
        for (cap, start) in self.caps.iter().zip(&starts) {
            bytes.extend_from_slice(&[cap.slot, u8::from(cap.kind == ManifestKind::Data)]);
            bytes.extend_from_slice(&cap.base_page.to_le_bytes());
            bytes.extend_from_slice(&cap.page_count.to_le_bytes());
            bytes.push(u8::from(cap.access == Access::ReadWrite));
            bytes.extend_from_slice(&start.to_le_bytes());
            bytes.extend_from_slice(&(cap.contents.len() as u32).to_le_bytes());
        }
        for (cap, start) in self.caps.iter().zip(&starts) {
            // What was written for an earlier entry starts before the end.
            if section + *start as usize == bytes.len() {
                bytes.extend_from_slice(cap.contents);
            }
        }
        Ok(bytes)
    }

    /// Where in the data section the contents of each entry will start.
    fn starts(&self) -> Result<Vec<u32>, ManifestWriteError> {
        let mut starts = Vec::with_capacity(self.caps.len());
        let mut before = 0;
        for (index, cap) in self.caps.iter().enumerate() {
            let (slot, len) = (cap.slot, cap.contents.len());
            let same = self.caps[..index].iter().position(|c| c.contents == cap.contents);
            starts.push(match same {
                _ if len == 0 => 0,
                Some(same) => starts[same],
                None => {
                    let too_long = ManifestWriteError::DataTooLong { index, slot, len, before };
                    let start = u32::try_from(before).map_err(|_| too_long)?;
                    before += len;
                    u32::try_from(before).map_err(|_| too_long)?;
                    start
                }
            });
        }
        Ok(starts)
    }

    /// The code that starts.
    ///
    /// # Errors
    /// [`ProgramError::ManifestField`] when its slot holds no code, else what is wrong with the code.
    pub fn invoked_code(&self) -> Result<Code, ProgramError> {
        match self.caps.iter().rev().find(|c| c.slot == self.invoke_slot) {
            Some(cap) if cap.kind == ManifestKind::Code => cap.code(),
            _ => Err(ProgramError::ManifestField {
                offset: HEADER_LEN - 1,
                field: "invoke_cap",
                value: u32::from(self.invoke_slot),
            }),
        }
    }

    /// The code that starts, as a program without memory: laying that out is the microkernel's.
    ///
    /// # Errors
    /// As [`Self::invoked_code`].
    pub fn into_program(self) -> Result<Program, ProgramError> {
        Ok(Program::bare(self.invoked_code()?, Format::Manifest))
    }
}

fn read_cap<'a>(
    entries: &mut Cursor<'_>,
    data: &'a [u8],
    section: usize,
) -> Result<ManifestCap<'a>, ProgramError> {
    let slot = entries.u8()?;
    let kind = match flag(entries, "cap_type")? {
        false => ManifestKind::Code,
        true => ManifestKind::Data,
    };
    let base_page = entries.u32()?;
    let page_count = entries.u32()?;
    let access = match flag(entries, "init_access")? {
        false => Access::ReadOnly,
        true => Access::ReadWrite,
    };
    let (start, len) = (entries.u32()?, entries.u32()?);
    let offset = section + start as usize;
    let mut contents = Cursor::new(data, section);
    contents.take(u64::from(start))?;
    let contents = contents.take(u64::from(len))?;
    Ok(ManifestCap { slot, kind, base_page, page_count, access, offset, contents })
}

/// A byte that is 0 or 1.
fn flag(input: &mut Cursor<'_>, field: &'static str) -> Result<bool, ProgramError> {
    let offset = input.offset();
    match input.u8()? {
        0 => Ok(false),
        1 => Ok(true),
        value => Err(ProgramError::ManifestField { offset, field, value: u32::from(value) }),
    }
}

/// Writes code as the code blob of a manifest, in its numbering, jump-table entries as short as they can be.
/// [`ManifestCap::code`] gives the same code.
#[must_use]
pub fn to_code_blob(code: &Code) -> Vec<u8> {
    let table = code.jump_table();
    let bitmask = code.packed_bitmask();
    let size = table.iter().max().map_or(1, |max| (32 - max.leading_zeros()).div_ceil(8).max(1)) as usize;
    let mut blob = Vec::with_capacity(9 + table.len() * size + code.bytes().len() + bitmask.len());
    blob.extend_from_slice(&(table.len() as u32).to_le_bytes());
    blob.push(size as u8);
    blob.extend_from_slice(&code.len().to_le_bytes());
    for target in table {
        blob.extend_from_slice(&target.to_le_bytes()[..size]);
    }
    let start = blob.len();
    blob.extend_from_slice(code.bytes());
    // The numbering of manifests has every instruction, and checked code has nothing else.
    let restored = Numbering::Manifest.restore(&mut blob[start..], &bitmask);
    debug_assert_eq!(restored, Ok(()));
    blob.extend_from_slice(&bitmask);
    blob
}

impl<'a> ManifestCap<'a> {
    /// An entry for code, `contents` from [`to_code_blob`].
    #[must_use]
    pub const fn new_code(slot: u8, contents: &'a [u8]) -> Self {
        let (kind, access) = (ManifestKind::Code, Access::ReadOnly);
        Self { slot, kind, base_page: 0, page_count: 0, access, offset: 0, contents }
    }

    /// An entry for data: `page_count` pages from page `base_page` on, that start with `contents`.
    #[must_use]
    pub const fn new_data(
        slot: u8,
        base_page: u32,
        page_count: u32,
        access: Access,
        contents: &'a [u8],
    ) -> Self {
        Self { slot, kind: ManifestKind::Data, base_page, page_count, access, offset: 0, contents }
    }

    /// Checks `contents` as a code blob: takes time and memory linear in it.
    ///
    /// # Errors
    /// [`ProgramError`] with the offset.
    pub fn code(&self) -> Result<Code, ProgramError> {
        let mut input = Cursor::new(self.contents, self.offset);
        let entries = u64::from(input.u32()?);
        let size_offset = input.offset();
        let size = input.u8()?;
        if !(1..=4).contains(&size) {
            return Err(ProgramError::JumpTableEntrySize { offset: size_offset, size });
        }
        let len = input.u32()?;
        let bytes = input.take(entries * u64::from(size))?;
        let code_offset = input.offset();
        let code = input.take(u64::from(len))?;
        let bitmask = input.take(u64::from(len).div_ceil(8))?;
        let table = JumpTable { entries, size, size_offset, bytes }.read(code.len())?;
        bare::code(code, bitmask, table, Numbering::Manifest, code_offset)
    }
}
