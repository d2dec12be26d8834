//! The chain kernel: the embedder that makes the capability machine a state machine.
//!
//! It is stateless between blocks; everything that lasts is [`State`], called σ: one capability value, under
//! which all application state hangs, and a small table of files beside it.
//!
//! * [`state`]: σ, its canonical encoding, its root;
//! * [`genesis`]: the first σ of a chain, with the kernel's resources in the chain instance's slots;
//! * [`assist`]: [`SigmaKernelAssist`], the machine's view of σ: meters and quotas of the block at hand, files.
//!
//! Values live in the caller's [`CacheDirectory`](javm_cap::CacheDirectory), which may be backed by a store;
//! this crate knows no database.
//! Source: the chain kernel, sections 1 and 2.
#![forbid(unsafe_code)]

pub mod assist;
pub mod genesis;
pub mod state;

pub use assist::SigmaKernelAssist;
pub use genesis::{Genesis, GenesisError, KernelSlots};
pub use state::{FileEntry, State, StateError};
