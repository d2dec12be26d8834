//! Test tools: what the tests, the fuzzers and `javm conform` share.
//!
//! * [`vectors`]: reads and runs conformance vectors.
#![forbid(unsafe_code)]

pub mod vectors;
