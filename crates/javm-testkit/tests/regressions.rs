//! The fuzzers' properties on inputs that once broke them, on damaged copies of these, and on programs.

use std::path::Path;

use javm_testkit::{
    Rng,
    r#gen::{Options, case, raw},
    mutate, oracle,
};

/// A property and its name.
type Target = (&'static str, fn(&[u8]) -> Result<(), String>);

const TARGETS: [Target; 6] = [
    ("exec_step_vs_run", oracle::exec_step_vs_run),
    ("program_load", oracle::program_load),
    ("isa_roundtrip", oracle::isa_roundtrip),
    ("cap_decode", oracle::cap_decode),
    ("manifest_read", oracle::manifest_read),
    ("exec_backends", oracle::exec_backends),
];

/// The inputs of a target: those in its directory of `fuzz/regressions`.
fn inputs(target: &str) -> Vec<(String, Vec<u8>)> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/regressions").join(target);
    let Ok(entries) = std::fs::read_dir(directory) else { return Vec::new() };
    entries
        .map(|entry| entry.unwrap().path())
        .map(|path| (path.display().to_string(), std::fs::read(&path).unwrap()))
        .collect()
}

#[test]
fn inputs_that_found_bugs() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/regressions");
    for entry in std::fs::read_dir(&directory).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name();
        let is_target = TARGETS.iter().any(|(target, _)| *target == name);
        assert!(is_target || entry.path().is_file(), "{} belongs to no target", entry.path().display());
    }
    for (target, property) in TARGETS {
        for (name, bytes) in inputs(target) {
            property(&bytes).unwrap_or_else(|difference| panic!("{name}: {difference}"));
            for seed in 0..200 {
                let mut damaged = bytes.clone();
                mutate(&mut Rng::new(seed), &mut damaged, &bytes);
                property(&damaged).unwrap_or_else(|d| panic!("{name}, damaged with {seed}: {d}"));
            }
        }
    }
}

/// Code and bitmask as the properties that take code read them.
fn code_bytes(case: &javm_testkit::r#gen::Case) -> Vec<u8> {
    let mut bytes = case.code.bytes().to_vec();
    bytes.extend(case.code.packed_bitmask());
    bytes
}

#[test]
fn damaged_programs() {
    let mut valid = [0; 3];
    for seed in 0..3_000 {
        let generate = if seed % 2 == 0 { case } else { raw };
        let (one, two) = (generate(seed, &Options::ALL), generate(seed + 1, &Options::ALL));
        let mut rng = Rng::new(seed);
        let mut run = |n: usize, mut bytes: Vec<u8>, other: &[u8]| {
            mutate(&mut rng, &mut bytes, other);
            let (name, property) = TARGETS[n];
            property(&bytes).unwrap_or_else(|difference| panic!("{name}, seed {seed}: {difference}"));
            bytes
        };
        let (code, other) = (code_bytes(&one), code_bytes(&two));
        let mut input = seed.to_le_bytes().to_vec();
        input.push(seed as u8);
        input.extend(&code);
        valid[0] += usize::from(oracle::case_from_bytes(&run(0, input.clone(), &other)).is_some());
        let blob = javm_program::bare::to_blob(&one.code);
        valid[1] += usize::from(javm_program::Program::load(&run(1, blob.clone(), &other)).is_ok());
        valid[2] += usize::from(oracle::code_from_bytes(&run(2, code.clone(), &other)).is_some());
        if seed % 4 == 0 {
            run(5, input.clone(), &other);
            oracle::exec_backends(&input).unwrap();
        }
        // And undamaged.
        oracle::exec_step_vs_run(&input).unwrap();
        oracle::program_load(&blob).unwrap();
        oracle::isa_roundtrip(&code).unwrap();
        assert!(oracle::code_from_bytes(&code).is_some());
    }
    // A good part of what is damaged must still be something, or nothing but the readers' refusals is tested.
    assert!(valid.iter().all(|n| *n > 100), "{valid:?}");
}
