//! The recompiler shows what the interpreter does, at every exit. See `javm_testkit::oracle::exec_backends`.
#![no_main]

use javm_testkit::oracle;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| oracle::exec_backends(bytes).unwrap());
