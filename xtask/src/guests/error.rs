//! What can go wrong while guests are built, and what to do about it.

use std::path::{Path, PathBuf};

/// Why the guests were not built.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum Error {
    /// No folder of guests/programs has this name.
    #[error("there is no guest program `{name}`; there are: {}", all.join(", "))]
    UnknownProgram {
        /// The name.
        name: String,
        /// The programs that there are.
        all: Vec<String>,
    },
    /// A file or folder could not be read or written.
    #[error("{}: {source}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// A tool is not installed or cannot be run.
    #[error("cannot run `{tool}`: {source}")]
    Tool {
        /// Its name.
        tool: String,
        /// What the system says.
        source: std::io::Error,
    },
    /// A tool ended with an error, which it has printed.
    #[error("`{tool}` failed: {doing}")]
    Failed {
        /// Its name.
        tool: String,
        /// What it was to do.
        doing: String,
    },
    /// A package of the compiler is not to be had.
    #[error(
        "cannot download {package} {version}: apt-get does not find it. If the distribution has superseded \
         the version (`apt-cache madison {package}`), change it in xtask/src/guests/toolchain.rs and rebuild \
         all blobs"
    )]
    Download {
        /// The package.
        package: &'static str,
        /// Its version.
        version: &'static str,
    },
    /// The host's toolchain has no ELF linker.
    #[error("no rust-lld at {}: it comes with every toolchain that rustup installs", path.display())]
    NoLinker {
        /// Where it should be.
        path: PathBuf,
    },
    /// A crate was fetched and is not where cargo keeps sources.
    #[error("no source of {package} under {}", path.display())]
    NoSource {
        /// The crate.
        package: &'static str,
        /// Where it should be.
        path: PathBuf,
    },
    /// The ELF file of a program could not be made a blob.
    #[error("{program}: {source}")]
    Link {
        /// The program.
        program: String,
        /// What the PolkaVM linker says.
        source: polkavm_linker::ProgramFromElfError,
    },
    /// The blob of a program cannot be read back.
    #[error("{program}: the linked program does not parse: {source}")]
    Parse {
        /// The program.
        program: String,
        /// What the parser says.
        source: polkavm_linker::ProgramParseError,
    },
    /// A program exports something that is no endpoint, or one endpoint twice.
    #[error("{program}: export `{export}` {problem}")]
    Export {
        /// The program.
        program: String,
        /// The export's name.
        export: String,
        /// What is wrong with it.
        problem: &'static str,
    },
}

/// Says which file an input or output error is about.
pub(crate) trait Context<T> {
    /// The error with its path.
    fn at(self, path: &Path) -> Result<T, Error>;
}

impl<T> Context<T> for std::io::Result<T> {
    fn at(self, path: &Path) -> Result<T, Error> {
        self.map_err(|source| Error::File { path: path.to_owned(), source })
    }
}
