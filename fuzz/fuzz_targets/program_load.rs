//! Any bytes are a program or an error. See `javm_testkit::oracle::program_load`.
#![no_main]

use javm_testkit::oracle;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| oracle::program_load(bytes).unwrap());
