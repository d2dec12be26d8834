//! [`Engine`]: configuration and what instances share.

use std::sync::{Arc, Mutex, PoisonError};

use javm_gas::GasModel;

use crate::{
    Backend, Code, Config, ConfigError, CopyingMemory, Memory, Module, WindowMemory,
    cache::Lru,
    jit::{Disk, Shelf},
    memory::WindowPool,
    module::Shared,
};

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
    modules: Mutex<Lru<[u8; 32], Arc<Shared>>>,
    disk: Option<Arc<Disk>>,
}

impl Inner {
    fn new(config: Config, backend: Backend, disk: Option<Disk>) -> Self {
        Self {
            modules: Mutex::new(Lru::new(config.module_cache)),
            disk: disk.map(Arc::new),
            config,
            backend,
            idle: Mutex::default(),
            windows: Arc::default(),
        }
    }
}

/// The recompiler where it can run.
fn best() -> Backend {
    if javm_sys::check_support().is_ok() { Backend::Recompiler } else { Backend::Interpreter }
}

impl Default for Engine {
    /// An engine with the default configuration.
    fn default() -> Self {
        Self(Arc::new(Inner::new(Config::new(), best(), None)))
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
        let folder = config.code_cache.as_deref().filter(|_| backend == Backend::Recompiler);
        let disk = folder.map(|folder| Disk::open(folder, config.code_cache_limit)).transpose()?;
        Ok(Self(Arc::new(Inner::new(config, backend, disk))))
    }

    /// The module of the program with this key: the one that is there, or a new one, which is kept for the next
    /// that asks as long as there is room ([`Config::module_cache`](crate::Config::module_cache)), and whose machine
    /// code is looked for and kept on disk if the engine has a place there. Nothing is compiled yet, and nothing is
    /// compiled twice, also when threads ask at once.
    ///
    /// A key must name the program: the hash of a value that holds it, or [`module_key`](crate::module_key). Two
    /// programs with one key would be taken for each other; nothing worse.
    ///
    /// # Errors
    /// Those of `code`, which is asked for the program when there is no module.
    pub fn module<C: Into<Arc<Code>>, E>(
        &self,
        key: [u8; 32],
        code: impl FnOnce() -> Result<C, E>,
    ) -> Result<Module, E> {
        let modules = || self.0.modules.lock().unwrap_or_else(PoisonError::into_inner);
        let kept = modules().get(&key, |shared| shared.size());
        if let Some(shared) = kept {
            return Ok(Module::from_shared(self, shared));
        }
        // Not under the lock: checking a program takes a while.
        let shared = Arc::new(Shared::new(code()?.into(), Some(key)));
        Ok(Module::from_shared(self, modules().insert(key, shared, |shared| shared.size())))
    }

    /// How many modules are kept, and how many bytes they had when they were last asked for.
    #[must_use]
    pub fn modules(&self) -> (usize, usize) {
        let modules = self.0.modules.lock().unwrap_or_else(PoisonError::into_inner);
        (modules.len(), modules.size())
    }

    /// Where the compiled code of a program is kept.
    pub(crate) fn shelf(&self, key: &[u8; 32]) -> Option<Shelf> {
        self.0.disk.as_ref().map(|disk| disk.shelf(key, self.gas_model()))
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
