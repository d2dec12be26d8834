//! Running other programs: where, how, and what their failure is.
//!
//! Commands run in the repository's root and without standard input, so nothing can wait for a person.

use std::{
    path::{Path, PathBuf},
    process::{Command, ExitStatus, Stdio},
};

/// Why a subcommand did not do what it was asked for.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// A program could not be started.
    #[error("cannot run `{program}`: {source}")]
    Start { program: String, source: std::io::Error },
    /// A program ran and failed.
    #[error("`{command}` failed: {status}")]
    Status { command: String, status: ExitStatus },
    /// A file could not be read.
    #[error("{}: {source}", path.display())]
    File { path: PathBuf, source: std::io::Error },
    /// What a program printed is not what it promises.
    #[error("cannot read the output of `{command}`: {source}")]
    Output { command: String, source: serde_json::Error },
    /// Programs for the guest target were not built.
    #[error(transparent)]
    Guests(#[from] crate::guests::Error),
    /// Rules are broken; they have been printed.
    #[error("{count} places break a rule")]
    Tidy { count: usize },
}

/// The repository's root.
pub(crate) fn root() -> &'static Path {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    manifest.parent().unwrap_or(manifest)
}

/// The cargo that runs this program.
pub(crate) fn cargo(args: &[&str]) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(args).current_dir(root()).stdin(Stdio::null());
    command
}

/// `program arg arg`, as a person would type it.
fn words(command: &Command) -> String {
    let program = Path::new(command.get_program()).file_name().unwrap_or(command.get_program());
    let words = std::iter::once(program).chain(command.get_args());
    words.map(|w| w.to_string_lossy().into_owned()).collect::<Vec<_>>().join(" ")
}

/// Runs a program to its end.
pub(crate) fn run(mut command: Command) -> Result<(), Failure> {
    match command.status() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(Failure::Status { command: words(&command), status }),
        Err(source) => Err(Failure::Start { program: words(&command), source }),
    }
}

/// Runs a program and reads the JSON that it prints.
pub(crate) fn json(mut command: Command) -> Result<serde_json::Value, Failure> {
    command.stderr(Stdio::inherit());
    let output = command.output().map_err(|source| Failure::Start { program: words(&command), source })?;
    if !output.status.success() {
        return Err(Failure::Status { command: words(&command), status: output.status });
    }
    serde_json::from_slice(&output.stdout)
        .map_err(|source| Failure::Output { command: words(&command), source })
}
