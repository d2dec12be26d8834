//! The engine for hosts that run one flat program and serve its imports: no capabilities, no endpoints, no
//! values. A blockchain runtime, a plug-in host.
//!
//! * [`VirtT`], [`MemoryT`] and the types in their signatures: all that a host needs to know. This part has no
//!   dependencies and needs no `std`, so that a guest has the same traits;
//! * [`Virt`], [`VirtMemory`]: the traits over the engine in this process (feature `native`, on by default);
//! * [`Nested`], [`wire`]: programs that run programs by host calls, and what those are;
//! * [`VirtModule`], [`VirtConfig`]: programs compiled once and shared; what an embedder limits;
//! * `substrate` (a feature): the backend of a Substrate node's virtualization host functions;
//! * [`Flat`]: a program laid out on the engine, for hosts that want [`javm_exec::Instance`] itself.
//!
//! ```
//! use javm_virt::{ExecAction, ExecOutcome, Virt, VirtT};
//!
//! fn serve(program: &[u8]) -> Result<i64, Box<dyn std::error::Error>> {
//!     let mut virt = Virt::instantiate(program)?;
//!     let mut outcome = virt.run(1_000_000, ExecAction::Execute { function: b"main" })?;
//!     while let ExecOutcome::Syscall { gas_left, a0, a1, .. } = outcome {
//!         outcome = virt.run(gas_left, ExecAction::Resume { return_value: a0.wrapping_add(a1) })?;
//!     }
//!     let ExecOutcome::Finished { gas_left } = outcome else { unreachable!() };
//!     Ok(gas_left)
//! }
//! ```
//!
//! The invariant: whatever a program does, and whatever bytes it is, its host gets an outcome or an error, and
//! no instance sees anything of another. Source: `virtualization.md` of the specification.
#![no_std]
#![forbid(unsafe_code)]

#[cfg(feature = "native")]
extern crate std;

mod api;
#[cfg(feature = "native")]
mod config;
#[cfg(feature = "native")]
mod flat;
#[cfg(feature = "native")]
mod machine;
#[cfg(feature = "native")]
mod module;
#[cfg(feature = "native")]
mod nested;
#[cfg(feature = "substrate")]
pub mod substrate;
#[cfg(feature = "native")]
mod virt;
pub mod wire;

pub use api::{
    ExecAction, ExecError, ExecOutcome, InstantiateError, MAX_SYMBOL_LEN, MemoryError, MemoryT,
    SyscallSymbol, VirtT,
};
#[cfg(feature = "native")]
pub use config::VirtConfig;
#[cfg(feature = "native")]
pub use flat::{Flat, map_region};
#[cfg(feature = "native")]
pub use module::{ModuleError, VirtModule};
#[cfg(feature = "native")]
pub use nested::Nested;
#[cfg(feature = "native")]
pub use virt::{Virt, VirtMemory};

/// The examples of this page are doc tests.
#[cfg(all(doctest, feature = "native"))]
#[doc = include_str!("../../../docs/virtualization.md")]
pub struct Page;
