//! Capability values: what they are, how they are named, where they are held.
//!
//! State of the machine is a tree of immutable, content-addressed values ([`Cap`]). This crate knows how
//! a value is hashed, proven, encoded and validated, and offers the [`CacheDirectory`] in which a call
//! finds and makes them. It knows nothing of running code: the engine never sees a [`Cap`], and this crate
//! never sees the engine.
//!
//! | room | holds |
//! | --- | --- |
//! | [`hash`] | the digest, every tag, the names of kernel images |
//! | [`tree`] | persistent hashed trees of pages and slots, proofs |
//! | kinds ([`Cap`], [`DataCap`], [`CNodeCap`], [`image`], [`InstanceCap`], [`TypeCap`]) | the five kinds of values |
//! | [`encode`](mod@encode) | the canonical bytes of a settled value |
//! | [`lineage`] | genesis and step |
//! | [`directory`] | [`CacheDirectory`]: lookup, working values, settling, collecting |
//! | [`path`] | walking slot paths: read, write, move, exchange |
//! | [`store`] | [`CapStore`]: what a directory asks of a database |
//!
//! Invariant: a hash names exactly one value, and only settled values (no [`CapRef`] inside) have a
//! hash or an encoding. Everything that walks values is iterative, so nesting depth costs no stack.
//!
//! Source: capability machine, sections 1 to 5.
#![forbid(unsafe_code)]

pub mod directory;
pub mod encode;
pub mod error;
pub mod hash;
mod kinds;
pub mod lineage;
mod name;
pub mod path;
pub mod store;
pub mod tree;

pub use directory::{CacheDirectory, CallMark, CapMap, Keyed, Owner};
pub use encode::{decode, encode};
pub use error::{CapError, OpError, OpFailure};
pub use hash::{CapHash, kernel_image_hash};
pub use javm_abi::SlotPath;
pub use javm_abi::reg::NUM_REGS;
pub use kinds::cnode::{CNodeCap, MAX_SIZE_LOG, ROOT_SIZE_LOG};
pub use kinds::data::DataCap;
pub use kinds::image::{self, ImageCap};
pub use kinds::instance::{EPHEMERAL_DEPTH, InstanceCap, Memory, Status, Suspension};
pub use kinds::type_::TypeCap;
pub use kinds::{Cap, Kind};
pub use name::{CapHashOrRef, CapRef, SlotIdx};
pub use store::{CapStore, StoreError};
