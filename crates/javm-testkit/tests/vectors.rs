//! Every conformance vector, on every engine configuration.
//!
//! The vectors live beside the repository, in `../shared/vectors`; where they are not, the test says so.

use std::{
    io::Write as _,
    path::{Path, PathBuf},
};

use javm_exec::{Backend, GasModel};
use javm_testkit::vectors::{RunConfig, VectorFile, run_file};

/// Prints past the test harness, which keeps what passing tests print to itself: whoever runs the tests is to see
/// how many vectors there were.
fn say(line: &str) {
    // A closed output is no reason to fail.
    let _ = writeln!(std::io::stdout().lock(), "{line}");
}

fn files() -> Vec<PathBuf> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/vectors");
    let Ok(entries) = std::fs::read_dir(directory) else {
        say("there are no vectors in ../shared/vectors: nothing was compared");
        return Vec::new();
    };
    let mut files: Vec<_> = entries
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|e| e == "jsonl"))
        .collect();
    files.sort();
    assert!(!files.is_empty(), "the directory is there but has no vectors");
    files
}

fn run_all(config: &RunConfig) -> usize {
    let mut failed = 0;
    let mut passed = 0;
    for path in files() {
        let file = VectorFile::load(&path).unwrap();
        let report = run_file(&file, config).unwrap();
        let name = path.file_name().unwrap().display();
        let (passed_here, failed_here) = (report.passed, report.failed.len());
        say(&format!("{name}: {passed_here} passed, {failed_here} failed, {} skipped", report.skipped));
        for failure in &report.failed {
            say(&format!("  {failure}"));
        }
        assert_eq!(report.passed + report.failed.len() + report.skipped, file.vectors.len());
        passed += report.passed;
        failed += report.failed.len();
    }
    assert_eq!(failed, 0, "vectors failed");
    passed
}

#[test]
fn every_vector_passes() {
    run_all(&RunConfig::new(Backend::Interpreter));
}

#[test]
fn what_is_not_gas_is_the_same_under_every_gas_model() {
    for model in GasModel::ALL {
        run_all(&RunConfig::new(Backend::Interpreter).gas_model(model));
    }
}

const STEPPED: &str = r#"{"name":"n","initial-pc":0,"initial-gas":GAS,"program":PROGRAM,"steps":[
{"map":{"address":131072,"length":4096,"is-writable":false}},{"write":{"address":131073,"contents":[7]}},
{"set-reg":{"reg":7,"value":1}},{"set-reg":{"reg":8,"value":2}},{"run":{}},
{"assert":{"status":"STATUS","gas":LEFT,"pc":PC,"regs":[0,0,0,0,0,0,0,1,2,R9,0,0,0],"memory":MEMORY}}],
"block-gas-costs":COSTS}"#;

/// The worked example of an add and a trap with some of its words replaced; gives the first difference.
fn with(changes: &[(&str, &str)]) -> Result<(), String> {
    let mut text = STEPPED.replace('\n', "");
    let defaults = [
        ("GAS", "10"),
        ("PROGRAM", "[0,0,4,190,135,9,0,9]"),
        ("STATUS", "panic"),
        ("LEFT", "8"),
        ("PC", "3"),
        ("R9", "3"),
        ("MEMORY", r#"[{"address":131073,"contents":[7]}]"#),
        ("COSTS", r#"[{"pc":0,"cost":2}]"#),
    ];
    for (word, value) in changes.iter().chain(&defaults) {
        text = text.replace(word, value);
    }
    let file = VectorFile::parse(text.as_bytes()).map_err(|e| e.to_string())?;
    let report = run_file(&file, &RunConfig::default()).unwrap();
    match report.failed.first() {
        Some(failure) => Err(failure.difference.clone()),
        None => {
            assert_eq!(report.passed, 1);
            Ok(())
        }
    }
}

#[test]
fn each_thing_is_compared() {
    assert_eq!(with(&[]), Ok(()));
    let difference = |changes: &[(&str, &str)]| with(changes).unwrap_err();
    assert_eq!(difference(&[("STATUS", "halt")]), "step 5: status is panic, not halt");
    assert_eq!(difference(&[("LEFT", "9")]), "step 5: gas is 8, not 9");
    assert_eq!(difference(&[("PC", "0")]), "step 5: pc is 3, not 0");
    assert_eq!(difference(&[("R9", "4")]), "step 5: register 9 is 0x3, not 0x4");
    assert_eq!(difference(&[("MEMORY", "[]")]), "step 5: memory at 0x20001 is 7, not 0");
    assert_eq!(
        difference(&[("MEMORY", r#"[{"address":131073,"contents":[7,1]}]"#)]),
        "step 5: memory at 0x20002 is 0, not 1"
    );
    assert_eq!(
        difference(&[("MEMORY", r#"[{"address":65536,"contents":[0]}]"#)]),
        "step 5: memory at 0x10000 is not mapped"
    );
    assert_eq!(difference(&[("COSTS", r#"[{"pc":0,"cost":3}]"#)]), "the block at 0 costs 2, not 3");
    assert_eq!(difference(&[("COSTS", r#"[{"pc":0,"cost":2},{"pc":3,"cost":1}]"#)]), "no block starts at 3");
    assert_eq!(difference(&[("COSTS", "[]")]), "a block starts at 0, which the vector does not have");
    assert_eq!(
        difference(&[("131073,\"contents\":[7]}},", "4096,\"contents\":[7]}},")]),
        "step 1: cannot write: page 1 is not mapped"
    );
    assert_eq!(
        difference(&[("131072", "131073")]),
        "step 0: cannot map 0x1000 bytes at 0x20001: not whole pages"
    );
    assert_eq!(difference(&[("\"reg\":8", "\"reg\":13")]), "step 3: there is no register 13");
}

#[test]
fn gas_below_zero_stays_as_it_is() {
    for gas in ["-1", "-9223372036854775808", "1"] {
        let paid_nothing = [("GAS", gas), ("LEFT", gas), ("STATUS", "out-of-gas"), ("PC", "0"), ("R9", "0")];
        assert_eq!(with(&paid_nothing), Ok(()));
    }
}

#[test]
fn a_blob_that_does_not_load_panics_for_free() {
    // Opcode 3 is `ecall` in the canonical numbering only.
    for program in ["[0,0,1,3,1]", "[0,0,1]", "[]", "[255,255,255,255,255,255,255,255,255]"] {
        let nothing = [("PROGRAM", program), ("LEFT", "10"), ("R9", "0"), ("COSTS", "[]")];
        assert_eq!(with(&nothing), Ok(()));
    }
}

#[test]
fn lines_that_are_no_vectors_are_refused_with_their_number() {
    let refused = |text: &str| VectorFile::parse(text.as_bytes()).unwrap_err().to_string();
    assert!(refused("\n{").starts_with("line 2: EOF while parsing"));
    assert!(refused("{}").starts_with("line 1: missing field `name`"));
    assert!(refused(&"[".repeat(100_000)).starts_with("line 1: "));
    assert!(with(&[("\"status\"", "\"new\":1,\"status\"")]).unwrap_err().contains("unknown field `new`"));
    let missing = VectorFile::load("no such file").unwrap_err().to_string();
    assert!(missing.starts_with("no such file: "), "{missing}");
    assert!(VectorFile::parse(b" \n\n").unwrap().vectors.is_empty());
}
