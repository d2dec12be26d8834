//! `javm conform`: vector files of either schema, run by the testkit.

use std::path::PathBuf;

use javm_exec::{Backend, GasModel};
use javm_testkit::vectors::{RunConfig, VectorFile, run_file};
use serde::Serialize;

use crate::{
    Exit,
    error::CliError,
    load::{self, path_name},
    show::{Output, Paint, Style, clean},
};

/// What to run.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Args {
    /// Files with one vector per line, as JSON.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// What executes the code: auto, interpreter, recompiler.
    #[arg(long, default_value_t = Backend::Auto)]
    backend: Backend,
    /// The gas model for all vectors: pipeline, per-instruction. With another than a vector was made for, gas
    /// is not compared. The default is each vector's own.
    #[arg(long, value_name = "MODEL")]
    gas: Option<GasModel>,
}

#[derive(Serialize)]
struct Report {
    passed: usize,
    failed: usize,
    files: Vec<File>,
}

#[derive(Serialize)]
struct File {
    file: String,
    passed: usize,
    failed: usize,
    /// Vectors that say nothing about the gas model that was asked for.
    skipped: usize,
    failures: Vec<Failure>,
}

#[derive(Serialize)]
struct Failure {
    name: String,
    /// The first difference.
    difference: String,
}

pub(crate) fn run(args: &Args, out: &mut Output) -> Result<Exit, CliError> {
    let mut config = RunConfig::new(args.backend);
    if let Some(model) = args.gas {
        config = config.gas_model(model);
    }
    let mut report = Report { passed: 0, failed: 0, files: Vec::with_capacity(args.files.len()) };
    for path in &args.files {
        let failed = |source| CliError::Vectors { path: path.clone(), source };
        let vectors = VectorFile::parse(&load::bytes(path)?).map_err(failed)?;
        let result = run_file(&vectors, &config)?;
        let failures: Vec<Failure> = result
            .failed
            .iter()
            .map(|f| Failure { name: clean(&f.name), difference: clean(&f.difference) })
            .collect();
        report.passed += result.passed;
        report.failed += failures.len();
        report.files.push(File {
            file: path_name(path),
            passed: result.passed,
            failed: failures.len(),
            skipped: result.skipped,
            failures,
        });
    }
    out.report(&report, text)?;
    Ok(if report.failed == 0 { Exit::Success } else { Exit::Failure })
}

fn text(report: &Report, paint: Paint) -> String {
    let mut out = String::new();
    for File { file, passed, failed, skipped, failures } in &report.files {
        let style = if *failed == 0 { Style::Good } else { Style::Bad };
        let skipped = if *skipped > 0 { format!(", {skipped} skipped") } else { String::new() };
        let counts = paint.text(style, format!("{passed} passed, {failed} failed"));
        out.push_str(&format!("{file}: {counts}{skipped}\n"));
        for Failure { name, difference } in failures {
            out.push_str(&format!("  {name}: {difference}\n"));
        }
    }
    out
}
