//! What a guest of the capability machine is written with.
//!
//! A guest is a program with *endpoints*; an instance of it has 256 root *slots* that hold capabilities, and
//! memory that lasts. The pieces, in the order in which an author meets them:
//!
//! * [`endpoint`]: makes a function callable from outside;
//! * [`persistent!`], [`exclusive!`]: statics that last from call to call;
//! * [`Slot`] and its kinds ([`Instance`], [`Data`], [`Image`], [`CNode`], [`Type`], [`Any`]): what an
//!   instance holds and what it can do with it;
//! * [`gas_left`], [`reply`], [`fault`]: the run itself;
//! * [`image!`]: which slots pay for the program, and where its [`Catcher`] sits;
//! * [`stack_size!`], `heap!` (feature `alloc`), [`Window`]: memory beyond the default;
//! * [`flat`]: programs for hosts without a kernel, with exports and syscalls by name;
//! * [`microkernel`]: programs for the capability microkernel instead;
//! * [`raw`]: one function per operation of the machine, in registers.
//!
//! The same crate compiles natively: pure code runs as it is, operations go to the [`host`] backend that a
//! test installs, and a static belongs to its thread, so that each test has its own instance.
//!
//! For comparisons there are modules for WebAssembly engines as well: what is different then is in `wasm`.
//!
//! All unsafe code of guests is in this crate: `raw`, `microkernel` and `link` (the instruction and what the linker reads),
//! `memory` (a guest has one thread), `heap`, `window`. Numbers come from `javm-abi`, never from here.
#![no_std]

#[cfg(not(target_os = "none"))]
#[doc(hidden)]
pub extern crate std;

mod data;
pub mod flat;
#[cfg(feature = "alloc")]
#[doc(hidden)]
pub mod heap;
#[cfg(not(target_os = "none"))]
pub mod host;
#[doc(hidden)]
pub mod image;
mod instance;
mod kernel;
#[doc(hidden)]
pub mod link;
mod memory;
#[cfg(not(target_arch = "wasm32"))]
pub mod microkernel;
pub mod raw;
mod register;
mod run;
mod slot;
mod window;

pub use data::NoData;
pub use instance::CallError;
pub use javm_abi::status::FaultCode;
pub use javm_abi::{GuestOp, SlotPath, declaration_prefix};
pub use javm_guest_macros::endpoint;
pub use kernel::Catcher;
pub use memory::{Exclusive, Persistent};
pub use register::{FromRegister, IntoRegister};
pub use run::{emit, fault, gas_left, reply};
pub use slot::{Any, AnySlot, CNode, Data, Image, Instance, Kind, SCRATCHPAD, Slot, SlotKind, Type};
pub use window::Window;
#[cfg(target_arch = "wasm32")]
#[doc(hidden)]
pub mod wasm;
