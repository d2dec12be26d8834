//! [`Config`]: choices that an engine is made with.

use javm_gas::GasModel;

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
}

/// What an [`Engine`](crate::Engine) is made with.
#[derive(Clone, Copy, Debug, Default)]
pub struct Config {
    pub(crate) backend: Backend,
    pub(crate) gas_model: GasModel,
}

impl Config {
    /// The defaults: [`Backend::Auto`], [`GasModel::Pipeline`].
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
}
