//! Running and single-stepping show the same at every exit. See `javm_testkit::oracle::exec_step_vs_run`.
#![no_main]

use javm_testkit::oracle;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| oracle::exec_step_vs_run(bytes).unwrap());
