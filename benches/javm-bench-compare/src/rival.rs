//! What an engine has to offer to be measured: [`Rival`] turns bytes into something that runs,
//! [`Compiled`] runs it. One file per engine is in [`rivals`](crate::rivals).

use std::time::Duration;

use crate::kernels::{Kernel, Subject};

/// What kind of engine it is. Engines are compared with those of their own kind first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Class {
    /// The same source, compiled for this machine.
    Native,
    /// Executes operation by operation.
    Interpreter,
    /// Makes machine code.
    Recompiler,
}

/// Why an engine could not do something.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum RivalError {
    /// Our reader refuses the program.
    #[error("the program does not load: {0}")]
    Program(#[from] javm_program::ProgramError),
    /// Our engine refuses the program's memory plan.
    #[error("the memory cannot be mapped: {0}")]
    Map(#[from] javm_exec::MapError),
    /// Our engine cannot be made as asked.
    #[error("the engine cannot be made: {0}")]
    Config(#[from] javm_exec::ConfigError),
    /// The `polkavm` crate reports an error.
    #[error("polkavm: {0}")]
    PolkaVm(#[from] polkavm::Error),
    /// The `polkavm` crate does not compile the program.
    #[error("polkavm: {0}")]
    PolkaVmCompile(#[from] polkavm::CompileError),
    /// The `polkavm` crate does not read the program.
    #[error("polkavm: {0}")]
    PolkaVmParse(#[from] polkavm::program::ProgramParseError),
    /// The `javm` 0.4 crate reports an error: it has no type for it.
    #[error("javm 0.4: {0}")]
    Javm04(Box<str>),
    /// The `wasmtime` crate reports an error.
    #[cfg(feature = "wasmtime")]
    #[error("wasmtime: {0}")]
    Wasmtime(#[from] wasmtime::Error),
    /// The engine is behind a feature of this crate.
    #[error("needs `--features {0}`")]
    #[cfg(not(feature = "wasmtime"))]
    NotBuilt(&'static str),
    /// The engine panicked.
    #[error("it panics: {0}")]
    Panicked(Box<str>),
    /// The program has no such export.
    #[error("there is no export `{0}`")]
    NoExport(&'static str),
    /// The run ended otherwise than by returning.
    #[error("the run ended with: {0}")]
    Ended(Box<str>),
    /// A host call that the kernels do not make.
    #[error("host call {0} has no answer")]
    HostCall(u32),
}

/// An engine in one configuration.
pub(crate) trait Rival {
    /// Its name, as options and tables have it.
    fn name(&self) -> &str;
    /// What kind of engine it is.
    fn class(&self) -> Class;
    /// Whether it is one of ours.
    fn is_ours(&self) -> bool {
        false
    }
    /// Whether [`Rival::compile`] leaves nothing to compile; otherwise (engines that can only compile while
    /// they run, native code) its time says nothing.
    fn compiles(&self) -> bool;
    /// Bytes of code of the program as this engine gets it.
    fn code_len(&self, subject: &Subject) -> usize {
        subject.code_len
    }
    /// From the bytes of the program to something that runs; what can wait until it runs may.
    fn prepare(&self, subject: &Subject) -> Result<Box<dyn Compiled>, RivalError>;
    /// The same with every block priced and compiled.
    fn compile(&self, subject: &Subject) -> Result<Box<dyn Compiled>, RivalError> {
        self.prepare(subject)
    }
}

/// A program that an engine has taken in.
pub(crate) trait Compiled {
    /// Runs an export once on a fresh instance: what it returned, and the time from asking for the instance
    /// to having given it back.
    fn run_fresh(&mut self, kernel: &Kernel, args: &[u64]) -> Result<(u64, Duration), RivalError>;
}

/// The gas that a run gets: more than any kernel needs, and a number that every engine can hold.
pub(crate) const GAS: u64 = 1 << 55;

/// Answers the host calls of the kernels, the same for every engine and whatever it counts as gas.
#[derive(Debug)]
pub(crate) struct Host {
    gas_left: u64,
}

impl Host {
    pub(crate) const fn new() -> Self {
        Self { gas_left: GAS }
    }

    /// What is put into A0.
    pub(crate) fn answer(&mut self, number: u32) -> Result<u64, RivalError> {
        use javm_abi::GuestOp;
        match GuestOp::from_number(u64::from(number)) {
            Some(GuestOp::GasLeft) => {
                self.gas_left -= 40;
                Ok(self.gas_left)
            }
            // Data lies in every slot.
            Some(GuestOp::MgmtKind) => Ok(3),
            _ => Err(RivalError::HostCall(number)),
        }
    }
}
