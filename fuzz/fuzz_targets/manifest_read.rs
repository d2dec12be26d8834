//! Any bytes are a manifest or an error. See `javm_testkit::oracle::manifest_read`.
#![no_main]

use javm_testkit::oracle;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| oracle::manifest_read(bytes).unwrap());
