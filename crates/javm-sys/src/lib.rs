//! What machine code needs from the operating system and the processor. All unsafe code is here.
//!
//! * [`Window`]: the 4 GiB of addresses that a guest sees, with the rights of each page;
//! * [`SharedWindow`], [`Backing`]: the same where several windows show the same pages;
//! * [`Words`]: a table of zeros that takes memory where it is written; [`zeros`];
//! * [`Draft`], [`CodeMemory`]: memory that is first written, then run, and never both at once;
//! * [`Session`], [`enter`]: the way into emitted code and back;
//! * [`frame`]: what emitted code finds on the stack;
//! * [`check_support`]: whether this machine can do all that. Elsewhere the types exist but have no values.
//!
//! Nothing here knows PVM code. The contract with the emitter, which [`Draft::publish`] and [`enter`] ask
//! for, is this. Emitted code
//!
//! * is entered by [`enter`] only, at an offset that was meant for it, and is left by jumping to the address
//!   in the frame's `exit` slot only;
//! * keeps the stack pointer, but for one `call` whose return address it pops before leaving;
//! * reads and writes memory in three ways only: slots of the [`frame`]; the table that `enter` was given,
//!   within its length; and the window, through the GS base with 32-bit addressing, at most 32 bytes at once
//!   (so that the guard area behind the window catches what runs over its end);
//! * jumps to offsets inside itself, to other pieces of code that keep this contract and live as long as it
//!   may run, or to addresses out of the table.
//!
//! A fault of such code, and of nothing else, is turned into an exit; see `os/linux_x86_64/trap.rs`.

mod budget;
pub mod frame;
mod os;
mod runs;
mod shared;
mod view;
mod window;
mod words;

use std::sync::atomic::AtomicU64;

pub use budget::{Budget, MAPPINGS};
pub use os::{CodeMemory, Draft, Session, check_support, enter};
pub use shared::{Backing, SharedWindow};
pub use view::View;
pub use window::{Rights, Run, Short, Window};
pub use words::{WORDS, Words, zeros};

/// Size of a page in bytes.
pub const PAGE_SIZE: usize = 4096;

/// How many pages a window has.
pub const PAGE_COUNT: u32 = 1 << 20;

/// Why emitted code cannot run here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Unsupported {
    /// The operating system or the processor's architecture is not one that there is code for.
    Platform,
    /// The processor lacks an instruction set extension.
    Processor {
        /// Its name.
        missing: &'static str,
    },
    /// The kernel does not let programs set the GS base.
    GsBase,
    /// Address space for code, or the signal handler, could not be had.
    System,
}

impl core::fmt::Display for Unsupported {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Platform => f.write_str("machine code is emitted for Linux on x86-64 only"),
            Self::Processor { missing } => write!(f, "the processor lacks {missing}"),
            Self::GsBase => f.write_str("the kernel does not let programs set the GS base"),
            Self::System => f.write_str("the system gave no address space or refused the signal handler"),
        }
    }
}

impl core::error::Error for Unsupported {}

/// What emitted code is entered with and left with.
#[derive(Debug)]
pub struct Machine<'a> {
    /// The 13 registers.
    pub gpr: &'a mut [u64; 13],
    /// The gas counter.
    pub gas: &'a mut u64,
    /// Addresses that the code jumps to through memory. Threads may replace them while others run.
    pub table: &'a [AtomicU64],
}

/// How emitted code came back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exit {
    /// What the code stored in the frame's `kind` slot; [`frame::KIND_FAULT`] after a fault.
    pub kind: u32,
    /// The scratch register at the exit; after a fault the offset of the faulting instruction in the code.
    pub argument: u64,
}
