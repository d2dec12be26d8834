//! Test tools: what the tests, the fuzzers and `javm conform` share.
//!
//! * [`vectors`]: reads and runs conformance vectors; uses nothing else of this crate.
//! * [`rng`], [`builder`], [`spell`], [`gen`](mod@gen): random programs that run for a while;
//! * [`capgen`]: guests that use capabilities, in trees, with what each of their calls will do;
//! * [`drive`]: runs a case on any machine with the same host around it, and compares what was seen;
//! * [`kernel_model`]: the capability microkernel as a model over plain data;
//! * [`oracle`]: properties that hold for all inputs, called by tests and fuzzers alike;
//! * [`mutate`](mod@mutate): damages bytes for tests of readers.
//!
//! Everything is deterministic: a failure is named by its seed.
#![forbid(unsafe_code)]

pub mod builder;
pub mod capgen;
pub mod drive;
pub mod r#gen;
pub mod kernel_model;
pub mod mutate;
pub mod oracle;
pub mod rng;
pub mod spell;
pub mod vectors;

pub use mutate::mutate;
pub use rng::Rng;
