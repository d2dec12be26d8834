//! Any bytes are a value or an error. See `javm_testkit::oracle::cap_decode`.
#![no_main]

use javm_testkit::oracle;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| oracle::cap_decode(bytes).unwrap());
