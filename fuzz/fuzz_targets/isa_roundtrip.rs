//! Every instruction survives being encoded and decoded again. See `javm_testkit::oracle::isa_roundtrip`.
#![no_main]

use javm_testkit::oracle;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| oracle::isa_roundtrip(bytes).unwrap());
