//! [`Engine`]: configuration and what instances share.

use std::sync::{Arc, Mutex, PoisonError};

use javm_gas::GasModel;

use crate::{Backend, Config, ConfigError, CopyingMemory, Memory, WindowMemory, memory::WindowPool};

/// How many idle memories an engine keeps for reuse.
const POOL_LIMIT: usize = 256;

/// A virtual machine engine: cheap to clone, shared by threads.
#[derive(Clone, Debug)]
pub struct Engine(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    config: Config,
    /// What the configuration comes to on this machine.
    backend: Backend,
    idle: Mutex<Vec<CopyingMemory>>,
    windows: Arc<WindowPool>,
}

impl Inner {
    fn new(config: Config, backend: Backend) -> Self {
        Self { config, backend, idle: Mutex::default(), windows: Arc::default() }
    }
}

/// The recompiler where it can run.
fn best() -> Backend {
    if javm_sys::check_support().is_ok() { Backend::Recompiler } else { Backend::Interpreter }
}

impl Default for Engine {
    /// An engine with the default configuration.
    fn default() -> Self {
        Self(Arc::new(Inner::new(Config::new(), best())))
    }
}

impl Engine {
    /// An engine with this configuration.
    ///
    /// # Errors
    /// [`ConfigError`] when this machine or build cannot do what the configuration asks for. One that asks for
    /// [`Backend::Auto`] is never refused.
    pub fn new(config: Config) -> Result<Self, ConfigError> {
        let backend = match config.backend {
            Backend::Auto => best(),
            Backend::Interpreter => Backend::Interpreter,
            Backend::Recompiler => {
                javm_sys::check_support().map_err(ConfigError::Unsupported)?;
                Backend::Recompiler
            }
        };
        Ok(Self(Arc::new(Inner::new(config, backend))))
    }

    /// The cost model that modules of this engine are priced with.
    #[must_use]
    pub fn gas_model(&self) -> GasModel {
        self.0.config.gas_model
    }

    /// The backend that runs modules of this engine; never [`Backend::Auto`].
    #[must_use]
    pub fn backend(&self) -> Backend {
        self.0.backend
    }

    /// An empty memory of the kind that this engine's backend runs on. Give it back with
    /// [`Engine::recycle`] where many are needed.
    #[must_use]
    pub fn memory(&self) -> Memory {
        if self.backend() == Backend::Recompiler {
            return Memory::Window(WindowMemory::new(&self.0.windows));
        }
        let idle = self.0.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        Memory::Copying(idle.unwrap_or_default())
    }

    /// Takes back a memory that is no longer needed, so that the next one is cheap. Its contents are gone.
    pub fn recycle(&self, memory: Memory) {
        let mut memory = match memory {
            Memory::Copying(memory) => memory,
            // Its window goes back to the pool.
            Memory::Window(memory) => return drop(memory),
        };
        memory.clear();
        let mut idle = self.0.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < POOL_LIMIT {
            idle.push(memory);
        }
    }
}
