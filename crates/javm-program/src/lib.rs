//! Program files in, one [`Program`] out.
//!
//! * [`program`]: what every reader yields, and [`Program::load`], which tells the formats apart;
//! * [`polkavm`]: PolkaVM containers (`ReviveV1`, `JamV1`, `Latest64`);
//! * [`bare`]: the Gray Paper's bare program blob, read and written;
//! * [`service`]: JAM service programs (the Gray Paper's standard program);
//! * [`manifest`]: the program blobs of the capability microkernel, read and written;
//! * [`pack`]: programs made blobs of the microkernel;
//! * `elf` (a feature, on by default): ELF files, through PolkaVM's linker;
//! * [`debug`]: function names and source lines by code offset;
//! * [`endpoint`]: which endpoint index an export has;
//! * [`relayout`]: code laid out anew when instructions change length.
//!
//! The invariant: a reader takes *any* bytes and gives a program or a [`ProgramError`] that says where; it
//! never panics, takes time linear in its input and memory of a small multiple of it, whatever lengths and
//! sizes the input claims. Code is always checked and in the canonical numbering. The one exception is
//! `elf`, which runs somebody else's linker and only when asked by name.
//!
//! Memory is described, not allocated: see [`Region`]. Running is `javm-exec`'s, images are `javm-cap`'s.
#![forbid(unsafe_code)]

pub mod bare;
mod cursor;
pub mod debug;
#[cfg(feature = "elf")]
pub mod elf;
pub mod endpoint;
mod error;
pub mod manifest;
pub mod pack;
pub mod polkavm;
pub mod program;
mod region;
pub mod relayout;
pub mod service;

pub use debug::SourceFrame;
pub use endpoint::{EndpointError, endpoint_index};
pub use error::ProgramError;
pub use manifest::{Manifest, ManifestCap, ManifestKind, ManifestWriteError};
pub use program::{Export, Format, Import, Isa, LoadAs, Program};
pub use region::{Access, PAGE_SIZE, Region, RegionKind};

/// Where a program returns to its host: a dynamic jump to this address halts (`pvm.md` section 1).
pub const HALT_ADDRESS: u32 = 0xFFFF_0000;
