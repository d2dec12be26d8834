//! `fuzz`: runs a fuzz target for a while, with the compiler that is there.
//!
//! `cargo fuzz` needs a nightly compiler for its sanitizers. Coverage alone does not, and code without unsafe
//! blocks has nothing that a sanitizer would find; so this builds the target with coverage and runs it. The
//! corpus stays in `fuzz/corpus`, an input that fails in `fuzz/artifacts`; neither is checked in.

use crate::process::{self, Failure};

/// Which target to run, and for how long.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// A target of `fuzz/fuzz_targets`; all of them, one after the other, if none is given.
    target: Option<String>,
    /// For how long, each, in seconds.
    #[arg(long, default_value_t = 60)]
    seconds: u32,
}

/// What makes LLVM count the edges that an input takes.
const COVERAGE: &str = "-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
    -Cllvm-args=-sanitizer-coverage-trace-compares -Cdebug-assertions -Ccodegen-units=1";

pub(crate) fn run(options: &Options) -> Result<(), Failure> {
    let directory = process::root().join("fuzz");
    let targets = match &options.target {
        Some(target) => vec![target.clone()],
        None => targets()?,
    };
    // Naming the target keeps the flags from build scripts.
    for target in targets {
        let corpus = directory.join("corpus").join(&target);
        let artifacts = directory.join("artifacts").join(&target);
        for path in [&corpus, &artifacts] {
            std::fs::create_dir_all(path).map_err(|source| Failure::File { path: path.clone(), source })?;
        }
        println!("── {target}: {} s", options.seconds);
        let mut command =
            process::cargo(&["run", "--release", "--target", "host-tuple", "--bin", &target, "--"]);
        command.current_dir(&directory).env("RUSTFLAGS", COVERAGE);
        command.arg(format!("-max_total_time={}", options.seconds));
        command.arg(format!("-artifact_prefix={}/", artifacts.display()));
        command.args(["-max_len=4096", "-print_final_stats=1"]).arg(&corpus);
        process::run(command)?;
    }
    Ok(())
}

/// The targets that there are, by name.
fn targets() -> Result<Vec<String>, Failure> {
    let path = process::root().join("fuzz/fuzz_targets");
    let failed = |source| Failure::File { path: path.clone(), source };
    let mut names = Vec::new();
    for entry in std::fs::read_dir(&path).map_err(failed)? {
        let file = entry.map_err(failed)?.path();
        names.extend(file.file_stem().map(|name| name.to_string_lossy().into_owned()));
    }
    names.sort();
    Ok(names)
}
