//! [`VirtConfig`]: what an embedder allows, and what its instances share.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

use javm_exec::Engine;

use crate::{ModuleError, VirtModule};

/// Bytes of programs whose modules are kept for the next who brings the same program.
const CACHE_BYTES: usize = 16 << 20;

/// Limits of instances, and the modules that they share.
///
/// Clones share what they count: the instances of a configuration and of its clones are limited together, and
/// a program is compiled once for all of them.
#[derive(Clone, Debug)]
pub struct VirtConfig {
    pub(crate) max_code_size: usize,
    pub(crate) max_pages: u32,
    pub(crate) max_instances: usize,
    pub(crate) max_depth: u32,
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    instances: AtomicUsize,
    modules: Mutex<Modules>,
}

impl Default for VirtConfig {
    /// Programs of 32 MiB, memories of 2^18 pages (1 GiB), 1,024 instances, 4 levels below the root of a
    /// [`Nested`](crate::Nested).
    fn default() -> Self {
        Self {
            max_code_size: 32 << 20,
            max_pages: 1 << 18,
            max_instances: 1024,
            max_depth: 4,
            shared: Arc::default(),
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
        self.max_instances = instances;
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
        self.shared.instances.load(Ordering::Relaxed)
    }

    /// Counts an instance; `None` when there are as many as there may be.
    pub(crate) fn admit(&self) -> Option<Admission> {
        let instances = &self.shared.instances;
        let more = |n: usize| n.checked_add(1).filter(|n| *n <= self.max_instances);
        instances.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).ok()?;
        Some(Admission(Arc::clone(&self.shared)))
    }

    /// The module of a program: the one that is there, or a new one that the next finds.
    pub(crate) fn module(&self, engine: &Engine, program: &[u8]) -> Result<VirtModule, ModuleError> {
        let modules = || self.shared.modules.lock().unwrap_or_else(PoisonError::into_inner);
        // A limit may have become smaller since; it counts for what is there, too.
        if let Some(module) = modules().find(engine, program)
            && program.len() <= self.max_code_size
            && module.pages() <= u64::from(self.max_pages)
        {
            return Ok(module);
        }
        // Not under the lock: compiling takes a while. Two that come at once both compile.
        let module = VirtModule::new(engine, self, program)?;
        modules().insert(program, &module);
        Ok(module)
    }
}

/// An instance that is counted.
#[derive(Debug)]
pub(crate) struct Admission(Arc<Shared>);

impl Drop for Admission {
    fn drop(&mut self) {
        self.0.instances.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Modules by program, of all engines. What came first goes first when there are too many bytes.
#[derive(Debug, Default)]
struct Modules {
    by_program: BTreeMap<Arc<[u8]>, std::vec::Vec<VirtModule>>,
    order: VecDeque<Arc<[u8]>>,
    bytes: usize,
}

impl Modules {
    fn find(&self, engine: &Engine, program: &[u8]) -> Option<VirtModule> {
        let same = |m: &&VirtModule| {
            let its = m.engine();
            its.backend() == engine.backend() && its.gas_model() == engine.gas_model()
        };
        self.by_program.get(program)?.iter().find(same).cloned()
    }

    fn insert(&mut self, program: &[u8], module: &VirtModule) {
        if program.len() > CACHE_BYTES || self.find(module.engine(), program).is_some() {
            return;
        }
        if let Some(modules) = self.by_program.get_mut(program) {
            return modules.push(module.clone());
        }
        let key: Arc<[u8]> = program.into();
        self.bytes += key.len();
        self.order.push_back(Arc::clone(&key));
        self.by_program.insert(key, std::vec![module.clone()]);
        while self.bytes > CACHE_BYTES
            && let Some(oldest) = self.order.pop_front()
        {
            self.bytes -= oldest.len();
            self.by_program.remove(&oldest);
        }
    }
}
