//! Keeps the folder out of symbol names.
//!
//! Cargo gives each crate a number (`-C metadata`) that the compiler mixes into symbol names. For crates that
//! lie outside the guest workspace (the standard library, `javm-abi`) it follows from their absolute path, and
//! names decide the order of functions. So cargo runs the compiler through this program, which replaces that
//! number by one that follows from the crate's name and version alone.

use super::error::Error;
use std::ffi::OsString;
use std::process::{Command, ExitCode};

/// Set for the wrapped compiler: tells a wrapper run from a command of the user.
const VARIABLE: &str = "JAVM_XTASK_RUSTC_WRAPPER";

/// Makes cargo run the compiler through this program.
pub(crate) fn install(cargo: &mut Command) -> Result<(), Error> {
    let this = std::env::current_exe().map_err(|source| Error::Tool { tool: "xtask".into(), source })?;
    cargo.env("RUSTC_WRAPPER", this).env(VARIABLE, "1");
    Ok(())
}

/// Runs the compiler, if that is what this process was started for.
pub(crate) fn run_if_asked() -> Option<ExitCode> {
    std::env::var_os(VARIABLE)?;
    let mut arguments = std::env::args_os().skip(1);
    let compiler = arguments.next()?;
    let status = Command::new(&compiler).args(stable_metadata(arguments.collect())).status();
    Some(match status {
        Ok(status) => ExitCode::from(u8::try_from(status.code().unwrap_or(1)).unwrap_or(1)),
        Err(error) => {
            eprintln!("error: cannot run the guest compiler: {error}");
            ExitCode::FAILURE
        }
    })
}

/// The compiler's arguments with `-C metadata=…` replaced. File names keep cargo's number
/// (`-C extra-filename`): cargo looks for them.
fn stable_metadata(mut arguments: Vec<OsString>) -> Vec<OsString> {
    let version = std::env::var("CARGO_PKG_VERSION").unwrap_or_default();
    let name = arguments
        .windows(2)
        .find(|pair| pair[0] == "--crate-name")
        .map(|pair| pair[1].to_string_lossy().into_owned())
        .unwrap_or_default();
    for argument in &mut arguments {
        if argument.to_string_lossy().starts_with("metadata=") {
            *argument = format!("metadata={name}-{version}").into();
        }
    }
    arguments
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_metadata_changes() {
        let arguments = ["--crate-name", "core", "-C", "metadata=0123", "-C", "extra-filename=-0123"];
        let mapped = stable_metadata(arguments.map(OsString::from).to_vec());
        assert!(mapped[3].to_string_lossy().starts_with("metadata=core-"));
        assert_eq!((mapped.len(), &mapped[5]), (6, &OsString::from("extra-filename=-0123")));
    }
}
