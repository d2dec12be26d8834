//! [`Region`]: a stretch of memory that a program expects to find.
//!
//! A plan, not memory: `size` is a number from a file that may be as large as the address space, and only
//! `contents`, which the file really holds, takes room.

/// Bytes in a page.
pub const PAGE_SIZE: u32 = 4096;

/// What a region is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum RegionKind {
    /// Constants.
    RoData,
    /// Variables, zero-initialised ones included.
    RwData,
    /// Zeroed memory that the program manages itself, next to the variables.
    Heap,
    /// The stack.
    Stack,
    /// The arguments of a run.
    Args,
}

impl core::fmt::Display for RegionKind {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.pad(match self {
            Self::RoData => "read-only data",
            Self::RwData => "read-write data",
            Self::Heap => "heap",
            Self::Stack => "stack",
            Self::Args => "arguments",
        })
    }
}

/// What a program may do to a region.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Access {
    /// Read it.
    ReadOnly,
    /// Read and write it.
    ReadWrite,
}

/// A stretch of memory that a program expects to find.
///
/// Regions of one program are disjoint, below 4 GiB, and in ascending order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Region {
    /// What it is for.
    pub kind: RegionKind,
    /// Address of its first byte, a multiple of [`PAGE_SIZE`].
    pub start: u32,
    /// Its size in bytes, a multiple of [`PAGE_SIZE`], not 0.
    pub size: u32,
    /// What the program may do to it.
    pub access: Access,
    /// What it starts with; zeros follow up to `size`.
    pub contents: Vec<u8>,
}

impl Region {
    /// The address behind it, at most 2^32.
    #[must_use]
    pub const fn end(&self) -> u64 {
        self.start as u64 + self.size as u64
    }
}

/// Adds a region to a plan unless it is empty.
pub(crate) fn push_region(
    regions: &mut Vec<Region>,
    kind: RegionKind,
    start: u32,
    size: u32,
    contents: &[u8],
) {
    let access = if matches!(kind, RegionKind::RoData | RegionKind::Args) {
        Access::ReadOnly
    } else {
        Access::ReadWrite
    };
    if size > 0 {
        regions.push(Region { kind, start, size, access, contents: contents.to_vec() });
    }
}
