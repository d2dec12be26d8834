//! The examples do what they say: what each prints is compared with a golden file.
//!
//! `cargo test` builds the examples of a package with its tests; they are run as the processes they are.

use std::{env, fs, path::Path, process::Command};

fn check(name: &str) {
    let here = env::current_exe().unwrap();
    // From target/PROFILE/deps to target/PROFILE/examples.
    let example = here.parent().and_then(Path::parent).unwrap().join("examples").join(name);
    assert!(example.exists(), "{} is not built: `cargo build --examples` builds it", example.display());
    let output = Command::new(&example).output().unwrap();
    let errors = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success() && errors.is_empty(), "{name}: {}\n{errors}", output.status);

    let printed = String::from_utf8(output.stdout).unwrap();
    let golden = format!("{}/tests/golden/examples/{name}.txt", env!("CARGO_MANIFEST_DIR"));
    if env::var_os("JAVM_BLESS").is_some() {
        fs::create_dir_all(Path::new(&golden).parent().unwrap()).unwrap();
        fs::write(golden, printed).unwrap();
    } else {
        let expected = fs::read_to_string(&golden).unwrap_or_else(|error| panic!("{golden}: {error}"));
        assert_eq!(printed, expected, "{name} prints something else; JAVM_BLESS=1 rewrites the golden file");
    }
}

#[test]
fn embed() {
    check("embed");
}

#[test]
fn out_of_gas() {
    check("out_of_gas");
}

#[test]
fn snapshot() {
    check("snapshot");
}

#[test]
fn move_pause() {
    check("move_pause");
}

#[test]
fn chain_call() {
    check("chain_call");
}
