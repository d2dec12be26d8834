//! [`Engine`]: configuration and what instances share.

use std::sync::{Arc, Mutex, PoisonError};

use javm_gas::GasModel;

use crate::{Backend, Config, ConfigError, CopyingMemory, Memory};

/// How many idle memories an engine keeps for reuse.
const POOL_LIMIT: usize = 256;

/// A virtual machine engine: cheap to clone, shared by threads.
#[derive(Clone, Debug)]
pub struct Engine(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    config: Config,
    idle: Mutex<Vec<CopyingMemory>>,
}

impl Default for Engine {
    /// An engine with the default configuration.
    fn default() -> Self {
        Self(Arc::new(Inner { config: Config::new(), idle: Mutex::default() }))
    }
}

impl Engine {
    /// An engine with this configuration.
    ///
    /// # Errors
    /// [`ConfigError`] when this machine or build cannot do what the configuration asks for.
    pub fn new(config: Config) -> Result<Self, ConfigError> {
        Ok(Self(Arc::new(Inner { config, idle: Mutex::default() })))
    }

    /// The cost model that modules of this engine are priced with.
    #[must_use]
    pub fn gas_model(&self) -> GasModel {
        self.0.config.gas_model
    }

    /// The backend that runs modules of this engine; never [`Backend::Auto`].
    #[must_use]
    pub fn backend(&self) -> Backend {
        match self.0.config.backend {
            Backend::Auto | Backend::Interpreter => Backend::Interpreter,
        }
    }

    /// An empty memory of the kind that this engine's backend runs on. Give it back with
    /// [`Engine::recycle`] where many are needed.
    #[must_use]
    pub fn memory(&self) -> Memory {
        let idle = self.0.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        Memory::Copying(idle.unwrap_or_default())
    }

    /// Takes back a memory that is no longer needed, so that the next one is cheap. Its contents are gone.
    pub fn recycle(&self, memory: Memory) {
        let Memory::Copying(mut memory) = memory;
        memory.clear();
        let mut idle = self.0.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < POOL_LIMIT {
            idle.push(memory);
        }
    }
}
