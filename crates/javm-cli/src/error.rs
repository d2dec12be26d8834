//! [`CliError`]: why a command could not do its work. What a *guest* does wrong is a result, not an error.

use std::{io, path::PathBuf};

use javm_cap::{CapError, Kind, OpFailure, SlotPath};

use crate::show::clean;

/// Why a command could not do its work.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CliError {
    /// A file cannot be read.
    #[error("{}: {source}", path.display())]
    Read { path: PathBuf, source: io::Error },
    /// A file cannot be written.
    #[error("cannot write {}: {source}", path.display())]
    Write { path: PathBuf, source: io::Error },
    /// A file is larger than any that makes sense here.
    #[error("{}: larger than {limit} bytes", path.display())]
    TooLarge { path: PathBuf, limit: u64 },
    /// Standard output does not take what is printed.
    #[error("cannot write the output: {0}")]
    Output(#[from] io::Error),
    /// A file is no program.
    #[error("{name}: {}", clean(&source.to_string()))]
    Program { name: String, source: javm_program::ProgramError },
    /// PolkaVM's linker gave up on a file.
    #[error("{name}: the linker panicked on this ELF file")]
    Linker { name: String },
    /// A program is no image.
    #[error("{name}: {}", clean(&source.to_string()))]
    Publish { name: String, source: javm::PublishError },
    /// A blob cannot be run on the microkernel.
    #[error("{name}: {source}")]
    Invocation { name: String, source: Box<javm_invocation::InvocationError> },
    /// A program cannot be packed.
    #[error("{name}: {source}")]
    Pack { name: String, source: javm_program::pack::PackError },
    /// A description names an import that the program lacks.
    #[error("{name}: there is no import `{symbol}`")]
    NoImport { name: String, symbol: String },
    /// A description cannot be read.
    #[error("{name}: {source}")]
    Description { name: String, source: Box<toml::de::Error> },
    /// A file is no text.
    #[error("{}: is not UTF-8 text", path.display())]
    NotText { path: PathBuf },
    /// Text does not assemble.
    #[error("{}: {}", path.display(), clean(&source.to_string()))]
    Asm { path: PathBuf, source: javm_isa::asm::AsmError },
    /// Text assembles to something that is no program.
    #[error("{}: {source}", path.display())]
    AsmCode { path: PathBuf, source: javm_isa::CodeError },
    /// A file is no vector file.
    #[error("{}: {source}", path.display())]
    Vectors { path: PathBuf, source: javm_testkit::vectors::LoadError },
    /// The engine cannot be made.
    #[error(transparent)]
    Config(#[from] javm_exec::ConfigError),
    /// The machine cannot make or finish a call.
    #[error(transparent)]
    Vm(#[from] javm::VmError),
    /// A value is missing or malformed.
    #[error(transparent)]
    Cap(#[from] CapError),
    /// A path into an instance's slots leads nowhere.
    #[error(transparent)]
    Path(#[from] OpFailure),
    /// A file is no archive of values.
    #[error("{}: {source}", path.display())]
    State { path: PathBuf, source: crate::state::StateError },
    /// The instance in the state file is of another program.
    #[error(
        "{}: holds an instance of the image {found}, the program's is {expected}; use another state file",
        path.display()
    )]
    StateOfOther { path: PathBuf, found: String, expected: String },
    /// `--slot` with a state file that exists.
    #[error("{} holds the instance with its slots: `--slot` is for the first run", path.display())]
    SlotsAndState { path: PathBuf },
    /// The program has no such endpoint.
    #[error("there is no endpoint `{wanted}`; there are: {known}")]
    NoEndpoint { wanted: String, known: String },
    /// Two exports have this name up to the `@`.
    #[error("`{wanted}` could be any of: {known}")]
    AmbiguousEndpoint { wanted: String, known: String },
    /// No instruction starts there.
    #[error("no instruction starts at code offset {pc}")]
    NoInstruction { pc: u64 },
    /// An argument is no number.
    #[error("`{text}` is no number: decimal, 0x…, or negative, 64 bits; or @FILE")]
    Number { text: String },
    /// More arguments than registers.
    #[error(
        "{given} arguments, but only {limit} fit into registers; longer input goes into @FILE or --input"
    )]
    TooManyArguments { given: usize, limit: usize },
    /// Two files for one slot.
    #[error("only one @FILE or --input: there is one slot 0")]
    TwoInputs,
    /// This kind of run takes no input file.
    #[error("{0}")]
    NotHere(&'static str),
    /// A slot that cannot be filled.
    #[error("slot {slot}: {reason}")]
    Slot { slot: String, reason: &'static str },
    /// `--output` needs a Data.
    #[error("slot 0 holds a {found}, which has no bytes to write")]
    OutputKind { found: Kind },
    /// There is nothing in a slot.
    #[error("slot {path} of `{name}` holds no instance")]
    NoInstance { name: String, path: SlotPath },
    /// An answer of a script makes no sense, or cannot be given.
    #[error("the answer to `{symbol}`: {reason}")]
    Answer { symbol: String, reason: &'static str },
    /// A scenario or a script cannot be read.
    #[error("{name}: {source}")]
    Scenario { name: String, source: Box<toml::de::Error> },
    /// A step of a scenario makes no sense.
    #[error("{name}: step {step}: {source}")]
    Step { name: String, step: usize, source: Box<CliError> },
    /// A name that no step has given.
    #[error("nothing is called `{name}`")]
    UnknownName { name: String },
    /// The scenario's embedded programs have no such file.
    #[error("the built-in scenario has no file `{name}`")]
    NotEmbedded { name: String },
}
