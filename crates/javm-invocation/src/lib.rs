//! The capability microkernel: many small VMs in one invocation, each with code, registers, an address space and a
//! table of 256 capabilities, calling each other synchronously (`capability-kernel.md`).
//!
//! ```text
//! Engine + manifest ─▶ Prepared ─▶ Invocation ─▶ run ─▶ DispatchResult
//!                                      ▲                    │ ProtocolCall
//!                                      └──── resume ◀───────┘
//! ```
//!
//! * [`Prepared`]: a manifest read once; [`Invocation`]: one run of it;
//! * [`Vm`], [`CapTable`], [`Cap`]: what there is to look at;
//! * numbers, names and prices of the operations are in [`javm_abi::microkernel`], and named here again.
//!
//! Guest code is run by `javm-exec`; an `ecall` or `ecalli` ends the run, the operation is done here, and the VM that
//! is active then goes on. Pages belong to the invocation and are mapped, not copied, into the VMs' address spaces.
//! [`Invocation::dispatch_ecalli`] and [`Invocation::dispatch_ecall`] do an operation without any code being run.
//!
//! # Where the specification leaves a choice
//!
//! * `ecalli` 0 is REPLY; with any other immediate it is CALL, through handles too, of every kind of capability. So
//!   is `ecall` CALL, for which slot 0 is a slot as any other.
//! * The dispatch gas is paid before an operation is looked at and stays paid, also when what the operation costs
//!   beyond it cannot be paid. The VM then faults with its program counter at the call, and asks again when resumed.
//! * CREATE makes the VM, and RETYPE takes the pages, before the destination is resolved; they stay made and taken.
//!   A VM gets the lowest free place of the pool.
//! * Operands are 64 bits wide: nothing is cut off, except that references are 32 bits, the operation number is the
//!   low half of φ11, and addresses are taken modulo 2^32.
//! * MAP of no pages fixes base and access like any other, and fails where its pages would. UNMAP and CALL with a
//!   passed DATA keep base and access; MOVE to another VM forgets the base; SPLIT forgets both.
//! * A capability that CALL passes takes the place of what the callee has in slot 0, which is dropped. Where that
//!   is a handle that DROP would refuse, or of the callee itself, CALL fails. An empty slot passes nothing.
//! * REPLY unmaps a returned DATA from the callee, and maps all its pages in the caller as the passed one was
//!   mapped, if any of that was and nothing is in the way; else it is returned unmapped.
//! * A page is written when a guest stores to it, MEMCPY or DIRTY write to it, or the embedder does. What a manifest
//!   or arguments fill it with does not count. DIRTY forgets what it wrote itself in the pages that it tells of. It
//!   writes a bit for each page, and no more bytes than that takes.
//! * A dropped VM's places and its DATA's memory are used again; the pages that UNTYPED counts are not.
#![forbid(unsafe_code)]

mod call;
mod cap;
mod data;
mod dispatch;
mod error;
mod invocation;
mod owners;
mod root;
mod table;
mod vm;

pub use cap::{CallableCap, Cap, DataCap, HandleCap, VmId};
pub use error::{AccessError, InvocationError, NoProtocolCall};
pub use invocation::{DispatchResult, Invocation, VmFault};
pub use javm_abi::microkernel::{CapRef, EcallOp, EcalliOp, decode_ecall, decode_ecalli};
pub use root::Prepared;
pub use table::CapTable;
pub use vm::{Vm, VmState};

/// The example of this page is a doc test.
#[cfg(doctest)]
#[doc = include_str!("../../../docs/microkernel.md")]
pub struct Page;
