//! Conformance vectors: files with one JSON object per line, read here and run by [`run_file`].
//!
//! Two schemas exist. The newer one (Gray Paper 0.8) is a list of steps with assertions between them and the
//! cost of every basic block; the older one (0.7) is flat: what is given and what is expected. Both are read
//! into [`Vector`]. A file is somebody else's: whatever it says ends in a [`LoadError`] or in a failure in
//! words, never in a panic.
//!
//! The runner knows nothing of backends: it goes through `javm_exec`'s public interface with the backend of
//! its [`RunConfig`], so a new one runs the same files.

mod machine;
mod run;
mod schema;

use std::{
    io,
    path::{Path, PathBuf},
};

use javm_exec::{Backend, GasModel, NUM_REGS};
use javm_isa::Numbering;

pub use run::{run_file, run_vector};

/// Why a vector file cannot be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LoadError {
    /// The file cannot be read at all.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the operating system says.
        source: io::Error,
    },
    /// A line is no vector.
    #[error("line {line}: {source}")]
    Line {
        /// Number of the line, from 1.
        line: usize,
        /// What is wrong with it.
        source: serde_json::Error,
    },
}

/// A file of vectors.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct VectorFile {
    /// The vectors in the order of the file.
    pub vectors: Vec<Vector>,
}

impl VectorFile {
    /// Reads a file.
    ///
    /// # Errors
    /// [`LoadError`] when it cannot be read, or with the first line that is no vector.
    pub fn load(path: impl AsRef<Path>) -> Result<Self, LoadError> {
        let path = path.as_ref();
        let text = std::fs::read(path).map_err(|source| LoadError::Io { path: path.to_owned(), source })?;
        Self::parse(&text)
    }

    /// Reads the contents of a file. Lines with nothing but blanks are skipped.
    ///
    /// # Errors
    /// [`LoadError::Line`] with the first line that is no vector.
    pub fn parse(text: &[u8]) -> Result<Self, LoadError> {
        let vectors = text
            .split(|byte| *byte == b'\n')
            .enumerate()
            .filter(|(_, line)| !line.trim_ascii().is_empty())
            .map(|(n, line)| schema::read(line).map_err(|source| LoadError::Line { line: n + 1, source }))
            .collect::<Result<_, _>>()?;
        Ok(Self { vectors })
    }
}

/// One vector, of either schema.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Vector {
    /// What the file calls it.
    pub name: String,
    /// The program, a bare blob.
    pub program: Vec<u8>,
    /// How the program numbers its instructions.
    pub numbering: Numbering,
    /// The gas model that its gas figures were made with.
    pub gas_model: GasModel,
    /// Where it starts.
    pub initial_pc: u64,
    /// Gas at the start. A negative amount pays for nothing and stays as it is.
    pub initial_gas: i64,
    /// What is done, in order.
    pub steps: Vec<Step>,
    /// Every basic-block start with its cost; `None` where the vector does not say.
    pub block_costs: Option<Vec<(u64, u64)>>,
}

/// One thing that is done to the machine.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Step {
    /// Maps zero pages.
    Map {
        /// First address.
        address: u64,
        /// Length in bytes.
        length: u64,
        /// Whether the guest may write there.
        writable: bool,
    },
    /// The host writes, into read-only pages too.
    Write {
        /// First address.
        address: u64,
        /// What is written.
        contents: Vec<u8>,
    },
    /// Sets a register.
    SetReg {
        /// Its number.
        reg: u64,
        /// Its value.
        value: u64,
    },
    /// Starts, or goes on after the last interruption.
    Run,
    /// Compares the machine.
    Assert(Box<Expected>),
}

/// What a machine should look like.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Expected {
    /// How the last run ended.
    pub status: Status,
    /// Gas left.
    pub gas: i64,
    /// Where it stands.
    pub pc: u64,
    /// All registers.
    pub regs: [u64; NUM_REGS],
    /// Pieces of memory: address and bytes. What no piece covers is zero wherever memory is mapped.
    pub memory: Vec<(u64, Vec<u8>)>,
    /// The page that a fault names.
    pub page_fault_address: Option<u64>,
    /// The immediate of an `ecalli`, sign-extended to 64 bits.
    pub hostcall: Option<u64>,
}

/// How a run ended, in the words of the vectors.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Status {
    /// A jump to the halt address.
    Halt,
    /// A panic of any kind, `trap` included.
    Panic,
    /// An access to memory that does not allow it.
    PageFault,
    /// A host call.
    Ecalli,
    /// A block that could not be paid.
    OutOfGas,
}

impl core::fmt::Display for Status {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.pad(match self {
            Self::Halt => "halt",
            Self::Panic => "panic",
            Self::PageFault => "page-fault",
            Self::Ecalli => "ecalli",
            Self::OutOfGas => "out-of-gas",
        })
    }
}

/// What the vectors are run on.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct RunConfig {
    /// Which backend executes them.
    pub backend: Backend,
    /// The gas model; `None` is each vector's own. With any other the machine gets gas without end and
    /// neither gas nor block costs are compared, and vectors that expect to run out of gas are skipped.
    pub gas_model: Option<GasModel>,
}

impl RunConfig {
    /// A backend, with each vector's own gas model.
    #[must_use]
    pub const fn new(backend: Backend) -> Self {
        Self { backend, gas_model: None }
    }

    /// The same with one gas model for all.
    #[must_use]
    pub const fn gas_model(mut self, model: GasModel) -> Self {
        self.gas_model = Some(model);
        self
    }
}

/// What running a file showed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct FileReport {
    /// How many vectors behaved as they say.
    pub passed: usize,
    /// How many say nothing about this configuration.
    pub skipped: usize,
    /// The others.
    pub failed: Vec<Failure>,
}

/// A vector that did not behave as it says.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Failure {
    /// The vector.
    pub name: String,
    /// The first difference, in words.
    pub difference: String,
}

impl core::fmt::Display for Failure {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "{}: {}", self.name, self.difference)
    }
}
