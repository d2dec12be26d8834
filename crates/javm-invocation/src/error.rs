//! Why an invocation cannot be made, or not be asked that.

use javm_exec::MapError;
use javm_program::ProgramError;

/// Why an invocation cannot be made of a manifest.
#[derive(Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum InvocationError {
    /// The blob is no manifest, or its code is not valid.
    #[error(transparent)]
    Program(#[from] ProgramError),
    /// More entries of code than there may be.
    #[error("{count} entries of code; there may be 5")]
    TooManyCodes {
        /// How many.
        count: usize,
    },
    /// The pages of the data entries are more than the manifest's memory has.
    #[error("slot {slot}: {pages} pages more than the {left} of {total} that are left")]
    NoPages {
        /// Slot of the entry.
        slot: u8,
        /// Pages that it asks for.
        pages: u32,
        /// Pages that were left.
        left: u32,
        /// Pages of memory.
        total: u32,
    },
    /// A data entry has more bytes than pages.
    #[error("slot {slot}: {bytes} bytes do not fit {pages} pages")]
    ContentsTooLong {
        /// Slot of the entry.
        slot: u8,
        /// Bytes of contents.
        bytes: usize,
        /// Pages that it asks for.
        pages: u32,
    },
    /// The pages of a data entry cannot be mapped where it says.
    #[error("slot {slot}: {source}")]
    Mapping {
        /// Slot of the entry.
        slot: u8,
        /// Why not.
        source: MapError,
    },
    /// The arguments do not fit the capability that they go to.
    #[error("{bytes} bytes of arguments do not fit the {pages} pages of slot 0")]
    ArgumentsTooLong {
        /// Bytes of arguments.
        bytes: usize,
        /// Pages that there are.
        pages: u32,
    },
    /// The gas does not pay for the pages of the data entries.
    #[error("the pages of data cost {price} gas; there is {gas}")]
    OutOfGas {
        /// What they cost.
        price: u64,
        /// What there is.
        gas: u64,
    },
}

/// There is no protocol call to answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no protocol call waits for an answer")]
pub struct NoProtocolCall;

/// Why bytes of a VM or of a capability cannot be read or written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AccessError {
    /// There is no such VM.
    #[error("there is no VM {index}")]
    NoVm {
        /// Its place.
        index: u16,
    },
    /// The slot holds no DATA.
    #[error("slot {slot} of VM {index} holds no DATA")]
    NoData {
        /// Place of the VM.
        index: u16,
        /// The slot.
        slot: u8,
    },
    /// The bytes do not lie inside the capability.
    #[error("{len} bytes from {offset} leave the {size} bytes of the capability")]
    OutOfBounds {
        /// First byte.
        offset: u64,
        /// How many.
        len: usize,
        /// Bytes of the capability.
        size: u64,
    },
    /// The VM could not have done the access.
    #[error("{0}")]
    Fault(javm_exec::Fault),
}
