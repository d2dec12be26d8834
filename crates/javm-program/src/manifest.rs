//! The program blobs of the capability microkernel (`JAR\x02`): a list of capabilities to start with.
//!
//! [`Manifest::read`] checks the list and where its data lies; it borrows the data, so that entries that
//! share bytes cost nothing. [`ManifestCap::code`] checks the code of an entry when it is asked for. What
//! the capabilities mean is the microkernel's business. Source: `capability-kernel.md` Part A2.

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
    /// Offset of `contents` in the file.
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
        let mut entries = input.sub(u64::from(count) * 19)?;
        let section = input.offset();
        let data = input.take_rest();
        let caps = (0..count).map(|_| read_cap(&mut entries, data, section)).collect::<Result<_, _>>()?;
        Ok(Self { memory_pages, invoke_slot, caps })
    }

    /// The code that starts.
    ///
    /// # Errors
    /// [`ProgramError::ManifestField`] when its slot holds no code, else what is wrong with the code.
    pub fn invoked_code(&self) -> Result<Code, ProgramError> {
        match self.caps.iter().rev().find(|c| c.slot == self.invoke_slot) {
            Some(cap) if cap.kind == ManifestKind::Code => cap.code(),
            _ => Err(ProgramError::ManifestField {
                offset: 9,
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

impl ManifestCap<'_> {
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
        bare::code(code, bitmask, &table, Numbering::Manifest, code_offset)
    }
}
