//! `javm play`: a story of calls, with what is expected of them.
//!
//! `scenario.rs` is the format, `player.rs` does the steps, `render.rs` prints them. Without a file the
//! built-in story of a bank and its ledger is played, with the guests that are checked in.

mod player;
mod render;
mod scenario;

use std::path::{Path, PathBuf};

use crate::{
    Exit,
    error::CliError,
    load::{self, path_name},
    options::EngineOptions,
    show::Output,
};

/// What to play, and on what.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Args {
    /// The scenario, a TOML file (docs/cli.md); without one, a bank and its ledger.
    scenario: Option<PathBuf>,
    #[command(flatten)]
    engine: EngineOptions,
}

const BUILT_IN: &str = include_str!("../../../../tests/scenarios/bank-and-ledger.toml");

/// The files of the built-in scenario, by the last part of their paths.
const EMBEDDED: &[(&str, &[u8])] = &[
    ("bank.polkavm", include_bytes!("../../../../guests/blobs/bank.polkavm")),
    ("ledger.polkavm", include_bytes!("../../../../guests/blobs/ledger.polkavm")),
];

/// Where a scenario's files are.
enum Files {
    /// In this program.
    Embedded,
    /// Relative to a folder.
    Folder(PathBuf),
}

impl Files {
    fn read(&self, file: &str) -> Result<Vec<u8>, CliError> {
        match self {
            Self::Folder(folder) => load::bytes(&folder.join(file)),
            Self::Embedded => {
                let name = Path::new(file).file_name().and_then(|n| n.to_str()).unwrap_or(file);
                let found = EMBEDDED.iter().find(|(n, _)| *n == name);
                found
                    .map(|(_, bytes)| bytes.to_vec())
                    .ok_or_else(|| CliError::NotEmbedded { name: file.to_owned() })
            }
        }
    }
}

pub(crate) fn run(args: &Args, out: &mut Output) -> Result<Exit, CliError> {
    let (name, text, files) = match &args.scenario {
        None => ("the built-in scenario".to_owned(), BUILT_IN.to_owned(), Files::Embedded),
        Some(path) => {
            let invalid = |_| CliError::NotText { path: path.clone() };
            let text = String::from_utf8(load::bytes(path)?).map_err(invalid)?;
            let folder = path.parent().unwrap_or(Path::new("")).to_owned();
            (path_name(path), text, Files::Folder(folder))
        }
    };
    let failed = |source| CliError::Scenario { name: name.clone(), source: Box::new(source) };
    let scenario: scenario::Scenario = toml::from_str(&text).map_err(failed)?;
    let report = player::play(&name, &scenario, &files, args.engine.engine()?)?;
    out.report(&report, render::text)?;
    Ok(if report.failure.is_none() { Exit::Success } else { Exit::Failure })
}
