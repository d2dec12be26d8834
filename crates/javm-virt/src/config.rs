//! [`VirtConfig`]: what an embedder allows, and what its instances share.

use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicUsize, Ordering},
};

use javm_exec::{Backend, Engine, GasModel, Lru};

use crate::{ModuleError, VirtModule};

/// The most bytes of modules, files and machine code, that are kept for the next who brings the same program.
const CACHE_BYTES: usize = 64 << 20;

/// What a module is found by: its program, and what decides how its engine runs it.
type Key = (Arc<[u8]>, Backend, GasModel);

/// Limits of instances, and the modules that they share.
///
/// Clones share what they count: the instances of a configuration and of its clones are limited together, and
/// a program is compiled once for all of them.
#[derive(Clone, Debug)]
pub struct VirtConfig {
    pub(crate) max_code_size: usize,
    pub(crate) max_pages: u32,
    pub(crate) max_depth: u32,
    instances: Instances,
    modules: Arc<Mutex<Lru<Key, VirtModule>>>,
}

impl Default for VirtConfig {
    /// Programs of 32 MiB, memories of 2^18 pages (1 GiB), 1,024 instances, 4 levels below the root of a
    /// [`Nested`](crate::Nested).
    fn default() -> Self {
        Self {
            max_code_size: 32 << 20,
            max_pages: 1 << 18,
            max_depth: 4,
            instances: Instances { now: Arc::default(), most: 1024 },
            modules: Arc::new(Mutex::new(Lru::new(CACHE_BYTES))),
        }
    }
}

impl VirtConfig {
    /// The default limits, for instances that share with no others.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The most bytes that a program may have, as it is given: its whole file.
    #[must_use]
    pub const fn max_code_size(mut self, bytes: usize) -> Self {
        self.max_code_size = bytes;
        self
    }

    /// The most pages of 4,096 bytes that a program's memory may have, stack included. They cost nothing until
    /// they are touched.
    #[must_use]
    pub const fn max_pages(mut self, pages: u32) -> Self {
        self.max_pages = pages;
        self
    }

    /// How many instances there may be at one time, of this configuration and its clones together.
    #[must_use]
    pub const fn max_instances(mut self, instances: usize) -> Self {
        self.instances.most = instances;
        self
    }

    /// How deep the programs may lie that a [`Nested`](crate::Nested) runs: 1 allows it programs that can run no
    /// further ones, 0 none at all.
    #[must_use]
    pub const fn max_depth(mut self, levels: u32) -> Self {
        self.max_depth = levels;
        self
    }

    /// How many instances there are now.
    #[must_use]
    pub fn instances(&self) -> usize {
        self.instances.now.load(Ordering::Relaxed)
    }

    /// What counts them.
    pub(crate) const fn counted(&self) -> &Instances {
        &self.instances
    }

    /// The module of a program: the one that is there, or a new one that the next finds.
    pub(crate) fn module(&self, engine: &Engine, program: &[u8]) -> Result<VirtModule, ModuleError> {
        // Nobody's program is copied, or looked for, that is too large anyhow.
        VirtModule::check_len(self, program)?;
        let modules = || self.modules.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (program.into(), engine.backend(), engine.gas_model());
        // A limit may have become smaller since; it counts for what is there, too.
        if let Some(module) = modules().get(&key, VirtModule::size)
            && module.pages() <= u64::from(self.max_pages)
        {
            return Ok(module);
        }
        // Not under the lock: reading a program takes a while. Of two that come at once one is kept.
        let module = VirtModule::new(engine, self, program)?;
        Ok(modules().insert(key, module, VirtModule::size))
    }
}

/// How many instances there are, and may be.
#[derive(Clone, Debug)]
pub(crate) struct Instances {
    now: Arc<AtomicUsize>,
    most: usize,
}

impl Instances {
    /// Counts an instance; `None` when there are as many as there may be.
    pub(crate) fn admit(&self) -> Option<Admission> {
        let more = |n: usize| n.checked_add(1).filter(|n| *n <= self.most);
        self.now.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).ok()?;
        Some(Admission(Arc::clone(&self.now)))
    }
}

/// An instance that is counted.
#[derive(Debug)]
pub(crate) struct Admission(Arc<AtomicUsize>);

impl Drop for Admission {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use javm_exec::{Code, Config};
    use javm_program::Program;

    fn module(engine: &Engine, config: &VirtConfig) -> VirtModule {
        let code = Code::new(&[0], &[1], &[]).unwrap();
        VirtModule::from_program(engine, config, Program::from_code(code)).unwrap()
    }

    #[test]
    fn modules_go_with_the_configuration() {
        let (engine, config) = (Engine::default(), VirtConfig::new());
        let key = (Arc::from(&b"program"[..]), engine.backend(), engine.gas_model());
        let kept = config.modules.lock().unwrap().insert(key, module(&engine, &config), VirtModule::size);
        drop(kept.instantiate().unwrap());
        let (now, modules) = (Arc::downgrade(&config.instances.now), Arc::downgrade(&config.modules));
        drop((config, kept));
        assert_eq!((now.strong_count(), modules.strong_count()), (0, 0), "nothing holds itself");
    }

    #[test]
    fn a_module_of_another_backend_or_gas_model_is_another() {
        let config = VirtConfig::new();
        let program = include_bytes!("../../../guests/blobs/virt_primes.polkavm");
        let interpreted = || Config::new().backend(Backend::Interpreter);
        let engine = |config| Engine::new(config).unwrap();
        let engines = [engine(interpreted()), engine(interpreted().gas_model(GasModel::PerInstruction))];
        let modules = engines.each_ref().map(|engine| config.module(engine, program).unwrap());
        assert!(modules.iter().zip(&engines).all(|(m, e)| m.engine().gas_model() == e.gas_model()));
        let again = config.module(&engine(interpreted()), program).unwrap();
        assert!(core::ptr::eq(again.module().interpreter(), modules[0].module().interpreter()));
        assert_eq!(config.modules.lock().unwrap().len(), 2);
        assert!(config.modules.lock().unwrap().size() > 2 * program.len());
    }
}
