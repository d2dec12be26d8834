//! Numbers that a JAVM host and its guests share.
//!
//! Guests (through the SDK) and the host build against this one crate, so a number has one home:
//!
//! * [`reg`]: the thirteen registers and their ABI names, the halt address, the page size;
//! * [`ops`]: the table of guest operations (number, operands, price): the dispatcher, the SDK, the
//!   reference docs and the tests that walk all operations are made from it;
//! * [`kernel`]: endpoints of the instances that the kernel answers for, and the prefix of declarations;
//! * [`microkernel`]: the same for the capability microkernel: references, operations, prices, results;
//! * [`refusal`]: what makes the kernel refuse an operation, in words;
//! * [`path`]: slot paths packed into one register;
//! * [`status`]: what a call returns in φ8 and, for a fault, in φ7.
//!
//! No code that runs a guest lives here, and there are no dependencies: a guest links this crate.
#![no_std]
#![forbid(unsafe_code)]

pub mod kernel;
pub mod microkernel;
pub mod ops;
pub mod path;
pub mod refusal;
pub mod reg;
pub mod status;

pub use ops::{GuestOp, Operand, OperandKind, Price, Unit};
pub use path::{PathError, SlotPath};
