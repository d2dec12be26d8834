//! [`Config`]: choices that an engine is made with.

use std::path::PathBuf;

use javm_gas::GasModel;

use crate::jit::CodeCacheError;

/// How code is executed. Results and gas are the same for all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Backend {
    /// The recompiler where it can run, the interpreter elsewhere.
    #[default]
    Auto,
    /// The interpreter: portable, no unsafe code, starts at once.
    Interpreter,
    /// Machine code: x86-64 on Linux. Programs that it cannot take are interpreted.
    Recompiler,
}

impl core::fmt::Display for Backend {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            Self::Auto => "auto",
            Self::Interpreter => "interpreter",
            Self::Recompiler => "recompiler",
        })
    }
}

impl core::str::FromStr for Backend {
    type Err = ConfigError;

    fn from_str(s: &str) -> Result<Self, ConfigError> {
        match s {
            "auto" => Ok(Self::Auto),
            "interpreter" => Ok(Self::Interpreter),
            "recompiler" => Ok(Self::Recompiler),
            _ => Err(ConfigError::UnknownBackend),
        }
    }
}

/// Why an engine cannot be made as asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// No backend has this name.
    #[error("unknown backend; there are: auto, interpreter, recompiler")]
    UnknownBackend,
    /// The recompiler was asked for where it cannot run.
    #[error("the recompiler cannot run here: {0}")]
    Unsupported(javm_sys::Unsupported),
    /// The folder of [`Config::code_cache`] cannot be used.
    #[error("the code cache cannot be used: {0}")]
    CodeCache(#[from] CodeCacheError),
}

/// What an [`Engine`](crate::Engine) is made with.
#[derive(Clone, Debug)]
pub struct Config {
    pub(crate) backend: Backend,
    pub(crate) gas_model: GasModel,
    pub(crate) module_cache: usize,
    pub(crate) code_cache: Option<PathBuf>,
    pub(crate) code_cache_limit: u64,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            backend: Backend::default(),
            gas_model: GasModel::default(),
            module_cache: 256 << 20,
            code_cache: None,
            code_cache_limit: 1 << 30,
        }
    }
}

impl Config {
    /// The defaults: [`Backend::Auto`], [`GasModel::Pipeline`], 256 MiB of modules by hash, nothing on disk.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Chooses how code is executed.
    #[must_use]
    pub const fn backend(mut self, backend: Backend) -> Self {
        self.backend = backend;
        self
    }

    /// Chooses what a basic block costs.
    #[must_use]
    pub const fn gas_model(mut self, model: GasModel) -> Self {
        self.gas_model = model;
        self
    }

    /// How many bytes of modules [`Engine::module`](crate::Engine::module) keeps. One that is larger by itself is kept
    /// alone, until another is asked for.
    #[must_use]
    pub const fn module_cache(mut self, bytes: usize) -> Self {
        self.module_cache = bytes;
        self
    }

    /// Keeps compiled code in this folder, for processes to come. It is made if it is not there; it and the secret in
    /// it must belong to our user, and nobody else may write to it. Only modules that have a key
    /// ([`Engine::module`](crate::Engine::module)) are kept, and only the recompiler's. Who can read the folder's
    /// secret can have this process run anything.
    #[must_use]
    pub fn code_cache(mut self, folder: impl Into<PathBuf>) -> Self {
        self.code_cache = Some(folder.into());
        self
    }

    /// The most bytes of files in the folder of [`Config::code_cache`], 1 GiB by default. When there are more, the
    /// programs that were longest not added to are removed.
    #[must_use]
    pub const fn code_cache_limit(mut self, bytes: u64) -> Self {
        self.code_cache_limit = bytes;
        self
    }
}
