//! The capability machine: invocation of instances over content-addressed values.
//!
//! An instance is a value. Invoking it is a function of the value, a scratchpad, four arguments and gas; it
//! yields a new value or a fault, and a fault leaves everything the caller holds as it was, but for slot 0.
//!
//! ```text
//! Program ──image_of──▶ Image ──publish──▶ CapHash ──first_instance──▶ CapHash ──Vm::invoke──▶ CallResult
//! ```
//!
//! | room | what |
//! | --- | --- |
//! | [`vm`] | [`Vm`], [`CallResult`]: the loop that runs the top of the stack |
//! | [`callstack`] | [`CallStack`] and its entries: one running instance each |
//! | `call`, `layout` | starting and ending a call; mappings in, dirty pages out |
//! | `yields`, `pause` | yields and their handlers; pauses as values, suspending, restoring |
//! | `meter`, `native` | who pays; kernel-assisted instances |
//! | `upgrade` | going on in another image |
//! | [`ecall`] | guest operations, a file per family |
//! | [`image_cache`] | images decoded and compiled once per hash |
//! | [`kernel_assist`] | the embedder's one seam |
//! | [`fault`] | what happened, in words |
//! | [`publish`](mod@publish) | images and first instances from programs |
//!
//! Values and their hashing are in `javm-cap`, running code in `javm-exec`; this crate is where they meet.
//! Source: capability machine, sections 4 to 9.
#![forbid(unsafe_code)]

mod call;
pub mod callstack;
pub mod ecall;
pub mod error;
pub mod fault;
mod held;
pub mod image_cache;
pub mod kernel_assist;
mod layout;
mod meter;
mod native;
mod pause;
pub mod publish;
mod upgrade;
pub mod vm;
mod yields;

pub use callstack::{CallStack, DEFAULT_MAX_DEPTH, Entry, InstanceEntry, ReferenceEntry};
pub use ecall::{host_op, mgmt_op};
pub use error::VmError;
pub use fault::{FaultDetail, FaultInfo};
pub use image_cache::ImageCache;
pub use javm_exec::ExitReason;
pub use kernel_assist::{InProcessKernelAssist, KernelAssist, KernelImage, SaveResult, kernel_image_hash};
pub use publish::{PublishError, first_instance, image_of, marker, publish};
pub use vm::{CallResult, Emit, Vm};

/// The examples of these pages are doc tests.
#[cfg(doctest)]
#[doc = include_str!("../../../docs/embedding.md")]
#[doc = include_str!("../../../docs/formats.md")]
pub struct Pages;
